"""Peers compare what they hold, and give each other what is missing, part by part."""

from functools import cache

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import TreeAnswer, TreeAsk, TreeDone, VariablePush, VariableWant
from mabeam_p2p.protocol.variables import tree
from tests.protocol.variables_network import (
    Network,
    Site,
    X,
    change,
    compare,
    limit,
    pushes,
    settled,
)


def test_equal_tables_cost_one_question_and_one_answer() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.deliver_all()
    network.sent.clear()
    compare(network, first, second)
    kinds = [type(message) for _, _, message in network.sent]
    assert kinds == [TreeAsk, TreeAnswer, TreeDone], "the second learns what the first has written"
    network.sent.clear()
    compare(network, first, second)
    assert [type(message) for _, _, message in network.sent] == [TreeAsk, TreeAnswer]


def test_one_comparison_evens_out_both_sides() -> None:
    network = settled(2)
    first, second = network.sites
    for number in range(30):
        network.write(first, change(f"first {number}", b"1"))
        network.write(second, change(f"second {number}", b"1"))
    network.write(first, X)
    network.write(second, change("x", b"2"))
    network.lose_all()
    compare(network, first, second)
    assert network.is_even()
    assert len(first.core.read("")) == 61
    assert first.values("x") == [b"1", b"2"]


def test_a_large_transfer_goes_part_by_part() -> None:
    limits = Limits(push_bytes_max=70_000, digest_entries_max=10)
    network = settled(2, limits)
    first, second = network.sites
    for number in range(40):
        network.write(first, change(f"v{number}", b"1" * 20_000))
    network.lose_all()
    network.sent.clear()
    compare(network, second, first)
    assert network.is_even()
    for _, _, message in network.sent:
        if isinstance(message, VariablePush):
            assert sum(len(v.siblings[0].value or b"") for v in message.variables) <= 70_000
        if isinstance(message, TreeAnswer):
            assert len(message.entries) <= 10


def test_a_leaf_that_no_message_can_hold_is_evened_out_by_samples() -> None:
    network = settled(2, Limits(digest_entries_max=2))
    first, second = network.sites
    for number, name in enumerate(same_leaf(6)):
        network.write(first if number % 2 else second, change(name, b"1"))
    network.lose_all()
    network.run(60.0)
    assert network.is_even()
    assert len(first.core.read("")) == 6


def test_a_newcomer_is_ready_once_it_was_given_everything() -> None:
    network = Network(3)
    first, _, third = network.sites
    network.run(3.0)
    for number in range(50):
        network.write(first, change(f"v{number}", b"1"))
    network.deliver_all()
    third.disk.clear()
    third.marks = None
    network.crash(third)
    assert not third.core.ready
    asks = []
    while not third.core.ready:
        network.run(0.002)
        asks += [m for s, _, m in network.sent if isinstance(m, TreeAsk) and s == third.peer]
    assert asks[0].newcomer
    assert len(third.core.read("")) == 50


def test_a_newcomer_is_not_made_ready_by_another_one_while_somebody_can_give_more() -> None:
    network = settled(4)
    first, second, third, fourth = network.sites
    network.write(first, X)
    network.deliver_all()
    for newcomer in (third, fourth):
        newcomer.disk.clear()
        newcomer.marks = None
        network.crash(newcomer)
    compare(network, third, fourth)
    assert not third.core.ready
    assert not fourth.core.ready
    compare(network, third, second)
    assert third.core.ready
    assert third.values("x") == [b"1"]
    compare(network, fourth, third)
    assert fourth.core.ready, "who has been given everything can give it"
    assert fourth.values("x") == [b"1"]


def test_newcomers_among_themselves_make_each_other_ready_and_wait_for_nobody_who_is_gone() -> None:
    network = Network(12)
    first, second, *others = network.sites
    compare(network, first, second)
    assert not first.core.ready
    network.tell(first, network.members()[:2])
    assert first.core.ready
    started = network.now
    while not all(site.core.ready for site in others):
        network.run(0.1)
    assert network.now - started < 3.0


def test_a_peer_without_members_is_ready_and_one_that_meets_some_must_first_compare() -> None:
    network = Network(2)
    first = network.sites[0]
    network.tell(first, ())
    assert first.core.ready
    network.tell(first, network.members())
    assert not first.core.ready
    network.run(1.0)
    assert first.core.ready


def test_an_exchange_that_stands_still_is_given_up_for_another_member() -> None:
    network = settled(3)
    first, second, third = network.sites
    network.write(third, X)
    network.lose_all()
    network.part([first], [second])
    network.run(30.0)
    assert first.values("x") == [b"1"]


def test_an_answer_that_comes_twice_makes_nobody_know_what_it_does_not_hold() -> None:
    network = settled(3)
    first, second, third = network.sites
    for number in range(100):
        network.write(first, change(f"old {number}", b"1"))
    network.deliver_all()
    network.write(second, X)
    network.lose_all()
    first.core._anti_entropy.begin(second.peer, network.now)
    first.settle()
    while network.queue:
        network.deliver(keep=True)
        network.deliver()
    assert first.content() == second.content()
    compare(network, third, second)
    compare(network, first, third)
    assert network.is_even()
    assert first.values("x") == [b"1"]


def test_a_question_and_an_end_that_come_again_count_for_nothing() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.lose_all()
    network.sent.clear()
    compare(network, first, second)
    again = [message for _, _, message in network.sent if isinstance(message, TreeAsk | TreeDone)]
    assert [type(message) for message in again] == [TreeAsk, TreeDone]
    assert first.peer not in second.core._marks.known, "a value came in meanwhile"
    for message in again:
        second.hear(first.peer, message)
    assert first.peer not in second.core._marks.known


