"""Who is here, by their own answers alone."""

from math import inf
from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Effects, Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Gossip, Probe, ProbeAck
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.membership import GOSSIP_EVERY, Membership
from mabeam_p2p.records import Member, MemberState, Standing

ME, A, B, C = (PeerId(letter * 16) for letter in "0abc")
ALIVE, SUSPECT, DEAD, LEFT = MemberState
TIMING = Timing(probe_interval_seconds=0.25, suspect_seconds=1.0, dead_seconds=3.0)
MINE = Standing(1, 1, 5, 0)
THEIRS = Standing(2, 9, 9, 0)


def member(peer: PeerId, epoch: int = 1, state: MemberState = ALIVE, name: str = "") -> Member:
    return Member(peer, name or peer[0], f"host:{ord(peer[0])}", epoch, epoch << 16, state)


class Table:
    """A Membership, and the clock that it lives by."""

    def __init__(self, *met: Member, limits: Limits | None = None, seed: int = 0) -> None:
        self.outbox = Outbox()
        self.now = 100.0
        self.core = Membership(
            member(ME),
            timing=TIMING,
            limits=limits or Limits(),
            random=Random(seed),
            outbox=self.outbox,
            now=self.now,
        )
        self.numbers: dict[PeerId, int] = {}
        for one in met:
            assert self.core.met(one, self.now)
        self.core.changes.clear()
        self.outbox.take()

    def pass_time(self, seconds: float, *answering: PeerId) -> None:
        """Tick in every interval; `answering` answer every probe."""
        end = self.now + seconds
        while self.now < end:
            self.now += TIMING.probe_interval_seconds
            self.core.tick(MINE, self.now)
            for effect in self.outbox.take():
                if isinstance(effect, Send) and isinstance(effect.message, Probe):
                    self.numbers[effect.target] = effect.message.number
                    if effect.target in answering:
                        self.answer(effect.target)

    def answer(self, peer: PeerId) -> None:
        self.hear(peer, ProbeAck(self.numbers[peer], THEIRS))

    def hear(self, source: PeerId, message: Probe | ProbeAck | Gossip) -> Effects:
        self.core.receive(source, message, MINE, self.now)
        return self.outbox.take()

    def state(self, peer: PeerId) -> MemberState:
        found = self.core.find(peer)
        assert found is not None
        return found.state

    def changes(self) -> list[tuple[PeerId, MemberState]]:
        changes = [(one.peer, one.state) for one in self.core.changes]
        self.core.changes.clear()
        return changes


# ---- judging silence -------------------------------------------------------------------------


def test_who_answers_is_alive_and_nobody_else_changes() -> None:
    table = Table(member(A), member(B))
    table.pass_time(20.0, A, B)
    assert table.changes() == []
    assert [table.state(peer) for peer in (ME, A, B)] == [ALIVE] * 3


def test_silence_makes_suspect_and_longer_silence_dead() -> None:
    table = Table(member(A), member(B))
    table.pass_time(0.75, A)
    assert table.changes() == []
    table.pass_time(0.25, A)
    assert table.changes() == [(B, SUSPECT)]
    assert table.core.is_here(B)
    table.pass_time(1.75, A)
    assert table.changes() == []
    table.pass_time(0.25, A)
    assert table.changes() == [(B, DEAD)]
    assert not table.core.is_here(B)


def test_a_suspect_that_answers_is_alive_again() -> None:
    table = Table(member(B))
    table.pass_time(1.0)
    table.answer(B)
    assert table.changes() == [(B, SUSPECT), (B, ALIVE)]
    table.pass_time(0.75)
    assert table.changes() == []


def test_the_dead_are_not_probed_but_an_answer_brings_them_back() -> None:
    table = Table(member(B))
    table.pass_time(3.0)
    table.numbers.clear()
    table.pass_time(5.0)
    assert table.numbers == {}
    table.hear(B, ProbeAck(1, THEIRS))
    assert table.changes()[-1] == (B, ALIVE)


def test_a_link_that_only_brings_questions_keeps_nobody_alive() -> None:
    table = Table(member(B))
    for _ in range(12):
        table.pass_time(0.25)
        table.hear(B, Probe(1, THEIRS))
        table.hear(B, Gossip((member(B),)))
    assert table.state(B) is DEAD


