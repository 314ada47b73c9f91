"""Who gets through to whom: each mechanism with each key, with somebody at the door and with
nobody; and what is to be seen on the wire."""

import socket
from collections.abc import Callable
from functools import partial

import pytest
import zmq

from mabeam_p2p.addresses import split_address
from mabeam_p2p.errors import MabeamError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Credential, Credentials
from mabeam_p2p.security.keyring import KeyPair, gate_key_pair, new_key_pair
from mabeam_p2p.transport import link, zeromq
from mabeam_p2p.transport.curve import ZapHandler, as_client, as_server
from mabeam_p2p.transport.zeromq import ZeroMqTransport
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.transport.ends import connections_at, reserved
from tests.transport.guarded import CANARY, Peer, peers
from tests.transport.keys import Cluster
from tests.transport.strangers import Stranger, in_plain_text, under, with_a_password
from tools.children import free_ports


def ways(target: Peer, member: KeyPair, revoked: KeyPair) -> dict[str, Callable[..., None]]:
    """Every mechanism with every key that somebody could have."""
    return {
        "NULL": in_plain_text,
        "PLAIN": with_a_password,
        "CURVE, unknown key": under(new_key_pair(), target.key),
        "CURVE, revoked key": under(revoked, target.key),
        "CURVE, another server's key": under(member, new_key_pair().public),
        "CURVE, valid key": under(member, target.key),
    }


WAYS = (
    "NULL", "PLAIN", "CURVE, unknown key", "CURVE, revoked key", "CURVE, another server's key",
    "CURVE, valid key",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("is_guarded", [True, False], ids=["ZAP alive", "ZAP dead"])
@pytest.mark.parametrize("way", WAYS)
def test_no_byte_of_the_application_from_or_to_whoever_has_proved_nothing(
    way: str, is_guarded: bool
) -> None:
    @in_loop
    async def story() -> None:
        async with peers(2) as (target, other):
            member, revoked = new_key_pair(), new_key_pair()
            one, two = PeerId("1" * 15 + "a"), PeerId("2" * 15 + "a")
            target.guard.update(
                Credentials(
                    (Credential(one, (member.public,)),), (Credential(two, (revoked.public,)),)
                )
            )
            address = target.data_address
            if not is_guarded:
                assert target.transport._zap is not None
                target.transport._zap._socket.close(0)
                await eventually(lambda: target.failures)
            stranger = Stranger(address, ways(target, member, revoked)[way])
            try:
                if is_guarded:
                    await stranger.ended()
                    await other.say(target, b"from a member")
                    is_in = way == "CURVE, valid key"
                    assert (stranger.event == zmq.EVENT_HANDSHAKE_SUCCEEDED) == is_in
                    if is_in:
                        await eventually(lambda: len(target.heard) == 4)
                    expected = [(one, CANARY)] * 3 if is_in else []
                    assert [one for one in target.heard if one[1] == CANARY] == expected
                else:
                    assert target.transport._router.closed
                    with pytest.raises(ConnectionRefusedError):
                        socket.create_connection(split_address(address), 1.0).close()
                    assert not target.transport.send("anybody", CANARY)
                    assert target.heard == []
                assert stranger.socket.poll(0) == 0, "nothing came back"
            finally:
                stranger.close()

    story()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["NULL", "PLAIN", "CURVE, another gate", "CURVE, the gate"])
@in_loop
async def test_no_byte_of_the_application_over_the_join_port(way: str) -> None:
    cluster = Cluster()
    async with peers(2, cluster) as (target, other):
        gate = gate_key_pair(cluster.gate).public
        prepare: dict[str, Callable[..., None]] = {
            "NULL": in_plain_text,
            "PLAIN": with_a_password,
            "CURVE, another gate": under(new_key_pair(), new_key_pair().public),
            "CURVE, the gate": under(new_key_pair(), gate),
        }
        stranger = Stranger(target.transport.address, prepare[way])
        try:
            await stranger.ended()
            assert (stranger.event == zmq.EVENT_HANDSHAKE_SUCCEEDED) == (way == "CURVE, the gate")
            if way == "CURVE, the gate":
                await eventually(lambda: stranger.socket.poll(0))
                assert b"order" in stranger.socket.recv()
            await other.say(target, b"from a member")
            assert target.heard == [(other.guard.peer, b"from a member")]
        finally:
            stranger.close()


