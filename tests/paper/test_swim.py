"""SWIM's claims (Das, Gupta and Motivala, 2002), one test for each, with its section."""

from collections import Counter
from itertools import pairwise
from math import e

import pytest
from msgspec.structs import replace

from mabeam_p2p.effects import Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Gossip, Probe, ProbeAck, ProbeReport, ProbeRequest, Rumour
from mabeam_p2p.protocol.membership.rumours import Rumours, transmissions
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.testing.crowd import Conditions, Crowd, Seat
from tests.protocol.membership.members import (
    DEAD,
    SUSPECT,
    THEIRS,
    TIMING,
    A,
    B,
    C,
    D,
    Table,
    member,
    messages,
    others,
    rumours_in,
)


def times_of(crowd: Crowd, peer: PeerId, state: MemberState) -> dict[int, float]:
    """When each member comes to see `peer` so; filled while the crowd runs."""
    seen: dict[int, float] = {}

    def on_change(now: float, seat: Seat, changed: Member) -> None:
        if changed.peer == peer and changed.state is state:
            seen.setdefault(seat.number, now)

    crowd.on_change = on_change
    return seen


def test_strong_completeness_every_failure_is_detected_by_all() -> None:
    """§2: completeness: every member that has crashed is noticed by every one that has not."""
    crowd = Crowd(30, conditions=Conditions(loss=0.05))
    crowd.run(2.0)
    victims = crowd.seats[3:6]
    for victim in victims:
        crowd.crash(victim)
    crowd.run(30.0)
    for seat in crowd.running():
        for victim in victims:
            assert not seat.core.is_here(victim.peer)


def test_the_load_of_a_member_does_not_depend_on_the_size_of_the_group() -> None:
    """§3.1: the expected number of messages of a member in a period is constant."""
    rates = []
    for size in (20, 80):
        crowd = Crowd(size)
        crowd.run(10.0)
        rates.append(crowd.messages / size)
    assert rates[1] == pytest.approx(rates[0], rel=0.05)


def test_the_first_detection_takes_a_time_that_does_not_depend_on_the_size() -> None:
    """§3.1: a failure is noticed by some member after e / (e - 1) periods, in expectation."""
    for size in (10, 60):
        waits = []
        for seed in range(10):
            crowd = Crowd(size, seed=seed)
            crowd.run(2.0 + seed / 40)
            victim = crowd.seats[seed]
            seen = times_of(crowd, victim.peer, SUSPECT)
            crowd.crash(victim)
            began = crowd.now
            crowd.run_until(lambda seen=seen: bool(seen), 20.0)  # type: ignore[misc]
            waits.append(min(seen.values()) - began)
        periods = sum(waits) / len(waits) - crowd.timing.suspect_seconds
        # Looking at ticks alone adds one more period at most.
        assert periods <= (e / (e - 1) + 1) * crowd.timing.probe_interval_seconds


def test_one_that_does_not_answer_is_asked_by_way_of_k_others() -> None:
    """§3.1: ping-req to k members chosen at random, none of them the silent one."""
    chosen: Counter[PeerId] = Counter()
    for seed in range(40):
        table = Table(*map(member, (A, B, C, D)), *others(4), seed=seed, voters=(A,))
        near = [B, C, D, *(one.peer for one in others(4))]
        for send in table.pass_time(1.0, *near):
            if isinstance(send.message, ProbeRequest) and send.message.target == A:
                chosen[send.target] += 1
    assert A not in chosen
    assert sum(chosen.values()) == 40 * 3
    assert min(chosen[peer] for peer in near) >= 5, "at random"


def test_an_answer_by_way_of_another_is_an_answer() -> None:
    """§3.1: on any ack, direct or relayed, the member has not failed."""
    table = Table(member(A), member(B), voters=(A, B))
    for _ in range(40):
        for send in table.pass_time(0.25, B):
            if isinstance(send.message, ProbeRequest):
                table.hear(B, ProbeReport(send.message.number, A, answered=True))
    assert table.changes() == []


def test_news_rides_on_the_messages_of_the_failure_detector() -> None:
    """§4.1: infection-style dissemination: no multicast, no message of its own."""
    table = Table(member(A), member(B), timing=replace(TIMING, sync_interval_seconds=1_000.0))
    table.pass_time(20.0, A, B)
    sent = (*table.tell(A, member(C)), *table.pass_time(0.75, A, B, C))
    assert Rumour(member(C)) in rumours_in(sent)
    kinds = {type(effect.message): None for effect in sent if isinstance(effect, Send)}
    assert list(kinds) == [ProbeAck, Probe]


def test_news_reaches_everybody_in_a_time_that_grows_with_the_logarithm() -> None:
    """§4.1, §5: the infection grows exponentially until all have it."""
    few, many = (sum(_news_seconds(size, seed) for seed in range(5)) for size in (16, 256))
    assert many <= 3 * few, "sixteen times as many: the logarithm has doubled"


