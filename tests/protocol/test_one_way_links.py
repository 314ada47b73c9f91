"""Links that carry one way, or not between everybody: no leader stays that is not followed.

What hides such a fault elsewhere, the successor's own messages and the loss of the quorum, is kept
away here: each way of finding out has to be enough by itself.
"""

import pytest

from mabeam_p2p.messages import AppendEntries, Heartbeat, Message
from mabeam_p2p.protocol.replication import Role
from tests.protocol.raft_world import A, B, C, World


@pytest.fixture
def world() -> World:
    """A leads in term 2, and B in term 3; they do not hear each other, and C follows B."""
    made = World(3)
    made.elect(A)
    made.isolate(A)
    # A is stopped meanwhile: it does not notice how late it is before it speaks again.
    made.wait(2 * made.timing.election_timeout_seconds)
    made.stand(B)
    made.deliver()
    assert made[B].core.role is Role.LEADER
    made.heal()
    made.cut(A, B)
    made.cut(B, A)
    assert made[A].core.role is Role.LEADER
    return made


@pytest.mark.parametrize(("sent", "lost"), [(Heartbeat, AppendEntries), (AppendEntries, Heartbeat)])
def test_a_leader_that_is_answered_with_a_newer_term_is_none_any_more(
    world: World, sent: type[Message], lost: type[Message]
) -> None:
    """Raft §5.1, figure 2, rules for all servers: by any answer."""
    world.flying.clear()
    world.propose(A, b"nobody takes this")
    world.lose(*world.under_way(lost, A, C))
    assert world.under_way(sent, A, C)
    world.deliver()
    assert world[A].core.role is Role.FOLLOWER
    assert world[A].core.term == 3
    assert world[A].core.vote == ""


def test_a_leader_that_nobody_answers_ends_without_a_word_from_its_successor(world: World) -> None:
    """Raft §6: even where it is told nothing."""
    world.isolate(A)
    world.flying.clear()
    world.tick(A)
    assert world[A].core.role is Role.FOLLOWER
    assert world[A].core.term == 2
