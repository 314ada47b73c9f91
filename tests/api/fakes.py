"""A peer that answers as a test tells it, behind the real port."""

import asyncio
from collections.abc import Awaitable, Callable

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.events import Event
from mabeam_p2p.ids import AgentId, ClusterId, PeerId, ProposalId
from mabeam_p2p.inquiries import EvidenceAnswer, ReadEvidence
from mabeam_p2p.records import Evidence, Policy, Proposal, Status, Vote
from mabeam_p2p.requests import (
    Answer,
    Committed,
    Found,
    Members,
    Read,
    ReadMembers,
    ReadStatus,
    ReadVariables,
    Request,
    StatusAnswer,
    Submit,
    Variables,
)
from mabeam_p2p.wire.cbor import encode_value

PEER = PeerId("00000000000000aa")

Reply = Answer | Exception | None
"""None: no answer yet; the request waits until the test answers or nobody waits any more."""


class FakePeer:
    """The Backend of `ports`. `reply` says what a request comes to."""

    def __init__(self) -> None:
        self.peer = PEER
        self.peer_name = "ant"
        self.cluster = "test"
        self.asked: list[Request] = []
        self.waiting: list[asyncio.Future[Answer]] = []
        self.is_closed = False
        self.reply: Callable[[Request], Reply] = usual
        self._listeners: list[Callable[[Event], None]] = []

    def ask(self, request: Request) -> Awaitable[Answer]:
        self.asked.append(request)
        reply = self.reply(request)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        match reply:
            case None:
                self.waiting.append(future)
            case Exception():
                future.set_exception(reply)
            case _:
                future.set_result(reply)
        return future

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def close(self) -> None:
        self.is_closed = True

    def tell(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    def commands(self) -> list[AnyCommand]:
        """What was submitted, in order."""
        return [request.command for request in self.asked if isinstance(request, Submit)]


def usual(request: Request) -> Reply:
    """A healthy peer on which nothing has happened yet."""
    match request:
        case Submit():
            return Committed(1, 1, 1)
        case ReadStatus():
            return StatusAnswer(status())
        case ReadMembers():
            return Members((), ())
        case ReadVariables():
            return Variables(())
        case Read():
            return Found(0, 0.0, request.linearizable)
        case ReadEvidence(peer=peer):
            return EvidenceAnswer(Evidence(peer, PEER, None))
        case _:
            return None


def attachment(peer: FakePeer, **limits: int) -> Attachment:
    """With short times, so that what waits for them ends soon."""
    timing = Timing(request_timeout_seconds=2.0, dead_seconds=0.05, departure_grace_seconds=0.05)
    return Attachment(peer, limits=Limits(**limits), timing=timing)


def status() -> Status:
    return Status(
        PEER,
        "ant",
        "test",
        ClusterId("0" * 32),
        "leader",
        PEER,
        "ant",
        1,
        1,
        1,
        1,
        True,
        (PEER,),
        (),
        1,
        "127.0.0.1:1",
        1,
        1,
        ready=True,
    )


def proposal(
    parameter: str = "rate",
    *,
    group: str = "all",
    seconds: float = 30.0,
    votes: tuple[Vote, ...] = (),
    agent: str = "a@ant",
) -> Proposal:
    """An open proposal of value 1 with one agent in its electorate."""
    return Proposal(
        ProposalId(f"on {parameter}" if group == "all" else f"on {parameter} in {group}"),
        parameter,
        encode_value(1, 100),
        AgentId("other@bee"),
        "why",
        b"",
        group,
        Policy(),
        None,
        (AgentId(agent),),
        1,
        1,
        0,
        round(seconds * 1_000_000),
        votes,
    )
