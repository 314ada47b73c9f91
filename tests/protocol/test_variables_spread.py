"""Writes travel down a tree, acknowledgements up it: each member is told once and counted once."""

from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    PeerAcks,
    SpreadAcks,
    VariableAck,
    VariablePush,
    VariableSpread,
)
from mabeam_p2p.protocol.variables.spread import height, parts
from mabeam_p2p.records import MemberState
from mabeam_p2p.requests import WAIT_ALL
from tests.protocol.variables_network import Network, X, change, limit, peer_id

COUNT = 20
LIMITS = Limits(spread_from_peers=3, spread_fanout=3)


def network_of(count: int = COUNT, limits: Limits = LIMITS) -> Network:
    network = Network(count, limits=limits)
    for site in network.sites:
        # Nobody compares: what comes has come down the tree, or was sent again.
        site.core._next_gossip = inf
    return network


def spreads(network: Network) -> list[tuple[PeerId, PeerId]]:
    return [(s, t) for s, t, m in network.sent if isinstance(m, VariableSpread)]


@given(st.integers(0, 300), st.integers(1, 12))
def test_parts_hold_everybody_once(count: int, fanout: int) -> None:
    members = [peer_id(number) for number in range(count)]
    cut = parts(members, fanout)
    assert [peer for part in cut for peer in part] == members
    assert len(cut) == min(count, fanout)
    assert all(cut)


@given(st.integers(1, 300), st.integers(1, 12))
def test_the_height_is_that_of_the_tree(count: int, fanout: int) -> None:
    def deepest(members: list[int]) -> int:
        # Whichever member of a part is drawn, as many are left.
        return max((1 + deepest(list(part)[1:]) for part in parts(members, fanout)), default=0)  # type: ignore[arg-type]

    assert height(count, fanout) == deepest(list(range(count)))


@pytest.mark.parametrize("count", [4, 20, 60])
@pytest.mark.parametrize("place", [0, 2])
def test_each_member_is_sent_a_write_once_and_nobody_sends_more_than_the_fanout(
    count: int, place: int
) -> None:
    network = network_of(count)
    writer = network.sites[place]
    token = network.write(writer, X, wait=WAIT_ALL)
    network.deliver_all()
    assert writer.acknowledged(token).reached, "nothing was lost, and nothing was sent again"
    targets = Counter(target for _, target in spreads(network))
    assert targets == Counter(site.peer for site in network.sites if site is not writer)
    assert max(Counter(source for source, _ in spreads(network)).values()) <= 3
    assert network.is_even()


def test_acknowledgements_come_back_in_one_message_from_each() -> None:
    network = network_of()
    first = network.sites[0]
    token = network.write(first, X, wait=WAIT_ALL)
    network.deliver_all()
    answer = first.acknowledged(token)
    assert answer.reached
    assert len(answer.applied) == COUNT - 1
    acks = [(s, t) for s, t, m in network.sent if isinstance(m, SpreadAcks)]
    assert len(acks) == COUNT - 1
    assert sum(target == first.peer for _, target in acks) == 3, "as many as it has sent to"


def test_the_handle_tells_outcomes_apart() -> None:
    network = network_of()
    first, second, third = network.sites[:3]
    network.write(second, change("x", b"concurrent"))
    network.lose_all()
    limit(third, Limits(variables_max=0, spread_from_peers=3, spread_fanout=3))
    token = network.write(first, X, wait=COUNT - 2, timeout=3.0)
    other = network.write(first, change("y", b"1"), wait=WAIT_ALL, timeout=3.0)
    network.run(5.0)
    limit(third, LIMITS)
    answer = first.acknowledged(token)
    assert answer.reached
    assert answer.merged == ("peer-2",)
    assert len(answer.applied) == COUNT - 3
    assert "peer-3" in first.acknowledged(other).missing, "it has refused"
    assert not first.acknowledged(other).reached


@pytest.mark.parametrize("place", range(COUNT - 1))
def test_the_loss_of_any_peer_in_the_middle_costs_time_and_no_acknowledgement(place: int) -> None:
    network = network_of()
    first, lost = network.sites[0], network.sites[place + 1]
    network.part([lost], [site for site in network.sites if site is not lost])
    token = network.write(first, X, wait=WAIT_ALL, timeout=20.0)
    network.run(5.0)
    assert token not in first.answers
    assert all(site.values("x") == [b"1"] for site in network.sites if site is not lost)
    (push,) = first.core._pushes
    assert list(push.missing) == [lost.peer]
    network.heal()
    network.run(10.0)
    assert first.acknowledged(token).reached
    assert lost.values("x") == [b"1"]