@in_loop
async def test_a_frame_of_the_largest_size_passes_and_a_larger_one_is_not_sent() -> None:
    """CURVE adds to what the limit of the socket counts."""
    async with peers(2) as (target, other):
        await other.say(target, bytes(65_536))
        assert not other.transport.send(target.guard.peer, bytes(65_537))
        await other.say(target, bytes(65_536))
        assert [len(data) for _, data in target.heard] == [65_536, 65_536]


@in_loop
async def test_a_routing_id_is_nobodys_name() -> None:
    """Neither a stolen one shuts its owner out, nor does it make anybody somebody else."""
    async with peers(2) as (target, other):
        thief = new_key_pair()
        name = PeerId("7" * 16)
        target.guard.update(Credentials((Credential(name, (thief.public,)),)))
        await other.say(target, b"first")
        stranger = Stranger(
            target.data_address, under(thief, target.key, other.guard.peer.encode())
        )
        try:
            await eventually(lambda: len(target.heard) == 4)
            await other.say(target, b"second")
            assert target.heard == [
                (other.guard.peer, b"first"),
                *[(name, CANARY)] * 3,
                (other.guard.peer, b"second"),
            ]
        finally:
            stranger.close()


@in_loop
async def test_who_has_the_routing_id_of_a_connection_before_is_heard_as_itself() -> None:
    """Clients choose routing ids. What was known of one that has gone is not the next one's."""
    async with peers(2) as (target, other):
        thief = new_key_pair()
        name = PeerId("7" * 16)
        target.guard.update(Credentials((Credential(name, (thief.public,)),)))
        await other.say(target, b"first")
        connection, _ = target.transport._reception._speaking
        ends = target.transport._router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        other.transport.disconnect(target.guard.peer)
        await eventually(lambda: ends.poll(0))
        target.transport._router.disable_monitor()
        ends.close(0)
        stranger = Stranger(target.data_address, under(thief, target.key, connection))
        try:
            await eventually(lambda: len(target.heard) == 4)
            assert target.transport._reception._speaking[0] == connection
            assert target.heard[1:] == [(name, CANARY)] * 3
        finally:
            stranger.close()


@in_loop
async def test_who_is_revoked_is_cut_off_although_its_connection_lives() -> None:
    async with peers(2) as (target, other):
        await other.say(target, b"before")
        target.guard.update(Credentials((), (Credential(other.guard.peer, (other.key,)),)))
        other.transport.send(target.guard.peer, b"after")
        await eventually(lambda: target.transport.counters["refused_key"])
        port = split_address(target.data_address)[1]
        await eventually(lambda: connections_at(port) == 0)
        assert [data for _, data in target.heard] == [b"before"]


@in_loop
async def test_nothing_is_said_any_more_to_who_is_revoked() -> None:
    async with peers(2) as (source, other):
        await source.say(other, b"before")
        source.guard.update(Credentials((), (Credential(other.guard.peer, (other.key,)),)))
        source.transport.refresh()
        source.transport.send(other.guard.peer, b"after")
        await eventually(lambda: source.transport.counters["refused_address"])
        assert not source.transport.send(other.guard.peer, b"after")
        assert other.heard == [(source.guard.peer, b"before")]


@in_loop
async def test_a_handler_that_cannot_decide_refuses_and_goes_on() -> None:
    async with peers(3) as (target, first, second):
        decide = target.guard.speaker

        def fault(key: bytes) -> PeerId | None:
            raise RuntimeError("a fault of the test")

        target.guard.speaker = fault  # type: ignore[method-assign]
        first.transport.connect(target.guard.peer, target.transport.address)
        assert target.transport._zap is not None
        faults = target.transport._zap.counters
        await eventually(lambda: faults["faults"])
        target.guard.speaker = decide  # type: ignore[method-assign]
        await second.say(target, b"served")
        assert target.failures == []


@pytest.mark.parametrize("port", ["data", "join"])
def test_a_peer_whose_handler_dies_closes_its_sockets_and_says_so(port: str) -> None:
    @in_loop
    async def story() -> None:
        async with peers(2) as (target, other):
            await other.say(target, b"before")
            join = target.transport._join
            assert join is not None
            handler = join.zap if port == "join" else target.transport._zap
            assert handler is not None
            addresses = target.transport.address, target.data_address
            handler._socket.close(0)
            await eventually(lambda: target.failures)
            [failure] = target.failures
            # Nobody else's fault, and none that a new process would have: its unit begins one.
            assert not isinstance(failure, MabeamError)
            assert "nobody checks the keys" in str(failure)
            assert target.transport._router.closed
            assert join._router.closed
            for address in addresses:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(split_address(address), 1.0).close()
            assert not target.transport.send(other.guard.peer, CANARY)
            assert target.transport.counters["unguarded"] == 1

    story()


