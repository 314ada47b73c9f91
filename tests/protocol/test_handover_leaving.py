"""One whole peer that leaves while it leads, or is to. The others are played."""

from mabeam_p2p.messages import Gossip, Heartbeat, TimeoutNow, VoteReply, VoteRequest
from mabeam_p2p.records import Standing
from mabeam_p2p.requests import Done, Leave
from tests.protocol.test_handover import Play
from tests.protocol.test_node import ME, A


def test_who_is_leaving_does_not_take_the_lead() -> None:
    """It waits for a successor; until then it still hears, and votes."""
    play = Play()
    play.lead()
    token = play.ask(Leave())
    assert [event.reason for event in play.began()] == ["leaving"]
    assert play.answer(token) is None
    standing = Standing(2, play.node.replication.log.last_index, 0, 0)
    play.hear(A, VoteRequest(0, 3, standing, False, True))
    assert [r.granted for r in play.sent(VoteReply)] == [True]
    play.hear(A, VoteRequest(0, 4, Standing(1, 1, 0, 0), True, False))
    assert not any(r.higher for r in play.sent(VoteReply))
    play.desk.now += 0.2
    play.desk.did(play.node.tick(play.desk.now))
    play.turn()
    assert play.sent(VoteRequest) == []
    assert play.answer(token) is None
    play.hear(A, Heartbeat(0, 3, 2, 1))
    assert play.answer(token) == Done()
    goodbyes = [m.members for m in play.sent(Gossip) if len(m.members) == 1]
    assert [members[0].peer for members in goodbyes] == [ME, ME]


def test_leaving_goes_on_when_nobody_waits_for_it_any_more() -> None:
    play = Play()
    play.lead()
    token = play.ask(Leave())
    play.desk.did(play.node.cancel(token, play.desk.now))
    play.hear(A, Heartbeat(0, 3, 2, 1))
    assert play.answer(token) is None
    assert len([m for m in play.sent(Gossip) if len(m.members) == 1]) >= 2, "it says goodbye"


def test_a_follower_that_leaves_and_is_told_to_stand_does_not() -> None:
    play = Play()
    play.follow()
    assert play.answer(play.ask(Leave())) == Done()
    play.hear(A, TimeoutNow(0, 2, 1))
    assert play.sent(VoteRequest) == []