def test_a_variable_that_is_refused_holds_up_no_other() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, change("a", b"1"), change("m", b"1"), change("z", b"1"))
    network.lose_all()
    limit(second, Limits(variables_max=2))
    compare(network, second, first)
    assert len(second.core.read("")) == 2
    assert second.drops[-1].detail == "no room for another variable"


@cache
def same_leaf(count: int) -> list[str]:
    """Names that the tree puts into its first leaf."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        number += 1
        if tree.leaf_of(str(number)) == tree.FIRST_LEAF:
            names.append(str(number))
    return names


def test_a_leaf_that_is_never_evened_out_stops_no_other() -> None:
    limits = Limits(digest_entries_max=4)
    network = settled(2, limits)
    first, second = network.sites
    limit(second, Limits(value_bytes_max=1, digest_entries_max=4))
    for name in same_leaf(4):
        network.write(first, change(name, b"too large"))
    network.write(first, X)
    network.lose_all()
    for _ in range(60):
        compare(network, second, first)
    assert [variable.name for variable in second.core.read("")] == ["x"]


def test_names_that_are_refused_stop_no_other_of_a_leaf_that_is_sampled() -> None:
    limits = Limits(digest_entries_max=2)
    network = settled(2, limits)
    first, second = network.sites
    limit(second, Limits(value_bytes_max=1, digest_entries_max=2))
    names = same_leaf(6)
    for position, name in enumerate(names):
        network.write(first, change(name, b"too large" if position < 3 else b"1"))
    network.lose_all()
    for _ in range(60):
        compare(network, second, first)
    assert [variable.name for variable in second.core.read("")] == sorted(names[3:])


def test_what_an_exchange_pushes_is_durable_first() -> None:
    network = settled(2)
    first, second = network.sites
    first.is_disk_slow = True
    network.write(first, X)
    compare(network, second, first)
    assert second.values("x") == []
    first.sync_disk()
    network.deliver_all()
    assert second.values("x") == [b"1"]


def test_a_name_that_the_other_side_does_not_hold_is_asked_for_once() -> None:
    network = Network(2)
    first, second = network.sites
    first.core.tick(network.now)
    first.settle()
    network.lose_all()
    first.hear(second.peer, answer(first, ("ghost", 1)))
    (want,) = [message for _, _, message in network.sent if isinstance(message, VariableWant)]
    assert want.names == ("ghost",)
    first.hear(second.peer, VariablePush(0, (), answers=want.number))
    assert sum(isinstance(message, VariableWant) for _, _, message in network.sent) == 1
    assert first.core.ready


def answer(asker: Site, *entries: tuple[str, int]) -> TreeAnswer:
    """To the root's TreeAsk that the asker has under way: these are all that there is."""
    exchange = asker.core._anti_entropy._exchange
    assert exchange is not None
    number = exchange.number
    return TreeAnswer(number, 1, (), (tree.ROOT,), entries, True, True, (), 0, (), 1)


def test_a_write_that_nobody_accounts_for_is_not_taken_for_what_was_wanted() -> None:
    network = Network(2)
    first, second = network.sites
    for number in range(20):
        network.write(second, change(f"v{number}", b"1"))
    network.lose_all()
    limit(second, Limits(pushes_pending_max=20))
    first.core._anti_entropy.begin(second.peer, network.now)
    first.settle()
    while not isinstance(network.queue[0][4], VariableWant):
        network.deliver()
    network.write(second, X)
    _, _, push = network.sent[-1]
    assert isinstance(push, VariablePush)
    assert push.number == 0
    first.hear(second.peer, push)
    assert not first.core.ready
    network.deliver_all()
    assert first.core.ready
    assert network.is_even()


def test_a_doubled_answer_is_acted_upon_once() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.lose_all()
    network.sent.clear()
    first.core._anti_entropy.begin(second.peer, network.now)
    first.settle()
    network.deliver()
    network.deliver(keep=True)
    network.deliver_all()
    assert len(pushes(network)) == 1
    assert network.is_even()


def test_an_exchange_is_left_alone_while_it_moves_and_begun_anew_when_it_stands_still() -> None:
    network = Network(2)
    first, second = network.sites
    first.core.tick(network.now)
    first.settle()
    network.now += 0.9
    first.hear(second.peer, answer(first, ("slow", 1)))
    network.sent.clear()
    for pause, sent in ((0.9, []), (0.9, [TreeAsk])):
        network.now += pause
        first.core.tick(network.now)
        first.settle()
        assert [type(message) for _, _, message in network.sent] == sent


def test_an_answer_that_comes_twice_does_not_answer_the_next_question() -> None:
    """Else the asker would know of writes that it was not given, and never ask for them again."""
    network = settled(2)
    writer, asker = network.sites
    network.write(writer, X)
    network.lose_all()
    compare(network, asker, writer)
    first = next(push for push in pushes(network) if push.answers)
    network.write(writer, change("x", b"later"))
    network.lose_all()
    network.sent.clear()
    asker.core._anti_entropy.begin(writer.peer, network.now)
    asker.settle()
    while not any(isinstance(message, VariableWant) for _, _, message in network.sent):
        network.deliver()
    network.lose_all()
    asker.hear(writer.peer, first)
    network.check()
    assert not any(isinstance(message, TreeDone) for _, _, message in network.sent)
    network.lose_all()
    compare(network, asker, writer)
    assert asker.values("x") == [b"later"]
