"""Connections to a port by those who have proved nothing: how many, how long, and nobody else's."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from mabeam_p2p.addresses import split_address
from mabeam_p2p.security.keyring import gate_key_pair, new_key_pair
from mabeam_p2p.transport import callers, introductions, options
from mabeam_p2p.transport.callers import Callers
from mabeam_p2p.transport.curve import as_client
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.transport.ends import callers_at, connections_at
from tests.transport.guarded import Peer, peers
from tests.transport.keys import Cluster


@contextmanager
def idlers(cluster: Cluster, address: str, count: int) -> Iterator[list["zmq.Socket[bytes]"]]:
    """Who knows the gate, finishes the handshake, answers heartbeats, and says nothing."""
    context = zmq.Context()
    made = []
    try:
        for _ in range(count):
            dealer = context.socket(zmq.DEALER)
            dealer.linger, dealer.reconnect_ivl = 0, -1
            dealer.immediate = 1
            as_client(dealer, new_key_pair(), gate_key_pair(cluster.gate).public)
            dealer.connect(f"tcp://{address}")
            made.append(dealer)
        yield made
    finally:
        context.destroy(linger=0)


@in_loop
async def test_of_too_many_who_know_the_gate_and_say_nothing_the_oldest_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(callers, "callers_max", lambda: 8)
    cluster = Cluster()
    async with peers(1, cluster) as (target,):
        port = split_address(target.transport.address)[1]
        with idlers(cluster, target.transport.address, 40):
            await eventually(lambda: target.transport.counters["callers_cut"] >= 32)
            await eventually(lambda: connections_at(port) <= 8)
            late = Peer(cluster.gatekeeper())
            try:
                await late.say(target, b"here")
            finally:
                late.transport.close()


@in_loop
async def test_whoever_stays_at_the_join_port_is_gone_in_the_end_and_members_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(callers, "LOOK_SECONDS", 0.02)
    cluster = Cluster()
    async with peers(2, cluster) as (target, other):
        await other.say(target, b"before")
        # Only now: its own introduction may take longer.
        assert target.transport._join is not None
        assert target.transport._join.callers is not None
        assert target.transport._join.callers._seconds_max == introductions.CALLER_SECONDS_MAX
        target.transport._join.callers._seconds_max = 0.2
        cut = target.transport.counters["callers_cut"]
        port = split_address(target.transport.address)[1]
        with idlers(cluster, target.transport.address, 3) as made:
            await eventually(lambda: target.transport.counters["callers_cut"] >= cut + 3)
            await eventually(lambda: connections_at(port) == 0)
            await eventually(lambda: not any(dealer.poll(0, zmq.POLLOUT) for dealer in made))
        await other.say(target, b"after")
        links = other.transport._links.values()
        assert all(link.is_open for link in links)
        assert connections_at(split_address(target.data_address)[1]) >= 1


@in_loop
async def test_of_too_many_at_the_data_port_that_have_no_key_the_oldest_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And whoever has finished the handshake is not one of them: its connection stays."""
    monkeypatch.setattr(callers, "callers_max", lambda: 8)
    async with peers(2) as (target, member):
        await member.say(target, b"before")
        host, port = split_address(target.data_address)
        (known,) = callers_at(port)
        silent = [socket.create_connection((host, port)) for _ in range(40)]
        try:
            await eventually(lambda: target.transport.counters["callers_cut"] >= 32)
            await eventually(lambda: connections_at(port) <= 8 + 1)
            assert known in callers_at(port)
            await member.say(target, b"after")
            assert known in callers_at(port)
            assert target.transport.counters["callers_cut"] <= 40
        finally:
            for one in silent:
                one.close()


@in_loop
async def test_whoever_is_there_for_longer_than_a_handshake_is_free_of_the_limit() -> None:
    """A member that has nothing to say, too; whoever has no key is gone by then."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    limit = Callers(router, port, 1_000_000)
    try:
        with socket.create_connection(("127.0.0.1", port)):

            def is_there_at(now: float) -> bool:
                limit.look(now)
                return bool(limit._since)

            await eventually(lambda: is_there_at(100.0))
            assert is_there_at(100.0 + callers.PROVED_SECONDS - 0.1)
            assert not is_there_at(100.0 + callers.PROVED_SECONDS)
            assert connections_at(port) == 1
    finally:
        limit.close()
        context.destroy(linger=0)


def test_a_handshake_ends_before_it_is_taken_for_a_proof() -> None:
    for given in (options.router_options(65_536), options.bulk_router_options(65_536)):
        (milliseconds,) = (one.value for one in given if one.name == zmq.HANDSHAKE_IVL)
        assert milliseconds < 1000 * callers.PROVED_SECONDS


@in_loop
async def test_a_descriptor_that_is_something_else_by_now_is_left_alone() -> None:
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    cut: list[None] = []
    limit = Callers(router, port, 1_000_000, on_cut=lambda: cut.append(None))
    there, back = socket.socketpair()
    read, write = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        try:
            gone = os.dup(read)
            os.close(gone)
            for descriptor in (there.fileno(), read, accepted.fileno(), server.fileno(), gone):
                limit._since[descriptor] = 0.0
                limit.cut(descriptor)
            assert cut == []
            assert limit._since == {}
            client.send(b"x")
            assert accepted.recv(1) == b"x"
            back.send(b"x")
            assert there.recv(1) == b"x"
            os.write(write, b"x")
            assert os.read(read, 1) == b"x"
        finally:
            for one in (there, back, client, accepted):
                one.close()
            os.close(read)
            os.close(write)
            limit.close()
            context.destroy(linger=0)


def test_callers_take_an_eighth_of_the_descriptors_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {64: 64, 1_024: 128, 16_384: 512, resource.RLIM_INFINITY: 512}
    for soft, expected in wanted.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert callers.callers_max() == expected
