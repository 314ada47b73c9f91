"""One whole peer that hands over, is handed over to, or passes a wish on. The others are played."""

from typing import TypeVar

from msgspec.structs import replace

from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.config import Timing
from mabeam_p2p.effects import Notify, Persist, Resolve, Send
from mabeam_p2p.events import HandOverBegan, LeaderChanged
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    Forward,
    ForwardRefused,
    Gossip,
    Heartbeat,
    HeartbeatReply,
    Message,
    Probe,
    ProbeAck,
    Relayed,
    RelayRefused,
    TimeoutNow,
    TransferReply,
    TransferRequest,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.core import numbers_before
from mabeam_p2p.protocol.node.allowance import Allowance
from mabeam_p2p.protocol.node.handover import ASKED_BURST, ASKED_EVERY, WISHES_MAX
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.records import Member, MemberState, Standing
from mabeam_p2p.requests import (
    Answer,
    Failed,
    HandedOver,
    Refused,
    Request,
    SetFitness,
    Submit,
    TransferLeadership,
)
from tests.protocol.test_node import EPOCH, ME, A, B, Desk

M = TypeVar("M", bound=Message)
WORSE = Standing(1, 1, 0, 0, True, 5)


class Play:
    """A desk, whose disk writes at once, and the words of A and B to it."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.node = self.desk.node
        self.standings = {A: WORSE, B: WORSE}
        """What A and B tell of themselves; who is not in it tells nothing."""
        self._acked = {A: 0, B: 0}
        self._token = 0

    # ---- this peer ---------------------------------------------------------------------------

    def turn(self) -> None:
        """What was persisted is stored, and the turn ends; until nothing more comes."""
        for _ in range(3):
            numbers = [e.number for e in self.desk.effects if isinstance(e, Persist)]
            if numbers:
                self.desk.did(self.node.stored(numbers[-1], self.desk.now))
            self.desk.end_turn()

    def hear(self, source: PeerId, *messages: Message) -> None:
        self.desk.hear(source, *messages)
        self.turn()

    def ask(self, request: Request) -> int:
        self._token += 1
        self.desk.did(self.node.request(self._token, request, self.desk.now))
        self.turn()
        return self._token

    def wait(self, seconds: float) -> None:
        """In which A and B answer every heartbeat, and say how they are."""
        for _ in range(round(seconds * 10)):
            self.desk.wait(0.1)
            self.turn()
            if self.node.replication.leadership is not None:
                self.echo()

    def echo(self) -> None:
        """A and B have everything that was sent, and heard the last heartbeat."""
        core = self.node.replication
        for peer in (A, B):
            beats = self.sent(Heartbeat)[-1:]
            answers: list[Message] = [HeartbeatReply(0, core.term, b.round) for b in beats]
            probes = [p for p in self.sent(Probe, peer) if p.number > self._acked[peer]]
            if peer in self.standings:
                answers += [ProbeAck(p.number, self.standings[peer]) for p in probes]
            self._acked[peer] = max((p.number for p in probes), default=self._acked[peer])
            for append in self.sent(AppendEntries):
                last = append.batches[-1].last_index if append.batches else append.previous_index
                answers.append(AppendReply(0, core.term, True, last, append.previous_index))
            self.hear(peer, *answers)

    def sent(self, kind: type[M], target: PeerId | None = None) -> list[M]:
        sends = [effect for effect in self.desk.effects if isinstance(effect, Send)]
        return [
            send.message
            for send in sends
            if isinstance(send.message, kind) and target in (None, send.target)
        ]

    def forget(self) -> None:
        self.desk.effects.clear()

    def answer(self, token: int) -> Answer | None:
        found = [e.answer for e in self.desk.effects if isinstance(e, Resolve) and e.token == token]
        assert len(found) <= 1, "answered twice"
        return found[0] if found else None

    def began(self) -> list[HandOverBegan]:
        events = [e.event for e in self.desk.effects if isinstance(e, Notify)]
        return [event for event in events if isinstance(event, HandOverBegan)]

    def leaders_told_before(self, token: int) -> list[PeerId | None]:
        """Of the events that came before the answer."""
        end = [getattr(e, "token", 0) == token for e in self.desk.effects].index(True)
        events = [e.event for e in self.desk.effects[:end] if isinstance(e, Notify)]
        return [event.leader for event in events if isinstance(event, LeaderChanged)]

    # ---- roles -------------------------------------------------------------------------------

    def lead(self) -> None:
        """Have this peer elected in term 2."""
        while not self.sent(VoteRequest):
            self.desk.wait(0.1)
            self.turn()
        self.hear(A, VoteReply(0, 2, True, True, False))
        self.hear(A, VoteReply(0, 2, True, False, False))
        assert self.node.replication.role is Role.LEADER
        for peer in self.standings:
            self.hear(peer, Probe(1, self.standings[peer]))
        self.echo()
        self.forget()

    def follow(self) -> None:
        """Have A lead in term 2, for a while."""
        for number in range(1, 5):
            self.desk.now += 0.05
            self.hear(A, Heartbeat(0, 2, 1, number))
        self.forget()


# ---- a leader --------------------------------------------------------------------------------


def test_a_wish_is_heard_once_whenever_a_copy_of_it_comes() -> None:
    play = Play()
    play.lead()
    play.hear(A, TransferRequest(0, 7, B))
    assert [event.reason for event in play.began()] == ["asked"]
    assert play.sent(TimeoutNow)
    play.wait(1.0)
    (reply,) = play.sent(TransferReply)
    assert (reply.reason, reply.number) == ("unanswered", 7)
    assert (reply.leader, reply.term) == ("", 0), "nobody was handed the lead"
    play.forget()
    play.hear(A, TransferRequest(0, 7, B), TransferRequest(0, 6, B))
    assert play.began() == []
    play.hear(A, TransferRequest(0, 8, B))
    assert len(play.began()) == 1


def test_the_outcome_is_told_when_the_successor_is_heard() -> None:
    play = Play()
    play.lead()
    token = play.ask(TransferLeadership(B))
    standing = Standing(2, play.node.replication.log.last_index, 0, 0)
    play.hear(B, VoteRequest(0, 3, standing, False, True))
    assert play.node.replication.role is Role.FOLLOWER
    assert play.answer(token) is None
    play.hear(B, Heartbeat(0, 3, 2, 1))
    assert play.answer(token) == HandedOver(B, 3)
    assert play.leaders_told_before(token) == [None, B]


def test_what_comes_meanwhile_is_refused_as_by_a_peer_that_does_not_lead() -> None:
    """So that it goes to the successor: `overloaded` would be told to whoever has asked."""
    play = Play()
    play.lead()
    play.ask(TransferLeadership(B))
    blob = play.desk.codec.encode_commands([AppendJournal(SessionId(1), 1, "j", b"x")])
    play.hear(A, Forward(0, 1, 1, blob), Relayed(0, 1, 1, blob))
    assert [message.reason for message in play.sent(ForwardRefused)] == ["not_leader"]
    assert [message.reason for message in play.sent(RelayRefused)] == ["not_leader"]


def test_what_this_peers_agents_ask_meanwhile_waits_for_the_successor() -> None:
    play = Play()
    play.lead()
    play.ask(TransferLeadership(B))
    token = play.ask(Submit(AppendJournal(SessionId(1), 1, "j", b"\x01")))
    assert play.answer(token) is None
    standing = Standing(2, play.node.replication.log.last_index, 0, 0)
    play.hear(B, VoteRequest(0, 3, standing, False, True), Heartbeat(0, 3, 2, 1))
    assert len(play.sent(Forward)) == 1
    assert play.answer(token) is None


def test_another_one_that_was_elected_is_named() -> None:
    play = Play()
    play.lead()
    token = play.ask(TransferLeadership(B))
    play.hear(A, Heartbeat(0, 4, 1, 1))
    assert play.answer(token) == Refused("another_leads", "a was elected")


def test_a_successor_that_never_comes_is_waited_for_in_bounds() -> None:
    play = Play()
    play.lead()
    token = play.ask(TransferLeadership(B))
    standing = Standing(2, play.node.replication.log.last_index, 0, 0)
    play.hear(B, VoteRequest(0, 3, standing, False, True))
    play.node.replication.candidacy.end()
    for _ in range(20):
        play.desk.now += 0.05
        play.desk.did(play.node.tick(play.desk.now))
        play.turn()
    assert play.answer(token) == Refused("another_leads", "nobody has been elected yet")


def test_a_wish_that_was_cancelled_is_answered_to_nobody() -> None:
    play = Play()
    play.lead()
    token = play.ask(TransferLeadership(B))
    play.desk.did(play.node.cancel(token, play.desk.now))
    play.wait(1.0)
    assert play.answer(token) is None


def test_who_asks_for_another_one_meanwhile_is_told_that_the_lead_is_handed_over() -> None:
    """Also for the leader itself, of which it hears nothing, and for a peer that nobody knows."""
    play = Play()
    play.lead()
    play.ask(TransferLeadership(B))
    for target in (ME, A, PeerId("f" * 16)):
        answer = play.answer(play.ask(TransferLeadership(target)))
        assert answer == Refused("handing_over", "to b")
    assert play.answer(play.ask(TransferLeadership(B))) is None, "it waits with the first"


def test_more_wishes_than_can_wait_are_refused() -> None:
    play = Play()
    play.lead()
    for number in range(WISHES_MAX + 2):
        play.desk.hear(A, TransferRequest(0, number + 1, B))
    play.turn()
    refused = [reply.reason for reply in play.sent(TransferReply)]
    assert refused == ["handing_over"] * 2


def test_nobody_has_the_lead_handed_over_as_often_as_it_likes() -> None:
    """Each peer for itself: one that asks without end does not keep the others from asking."""
    play = Play()
    play.lead()
    for number in range(1, ASKED_BURST + 3):
        play.hear(B, TransferRequest(0, number, A))
        play.wait(0.4)
    assert len(play.began()) == ASKED_BURST
    reasons = [reply.reason for reply in play.sent(TransferReply, B)]
    assert reasons == ["unanswered"] * ASKED_BURST + ["too_often"] * 2
    play.forget()
    play.hear(A, TransferRequest(0, 1, B))
    play.wait(0.4)
    assert play.answer(play.ask(TransferLeadership(B))) is None
    play.wait(0.4)
    assert len(play.began()) == 2
    play.forget()
    play.wait(ASKED_EVERY * Timing().election_timeout_seconds)
    for number in range(100, 103):
        play.hear(B, TransferRequest(0, number, A))
        play.wait(0.4)
    assert 1 <= len(play.began()) <= 2


def test_an_allowance_is_of_each_peer_fills_with_time_and_is_bounded() -> None:
    allowance = Allowance(2, 1.0, peers_max=2)
    assert [allowance.take(A, 5.0) for _ in range(3)] == [True, True, False]
    assert [allowance.take(B, 5.0) for _ in range(3)] == [True, True, False]
    assert [allowance.take(A, 6.0) for _ in range(2)] == [True, False]
    assert [allowance.take(A, 100.0) for _ in range(3)] == [True, True, False]
    assert allowance.take(ME, 100.0)
    assert len(allowance) == 2
    assert not allowance.take(A, 100.0), "who has asked of late is remembered"


def test_who_has_not_told_where_it_stands_is_judged_by_its_record() -> None:
    """A new leader is asked before it has heard a probe: a voter that its record calls ineligible
    is refused by that, and what it tells later counts more than the record."""
    play = Play()
    plain = Member(A, "a", "127.0.0.1:97", 1, 1, MemberState.ALIVE)
    play.hear(A, Gossip((replace(plain, incarnation=2, eligible=False),)))
    play.standings.clear()
    play.lead()
    assert play.answer(play.ask(TransferLeadership(A))) == Refused(
        "unfit", "a may not lead, or is not fit to at present"
    )
    assert play.began() == []
    play.ask(TransferLeadership(B))
    assert [event.target for event in play.began()] == [B], "its record says that it may"


def test_what_a_voter_tells_of_itself_counts_more_than_its_record() -> None:
    play = Play()
    play.lead()
    plain = Member(A, "a", "127.0.0.1:97", 1, 1, MemberState.ALIVE)
    play.hear(A, Gossip((replace(plain, incarnation=2, eligible=False),)))
    play.hear(B, Probe(2, replace(WORSE, eligible=False)))
    assert isinstance(play.answer(play.ask(TransferLeadership(B))), Refused)
    assert play.began() == []
    play.ask(TransferLeadership(A))
    assert [event.target for event in play.began()] == [A]


def test_a_better_peer_does_not_stand_while_the_leader_is_heard() -> None:
    """A lower one's pre-vote is no reason to take over what is not vacant."""
    play = Play()
    play.ask(SetFitness(100))
    play.follow()
    play.hear(B, VoteRequest(0, 3, WORSE, True, False))
    assert play.sent(VoteRequest) == []
    assert play.node.replication.role is Role.FOLLOWER


