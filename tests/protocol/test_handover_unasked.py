"""One whole peer that hands over although nobody has asked: somebody is preferred, or may lead."""

from itertools import pairwise

from msgspec.structs import replace

from mabeam_p2p.config import Timing
from mabeam_p2p.messages import Heartbeat, Message, Probe, ProbeAck, VoteRequest
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.records import Standing
from mabeam_p2p.requests import SetFitness
from tests.protocol.test_handover import Play
from tests.protocol.test_node import A, B

BETTER = Standing(1, 1, 9, 0, True, 95)


def test_a_leader_prefers_a_peer_whose_probes_say_that_it_is_better() -> None:
    play = Play()
    play.standings[A] = BETTER
    play.lead()
    seconds = 0
    while not play.began() and seconds < 80:
        play.forget()
        play.wait(1.0)
        seconds += 1
    assert [(e.target, e.target_name, e.reason) for e in play.began()] == [(A, "a", "preferred")]
    assert seconds >= 55, "not before it has been in office for a minute"


def test_who_leads_no_more_prefers_nobody() -> None:
    """However long ago it led, and however much better others are by then."""
    play = Play()
    play.standings[A] = BETTER
    play.lead()
    end = play.desk.now + 2 * Timing().preference_interval_seconds
    number = 0
    while play.desk.now < end:
        number += 1
        words: list[Message] = [ProbeAck(p.number, BETTER) for p in play.sent(Probe, A)]
        play.forget()
        play.hear(A, Heartbeat(0, 4, 1, number), *words)
        play.desk.wait(0.2)
        assert play.began() == []
    assert play.node.replication.leader == A
    assert dict(play.node.membership.standings())[A] == BETTER


def test_who_leads_for_its_log_alone_hands_over_to_one_that_may_and_rests_between_tries() -> None:
    """Rule 3. The others lack what this peer holds, so that nobody else can be elected."""
    play = Play()
    play.ask(SetFitness(0, "tired"))
    lacking = Standing(0, 0, 9, 0, True, 95)
    play.standings = dict.fromkeys((A, B), lacking)
    while not play.sent(VoteRequest):
        play.desk.wait(0.1)
        play.turn()
        play.echo()
    play.standings = dict.fromkeys((A, B), replace(lacking, eligible=False))
    play.lead()
    play.wait(1.0)
    assert play.node.replication.role is Role.LEADER
    assert play.began() == [], "nobody else may lead"
    play.standings[A] = lacking
    began_at: list[float] = []
    for _ in range(40):
        play.wait(0.1)
        new_count = len(play.began()) - len(began_at)
        began_at += [play.desk.now] * new_count
    assert play.node.replication.role is Role.LEADER, "A did not take over"
    tries = {(event.target, event.reason) for event in play.began()}
    assert tries == {(A, "caretaker")}
    gaps = [after - before for before, after in pairwise(began_at)]
    assert gaps
    assert min(gaps) >= 4 * Timing().election_timeout_seconds - 0.1
