"""What becomes of news: every pair of what is known and what is said, and how far it is told on."""

from itertools import permutations
from random import Random
from typing import cast

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Effect, Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    Gossip,
    MembershipMessage,
    Probe,
    ProbeAck,
    Rumour,
    Wanted,
)
from mabeam_p2p.protocol.membership.rumours import transmissions
from mabeam_p2p.protocol.membership.table import is_newer
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
    Table,
    member,
    messages,
    others,
    rumours_in,
)

STATES = tuple(MemberState)

# ---- every state and every message (catalogue: incarnation rules) ----------------------------

WINS = {
    # (known, said) of one incarnation: what is known afterwards.
    (ALIVE, ALIVE): ALIVE,
    (ALIVE, SUSPECT): SUSPECT,
    (ALIVE, DEAD): DEAD,
    (ALIVE, LEFT): LEFT,
    (SUSPECT, ALIVE): SUSPECT,
    (SUSPECT, SUSPECT): SUSPECT,
    (SUSPECT, DEAD): DEAD,
    (SUSPECT, LEFT): LEFT,
    (DEAD, ALIVE): DEAD,
    (DEAD, SUSPECT): DEAD,
    (DEAD, DEAD): DEAD,
    (DEAD, LEFT): LEFT,
    (LEFT, ALIVE): LEFT,
    (LEFT, SUSPECT): LEFT,
    (LEFT, DEAD): LEFT,
    (LEFT, LEFT): LEFT,
}
"""SWIM §4.2, and leaving above death: it is the member's own word."""


def table_with(known: Member) -> Table:
    table = Table(member(A), member(B))
    if known != member(A):
        table.tell(B, known)
    table.changes()
    return table


@pytest.mark.parametrize("way", ["rumour", "table", "answer"])
@pytest.mark.parametrize(("known", "said"), WINS)
def test_of_one_incarnation_the_worse_state_wins_whatever_the_way(
    known: MemberState, said: MemberState, way: str
) -> None:
    table = table_with(member(A, state=known))
    record = member(A, state=said)
    if way == "rumour":
        table.tell(B, record)
    elif way == "table":
        table.hear(B, Gossip((record,)))
    else:
        table.hear(B, ProbeAck(1, THEIRS, (Rumour(record),)))
    after = WINS[known, said]
    assert table.core.find(A) == member(A, state=after)
    assert table.changes() == ([] if after == known else [(A, after)])


@pytest.mark.parametrize("said", STATES)
@pytest.mark.parametrize("known", STATES)
@pytest.mark.parametrize(("epoch", "raised"), [(1, 1), (2, 0)])
def test_a_greater_incarnation_wins_whatever_the_states(
    known: MemberState, said: MemberState, epoch: int, raised: int
) -> None:
    table = table_with(member(A, state=known))
    record = member(A, epoch, said, raised=raised)
    table.tell(B, record)
    assert table.core.find(A) == record


@pytest.mark.parametrize("said", STATES)
@pytest.mark.parametrize("known", STATES)
@pytest.mark.parametrize(("epoch", "raised"), [(2, 0), (1, 9)])
def test_a_smaller_incarnation_changes_nothing_whatever_the_states(
    known: MemberState, said: MemberState, epoch: int, raised: int
) -> None:
    table = Table(member(A, 2, raised=1), member(B))
    table.tell(B, member(A, 2, known, raised=1))
    table.changes()
    table.tell(B, member(A, epoch, said, raised=raised))
    assert table.core.find(A) == member(A, 2, known, raised=1)
    assert table.changes() == []


@pytest.mark.parametrize("said", STATES)
@pytest.mark.parametrize("raised", [-1, 0, 1])
def test_what_is_said_of_this_peer_it_refutes_if_it_is_bad_and_not_older(
    said: MemberState, raised: int
) -> None:
    table = Table(member(A))
    table.core.describe(score=10)
    mine = table.core.mine
    record = replace(mine, state=said, incarnation=mine.incarnation + raised)
    sent = table.tell(A, record)
    refuted = is_newer(record, mine)
    assert table.core.mine.incarnation == (record.incarnation + 1 if refuted else mine.incarnation)
    assert table.core.mine.state is ALIVE
    answers = messages(sent, Gossip)
    assert answers == ([] if said is ALIVE else [Gossip((table.core.mine,))])