def test_scores_travel_with_the_probes() -> None:
    play = Play()
    play.ask(SetFitness(83, "tired"))
    play.desk.wait(0.6)
    probes = play.sent(Probe)
    assert probes[-1].standing.score == 83
    assert probes[-1].standing.score_bucket == 8
    assert probes[-1].standing.eligible is False
    play.ask(SetFitness(84))
    play.desk.wait(0.6)
    assert play.sent(Probe)[-1].standing.eligible is True


def test_a_score_alone_leaves_what_keeps_the_peer_from_leading() -> None:
    play = Play()
    play.ask(SetFitness(83, "tired"))
    play.ask(SetFitness(84, None))
    play.desk.wait(0.6)
    assert play.sent(Probe)[-1].standing.score == 84
    assert play.sent(Probe)[-1].standing.eligible is False
    play.ask(SetFitness(85))
    play.ask(SetFitness(86, None))
    play.desk.wait(0.6)
    assert play.sent(Probe)[-1].standing.eligible is True


# ---- a follower ------------------------------------------------------------------------------


def test_a_follower_passes_a_wish_on_and_the_leaders_answer_back() -> None:
    play = Play()
    play.follow()
    token = play.ask(TransferLeadership(B))
    (request,) = play.sent(TransferRequest)
    assert request.target == B
    assert numbers_before(EPOCH) < request.number < numbers_before(EPOCH + 1)
    play.hear(A, TransferReply(0, request.number + 1, "", "", B, 3))
    assert play.answer(token) is None, "of another wish"
    play.hear(A, TransferReply(0, request.number, "", "", B, 3))
    assert play.answer(token) is None, "this peer has not heard the successor"
    play.hear(B, Heartbeat(0, 3, 1, 1))
    assert play.answer(token) == HandedOver(B, 3)
    assert play.leaders_told_before(token)[-1] == B
    play.hear(A, TransferReply(0, request.number, "unfit", "b", PeerId(""), 0))
    assert play.answer(token) == HandedOver(B, 3), "answered once"


