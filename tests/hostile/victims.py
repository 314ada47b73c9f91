"""A peer that leads a cluster of its own, and whoever speaks to it: in plain text anybody, and with
keys a member that the log has admitted, and that has gone wrong since."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import zmq
from msgspec.structs import replace

from mabeam_p2p import assembly
from mabeam_p2p.addresses import join_address
from mabeam_p2p.config import MACHINE_VERSION, PROTOCOL_VERSION, Config, Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.events import Dropped, Event, KeysChanged
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.limits import rules_of
from mabeam_p2p.messages import Frame, Hello
from mabeam_p2p.ports import Gatekeeper as Keys
from mabeam_p2p.records import Able, Member, MemberState
from mabeam_p2p.requests import (
    AgentQuery,
    Found,
    Members,
    Read,
    ReadMembers,
    ReadStatus,
    StatusAnswer,
)
from mabeam_p2p.runtime.driver import Driver
from mabeam_p2p.security.gatekeeper import Gatekeeper
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.keyring import KeyPair, open_keyring, shared_path
from mabeam_p2p.transport.curve import as_client
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from mabeam_p2p.wire.joining import JoinCodec
from tests.eventually import eventually
from tests.hostile.entrances import CODEC
from tests.wire.samples import ONE

FLUSH_EVERY = 64
CONNECTION_FRAMES, CONNECTION_BYTES = 200, 512 * 1024
"""From one connection: after more nonsense it would not be read for a while."""


class Victim:
    """A peer that leads a cluster of its own, and the sockets of whoever speaks to it."""

    def __init__(
        self, config: Config, driver: Driver, context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        self.config = config
        self.driver = driver
        self.backend = assembly.loop_backend(driver)
        self.raised: list[dict[str, Any]] = []
        self.told: dict[str, Counter[str]] = defaultdict(Counter)
        """By source, of what cannot be read nobody: why it has dropped how many, as far as its
        agents were told."""
        self.admitted: list[PeerId] = []
        self.pair: KeyPair | None = None
        """Of who speaks to it; None: it speaks in plain text."""
        self.undecodable: Counter[str] = Counter()
        """Why what was sent is no frame."""
        self.misattributed = 0
        """Frames that were sent and say that they are another peer's."""
        self._context = context
        self._sent = 0
        driver.listen(self._hear)

    def _hear(self, event: Event) -> None:
        match event:
            case Dropped():
                self.told[event.source][event.reason] += event.count
            case KeysChanged(what="admitted"):
                self.admitted.append(event.peer)
            case _:
                pass

    @property
    def transport(self) -> ZeroMqTransport:
        transport = self.driver._transport
        assert isinstance(transport, ZeroMqTransport)
        return transport

    @property
    def keys(self) -> Keys | None:
        return self.transport._keys

    @property
    def data_address(self) -> str:
        return join_address("127.0.0.1", self.transport._bound_port())

    async def send(self, frames: Iterable[bytes]) -> None:
        """All of them, each once; return when the last one was received."""
        some: list[bytes] = []
        for data in frames:
            if len(some) == CONNECTION_FRAMES or sum(map(len, some)) > CONNECTION_BYTES:
                await self._send_some(some)
                some = []
            some.append(data)
        await self._send_some(some)
        assert self.counter("muted") == 0

    async def _send_some(self, frames: Sequence[bytes]) -> None:
        with self.connection() as dealer:
            await self._send(dealer, frames)

    @contextmanager
    def connection(self) -> Iterator[zmq.Socket[bytes]]:
        with self._context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            if self.pair is not None:
                assert self.keys is not None
                as_client(dealer, self.pair, self.keys.pair.public)
            dealer.connect(f"tcp://{self.data_address}")
            yield dealer

    async def _send(self, dealer: zmq.Socket[bytes], frames: Sequence[bytes]) -> None:
        for data in frames:
            self._judge(data)
            while True:
                try:
                    dealer.send(data, zmq.NOBLOCK)
                    break
                except zmq.Again:
                    await asyncio.sleep(0.001)
            self._sent += 1
            if self._sent % FLUSH_EVERY == 0:
                await asyncio.sleep(0)
        await eventually(lambda: self.counter("received") >= self._sent, 100.0)

    def _judge(self, data: bytes) -> None:
        try:
            source = CODEC.decode_frame(data).source
        except RemoteProtocolError as error:
            self.undecodable[error.reason] += 1
        else:
            self.misattributed += self.pair is not None and source != ONE

    def counter(self, name: str) -> int:
        return self.driver.counters()[f"transport_{name}"]

    async def cluster_id(self) -> ClusterId:
        answer = await self.backend.ask(ReadStatus())
        assert isinstance(answer, StatusAnswer)
        return answer.status.cluster_id

    async def check_it_serves(self) -> None:
        """What a majority confirms is still confirmed, and nothing went wrong on the way."""
        await check_it_is_served(self.driver)
        assert self.driver.is_running
        assert self.driver.failure is None
        assert self.raised == []

    async def check_it_serves_others(self) -> None:
        """Another peer comes to its cluster, and is told what a majority confirms."""
        address = (self.driver.address,)
        config = replace(self.config, name="other", expect=2, seeds=address)
        async with running(config) as other:
            await check_it_is_served(other)
        await self.check_it_serves()

    def check_it_has_counted(self) -> None:
        """Whatever it has dropped as it came, and why."""
        counters = self.driver.counters()
        assert counters["frames_undecodable"] == self.undecodable.total()
        assert counters["frames_misattributed"] == self.misattributed
        assert counters["transport_refused_key"] == 0
        told = self.told[""]
        assert told.keys() == self.undecodable.keys()
        # The rest of a burst is told with the next of its kind.
        assert told <= self.undecodable


