"""What somebody sees who sits on the network between two hosts, from their first word to their
last. In plain text all that is looked for is there to be seen."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

import pytest
from zmq.utils import z85

from mabeam_p2p import Agent, Message, Proposal, Vote, connect
from mabeam_p2p.security import codes, files
from mabeam_p2p.security.keyring import (
    INVITATIONS_NAME,
    KEY_NAME,
    SECRET_NAME,
    InvitationFile,
    KeyFile,
    SecretFile,
    gate_key_pair,
)
from mabeam_p2p.security.secrets import Secret
from tests.eventually import done_at_last
from tests.in_loop import in_loop
from tests.network.conftest import MakeLan
from tests.network.lan import Host
from tests.network.peers import SECONDS, Cluster, Peer, line, until
from tests.network.sniffer import Sniffer, Stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLUSTER = "canary-cluster"
PEERS = ("canary-ada", "canary-bee")
ASKER, WORKER = "canary-asker", "canary-worker"
GROUP, VARIABLE, PARAMETER, TASK, JOURNAL, TOPIC = NAMES = tuple(
    f"canary-name-of-the-{kind}"
    for kind in ("group", "variable", "parameter", "task", "journal", "topic")
)
VALUE, PROPOSED, RATIONALE, VERDICT, PAYLOAD, RESULT, ITEM, WORD = VALUES = tuple(
    f"canary-{kind}-of-mine"
    for kind in ("value", "proposed", "rationale", "verdict", "payload", "result", "item", "word")
)
CANARIES = (CLUSTER, *PEERS, ASKER, WORKER, *NAMES, *VALUES)
SERVICE = b"\x07_mabeam\x04_tcp\x05local\x00"
"""As it is written in a packet of mDNS."""
BYTES_LEAST = 2_000
"""From each host to the other: greetings and a few entries are more."""
SECRETS = {"key", "join secret", "gate", "token", "code"}

T = TypeVar("T")


@pytest.mark.parametrize("has_keys", [True, False], ids=["under keys", "in plain text"])
def test_nothing_that_is_said_or_secret_is_to_be_seen_between_two_hosts(
    lan: MakeLan, has_keys: bool
) -> None:
    """They are of two users, who share nothing; under keys nothing but a join code."""

    @in_loop
    async def story() -> None:
        hosts = lan(hosts=2).hosts
        with Sniffer(hosts) as sniffer:
            async with AsyncExitStack() as stack:
                peers = []
                for host, name in zip(hosts, PEERS, strict=True):
                    cluster = Cluster([host], name=CLUSTER, expect=2, has_keys=has_keys)
                    cluster.peers = [Peer(host, cluster, name)]
                    await stack.enter_async_context(cluster)
                    peers += cluster.peers
                hidden = code_forms(await met(peers, has_keys))
                hidden |= secret_forms(hosts)
                await everything_said(peers)
                if has_keys:
                    await rotated(peers)
                await announced(peers, sniffer)
                hidden |= secret_forms(hosts)
                for peer in peers:
                    assert peer.stop() == 0
            assert sniffer.announced(SERVICE) == [host.address for host in hosts]
            for source, target in (hosts, hosts[::-1]):
                assert sniffer.bytes_sent(source, target) > BYTES_LEAST
            seen = sniffer.everything()
        shown = [one for one in CANARIES if one.encode() in seen]
        assert shown == ([] if has_keys else list(CANARIES))
        assert [what for form, what in hidden.items() if form in seen] == []
        assert set(hidden.values()) == (SECRETS if has_keys else set()), "these were looked for"

    story()


def test_a_stream_is_put_together_from_pieces_in_any_order_and_nothing_may_be_missing() -> None:
    stream = Stream(first=2**32 - 3)
    stream.put(2**32 - 4, b"?")
    stream.put(1, b"ef")
    stream.put(2**32 - 3, b"abc")
    with pytest.raises(AssertionError, match="bytes 3 to 4 are missing"):
        stream.content()
    stream.put(2**32 - 1, b"cd")
    assert stream.content() == b"abcdef"


async def met(peers: Sequence[Peer], has_keys: bool) -> str:
    """Let them form a cluster. The code by which the second one has joined; empty: it needs none.

    In plain text they find each other by multicast."""
    first, second = peers
    first.begin()
    assert first.process is not None
    code = str((await line(first.process, "listening"))["join"]) if has_keys else ""
    second.begin(*(["--join", code] if has_keys else []))
    for peer in peers:
        await peer.ready()

    async def see_each_other() -> bool:
        states = [await a.state_of(b) for a, b in (peers, peers[::-1])]
        return None not in states

    await until(see_each_other, "they see each other")
    return code


async def announced(peers: Sequence[Peer], sniffer: Sniffer) -> None:
    """Returns once each was seen to announce itself."""

    async def are_seen() -> bool:
        return all(
            peer.host.address in sniffer.announced(f"id={peer.peer}".encode()) for peer in peers
        )

    await until(are_seen, "they announce themselves")


async def everything_said(peers: Sequence[Peer]) -> None:
    """By an agent at the first peer and one at the second. Both peers have to vote for whatever is
    agreed on."""
    first, second = peers
    async with (
        connect(ASKER, cluster=CLUSTER, addr=first.socket, group=GROUP) as asker,
        connect(WORKER, cluster=CLUSTER, addr=second.socket, group=GROUP) as worker,
    ):
        heard: list[object] = []
        # Of all, the agents of the daemons would have to vote, too.
        asking, answering = asker.group(GROUP), worker.group(GROUP)

        @asking.on_proposal(PARAMETER)
        @answering.on_proposal(PARAMETER)
        async def judge(proposal: Proposal) -> Vote:
            return Vote.accept(VERDICT)

        @worker.task(name=TASK)
        async def work(payload: str) -> str:
            heard.append(payload)
            return RESULT

        @worker.on_message(TOPIC)
        async def hear(message: Message) -> None:
            heard.append(message.value)

        await done_at_last(worker.work)
        await done_at_last(lambda: asker.variables.set(VARIABLE, VALUE, wait=1, timeout=SECONDS))
        decision = await done_at_last(
            lambda: asking.propose(PARAMETER, PROPOSED, rationale=RATIONALE, timeout=SECONDS)
        )
        assert decision.accepted
        assert await done_at_last(lambda: asker.submit(TASK, PAYLOAD, wait=True)) == RESULT
        await done_at_last(lambda: asker.journal(JOURNAL).append(ITEM, timeout=SECONDS))
        await until(lambda: knows(asker, worker), "the agents know each other")
        await asker.whisper(worker.id, TOPIC, WORD, timeout=SECONDS)

        async def all_heard() -> bool:
            return heard == [PAYLOAD, WORD]

        await until(all_heard, "the worker has heard everything")


async def knows(agent: Agent, other: Agent) -> bool:
    return other.id in [one.id for one in agent.agents()]


async def rotated(peers: Sequence[Peer]) -> None:
    """Give them another join secret; return once both have it."""
    first = peers[0]
    former = {one.current for peer in peers for one in kept(peer.host, SECRET_NAME, SecretFile)}
    async with connect(ASKER, cluster=CLUSTER, addr=first.socket) as asker:
        await done_at_last(asker.keys.rotate_secret)

    async def both_have_it() -> bool:
        present = [one.current for p in peers for one in kept(p.host, SECRET_NAME, SecretFile)]
        return len(present) == len(peers) and former.isdisjoint(present)

    await until(both_have_it, "both have the new secret")


# ---- what is secret ------------------------------------------------------------------------------


def kept(host: Host, name: str, kind: type[T]) -> list[T]:
    """What the files of this name hold, of all that is on the host."""
    found = (files.read(path, kind) for path in host.folder.rglob(name))
    return [one for one in found if one is not None]


def secret_forms(hosts: Sequence[Host]) -> dict[bytes, str]:
    """What may not be seen, in each form in which it could be, and what that is."""
    found: list[tuple[str, bytes]] = []
    for host in hosts:
        found += [("key", key.secret) for key in kept(host, KEY_NAME, KeyFile)]
        for file in kept(host, SECRET_NAME, SecretFile):
            found += [("join secret", file.current), ("gate", file.gate)]
            found.append(("gate", gate_key_pair(Secret(file.gate)).reveal()))
        for given in kept(host, INVITATIONS_NAME, InvitationFile):
            found += [("token", one.token) for one in given.invitations]
    return {form: what for what, secret in found for form in forms(secret)}


def code_forms(code: str) -> dict[bytes, str]:
    if not code:
        return {}
    token = codes.decode(code).token.reveal()
    texts = {code, code.replace("-", ""), code.lower(), code.replace("-", "").lower()}
    return dict.fromkeys(forms(token), "token") | {text.encode(): "code" for text in texts}


def forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    hexadecimal, base32 = secret.hex(), base64.b32encode(secret).decode().rstrip("=")
    for text in (hexadecimal, base32, codes._to_digits(secret)):
        yield text.upper().encode()
        yield text.lower().encode()
    for encoded in (base64.b64encode(secret), base64.urlsafe_b64encode(secret)):
        yield encoded.rstrip(b"=")
    yield z85.encode(secret.ljust(-len(secret) % 4 + len(secret), b"\0"))
