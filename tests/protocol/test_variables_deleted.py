"""What was deleted stays deleted, whoever comes back and when; and nothing grows for ever.

Rows 61, 62, 63, 70 and 72 of the catalogue of what broke elsewhere.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.messages import VariablePush
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.marks import NOTHING_LEFT_OUT
from mabeam_p2p.records import MemberState
from mabeam_p2p.requests import WAIT_ALL
from mabeam_p2p.wire.codec import CborCodec
from tests.protocol.test_variables_convergence import Chaos
from tests.protocol.variables_network import (
    Network,
    Site,
    X,
    change,
    compare,
    peer_id,
)
from tests.wire.samples import frame_of

HORIZON = 5.0
TIMING = Timing(tombstone_seconds=HORIZON)
CODEC = CborCodec(Limits())


def cluster(count: int, timing: Timing = TIMING, limits: Limits | None = None) -> Network:
    network = Network(count, timing=timing, limits=limits)
    network.run(5.0)
    return network


def part_from_all(network: Network, site: Site) -> None:
    """Cut off, and everybody has noticed."""
    others = [other for other in network.sites if other is not site]
    network.part([site], others)
    for other in others:
        network.tell(other, tuple(m for m in network.members() if m.peer != site.peer))
    network.tell(site, tuple(m for m in network.members() if m.peer == site.peer))


def heal(network: Network) -> None:
    network.heal()
    network.tell_members()


def is_forgotten(network: Network, name: str) -> bool:
    return all(site.held_here(name) is None and name not in site.disk for site in network.sites)


def test_a_deleted_variable_is_forgotten_once_all_know_of_it() -> None:
    network = cluster(3)
    first = network.sites[0]
    network.write(first, X)
    network.run(5.0)
    network.write(first, change("x", None))
    network.run(HORIZON / 2)
    assert all(site.held_here("x") is not None for site in network.sites)
    network.run(HORIZON + 10.0)
    assert is_forgotten(network, "x")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_deleted_key_never_comes_back_through_a_peer_that_was_away_beyond_the_horizon(
    is_restarted: bool,
) -> None:
    network = cluster(4)
    first, second, _, away = network.sites
    network.write(first, X)
    network.write(second, change("y", b"1"))
    network.run(5.0)
    part_from_all(network, away)
    network.write(first, change("x", None))
    network.write(away, change("mine", b"2"))
    network.run(HORIZON * 4)
    assert first.held_here("x") is None, "nobody but who was away remembers"
    assert away.values("x") == [b"1"]
    if is_restarted:
        network.crash(away)
    away.changes.clear()
    heal(network)
    network.run(10.0)
    assert network.is_even()
    assert all(site.values("x") in ([], [None]) for site in network.sites)
    told = [one for event in away.changes for one in event.variables if one.name == "x"]
    assert [one.siblings for one in told] == [()], "whoever follows it there is told"
    assert all(site.values("mine") == [b"2"] for site in network.sites), "and nothing is lost"
    assert all(site.values("y") == [b"1"] for site in network.sites)


def test_what_was_written_over_a_deleted_key_meanwhile_is_not_lost() -> None:
    network = cluster(3)
    first, second, away = network.sites
    network.write(first, X)
    network.run(5.0)
    part_from_all(network, away)
    network.write(second, change("x", None))
    network.write(away, change("x", b"meanwhile"))
    network.run(HORIZON * 4)
    heal(network)
    network.run(10.0)
    assert network.is_even()
    assert all(b"meanwhile" in site.values("x") for site in network.sites)
    assert all(b"1" not in site.values("x") for site in network.sites)


def test_a_deletion_meanwhile_holds_against_what_its_writer_had_seen_alone() -> None:
    network = cluster(3)
    first, second, away = network.sites
    network.write(first, X, change("y", b"1"))
    network.run(5.0)
    part_from_all(network, away)
    network.write(away, change("x", None), change("y", None))
    network.write(second, change("y", b"2"))
    network.run(HORIZON * 4)
    heal(network)
    network.run(10.0)
    assert network.is_even()
    assert all(b"1" not in site.values("x") + site.values("y") for site in network.sites)
    assert all(b"2" in site.values("y") for site in network.sites)


def test_who_learns_of_a_deletion_learns_what_it_had_seen() -> None:
    """Else the deleted value, coming late from a third peer, would be taken for a new one."""
    network = cluster(3)
    first, second, third = network.sites
    network.write(second, X)
    push = next(m for s, t, m in network.sent if t == first.peer and "'x'" in repr(m))
    network.lose_all()
    first.hear(second.peer, push)
    network.lose_all()
    network.write(first, change("x", None))
    network.lose_all()
    compare(network, third, first)
    assert first.peer in third.core._marks.known
    network.write(second, change("y", b"1"))
    network.lose_all()
    third.hear(second.peer, push)
    assert third.values("x") in ([], [None])
    network.check()


def test_replayed_gossip_brings_back_nothing_that_was_forgotten() -> None:
    network = cluster(3)
    first, second, _ = network.sites
    for value in (b"1", b"2"):
        network.write(first, change("x", value))
        network.write(second, change("y", value))
        network.run(3.0)
    old = [(source, target, message) for source, target, message in network.sent]
    network.write(second, change("x", None), change("y", None))
    network.run(HORIZON + 10.0)
    assert is_forgotten(network, "x")
    for source, target, message in old:
        site = next(site for site in network.sites if site.peer == target)
        site.hear(source, message)
        network.check()
    network.run(HORIZON + 10.0)
    assert is_forgotten(network, "x")
    assert is_forgotten(network, "y")


def test_a_restarted_peer_still_knows_what_it_has_forgotten() -> None:
    network = cluster(3)
    first, second, third = network.sites
    network.write(first, X)
    network.run(5.0)
    late = next(m for s, t, m in network.sent if t == third.peer and "'x'" in repr(m))
    network.write(second, change("x", None))
    network.run(HORIZON + 10.0)
    network.crash(third)
    third.hear(first.peer, late)
    assert third.values("x") == []


def test_a_peer_that_has_forgotten_all_that_it_wrote_still_knows_it_after_a_restart() -> None:
    network = cluster(2)
    first, second = network.sites
    for site in network.sites:
        site.core._next_gossip = float("inf")
    network.write(first, X)
    late = next(m for _, t, m in network.sent if t == second.peer and "'x'" in repr(m))
    network.deliver_all()
    network.write(first, change("x", None))
    network.deliver_all()
    network.now += HORIZON + 1.0
    first.core._upkeep.tick({second.peer: "peer-2"}, network.now)
    first.settle()
    assert first.held_here("x") is None
    network.crash(first)
    first.hear(second.peer, late)
    assert first.values("x") == [], "its own write, which it has deleted since"


def test_names_that_come_and_go_leave_nothing_behind() -> None:
    network = cluster(2)
    first, second = network.sites
    for number in range(60):
        name = f"v{number}"
        network.write(first if number % 2 else second, change(name, b"1"))
        network.deliver_all()
        network.write(second if number % 3 else first, change(name, None))
        network.deliver_all()
    network.run(HORIZON + 10.0)
    for site in network.sites:
        assert (site.core.read(""), site.disk) == ((), {})
        assert len(site.core._marks.known) == 2
        assert not site.core._table.actors


def test_every_message_to_a_peer_that_holds_nothing_keeps_its_bound() -> None:
    """A digest that is empty asks for everything."""
    limits = Limits(push_bytes_max=20_000)
    network = cluster(2, limits=limits)
    first, second = network.sites
    network.lose_all()
    for number in range(150):
        network.write(first, change(f"a name that is quite long {number}", bytes(200)))
        network.lose_all()
    second.disk.clear()
    second.marks = None
    network.crash(second)
    network.sent.clear()
    network.run(20.0)
    assert network.is_even()
    sizes = [len(CODEC.encode_frame(frame_of(message))) for _, _, message in network.sent]
    assert max(sizes) < limits.push_bytes_max + 1_000


# ---- writers that have gone ------------------------------------------------------------------


def context_sizes(network: Network) -> list[int]:
    return [len(v.context) for site in network.sites for v in site.core.read("")]


def test_clocks_of_variables_are_no_larger_than_the_members_that_live() -> None:
    network = cluster(5)
    for site in network.sites:
        network.write(site, X)
        network.run(2.0)
    gone = network.sites[2:]
    network.run(10.0)
    assert max(context_sizes(network)) == 5
    for site in gone:
        part_from_all(network, site)
    network.sites = network.sites[:2]
    network.tell_members()
    network.write(network.sites[0], change("x", b"2"))
    network.run(HORIZON + 20.0)
    assert max(context_sizes(network)) <= 2
    assert network.is_even()


def test_restarts_of_a_peer_leave_one_writer() -> None:
    network = cluster(2)
    first, second = network.sites
    for number in range(20):
        network.write(first, change("x", b"%d" % number))
        network.run(2.0)
        network.crash(first)
    network.run(5.0)
    assert [len(v.context) for v in second.core.read("")] == [1]
    assert len(second.core._marks.known) == 1


def test_pruning_never_invents_concurrency() -> None:
    """A writer that was retired is as superseded as it was before, for who has missed it too."""
    network = cluster(4)
    first, second, away, gone = network.sites
    network.write(gone, change("x", b"old"))
    network.run(5.0)
    part_from_all(network, away)
    network.write(first, change("x", b"new"))
    network.run(5.0)
    gone.state = MemberState.LEFT
    network.sites.remove(gone)
    for site in (first, second):
        network.tell(site, tuple(m for m in network.members() if m.peer != away.peer))
    network.run(HORIZON + 20.0)
    held = second.held_here("x")
    assert held is not None
    assert [actor for actor, _ in held.context] == [first.peer], "the writer is retired"
    assert away.values("x") == [b"old"]
    heal(network)
    # The next write reaches who has missed all this before any comparison does.
    network.write(first, change("x", b"newest"))
    shown = []
    for _ in range(200):
        network.run(0.05)
        shown.append(away.values("x"))
    assert [b"newest"] in shown
    assert all(values in ([b"old"], [b"new"], [b"newest"]) for values in shown), shown
    assert network.is_even()


def test_a_writer_that_comes_back_goes_on_where_it_was() -> None:
    network = cluster(3)
    first, _, back = network.sites
    network.write(back, X)
    network.run(5.0)
    part_from_all(network, back)
    network.write(first, change("x", b"2"))
    network.run(HORIZON + 20.0)
    assert back.peer in first.core._marks.base
    network.write(back, change("z", b"3"))
    heal(network)
    network.run(10.0)
    network.write(back, change("x", b"4"))
    network.run(5.0)
    assert network.is_even()
    assert first.values("x") == [b"4"]
    assert first.values("z") == [b"3"]


def test_what_is_sent_again_fits_into_a_message_however_much_contexts_leave_out() -> None:
    network = cluster(2)
    first, second = network.sites
    left_out = tuple((peer_id(1_000 + number), 7) for number in range(600))
    for site in network.sites:
        site.core._marks.learn(left_out, left_out)
        site.outbox.take()
    names = [f"v{number}" for number in range(40)]
    token = network.write(first, *(change(name, b"1") for name in names), wait=WAIT_ALL)
    network.lose_all()
    network.sent.clear()
    network.tick(0.31)
    again = [m for _, _, m in network.sent if isinstance(m, VariablePush)]
    assert again
    for push in again:
        assert sum(map(dotted.size, push.variables)) <= network.limits.push_bytes_max
    network.deliver_all()
    assert first.acknowledged(token).reached
    assert second.values("v39") == [b"1"]


def test_what_leaves_entries_out_is_read_by_who_leaves_out_the_same() -> None:
    network = cluster(3)
    first, second, third = network.sites
    first.core._marks.base_hash = 77
    network.sent.clear()
    network.write(first, X)
    (push, *_) = [m for _, _, m in network.sent if "'x'" in repr(m)]
    assert push.base == 77  # type: ignore[union-attr]
    first.core._marks.base_hash = NOTHING_LEFT_OUT
    network.deliver_all()
    assert second.values("x") == third.values("x") == [b"1"], "it was compared, or came again"


def test_a_writer_that_is_given_up_no_longer_keeps_what_was_deleted() -> None:
    timing = Timing(tombstone_seconds=1.0, retire_seconds=20.0)
    network = cluster(3, timing)
    first, second, gone = network.sites
    network.run(5.0)
    network.write(gone, X)
    network.deliver_all()
    # Before anybody was compared with it: none knows whether it has written more.
    part_from_all(network, gone)
    network.write(first, change("x", None))
    network.sites.remove(gone)
    network.run(10.0)
    assert first.held_here("x") is not None
    network.run(20.0)
    assert first.held_here("x") is None
    assert second.held_here("x") is None


def test_who_is_cut_off_from_the_quorum_gives_up_no_writes_of_those_beyond() -> None:
    network = cluster(4, Timing(tombstone_seconds=1.0, retire_seconds=20.0))
    writer, second, *away = network.sites
    network.part([writer], away)
    network.write(writer, change("y", b"missed"))
    network.deliver_all()
    network.heal()
    network.write(writer, X)
    network.deliver_all()
    # Before they were compared: of the writer they have the last write, and not the one before it.
    assert [site.values("y") for site in away] == [[], []]
    assert [site.values("x") for site in away] == [[b"1"], [b"1"]]
    network.part([writer, second], away)
    for site in (writer, second):
        network.tell(site, network.members()[:2])
    for site in away:
        site.core.has_quorum = False
        network.tell(site, network.members()[2:])
    network.run(60.0)
    heal(network)
    network.run(10.0)
    assert network.is_even()
    assert writer.values("y") == [b"missed"]


def test_a_peer_that_is_alone_forgets_what_it_has_deleted() -> None:
    network = Network(1, timing=TIMING, limits=Limits(variables_max=10))
    (alone,) = network.sites
    for number in range(30):
        token = network.write(alone, change(f"v{number}", b"1"))
        assert alone.acknowledged(token).reached
        network.write(alone, change(f"v{number}", None))
        network.run(HORIZON)
    network.run(HORIZON + 5.0)
    assert alone.core.read("") == ()
    assert alone.disk == {}


# ---- any weather -----------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(3, 5), st.integers(5, 80))
def test_nothing_is_lost_or_comes_back_whatever_is_forgotten_and_retired(
    draw: Random, count: int, steps: int
) -> None:
    network = Network(count, timing=Timing(tombstone_seconds=0.3))
    chaos = Chaos(network, draw)
    for _ in range(steps):
        chaos.step()
    chaos.settle_down()
    network.run(60.0)
    assert network.is_even()
    network.check_promises()
    standing = {
        (name, actor, counter)
        for (name, actor, counter), write in network.writes.items()
        if write.value is not None
        and not any(
            other[0] == name and counter <= dict(later.seen).get(actor, 0)
            for other, later in network.writes.items()
        )
    }
    for site in network.sites:
        held = {
            (name, s.actor, s.counter)
            for name, siblings in site.content().items()
            for s in siblings
            if s.value is not None
        }
        assert held == standing


def test_a_claim_to_know_what_no_member_has_begun_is_dropped() -> None:
    network = cluster(2)
    first, second = network.sites
    from_the_future = ((peer_id(2), 9 << 32),)
    exchange = first.core._anti_entropy
    exchange.begin(second.peer, network.now)
    first.settle()
    network.deliver()
    _, _, site, _, answer, _ = network.queue.pop()
    assert site is first
    hostile = type(answer)(
        **{
            **{field: getattr(answer, field) for field in answer.__struct_fields__},
            "same": False,
            "known": from_the_future,
        }
    )
    first.hear(second.peer, hostile)
    assert first.core._marks.known.get(second.peer, 0) < 9 << 32
    assert [drop.detail for drop in first.drops] == ["a write of an epoch to come"]