def test_a_successor_that_a_follower_never_hears_is_waited_for_no_longer_than_the_wish() -> None:
    play = Play()
    play.follow()
    began = play.desk.now
    token = play.ask(TransferLeadership(B, timeout=0.5))
    play.hear(A, TransferReply(0, play.sent(TransferRequest)[0].number, "", "", B, 3))
    while play.answer(token) is None:
        assert play.node.next_deadline() <= began + 0.5
        play.hear(A, Heartbeat(0, 2, 1, 10 + round(100 * play.desk.now)))
        play.desk.now += 0.05
        play.desk.did(play.node.tick(play.desk.now))
        play.turn()
    assert play.answer(token) == HandedOver(B, 3), "the leader has said so"
    assert 0.5 <= play.desk.now - began < 0.6


def test_a_wish_whose_successor_is_still_to_be_heard_can_be_cancelled_and_counts() -> None:
    play = Play()
    play.follow()
    tokens = [play.ask(TransferLeadership(B)) for _ in range(WISHES_MAX)]
    for request in play.sent(TransferRequest):
        play.hear(A, TransferReply(0, request.number, "", "", B, 3))
    assert isinstance(play.answer(play.ask(TransferLeadership(B))), Failed)
    play.desk.did(play.node.cancel(tokens[0], play.desk.now))
    play.hear(B, Heartbeat(0, 3, 1, 1))
    assert [play.answer(token) for token in tokens[:2]] == [None, HandedOver(B, 3)]


