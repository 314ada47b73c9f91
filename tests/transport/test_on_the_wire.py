"""What is to be seen on the wire between two peers with keys, and said to who proves nothing."""

import pytest
from zmq.utils import z85

from mabeam_p2p.transport.bulk import KEY_MARK, ZeroMqBulk
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.transport.guarded import CANARY, Peer, Tap, Tapped, peers
from tests.transport.keys import Cluster


@in_loop
async def test_nothing_that_is_said_or_secret_is_to_be_seen_on_the_wire() -> None:
    cluster = Cluster(b"canary-of-the-join-secret-123456")
    source, target = Peer(cluster.gatekeeper(), Tapped), Peer(cluster.gatekeeper())
    source.guard.keyring.current = None
    token = target.guard.keyring.invite(seconds=60, once=True, wall=0.0)
    target.guard._wall = lambda: 1.0
    source.guard._token = token
    taps = [Tap(target.transport.address), Tap(target.data_address)]
    try:
        for tap in taps:
            await tap.start()
        assert isinstance(source.transport, Tapped)
        source.transport.tap = taps[1]
        source.transport.connect("target", taps[0].address)
        await eventually(lambda: source.transport.send("target", CANARY * 10) and target.heard)
        assert source.guard.keyring.current == cluster.secret, "it was handed over"
        hidden = [CANARY, cluster.secret.reveal(), token.reveal(), cluster.gate.reveal()]
        hidden += [peer.guard.pair.reveal() for peer in (source, target)]
        hidden += [peer.guard.peer.encode() for peer in (source, target)]
        for tap in taps:
            assert len(tap.seen) > 500, "it was on the way"
            for secret in hidden:
                text = z85.encode(secret.ljust(32, b"\0")[:32])
                for form in (secret, text, secret.hex().encode()):
                    assert form not in tap.seen
    finally:
        for peer in (source, target):
            peer.transport.close()
        for tap in taps:
            await tap.close()


@pytest.mark.parametrize("has_keys", [True, False], ids=["under keys", "in plain text"])
def test_nothing_of_an_array_is_to_be_seen_on_the_wire_under_keys(has_keys: bool) -> None:
    """In plain text, where arrays stay on the host, all of it is: the tap would see it."""

    @in_loop
    async def story() -> None:
        ends = [
            ZeroMqBulk("127.0.0.1", message_bytes_max=65_536, has_keys=has_keys) for _ in range(2)
        ]
        source, target = ends
        where, mark, key = target.address.partition(KEY_MARK)
        tap = Tap(where)
        await tap.start()
        heard: list[tuple[bytes, bytes]] = []

        def turn() -> bool:
            for end in ends:
                end.wait(0.0, ())
            # Who is heard is who was dialled.
            target.send(source.address, b"", memoryview(b""))
            if (message := target.receive()) is not None:
                heard.append((message[0], bytes(message[1])))
            return bool(heard)

        def say() -> bool:
            turn()
            return source.send(tap.address + mark + key, b"the-head-" + CANARY, memoryview(array))

        array = CANARY * 1_000
        try:
            await eventually(say)
            await eventually(turn)
            assert heard == [(b"the-head-" + CANARY, array)]
            assert len(tap.seen) > len(array), "it was on the way"
            hidden = [CANARY, b"the-head-"]
            if source._pair is not None and target._pair is not None:
                hidden += [source._pair.reveal(), target._pair.reveal()]
            assert [secret in tap.seen for secret in hidden] == [not has_keys] * len(hidden)
        finally:
            for end in ends:
                end.close()
            await tap.close()

    story()


@in_loop
async def test_nothing_is_said_to_a_server_that_proves_nothing() -> None:
    """A listener that keeps what it gets; a server that knows the gate and not the secret; and one
    that has the secret, but at another port than it said."""
    cluster = Cluster()
    async with peers(1, cluster) as (source,):
        ignorant = Cluster(b"x" * 32)
        ignorant.gate = cluster.gate
        other = Peer(ignorant.gatekeeper())
        tap = Tap("127.0.0.1:1")
        await tap.start()
        try:
            source.transport.connect("tap", tap.address)
            source.transport.connect("other", other.transport.address)
            for target in ("tap", "other"):
                source.transport.send(target, CANARY)
            link = source.transport._links["other"]
            await eventually(lambda: link.pause)
            assert other.heard == []
            assert link.place is None
            assert CANARY not in tap.seen
        finally:
            await tap.close()
            other.transport.close()
