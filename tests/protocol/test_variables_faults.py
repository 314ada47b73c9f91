"""One test for each classic mistake of synchronised variables, named for what happens instead."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.events import VariableChanged
from mabeam_p2p.messages import VariableAck, VariablePush
from mabeam_p2p.protocol.resolvers import ABSENT, Written, resolve
from mabeam_p2p.protocol.variables.pushes import Outcome
from mabeam_p2p.protocol.vector_clock import counter_of, dominates
from mabeam_p2p.records import MemberState, Variable
from mabeam_p2p.requests import WAIT_ALL, Refused
from tests.protocol.variables_network import (
    Network,
    Site,
    X,
    acks,
    change,
    foreign,
    peer_id,
    pushes,
    settled,
)


def shown(site: Site, name: str = "x", word: str = "lww") -> object:
    """What a reader at this peer sees, with bytes in place of decoded values."""
    held = site.held_here(name)
    siblings = () if held is None else held.siblings
    return resolve(
        word,
        [
            Written(s.actor, s.counter, s.clock, ABSENT if s.value is None else s.value)
            for s in siblings
        ],
    )


def held(site: Site, name: str = "x") -> Variable:
    found = site.held_here(name)
    assert found is not None
    return found


@pytest.mark.fault("V1")
def test_v1_every_write_has_a_dot_of_its_own_and_is_durable_before_it_is_sent() -> None:
    network = settled(2)
    first, second = network.sites
    first.is_disk_slow = True
    dots = []
    for value in (b"1", b"2", b"3"):
        network.write(first, change("x", value))
        dots.append(counter_of(held(first).context, first.peer))
    assert dots == sorted(dict.fromkeys(dots))
    assert network.sent == []
    first.sync_disk()
    network.deliver_all()
    assert shown(second) == b"3"


@pytest.mark.fault("V2")
def test_v2_a_write_of_one_variable_makes_no_other_older() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(second, change("y", b"theirs"))
    for _ in range(5):
        network.write(first, X)
    network.deliver_all()
    assert shown(first, "y") == shown(second, "y") == b"theirs"
    assert [actor for actor, _ in held(first, "y").context] == [second.peer]


@pytest.mark.fault("V3")
def test_v3_a_receiver_joins_clocks_and_keeps_its_own_part() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(second, change("x", b"2"))
    before = held(second).context
    network.lose_all()
    network.write(first, X)
    network.deliver_all()
    assert dominates(held(second).context, before)
    assert dominates(held(second).context, held(first).context)


@pytest.mark.fault("V4")
def test_v4_older_equal_and_concurrent_pushes_are_all_acknowledged() -> None:
    network = settled(2)
    first, second = network.sites
    old = foreign()
    newer = replace(
        old,
        context=((peer_id(99), 2),),
        siblings=(replace(old.siblings[0], counter=2, value=b"new"),),
    )
    concurrent = replace(
        old,
        context=((peer_id(98), 1),),
        siblings=(replace(old.siblings[0], actor=peer_id(98)),),
    )
    for number, variable in enumerate((newer, newer, old, concurrent), 1):
        second.hear(first.peer, VariablePush(number, (variable,)))
    assert [(ack.number, *ack.outcomes) for ack in acks(network)] == [
        (1, Outcome.APPLIED),
        (2, Outcome.APPLIED),
        (3, Outcome.SUPERSEDED),
        (4, Outcome.MERGED),
    ]


@pytest.mark.fault("V5")
def test_v5_a_wait_ends_by_deadline_and_late_or_foreign_acknowledgements_are_ignored() -> None:
    network = settled(4)
    first, second, third, fourth = network.sites
    network.part([first], [second, third])
    token = network.write(first, X, wait=WAIT_ALL, timeout=5.0)
    number = pushes(network)[0].number
    first.hear(peer_id(77), VariableAck(number, (0,)))
    second.state = MemberState.DEAD
    network.tell(first, network.members())
    network.run(6.0)
    answer = first.acknowledged(token)
    assert (answer.applied, answer.missing, answer.left) == (
        (fourth.name,),
        (third.name,),
        (second.name,),
    )
    first.hear(third.peer, VariableAck(number, (0,)))
    assert first.acknowledged(token) == answer


@pytest.mark.fault("V6")
def test_v6_a_conflict_comes_to_the_same_value_everywhere_and_its_clock_dominates_both() -> None:
    network = settled(3)
    first, second, third = network.sites
    network.write(first, change("x", b"1"))
    network.write(second, change("x", b"2"))
    contexts = [held(first).context, held(second).context]
    while network.queue:
        network.deliver(len(network.queue) - 1)
    assert shown(first) == shown(second) == shown(third)
    for site in network.sites:
        assert all(dominates(held(site).context, context) for context in contexts)


@pytest.mark.fault("V7")
def test_v7_a_version_is_the_dot_of_its_write() -> None:
    network = settled(2)
    first = network.sites[0]
    network.write(first, X)
    (sibling,) = held(first).siblings
    assert held(first).context == ((sibling.actor, sibling.counter),)


@pytest.mark.fault("V8")
def test_v8_no_counter_comes_again_after_a_restart_and_entries_are_of_peers_not_lives() -> None:
    network = settled(2)
    first, second = network.sites
    seen = []
    for _ in range(4):
        network.write(first, X)
        seen.append(counter_of(held(first).context, first.peer))
        first.is_disk_slow = True
        network.write(first, change("x", b"lost"))
        network.crash(first)
        first.is_disk_slow = False
        first.settle()
    assert seen == sorted(dict.fromkeys(seen))
    assert [counter >> 32 for counter in seen] == [1, 2, 3, 4]
    network.run(5.0)
    assert [actor for actor, _ in held(second).context] == [first.peer]
    assert network.is_even()


@pytest.mark.fault("V9")
def test_v9_one_lost_push_is_made_good_by_gossip_and_a_newcomer_is_given_everything() -> None:
    network = settled(3)
    first, second, third = network.sites
    network.write(first, X, timeout=0.0)
    network.lose_all()
    third.disk.clear()
    third.marks = None
    network.crash(third)
    network.run(10.0)
    assert shown(second) == shown(third) == b"1"
    assert third.core.ready


@pytest.mark.fault("V10")
def test_v10_nothing_is_acknowledged_that_a_power_cut_can_take_back() -> None:
    network = settled(2)
    first, second = network.sites
    second.is_disk_slow = True
    token = network.write(first, X, wait=WAIT_ALL)
    network.deliver_all()
    assert token not in first.answers
    network.crash(second)
    assert second.values("x") == []
    second.is_disk_slow = False
    second.settle()
    network.run(2.0)
    assert first.acknowledged(token).applied == (second.name,)
    network.crash(second)
    assert second.values("x") == [b"1"]


@pytest.mark.fault("V11")
def test_v11_listeners_are_told_by_an_effect_after_the_state_is_durable() -> None:
    network = settled(2)
    first, second = network.sites
    second.is_disk_slow = True
    network.write(first, X)
    network.deliver_all()
    assert (second.values("x"), second.changes) == ([b"1"], [])
    second.sync_disk()
    assert second.changes == [VariableChanged((held(second),), first.peer)]


@pytest.mark.fault("V12")
def test_v12_a_deleted_variable_stays_deleted_for_those_who_held_it() -> None:
    network = settled(3)
    first, second, third = network.sites
    network.write(first, X)
    network.deliver_all()
    network.part([third], [first, second])
    network.write(first, change("x", None))
    network.run(5.0)
    assert (shown(second), shown(third)) == (ABSENT, b"1")
    network.heal()
    network.run(10.0)
    assert all(shown(site) is ABSENT for site in network.sites)


@pytest.mark.fault("V13")
def test_v13_a_variable_has_one_policy_and_what_is_decided_by_vote_is_none_of_them() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, change("x", b"1", "max"))
    network.deliver_all()
    for word, reason in (("lww", "resolver_mismatch"), ("consensus", "invalid")):
        answer = second.answers[network.write(second, change("x", b"2", word))]
        assert isinstance(answer, Refused)
        assert answer.reason == reason
    second.hear(first.peer, VariablePush(9, (replace(foreign("y"), resolver="consensus"),)))
    assert second.held_here("y") is None
    assert shown(second) == b"1"


@pytest.mark.fault("V14")
def test_v14_a_writer_holds_its_own_write_and_sees_that_another_was_concurrent() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(second, change("x", b"2"))
    token = network.write(first, X, wait=WAIT_ALL)
    assert first.values("x") == [b"1"]
    network.deliver_all()
    assert first.acknowledged(token).merged == (second.name,)
    assert first.values("x") == second.values("x") == [b"1", b"2"]


@pytest.mark.fault("V15")
def test_v15_values_are_bounded_where_they_are_written_and_where_they_arrive() -> None:
    network = settled(2, Limits(value_bytes_max=100))
    first, second = network.sites
    answer = first.answers[network.write(first, change("x", b"v" * 101))]
    assert isinstance(answer, Refused)
    assert answer.reason == "too_large"
    second.hear(first.peer, VariablePush(9, (foreign(value=b"v" * 101),)))
    assert second.core.read("") == ()
    assert [drop.detail for drop in second.drops] == ["value size"]


def test_the_ghosts_would_notice_a_lost_value() -> None:
    """The network's own check can fail."""
    network = Network(2)
    first, second = network.sites
    network.write(first, X)
    network.write(second, change("x", b"2"))
    stolen = replace(held(first), context=((first.peer, 2**40), (second.peer, 2**40)))
    first.core._table._put(stolen, network.now)
    with pytest.raises(AssertionError):
        network.check()
