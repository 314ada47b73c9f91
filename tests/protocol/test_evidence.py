"""What one peer tells of another, and from what: read off a whole peer whose neighbours are
played."""

from msgspec.structs import replace

from mabeam_p2p.commands import Noop
from mabeam_p2p.effects import Notify, Resolve, Send
from mabeam_p2p.events import Ready
from mabeam_p2p.ids import CLUSTER_SESSION, PeerId
from mabeam_p2p.inquiries import EvidenceAnswer, Figures, ReadEvidence, ReadFigures
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    Gossip,
    Heartbeat,
    HeartbeatReply,
    Probe,
    ProbeAck,
    ProbeRequest,
    Rumour,
    TreeAnswer,
    TreeAsk,
    VoteReply,
)
from mabeam_p2p.protocol.variables import tree
from mabeam_p2p.records import (
    Batch,
    DiskUsage,
    Evidence,
    MemberState,
    Obstacle,
    Recovered,
    Standing,
)
from mabeam_p2p.requests import SetFitness
from tests.protocol.test_node import ME, VOTERS, A, B, Desk

STRANGER = PeerId("f" * 16)


def evidence(desk: Desk, peer: PeerId) -> Evidence:
    desk.did(desk.node.request(77, ReadEvidence(peer), desk.now))
    answers = [e.answer for e in desk.effects if isinstance(e, Resolve) and e.token == 77]
    assert isinstance(answers[-1], EvidenceAnswer)
    return answers[-1].evidence


def reasons(desk: Desk, peer: PeerId) -> list[str]:
    return [obstacle.reason for obstacle in evidence(desk, peer).obstacles]


def answer_probes(desk: Desk, peer: PeerId, standing: Standing) -> None:
    """`peer` answers all that it was asked so far."""
    probes = [e for e in desk.effects if isinstance(e, Send) and e.target == peer]
    numbers = [e.message.number for e in probes if isinstance(e.message, Probe)]
    desk.hear(peer, ProbeAck(max(numbers), standing, ()))
    desk.end_turn()


def elected(desk: Desk, *, standings: dict[PeerId, Standing]) -> None:
    """Votes and heartbeats come, until this peer leads and all is committed."""
    voted_for(desk)
    log = desk.node.replication.log
    for peer, standing in standings.items():
        desk.hear(peer, AppendReply(0, desk.node.replication.term, True, log.last_index, 1))
        answer_probes(desk, peer, standing)
    beat(desk)
    desk.stored(None)


def voted_for(desk: Desk) -> None:
    """Votes come, until this peer leads. Nobody has answered it as a leader yet."""
    while desk.node.replication.leadership is None:
        desk.wait(0.1)
        term = desk.node.replication.term
        for pre, number in ((True, term + 1), (False, term)):
            desk.hear(A, VoteReply(0, number, True, pre, False))
        desk.end_turn()
        assert desk.now < 1010, "nobody elects it"


def beat(desk: Desk) -> None:
    """The others answer a round of heartbeats at once."""
    desk.wait(0.1)
    rounds = [m for m in desk.sent(Heartbeat) if isinstance(m, Heartbeat)]
    for peer in (A, B):
        desk.hear(peer, HeartbeatReply(0, desk.node.replication.term, rounds[-1].round))
    desk.end_turn()


def test_a_stranger_is_no_member_and_nothing_is_known_of_it() -> None:
    seen = evidence(Desk(), STRANGER)
    assert seen.member is None
    assert (seen.hearing, seen.doubt, seen.link, seen.follower) == (None, None, None, None)
    assert [obstacle.reason for obstacle in seen.obstacles][:2] == ["no_member", "no_vote"]


def test_silence_is_told_with_the_questions_that_came_to_nothing() -> None:
    desk = Desk()
    desk.wait(0.5)
    answer_probes(desk, A, Standing(1, 1, 5, 0))
    for _ in range(4):
        desk.wait(0.25)
        answer_probes(desk, B, Standing(1, 1, 5, 0))
    hearing = evidence(desk, A).hearing
    assert hearing is not None
    assert hearing.answered_seconds is not None
    assert 0.9 < hearing.answered_seconds <= 1.1
    assert hearing.unanswered_count >= 3
    assert 0 < hearing.unanswered_seconds <= 1.0
    assert desk.sent(ProbeRequest) != []
    assert hearing.asked == (B,)