def test_only_who_was_asked_answers_for_a_wish() -> None:
    """Whoever else names its number, and whoever leads by then."""
    play = Play()
    play.follow()
    token = play.ask(TransferLeadership(B))
    (request,) = play.sent(TransferRequest)
    play.hear(B, TransferReply(0, request.number, "unfit", "b", PeerId(""), 0))
    play.hear(B, Heartbeat(0, 3, 1, 1), TransferReply(0, request.number, "", "", B, 3))
    assert play.answer(token) is None
    play.hear(A, TransferReply(0, request.number, "", "", B, 3))
    assert play.answer(token) == HandedOver(B, 3)


def test_an_answer_to_a_wish_that_has_ended_changes_nothing() -> None:
    play = Play()
    play.follow()
    token = play.ask(TransferLeadership(B))
    (request,) = play.sent(TransferRequest)
    play.desk.did(play.node.cancel(token, play.desk.now))
    play.forget()
    play.hear(A, TransferReply(0, request.number, "", "", B, 3))
    assert [e for e in play.desk.effects if isinstance(e, Resolve)] == []


def test_a_wish_that_the_leader_does_not_answer_ends_by_its_deadline() -> None:
    play = Play()
    play.follow()
    token = play.ask(TransferLeadership(B, timeout=0.5))
    for number in range(20):
        play.desk.now += 0.05
        play.hear(A, Heartbeat(0, 2, 1, 10 + number))
        play.desk.did(play.node.tick(play.desk.now))
        play.turn()
    answer = play.answer(token)
    assert isinstance(answer, Failed)
    assert answer.reason == "unknown", "the wish may be lost, or about to be heard"


def test_who_leads_already_is_told_at_once() -> None:
    play = Play()
    play.follow()
    assert play.answer(play.ask(TransferLeadership(A))) == HandedOver(A, 2)


def test_who_leads_already_is_told_behind_the_news_of_the_same_turn() -> None:
    play = Play()
    play.follow()
    play.desk.hear(B, Heartbeat(0, 3, 1, 1))
    token = play.ask(TransferLeadership(B))
    assert play.answer(token) == HandedOver(B, 3)
    assert play.leaders_told_before(token) == [B]


def test_wishes_under_way_are_bounded() -> None:
    play = Play()
    play.follow()
    answers = [play.answer(play.ask(TransferLeadership(B))) for _ in range(WISHES_MAX + 1)]
    assert answers[:-1] == [None] * WISHES_MAX
    assert isinstance(answers[-1], Failed)
    assert answers[-1].reason == "overloaded"


def test_the_target_obeys_a_leader_that_it_has_followed_for_a_while() -> None:
    play = Play()
    play.follow()
    play.hear(A, TimeoutNow(0, 2, 1))
    requests = play.sent(VoteRequest)
    assert [(r.term, r.pre, r.transfer) for r in requests] == [(3, False, True)] * 2
