"""A follower that was restarted knows nothing to be the leader's until the leader says so."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import PROTOCOL_VERSION
from mabeam_p2p.effects import Connect, Notify, Send
from mabeam_p2p.events import MemberChanged
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import AppendEntries, Frame, Hello, Message, ProbeAck, Rumour
from mabeam_p2p.protocol.replication.progress import FollowerState
from mabeam_p2p.records import Member, MemberState, Standing
from tests.protocol.test_evidence import beat, elected
from tests.protocol.test_node import CLUSTER, A, B, Desk


def hear_anew(desk: Desk, member: Member, *messages: Message) -> None:
    """A frame of A's next process."""
    frame = Frame(PROTOCOL_VERSION, A, member.epoch, desk.epoch, 1, CLUSTER, messages)
    desk.did(desk.node.receive(frame, desk.now))
    desk.end_turn()


@pytest.mark.parametrize("gossip_first", [False, True])
def test_a_leader_says_anew_where_the_log_ends_however_it_learned_of_the_restart(
    gossip_first: bool,
) -> None:
    """News of the new epoch may be there before its greeting. Without an append the follower would
    commit, and apply, nothing until the next command comes."""
    desk = Desk()
    log = desk.node.replication.log
    standing = Standing(log.last_term, log.last_index, 5, 0)
    elected(desk, standings={A: standing, B: standing})
    beat(desk)
    leadership = desk.node.replication.leadership
    assert leadership is not None
    assert leadership.progress[A].state is FollowerState.REPLICATE
    known = desk.node.membership.find(A)
    assert known is not None
    anew = replace(known, epoch=2, incarnation=2 << 16)
    if gossip_first:
        desk.hear(B, ProbeAck(1, standing, (Rumour(anew, None),)))
        desk.end_turn()
    desk.effects.clear()
    hear_anew(desk, anew, Hello("default", CLUSTER, anew, True))
    beat(desk)
    appends = [
        effect.message
        for effect in desk.effects
        if isinstance(effect, Send) and effect.target == A
        if isinstance(effect.message, AppendEntries)
    ]
    assert appends != []
    assert appends[-1].previous_index == log.last_index


@pytest.mark.parametrize("accuser", [B, None])
def test_a_link_goes_to_the_new_process_though_the_old_one_was_suspected_in_the_same_turn(
    accuser: PeerId | None,
) -> None:
    """Else it would lead to a port at which nobody listens, for good: a greeting that comes
    again is no news."""
    desk = Desk()
    standing = Standing(0, 0, 5, 0)
    elected(desk, standings={A: standing, B: standing})
    known = desk.node.membership.find(A)
    assert known is not None
    suspected = replace(known, state=MemberState.SUSPECT)
    anew = replace(known, epoch=2, incarnation=2 << 16, address="10.0.0.9:7999")
    desk.effects.clear()
    desk.hear(B, ProbeAck(1, standing, (Rumour(suspected, accuser),)))
    hear_anew(desk, anew, Hello("default", CLUSTER, anew, True))
    connects = [e for e in desk.effects if isinstance(e, Connect) and e.target == A]
    assert connects[-1].address == anew.address
    acquaintance = desk.node.links.acquaintance(A, desk.now)
    assert acquaintance is not None
    assert acquaintance.address == anew.address
    changed = [e.event for e in desk.effects if isinstance(e, Notify)]
    states = [
        e.member.state for e in changed if isinstance(e, MemberChanged) and e.member.peer == A
    ]
    assert states == [MemberState.SUSPECT, MemberState.ALIVE], "both are told"
