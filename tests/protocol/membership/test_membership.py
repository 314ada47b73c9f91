"""Who is here: whom a peer asks, how it judges silence, and what it tells."""

from math import inf

import pytest
from msgspec.structs import replace

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
    Wanted,
)
from mabeam_p2p.protocol.membership.membership import GOODBYES_MAX
from mabeam_p2p.records import Member, MemberState
from tests.protocol.membership.members import (
    ALIVE,
    DEAD,
    LEFT,
    ME,
    MINE,
    SUSPECT,
    THEIRS,
    TIMING,
    A,
    B,
    C,
    D,
    E,
    Table,
    goodbye,
    member,
    messages,
    others,
    rumours_in,
)

# ---- judging silence -------------------------------------------------------------------------


def test_who_answers_is_alive_and_nobody_else_changes() -> None:
    table = Table(member(A), member(B))
    table.pass_time(20.0, A, B)
    assert table.changes() == []
    assert [table.state(peer) for peer in (ME, A, B)] == [ALIVE] * 3


def test_silence_makes_suspect_and_longer_silence_dead() -> (
    None
):
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


# ---- meeting ---------------------------------------------------------------------------------


def test_who_is_met_is_told_the_table_and_asked_for_its_own() -> None:
    table = Table(member(A))
    assert table.core.met(member(B), table.now)
    assert table.changes() == [(B, ALIVE)]
    view = (member(ME), member(A), member(B))
    assert table.outbox.take() == (Send(B, Gossip(view, Wanted.SOME)),)


def test_a_copy_of_a_greeting_changes_nothing() -> None:
    table = Table(member(A))
    assert not table.core.met(member(A), table.now)
    assert table.changes() == []
    assert table.outbox.take() == ()


def test_a_new_life_takes_the_place_of_the_old() -> None:
    table = Table(member(A))
    table.time_until(A, DEAD)
    table.changes()
    assert table.core.met(member(A, epoch=2), table.now)
    assert table.changes() == [(A, ALIVE)]
    assert table.core.find(A) == member(A, epoch=2)
    table.pass_time(0.75)
    assert table.changes() == []


def test_a_dead_member_that_greets_again_is_told_so_and_comes_back_by_its_own_word() -> None:
    table = Table(member(A))
    table.time_until(A, DEAD)
    assert table.core.met(member(A), table.now), "what was under way to it is lost"
    assert table.outbox.take() == (Send(A, Gossip((member(A, 1, DEAD),))),)
    assert table.state(A) is DEAD
    table.hear(A, Gossip((member(A, raised=1),)))
    assert table.state(A) is ALIVE


def test_a_late_greeting_of_who_has_left_brings_nobody_back() -> None:
    table = Table(member(A, epoch=2))
    table.hear(A, goodbye(A, 2))
    table.changes()
    for late in (member(A, epoch=2), member(A, epoch=1)):
        assert not table.core.met(late, table.now)
        assert table.state(A) is LEFT
    assert table.changes() == []
    assert table.core.met(member(A, epoch=3), table.now)
    assert table.state(A) is ALIVE


@pytest.mark.parametrize("state", [ALIVE, SUSPECT, DEAD])
def test_a_late_greeting_of_an_older_life_changes_nothing(state: MemberState) -> None:
    table = Table(member(A, epoch=2))
    table.time_until(A, state)
    table.changes()
    assert not table.core.met(member(A, epoch=1), table.now)
    assert table.changes() == []
    assert table.state(A) is state


def test_there_is_room_for_so_many_and_no_more() -> None:
    table = Table(member(A), member(B), limits=Limits(members_max=2))
    assert not table.core.met(member(C), table.now)
    assert [one.peer for one in table.core.view()] == [ME, A, B]
    assert table.core.met(member(B, epoch=2), table.now), "who has a place keeps it"