@pytest.mark.parametrize("said", STATES)
def test_what_is_said_of_another_life_of_this_peer_is_nothing_to_it(said: MemberState) -> None:
    table = Table(member(A))
    for epoch in (0, 2):
        table.tell(A, member(ME, epoch, said))
    assert table.core.mine == member(ME)


def test_any_order_of_news_comes_to_the_same_table() -> None:
    said = [
        member(C),
        member(C, 1, SUSPECT),
        member(C, 1, DEAD),
        member(C, 1, raised=1),
        member(C, 1, SUSPECT, raised=1),
    ]
    ends = []
    for order in permutations(said):
        table = Table(member(A), member(C))
        for record in order:
            table.tell(A, record)
        ends.append(table.core.find(C))
    assert ends == [said[-1]] * len(ends)


# ---- no resurrection -------------------------------------------------------------------------


@pytest.mark.parametrize("end", [DEAD, LEFT])
def test_no_old_news_brings_a_member_back_from_the_table_or_from_beyond_it(
    end: MemberState,
) -> None:
    """All gossip that there ever was of it is replayed, while it is retained, and after."""
    table = Table(member(A), member(B))
    lives = (member(A), member(A, raised=1))
    history = [replace(life, state=state) for life in lives for state in (ALIVE, SUSPECT)]
    table.tell(B, *history, member(A, 1, end, raised=1))
    for _ in range(2):
        for record in history:
            table.tell(B, record)
            table.hear(B, Gossip((record,)))
            table.core.met(record, table.now)
        assert not table.core.is_here(A)
        table.pass_time(TIMING.dead_retention_seconds + 1.0, B)
    assert [one.peer for one in table.core.view()] == [ME, B]
    table.tell(B, member(A, raised=2))
    assert table.core.is_here(A) is True, "but its own new word does"


def test_who_is_gone_is_retained_for_a_stated_time_and_then_forgotten() -> None:
    table = Table(member(A), member(B))
    table.tell(B, member(A, 1, DEAD))
    table.pass_time(TIMING.dead_retention_seconds - 0.5, B)
    assert table.state(A) is DEAD
    table.pass_time(1.0, B)
    assert table.core.find(A) is None
    assert table.core.forgotten == [A]


def test_a_forgotten_member_that_speaks_is_told_of_its_death_and_comes_back() -> None:
    """It was behind a partition that outlasted everybody's memory of it."""
    table = Table(member(A), member(B))
    table.tell(B, member(A, 1, DEAD))
    table.pass_time(TIMING.dead_retention_seconds + 1.0, B)
    for sent in (table.hear(A, Probe(5, THEIRS)), _met(table, member(A))):
        assert sent == (Send(A, Gossip((member(A, 1, DEAD),))),)
    table.core.met(member(A, raised=1), table.now)
    assert table.state(A) is ALIVE


def test_two_that_have_forgotten_each_other_do_not_accuse_each_other_for_ever() -> None:
    tables = [Table(member(A), me=ME), Table(member(ME), me=A)]
    tables[0].tell(A, member(B), member(A, 1, DEAD))
    tables[1].tell(ME, member(B), member(ME, 1, DEAD))
    for table in tables:
        table.pass_time(TIMING.dead_retention_seconds + 1.0, B)
    said: list[Effect] = list(tables[0].tell(A))
    for place in range(20):
        table = tables[1 - place % 2]
        source = (ME, A)[place % 2]
        said = [
            answer
            for effect in said
            if isinstance(effect, Send)
            for answer in table.hear(source, cast(MembershipMessage, effect.message))
        ]
        if not said:
            break
    assert said == []
    assert tables[1].core.mine == member(A, raised=1)
    assert tables[0].core.is_here(A)


