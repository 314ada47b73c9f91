"""What a peer knows of all variables it learns from whole comparisons alone; and what contexts
leave out is read by who leaves out the same."""

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.messages import TreeDone, VariablePush
from mabeam_p2p.protocol.variables.marks import NOTHING_LEFT_OUT
from mabeam_p2p.records import MemberState
from tests.protocol.variables_network import Network, Site, X, change, compare, limit, settled

TIMING = Timing(tombstone_seconds=5.0)


def known(site: Site, other: Site) -> int:
    return site.core._marks.known.get(other.peer, 0)


def test_both_sides_of_a_comparison_learn_what_the_other_knew() -> None:
    network = settled(3)
    first, second, third = network.sites
    network.write(first, X)
    network.write(second, change("y", b"1"))
    network.lose_all()
    for _ in range(2):
        compare(network, first, second)
    assert known(first, second)
    assert known(second, first)
    assert not known(third, first)
    for _ in range(2):
        compare(network, third, second)
    assert known(third, first) == known(second, first), "by way of the second"


def test_what_is_known_is_durable_before_anything_rests_on_it() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(second, X)
    network.lose_all()
    compare(network, first, second)
    network.sent.clear()
    first.is_disk_slow = True
    compare(network, first, second)
    assert known(first, second)
    assert not any(isinstance(message, TreeDone) for _, _, message in network.sent)
    first.sync_disk()
    network.deliver_all()
    network.crash(first)
    assert known(first, second)


def test_nothing_is_learned_where_something_was_refused() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, change("a", b"1"), change("b", b"1"))
    network.lose_all()
    limit(second, Limits(variables_max=1))
    for _ in range(3):
        compare(network, second, first)
        compare(network, first, second)
    assert not known(second, first)
    limit(second, Limits())
    for _ in range(2):
        compare(network, second, first)
    assert known(second, first)


def test_what_comes_in_behind_the_comparison_keeps_a_peer_from_learning() -> None:
    """It may be known to be superseded, and the place where that would show was compared."""
    network = settled(3)
    first, second, third = network.sites
    network.write(third, X)
    old = next(message for _, target, message in network.sent if target == first.peer)
    network.lose_all()
    second.hear(third.peer, old)
    for _ in range(2):
        compare(network, second, third)
    network.write(second, change("x", None))
    network.write(second, change("y", b"1"))
    network.lose_all()
    first.core._anti_entropy.begin(second.peer, network.now)
    first.settle()
    network.deliver()  # The question,
    network.deliver()  # the answer, which names y alone.
    first.hear(third.peer, old)
    assert first.values("x") == [b"1"]
    network.deliver_all()
    assert first.values("y") == [b"1"]
    network.check()
    compare(network, first, second)
    compare(network, first, second)
    assert known(first, second)
    assert first.values("x") in ([], [None])


def test_no_writer_that_is_alive_is_left_out() -> None:
    network = Network(3, timing=TIMING)
    for site in network.sites:
        network.write(site, X)
        network.run(2.0)
    network.write(network.sites[0], change("x", b"2"))
    network.run(40.0)
    for site in network.sites:
        held = site.held_here("x")
        assert held is not None
        assert len(held.context) == 3
        assert site.core._marks.base == {}


def test_one_peer_begins_to_leave_out_and_the_others_follow() -> None:
    network = Network(4, timing=TIMING)
    gone = network.sites[3]
    network.write(gone, X)
    network.run(5.0)
    gone.state = MemberState.LEFT
    network.sites.remove(gone)
    network.tell_members()
    network.run(30.0)
    bases = [site.core._marks.base for site in network.sites]
    assert bases[0] == bases[1] == bases[2]
    assert gone.peer in bases[0]


def retired(network: Network) -> None:
    """The last site is gone, and the first alone leaves it out."""
    first, second, gone = network.sites
    network.write(gone, change("x", b"old"))
    network.run(5.0)
    network.part([first], [second])
    network.write(first, change("x", b"new"))
    network.lose_all()
    gone.state = MemberState.LEFT
    network.sites.remove(gone)
    network.tell_members()
    network.run(20.0)
    held = first.held_here("x")
    assert held is not None
    assert [actor for actor, _ in held.context] == [first.peer]
    assert second.values("x") == [b"old"]
    network.heal()


def test_what_goes_again_can_be_read_by_anybody() -> None:
    network = Network(3, timing=TIMING)
    network.run(5.0)
    retired(network)
    first, second = network.sites
    for site in network.sites:
        site.core._next_gossip = float("inf")
        site.core._anti_entropy.begin = lambda target, now: None  # type: ignore[method-assign]
    network.queue.clear()
    network.sent.clear()
    token = network.write(first, change("x", b"newest"), wait=1)
    network.deliver_all()
    assert second.values("x") in ([b"old"], [b"new"]), "it cannot be judged"
    network.tick(0.4)
    network.deliver_all()
    assert second.values("x") == [b"newest"]
    assert first.acknowledged(token).reached
    bases = [m.base for _, _, m in network.sent if isinstance(m, VariablePush)]
    assert bases[0] != NOTHING_LEFT_OUT
    assert bases[-1] == NOTHING_LEFT_OUT


def test_who_learns_by_its_own_question_what_may_be_left_out_leaves_it_out_everywhere() -> None:
    network = Network(3, timing=TIMING)
    network.run(5.0)
    first, second, gone = network.sites
    network.write(gone, change("y", b"1"))
    network.run(5.0)
    network.write(second, change("y", b"2"))
    network.run(5.0)
    retired(network)
    for _ in range(2):
        compare(network, second, first)
    assert gone.peer in second.core._marks.base
    network.part([first], [second])
    network.run(5.0)
    held = second.held_here("y")
    assert held is not None
    assert [actor for actor, _ in held.context] == [second.peer]
