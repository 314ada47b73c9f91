"""What a writer is told: who has acknowledged, who is missing, who has left."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.records import MemberState
from mabeam_p2p.requests import (
    WAIT_ALL,
    WAIT_MAJORITY,
    Acknowledged,
    Failed,
    SetVariables,
)
from tests.protocol.variables_network import (
    Network,
    Site,
    X,
    change,
    pushes,
    settled,
)


def test_without_a_wait_the_answer_comes_at_once() -> None:
    network = settled(3)
    answer = network.sites[0].acknowledged(network.write(network.sites[0], X))
    assert answer == Acknowledged((), (), (), ("peer-2", "peer-3"), (), reached=True)


def test_a_wait_for_one_ends_with_the_first_acknowledgement() -> None:
    network = settled(3)
    first = network.sites[0]
    token = network.write(first, X, wait=1)
    network.deliver_all()
    assert first.acknowledged(token).reached
    assert len(first.acknowledged(token).applied) == 1


def test_a_wait_for_all_ends_with_the_last_acknowledgement() -> None:
    network = settled(3)
    first = network.sites[0]
    token = network.write(first, X, wait=WAIT_ALL)
    network.deliver(1)
    network.deliver(1)
    assert token not in first.answers
    network.deliver_all()
    answer = first.acknowledged(token)
    assert (answer.applied, answer.missing, answer.reached) == (("peer-2", "peer-3"), (), True)


@pytest.mark.parametrize(("count", "wanted"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_a_majority_counts_the_writer(count: int, wanted: int) -> None:
    network = settled(count)
    first = network.sites[0]
    token = network.write(first, X, wait=WAIT_MAJORITY)
    for _ in range(wanted):
        assert token not in first.answers
        network.deliver(0)
        network.deliver(len(network.queue) - 1)
    assert first.acknowledged(token).reached
    assert len(first.acknowledged(token).applied) == wanted


def test_a_wait_that_members_cannot_fulfil_ends_at_once_unreached() -> None:
    network = settled(2)
    first = network.sites[0]
    assert not first.acknowledged(network.write(first, X, wait=2)).reached
    token = network.write(first, X, wait=1)
    network.sites[1].state = MemberState.DEAD
    network.tell(first, network.members())
    answer = first.acknowledged(token)
    assert (answer.left, answer.missing, answer.reached) == (("peer-2",), (), False)


def test_those_that_left_are_told_apart_and_all_means_the_others() -> None:
    network = settled(3)
    first, second, _ = network.sites
    token = network.write(first, X, wait=WAIT_ALL)
    second.state = MemberState.LEFT
    network.tell(first, network.members())
    assert token not in first.answers
    network.deliver_all()
    answer = first.acknowledged(token)
    assert (answer.applied, answer.left, answer.reached) == (("peer-3",), ("peer-2",), True)


def test_a_suspect_is_still_written_to() -> None:
    network = settled(2)
    first, second = network.sites
    second.state = MemberState.SUSPECT
    network.tell(first, network.members())
    token = network.write(first, X, wait=WAIT_ALL)
    network.deliver_all()
    assert first.acknowledged(token).applied == ("peer-2",)


def test_the_deadline_names_who_is_missing() -> None:
    network = settled(3)
    first, _, third = network.sites
    network.part([first], [third])
    token = network.write(first, X, wait=WAIT_ALL, timeout=2.0)
    network.run(1.9)
    assert token not in first.answers
    network.run(0.2)
    answer = first.acknowledged(token)
    assert (answer.applied, answer.missing, answer.reached) == (("peer-2",), ("peer-3",), False)


def crowded() -> tuple[Network, int]:
    """Two that do not compare by themselves; the token of a write on its way to the second one,
    which has no room for it."""
    network = settled(2, Limits(siblings_max=2), Timing(gossip_interval_seconds=1000.0))
    first, second = network.sites
    unseen = replace(X, context=())
    token = network.write(first, unseen, wait=WAIT_ALL)
    network.now += 0.1
    for _ in range(2):
        second.core.write(0, SetVariables((unseen,)), network.now)
    second.settle()
    return network, token


def hear(network: Network, *targets: Site) -> None:
    """These hear what is under way to them, and in answer to that. No ghost judges: what finds no
    room has no successor."""
    while heard := [one for one in network.queue if one[2] in targets]:
        network.queue = [one for one in network.queue if one[2] not in targets]
        for source, _, target, _, message, _ in heard:
            target.hear(source.peer, message)


def test_a_writer_hears_who_had_no_room_though_the_first_answer_was_lost() -> None:
    network, token = crowded()
    first, second = network.sites
    hear(network, second)
    network.lose_all()
    network.tick(1.0)
    hear(network, first, second)
    answer = first.acknowledged(token)
    assert (answer.superseded, answer.missing, answer.reached) == ((), ("peer-2",), False)


def test_a_writer_that_has_given_its_own_write_up_takes_no_answer_for_it() -> None:
    network, token = crowded()
    first, second = network.sites
    hear(network, first)
    network.lose_all()
    assert all(sibling.actor == second.peer for sibling in first.content()["x"])
    network.tick(1.0)
    hear(network, first, second)
    answer = first.acknowledged(token)
    assert (answer.applied, answer.missing, answer.reached) == ((), ("peer-2",), False)


def test_a_lost_push_is_repeated_ever_more_slowly_until_it_is_acknowledged() -> None:
    timing = Timing(gossip_interval_seconds=1000.0, push_timeout_seconds=0.3)
    network = settled(2, timing=timing)
    first, second = network.sites
    start = network.now
    network.write(first, X)
    sent_at = []
    for _ in range(500):
        network.lose_all()
        network.sent.clear()
        network.tick(0.01)
        sent_at += [network.now - start] * len(pushes(network))
    assert sent_at == pytest.approx([0.3, 0.9, 2.1, 4.5], abs=0.06)
    network.lose_all()
    network.run(10.0)
    assert second.values("x") == [b"1"]
    network.sent.clear()
    network.run(60.0)
    assert pushes(network) == []


def test_a_repeated_push_carries_what_is_held_now_and_makes_the_earlier_one_needless() -> None:
    network = settled(2, timing=Timing(gossip_interval_seconds=1000.0))
    first, _ = network.sites
    for value in (b"1", b"2", b"3"):
        network.write(first, change("x", value))
    network.lose_all()
    network.sent.clear()
    network.tick(0.4)
    assert [push.variables[0].siblings[0].value for push in pushes(network)] == [b"3"]


def test_an_earlier_push_that_somebody_waits_for_is_still_repeated() -> None:
    network = settled(2, timing=Timing(gossip_interval_seconds=1000.0))
    first, _ = network.sites
    token = network.write(first, X, wait=1)
    network.write(first, change("x", b"2"))
    network.lose_all()
    network.run(1.0)
    assert first.acknowledged(token).applied == ("peer-2",)


def test_an_acknowledgement_to_an_earlier_process_is_none_to_a_later_one() -> None:
    network = settled(2)
    writer, other = network.sites
    other.is_disk_slow = True
    network.write(writer, X, wait=WAIT_ALL)
    network.deliver_all()
    network.crash(writer)
    token = network.write(writer, change("later", b"1"), wait=WAIT_ALL)
    network.lose_all()
    other.is_disk_slow = False
    other.settle()
    network.deliver_all()
    assert token not in writer.answers, "what it wrote now never came there"


def test_a_cancelled_wait_gets_no_answer_and_its_write_goes_on() -> None:
    network = settled(2)
    first, second = network.sites
    token = network.write(first, X, wait=1)
    first.core.cancel(token)
    first.core.cancel(999)
    network.deliver_all()
    assert token not in first.answers
    assert second.values("x") == [b"1"]


def test_with_too_many_under_way_a_waiting_write_fails_and_others_are_left_to_gossip() -> None:
    network = settled(2, Limits(pushes_pending_max=1))
    first, second = network.sites
    network.write(first, X, wait=1)
    answer = first.answers[network.write(first, change("y", b"2"), wait=1)]
    assert isinstance(answer, Failed)
    assert answer.reason == "overloaded"
    assert first.values("y") == []
    network.write(first, change("z", b"3"))
    assert [push.number == 0 for push in pushes(network)] == [False, True]
    network.lose_all()
    network.run(5.0)
    assert second.values("z") == [b"3"]


def test_a_batch_is_under_way_though_a_newer_push_of_one_of_its_names_has_ended() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, change("a", b"1"), change("b", b"1"), change("c", b"1"))
    network.lose_all()
    network.write(first, change("a", b"2"))
    network.deliver_all()
    network.write(first, change("b", b"2"))
    network.lose_all()
    network.tick(0.4)
    network.deliver_all()
    assert second.values("a") == second.values("b") == [b"2"]
    assert second.values("c") == [b"1"]
