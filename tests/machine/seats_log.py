"""A written log with the commands of seats."""

from mabeam_p2p.commands import (
    CastRanking,
    Elect,
    JoinGroup,
    LeaveGroup,
    PublishScore,
    Resign,
    Stand,
)
from mabeam_p2p.events import ElectionEnded, ElectionOpened, SeatChanged
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Among, Election, Seat
from mabeam_p2p.requests import ElectionQuery, Outcome, SeatQuery
from tests.machine.written_log import SECOND, WrittenLog

SEAT = "lead"


def name_of(session: int) -> AgentId:
    return AgentId(f"a{session}@p")


class SeatsLog(WrittenLog):
    """Agents are a1, a2, ..., each in the session of its number."""

    def elect(
        self,
        session: SessionId,
        seat: str = SEAT,
        *,
        group: str = "all",
        timeout: int = 15 * SECOND,
        stands: bool = False,
        challenge: bool = False,
        among: Among = Among.ELIGIBLE,
        weights: tuple[tuple[str, int], ...] = (),
    ) -> Outcome:
        return self.apply(
            Elect(
                session, self.next(session), seat, group, timeout, stands, challenge, among, weights
            )
        )

    def publish(self, session: SessionId, seat: str = SEAT, **scores: int) -> Outcome:
        return self.apply(PublishScore(session, self.next(session), seat, tuple(scores.items())))

    def stand(self, session: SessionId, stands: bool = True, seat: str = SEAT) -> Outcome:
        return self.apply(Stand(session, self.next(session), seat, stands))

    def rank(
        self, session: SessionId, points: dict[int, int] | None = None, *, election: int = 0
    ) -> Outcome:
        """points: by session; none: by the published scores. election: 0 for the running one."""
        return self.apply(self.ranking(session, points, election=election))

    def ranking(
        self, session: SessionId, points: dict[int, int] | None = None, *, election: int = 0
    ) -> CastRanking:
        if not election:
            running = self.seat().election
            election = 0 if running is None else running.opened_index
        given = tuple((name_of(number), amount) for number, amount in (points or {}).items())
        return CastRanking(session, self.next(session), SEAT, election, given)

    def resign(self, session: SessionId, token: int = 0) -> Outcome:
        return self.apply(Resign(session, self.next(session), SEAT, token))

    def join(self, session: SessionId, group: str) -> Outcome:
        return self.apply(JoinGroup(session, self.next(session), group))

    def leave(self, session: SessionId, group: str) -> Outcome:
        return self.apply(LeaveGroup(session, self.next(session), group))

    # ---- questions -------------------------------------------------------------------------

    def seat(self, name: str = SEAT) -> Seat:
        (found,) = self.machine.find(SeatQuery(name)).seats
        return found

    def seats(self) -> list[str]:
        return [seat.name for seat in self.machine.find(SeatQuery("")).seats]

    def last(self) -> Election:
        """The last election that has ended, with its ballots."""
        (found,) = self.machine.find(ElectionQuery(SEAT)).seats
        assert found.last is not None
        return found.last

    def held(self, *, by: int) -> bool:
        return self.seat().holder == name_of(by)

    def told(self) -> list[str]:
        """What the last batch told of seats."""
        words: list[str] = []
        for event in self.events:
            match event:
                case SeatChanged(seat=seat):
                    words.append(f"held by {seat.holder}" if seat.holder else seat.reason)
                case ElectionOpened(election=election):
                    words.append(f"opened among {len(election.candidates)}")
                case ElectionEnded(election=election):
                    words.append(f"ended: {election.reason}")
                case _:
                    pass
        return words
