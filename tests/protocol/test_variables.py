"""Writes, merges and who hears of them, input by input."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    VariablePush,
)
from mabeam_p2p.protocol.variables import intake
from mabeam_p2p.records import Sibling, Variable
from mabeam_p2p.requests import (
    Refused,
    SetVariables,
)
from tests.protocol.variables_network import (
    WALL,
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


def test_a_write_is_visible_at_once_and_elsewhere_when_it_arrives() -> None:
    network = settled(3)
    first, second, third = network.sites
    network.write(first, X)
    assert first.values("x") == [b"1"]
    assert second.values("x") == []
    network.deliver_all()
    assert second.values("x") == third.values("x") == [b"1"]
    assert [event.source for event in second.changes] == [first.peer]


def test_the_writes_of_one_request_travel_and_appear_together() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, X, change("y", b"2"))
    assert [[v.name for v in push.variables] for push in pushes(network)] == [["x", "y"]]
    network.deliver_all()
    for site in (first, second):
        assert [[v.name for v in event.variables] for event in site.changes] == [["x", "y"]]


def test_two_writes_of_one_name_in_a_request_come_to_the_later_one() -> None:
    network = Network(1)
    (site,) = network.sites
    site.core.write(1, SetVariables((X, change("x", b"2"))), network.now)
    site.settle()
    assert site.values("x") == [b"2"]


def test_nothing_leaves_before_it_is_durable_at_the_writer() -> None:
    network = settled(2)
    first, _ = network.sites
    first.is_disk_slow = True
    token = network.write(first, X)
    assert first.values("x") == [b"1"]
    assert (network.sent, first.changes, token in first.answers) == ([], [], False)
    first.is_disk_slow = False
    first.settle()
    assert len(pushes(network)) == 1
    assert first.acknowledged(token).reached


def test_an_acknowledgement_waits_for_the_receivers_disk_also_when_it_repeats() -> None:
    network = settled(2)
    first, second = network.sites
    second.is_disk_slow = True
    network.write(first, X)
    network.deliver(keep=True)
    network.deliver()
    assert acks(network) == []
    second.sync_disk()
    assert [ack.outcomes for ack in acks(network)] == [(0,), (0,)]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (SetVariables(()), "invalid"),
        (SetVariables((X,), wait=-3), "invalid"),
        (SetVariables((X,), timeout=-1.0), "invalid"),
        (SetVariables((X,), timeout=float("nan")), "invalid"),
        (SetVariables((X,), timeout=float("inf")), "invalid"),
        (SetVariables((change("", b"1"),)), "invalid"),
        (SetVariables((change("x", b"1", "newest"),)), "invalid"),
        (SetVariables((replace(X, context=((peer_id(1), 0),)),)), "invalid"),
        (SetVariables((change("x", b"1" * 65_537),)), "too_large"),
        (SetVariables(tuple(change(f"x{n}", b"1" * 60_000) for n in range(5))), "too_large"),
        (SetVariables((X, change("x", b"2", "max"))), "resolver_mismatch"),
        (SetVariables(tuple(change(f"x{n}", b"1") for n in range(11))), "limit"),
    ],
)
def test_a_request_that_cannot_be_kept_is_refused_whole(
    request_: SetVariables, reason: str
) -> None:
    network = settled(2, Limits(variables_max=10))
    site = network.sites[0]
    site.core.write(7, request_, network.now)
    site.settle()
    answer = site.answers[7]
    assert isinstance(answer, Refused)
    assert answer.reason == reason
    assert site.core.read("") == ()
    assert (network.sent, site.disk, site.changes) == ([], {}, [])


def test_too_many_concurrent_values_are_refused_to_their_writer() -> None:
    network = Network(1, limits=Limits(siblings_max=2))
    (site,) = network.sites
    unseen = replace(X, context=())
    for _ in range(2):
        network.write(site, unseen)
    answer = site.answers[network.write(site, unseen)]
    assert isinstance(answer, Refused)
    assert answer.reason == "limit"
    network.write(site, X)
    assert site.values("x") == [b"1"]


def test_every_name_can_be_read_and_an_empty_one_means_all_sorted() -> None:
    network = Network(1)
    (site,) = network.sites
    network.write(site, change("b", b"2"))
    network.write(site, change("a", b"1"))
    assert [variable.name for variable in site.core.read("")] == ["a", "b"]
    assert [variable.name for variable in site.core.read("b")] == ["b"]
    assert site.core.read("c") == ()


def outcome_of(site: Site, network: Network, variable: Variable) -> int:
    """What `site` acknowledges when a stranger pushes `variable`."""
    network.sent.clear()
    site.core.receive(network.sites[1].peer, VariablePush(5, (variable,)), network.now)
    site.settle()
    (ack,) = acks(network)
    return ack.outcomes[0]


def test_an_acknowledgement_tells_applied_merged_superseded_and_refused() -> None:
    network = settled(2)
    first = network.sites[0]
    assert outcome_of(first, network, foreign()) == 0
    assert outcome_of(first, network, foreign()) == 0
    network.write(first, replace(X, context=()))
    assert outcome_of(first, network, foreign()) == 2
    network.write(first, X)
    assert outcome_of(first, network, foreign()) == 1
    assert outcome_of(first, network, replace(foreign(), resolver="newest")) == 3


def test_a_write_for_which_there_is_no_room_is_refused_and_not_superseded() -> None:
    network = settled(2, Limits(siblings_max=2))
    first = network.sites[0]
    for _ in range(2):
        network.write(first, replace(X, context=()))
    assert outcome_of(first, network, foreign(clock=1)) == 3
    assert first.values("x") == [b"1", b"1"]
    # The latest ones stand.
    latest = max(sibling.clock for sibling in first.core.read("x")[0].siblings)
    other = foreign(clock=latest + 1)
    (sibling,) = other.siblings
    newest = replace(sibling, actor=PeerId("9" * 16))
    newest_variable = replace(other, context=((newest.actor, 1),), siblings=(newest,))
    assert outcome_of(first, network, newest_variable) == 2
    assert newest in first.core.read("x")[0].siblings


def test_a_write_without_room_gets_the_same_answer_however_often_it_comes() -> None:
    network = settled(2, Limits(siblings_max=2))
    first = network.sites[0]
    for _ in range(2):
        network.write(first, replace(X, context=()))
    assert [outcome_of(first, network, foreign(clock=1)) for _ in range(2)] == [3, 3]
    network.write(first, X)
    assert outcome_of(first, network, foreign(clock=1)) == 3, "its successors had not seen it"
    network.crash(first)
    assert outcome_of(first, network, foreign(clock=1)) == 1, "there is room, and nobody knows"


def test_no_more_writes_are_remembered_as_given_up_than_the_last_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "GIVEN_UP_MAX", 1)
    network = settled(2, Limits(siblings_max=2))
    first = network.sites[0]
    for name in ("x", "y"):
        for _ in range(2):
            network.write(first, replace(change(name, b"1"), context=()))
        assert outcome_of(first, network, foreign(name, clock=1)) == 3
    network.write(first, X, change("y", b"1"))
    assert [outcome_of(first, network, foreign(name, clock=1)) for name in "yx"] == [3, 1]


def test_a_write_that_was_given_up_elsewhere_is_refused_where_there_is_no_room_for_it() -> None:
    network = settled(2, Limits(siblings_max=2))
    first = network.sites[0]
    for _ in range(2):
        network.write(first, replace(X, context=()))
    assert outcome_of(first, network, foreign(clock=1)) == 3
    network.crash(first)
    assert outcome_of(first, network, foreign(clock=1)) == 3


def test_a_writer_whose_own_value_finds_no_room_beside_others_it_pushes_is_refused() -> None:
    network = settled(2, Limits(siblings_max=2))
    first, second = network.sites
    for _ in range(2):
        network.write(first, replace(X, context=()))
    latest = max(sibling.clock for sibling in first.core.read("x")[0].siblings)
    later = foreign(clock=latest + 1).siblings[0]
    own = Sibling(second.peer, 1, 1, b"own")
    context = ((second.peer, 1), (later.actor, 1))
    pushed = Variable("x", "lww", context, (own, later))
    assert outcome_of(first, network, pushed) == 3
    assert later in first.core.read("x")[0].siblings


def test_concurrent_writes_stand_side_by_side_until_one_has_seen_both() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, change("x", b"1"))
    network.write(second, change("x", b"2"))
    network.deliver_all()
    assert first.values("x") == second.values("x") == [b"1", b"2"]
    network.write(second, change("x", b"3"))
    network.deliver_all()
    assert first.values("x") == second.values("x") == [b"3"]


def test_what_brings_no_new_value_is_no_event() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, X)
    network.deliver(keep=True)
    network.deliver_all()
    assert len(second.changes) == 1


def test_two_words_for_the_resolver_come_to_the_same_one_everywhere() -> None:
    network = settled(2)
    first, second = network.sites
    network.write(first, change("x", b"1", "set"))
    network.write(second, change("x", b"2", "max"))
    network.deliver_all()
    assert [v.resolver for site in network.sites for v in site.core.read("x")] == ["max", "max"]


def test_a_clock_far_ahead_wins_no_write_that_has_seen_it() -> None:
    network = settled(2)
    first = network.sites[0]
    outcome_of(first, network, foreign(clock=2**62 - 1))
    network.write(first, X)
    assert first.values("x") == [b"1"]
    assert first.core.read("x")[0].siblings[0].clock < 2**52


def test_a_write_is_stamped_later_than_what_its_writer_had_merged_or_recovered() -> None:
    network = settled(2)
    first, _ = network.sites
    half_an_hour_ahead = int((WALL + network.now + 1800) * 1_000_000)
    outcome_of(first, network, foreign(clock=half_an_hour_ahead))
    network.write(first, X)
    (stamp,) = [sibling.clock for sibling in first.core.read("x")[0].siblings]
    assert stamp == half_an_hour_ahead + 1
    network.crash(first)
    network.write(first, X)
    assert [sibling.clock for sibling in first.core.read("x")[0].siblings] == [stamp + 1]


def test_a_variable_of_too_many_writers_takes_no_more_of_them() -> None:
    network = settled(2, Limits(members_max=1))
    first = network.sites[0]
    assert outcome_of(first, network, foreign()) == 0
    answer = first.answers[network.write(first, X)]
    assert isinstance(answer, Refused)
    assert answer.reason == "limit"
    network.write(first, change("y", b"1"))
    assert outcome_of(first, network, foreign("y")) == 3
    assert first.values("y") == [b"1"]


def test_a_peer_that_has_used_up_its_counters_refuses_to_write_until_it_restarts() -> None:
    network = settled(2)
    first = network.sites[0]
    staging = first.core._staging
    staging.counter = staging._counter_max - 1
    network.write(first, X)
    answer = first.answers[network.write(first, X)]
    assert isinstance(answer, Refused)
    assert answer.reason == "limit"
    network.crash(first)
    network.write(first, change("x", b"2"))
    assert first.values("x") == [b"2"]
