"""How long a suspect has to refute, and who is believed to be ill."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.messages import ProbeReport, ProbeRequest
from mabeam_p2p.protocol.membership.health import SCORE_MAX, Health
from mabeam_p2p.protocol.membership.suspicion import MOST, Suspicion, least_seconds, timeout
from tests.protocol.membership.members import (
    DEAD,
    ME,
    SUSPECT,
    A,
    B,
    C,
    D,
    E,
    Table,
    member,
)


def test_the_time_falls_with_each_confirmation_from_most_to_least() -> None:
    times = [timeout(2.0, count, 10) for count in range(5)]
    assert times[0] == 2.0 * MOST
    assert times[3] == times[4] == 2.0
    assert times == sorted(times, reverse=True)
    assert times[0] - times[1] > times[1] - times[2] > times[2] - times[3] > 0, "logarithmically"


def test_no_more_confirmations_are_waited_for_than_can_come() -> None:
    assert timeout(2.0, 0, 0) == 2.0
    assert timeout(2.0, 1, 1) == 2.0
    assert timeout(2.0, 0, 1) == 2.0 * MOST


def test_the_least_grows_with_the_logarithm_of_the_cluster() -> None:
    assert least_seconds(2.0, 1) == least_seconds(2.0, 10) == 2.0
    assert least_seconds(2.0, 100) == 4.0
    assert least_seconds(2.0, 1_000) == pytest.approx(6.0)


def test_one_accuser_counts_once_however_often_it_is_heard() -> None:
    suspicion = Suspicion(0.0)
    assert suspicion.confirm(A)
    for _ in range(10):
        assert not suspicion.confirm(A)
    assert not suspicion.is_over(2.0, 3, 11.9)
    assert suspicion.is_over(2.0, 3, 12.0)
    for accuser in (B, C, D):
        assert suspicion.confirm(accuser)
    assert not suspicion.confirm(E), "more do not matter"
    assert suspicion.is_over(2.0, 3, 2.0)


@pytest.mark.parametrize(("accusers", "most", "least"), [((), 13.0, 11.0), ((A, B, C), 3.5, 1.5)])
def test_the_more_suspect_it_independently_the_sooner_a_member_is_dead(
    accusers: tuple[str, ...], most: float, least: float
) -> None:
    near = (A, B, C, D)
    table = Table(*map(member, (*near, E)), voters=(*near, E))
    table.time_until(E, SUSPECT, *near)
    for accuser in near:
        if accuser in accusers:
            table.tell(accuser, member(E, 1, SUSPECT), accuser=accuser)
    assert least <= table.time_until(E, DEAD, *near) <= most


def test_confirmations_of_one_peer_and_of_nobody_in_particular_do_not_add_up() -> None:
    near = (A, B, C, D)
    table = Table(*map(member, (*near, E)), voters=(*near, E))
    table.time_until(E, SUSPECT, *near)
    for _ in range(5):
        table.tell(A, member(E, 1, SUSPECT), accuser=ME)
        table.tell(B, member(E, 1, SUSPECT))
    assert table.time_until(E, DEAD, *near) > 10.0


# ---- local health ----------------------------------------------------------------------------


def test_health_saturates_at_both_ends() -> None:
    health = Health()
    health.better()
    assert health.multiplier == 1
    for _ in range(20):
        health.worse()
    assert health.multiplier == SCORE_MAX + 1


def test_a_peer_that_is_not_well_itself_is_more_patient() -> None:
    table = Table(member(A), member(B), member(C), voters=(A, B, C))
    for _ in range(3):
        table.core.health.worse()
    table.pass_time(0.25, A, B)
    table.core.health.score = 3
    began = table.now
    while table.state(C) is not SUSPECT:
        table.pass_time(0.25)
        table.core.health.score = 3
        assert table.now < began + 60.0
    assert table.now - began == 4.0


@pytest.mark.parametrize("nack", [True, False])
def test_a_nack_that_does_not_come_is_a_sign_of_own_illness_and_one_that_comes_is_none(
    nack: bool,
) -> None:
    limits = Limits(indirect_probes=1)
    table = Table(member(A), member(B), member(C), voters=(A, B, C), limits=limits)
    for send in table.pass_time(1.0, A, B):
        if isinstance(send.message, ProbeRequest) and nack:
            table.hear(send.target, ProbeReport(send.message.number, C, answered=False))
    table.pass_time(0.25)
    assert table.state(C) is SUSPECT
    assert table.core.health.score == (0 if nack else 1)


def test_a_peer_that_is_answered_by_nobody_doubts_itself() -> None:
    table = Table(member(A), member(B), member(C), voters=(A, B, C))
    table.pass_time(1.5)
    assert table.core.health.score >= 2


def test_a_late_tick_and_an_accusation_are_signs_of_own_illness() -> None:
    table = Table(member(A))
    table.now += 5.0
    table.tick()
    assert table.core.health.score == 1
    table.tell(A, member(ME, 1, SUSPECT))
    assert table.core.health.score == 2
    table.answer(A)
    assert table.core.health.score == 1
