"""The floods of tools/floods, each a process of its own.

It says `ready` once it could begin, and begins at the next line that it hears, in the way that this
names. At SIGTERM, or when nobody speaks to it any more, it says how many bytes it has sent in that
way, in how many frames or packets, and ends.
"""

import asyncio
import contextlib
import secrets
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import zmq

from mabeam_p2p import assembly
from mabeam_p2p.addresses import join_address, split_address
from mabeam_p2p.config import PROTOCOL_VERSION, SERVICE_TYPE, Config, Limits
from mabeam_p2p.ids import ClusterId
from mabeam_p2p.messages import Frame, Message, VariablePush
from mabeam_p2p.records import Member, Variable
from mabeam_p2p.requests import (
    WAIT_ALL,
    Acknowledged,
    Members,
    ReadMembers,
    ReadStatus,
    ReadVariables,
    SetVariables,
    StatusAnswer,
    VariableChange,
    Variables,
)
from mabeam_p2p.runtime.driver import Driver
from mabeam_p2p.security.gatekeeper import Gatekeeper
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.keyring import open_keyring, shared_path
from mabeam_p2p.transport.curve import as_client
from mabeam_p2p.transport.introductions import UNREACHED, JoinPort
from mabeam_p2p.transport.options import dealer_options
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.codec import CborCodec
from mabeam_p2p.wire.joining import JoinCodec

CLUSTER = "floods"
FLOODER = "fly"
"""The member that floods."""
HALF_OPEN_COUNT = 500
MDNS_PACKETS_PER_SECOND = 2_000
MDNS = ("224.0.0.251", 5353)
LINE_BYTES_PER_SECOND = 125_000_000
"""A gigabit a second, to all targets together."""
MAX_VOTERS = 3
ELSEWHERE, PEERS = "elsewhere", "peers"
"""What a member floods: a peer that no commit waits for, or those that commit."""
FRAMES_QUEUED = 4
"""Of a member, for each target, in libzmq."""
LARGE_VALUE_BYTES = 60_000
SMALL_VALUE_BYTES = 8
PUSHES_MAX = 100
"""In one frame, to begin with."""
JOINS_SECONDS_MAX = 60.0
HANDSHAKE_MILLISECONDS = 30_000


class Orders:
    """`addresses`: of the join ports of the peers to flood; of the last one, that which is
    elsewhere. `folder`: where to keep things."""

    def __init__(self, addresses: Sequence[str], folder: Path) -> None:
        *self.addresses, self.elsewhere = addresses
        self.folder = folder
        self.sent_bytes = self.sent_count = 0
        self.where = ""
        self._begun = threading.Event()
        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    @property
    def is_on(self) -> bool:
        return not self._stop.is_set()

    def wait_for_start(self) -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        threading.Thread(target=self._hear, daemon=True).start()
        self._begun.wait()

    def _hear(self) -> None:
        for line in sys.stdin:
            self.where, self.sent_bytes, self.sent_count = line.strip(), 0, 0
            self._begun.set()
        self._stop.set()
        self._begun.set()

    def pace(self, due: float, byte_count: int, bytes_per_second: float) -> float:
        """Count what was sent, wait until the line is free again, and say when that is."""
        self.sent_bytes += byte_count
        self.sent_count += 1
        # What the line did not carry in the last second is lost to it.
        due = max(due + byte_count / bytes_per_second, time.monotonic() - 1.0)
        time.sleep(max(0.0, due - time.monotonic()))
        return due


# ---- of strangers -----------------------------------------------------------------------------


def half_open(orders: Orders) -> None:
    def opened(address: str) -> socket.socket:
        host, port = split_address(address)
        found = socket.create_connection((host, port), timeout=5)
        found.setblocking(False)
        return found

    orders.wait_for_start()
    places = [place for a in orders.addresses for place in (a, data_address(a))]
    connections = [(place, opened(place)) for place in places for _ in range(HALF_OPEN_COUNT)]
    while orders.is_on:
        time.sleep(0.2)
        for number, (address, connection) in enumerate(connections):
            with contextlib.suppress(BlockingIOError):
                while connection.recv(4096):
                    pass
                connection.close()
                connections[number] = address, opened(address)


def data_address(address: str) -> str:
    """Of the peer whose join port is there, as the next one was free."""
    host, port = split_address(address)
    return join_address(host, port + 1)