def test_an_answer_to_a_question_that_was_not_asked_is_none() -> None:
    table = Table(member(B))
    for _ in range(12):
        table.pass_time(0.25)
        table.hear(B, ProbeAck(10**6, THEIRS))
    assert table.state(B) is DEAD


def test_a_starved_peer_forgives_others_its_own_silence() -> None:
    table = Table(member(A), member(B))
    table.pass_time(0.5, A, B)
    table.now += 60.0
    table.pass_time(0.25, A)
    assert table.changes() == []
    table.pass_time(0.5, A)
    assert table.changes() == [(B, SUSPECT)], "silence goes on from where it was"


def test_a_clock_that_is_a_little_late_forgives_nothing() -> None:
    table = Table(member(B))
    for _ in range(6):
        table.now += 0.25
        table.pass_time(0.25)
    assert table.state(B) is DEAD


# ---- probes ----------------------------------------------------------------------------------


def test_everybody_is_probed_in_every_interval_and_told_the_standing() -> None:
    table = Table(member(A), member(B))
    table.core.tick(MINE, table.now)
    assert table.outbox.take() == (Send(A, Probe(1, MINE)), Send(B, Probe(1, MINE)))
    assert table.core.next_deadline() == table.now + 0.25
    table.core.tick(MINE, table.now + 0.125)
    assert table.outbox.take() == ()


def test_a_probe_is_answered_with_its_number_and_the_standing() -> None:
    table = Table(member(A))
    assert table.hear(A, Probe(7, THEIRS)) == (Send(A, ProbeAck(7, MINE)),)


def test_strangers_are_not_answered() -> None:
    table = Table(member(A))
    for message in (Probe(7, THEIRS), ProbeAck(0, THEIRS), Gossip((member(C),))):
        assert table.hear(B, message) == ()
    assert table.core.hints == []


def test_nobody_to_probe_means_nothing_to_wait_for() -> None:
    assert Table().core.next_deadline() == inf


def test_standings_are_of_those_alive_who_have_told() -> None:
    table = Table(member(C), member(A), member(B))
    assert table.core.standings() == ()
    table.hear(C, Probe(1, THEIRS))
    table.hear(A, ProbeAck(0, MINE))
    assert table.core.standings() == ((A, MINE), (C, THEIRS))
    table.pass_time(1.0, C)
    assert table.core.standings() == ((C, THEIRS),)


def test_now_and_then_one_member_is_told_the_whole_table() -> None:
    table = Table(member(A), member(B))
    told: dict[PeerId, int] = {A: 0, B: 0}
    for number in range(20 * GOSSIP_EVERY):
        table.core.tick(MINE, table.now + number / 4)
        for effect in table.outbox.take():
            if isinstance(effect, Send) and isinstance(effect.message, Gossip):
                assert effect.message.members == table.core.view()
                told[effect.target] += 1
            elif isinstance(effect, Send) and isinstance(effect.message, Probe):
                table.core.receive(
                    effect.target, ProbeAck(effect.message.number, THEIRS), MINE, table.now
                )
        for peer in (A, B):
            table.core.receive(peer, ProbeAck(0, THEIRS), MINE, table.now + number / 4)
    assert sum(told.values()) == 20
    assert min(told.values()) >= 3


# ---- meeting ---------------------------------------------------------------------------------


def test_who_is_met_is_told_the_table() -> None:
    table = Table(member(A))
    assert table.core.met(member(B), table.now)
    assert table.changes() == [(B, ALIVE)]
    assert table.outbox.take() == (Send(B, Gossip((member(ME), member(A), member(B)))),)


def test_a_copy_of_a_greeting_changes_nothing() -> None:
    table = Table(member(A))
    assert not table.core.met(member(A), table.now)
    assert table.changes() == []
    assert table.outbox.take() == ()


def test_a_new_life_takes_the_place_of_the_old() -> None:
    table = Table(member(A))
    table.pass_time(3.0)
    table.changes()
    assert table.core.met(member(A, epoch=2), table.now)
    assert table.changes() == [(A, ALIVE)]
    assert table.core.find(A) == member(A, epoch=2)
    table.pass_time(0.75)
    assert table.changes() == []


