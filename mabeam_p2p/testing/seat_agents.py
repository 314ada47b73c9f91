"""Simulated agents that have seats elected, stand, rank, resign, come and go, and write letters.

Each does something at every turn; what is drawn from a stream of its own, so that the other agents'
draws stay what they are.
"""

from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyCommand,
    CastRanking,
    Elect,
    JoinGroup,
    LeaveGroup,
    OpenSession,
    PublishScore,
    Resign,
    Stand,
)
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.protocol.core import numbers_before
from mabeam_p2p.records import Among, Election
from mabeam_p2p.requests import (
    Answer,
    Await,
    Committed,
    Done,
    ElectionQuery,
    Found,
    MailSent,
    SeatQuery,
    SendMail,
    TakeMail,
)
from mabeam_p2p.requests import Read as ReadRequest
from mabeam_p2p.testing.agents import SimulatedAgent, Workload
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import SECOND

SEATS = {"lead": "all", "g:lead": "g", "g:scout": "g"}
"""By name, the group."""

TIMEOUTS = (SECOND // 3, 15 * SECOND)
PENDING_MAX = 10
"""Requests of one agent that are under way: then it waits for some to end."""


class SeatAgent(SimulatedAgent):
    """One that wants seats, and votes on them."""

    def __init__(self, workload: Workload, host: Host) -> None:
        super().__init__(workload, host, 0)
        self.name = AgentId(f"sitter@peer-{host.letter.lower()}")
        self._lots = workload.simulator.stream(f"seats {host.letter}")
        self._letters = 0
        """Number of the letter that was taken last, of those that came to this process."""

    def begin(self) -> None:
        super().begin()
        self._letters = numbers_before(self.host.disk.epoch)
        self._later_step()

    def _opening(self, number: int) -> OpenSession:
        # A copy must be one: what it is in is the same each time.
        return replace(super()._opening(number), groups=("g",))

    def _next(self, session: SessionId) -> None:
        """Nothing: all is done at the turns."""

    # ---- turns -------------------------------------------------------------------------------

    def _later_step(self) -> None:
        think = self._workload.weather.agents.think
        pause = 1 + int(self._lots.expovariate(1.0) * max(20_000, think))
        self._simulator.after(pause, self._if_alive, self._life, self._step)

    def _step(self) -> None:
        self._later_step()
        if not self._is_open or self.pending >= PENDING_MAX:
            return
        if self._lots.random() < 0.2 and self.answer_polls():
            return
        lots, seat = self._lots, self._lots.choice(list(SEATS))
        draw = lots.random()
        if draw < 0.25:
            self._elect(seat)
        elif draw < 0.6:
            self._look(seat)
        elif draw < 0.7:
            self._say(Resign(self.session, self.number(), seat))
        elif draw < 0.78:
            self._say(Stand(self.session, self.number(), seat, lots.random() < 0.7))
        elif draw < 0.86:
            scores = tuple((name, lots.randrange(0, 1001, 100)) for name in ("fit", "sane"))
            about = lots.choice(("", seat))
            self._say(PublishScore(self.session, self.number(), about, scores))
        elif draw < 0.9:
            self._say(lots.choice((JoinGroup, LeaveGroup))(self.session, self.number(), "g"))
        else:
            self._write()

    def _say(self, command: AnyCommand) -> None:
        self.submit(command, lambda answer: None)

    def _elect(self, seat: str) -> None:
        lots = self._lots
        command = Elect(
            self.session,
            self.number(),
            seat,
            SEATS[seat],
            lots.choice(TIMEOUTS),
            stands=lots.random() < 0.4,
            challenge=lots.random() < 0.3,
            among=lots.choice(tuple(Among)),
            weights=lots.choice(((), (("fit", 3), ("sane", 1)))),
        )

        def asked(answer: Answer) -> None:
            if isinstance(answer, Committed):
                query = ElectionQuery(seat, answer.number) if answer.number else SeatQuery(seat)
                self.ask(Await(query, self.wait()), self._told)

        self.submit(command, asked)

    def _told(self, answer: Answer) -> None:
        """What an asker is told of a seat is what the log had made of it at that index."""
        if not isinstance(answer, Found):
            return
        judge = self._workload.outcomes.seats
        for seat in answer.seats:
            if seat.token > judge.seats[seat.name].token:
                raise Violation("seats", f"{self.name} is told of a grant to come: {seat}")
            if seat.holder and not seat.token:
                raise Violation("seats", f"{self.name} is told of a holder without a token: {seat}")

    def _look(self, seat: str) -> None:
        def seen(answer: Answer) -> None:
            if isinstance(answer, Found):
                for one in answer.seats:
                    if one.election is not None and self.name in one.election.electorate:
                        self._rank(one.election)

        self.ask(ReadRequest(SeatQuery(seat), False, self.wait()), seen)

    def _rank(self, election: Election) -> None:
        lots = self._lots
        points = tuple(
            (one.agent, lots.randrange(0, 1001, 250))
            for one in election.candidates
            if lots.random() < 0.8
        )
        if lots.random() < 0.4:
            points = ()
        number = election.opened_index
        self._say(CastRanking(self.session, self.number(), election.seat, number, points))

    # ---- letters -----------------------------------------------------------------------------

    def _write(self) -> None:
        """To all others of the group; or take one of the letters that have come."""
        lots = self._lots
        if lots.random() < 0.5:
            self._letters += 1
            self.ask(TakeMail(self.name, self._letters, b"\x01"), self._done)
            return
        asks = lots.random() < 0.5
        letter = SendMail(self.name, (), "g", "topic", b"\x01", asks, lots.choice(TIMEOUTS))
        self.ask(letter, self._sent)

    def _sent(self, answer: Answer) -> None:
        if isinstance(answer, MailSent):
            fates = [*answer.delivered, *answer.full, *answer.unreachable]
            if len(dict.fromkeys(fates)) != len(fates) or self.name in fates:
                raise Violation("mail", f"{self.name}: one agent, two fates: {answer}")

    def _done(self, answer: Answer) -> None:
        if not isinstance(answer, Done):
            raise Violation("mail", f"taking a letter is answered {answer}")