def test_who_has_left_makes_room_and_then_who_is_dead() -> None:
    table = Table(member(A), member(B), limits=Limits(members_max=2))
    table.tell(B, member(A, 1, DEAD))
    table.hear(B, goodbye(B))
    assert table.core.met(member(C), table.now)
    assert [one.peer for one in table.core.view()] == [ME, A, C]
    assert table.core.met(member(D), table.now)
    assert [one.peer for one in table.core.view()] == [ME, C, D]
    assert table.core.forgotten == [B, A]


# ---- reclaiming ------------------------------------------------------------------------------


def named(peer: PeerId, port: int) -> Member:
    return replace(member(peer), name="worker", address=f"host:{port}")


def test_a_name_is_free_once_its_holder_is_dead_or_has_left() -> None:
    table = Table(named(A, 1), member(B))
    assert table.core.holder_of("worker", C) == A
    table.tell(B, replace(named(A, 1), state=SUSPECT))
    assert table.core.holder_of("worker", C) == A
    table.tell(B, replace(named(A, 1), state=DEAD))
    assert table.core.holder_of("worker", C) is None


def test_a_name_and_an_address_are_reclaimed_at_once_by_who_answers_there() -> None:
    """A member that lost its folder is another peer; the one before is not listening there."""
    table = Table(named(A, 1), member(B))
    assert table.core.holder_of("worker", C, "host:1") is None
    assert table.core.holder_of("worker", C, "host:2") == A
    assert table.core.met(named(C, 1), table.now)
    assert (table.state(A), table.state(C)) == (DEAD, ALIVE)
    table.tell(A, replace(named(A, 1), incarnation=(1 << 16) + 1))
    assert table.state(A) is ALIVE, "if it was a mistake, it is refuted"


def test_the_holder_of_a_wanted_name_is_certain_only_while_it_answers() -> None:
    table = Table(named(A, 1), *others(30))
    rest = [one.peer for one in others(30)]
    assert table.core.contest(A, table.now), "it has just been met"
    table.pass_time(0.75, *rest)
    assert not table.core.contest(A, table.now)
    table.pass_time(0.25, A, *rest)
    assert A in table.asked, "so it is asked"
    assert table.core.contest(A, table.now)
    assert table.core.contest(ME, table.now)


# ---- leaving ---------------------------------------------------------------------------------


def test_leaving_is_told_to_everybody_who_is_here() -> None:
    table = Table(member(A), member(B), member(C))
    table.tell(A, member(B, 1, DEAD))
    table.core.leave()
    said = Gossip((member(ME, 1, LEFT),))
    assert table.outbox.take() == (Send(A, said), Send(C, said))
    assert table.hear(A, Probe(1, THEIRS)) == ()
    table.core.tick(MINE, table.now + 1.0)
    assert table.outbox.take() == ()
    assert not table.core.is_here(ME)


def test_in_a_large_cluster_a_goodbye_goes_to_voters_and_some_others() -> None:
    table = Table(member(A), member(B), *others(200), voters=(A, B))
    table.core.leave()
    told = [effect.target for effect in table.outbox.take() if isinstance(effect, Send)]
    assert GOODBYES_MAX <= len(told) <= GOODBYES_MAX + 2
    assert A in told
    assert B in told


def test_a_goodbye_is_final_for_that_life() -> None:
    table = Table(member(A), member(B))
    table.pass_time(0.5, B)
    table.hear(A, goodbye(A))
    assert table.changes() == [(A, LEFT)]
    table.hear(A, goodbye(A))
    table.hear(A, ProbeAck(1, THEIRS))
    table.hear(A, Gossip((member(A),)))
    table.tell(B, member(A, 1, SUSPECT), member(A, 1, DEAD))
    table.pass_time(5.0, B)
    assert table.changes() == []
    assert table.state(A) is LEFT


def test_a_goodbye_that_another_passes_on_is_one() -> None:
    table = Table(member(A), member(B))
    table.tell(B, member(A, 1, LEFT))
    assert table.changes() == [(A, LEFT)]
    assert Rumour(member(A, 1, LEFT)) in rumours_in(table.pass_time(0.25, B))


