"""A follower that was restarted knows nothing to be the leader's until the leader says so."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import PROTOCOL_VERSION
from mabeam_p2p.effects import Send
from mabeam_p2p.messages import AppendEntries, Frame, Hello, Message, ProbeAck, Rumour
from mabeam_p2p.protocol.replication.progress import FollowerState
from mabeam_p2p.records import Member, Standing
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