async def check_it_is_served(driver: Driver) -> None:
    backend = assembly.loop_backend(driver)
    answer = await backend.ask(Read(AgentQuery(), linearizable=True, timeout=30.0))
    assert isinstance(answer, Found)


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Driver]:
    driver = assembly.build(config)
    try:
        await driver.start()
        yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def victim(*, has_keys: bool = False) -> AsyncIterator[Victim]:
    config = Config(
        name="hill",
        # Not the same: where this user's peers have had keys, none speaks without.
        cluster="hostile-keys" if has_keys else "hostile",
        data_dir=assembly.IN_MEMORY,
        mdns=False,
        expect=1,
        insecure_plaintext=not has_keys,
    )
    async with running(config) as driver:
        with zmq.Context() as context:
            found = Victim(config, driver, context)
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: found.raised.append(context))
            await found.check_it_serves()
            assert (found.keys is not None) == has_keys
            yield found


async def introduced(v: Victim) -> Frame:
    """The stranger becomes a member; the head of what it says from now on."""
    if v.keys is not None:
        v.pair = await proved(v, v.keys)
    cluster_id = await v.cluster_id()
    member = Member(ONE, "one", "127.0.0.1:9", 4, 0, MemberState.ALIVE)
    able = Able(PROTOCOL_VERSION, PROTOCOL_VERSION, MACHINE_VERSION, rules_of(Limits()))
    hello = Hello(v.driver.cluster, cluster_id, member, answer=False, able=able)
    head = Frame(PROTOCOL_VERSION, ONE, 4, 0, 1, cluster_id, (hello,))
    await v.send([CODEC.encode_frame(head)])
    members = await v.backend.ask(ReadMembers())
    assert isinstance(members, Members)
    assert ONE in [known.peer for known in members.members]
    if v.keys is not None:
        await eventually(lambda: ONE in v.admitted)
    return Frame(PROTOCOL_VERSION, ONE, 4, 1, 2, cluster_id, ())


async def proved(v: Victim, keys: Keys) -> KeyPair:
    """A key under which somebody has proved the join secret to it."""
    keyring = open_keyring(None, shared_path(v.driver.cluster))
    gatekeeper = Gatekeeper(Guard(ONE, keyring), JoinCodec())
    frame_bytes_max = v.config.limits.frame_bytes_max
    transport = ZeroMqTransport("127.0.0.1:0", frame_bytes_max=frame_bytes_max, keys=gatekeeper)
    try:
        transport.start(lambda data: None)
        transport.connect(v.driver.peer, v.driver.address)
        await eventually(lambda: keys.speaker(keyring.pair.public) == ONE)
    finally:
        transport.close()
    return keyring.pair