def _news_seconds(size: int, seed: int) -> float:
    crowd = Crowd(size, seed=seed)
    crowd.run(1.0)
    speaker = crowd.seats[size // 2]
    heard = times_of(crowd, speaker.peer, MemberState.ALIVE)
    speaker.core.describe(score=1)
    began = crowd.now
    assert crowd.run_until(lambda: len(heard) >= size - 1, 20.0)
    return crowd.now - began


def test_each_rumour_is_passed_on_lambda_log_n_times_those_told_least_first() -> None:
    """§4.1: the buffer prefers elements that have been gossiped fewer times."""
    rumours = Rumours(100)
    for one in others(3):
        rumours.spread(Rumour(one))
    first = [rumour.member for rumour in rumours.take(2, transmissions(9))]
    assert first == [others(3)[2], others(3)[1]], "of those told least the newest"
    second = [rumour.member for rumour in rumours.take(1, transmissions(9))]
    assert second == [others(3)[0]]
    told = Counter(rumour.member.peer for _ in range(50) for rumour in rumours.take(2, 4))
    assert sorted(told.values()) == [3, 3, 3]
    assert len(rumours) == 0


def test_a_suspect_that_refutes_in_time_is_not_declared_failed() -> None:
    """§4.2: the suspicion mechanism: suspect first, and confirm only after a timeout."""
    table = Table(member(A), member(B), voters=(A, B))
    table.time_until(B, SUSPECT, A)
    table.answer(B, Rumour(member(B, raised=1)))
    table.pass_time(30.0, A, B)
    assert [state for _, state in table.changes()] == [SUSPECT, MemberState.ALIVE]


def test_only_the_member_itself_raises_its_incarnation() -> None:
    """§4.2: incarnation numbers are incremented by the member alone, when it is suspected."""
    table = Table(member(A), member(B), voters=(A, B))
    table.time_until(B, DEAD, A)
    found = table.core.find(B)
    assert found is not None
    assert found.incarnation == member(B).incarnation
    before = table.core.mine.incarnation
    table.tell(A, Member(*_facts(table.core.mine), SUSPECT))
    assert table.core.mine.incarnation == before + 1


def _facts(mine: Member) -> tuple[PeerId, str, str, int, int]:
    return mine.peer, mine.name, mine.address, mine.epoch, mine.incarnation


def test_every_member_is_asked_within_two_rounds() -> None:
    """§4.3: round-robin over a shuffled list bounds the time until a failure is noticed."""
    size = 15
    table = Table(*others(size))
    peers = [one.peer for one in others(size)]
    asked: list[PeerId] = []
    for _ in range(size * 10):
        table.pass_time(0.25, *peers)
        asked += table.asked
    for peer in peers:
        places = [place for place, one in enumerate(asked) if one == peer]
        gaps = [b - a for a, b in pairwise(places)]
        assert max(gaps) <= 2 * size - 1


def test_the_order_of_asking_changes_from_round_to_round() -> None:
    """§4.3: at the end of a traversal the list is rearranged at random."""
    size = 12
    table = Table(*others(size))
    peers = [one.peer for one in others(size)]
    rounds = []
    for _ in range(4):
        asked: list[PeerId] = []
        for _ in range(size):
            table.pass_time(0.25, *peers)
            asked += table.asked
        rounds.append(tuple(asked))
    assert len(dict.fromkeys(rounds)) == 4


def test_a_newcomer_gets_a_random_place_in_the_round() -> None:
    """§4.3: inserted at a position chosen uniformly at random."""
    waits = []
    for seed in range(60):
        table = Table(*others(8), seed=seed)
        peers = [one.peer for one in others(8)]
        table.pass_time(2.0, *peers)
        table.core.met(member(A), table.now)
        table.outbox.take()
        for wait in range(20):
            table.pass_time(0.25, A, *peers)
            if A in table.asked:
                waits.append(wait)
                break
    assert len(waits) == 60
    assert len(dict.fromkeys(waits)) >= 6
    assert max(waits) <= 17


def test_leaving_is_told_apart_from_failing() -> None:
    """§2: a voluntary departure is no failure."""
    crowd = Crowd(12)
    crowd.run(2.0)
    leaver = crowd.seats[4]
    crowd.leave(leaver)
    crowd.run(20.0)
    for seat in crowd.running():
        found = seat.core.find(leaver.peer)
        assert found is not None
        assert found.state is MemberState.LEFT


def test_a_newcomer_that_knows_one_member_comes_to_know_all_and_be_known_by_all() -> None:
    """§3.2: a join is told to the group; the newcomer gets the list of one member."""
    crowd = Crowd(40)
    crowd.run(1.0)
    newcomer = crowd.join(crowd.seats[7])
    crowd.run(4.0)
    assert newcomer.core.here_count() == 41
    assert all(seat.core.is_here(newcomer.peer) for seat in crowd.seats)


def test_what_is_probed_says_so_even_to_one_that_thinks_it_dead() -> None:
    """§4.2: an Alive of a greater incarnation overrides a Confirm here, so that partitions heal."""
    table = Table(member(A), member(B))
    table.tell(B, member(A, 1, DEAD))
    (ack,) = messages(table.hear(A, Probe(1, THEIRS)), ProbeAck)
    assert isinstance(ack, ProbeAck)
    assert ack.rumours[0] == Rumour(member(A, 1, DEAD))
    table.hear(A, Gossip((member(A, raised=1),)))
    assert table.core.is_here(A)
