"""How far beyond a member's own word others are believed, and that it can always refute them."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Effects, Notify
from mabeam_p2p.events import Dropped
from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.protocol.membership.words import EPOCH_SHIFT, LEAP_MAX, OwnWords
from mabeam_p2p.records import MemberState
from tests.protocol.membership.members import DEAD, ME, SUSPECT, A, B, C, Table, member

STATES = list(MemberState)


def dropped(effects: Effects) -> list[tuple[str, str]]:
    events = [effect.event for effect in effects if isinstance(effect, Notify)]
    return [(event.source, event.reason) for event in events if isinstance(event, Dropped)]


FAR = LEAP_MAX + 1


@pytest.mark.parametrize("said", STATES)
@pytest.mark.parametrize("raised", [FAR, INTEGER_MAX - (1 << EPOCH_SHIFT)])
def test_of_nobody_is_believed_what_it_could_not_go_beyond(said: MemberState, raised: int) -> None:
    """A member that lies, or is broken: of others, of strangers and of whom it tells."""
    table = Table(member(A), member(B))
    for peer in (B, C, ME):
        table.now += 1.0
        assert dropped(table.tell(A, member(peer, 1, said, raised=raised))) == [(A, "member")]
    assert table.core.find(B) == member(B)
    assert table.core.find(C) is None
    assert table.core.mine == member(ME)
    assert table.core.hints == [member(C).address], "who may say so itself"
    assert table.core.met(member(C), table.now)


@pytest.mark.parametrize("said", [SUSPECT, DEAD])
def test_what_is_believed_of_a_member_it_can_go_beyond(said: MemberState) -> None:
    table = Table(member(A), member(B))
    table.tell(A, member(B, 1, said, raised=LEAP_MAX), member(ME, 1, said, raised=LEAP_MAX))
    assert table.state(B) is said
    assert table.core.mine == member(ME, raised=FAR)
    table.tell(A, member(ME, 1, said, raised=2 * LEAP_MAX + 1))
    assert table.core.mine == member(ME, raised=2 * FAR), "once it has gone beyond"
    table.tell(B, member(B, raised=FAR))
    assert table.core.find(B) == member(B, raised=FAR)
    table.tell(A, member(B, 1, said, raised=2 * FAR - 1))
    assert table.state(B) is said


def test_a_liar_does_not_come_further_step_by_step() -> None:
    table = Table(member(A), member(B))
    for step in (1, 2, 3):
        table.tell(A, member(B, 1, DEAD, raised=step * LEAP_MAX))
    assert table.core.find(B) == member(B, 1, DEAD, raised=LEAP_MAX)


def test_what_was_known_before_a_restart_counts_as_the_members_own_word() -> None:
    table = Table()
    table.core.introduce([member(B, raised=5 * FAR)])
    table.core.met(member(A), table.now)
    table.tell(A, member(B, 1, DEAD, raised=6 * FAR - 1))
    assert table.state(B) is DEAD


def test_what_is_said_of_this_peer_is_held_against_its_own_record() -> None:
    """However many others have spoken since it said something itself."""
    table = Table(member(A), member(B), limits=Limits(members_max=2))
    for _ in range(3):
        table.tell(A, member(ME, 1, DEAD, raised=table.core.mine.incarnation - (1 << 16) + 600_000))
        table.tell(A, member(A))
        table.tell(B, member(B))
    assert table.core.mine == member(ME, raised=1_800_003)


def test_words_of_no_more_members_are_kept_than_there_can_be() -> None:
    words = OwnWords(2)
    words.keep(member(A, raised=5), member(B, raised=5), member(A), member(C))
    far = 5 + LEAP_MAX
    assert words.admit(member(A, raised=far)), "an older word takes nothing back"
    assert words.admit(member(C, raised=LEAP_MAX))
    assert not words.admit(member(B, raised=far)), "forgotten"
    assert not words.admit(member(A, 2, raised=far)), "in another life"
