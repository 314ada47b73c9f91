"""Seats: parts that one agent of a group plays at a time, given by elections.

1. A seat begins with the first Elect that finds a candidate. While it is held another Elect changes
   nothing, unless it challenges: then an election runs over the held seat, not within
   CHALLENGE_DWELL of the last one, and the holder stays if it wins. A holder that never asked for
   the seat gives way after as long to those that stand, when one of them asks.
2. Candidates and electorate are frozen where the election opens: the live eligible agents of the
   group that have not stood down (or those alone that stand), and the live agents of the group
   that take part in consensus; where none does, the candidates. Of more than
   `seat_candidates_max` the best by the default ranking are taken. An agent that yields is a
   candidate where no other is, and gives way to the first other one that asks for the seat.
3. Each agent of the electorate casts one ranking; the first binds. Whoever departs without one, or
   has cast none at the deadline, has cast an empty one. What rankings come to, `elections` says.
4. A candidate that departs, leaves the group or stands down is struck: it cannot win any more.
5. An election ends once: when its result is certain, or past its deadline, with the winner among
   the candidates that are left; or at once, with `no candidates`, when none is.
6. A holder that departs, leaves the group, stands down or resigns loses the seat at that index, and
   at that index the next election opens. Without a candidate the seat stays vacant until there
   is one.
7. The token is the index of the grant and grows strictly: a seat that was granted at an index is
   granted again behind it, at the earliest.
"""

from collections.abc import Callable
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import AnySeatCommand, CastRanking, Elect, PublishScore, Resign, Stand
from mabeam_p2p.config import Limits
from mabeam_p2p.events import ElectionEnded, ElectionOpened, MachineEvent, SeatChanged
from mabeam_p2p.ids import GROUP_ALL, INTEGER_MAX, KEY_BYTES_MAX, AgentId, is_key, is_name
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.machine.elections import (
    POINTS_MAX,
    Running,
    brief,
    brief_election,
    default_points,
    place,
    ranked,
    score,
)
from mabeam_p2p.records import Agent, Among, Candidate, Election, ElectionStatus, Ranking, Seat
from mabeam_p2p.requests import Outcome, Refused

CHALLENGE_DWELL = 10_000_000
"""Microseconds of the log's clock that a seat has peace after an election: a challenger that
only just lost, or a score that wavers, shall not keep the group voting."""

NOBODY = AgentId("")

Scores = tuple[tuple[str, int], ...]


class SeatState(Struct, frozen=True, array_like=True):
    """A seat in a snapshot. seat: with everything about its elections."""

    seat: Seat
    timeout: int
    among: Among
    weights: Scores
    standing: tuple[tuple[AgentId, bool], ...]


class SeatsState(Struct, frozen=True, array_like=True):
    """seats: in order of their beginning. scores: (agent, seat, scores) in order of publication."""

    seats: tuple[SeatState, ...]
    scores: tuple[tuple[AgentId, str, Scores], ...]


class _Seat:
    __slots__ = (
        "among",
        "changed_index",
        "granted_clock",
        "group",
        "holder",
        "last",
        "name",
        "reason",
        "running",
        "standing",
        "timeout",
        "token",
        "weights",
    )

    def __init__(self, name: str, group: str) -> None:
        self.name = name
        self.group = group
        self.holder = NOBODY
        self.token = 0
        self.granted_clock = 0
        self.changed_index = 0
        self.reason = ""
        self.timeout = 0
        self.among = Among.ELIGIBLE
        self.weights: Scores = ()
        self.standing: dict[AgentId, bool] = {}
        """Who has said whether it stands."""
        self.running: Running | None = None
        self.last: Election | None = None

    def record(self) -> Seat:
        return Seat(
            self.name,
            self.group,
            self.holder,
            self.token,
            self.granted_clock,
            self.changed_index,
            self.reason,
            None if self.running is None else self.running.record(),
            self.last,
        )