def test_who_has_left_refutes_nothing() -> None:
    table = Table(member(A))
    table.core.leave()
    table.outbox.take()
    assert table.tell(A, member(ME, 1, DEAD)) == ()
    assert table.core.mine == member(ME, 1, LEFT)


# ---- describing ------------------------------------------------------------------------------


def test_a_change_of_the_own_record_raises_the_incarnation_and_travels() -> None:
    table = Table(member(A))
    table.core.describe(score=80, eligible=False)
    mine = replace(member(ME, raised=1), score=80, eligible=False)
    assert table.core.mine == mine
    assert table.changes() == [(ME, ALIVE)]
    assert Rumour(mine) in rumours_in(table.pass_time(0.25, A))
    table.core.describe(score=80)
    assert table.core.mine == mine, "nothing has changed"


def test_a_changed_record_of_another_is_taken_in_and_told() -> None:
    table = Table(member(A), member(B))
    changed = replace(member(A, raised=1), score=80)
    table.tell(B, changed)
    assert table.core.find(A) == changed
    assert table.changes() == [(A, ALIVE)]
    table.tell(B, replace(member(A, raised=1), score=10))
    assert table.core.find(A) == changed, "of one incarnation there is one record"


# ---- hearsay ---------------------------------------------------------------------------------


def test_news_of_an_unknown_member_of_this_cluster_makes_it_known() -> None:
    table = Table(member(A))
    table.tell(A, member(B), member(C, 1, SUSPECT), member(D, 1, DEAD), member(E, 1, LEFT))
    assert table.changes() == [(B, ALIVE), (C, SUSPECT)]
    assert table.core.hints == []


def test_news_from_elsewhere_is_only_a_hint_where_to_greet() -> None:
    table = Table(member(A))
    table.strangers[A] = None
    table.tell(A, member(B), member(C, 1, SUSPECT), member(D, 1, DEAD), member(E, 1, LEFT))
    assert table.changes() == []
    assert table.core.hints == [member(B).address, member(C).address]


def test_news_of_one_whose_name_is_taken_is_only_a_hint() -> None:
    table = Table(member(A), member(B, name="worker"))
    table.tell(A, member(C, name="worker"))
    assert table.changes() == []
    assert table.core.hints == [member(C).address]


def test_no_more_hearsay_is_taken_in_than_there_is_room_for() -> None:
    table = Table(member(A), limits=Limits(members_max=3))
    table.hear(A, Gossip(tuple(others(10))))
    assert len(table.core.view()) == 4


def test_a_newcomer_asks_two_members_for_the_whole_table() -> None:
    table = Table(member(A), member(B))
    table.core.joined()
    asked = messages(table.pass_time(10.0, A, B), Gossip)
    wanted = [gossip.wanted for gossip in asked if isinstance(gossip, Gossip)]
    assert wanted.count(Wanted.ALL) == 2


# ---- facts -----------------------------------------------------------------------------------


def test_the_view_is_sorted_and_holds_oneself() -> None:
    table = Table(member(C), member(A))
    assert [one.peer for one in table.core.view()] == [ME, A, C]
    assert table.core.find(ME) == member(ME)
    assert table.core.find(B) is None
    assert not table.core.is_here(B)


def test_a_name_is_held_by_who_is_here() -> None:
    table = Table(member(A, name="same"), member(B))
    assert table.core.holder_of("same", C) == A
    assert table.core.holder_of("same", A) is None
    assert table.core.holder_of("0", C) == ME
    assert table.core.holder_of("free", C) is None
    table.hear(A, Gossip((replace(member(A, name="same"), state=LEFT),)))
    assert table.core.holder_of("same", C) is None


def test_members_and_forgotten_ones_are_remembered_where_they_were_but_not_who_left() -> None:
    table = Table(member(A), member(B), member(C))
    table.tell(C, member(A, 1, DEAD), member(B, 1, LEFT))
    table.pass_time(TIMING.dead_retention_seconds + 1.0, C)
    assert [one.peer for one in table.core.view()] == [ME, C]
    assert table.core.addresses(10) == (member(C).address, member(A).address)
    assert table.core.addresses(1) == (member(C).address,)