def mdns(orders: Orders) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sender.bind(("127.0.0.1", 0))
        orders.wait_for_start()
        due = time.monotonic()
        while orders.is_on:
            for _ in range(20):
                orders.sent_bytes += sender.sendto(_announcement(), MDNS)
                orders.sent_count += 1
            due += 20 / MDNS_PACKETS_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))


def _name(*labels: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\x00"


def _announcement() -> bytes:
    """One of a peer that is not there: PTR, SRV, TXT and A."""
    instance = secrets.token_hex(8)
    kind = SERVICE_TYPE.rstrip(".").split(".")
    host = _name(instance, "local")
    text = b"".join(
        bytes((len(entry),)) + entry.encode()
        for entry in ("v=1", f"id={instance}", f"cluster={'0' * 16}", "epoch=1")
    )
    records = (
        (_name(*kind), 12, _name(instance, *kind)),
        (_name(instance, *kind), 33, struct.pack(">HHH", 0, 0, 9) + host),
        (_name(instance, *kind), 16, text),
        (host, 1, socket.inet_aton("127.0.0.1")),
    )
    head = struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0)
    return head + b"".join(
        name + struct.pack(">HHIH", number, 1, 120, len(data)) + data
        for name, number, data in records
    )


# ---- of a member ------------------------------------------------------------------------------


class MemberThatFloods:
    """A peer of the cluster, which goes on as any other does; beside that it says, over connections
    of its own under its key, what no peer would say so often."""

    def __init__(self, driver: Driver, orders: Orders) -> None:
        self.codec = CborCodec(driver.limits)
        self._driver = driver
        self._backend = assembly.loop_backend(driver)
        self._orders = orders
        self.cluster_id = ClusterId("")
        self.me: Member | None = None
        self.targets: list[Member] = []

    async def join(self) -> None:
        """Return once the cluster has taken it in, and it knows all targets."""
        async with asyncio.timeout(JOINS_SECONDS_MAX):
            wanted = (*self._orders.addresses, self._orders.elsewhere)
            while len(self.targets) < len(wanted) or not self.cluster_id:
                await asyncio.sleep(0.1)
                told = await self._backend.ask(ReadStatus())
                assert isinstance(told, StatusAnswer)
                self.cluster_id = told.status.cluster_id
                known = await self._backend.ask(ReadMembers())
                assert isinstance(known, Members)
                members = {member.peer: member for member in known.members}
                self.me = members.pop(self._driver.peer, None)
                self.targets = [m for m in members.values() if m.address in wanted]

    async def written(self, count: int, size: int) -> tuple[Variable, ...]:
        """Variables that it has written, and everybody has."""
        value = cbor.encode(bytes(size))
        changes = [VariableChange(f"flood/{n}", "lww", value) for n in range(count)]
        for start in range(0, count, 64):
            written = SetVariables(tuple(changes[start : start + 64]), WAIT_ALL, JOINS_SECONDS_MAX)
            answer = await self._backend.ask(written)
            assert isinstance(answer, Acknowledged), answer
        found = await self._backend.ask(ReadVariables(""))
        assert isinstance(found, Variables)
        return found.variables

    def frame(self, target: Member, messages: tuple[Message, ...]) -> bytes:
        assert self.me is not None
        return self.codec.encode_frame(
            Frame(
                PROTOCOL_VERSION,
                self.me.peer,
                self.me.epoch,
                target.epoch,
                1,
                self.cluster_id,
                messages,
                target.peer,
            )
        )

    async def flood(self, frames: "Frames") -> None:
        """frames: by the address to which each is sent, again and again."""
        folder = self._orders.folder / FLOODER
        keys = Gatekeeper(
            Guard(self._driver.peer, open_keyring(folder, shared_path(CLUSTER))), JoinCodec()
        )
        port = JoinPort("127.0.0.1", 0, keys)
        port.start(0, _raise)
        with zmq.Context() as context, contextlib.ExitStack() as stack:
            stack.callback(port.close)
            lines: dict[str, list[tuple[zmq.Socket[bytes], bytes]]] = {PEERS: [], ELSEWHERE: []}
            for address, data in frames.items():
                key, place = await _introduced(port, address)
                dealer = stack.enter_context(context.socket(zmq.DEALER))
                for option in dealer_options(Limits().frame_bytes_max):
                    dealer.setsockopt(option.name, option.value)
                dealer.setsockopt(zmq.SNDHWM, FRAMES_QUEUED)
                as_client(dealer, keys.pair, key)
                dealer.connect(place)
                # With IMMEDIATE it can send once the handshake is done.
                if not await asyncio.to_thread(dealer.poll, HANDSHAKE_MILLISECONDS, zmq.POLLOUT):
                    raise ConnectionError(f"{address} does not let {FLOODER} in")
                where = ELSEWHERE if address == self._orders.elsewhere else PEERS
                lines[where].append((dealer, data))
            await asyncio.to_thread(self._send_forever, lines)

    def _send_forever(self, lines: dict[str, list[tuple["zmq.Socket[bytes]", bytes]]]) -> None:
        self._orders.wait_for_start()
        due = time.monotonic()
        while self._orders.is_on:
            for dealer, data in lines[self._orders.where]:
                try:
                    dealer.send(data, zmq.NOBLOCK)
                except zmq.Again:
                    time.sleep(0.001)
                else:
                    due = self._orders.pace(due, len(data), LINE_BYTES_PER_SECOND)


