"""Announcements that no member has made: nobody is dialled for any of them. They come in behind the
throttle, which would drop most; every one of them is taken up if a member has signed it."""

import itertools
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from mabeam_p2p import assembly
from mabeam_p2p.addresses import join_address
from mabeam_p2p.config import Config, Limits
from mabeam_p2p.discovery.mdns import MdnsDiscovery
from mabeam_p2p.ids import PeerId
from mabeam_p2p.security.announcements import Announcements
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.keyring import open_keyring, shared_path
from mabeam_p2p.security.secrets import Secret
from tests.eventually import eventually
from tests.hostile.forging import KINDS, Address, Forger, Record, text_of
from tests.hostile.multicast import Ear
from tests.in_loop import in_loop
from tests.transport.keys import Cluster

COUNT = 1_400
SEED = 20_261
CLUSTER = f"spoofed-{os.getpid()}"
"""Multicast on loopback reaches every process, and other runs of these tests announce there."""


class Member:
    """It announces itself, and others overhear it."""

    def __init__(self, guard: Guard, gate: Secret | None, address: Address) -> None:
        assert gate is not None
        self._says = Announcements(guard, CLUSTER, 3)
        self._gate = gate
        self._address = address

    @property
    def own(self) -> Record:
        return self.signed(Record("true", self._says.instance.encode(), b"", self._address))

    def signed(self, record: Record) -> Record:
        """As it would be if a member had announced that address."""
        return record._replace(text=text_of(self._says.facts(*record.address)))

    def spoofed(self, addresses: Iterator[Address]) -> list[Record]:
        heard = self._says.facts(*self._address)
        forger = Forger(heard, self._address, CLUSTER, self._gate, SEED)
        return list(forger.records(addresses, COUNT))


# ---- what is suggested -----------------------------------------------------------------------


class Finder:
    def __init__(self) -> None:
        keys = Cluster()
        self.suggested: list[tuple[str, ...]] = []
        self.member = Member(keys.gatekeeper().guard, keys.gate, ("127.0.0.1", 7_946))
        self.discovery = MdnsDiscovery(
            peer=PeerId("f" * 16),
            cluster=CLUSTER,
            epoch=1,
            address="127.0.0.1:7001",
            expect=1,
            candidates_max=2 * COUNT,
            announcements=Announcements(keys.gatekeeper().guard, CLUSTER, 1),
        )
        self._ear = Ear(self.discovery)

    async def open(self) -> None:
        await self.discovery.start(self.suggested.append)
        await self._ear.open()

    async def hear(self, *records: Record) -> list[tuple[str, ...]]:
        """What is suggested for them."""
        count = len(self.suggested)
        for record in records:
            await self._ear.hear(record.packet)
        return self.suggested[count:]


@asynccontextmanager
async def finder() -> AsyncIterator[Finder]:
    found = Finder()
    try:
        await found.open()
        yield found
    finally:
        await found.discovery.close()


def addresses() -> Iterator[Address]:
    """Each another one."""
    for number in itertools.count():
        yield f"127.0.0.{1 + number % 9}", 20_000 + number


def text(record: Record) -> str:
    return join_address(*record.address)


