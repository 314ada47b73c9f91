"""Who comes and goes: greetings, names and addresses, goodbyes, and what is heard of others."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    Gossip,
    Probe,
    ProbeAck,
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


def test_a_goodbye_that_nobody_said_is_taken_back() -> None:
    """A broken member has told it of another, who is told when it speaks or greets again."""
    table = Table(member(A), member(B))
    table.tell(B, member(A, 1, LEFT))
    said = Send(A, Gossip((member(A, 1, LEFT),)))
    assert table.hear(A, Probe(1, THEIRS)) == (said,)
    table.core.met(member(A), table.now)
    assert table.outbox.take() == (said,)
    table.hear(A, Gossip((member(A, raised=1),)))
    assert table.state(A) is ALIVE


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
