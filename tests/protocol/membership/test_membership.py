"""Who is here: whom a peer asks, and how it judges silence."""

from math import inf

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    Gossip,
    Probe,
    ProbeAck,
    ProbeReport,
    ProbeRequest,
    Rumour,
)
from tests.protocol.membership.members import (
    ALIVE,
    DEAD,
    ME,
    MINE,
    SUSPECT,
    THEIRS,
    A,
    B,
    C,
    D,
    E,
    Table,
    member,
    messages,
    others,
)

# ---- judging silence -------------------------------------------------------------------------


def test_who_answers_is_alive_and_nobody_else_changes() -> None:
    table = Table(member(A), member(B))
    table.pass_time(20.0, A, B)
    assert table.changes() == []
    assert [table.state(peer) for peer in (ME, A, B)] == [ALIVE] * 3


def test_silence_makes_suspect_and_longer_silence_dead() -> None:
    table = Table(member(A), member(B), voters=(A, B))
    assert table.time_until(B, SUSPECT, A) == 1.25, "of which an interval until it is asked"
    assert table.core.is_here(B)
    table.tell(A, member(B, 1, SUSPECT), accuser=A)
    assert table.time_until(B, DEAD, A) == 2.0
    assert not table.core.is_here(B)
    assert table.changes() == [(B, SUSPECT), (B, DEAD)]


def test_a_peer_that_hears_nobody_waits_for_nobodys_opinion() -> None:
    table = Table(member(A), member(B), member(C), voters=(A, B, C))
    assert max(table.time_until(peer, DEAD) for peer in (A, B, C)) <= 3.5


def test_a_suspect_is_alive_again_by_its_own_word_alone() -> None:
    table = Table(member(A), member(B), voters=(A, B))
    table.time_until(B, SUSPECT, A)
    table.answer(B)
    assert table.state(B) is SUSPECT, "an answer may be older than the suspicion"
    table.answer(B, Rumour(member(B, raised=1)))
    assert table.changes() == [(B, SUSPECT), (B, ALIVE)]


def test_the_dead_are_not_asked() -> None:
    table = Table(member(B))
    table.time_until(B, DEAD)
    sent = table.pass_time(5.0)
    assert messages(sent, Probe) == []


def test_a_link_that_only_brings_questions_keeps_nobody_alive() -> None:
    table = Table(member(B))
    for _ in range(16):
        table.pass_time(0.25)
        table.hear(B, Probe(1, THEIRS))
        table.hear(B, Gossip((member(B),)))
    assert table.state(B) is DEAD


@pytest.mark.parametrize("number", [10**6, 0])
def test_an_answer_to_a_question_that_was_not_put_to_the_speaker_is_none(number: int) -> None:
    table = Table(member(A), member(B), voters=(A, B))
    for _ in range(18):
        table.pass_time(0.25, A)
        table.hear(B, ProbeAck(number or table.asked[A][0], THEIRS))
    assert table.state(B) is not ALIVE


def test_a_copy_of_an_answer_counts_once() -> None:
    table = Table(member(B))
    table.pass_time(0.25)
    (number,) = table.asked[B]
    for _ in range(16):
        table.pass_time(0.25)
        table.hear(B, ProbeAck(number, THEIRS))
    assert table.state(B) is DEAD


def test_an_answer_to_a_later_question_answers_the_earlier_ones() -> None:
    table = Table(member(B))
    table.pass_time(0.75)
    table.answer(B)
    assert table.time_until(B, SUSPECT) == 1.25


# ---- starvation ------------------------------------------------------------------------------


def test_a_starved_peer_forgives_others_its_own_silence() -> None:
    table = Table(member(A), member(B), voters=(A, B))
    table.pass_time(0.5, A, B)
    table.now += 60.0
    table.pass_time(0.25, A)
    assert table.changes() == []
    assert table.core.health.score == 0, "it was ill, and A's answer has made it well"


def test_a_peer_that_is_starved_again_and_again_kills_nobody() -> None:
    """It sleeps for two seconds of three; what was sent to it comes when it wakes."""
    table = Table(member(A), member(B), voters=(A, B))
    for _ in range(100):
        table.now += 2.0
        table.tick()
        table.pass_time(0.75, A, B)
    assert table.changes() == []


def test_a_suspicion_does_not_age_while_its_owner_is_starved() -> None:
    table = Table(member(A), member(B), voters=(A, B))
    table.time_until(B, SUSPECT, A)
    table.now += 60.0
    table.tick(A)
    assert table.state(B) is SUSPECT


def test_a_clock_that_is_a_little_late_forgives_nothing() -> None:
    table = Table(member(B))
    for _ in range(8):
        table.now += 0.25
        table.pass_time(0.25)
    assert table.state(B) is DEAD


# ---- asking ----------------------------------------------------------------------------------


def test_one_member_is_asked_in_an_interval_and_told_the_standing() -> None:
    table = Table(member(A), member(B))
    table.core.tick(MINE, table.now)
    (probe,) = messages(table.outbox.take(), Probe)
    assert probe == Probe(1, MINE, probe.rumours) if isinstance(probe, Probe) else False
    assert table.core.next_deadline() == table.now + 0.25
    table.core.tick(MINE, table.now + 0.125)
    assert table.outbox.take() == ()


