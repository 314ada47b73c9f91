"""What waits in ZeroMQ is bounded, also of messages that have no end and of very many parts."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from mabeam_p2p.addresses import split_address
from mabeam_p2p.security.keyring import gate_key_pair, new_key_pair
from mabeam_p2p.transport import backlog, callers, intake
from mabeam_p2p.transport.backlog import PART_BYTES, Backlog, bytes_received
from mabeam_p2p.transport.callers import LOOK_SECONDS, Callers
from mabeam_p2p.transport.curve import as_client
from mabeam_p2p.transport.intake import Intake
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.transport.ends import Talker, connections_at
from tests.transport.guarded import Peer, peers
from tests.transport.keys import Cluster

LIMIT = 4_000_000


class Bound:
    """A ROUTER with its callers, on a clock of its own."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.cut_count = 0
        self.counters = {"wrong": 0}
        self.callers = Callers(self.router, self.port, LIMIT, on_cut=self._cut)
        self.intake = Intake(self.router, 2, self.counters, "wrong")
        self.intake.callers = self.callers
        self.now = 0.0

    def _cut(self) -> None:
        self.cut_count += 1

    def look(self) -> bool:
        self.now += LOOK_SECONDS
        self.callers.look(self.now)
        return True

    def take(self) -> bytes | None:
        try:
            frames = self.intake.take()
        except zmq.Again:
            return None
        return None if frames is None else frames[1].bytes

    def close(self) -> None:
        self.callers.close()
        self.context.destroy(linger=0)


@contextmanager
def bound() -> Iterator[Bound]:
    made = Bound()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def talkers(port: int, count: int) -> Iterator[list[Talker]]:
    made = [Talker(port) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def test_the_system_tells_how_much_has_come() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            assert bytes_received(accepted.fileno()) == 0
            client.sendall(bytes(10_000))
            assert len(accepted.recv(10_000, socket.MSG_WAITALL)) == 10_000
            assert bytes_received(accepted.fileno()) == 10_000
            client.sendall(b"x")
            accepted.recv(1, socket.MSG_PEEK)
            assert bytes_received(accepted.fileno()) == 10_001, "read or not"
        assert bytes_received(server.fileno()) == 0, "it connects nobody"
    assert bytes_received(1_000_000) == 0
    there, back = socket.socketpair()
    with there, back:
        there.sendall(b"x")
        assert bytes_received(back.fileno()) == 0, "not TCP"


def test_what_was_taken_waits_no_more_and_is_no_credit(monkeypatch: pytest.MonkeyPatch) -> None:
    come = {3: 0, 4: 0}
    monkeypatch.setattr(backlog, "bytes_received", come.__getitem__)
    waits = Backlog()
    for descriptor in come:
        waits.came(descriptor)
    come.update({3: 1_000, 4: 10})
    assert waits.waiting() == {3: 1_000, 4: 10}
    waits.took(3, 400)
    assert waits.waiting() == {3: 600 - PART_BYTES, 4: 10}
    for _ in range(100):
        waits.took(4, 0)
    assert waits.waiting()[4] == 0
    come[4] += 500
    assert waits.waiting()[4] == 500, "short parts earn nothing"
    waits.gone(3)
    waits.took(3, 1)
    assert list(waits.waiting()) == [4]
    assert len(waits) == 1


@in_loop
async def test_a_message_without_an_end_ends_its_connection_and_no_other() -> None:
    with bound() as here, talkers(here.port, 2) as (endless, other):
        part = bytes(100_000)
        for _ in range(2 * LIMIT // len(part)):  # Far more than may wait, and all of it is taken.
            assert other.say(part, more=False)
            await eventually(lambda: here.take() == part and here.look())
        assert here.cut_count == 0

        def is_cut() -> bool:
            return not endless.say(part, more=True) or (here.look() and here.cut_count > 0)

        await eventually(is_cut)
        assert here.cut_count == 1
        await eventually(lambda: here.look() and connections_at(here.port) == 1)
        assert other.say(b"here", more=False)
        await eventually(lambda: here.take() == b"here")


@in_loop
async def test_many_that_send_a_little_too_much_together_give_way_until_it_is_little() -> None:
    with bound() as here, talkers(here.port, 8) as made:
        for number, one in enumerate(made):
            assert one.say(bytes(900_000 + 10_000 * number), more=True)
        await eventually(lambda: here.look() and here.cut_count > 0)
        await eventually(lambda: here.look() and connections_at(here.port) <= 4)
        assert here.cut_count <= 5
        await eventually(lambda: here.look() and sum(here.callers._backlog.waiting().values()) > 0)
        assert sum(here.callers._backlog.waiting().values()) <= LIMIT


@in_loop
async def test_a_message_of_too_many_parts_is_dropped_in_turns_and_its_connection_ends() -> None:
    with bound() as here, talkers(here.port, 1) as (talker,):
        for parts in (1, 2, intake.PARTS_MAX - 2):
            for left in reversed(range(parts)):
                assert talker.say(b"x", more=left > 0)
        await eventually(lambda: here.take() == b"x")
        await eventually(
            lambda: here.look() and here.take() is None and here.counters["wrong"] == 2
        )
        assert here.cut_count == 0, "a mistake, perhaps"
        parts = 10 * intake.PARTS_PER_TAKE
        for left in reversed(range(parts)):
            assert talker.say(b"x", more=left > 0)
        await eventually(lambda: here.router.poll(0))
        turns = 0
        while here.counters["wrong"] == 2:
            here.look()
            assert here.take() is None
            turns += 1
        assert turns >= parts // intake.PARTS_PER_TAKE
        assert here.cut_count == 1
        await eventually(lambda: connections_at(here.port) == 0)


@in_loop
async def test_who_knows_the_gate_and_says_a_message_of_many_parts_is_cut_off() -> None:
    """What waits of it is in nobody's count but the system's."""
    cluster = Cluster()
    async with peers(1, cluster) as (target,):
        assert target.transport._join is not None
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.linger, dealer.reconnect_ivl = 0, -1
        as_client(dealer, new_key_pair(), gate_key_pair(cluster.gate).public)
        dealer.connect(f"tcp://{target.transport.address}")
        try:
            dealer.send_multipart([bytes(4_000)] * 20_000)
            # Where the machine stands still meanwhile all of it may be there, and is dropped.
            await eventually(lambda: target.transport.counters["callers_cut"] >= 1)
            assert target.transport._join.counters["answered"] == 0
            port = split_address(target.transport.address)[1]
            await eventually(lambda: connections_at(port) == 0)
            late = Peer(cluster.gatekeeper())
            try:
                await late.say(target, b"here")
            finally:
                late.transport.close()
        finally:
            context.destroy(linger=0)


def test_a_look_is_soon_enough() -> None:
    assert callers.LOOK_SECONDS <= 0.1