def test_who_stays_away_is_missing_at_the_deadline_and_who_leaves_has_left() -> None:
    network = network_of()
    first, away, gone = network.sites[:3]
    network.part([away, gone], [s for s in network.sites if s not in (away, gone)])
    token = network.write(first, X, wait=WAIT_ALL, timeout=3.0)
    network.run(1.0)
    gone.state = MemberState.LEFT
    network.tell_members()
    network.run(5.0)
    answer = first.acknowledged(token)
    assert (answer.missing, answer.left) == (("peer-2",), ("peer-3",))
    assert len(answer.applied) == COUNT - 3
    assert not answer.reached
    assert len(first.core._pushes) == 0


def test_what_goes_again_goes_straight_to_the_few_that_are_missing() -> None:
    network = network_of()
    first, lost = network.sites[0], network.sites[4]
    network.part([lost], [site for site in network.sites if site is not lost])
    network.write(first, X)
    network.run(0.29)
    network.sent.clear()
    network.run(0.2)
    pushes = [(t, m) for _, t, m in network.sent if isinstance(m, VariablePush)]
    targets = [target for target, _ in pushes]
    assert targets
    assert lost.peer in targets
    assert len(targets) <= 10, "the lost one, and those below it that it has not told"
    assert all(message.base == 0 for _, message in pushes)


def test_an_acknowledgement_counts_a_member_once_whoever_brings_it() -> None:
    network = network_of()
    first, second, third = network.sites[:3]
    token = network.write(first, X, wait=3)
    message = next(m for _, _, m in network.sent if isinstance(m, VariableSpread))
    network.lose_all()
    acks = (PeerAcks((0,), (second.peer, second.peer)), PeerAcks((1,), (second.peer,)))
    for source in (second, third):
        first.hear(source.peer, SpreadAcks(message.number, first.peer, acks))
    first.hear(second.peer, VariableAck(message.number, (0,)))
    assert token not in first.answers, "one member has acknowledged"
    both = (PeerAcks((0,), (third.peer, network.sites[3].peer)),)
    first.hear(third.peer, SpreadAcks(message.number, first.peer, both))
    assert first.acknowledged(token).reached


def test_a_peer_in_the_middle_passes_each_acknowledgement_on_once() -> None:
    network = network_of(8)
    writer, middle, below, other = network.sites[:4]
    message = VariableSpread(9, writer.peer, below.peer, other.peer, (), 0)
    middle.hear(writer.peer, message)
    heads = [t for s, t, m in network.sent if isinstance(m, VariableSpread) and s == middle.peer]
    assert sorted(heads) == [below.peer, other.peer]
    one = SpreadAcks(9, writer.peer, (PeerAcks((), (below.peer, below.peer)),))
    middle.hear(below.peer, one)
    middle.hear(below.peer, one)
    middle.hear(other.peer, SpreadAcks(9, writer.peer, (PeerAcks((), (other.peer,)),)))
    (up,) = [(t, m) for _, t, m in network.sent if isinstance(m, SpreadAcks)]
    assert up[0] == writer.peer
    (acks,) = up[1].acks
    assert acks.peers == (middle.peer, below.peer, other.peer)


def test_acknowledgements_of_others_are_passed_on_to_the_writer_as_they_are() -> None:
    network = network_of(8)
    writer, middle, below, last = network.sites[:4]
    middle.hear(writer.peer, VariableSpread(9, writer.peer, below.peer, last.peer, (), 0))
    network.sent.clear()
    stranger = network.sites[6].peer
    acks = (PeerAcks((), (below.peer, stranger)),)
    middle.hear(below.peer, SpreadAcks(9, writer.peer, acks))
    assert [(t, m) for _, t, m in network.sent] == [
        (writer.peer, SpreadAcks(9, writer.peer, (PeerAcks((), (stranger,)),)))
    ]