def test_every_member_is_asked_once_in_each_round() -> None:
    everybody = [one.peer for one in others(12)]
    table = Table(*others(12))
    for _ in range(5):
        asked: list[PeerId] = []
        for _ in everybody:
            table.pass_time(0.25, *everybody)
            asked += table.asked
        assert sorted(asked) == everybody


def test_voters_ask_each_other_in_every_interval_and_nobody_else_so() -> None:
    table = Table(member(A), member(B), *others(10), voters=(A, B))
    rest = [one.peer for one in others(10)]
    for _ in range(20):
        table.pass_time(0.25, A, B, *rest)
        assert A in table.asked
        assert B in table.asked
        assert len(table.asked) <= 3
    table.core.set_voters((A, B))
    table.pass_time(0.25, A, B, *rest)
    assert len(table.asked) == 1, "this peer votes no more"


def test_who_has_not_answered_is_asked_again_in_the_next_interval() -> None:
    everybody = [one.peer for one in others(30)]
    table = Table(*others(30))
    table.pass_time(0.25)
    (silent,) = table.asked
    for _ in range(3):
        table.pass_time(0.25, *[peer for peer in everybody if peer != silent])
        assert silent in table.asked


def test_what_is_asked_in_an_interval_does_not_grow_with_the_members_or_the_silence() -> None:
    most = 0
    table = Table(*others(200))
    for _ in range(40):
        sent = table.pass_time(0.25)
        most = max(most, len(messages(sent, Probe)))
    assert most <= 5, "one of the round, and four again"


def test_a_question_is_answered_with_its_number_and_the_standing() -> None:
    table = Table(member(A))
    (ack,) = messages(table.hear(A, Probe(7, THEIRS)), ProbeAck)
    assert isinstance(ack, ProbeAck)
    assert (ack.number, ack.standing) == (7, MINE)


def test_strangers_are_not_answered() -> None:
    table = Table(member(A))
    for message in (Probe(7, THEIRS), ProbeAck(0, THEIRS), Gossip((member(C),))):
        assert table.hear(B, message) == ()
    assert table.core.hints == []


def test_nobody_to_ask_means_nothing_to_wait_for() -> None:
    assert Table().core.next_deadline() == inf


def test_standings_are_of_those_alive_who_have_told() -> None:
    table = Table(member(C), member(A), member(B), voters=(A, B, C))
    assert table.core.standings() == ()
    table.hear(C, Probe(1, THEIRS))
    table.hear(A, ProbeAck(0, MINE))
    assert table.core.standings() == ((A, MINE), (C, THEIRS))
    table.pass_time(1.5, C, B)
    assert table.core.standings() == ((B, THEIRS), (C, THEIRS))


# ---- asking by way of others -----------------------------------------------------------------


def test_others_are_asked_to_ask_one_that_is_silent() -> None:
    table = Table(member(A), member(B), member(C), member(D), member(E), voters=(A, B, C, D, E))
    sent = table.pass_time(0.75, B, C, D, E)
    requests = messages(sent, ProbeRequest)
    assert len(requests) == 3
    relays = [send.target for send in sent if isinstance(send.message, ProbeRequest)]
    assert len(dict.fromkeys(relays)) == 3
    assert A not in relays
    assert {request.target: None for request in requests if isinstance(request, ProbeRequest)} == {
        A: None
    }


def test_who_answers_by_way_of_another_is_alive() -> None:
    table = Table(member(A), member(B), voters=(A, B))
    for _ in range(60):
        for send in table.pass_time(0.25, B):
            if isinstance(send.message, ProbeRequest):
                request = send.message
                table.hear(B, ProbeReport(request.number, request.target, answered=True))
    assert table.changes() == []


def test_a_report_counts_only_from_one_that_was_asked_for_it() -> None:
    table = Table(
        member(A), member(B), member(C), voters=(A, B, C), limits=Limits(indirect_probes=1)
    )
    for _ in range(16):
        for send in table.pass_time(0.25, B, C):
            if isinstance(send.message, ProbeRequest):
                (other,) = [peer for peer in (B, C) if peer != send.target]
                table.hear(other, ProbeReport(send.message.number, A, answered=True))
    assert table.state(A) is not ALIVE


def test_a_request_is_passed_on_and_its_answer_carried_back() -> None:
    table = Table(member(A), member(B))
    (probe,) = messages(table.hear(A, ProbeRequest(33, B)), Probe, to=B)
    assert isinstance(probe, Probe)
    sent = table.hear(B, ProbeAck(probe.number, THEIRS))
    assert Send(A, ProbeReport(33, B, answered=True)) in sent
    assert messages(table.hear(B, ProbeAck(probe.number, THEIRS)), ProbeReport) == []


def test_a_request_in_vain_is_told_before_its_sender_gives_up() -> None:
    table = Table(member(A), member(B))
    table.hear(A, ProbeRequest(33, B))
    assert Send(A, ProbeReport(33, B, answered=False)) in table.pass_time(0.5)


@pytest.mark.parametrize("target", [C, ME])
def test_a_request_for_nobody_who_is_here_is_not_heard(target: PeerId) -> None:
    table = Table(member(A), member(B))
    assert messages(table.hear(A, ProbeRequest(33, target)), Probe) == []


def test_errands_are_bounded() -> None:
    table = Table(member(A), member(B))
    probes = [messages(table.hear(A, ProbeRequest(n, B)), Probe) for n in range(1, 200)]
    assert sum(map(len, probes)) == 64