@pytest.mark.slow
@in_loop
async def test_of_a_thousand_spoofed_announcements_none_is_suggested_and_the_true_one_is() -> None:
    async with finder() as f:
        spoofed = f.member.spoofed(addresses())
        assert min(Counter(record.kind for record in spoofed).values()) == COUNT // len(KINDS)
        first, others = spoofed[: COUNT // 2], spoofed[COUNT // 2 :]
        assert await f.hear(*first) == []
        assert await f.hear(f.member.own) == [(text(f.member.own),)]
        assert await f.hear(*others) == []


@pytest.mark.slow
@in_loop
async def test_the_same_announcements_are_suggested_if_a_member_has_signed_them() -> None:
    async with finder() as f:
        spoofed = f.member.spoofed(addresses())
        signed = [f.member.signed(record) for record in spoofed]
        assert await f.hear(*signed) == [(text(record),) for record in spoofed]


@in_loop
async def test_an_address_that_somebody_has_added_to_a_members_record_is_not_suggested() -> None:
    async with finder() as f:
        own = f.member.own
        added = own._replace(address=("127.0.0.9", own.address[1]))
        assert await f.hear(added) == []
        # Both are in the record now.
        assert await f.hear(own) == [(text(own),)]


# ---- what is dialled -------------------------------------------------------------------------


class Port:
    """It counts who connects to it."""

    def __init__(self, stack: ExitStack) -> None:
        self._socket = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._socket.setblocking(False)
        self._stack = stack
        self._count = 0

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._socket.getsockname()[1]

    def callers(self) -> int:
        """So far."""
        try:
            while True:
                self._stack.enter_context(self._socket.accept()[0])
                self._count += 1
        except BlockingIOError:
            return self._count


class Seeker:
    """A peer with keys, and the ports that records lead it to: those that are spoofed, and those of
    two members, one of which is announced among them and one after them all."""

    def __init__(self, stack: ExitStack) -> None:
        self.ports = [Port(stack) for _ in range(16)]
        self.first, self.last = Port(stack), Port(stack)
        config = Config(
            name="hill",
            cluster=CLUSTER,
            data_dir=assembly.IN_MEMORY,
            expect=1,
            limits=Limits(candidates_max=2 * COUNT),
        )
        self.driver = assembly.build(config)
        self.dialled: set[str] = set()
        self._observe()
        keyring = open_keyring(None, shared_path(CLUSTER))
        self.one, self.two = (
            Member(Guard(PeerId(number * 16), keyring), keyring.gate, port.address)
            for number, port in (("1", self.first), ("2", self.last))
        )

    def _observe(self) -> None:
        transport = self.driver._transport
        connect = transport.connect

        def connect_observed(target: str, address: str) -> None:
            self.dialled.add(address)
            connect(target, address)

        transport.connect = connect_observed  # type: ignore[method-assign]

    async def hear(self, records: list[Record]) -> None:
        """Returns once it has connected to both members."""
        (discovery,) = self.driver._discoveries
        assert isinstance(discovery, MdnsDiscovery)
        ear = Ear(discovery)
        await ear.open()
        for record in (*records[: COUNT // 2], self.one.own, *records[COUNT // 2 :]):
            await ear.hear(record.packet)
        await eventually(self.first.callers)
        # It has the same key as the other, and would be the same instance.
        await ear.hear(self.two.own._replace(instance=b"2" * 16).packet)
        await eventually(self.last.callers)

    def spoofed(self) -> list[Record]:
        return self.one.spoofed(itertools.cycle(port.address for port in self.ports))

    def called(self) -> list[bool]:
        """To which of the ports that are spoofed it has connected."""
        return [port.callers() > 0 for port in self.ports]


@asynccontextmanager
async def seeker() -> AsyncIterator[Seeker]:
    with ExitStack() as stack:
        found = Seeker(stack)
        try:
            await found.driver.start()
            yield found
        finally:
            await found.driver.close()


@pytest.mark.slow
@in_loop
async def test_a_peer_connects_to_nobody_for_a_thousand_spoofed_announcements() -> None:
    async with seeker() as s:
        await s.hear(s.spoofed())
        assert s.dialled == {join_address(*port.address) for port in (s.first, s.last)}
        assert not any(s.called())


@pytest.mark.slow
@in_loop
async def test_it_connects_to_all_whom_the_same_announce_if_a_member_has_signed_them() -> None:
    async with seeker() as s:
        spoofed = s.spoofed()
        await s.hear([s.one.signed(record) for record in spoofed])
        assert s.dialled >= {text(record) for record in spoofed}
        await eventually(lambda: all(s.called()))
