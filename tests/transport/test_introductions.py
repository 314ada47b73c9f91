"""The join port under pressure: what strangers can do to it, and who is served meanwhile."""

import asyncio
import socket

import pytest
import zmq

from mabeam_p2p.addresses import split_address
from mabeam_p2p.config import JOIN_VERSION
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import JoinAsk
from mabeam_p2p.records import Credential, Credentials
from mabeam_p2p.security.keyring import gate_key_pair, new_key_pair
from mabeam_p2p.security.secrets import Secret, label
from mabeam_p2p.transport import introductions
from mabeam_p2p.transport.curve import as_client
from mabeam_p2p.transport.introductions import ADDRESS_BURST, ADDRESS_RATE, Allowance
from mabeam_p2p.transport.rehearsal import Rehearsal
from mabeam_p2p.wire.joining import JoinCodec
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.transport.guarded import Peer, peers
from tests.transport.keys import Cluster


def test_an_address_may_introduce_itself_so_often_and_is_served_again_later() -> None:
    allowance = Allowance()
    assert all(allowance.take("a", 0.0) for _ in range(ADDRESS_BURST))
    assert not allowance.take("a", 0.0)
    assert allowance.take("b", 0.0), "others are not held back"
    assert not allowance.take("a", 0.5 / ADDRESS_RATE)
    assert allowance.take("a", 1.5 / ADDRESS_RATE)


def test_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introductions, "ADDRESSES_MAX", 4)
    allowance = Allowance()
    for number in range(100):
        allowance.take(str(number), 0.0)
    assert len(allowance._buckets) == 4


@pytest.mark.slow
@in_loop
async def test_members_are_introduced_while_hundreds_of_connections_say_nothing() -> None:
    cluster = Cluster()
    async with peers(1, cluster) as (target,):
        silent = [
            socket.create_connection(split_address(target.transport.address)) for _ in range(200)
        ]
        try:
            late = Peer(cluster.gatekeeper())
            try:
                await late.say(target, b"here")
            finally:
                late.transport.close()
            # Who has said nothing within the handshake's time is gone.
            for connection in silent:
                connection.setblocking(False)

            def is_gone(connection: socket.socket) -> bool:
                try:
                    while connection.recv(4096):
                        pass
                except BlockingIOError:
                    return False
                except OSError:
                    return True
                return True

            await eventually(lambda: all(map(is_gone, silent)), seconds=20)
        finally:
            for connection in silent:
                connection.close()


@in_loop
async def test_who_asks_too_often_is_held_back_and_served_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(introductions, "ADDRESS_BURST", 2)
    # Nothing fills up again as long as the machine takes to get there.
    monkeypatch.setattr(introductions, "ADDRESS_RATE", 0.0)
    async with peers(3) as (target, one, two):
        assert target.transport._join is not None
        counts = target.transport._join.zap.counters
        await one.say(target, b"1")
        (link,) = one.transport._links.values()
        for _ in range(2):
            await eventually(lambda: counts["again"] or not link.is_asking)
            one.transport.refresh()
        await eventually(lambda: counts["again"])
        monkeypatch.setattr(introductions, "ADDRESS_RATE", 1_000.0)
        two.transport.connect(target.guard.peer, target.transport.address)
        await eventually(lambda: two.transport.send(target.guard.peer, b"2"), seconds=60)
        await eventually(lambda: len(target.heard) > 1, seconds=60)


@in_loop
async def test_an_introduction_that_is_given_up_leaves_nothing_behind() -> None:
    async with peers(1) as (source,):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            host, port = listener.getsockname()
            source.transport.connect("x", f"{host}:{port}")
            assert source.transport._join is not None
            await eventually(lambda: source.transport._join._calls)  # type: ignore[union-attr]
            source.transport.disconnect("x")
            assert not source.transport._join._calls
            assert not source.transport.send("x", b"data")