@in_loop
async def test_a_restarted_peer_that_knows_nobody_is_introduced_anew() -> None:
    cluster = Cluster()
    source = Peer(cluster.gatekeeper())
    target = Peer(cluster.gatekeeper(PeerId("5" * 16)), listen=reserved())
    try:
        await source.say(target, b"before")
        pair, address = target.guard.pair, target.transport.address
        target.transport.close()
        gatekeeper = cluster.gatekeeper(PeerId("5" * 16))
        gatekeeper.guard.keyring.pair = pair
        target = Peer.__new__(Peer)
        target.gatekeeper, target.guard = gatekeeper, gatekeeper.guard
        target.transport = ZeroMqTransport(address, frame_bytes_max=65_536, keys=gatekeeper)
        target.heard, target.failures = [], []
        target.transport.start(lambda data: target.heard.append((target.transport.speaker, data)))
        await eventually(
            lambda: source.transport.send("5" * 16, b"after") and target.heard, seconds=20
        )
        assert target.heard[-1] == (source.guard.peer, b"after")
    finally:
        source.transport.close()
        target.transport.close()


@in_loop
async def test_a_key_is_rotated_and_whatever_was_taken_arrives() -> None:
    """New connections come to the second port, under the new key; old ones live until the end."""
    cluster = Cluster()
    async with peers(2, cluster) as (source, target):
        keyring = target.guard.keyring
        former = keyring.pair.public
        sent = 0

        async def say(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                await eventually(partial(source.transport.send, target.guard.peer, b"%d" % sent))
                sent += 1

        source.transport.connect(target.guard.peer, target.transport.address)
        await say(50)
        key = keyring.renew_key().public
        both = Credentials((Credential(target.guard.peer, (former, key)),))
        keyring.take_next()
        for peer in (source, target):
            peer.guard.update(both)
        target.transport.rekey()
        await say(50)
        source.transport.refresh()
        [leads] = source.transport._links.values()
        await eventually(lambda: leads.place is not None and leads.place[0] == key)
        await say(50)
        for peer in (source, target):
            peer.guard.update(Credentials((Credential(target.guard.peer, (key,)),)))
        await eventually(lambda: len(target.heard) == sent)
        target.transport.retire()
        await say(50)
        await eventually(lambda: len(target.heard) == sent)
        assert sorted(int(data) for _, data in target.heard) == list(range(sent))
        assert {speaker for speaker, _ in target.heard} == {source.guard.peer}


@in_loop
async def test_whatever_links_have_taken_arrives_when_who_speaks_rotates_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More waits under the former key than the system would carry on by itself, and as much as is
    kept for the first handshake under the new one. Both have the time that they need: that is
    FAREWELL_MILLISECONDS and OPENING_SECONDS_MAX in earnest, and what is late then is lost."""
    monkeypatch.setattr(zeromq, "FAREWELL_MILLISECONDS", 60_000)
    monkeypatch.setattr(link, "OPENING_SECONDS_MAX", 60.0)
    async with peers(2) as (source, target):
        keyring, former = source.guard.keyring, source.key
        phases: list[list[bytes]] = []

        def say(length: int) -> bool:
            """Whether it was taken, as the next of this phase."""
            data = b"%d %d" % (len(phases), len(phases[-1])) + bytes(length)
            is_taken = source.transport.send(target.guard.peer, data)
            if is_taken:
                phases[-1].append(data)
            return is_taken

        def know(*keys: bytes) -> None:
            for peer in (source, target):
                peer.guard.update(Credentials((Credential(source.guard.peer, keys),)))

        async def all_are_heard() -> None:
            await eventually(lambda: len(target.heard) == 1 + sum(map(len, phases)))

        await source.say(target, b"")
        key = keyring.renew_key().public
        know(former, key)
        phases.append([])
        assert all(say(50_000) for _ in range(400))
        keyring.take_next()
        source.transport.rekey()
        phases.append([])
        assert [say(0) for _ in range(100)] == [True] * link.OPENING_MESSAGES_MAX + [False] * 36
        for _ in range(100):
            await eventually(partial(say, 0))
        await all_are_heard()
        know(key)
        source.transport.retire()
        phases.append([])
        for _ in range(100):
            await eventually(partial(say, 0))
        await all_are_heard()
        heard = [data for _, data in target.heard]
        for number, said in enumerate(phases, 1):
            assert [data for data in heard if data.startswith(b"%d " % number)] == said
        assert {speaker for speaker, _ in target.heard} == {source.guard.peer}
        assert source.transport.counters["expired"] == 0


@pytest.mark.parametrize("is_named", [True, False])
@in_loop
async def test_a_peer_has_its_data_at_the_two_ports_behind_its_own_in_turn(
    caplog: pytest.LogCaptureFixture, is_named: bool
) -> None:
    """So that a firewall can be told of three. What another program has there is left to it."""
    [port] = free_ports(1)
    gatekeeper = Cluster().gatekeeper()
    kind = partial(ZeroMqTransport, preferred_port=0 if is_named else port)
    peer = Peer(gatekeeper, kind, listen=f"127.0.0.1:{port if is_named else 0}")
    try:
        assert peer.transport._bound_port() == port + 1
        for expected in (port + 2, port + 1, port + 2):
            gatekeeper.guard.keyring.renew_key()
            gatekeeper.guard.keyring.take_next()
            peer.transport.rekey()
            assert peer.transport._bound_port() == expected
            peer.transport.retire()
            # libzmq lets go of a port in its own time.
            await eventually(partial(_is_quiet, 2 * port + 3 - expected))
            gatekeeper.guard.keyring.retire_key()
        assert "the data port is" not in caplog.text
        with socket.create_server(("127.0.0.1", port + 1)):
            gatekeeper.guard.keyring.renew_key()
            gatekeeper.guard.keyring.take_next()
            peer.transport.rekey()
            assert peer.transport._bound_port() not in range(port, port + 3)
            assert f"the data port is {peer.transport._bound_port()}" in caplog.text
    finally:
        peer.transport.close()


@in_loop
async def test_a_key_to_come_is_asked_about_until_the_other_end_knows_it() -> None:
    async with peers(3) as (source, target, other):
        source.transport.connect(target.guard.peer, target.transport.address)
        source.transport.connect(other.guard.peer, other.transport.address)
        pair = source.guard.keyring.renew_key()
        known = Credentials((Credential(source.guard.peer, (source.key,)),))
        both = Credentials((Credential(source.guard.peer, (source.key, pair.public)),))
        target.guard.update(known)
        other.guard.update(both)
        heard: list[bytes] = []
        source.transport.rehearse(pair, heard.append)
        await eventually(lambda: heard)
        assert heard == [other.key]
        rehearsal = source.transport._rehearsal
        assert rehearsal is not None
        await eventually(lambda: target.gatekeeper.guard.version and not rehearsal._asking)
        target.guard.update(both)
        await eventually(lambda: sorted(heard) == sorted([other.key, target.key]))
        assert source.guard.pair.public != pair.public, "nothing is said under it"
        await source.say(target, b"under the former key")
        assert target.heard == [(source.guard.peer, b"under the former key")]
        source.transport.rekey()
        assert source.transport._rehearsal is None


def _is_quiet(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def test_a_server_without_a_domain_cannot_be_made() -> None:
    """With an empty one libzmq asks nobody, and lets everybody in."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.maxmsgsize = 1024
    with pytest.raises(AssertionError, match="empty domain"):
        as_server(router, new_key_pair(), b"")
    context.destroy(linger=0)


def test_a_context_without_a_handler_lets_nobody_in() -> None:
    """What libzmq does when the handler is gone: the reason for the domain and for enforcing it."""
    context = zmq.Context()
    server, client = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    try:
        pair = new_key_pair()
        server.maxmsgsize = 1024
        as_server(server, pair, zeromq.DOMAIN)
        port = server.bind_to_random_port("tcp://127.0.0.1")
        as_client(client, new_key_pair(), pair.public)
        client.connect(f"tcp://127.0.0.1:{port}")
        client.send(CANARY)
        assert server.poll(300) == 0
        handler = ZapHandler(context, zeromq.DOMAIN)
        assert server.poll(100) == 0, "nor does one that has not been started"
        handler.close()
    finally:
        context.destroy(linger=0)
