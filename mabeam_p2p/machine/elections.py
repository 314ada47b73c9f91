"""One election: its ballots, and how they become a winner. Integers only.

1. A ballot gives each candidate 0 to 1000 points. An empty one, and one that never came, gives each
   its published score, and the incumbent INCUMBENT_BONUS more, up to 1000.
2. The most points win. Of equals the incumbent wins, then who joined earlier, then the lower id: a
   total order, so that there is one winner wherever there is a candidate.
3. A result is certain when no points of the ballots that may still come can change the winner.
"""

from msgspec.structs import replace

from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Candidate, Election, Ranking, Seat

POINTS_MAX = 1000
INCUMBENT_BONUS = 100

Points = dict[AgentId, int]


def score(scores: tuple[tuple[str, int], ...], weights: tuple[tuple[str, int], ...]) -> int:
    """Published scores as one, rounded down: the weighted mean, in which what was not published
    counts 0; without weights the mean of what was. 0 for who has published nothing."""
    if not scores:
        return 0
    if not weights:
        return sum(value for _, value in scores) // len(scores)
    known = dict(scores)
    weighed = sum(weight * known.get(name, 0) for name, weight in weights)
    return weighed // sum(weight for _, weight in weights)


def default_points(candidate: Candidate, incumbent: AgentId) -> int:
    """What an empty ballot gives."""
    if candidate.agent != incumbent:
        return candidate.score
    return min(POINTS_MAX, candidate.score + INCUMBENT_BONUS)


def place(candidate: Candidate, points: int, incumbent: AgentId) -> tuple[int, bool, int, AgentId]:
    """Where the candidate stands: the least place wins."""
    is_challenger = candidate.agent != incumbent
    return -points, is_challenger, candidate.joined_index, candidate.agent


def ranked(
    candidates: list[Candidate], totals: Points, incumbent: AgentId
) -> tuple[tuple[AgentId, int], ...]:
    """The candidates with their points, the winner first."""
    in_order = sorted(candidates, key=lambda one: place(one, totals[one.agent], incumbent))
    return tuple((one.agent, totals[one.agent]) for one in in_order)


def is_certain(
    candidates: list[Candidate], totals: Points, incumbent: AgentId, missing_count: int
) -> bool:
    """Whether the first of the candidates stays first whatever `missing_count` ballots say. They
    can give it nothing, and another one everything."""
    first = min(place(one, totals[one.agent], incumbent) for one in candidates)
    most = missing_count * POINTS_MAX
    return all(
        first < place(one, totals[one.agent] + most, incumbent)
        for one in candidates
        if one.agent != first[3]
    )


class Running:
    """An election that is open."""

    __slots__ = ("absent", "electorate", "opened", "rankings", "struck", "totals")

    def __init__(self, opened: Election) -> None:
        self.opened = opened
        """As opened, with what follows left out."""
        self.electorate = dict.fromkeys(opened.electorate)
        self.rankings: dict[AgentId, Ranking] = {}
        self.struck: dict[AgentId, None] = {}
        self.absent: dict[AgentId, None] = {}
        self.totals: Points = dict.fromkeys((one.agent for one in opened.candidates), 0)
        """Points of the rankings that were cast."""

    def add(self, ranking: Ranking) -> None:
        self.absent.pop(ranking.agent, None)
        self.rankings[ranking.agent] = ranking
        points = dict(ranking.points) or self.defaults(1)
        for agent, given in points.items():
            self.totals[agent] += given

    def defaults(self, count: int) -> Points:
        """What so many empty ballots give."""
        incumbent = self.opened.incumbent
        return {one.agent: count * default_points(one, incumbent) for one in self.opened.candidates}

    def left(self) -> list[Candidate]:
        """The candidates that can still win."""
        return [one for one in self.opened.candidates if one.agent not in self.struck]

    def totals_with(self, empty_count: int) -> Points:
        more = self.defaults(empty_count)
        return {agent: points + more[agent] for agent, points in self.totals.items()}

    def is_certain(self) -> bool:
        missing_count = len(self.electorate) - len(self.rankings) - len(self.absent)
        totals = self.totals_with(len(self.absent))
        return is_certain(self.left(), totals, self.opened.incumbent, missing_count)

    def record(self) -> Election:
        return replace(
            self.opened,
            rankings=tuple(self.rankings.values()),
            struck=tuple(self.struck),
            absent=tuple(self.absent),
        )


def brief(seat: Seat) -> Seat:
    """Without the ballots, which may be many, and the electorate of what has ended."""
    election = None if seat.election is None else replace(seat.election, rankings=())
    last = None if seat.last is None else brief_election(seat.last)
    return replace(seat, election=election, last=last)


def brief_election(election: Election) -> Election:
    return replace(election, electorate=(), rankings=(), absent=())