def test_a_dead_member_that_greets_again_is_alive() -> None:
    table = Table(member(A))
    table.pass_time(3.0)
    assert table.core.met(member(A), table.now)
    assert table.state(A) is ALIVE


def test_a_late_greeting_of_who_has_left_brings_nobody_back() -> None:
    table = Table(member(A, epoch=2))
    table.hear(A, Gossip((member(A, 2, LEFT),)))
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
    table.pass_time({ALIVE: 0.0, SUSPECT: 1.0, DEAD: 3.0}[state])
    assert table.state(A) is state
    table.changes()
    assert not table.core.met(member(A, epoch=1), table.now)
    assert table.changes() == []
    assert table.state(A) is state


def test_there_is_room_for_so_many_and_no_more() -> None:
    table = Table(member(A), member(B), limits=Limits(members_max=2))
    assert not table.core.met(member(C), table.now)
    assert [one.peer for one in table.core.view()] == [ME, A, B]
    assert table.core.met(member(B, epoch=2), table.now), "who has a place keeps it"


def test_who_has_left_makes_room() -> None:
    table = Table(member(A), member(B), limits=Limits(members_max=2))
    table.hear(A, Gossip((member(A, 1, LEFT),)))
    assert table.core.met(member(C), table.now)
    assert [one.peer for one in table.core.view()] == [ME, B, C]


# ---- leaving ---------------------------------------------------------------------------------


def test_leaving_is_told_to_everybody_who_is_here() -> None:
    table = Table(member(A), member(B), member(C))
    table.pass_time(3.0, A)
    table.core.met(member(C, epoch=2), table.now)
    table.outbox.take()
    table.core.leave()
    goodbye = Gossip((member(ME, 1, LEFT),))
    assert table.outbox.take() == (Send(A, goodbye), Send(C, goodbye))
    assert table.hear(A, Probe(1, THEIRS)) == ()
    table.core.tick(MINE, table.now + 1.0)
    assert table.outbox.take() == ()


def test_a_goodbye_is_final_for_that_life() -> None:
    table = Table(member(A))
    table.pass_time(0.25)
    table.hear(A, Gossip((member(A, 1, LEFT),)))
    assert table.changes() == [(A, LEFT)]
    table.hear(A, Gossip((member(A, 1, LEFT),)))
    table.answer(A)
    table.hear(A, Gossip((member(A),)))
    table.pass_time(5.0)
    assert table.changes() == []
    assert table.state(A) is LEFT
    assert not table.core.is_here(A)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (B, member(A, 1, LEFT)),
        (A, member(A, 2, LEFT)),
        (A, member(A, 0, LEFT)),
        (B, member(A, 1, DEAD)),
        (B, member(ME, 1, LEFT)),
        (A, member(A, 1, DEAD)),
    ],
)
def test_hearsay_is_no_verdict(source: PeerId, said: Member) -> None:
    table = Table(member(A), member(B))
    table.hear(source, Gossip((said,)))
    assert table.changes() == []
    assert [table.state(peer) for peer in (ME, A, B)] == [ALIVE] * 3


# ---- hearsay ---------------------------------------------------------------------------------


def test_hearsay_of_a_stranger_is_a_hint_where_to_greet() -> None:
    table = Table(member(A))
    strangers = [
        member(PeerId(letter * 16), 1, state)
        for letter, state in zip("bcde", (ALIVE, SUSPECT, DEAD, LEFT), strict=True)
    ]
    table.hear(A, Gossip(tuple(strangers)))
    assert table.core.hints == [strangers[0].address, strangers[1].address]
    assert [one.peer for one in table.core.view()] == [ME, A]


def test_no_more_hearsay_is_read_than_there_can_be_members() -> None:
    table = Table(member(A), limits=Limits(members_max=3))
    strangers = tuple(member(PeerId(f"{number:016x}")) for number in range(1, 10))
    table.hear(A, Gossip(strangers))
    assert len(table.core.hints) == 3


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
