"""Lifeguard's claims (Dadgar, Phillips and Currey, 2018), one test for each, with its section."""

from collections import Counter

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Effect
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Probe, ProbeReport, ProbeRequest, Rumour
from mabeam_p2p.protocol.membership.health import SCORE_MAX, Health
from mabeam_p2p.protocol.membership.suspicion import (
    CONFIRMATIONS_WANTED,
    MOST,
    least_seconds,
    timeout,
)
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.testing.crowd import Crowd, Seat
from tests.protocol.membership.members import (
    ME,
    SUSPECT,
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


def verdicts_of_slow_members(patient: bool) -> Counter[str]:
    """Two of ten members stop now and again for a second and a half; what waited is read late.
    patient: local health counts; else the score of each is held at 0."""
    crowd = Crowd(10, timing=Timing(suspect_seconds=0.6, dead_seconds=1.4))
    slow = crowd.seats[:2]
    counts: Counter[str] = Counter()

    def on_change(now: float, seat: Seat, changed: Member) -> None:
        healthy = changed.peer not in (slow[0].peer, slow[1].peer)
        if healthy and changed.state is MemberState.SUSPECT:
            counts["suspicions"] += 1
        if healthy and changed.state is MemberState.DEAD:
            counts["deaths"] += 1
        if not patient:
            seat.core.health.score = 0

    crowd.on_change = on_change
    for number in range(60):
        for seat in slow:
            crowd.at(1.0 + 2.0 * number, crowd.stall, seat, 1.5)
    crowd.run(125.0)
    return counts


def test_slow_members_kill_no_healthy_ones() -> None:
    """§V: false positives at healthy members, caused by slow ones."""
    assert verdicts_of_slow_members(patient=True)["deaths"] == 0


def test_the_health_score_is_bounded_and_multiplies_the_wait() -> None:
    """§IV-A: a saturating counter from 0 to S; timeouts are multiplied by the score plus one."""
    health = Health()
    for _ in range(3 * SCORE_MAX):
        health.worse()
    assert (health.score, health.multiplier) == (SCORE_MAX, SCORE_MAX + 1)
    table = Table(member(B))
    table.core.health.score = 2
    table.pass_time(3.0)
    assert table.state(B) is MemberState.ALIVE
    table.core.health.score = 0
    table.pass_time(0.25)
    assert table.state(B) is SUSPECT


def test_an_answer_lowers_the_score_by_one() -> None:
    """§IV-A: a probe that is answered: -1."""
    table = Table(member(A))
    table.core.health.score = 5
    table.pass_time(0.25, A)
    assert table.core.health.score == 4


def test_having_to_refute_raises_the_score() -> None:
    """§IV-A: a refutation of a suspicion of oneself: +1."""
    table = Table(member(A))
    table.tell(A, member(ME, 1, SUSPECT))
    assert table.core.health.score == 1


def test_a_missed_nack_raises_the_score_and_a_nack_does_not() -> None:
    """§IV-A: whoever is asked to ask says so when it was in vain; if that does not come either, the
    fault is nearer."""
    scores = []
    for nack in (True, False):
        limits = Limits(indirect_probes=1)
        table = Table(member(A), member(B), member(C), limits=limits, voters=(A, B, C))
        for send in table.pass_time(1.0, A, B):
            if isinstance(send.message, ProbeRequest) and nack:
                table.hear(send.target, ProbeReport(send.message.number, C, answered=False))
        table.pass_time(0.25)
        scores.append(table.core.health.score)
    assert scores == [0, 1]


def test_the_suspicion_timeout_is_the_papers_function_of_confirmations() -> None:
    """§IV-B: max(min, max - (max - min) log(C + 1) / log(K + 1))."""
    least, most = 2.0, 2.0 * MOST
    assert timeout(least, 0, 9) == most
    # K = 3: log(2) / log(4) is one half.
    assert abs(timeout(least, 1, 9) - (most - (most - least) / 2)) < 1e-9
    assert timeout(least, CONFIRMATIONS_WANTED, 9) == least
    assert timeout(least, 50, 9) == least


def test_the_least_timeout_grows_with_log10_of_the_group() -> None:
    """§IV-B: min = alpha log10(n) periods."""
    assert least_seconds(1.0, 1_000) / least_seconds(1.0, 100) == 1.5


def test_independent_suspicions_are_passed_on_up_to_k() -> None:
    """§IV-B: the first K suspicions from different members are gossiped again."""
    table = Table(*map(member, (A, B, C, D)), *others(4))
    accusers = [one.peer for one in others(4)]
    said: list[Effect] = []
    for accuser in (A, B, *accusers):
        said += table.tell(accuser, member(D, 1, SUSPECT), accuser=accuser)
    said += table.pass_time(1.0, A, B, C, *accusers)
    told = {
        rumour.accuser: None for rumour in rumours_in(tuple(said)) if rumour.accuser is not None
    }
    assert len(told) == CONFIRMATIONS_WANTED + 1, "the first, and K more"


def test_a_suspect_learns_of_it_with_the_next_question() -> None:
    """§IV-C, buddy system: a probe of a suspect carries the suspicion, whatever else waits."""
    limits = Limits(rumours_per_message_max=1)
    table = Table(member(A), member(B), limits=limits, voters=(A, B))
    table.tell(A, member(B, 1, SUSPECT))
    table.tell(A, *others(1))
    for probe in messages(table.pass_time(0.75, A), Probe, to=B):
        assert isinstance(probe, Probe)
        assert probe.rumours == (Rumour(member(B, 1, SUSPECT)),)


def test_a_whole_group_of_healthy_members_forms_no_suspicion() -> None:
    """§V: no cost in healthy operation."""
    crowd = Crowd(30)
    seen: list[PeerId] = []
    crowd.on_change = lambda now, seat, changed: seen.append(changed.peer)
    crowd.run(60.0)
    assert seen == []
    assert all(seat.core.health.score == 0 for seat in crowd.seats)