def _raise(error: BaseException) -> None:
    raise error


async def _introduced(port: JoinPort, address: str) -> tuple[bytes, str]:
    """The key of the peer there, and the endpoint of its data."""
    loop = asyncio.get_running_loop()
    refusal = UNREACHED
    while refusal == UNREACHED:
        ended: asyncio.Future[tuple[tuple[bytes, int] | None, str]] = loop.create_future()
        port.visit(address, partial(_settle, ended))
        place, refusal = await ended
        if place is not None:
            return place[0], f"tcp://{join_address(split_address(address)[0], place[1])}"
    raise ConnectionError(f"{address} does not let {FLOODER} in: {refusal}")


def _settle(
    ended: "asyncio.Future[tuple[tuple[bytes, int] | None, str]]",
    place: tuple[bytes, int] | None,
    refusal: str,
) -> None:
    ended.set_result((place, refusal))


Frames = dict[str, bytes]


async def _as_member(
    orders: Orders, frames: Callable[[MemberThatFloods], Awaitable[Frames]]
) -> None:
    config = Config(
        name=FLOODER,
        cluster=CLUSTER,
        data_dir=str(orders.folder / FLOODER),
        seeds=tuple(orders.addresses),
        mdns=False,
        max_voters=MAX_VOTERS,
    )
    driver = assembly.build(config)
    await driver.start()
    try:
        member = MemberThatFloods(driver, orders)
        await member.join()
        await member.flood(await frames(member))
    finally:
        await driver.close()


def garbage(orders: Orders) -> None:
    async def frames(member: MemberThatFloods) -> Frames:
        size = Limits().frame_bytes_max - 16
        data = b"\x87\x01\x5a" + (size - 16).to_bytes(4, "big") + bytes(size - 16)
        return {target.address: data for target in member.targets}

    asyncio.run(_as_member(orders, frames))


def maximal(orders: Orders) -> None:
    _push_forever(orders, count=4, size=LARGE_VALUE_BYTES)


def crowded(orders: Orders) -> None:
    _push_forever(orders, count=100, size=SMALL_VALUE_BYTES)


def _push_forever(orders: Orders, *, count: int, size: int) -> None:
    """Frames that push so many variables, as often as is read."""

    async def frames(member: MemberThatFloods) -> Frames:
        push = VariablePush(0, await member.written(count, size), 0)
        most = PUSHES_MAX
        while not member.codec.fits(member.frame(member.targets[0], (push,) * most)):
            most -= 1
        return {t.address: member.frame(t, (push,) * most) for t in member.targets}

    asyncio.run(_as_member(orders, frames))


FLOODS: dict[str, Callable[[Orders], None]] = {
    "half-open": half_open,
    "garbage": garbage,
    "maximal": maximal,
    "crowded": crowded,
    "mdns": mdns,
}


def main() -> None:
    name, folder, *addresses = sys.argv[1:]
    orders = Orders(addresses, Path(folder))
    FLOODS[name](orders)
    sys.stdout.write(f"{orders.sent_bytes} {orders.sent_count}\n")


if __name__ == "__main__":
    main()