@in_loop
async def test_who_says_more_than_an_introduction_takes_is_cut_off() -> None:
    """Each word costs the loop as much as a message of a member: a former member, or who has an old
    code, gets past the handshake, and could take half of it."""
    cluster = Cluster()
    ask = JoinCodec().encode(JoinAsk(JOIN_VERSION, PeerId("f" * 16), b"l" * 8, b"n" * 32))
    async with peers(1, cluster) as (target,):
        join = target.transport._join
        assert join is not None
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.linger, dealer.reconnect_ivl = 0, -1
        as_client(dealer, new_key_pair(), gate_key_pair(cluster.gate).public)
        dealer.connect(f"tcp://{target.transport.address}")
        try:
            for _ in range(20 * introductions.WORDS_MAX):
                dealer.send(ask)
            await eventually(lambda: target.transport.counters["callers_cut"] == 1)
            assert join.counters["answered"] == introductions.WORDS_MAX
            late = Peer(cluster.gatekeeper())
            try:
                await late.say(target, b"here")
            finally:
                late.transport.close()
            assert join.counters["answered"] >= introductions.WORDS_MAX + 2
            assert target.transport.counters["callers_cut"] == 1
        finally:
            context.destroy(linger=0)


@in_loop
async def test_an_address_that_libzmq_does_not_take_leaves_nothing_behind() -> None:
    """A socket that nobody has closed is a warning, and so an error here."""
    async with peers(1) as (peer,):
        assert peer.transport._join is not None
        ended: list[str] = []
        peer.transport._join.visit("[fe80::1%{a}]:7", lambda found, why: ended.append(why))
        await eventually(lambda: ended)
        assert ended == [introductions.UNREACHED]


@in_loop
async def test_a_word_that_breaks_something_does_not_make_the_port_deaf() -> None:
    """Words that came with it have no further edge to announce them."""
    cluster = Cluster()
    async with peers(1, cluster) as (target,):
        loop = asyncio.get_running_loop()
        answer, join = target.gatekeeper.answer, target.transport._join
        assert join is not None

        def fault(*arguments: object) -> bytes:
            raise RuntimeError("a fault of the test")

        words = 3
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        as_client(dealer, new_key_pair(), gate_key_pair(cluster.gate).public)
        try:
            # All of them wait in the socket when the first is read.
            loop.remove_reader(join._router.FD)
            dealer.connect(f"tcp://{target.transport.address}")
            for _ in range(words):
                dealer.send(b"word")
            await eventually(lambda: join._router.poll(0))
            await eventually(lambda: dealer.poll(0, zmq.POLLOUT))
            target.gatekeeper.answer = fault  # type: ignore[assignment, method-assign]
            with pytest.raises(RuntimeError):
                join._drain()
            target.gatekeeper.answer = answer  # type: ignore[method-assign]
            loop.add_reader(join._router.FD, join._drain)
            await eventually(lambda: join.counters["answered"] == words - 1)
        finally:
            context.destroy(linger=0)


@in_loop
async def test_who_lacks_the_secret_asks_until_somebody_has_it() -> None:
    """Whoever it met first did not have it either, and the link to that one stays as it is."""
    async with peers(2) as (source, target):
        secret = Secret(b"n" * 32)
        members = tuple(Credential(one.guard.peer, (one.key,)) for one in (source, target))
        target.guard.update(Credentials(members))
        source.guard.update(Credentials(members, (), label(secret)))
        await source.say(target, b"before")
        join = target.transport._join
        assert join is not None
        answered = join.counters["answered"]
        await eventually(lambda: join.counters["answered"] > answered)
        assert source.guard.lacks_secret
        target.guard.keyring.rotate(secret)
        await eventually(lambda: not source.guard.lacks_secret)
        assert source.guard.keyring.current == secret


@in_loop
async def test_who_is_asked_first_under_a_key_to_come_still_hears_the_present_one() -> None:
    """As a peer that starts anew, and has not read the log yet."""
    async with peers(2) as (source, target):
        join = target.transport._join
        assert source.transport._join is not None
        assert join is not None
        to_come = source.guard.keyring.renew_key()
        heard: list[bytes] = []
        rehearsal = Rehearsal(
            source.transport._join, lambda: (target.transport.address,), to_come, heard.append
        )
        try:
            await eventually(lambda: join.counters["answered"] >= 2)
            await source.say(target, b"under the present key")
            assert target.heard == [(source.guard.peer, b"under the present key")]
            assert heard == []
        finally:
            rehearsal.end()