def _met(table: Table, one: Member) -> tuple[object, ...]:
    table.core.met(one, table.now)
    return table.outbox.take()


def test_news_of_the_dead_that_were_never_known_does_not_go_round_for_ever() -> None:
    table = Table(member(A))
    table.tell(A, member(C, 1, DEAD))
    assert table.core.find(C) is None
    sent = table.pass_time(5.0, A)
    assert C not in [rumour.member.peer for rumour in rumours_in(sent)]
    table.tell(A, member(C))
    assert table.core.find(C) is None, "and nobody brings it back but itself"


def test_memory_is_bounded_over_a_hundred_thousand_joins() -> None:
    limits = Limits(members_max=32, forgotten_max=64, rumours_max=16)
    table = Table(member(A), limits=limits)
    for number in range(100_000):
        peer = PeerId(f"2{number:015x}")
        record = Member(peer, f"n{number}", f"host:{number % 60_000 + 1}", 1, 1 << 16, ALIVE)
        table.core.met(record, table.now)
        table.core.receive(peer, Gossip((replace(record, state=LEFT),)), MINE, table.now)
        table.core.changes.clear()
        table.core.forgotten.clear()
        table.outbox.take()
    records = table.core._records
    assert len(records.table.members) <= 32
    assert len(records.table.graves) <= 64
    assert len(records.rumours) <= 16
    assert len(table.core._probing._round) <= 32


# ---- gossip is bounded -----------------------------------------------------------------------


def test_a_message_carries_a_bounded_number_of_rumours_and_an_interval_another() -> None:
    limits = Limits(rumours_per_message_max=4, rumours_per_interval_max=10)
    table = Table(member(A), member(B), limits=limits, voters=(A, B))
    table.hear(A, Gossip(tuple(others(100))))
    for _ in range(4):
        sent = table.pass_time(0.25, A, B)
        for _ in range(20):
            sent += [e for e in table.hear(A, Probe(1, THEIRS)) if isinstance(e, Send)]
        assert len(rumours_in(sent)) == 10
        assert max(len(e.message.rumours) for e in sent if isinstance(e.message, Probe)) <= 4


def test_each_rumour_is_passed_on_so_many_times_and_no_more() -> None:
    table = Table(member(A), member(B), member(C))
    table.pass_time(20.0, A, B, C)
    said = [*table.tell(A, member(D)), *table.pass_time(60.0, A, B, C, D)]
    assert rumours_in(tuple(said)).count(Rumour(member(D))) == transmissions(5)


def test_how_often_a_rumour_is_told_grows_with_the_logarithm() -> None:
    assert [transmissions(n) for n in (2, 9, 10, 99, 100, 4_000)] == [4, 4, 8, 8, 12, 16]


def test_who_leaves_twice_is_told_of_once() -> None:
    table = Table(member(A), member(B), member(C))
    table.pass_time(20.0, A, B, C)
    said: list[Effect] = []
    for _ in range(10):
        said += table.tell(A, member(C, 1, LEFT))
        said += table.hear(C, Gossip((member(C, 1, LEFT),)))
    said += table.pass_time(60.0, A, B)
    assert rumours_in(tuple(said)).count(Rumour(member(C, 1, LEFT))) == transmissions(3)


def test_the_table_is_exchanged_in_bounded_parts_that_come_round_to_everybody() -> None:
    limits = Limits(sync_members_max=8)
    table = Table(*others(50), limits=limits)
    everybody = [one.peer for one in others(50)]
    told: dict[PeerId, None] = {}
    for gossip in messages(table.pass_time(8.0, *everybody), Gossip):
        assert isinstance(gossip, Gossip)
        assert len(gossip.members) <= 8
        assert gossip.members[0] == member(ME)
        told.update(dict.fromkeys(one.peer for one in gossip.members))
    assert len(told) == 51


