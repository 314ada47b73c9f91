"""A node, a codec and a disk that do what a test tells them, behind the real ports."""

import json
import threading
from collections.abc import Callable, Sequence
from math import inf

from mabeam_p2p.commands import AnyCommand, AppendJournal
from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Effect, Effects, Resolve
from mabeam_p2p.errors import RemoteProtocolError, StorageError
from mabeam_p2p.ids import AgentId, ClusterId, PeerId, SessionId
from mabeam_p2p.messages import Frame, Message, Probe
from mabeam_p2p.ports import Codec, Discovery, Storage
from mabeam_p2p.records import Credentials, DiskUsage, HardState, Record, Recovered, Standing
from mabeam_p2p.requests import (
    ChangeVoters,
    Done,
    Leave,
    Request,
    SendMail,
    SetVariables,
    Submit,
    TransferLeadership,
    VariableChange,
)
from mabeam_p2p.runtime.clock import SystemClock
from mabeam_p2p.runtime.driver import Driver, Gate, NodeVerbs
from tests.transport.memory import MemoryTransport, Wire

PEER = PeerId("00000000000000aa")
OTHER = PeerId("00000000000000bb")
STANDING = Standing(0, 0, 0, 0)
WITH_EFFECTS: tuple[Request, ...] = (
    Submit(AppendJournal(SessionId(1), 1, "runs", b"\x01")),
    ChangeVoters(OTHER, True),
    TransferLeadership(OTHER),
    SetVariables((VariableChange("epsilon", "lww", b"\x01"),)),
    SendMail(AgentId("a@alpha"), (AgentId("b@beta"),), "", "news", b"\x01", False, 1_000_000),
)
"""One of each kind that may be done though nobody was answered."""


def probe(number: int) -> Probe:
    return Probe(number, STANDING)


def record(term: int) -> HardState:
    return HardState(0, term, PEER)


class FakeNode:
    """Keeps what it was told, and leaves in each turn what `on_request` and others return."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.deadline = inf
        self.known_credentials = Credentials()
        self.flush_count = 0
        self.answers_leave = True
        self.sequence = 0
        self.usage: DiskUsage | None = None
        self.on_start: Callable[[], Effects] = tuple
        self.on_receive: Callable[[Frame], Effects] = lambda frame: ()
        self.on_request: Callable[[int, Request], Effects] = lambda token, request: ()
        self.on_tick: Callable[[], Effects] = tuple
        self.on_flush: Callable[[], Effects] = tuple

    def start(self, now: float) -> Effects:
        self.told.append(("start", None))
        return self.on_start()

    def receive(self, frame: Frame, now: float) -> Effects:
        self.told.append(("receive", frame))
        return self.on_receive(frame)

    def request(self, token: int, request: Request, now: float) -> Effects:
        self.told.append(("request", request))
        if isinstance(request, Leave) and self.answers_leave:
            return (Resolve(token, Done()),)
        return self.on_request(token, request)

    def moved(self, address: str, now: float) -> Effects:
        self.told.append(("moved", address))
        return ()

    def cancel(self, token: int, now: float) -> Effects:
        self.told.append(("cancel", token))
        return ()

    def stored(self, number: int, now: float, usage: DiskUsage | None = None) -> Effects:
        self.told.append(("stored", number))
        self.usage = usage
        return ()

    def tick(self, now: float) -> Effects:
        self.told.append(("tick", None))
        self.deadline = inf
        return self.on_tick()

    def credentials(self) -> Credentials:
        return self.known_credentials

    def flush(self, now: float) -> Effects:
        self.flush_count += 1
        return self.on_flush()

    def next_deadline(self) -> float:
        return self.deadline

    def frame(self, target: PeerId, messages: tuple[Message, ...]) -> Frame:
        self.sequence += 1
        return Frame(1, PEER, 1, 1, self.sequence, ClusterId(""), messages)


class FakeCodec:
    """Knows probes only, as JSON of their numbers."""

    def __init__(self, frame_bytes_max: int = 2**20) -> None:
        self._frame_bytes_max = frame_bytes_max

    def fits(self, data: bytes) -> bool:
        return len(data) <= self._frame_bytes_max

    def encode_frame(self, frame: Frame) -> bytes:
        numbers = [message.number for message in frame.messages if isinstance(message, Probe)]
        assert len(numbers) == len(frame.messages)
        return json.dumps(numbers).encode()

    def decode_frame(self, data: bytes) -> Frame:
        try:
            numbers = [int(number) for number in json.loads(data)]
        except (ValueError, TypeError) as error:
            raise RemoteProtocolError("garbage", str(error)) from error
        return Frame(1, OTHER, 1, 1, 1, ClusterId(""), tuple(map(probe, numbers)))

    def encode_commands(self, commands: Sequence[AnyCommand]) -> bytes:
        raise NotImplementedError

    def decode_commands(self, count: int, blob: bytes) -> tuple[AnyCommand, ...]:
        raise NotImplementedError


class FakeDisk:
    """Writes when `gate` is open; fails at the write of number `fails_at`, counted from 1."""

    path = ":memory:"

    def __init__(self, fails_at: int = 0) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.writes: list[tuple[Record, ...]] = []
        self.started_count = 0
        self.fails_at = fails_at
        self.is_closed = False

    def recover(self) -> Recovered:
        return Recovered(PEER, 1)

    def write(self, records: Sequence[Record]) -> None:
        assert not self.is_closed
        self.started_count += 1
        assert self.gate.wait(30)
        if self.started_count == self.fails_at:
            raise StorageError("planted failure", path=self.path)
        self.writes.append(tuple(records))

    def usage(self) -> DiskUsage | None:
        return DiskUsage(len(self.writes), 10)

    def close(self) -> None:
        self.is_closed = True


def make_driver(
    node: NodeVerbs,
    *,
    storage: Storage | None = None,
    transport: MemoryTransport | None = None,
    codec: Codec | None = None,
    limits: Limits | None = None,
    discoveries: Sequence[Discovery] = (),
    gate: Gate | None = None,
) -> Driver:
    return Driver(
        peer=PEER,
        name="alpha",
        cluster="tests",
        node=node,
        codec=codec or FakeCodec(),
        storage=storage or FakeDisk(),
        transport=transport or MemoryTransport(Wire()),
        discoveries=discoveries,
        limits=limits or Limits(),
        clock=SystemClock(),
        gate=gate,
    )


def effects(*items: Effect) -> Effects:
    return items
