"""A peer that answers about one seat as a test tells it."""

from mabeam_p2p import (
    Timing,
)
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.commands import Elect
from mabeam_p2p.events import QuorumChanged, SeatChanged
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Agent as AgentRecord
from mabeam_p2p.records import Candidate, Seat
from mabeam_p2p.records import Election as ElectionRecord
from mabeam_p2p.requests import (
    Await,
    Committed,
    ElectionQuery,
    Failed,
    Found,
    Read,
    Refused,
    Request,
    SeatQuery,
    Submit,
)
from tests.api.fakes import PEER, FakePeer, Reply, attachment, usual

ME, OTHER = AgentId("a@ant"), AgentId("b@bee")
NOBODY = AgentId("")


def seat(
    holder: AgentId = ME, token: int = 7, *, name: str = "lead", reason: str = "", changed: int = 0
) -> Seat:
    return Seat(name, "all", holder, token, 5_000_000, changed or token, reason)


def election(
    number: int = 5, *, electorate: tuple[AgentId, ...] = (ME, OTHER), seconds: float = 10.0
) -> ElectionRecord:
    candidates = (Candidate(ME, 1, 300, (("performance", 300),)), Candidate(OTHER, 2, 900))
    deadline = round(seconds * 1_000_000)
    return ElectionRecord("lead", "all", number, 0, deadline, OTHER, candidates, electorate)


class SeatPeer(FakePeer):
    """Answers elections with `number`, and questions for the seat with `found`."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.found: list[Seat] = []
        """One for each question, the last one for those that follow."""
        self.refuses: dict[type, Refused | Failed] = {}
        self.reply = self._reply

    def _reply(self, request: Request) -> Reply:
        match request:
            case Submit(command=command) if type(command) in self.refuses:
                return self.refuses[type(command)]
            case Submit(command=Elect()):
                return Committed(3, 1, self.number)
            case Read(query=SeatQuery(seat)) if not seat:
                return Found(0, 0.0, False)
            case Read(query=SeatQuery() | ElectionQuery()) | Await():
                if not self.found:
                    return None if isinstance(request, Await) else Found(0, 0.0, False)
                one = self.found.pop(0) if len(self.found) > 1 else self.found[0]
                return Found(9, 0.0, False, seats=(one,))
            case _:
                return usual(request)

    def said(self, kind: type) -> list[object]:
        return [command for command in self.commands() if isinstance(command, kind)]

    def give(self, one: Seat) -> None:
        self.tell(SeatChanged(one))


async def agent_at(
    peer: FakePeer, *, groups: tuple[str, ...] = (), timing: Timing | None = None
) -> Agent:
    tied = attachment(peer) if timing is None else Attachment(peer, timing=timing)
    agent = Agent(tied, Profile("a", groups=groups))
    await agent.session.open()
    agent.begin()
    peer.tell(QuorumChanged(True))
    return agent


def record(session: SessionId) -> AgentRecord:
    return AgentRecord(ME, PEER, 1, session, (), True, True, (), 1)
