"""What breaks the protocol is counted, told and dropped; the rest goes on."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    Digest,
    DigestEntries,
    VariableAck,
    VariablePush,
    VariableWant,
)
from mabeam_p2p.protocol.variables.table import BUCKETS
from mabeam_p2p.protocol.variables.variables import VariableMessage
from mabeam_p2p.requests import (
    WAIT_ALL,
    SetVariables,
    VariableChange,
)
from tests.protocol.variables_network import (
    X,
    foreign,
    peer_id,
    pushes,
    settled,
)

HASHES = tuple(range(BUCKETS))
HOSTILE: list[VariableMessage] = [
    VariablePush(-1, ()),
    VariablePush(2**64, ()),
    VariablePush(1, tuple(foreign(f"v{n}") for n in range(21))),
    VariablePush(1, (replace(foreign(), name=""),)),
    VariablePush(0, (replace(foreign(), context=((peer_id(1), 2**61),), siblings=()),)),
    VariableAck(1, (4,)),
    VariableAck(1, (-1,)),
    VariableAck(1, (0, 0)),
    Digest((), newcomer=False),
    Digest((*HASHES, 1), newcomer=True),
    DigestEntries((64,), (), last=True),
    DigestEntries((-1,), (), last=True),
    DigestEntries((0,) * 65, (), last=True),
    DigestEntries((0,), (("", 1),), last=True),
    DigestEntries((0,), tuple((f"v{n}", 1) for n in range(21)), last=True),
    VariableWant(tuple(f"v{n}" for n in range(21))),
]


@pytest.mark.parametrize("message", HOSTILE, ids=repr)
def test_what_breaks_the_protocol_is_told_and_changes_nothing(message: VariableMessage) -> None:
    network = settled(2, Limits(digest_entries_max=20))
    first, second = network.sites
    network.write(first, X, wait=1)
    network.lose_all()
    held = first.core.read("")
    first.core._anti_entropy.begin(second.peer, network.now)
    # The number that the write's push has, so that acknowledgements of it are judged.
    if isinstance(message, VariableAck):
        message = replace(message, number=pushes(network)[0].number)
    first.hear(second.peer, message)
    assert [drop.source for drop in first.drops] == [second.peer]
    assert first.core.read("") == held
    assert first.answers == {}


@pytest.mark.parametrize(
    "message",
    [
        VariableAck(77, (0,)),
        DigestEntries((), (), last=True),
        DigestEntries((0,), (("gone", 2**70),), last=False),
        VariableWant(("never heard of", "\ud800")),
        VariablePush(0, ()),
        VariablePush(3, ()),
        Digest((-1,) * BUCKETS, newcomer=False),
    ],
    ids=repr,
)
def test_what_comes_late_or_is_unknown_does_no_harm(message: VariableMessage) -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.deliver_all()
    first.hear(second.peer, message)
    assert (first.drops, first.values("x")) == ([], [b"1"])
    network.run(5.0)
    assert network.is_even()


def test_drops_are_told_once_a_second_with_their_number() -> None:
    network = settled(2)
    first, second = network.sites
    for _ in range(5):
        first.hear(second.peer, VariablePush(-1, ()))
    network.tick(1.1)
    first.hear(second.peer, VariablePush(-1, ()))
    assert [drop.count for drop in first.drops] == [1, 5]


def test_an_acknowledgement_counts_only_from_whom_it_is_awaited() -> None:
    network = settled(3)
    first, second, _ = network.sites
    token = network.write(first, X, wait=2)
    number = pushes(network)[0].number
    network.lose_all()
    for _ in range(2):
        first.hear(second.peer, VariableAck(number, (0,)))
    first.hear(PeerId("f" * 16), VariableAck(number, (0,)))
    assert token not in first.answers


def test_a_receiver_that_refuses_is_missing_and_not_asked_again() -> None:
    network = settled(2)
    first, second = network.sites
    second.core._limits = Limits(variables_max=0)
    token = network.write(first, X, wait=WAIT_ALL)
    network.deliver_all()
    answer = first.acknowledged(token)
    assert (answer.missing, answer.reached) == (("peer-2",), False)
    network.sent.clear()
    first.core.tick(network.now + 0.5)
    assert pushes(network) == []
    second.core._limits = Limits()


def test_more_concurrent_values_than_allowed_are_cut_to_the_latest_and_told() -> None:
    network = settled(3, Limits(siblings_max=2))
    for site in network.sites:
        site.core.write(1, SetVariables((VariableChange("x", "lww", site.name.encode()),)), 200.0)
        site.settle()
    while network.queue:
        source, _, target, _, message, _ = network.queue.pop(0)
        target.hear(source.peer, message)
    assert any(drop.reason == "siblings" for site in network.sites for drop in site.drops)
    assert all(len(site.values("x")) == 2 for site in network.sites)