def test_a_suspect_is_told_with_its_accusers_and_how_long_it_has() -> None:
    desk = Desk()
    member = desk.node.membership.find(A)
    assert member is not None
    suspect = replace(member, state=MemberState.SUSPECT)
    desk.hear(B, ProbeAck(1, Standing(1, 1, 5, 0), (Rumour(suspect, B),)))
    desk.end_turn()
    seen = evidence(desk, A)
    assert seen.member is not None
    assert seen.member.state is MemberState.SUSPECT
    assert seen.doubt is not None
    assert seen.doubt.accusers == (B,)
    before = seen.doubt.timeout_seconds
    desk.wait(0.4)
    seen = evidence(desk, A)
    assert seen.doubt is not None
    assert 0.3 < seen.doubt.seconds < 0.5
    # Others that agree shorten the time.
    desk.hear(B, ProbeAck(1, Standing(1, 1, 5, 0), (Rumour(suspect, STRANGER),)))
    desk.end_turn()
    seen = evidence(desk, A)
    assert seen.doubt is not None
    assert seen.doubt.accusers == (B, STRANGER)
    assert seen.doubt.timeout_seconds <= before
    assert seen.refutation_count == 0


def test_a_refutation_is_counted_of_a_member_and_of_this_peer() -> None:
    desk = Desk()
    member = desk.node.membership.find(A)
    assert member is not None
    suspect = replace(member, state=MemberState.SUSPECT)
    refuted = replace(member, incarnation=member.incarnation + 1)
    standing = Standing(1, 1, 5, 0)
    desk.hear(B, ProbeAck(1, standing, (Rumour(suspect, B),)))
    desk.hear(A, Gossip((refuted,)))
    desk.end_turn()
    assert evidence(desk, A).refutation_count == 1
    # Another epoch is another process: that is no refutation.
    restarted = replace(refuted, epoch=2, incarnation=2 << 16)
    desk.hear(B, ProbeAck(1, standing, (Rumour(replace(refuted, state=MemberState.DEAD), B),)))
    desk.hear(B, ProbeAck(1, standing, (Rumour(restarted, None),)))
    desk.end_turn()
    assert evidence(desk, A).refutation_count == 1
    mine = replace(desk.node.membership.mine, state=MemberState.SUSPECT)
    desk.hear(B, ProbeAck(1, standing, (Rumour(mine, B),)))
    desk.end_turn()
    assert evidence(desk, ME).refutation_count == 1


def test_the_dead_are_told_with_since_when_and_that_they_are_greeted() -> None:
    desk = Desk()
    desk.wait(5.0)
    seen = evidence(desk, A)
    assert seen.member is not None
    assert seen.member.state is MemberState.DEAD
    assert seen.gone_seconds is not None
    assert 0 < seen.gone_seconds < 5
    assert seen.link is not None
    assert seen.link.greeting_seconds > 0
    assert "dead" in reasons(desk, A)


def test_without_a_quorum_that_is_what_keeps_everybody_from_leading() -> None:
    desk = Desk()
    desk.wait(5.0)
    assert reasons(desk, ME) == ["no_quorum"]
    assert "1 of 3 voters" in evidence(desk, ME).obstacles[0].detail


def test_where_nobody_may_lead_that_is_what_keeps_a_peer_from_it() -> None:
    desk = Desk()
    desk.wait(0.3)
    unfit = Standing(1, 1, 5, 0, False)
    for peer in (A, B):
        answer_probes(desk, peer, unfit)
    desk.did(desk.node.request(9, SetFitness(50, "its room is on fire"), desk.now))
    desk.did(desk.node.tick(desk.now))
    assert reasons(desk, ME) == ["unfit", "nobody_eligible"]
    assert evidence(desk, ME).obstacles[0].detail == "its room is on fire"
    assert reasons(desk, A) == ["unfit", "nobody_eligible"]