class Seats:
    """Every seat by name, and every published score."""

    def __init__(
        self,
        limits: Limits,
        deadlines: Deadlines,
        events: list[MachineEvent],
        in_group: Callable[[str], tuple[Agent, ...]],
    ) -> None:
        """in_group: the live agents of a group."""
        self._limits = limits
        self._deadlines = deadlines
        self._events = events
        self._in_group = in_group
        self._seats: dict[str, _Seat] = {}
        self._scores: dict[AgentId, dict[str, Scores]] = {}
        """By agent, then by seat."""

    # ---- commands --------------------------------------------------------------------------

    def apply(self, entry: Entry, agent: Agent, command: AnySeatCommand) -> Outcome:
        match command:
            case PublishScore():
                return self._publish(entry, agent.id, command)
            case Stand():
                return self._stand(entry, agent, command)
            case Elect():
                return self._elect(entry, agent, command)
            case CastRanking():
                return self._rank(entry, agent.id, command)
            case Resign():
                return self._resign(entry, agent.id, command)
            case _:
                assert_never(command)

    def _publish(self, entry: Entry, agent: AgentId, command: PublishScore) -> Outcome:
        """Refused: invalid, limit. An election that is open goes on with what it has frozen."""
        name, scores, limits = command.seat, tuple(sorted(command.scores)), self._limits
        if name and not is_key(name):
            return Refused("invalid", "the seat has no usable name")
        if not _are_amounts(scores, limits.seat_scores_max):
            detail = f"scores are 0 to {POINTS_MAX} thousandths, at most {limits.seat_scores_max}"
            return Refused("invalid", detail)
        published = self._scores.get(agent, {})
        if scores and name not in published and len(published) >= limits.scored_seats_max:
            return Refused("limit", f"an agent has scores for {limits.scored_seats_max} seats")
        rest = {seat: known for seat, known in published.items() if seat != name}
        self._scores.pop(agent, None)
        if scores:
            rest[name] = scores
        if rest:
            self._scores[agent] = rest
        return entry.committed()

    def _stand(self, entry: Entry, agent: Agent, command: Stand) -> Outcome:
        """Refused: unknown_seat, not_eligible."""
        seat = self._seats.get(command.seat)
        if seat is None:
            return Refused("unknown_seat", f"nobody has asked for seat {command.seat!r} yet")
        if command.stands:
            if not _may_hold(seat.group, agent):
                return Refused("not_eligible", f"{agent.id} cannot hold a seat of {seat.group!r}")
            seat.standing[agent.id] = True
            self._fill(entry, seat)
        else:
            seat.standing[agent.id] = False
            self._withdraw(entry, seat, agent.id, "stood down")
        return entry.committed()

    def _elect(self, entry: Entry, agent: Agent, command: Elect) -> Outcome:
        """Committed.number: the election that runs, or 0 while the seat is held without one.

        Refused: invalid, limit, not_eligible, no_candidates.
        """
        known = self._seats.get(command.seat)
        refusal = self._refusal(entry, agent, command, known)
        if refusal is not None:
            return refusal
        seat = known or _Seat(command.seat, command.group)
        if command.stands:
            # From here on nothing is refused: who stands is a candidate itself.
            seat.standing[agent.id] = True
        if seat.running is None and not self._is_at_peace(entry, seat, agent, command):
            gives_way = not command.challenge and _is_idle(seat, command)
            among = Among.STANDING if gives_way else command.among
            candidates = self._candidates(seat, among, command.weights)
            if not candidates:
                return Refused("no_candidates", f"no agent of {command.group!r} can be elected")
            if known is None:
                self._make_room()
                self._seats[seat.name] = seat
            seat.timeout = command.timeout
            seat.among, seat.weights = command.among, command.weights
            self._open(entry, seat, candidates)
            return entry.committed(entry.index)
        return entry.committed(0 if seat.running is None else seat.running.opened.opened_index)

    def _rank(self, entry: Entry, agent: AgentId, command: CastRanking) -> Outcome:
        """Refused: election_closed, not_eligible, conflicting_vote, invalid."""
        seat = self._seats.get(command.seat)
        running = None if seat is None else seat.running
        if seat is None or running is None or running.opened.opened_index != command.election:
            return Refused("election_closed", f"election {command.election} does not run")
        if agent not in running.electorate:
            return Refused("not_eligible", f"{agent} was not in the electorate")
        cast = running.rankings.get(agent)
        points = tuple(sorted(command.points))
        if cast is not None:
            if cast.points == points:
                return entry.committed()
            return Refused("conflicting_vote", f"ranked at index {cast.index} already")
        if not _are_amounts(points, len(running.opened.candidates)):
            return Refused("invalid", f"points are 0 to {POINTS_MAX}, once for each candidate")
        if any(ranked not in running.totals for ranked, _ in points):
            return Refused("invalid", "points for an agent that was no candidate")
        running.add(Ranking(agent, points, entry.index))
        self._maybe_close(entry, seat)
        return entry.committed()

    def _resign(self, entry: Entry, agent: AgentId, command: Resign) -> Outcome:
        """Refused: not_holder."""
        seat = self._seats.get(command.seat)
        if seat is None or seat.holder != agent or command.token not in (0, seat.token):
            holder = "nobody" if seat is None or not seat.holder else seat.holder
            return Refused("not_holder", f"{holder} holds it")
        seat.standing[agent] = False
        self._withdraw(entry, seat, agent, "resigned")
        return entry.committed()

    # ---- notices from the sessions ---------------------------------------------------------

    def arrived(self, entry: Entry, agent: Agent) -> None:
        """An agent has begun or joined a group: vacant seats may have a candidate now."""
        if agent.eligible:
            for seat in tuple(self._seats.values()):
                if not seat.holder and _is_in(agent, seat.group):
                    self._fill(entry, seat)

    def left(self, entry: Entry, agent: AgentId, group: str) -> None:
        """A live agent has left `group`."""
        for seat in tuple(self._seats.values()):
            if seat.group == group:
                self._gone(entry, seat, agent, "left group")

    def depart(self, entry: Entry, agent: AgentId, reason: str) -> None:
        """The agent's session has ended; the agent is not live any more."""
        self._scores.pop(agent, None)
        for seat in tuple(self._seats.values()):
            self._gone(entry, seat, agent, reason)

    def expire(self, entry: Entry, name: str) -> None:
        """End the election of seat `name`, whose deadline is past."""
        self._close(entry, self._seats[name], "deadline")

    # ---- queries ---------------------------------------------------------------------------

    def seats(self, name: str) -> tuple[Seat, ...]:
        """The one of this name; with an empty name all, in order of their beginning. Without the
        ballots, and of elections that have ended without the electorate."""
        if name:
            seat = self._seats.get(name)
            return () if seat is None else (brief(seat.record()),)
        return tuple(brief(seat.record()) for seat in self._seats.values())

    def in_full(self, name: str) -> tuple[Seat, ...]:
        """The seat with all that is known of its running and its last election."""
        seat = self._seats.get(name)
        return () if seat is None else (seat.record(),)

    def state(self) -> SeatsState:
        return SeatsState(
            tuple(
                SeatState(
                    seat.record(),
                    seat.timeout,
                    seat.among,
                    seat.weights,
                    tuple(seat.standing.items()),
                )
                for seat in self._seats.values()
            ),
            tuple(
                (agent, seat, scores)
                for agent, published in self._scores.items()
                for seat, scores in published.items()
            ),
        )

    def load(self, state: SeatsState) -> None:
        self._seats = {stored.seat.name: self._load(stored) for stored in state.seats}
        self._scores = {}
        for agent, seat, scores in state.scores:
            self._scores.setdefault(agent, {})[seat] = scores

    def _load(self, state: SeatState) -> _Seat:
        stored = state.seat
        seat = _Seat(stored.name, stored.group)
        seat.holder, seat.token = stored.holder, stored.token
        seat.granted_clock, seat.changed_index = stored.granted_clock, stored.changed_index
        seat.reason, seat.last = stored.reason, stored.last
        seat.timeout, seat.among, seat.weights = state.timeout, state.among, state.weights
        seat.standing = dict(state.standing)
        if stored.election is not None:
            one = stored.election
            running = seat.running = Running(replace(one, rankings=(), struck=(), absent=()))
            for ranking in one.rankings:
                running.add(ranking)
            running.struck = dict.fromkeys(one.struck)
            running.absent = dict.fromkeys(one.absent)
            self._deadlines.add(DeadlineKind.SEAT, seat.name, one.deadline)
        return seat

    # ---- transitions -----------------------------------------------------------------------

    def _fill(self, entry: Entry, seat: _Seat) -> None:
        """Open an election for a vacant seat, if somebody can be elected."""
        if not seat.holder and seat.running is None:
            candidates = self._candidates(seat, seat.among, seat.weights)
            if candidates:
                self._open(entry, seat, candidates)

    def _open(self, entry: Entry, seat: _Seat, candidates: tuple[Candidate, ...]) -> None:
        group = self._in_group(seat.group)
        electorate = sorted(agent.id for agent in group if agent.participates)
        opened = Election(
            seat=seat.name,
            group=seat.group,
            opened_index=entry.index,
            opened_clock=entry.clock,
            # Checked when it was asked for; the log's clock has gone on since.
            deadline=min(entry.clock + seat.timeout, INTEGER_MAX),
            incumbent=seat.holder,
            candidates=candidates,
            electorate=tuple(electorate or sorted(one.agent for one in candidates)),
        )
        seat.running = Running(opened)
        seat.changed_index = entry.index
        self._deadlines.add(DeadlineKind.SEAT, seat.name, opened.deadline)
        self._events.append(ElectionOpened(opened))
        self._maybe_close(entry, seat)

    def _gone(self, entry: Entry, seat: _Seat, agent: AgentId, reason: str) -> None:
        seat.standing.pop(agent, None)
        running = seat.running
        if running is not None and agent in running.electorate and agent not in running.rankings:
            running.absent[agent] = None
        self._withdraw(entry, seat, agent, reason)

    def _withdraw(self, entry: Entry, seat: _Seat, agent: AgentId, reason: str) -> None:
        """The agent neither keeps nor gets the seat; whoever comes next does."""
        if seat.running is not None and agent in seat.running.totals:
            seat.running.struck[agent] = None
        if seat.holder == agent:
            seat.holder, seat.reason, seat.changed_index = NOBODY, reason, entry.index
            self._events.append(SeatChanged(brief(seat.record())))
        if seat.running is not None:
            self._maybe_close(entry, seat)
        self._fill(entry, seat)

    def _maybe_close(self, entry: Entry, seat: _Seat) -> None:
        running = seat.running
        assert running is not None
        # At the index of a grant there is no other one: its token would not be greater.
        if not running.left() or (running.is_certain() and entry.index > seat.token):
            self._close(entry, seat, "decided")

    def _close(self, entry: Entry, seat: _Seat, reason: str) -> None:
        running = seat.running
        assert running is not None
        left = running.left()
        missing_count = len(running.electorate) - len(running.rankings)
        totals = running.totals_with(missing_count)
        tally = ranked(left, totals, running.opened.incumbent)
        winner = tally[0][0] if tally else NOBODY
        ended = seat.last = replace(
            running.record(),
            status=ElectionStatus.ELECTED if winner else ElectionStatus.NO_CANDIDATES,
            winner=winner,
            tally=tally,
            closed_index=entry.index,
            closed_clock=entry.clock,
            reason=reason if left else "no candidates",
        )
        seat.running = None
        seat.changed_index = entry.index
        self._deadlines.remove(DeadlineKind.SEAT, seat.name)
        self._events.append(ElectionEnded(brief_election(ended)))
        if winner and winner != seat.holder:
            assert entry.index > seat.token, (entry.index, seat.token)
            seat.holder, seat.token, seat.reason = winner, entry.index, "elected"
            seat.granted_clock = entry.clock
        elif not winner and not seat.holder:
            seat.reason = seat.reason or "no candidates"
        self._events.append(SeatChanged(brief(seat.record())))

    # ---- who can be elected ----------------------------------------------------------------

    def _candidates(self, seat: _Seat, among: Among, weights: Scores) -> tuple[Candidate, ...]:
        is_wanted = among is not Among.STANDING
        wanting = [
            agent
            for agent in self._in_group(seat.group)
            if agent.eligible and seat.standing.get(agent.id, is_wanted)
        ]
        first = [agent for agent in wanting if not agent.yields]
        standing = [self._candidate(seat.name, agent, weights) for agent in first or wanting]
        if len(standing) > self._limits.seat_candidates_max:
            standing.sort(key=lambda one: place(one, default_points(one, seat.holder), seat.holder))
            del standing[self._limits.seat_candidates_max :]
        return tuple(standing)

    def _candidate(self, seat: str, agent: Agent, weights: Scores) -> Candidate:
        published = self._scores.get(agent.id, {})
        scores = published.get(seat) or published.get("", ())
        return Candidate(agent.id, agent.joined_index, score(scores, weights), scores)

    def _is_at_peace(self, entry: Entry, seat: _Seat, agent: Agent, command: Elect) -> bool:
        """Whether the seat is held and stays so."""
        if not seat.holder or (command.stands and not agent.yields and self._holder_yields(seat)):
            return False
        assert seat.last is not None, "who holds a seat was elected"
        is_settled = entry.clock - seat.last.closed_clock >= CHALLENGE_DWELL
        return not (is_settled and (command.challenge or _is_idle(seat, command)))

    def _holder_yields(self, seat: _Seat) -> bool:
        group = self._in_group(seat.group)
        return any(agent.id == seat.holder and agent.yields for agent in group)

    def _refusal(
        self, entry: Entry, agent: Agent, command: Elect, seat: _Seat | None
    ) -> Refused | None:
        limits = self._limits
        if not is_key(command.seat) or not is_name(command.group):
            return Refused("invalid", "the seat or its group has no usable name")
        if seat is not None and seat.group != command.group:
            return Refused("invalid", f"{seat.name!r} is a seat of group {seat.group!r}")
        if not entry.can_wait(command.timeout):
            return Refused("invalid", "timeout is no positive number of microseconds")
        weights = command.weights
        total = sum(weight for _, weight in weights)
        if weights and not (_are_amounts(weights, limits.seat_scores_max) and total):
            return Refused("invalid", f"weights are 0 to {POINTS_MAX}, and not all 0")
        if command.stands and not _may_hold(command.group, agent):
            return Refused("not_eligible", f"{agent.id} cannot hold a seat of {command.group!r}")
        if seat is None and len(self._seats) >= limits.seats_max and not self._idle():
            return Refused("limit", f"there are {limits.seats_max} seats already")
        return None

    def _idle(self) -> str:
        """The oldest seat that is vacant without an election: it may be forgotten. Empty: none."""
        idle = (s.name for s in self._seats.values() if not s.holder and s.running is None)
        return next(idle, "")

    def _make_room(self) -> None:
        if len(self._seats) >= self._limits.seats_max:
            del self._seats[self._idle()]


def _is_idle(seat: _Seat, command: Elect) -> bool:
    """Whether the seat is held by an agent that never asked for it, and the asker wants it."""
    return bool(seat.holder) and command.stands and seat.holder not in seat.standing


def _may_hold(group: str, agent: Agent) -> bool:
    return agent.eligible and _is_in(agent, group)


def _is_in(agent: Agent, group: str) -> bool:
    return group in (GROUP_ALL, *agent.groups)


def _are_amounts(amounts: tuple[tuple[str, int], ...], most: int) -> bool:
    """At most so many, each name once, each amount in range."""
    return (
        len(amounts) <= most
        and len(dict(amounts)) == len(amounts)
        and all(0 < len(name.encode()) <= 2 * KEY_BYTES_MAX for name, _ in amounts)
        and all(0 <= amount <= POINTS_MAX for _, amount in amounts)
    )