def test_what_has_come_by_the_time_a_write_is_sent_again_goes_up_first() -> None:
    network = network_of(8)
    writer, middle, below, last = network.sites[:4]
    message = VariableSpread(9, writer.peer, below.peer, last.peer, (), 0)
    middle.hear(writer.peer, message)
    middle.hear(below.peer, SpreadAcks(9, writer.peer, (PeerAcks((), (below.peer,)),)))
    network.sent.clear()
    middle.hear(writer.peer, message)
    [(target, up)] = [(t, m) for _, t, m in network.sent if isinstance(m, SpreadAcks)]
    assert target == writer.peer
    assert up.acks == (PeerAcks((), (middle.peer, below.peer)),)


def test_nobody_in_the_middle_waits_longer_than_the_writer_does_to_send_it_again() -> None:
    """Else what it has gathered comes when the writer has sent it all again."""
    network = network_of(8)
    writer, middle, below, last = network.sites[:4]
    middle.hear(writer.peer, VariableSpread(9, writer.peer, below.peer, last.peer, (), 0))
    network.sent.clear()
    network.tick(network.timing.push_timeout_seconds * 0.99)
    [(target, up)] = [(t, m) for _, t, m in network.sent if isinstance(m, SpreadAcks)]
    assert (target, up.acks) == (writer.peer, (PeerAcks((), (middle.peer,)),))


def test_who_waits_for_nobody_any_more_acknowledges_at_once() -> None:
    network = network_of(8)
    writer, middle, below, last = network.sites[:4]
    middle.hear(writer.peer, VariableSpread(9, writer.peer, below.peer, last.peer, (), 0))
    middle.hear(below.peer, SpreadAcks(9, writer.peer, (PeerAcks((), (below.peer,)),)))
    network.sent.clear()
    network.tell(middle, tuple(m for m in network.members() if m.peer != last.peer))
    [(target, up)] = [(t, m) for _, t, m in network.sent if isinstance(m, SpreadAcks)]
    assert (target, up.acks) == (writer.peer, (PeerAcks((), (middle.peer, below.peer)),))


def test_acknowledgements_that_come_too_late_go_straight_to_the_writer() -> None:
    network = network_of(8)
    writer, middle, below, last = network.sites[:4]
    middle.hear(writer.peer, VariableSpread(9, writer.peer, below.peer, last.peer, (), 0))
    network.lose_all()
    network.tick(1.0)
    network.sent.clear()
    late = SpreadAcks(9, writer.peer, (PeerAcks((), (below.peer,)),))
    middle.hear(below.peer, late)
    assert [(t, m) for _, t, m in network.sent] == [(writer.peer, late)]


def test_nothing_is_acknowledged_up_the_tree_before_it_is_durable() -> None:
    network = network_of(8)
    writer, slow = network.sites[0], network.sites[1]
    slow.is_disk_slow = True
    token = network.write(writer, X, wait=WAIT_ALL)
    network.deliver_all()
    assert token not in writer.answers
    slow.sync_disk()
    network.deliver_all()
    assert writer.acknowledged(token).reached


def test_where_members_are_few_each_is_sent_a_write_directly() -> None:
    network = network_of(5, Limits(spread_from_peers=6))
    network.write(network.sites[0], X, wait=WAIT_ALL)
    network.deliver_all()
    assert spreads(network) == []
    assert network.is_even()


def test_views_that_differ_make_no_circle() -> None:
    network = network_of(12)
    for place, site in enumerate(network.sites):
        # Everybody misses somebody else, and the writer misses nobody.
        missing = network.sites[(place * 5) % 11 + 1].peer if place else None
        network.tell(site, tuple(m for m in network.members() if m.peer != missing))
    network.write(network.sites[0], X)
    network.deliver_all()
    assert len(spreads(network)) <= 11
    network.run(2.0)
    assert network.is_even()


def test_what_a_peer_gathers_is_bounded() -> None:
    network = network_of(8, Limits(spread_from_peers=3, spread_fanout=3, pushes_pending_max=2))
    writer, middle, below, last = network.sites[:4]
    for number in range(1, 6):
        message = VariableSpread(number, writer.peer, below.peer, last.peer, (), 0)
        middle.hear(writer.peer, message)
    assert len(middle.core._spread._gatherings) == 2
    own = [m for _, t, m in network.sent if isinstance(m, SpreadAcks) and t == writer.peer]
    assert [m.number for m in own] == [3, 4, 5], "straight to the writer"
    assert below.peer