@pytest.mark.parametrize("count", [2, 3, 8, 16])
@pytest.mark.parametrize("others_count", [3, 4, 16, 48])
def test_whoever_asks_again_and_again_is_told_of_everybody(count: int, others_count: int) -> None:
    """Whatever else is asked meanwhile: what has no room in an answer comes in the next one."""
    table = Table(*others(others_count), limits=Limits(sync_members_max=count))
    everybody = [one.peer for one in others(others_count)]
    told: dict[PeerId, None] = {}
    for _ in range(2 * others_count):
        sent = table.hear(everybody[0], Gossip((), Wanted.SOME))
        for gossip in messages(sent, Gossip):
            assert isinstance(gossip, Gossip)
            assert len(gossip.members) <= count
            told.update(dict.fromkeys(one.peer for one in gossip.members))
        table.pass_time(table.timing.sync_interval_seconds, *everybody)
    assert len(told) == others_count + 1


@pytest.mark.parametrize("others_count", [3, 4, 5])
def test_an_answer_that_is_full_of_what_is_newer_passes_nobody_over(others_count: int) -> None:
    """Whoever it has no room for is told in the next one, and not in the round after this."""
    table = Table(*others(others_count), limits=Limits(sync_members_max=2))
    asker, gone = (one.peer for one in others(others_count)[:2])
    table.tell(asker, member(gone, 1, DEAD))
    told: dict[PeerId, None] = {}
    for _ in range(others_count + 1):
        full = table.hear(asker, Gossip((member(gone),), Wanted.SOME))
        (gossip,) = messages(full, Gossip)
        assert isinstance(gossip, Gossip)
        assert [one.peer for one in gossip.members] == [ME, gone]
        for answer in messages(table.hear(asker, Gossip((), Wanted.SOME)), Gossip):
            assert isinstance(answer, Gossip)
            told.update(dict.fromkeys(one.peer for one in answer.members))
    assert len(told) == others_count + 1


def test_a_part_of_a_table_is_answered_with_what_is_newer_and_a_part_of_the_own() -> None:
    table = Table(member(A), member(B), member(C))
    table.tell(B, member(C, 1, DEAD))
    sent = table.hear(A, Gossip((member(A), member(C)), Wanted.SOME))
    (gossip,) = messages(sent, Gossip)
    assert isinstance(gossip, Gossip)
    assert gossip.members[:2] == (member(ME), member(C, 1, DEAD))
    assert gossip.wanted is Wanted.NOTHING, "an answer to an answer would never end"
    assert len(gossip.members) == 4


def test_whole_tables_are_told_in_bounded_messages_and_not_at_any_rate() -> None:
    table = Table(*others(40), limits=Limits(sync_members_max=16))
    asking = others(40)[0].peer
    wish = Gossip((), Wanted.ALL)
    parts = messages(table.hear(asking, wish), Gossip)
    assert [len(part.members) for part in parts if isinstance(part, Gossip)] == [16, 16, 9]
    assert table.hear(asking, wish) == ()
    table.now += 0.25
    assert len(table.hear(asking, wish)) == 3


# ---- suspects --------------------------------------------------------------------------------


def test_a_suspect_is_told_so_before_anything_else_whatever_else_there_is_to_tell() -> None:
    limits = Limits(rumours_per_message_max=2, rumours_per_interval_max=2)
    table = Table(member(A), member(B), limits=limits, voters=(A, B))
    table.tell(A, member(B, 1, SUSPECT))
    table.hear(A, Gossip(tuple(others(100))))
    for _ in range(3):
        for probe in messages(table.pass_time(0.25, A), Probe, to=B):
            assert isinstance(probe, Probe)
            assert probe.rumours[0] == Rumour(member(B, 1, SUSPECT))
    (ack,) = messages(table.hear(B, Probe(1, THEIRS)), ProbeAck)
    assert isinstance(ack, ProbeAck)
    assert ack.rumours[0].member == member(B, 1, SUSPECT)


def test_a_refutation_goes_to_the_accuser_at_once_and_to_everybody_as_a_rumour() -> None:
    table = Table(member(A), member(B))
    sent = table.tell(A, member(ME, 1, SUSPECT))
    assert Send(A, Gossip((member(ME, raised=1),))) in sent
    told = rumours_in(table.pass_time(0.25, A, B)) + rumours_in(sent)
    assert Rumour(member(ME, raised=1)) in told