def test_a_follower_names_the_leader_in_office() -> None:
    desk = Desk()
    desk.hear(A, Heartbeat(0, 2, 1, 1))
    desk.end_turn()
    assert evidence(desk, ME).obstacles == (
        Obstacle("leader_in_office", "a leads in term 2; nobody stands meanwhile"),
    )
    assert evidence(desk, A).obstacles == ()
    assert evidence(desk, A).leader == A
    assert evidence(desk, A).part == "voter"


def test_a_leader_tells_how_far_each_follower_is_and_why_it_keeps_the_lead() -> None:
    desk = Desk()
    log = desk.node.replication.log
    fit = Standing(log.last_term, log.last_index, 9, 0, True, 90)
    elected(desk, standings={A: fit, B: replace(fit, score=60, score_bucket=6)})
    beat(desk)
    follower = evidence(desk, A).follower
    assert follower is not None
    assert (follower.match_index, follower.state) == (log.last_index, "replicate")
    assert follower.is_caught_up
    assert evidence(desk, ME).follower is None
    assert evidence(desk, ME).obstacles == ()
    # B is ten points above, which is not the margin; A is forty, and waits for its time.
    assert reasons(desk, B) == ["leader_in_office", "score_too_low"]
    assert "60 against 50" in evidence(desk, B).obstacles[1].detail
    desk.did(desk.node.tick(desk.now))
    assert reasons(desk, A) == ["leader_in_office", "waits"]


def test_a_follower_that_lags_is_told_as_such_by_its_leader() -> None:
    desk = Desk()
    log = desk.node.replication.log
    standing = Standing(log.last_term, log.last_index, 5, 0)
    elected(desk, standings={A: standing})
    answer_probes(desk, B, standing)
    seen = evidence(desk, B)
    assert seen.follower is not None
    assert seen.follower.match_index == 0
    assert not seen.follower.is_caught_up
    assert "not_caught_up" in reasons(desk, B)


def test_the_order_of_elections_counts_this_peer_and_the_live_voters() -> None:
    desk = Desk()
    desk.wait(0.3)
    ahead = Standing(9, 9, 5, 0)
    answer_probes(desk, B, ahead)
    answer_probes(desk, A, replace(ahead, eligible=False))
    places = {peer: evidence(desk, peer).place for peer in VOTERS}
    assert places == {B: 1, ME: 2, A: 0}
    assert "unfit" in reasons(desk, A)


def test_the_clock_of_a_member_is_compared_when_it_tells_the_time() -> None:
    desk = Desk()
    assert evidence(desk, A).clock_ahead_seconds is None
    clock = desk.node.variables._clock.time(desk.now) + 90_000_000
    desk.hear(A, TreeAsk(1, ((tree.ROOT, 0),), 0, 0, clock=clock, newcomer=False))
    desk.end_turn()
    assert evidence(desk, A).clock_ahead_seconds == 90.0


def test_its_own_disk_is_told_and_no_other() -> None:
    desk = Desk()
    desk.stored(DiskUsage(7, 100))
    assert (evidence(desk, ME).disk_used_bytes, evidence(desk, ME).disk_bytes_max) == (7, 100)
    assert evidence(desk, A).disk_bytes_max == 0


def unready(desk: Desk) -> dict[str, str]:
    return {one.reason: one.detail for one in evidence(desk, ME).unready}


