"""What breaks the protocol is counted, told and dropped; the rest goes on."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    PeerAcks,
    SpreadAcks,
    TreeAnswer,
    TreeAsk,
    TreeDone,
    VariableAck,
    VariableMessage,
    VariablePush,
    VariableSpread,
    VariableWant,
)
from mabeam_p2p.protocol.variables import tree
from mabeam_p2p.records import Sibling
from mabeam_p2p.requests import (
    WAIT_ALL,
    SetVariables,
    VariableChange,
)
from tests.protocol.variables_network import (
    X,
    foreign,
    limit,
    peer_id,
    pushes,
    settled,
)

ONE, TWO = peer_id(1), peer_id(2)
HASHES = tuple(range(tree.FANOUT))
NEVER_MADE = ((ONE, 2**61),)
ANSWER = TreeAnswer(1, 1, (), (), (), True, True, (), 0, (), 1)
FAR_AHEAD = Sibling(peer_id(99), 1, 2**61, b"v")
HOSTILE: list[VariableMessage] = [
    VariablePush(-1, ()),
    VariablePush(2**64, ()),
    VariablePush(1, tuple(foreign(f"v{n}") for n in range(21))),
    VariablePush(1, (replace(foreign(), name=""),)),
    VariablePush(0, (replace(foreign(), context=NEVER_MADE, siblings=()),)),
    VariablePush(0, (replace(foreign(), context=((TWO, 5 << 32),), siblings=()),)),
    VariablePush(1, (replace(foreign("y"), siblings=(FAR_AHEAD,)),)),
    VariableSpread(-1, TWO, ONE, TWO, (), 0),
    VariableSpread(1, peer_id(9), ONE, TWO, (foreign("y"),), 0),
    VariableSpread(1, TWO, ONE, TWO, (replace(foreign(), name=""),), 0),
    SpreadAcks(1, ONE, (PeerAcks((4,), (TWO,)),)),
    SpreadAcks(1, ONE, (PeerAcks((0, 0), (TWO,)),)),
    VariableAck(1, (4,)),
    VariableAck(1, (-1,)),
    VariableAck(1, (0, 0)),
    TreeAsk(1, ((2, 0),), 0, 0, 1, newcomer=False),
    TreeAsk(1, ((0, 0),), 0, 0, 1, newcomer=False),
    TreeAsk(1, ((tree.NODE_MAX + 1, 0),), 0, 0, 1, newcomer=False),
    TreeAsk(1, ((1, 0),) * 21, 0, 0, 1, newcomer=False),
    replace(ANSWER, nodes=((1, HASHES[1:]),)),
    replace(ANSWER, entries=(("", 1),)),
    replace(ANSWER, entries=tuple((f"v{n}", 1) for n in range(21))),
    replace(ANSWER, known=NEVER_MADE),
    replace(ANSWER, known=((TWO, 2), (ONE, 1))),
    replace(ANSWER, base=((TWO, 5 << 32),)),
    TreeDone(1, NEVER_MADE, (), 1),
    TreeDone(1, (), ((TWO, 0),), 1),
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
    if isinstance(message, VariableAck | SpreadAcks):
        message = replace(message, number=pushes(network)[0].number)
    first.hear(second.peer, message)
    assert [drop.source for drop in first.drops] == [second.peer]
    assert first.core.read("") == held
    assert first.answers == {}


@pytest.mark.parametrize(
    "message",
    [
        VariableAck(77, (0,)),
        ANSWER,
        replace(ANSWER, entries=(("gone", 2**70),), whole=False),
        SpreadAcks(77, ONE, (PeerAcks((0,), (TWO,)),)),
        SpreadAcks(77, peer_id(9), (PeerAcks((0,), (TWO,)),)),
        VariableSpread(3, ONE, ONE, TWO, (), 0),
        VariableSpread(3, TWO, TWO, ONE, (), 0),
        VariablePush(3, (foreign("y"),), 12_345),
        TreeDone(3, ((TWO, 1),), (), 1),
        VariableWant(("never heard of", "\ud800")),
        VariablePush(0, ()),
        VariablePush(3, ()),
        TreeAsk(1, ((1, -1), (17, 2**70)), 5, 6, 1, newcomer=False),
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
    limit(second, Limits(variables_max=0))
    token = network.write(first, X, wait=WAIT_ALL)
    network.deliver_all()
    answer = first.acknowledged(token)
    assert (answer.missing, answer.reached) == (("peer-2",), False)
    network.sent.clear()
    first.core.tick(network.now + 0.5)
    assert pushes(network) == []
    limit(second, Limits())


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


def test_a_writer_hears_who_had_no_room_for_its_write() -> None:
    network = settled(2, Limits(siblings_max=2))
    first, second = network.sites
    unseen = replace(X, context=())
    first.core.write(1, SetVariables((unseen,), WAIT_ALL), 200.0)
    for number in (2, 3):
        second.core.write(number, SetVariables((unseen,)), 201.0)
    for site in network.sites:
        site.settle()
    while network.queue:
        source, _, target, _, message, _ = network.queue.pop(0)
        target.hear(source.peer, message)
    answer = first.acknowledged(1)
    assert (answer.reached, answer.superseded, answer.missing) == (False, (), (second.name,))
    assert first.content() == second.content()