def test_however_often_one_accuses_this_peer_it_is_answered_once_in_an_interval() -> None:
    """What was held back on the way comes at once, and was said before it could be answered."""
    table = Table(member(A), member(B))
    accusation = member(ME, 1, SUSPECT)
    answer = Gossip((member(ME, raised=1),))
    sent = [table.tell(A, accusation, accusation) for _ in range(100)]
    assert [message for one in sent for message in messages(one, Gossip)] == [answer]
    assert messages(table.tell(B, accusation), Gossip) == [answer], "another accuser has its own"
    table.pass_time(0.25, A, B)
    assert messages(table.tell(A, accusation), Gossip) == [answer], "the first may have been lost"


def test_an_accusation_of_the_next_incarnation_is_answered_at_once() -> None:
    table = Table(member(A), member(B))
    for raised in range(3):
        said = messages(table.tell(A, member(ME, 1, SUSPECT, raised=raised)), Gossip)
        assert said == [Gossip((member(ME, raised=raised + 1),))]


def test_who_is_thought_dead_is_told_so_once_in_an_interval_however_much_it_says() -> None:
    table = Table(member(A), member(B))
    table.tell(B, member(A, 1, DEAD))
    table.pass_time(TIMING.dead_retention_seconds + 1.0, B)
    sent = [effect for _ in range(100) for effect in table.hear(A, Probe(5, THEIRS))]
    assert sent == [Send(A, Gossip((member(A, 1, DEAD),)))]
    table.pass_time(0.25, B)
    assert table.hear(A, Probe(6, THEIRS)) == (Send(A, Gossip((member(A, 1, DEAD),))),)


def test_no_more_peers_are_corrected_in_an_interval_than_a_table_has_members() -> None:
    table = Table(member(A), limits=Limits(members_max=8))
    accusation = member(ME, 1, SUSPECT)
    said = [table.hear(one.peer, Gossip((accusation,))) for one in others(100)]
    assert sum(len(messages(one, Gossip)) for one in said) == 8


def test_each_independent_accuser_is_passed_on_once_it_is_news() -> None:
    table = Table(member(A), member(B), member(C), member(D))
    table.pass_time(20.0, A, B, C, D)
    said: list[Effect] = []
    for _ in range(3):
        for accuser in (A, B):
            said += table.tell(accuser, member(D, 1, SUSPECT), accuser=accuser)
    said += table.pass_time(1.0, A, B, C)
    for accuser in (A, B):
        accusation = Rumour(member(D, 1, SUSPECT), accuser)
        assert rumours_in(tuple(said)).count(accusation) == transmissions(5)
    table.tell(D, member(D, raised=1))
    later = rumours_in(table.pass_time(1.0, A, B, C, D))
    assert [one for one in later if one.member.state is SUSPECT] == []


# ---- any news --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_said_a_record_only_ever_becomes_newer(seed: int) -> None:
    random = Random(seed)
    table = Table(member(A), member(B), member(C), limits=Limits(members_max=4), seed=seed)
    newest: dict[PeerId, Member] = {}
    for _ in range(400):
        peer = random.choice((ME, A, B, C, D))
        state, raised = random.choice(STATES), random.randint(0, 2)
        record = member(peer, random.randint(1, 2), state, raised=raised)
        source = random.choice((A, B, C, D))
        if random.random() < 0.1:
            table.core.met(replace(record, state=ALIVE) if peer != ME else member(A), table.now)
        elif random.random() < 0.5:
            table.tell(source, record, accuser=random.choice((None, A, B)))
        else:
            table.hear(source, Gossip((record,), random.choice(tuple(Wanted))))
        table.pass_time(random.choice((0.0, 0.25, 1.0)), *random.sample((A, B, C, D), 2))
        for one in table.core.view():
            before = newest.get(one.peer)
            assert before is None or one == before or is_newer(one, before)
            newest[one.peer] = one