def test_what_a_peer_waits_for_until_it_is_ready_is_told_step_by_step() -> None:
    desk = Desk()
    desk.wait(0.1)
    assert set(unready(desk)) == {"no_leader", "variables"}
    desk.hear(A, Heartbeat(0, 2, 1, 1))
    desk.end_turn()
    assert set(unready(desk)) == {"nothing_applied", "variables"}
    desk.hear(A, AppendEntries(0, 2, 1, 1, 1, ()))
    desk.end_turn()
    assert set(unready(desk)) == {"not_caught_up", "variables"}
    assert unready(desk)["not_caught_up"].endswith("and none of its leader's term")
    noop = desk.codec.encode_commands([Noop(CLUSTER_SESSION, 0)])
    desk.hear(A, AppendEntries(0, 2, 1, 1, 2, (Batch(2, 1, 2, 20, noop),)))
    desk.end_turn()
    assert set(unready(desk)) == {"variables"}
    assert (figures(desk)["ready", ""], figures(desk)["quorum", ""]) == (0, 1)
    desk.hear(A, TreeAsk(1, ((tree.ROOT, 0),), 0, 0, clock=0, newcomer=True))
    desk.end_turn()
    assert unready(desk)["variables"].endswith("; as new: a")
    [ask] = [e for e in desk.effects if isinstance(e, Send) and isinstance(e.message, TreeAsk)]
    assert isinstance(ask.message, TreeAsk)
    assert unready(desk)["variables"].startswith(f"it compares with {ask.target[0]}")
    same = TreeAnswer(ask.message.number, 1, (), (), (), True, True, (), ask.message.base, (), 0)
    desk.hear(ask.target, same)
    desk.hear(A, Heartbeat(0, 2, 1, 2))
    desk.end_turn()
    assert unready(desk) == {}
    assert Notify(Ready()) in desk.effects
    assert evidence(desk, A).unready == ()
    assert figures(desk)["ready", ""] == 1
    # It has what it needs for good, and a quorum for a while.
    desk.wait(5.0)
    assert figures(desk)["ready", ""] == figures(desk)["quorum", ""] == 0
    assert unready(desk) == {}


def test_a_peer_in_no_cluster_says_so() -> None:
    def newborn(found: Recovered) -> Recovered:
        return replace(found, hard_states=(), batches=(), bootstrap=None)

    assert "no_cluster" in unready(Desk(recovered=newborn))


def figures(desk: Desk) -> dict[tuple[str, str], float]:
    desk.did(desk.node.request(78, ReadFigures(), desk.now))
    answers = [e.answer for e in desk.effects if isinstance(e, Resolve) and e.token == 78]
    assert isinstance(answers[-1], Figures)
    return {(figure.name, figure.label): figure.value for figure in answers[-1].figures}


def test_figures_follow_what_the_cores_know() -> None:
    desk = Desk()
    desk.did(desk.node.request(76, SetFitness(83), desk.now))
    seen = figures(desk)
    assert seen["score", ""] == 83
    assert seen["members", "alive"] == 3
    assert seen["voters", ""] == 3
    assert seen["role", "follower"] == 1
    assert seen["role", "leader"] == 0
    assert not any(name.startswith("follower_") for name, _ in seen)
    log = desk.node.replication.log
    standing = Standing(log.last_term, log.last_index, 5, 0)
    elected(desk, standings={A: standing})
    seen = figures(desk)
    assert seen["role", "leader"] == 1
    assert seen["term", ""] == desk.node.replication.term
    assert seen["commit_index", ""] == log.commit_index
    assert seen["follower_match_index", A] == log.last_index
    assert seen["follower_lag_entries", A] == 0
    beat(desk)
    desk.now += 0.0625
    assert 0.06 <= figures(desk)["follower_contact_seconds", A] < 0.2
    desk.wait(5.0)
    assert figures(desk)["members", "dead"] == 2
    assert figures(desk)["quorum", ""] == 0


def test_of_a_follower_that_has_said_nothing_yet_nothing_is_told() -> None:
    """Else each election would show every follower as far behind as the log is long, and a voter
    that is dead as one that has just answered."""
    desk = Desk()
    voted_for(desk)
    told, lag, contact = figures(desk), "follower_lag_entries", "follower_contact_seconds"
    assert ("follower_match_index", A) in told
    assert not {(lag, A), (contact, A), (lag, B), (contact, B)} & told.keys()
    core = desk.node.replication
    desk.hear(A, AppendReply(0, core.term, True, core.log.last_index - 1, 1))
    assert figures(desk)[lag, A] == 1
    assert (contact, A) not in figures(desk)
    beat(desk)
    told = figures(desk)
    assert {(contact, A), (contact, B)} <= told.keys()
    assert (lag, B) not in told


def test_each_figure_is_told_once() -> None:
    desk = Desk()
    desk.did(desk.node.request(78, ReadFigures(), desk.now))
    [answer] = [e.answer for e in desk.effects if isinstance(e, Resolve) and e.token == 78]
    assert isinstance(answer, Figures)
    names = [(figure.name, figure.label) for figure in answer.figures]
    assert len(names) == len(set(names))
