"""What commands come to: every rule of outcomes is broken by hand once, and seen."""

from contextlib import nullcontext

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyCommand,
    AppendJournal,
    Arrive,
    CloseSession,
    DepartPeer,
    OpenSession,
    Tick,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import BarrierChanged, JournalAppended
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, PeerId, ProposalId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.machine.sessions import Session
from mabeam_p2p.records import (
    BarrierStatus,
    Batch,
    Choice,
    Generation,
    Journal,
    OnDeparture,
    Policy,
    Proposal,
    ProposalStatus,
    Vote,
)
from mabeam_p2p.requests import Committed, Failed, Refused
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.outcomes import Outcomes, judge_append, judge_ballot, judge_generation
from mabeam_p2p.wire.codec import CborCodec

CODEC = CborCodec(Limits())
PEER = PeerId("a" * 16)
OPEN = OpenSession(SessionId(7), 1, AgentId("x@a"), PEER, 1, (), True, True)
ARRIVE = Arrive(SessionId(7), 2, "b", 2, 5, OnDeparture.BREAK)
APPEND = AppendJournal(SessionId(7), 2, "j", b"\x01")


def broken(rule: str) -> "pytest.RaisesExc[Violation]":
    return pytest.raises(Violation, match=rf"^{rule}:")


def outcomes(*commands: AnyCommand) -> Outcomes:
    """After a log of these commands, each a batch."""
    made = Outcomes(CODEC, Limits())
    for index, command in enumerate(commands, 1):
        made.committed(batch(index, command))
    return made


def batch(index: int, command: AnyCommand) -> Batch:
    return Batch(index, 1, 1, 0, CODEC.encode_commands([command]))


def test_answer_that_is_what_the_log_made_passes() -> None:
    outcomes(OPEN, APPEND).answered(PEER, APPEND, Committed(2, 1, 1), retried=False)


def test_i9_answer_that_is_not_what_the_log_made_is_seen() -> None:
    made = outcomes(OPEN, APPEND)
    for answer in (Committed(3, 1, 1), Committed(2, 1, 2)):
        with broken("I9"):
            made.answered(PEER, APPEND, answer, retried=False)


def test_i9_acknowledgement_of_what_is_not_committed_is_seen() -> None:
    with broken("I9"):
        outcomes(OPEN).answered(PEER, APPEND, Committed(2, 1, 1), retried=False)


def test_closing_is_known_to_be_done_once_the_session_has_ended_otherwise() -> None:
    """A peer that catches up by a snapshot learns of the end, and answers before its own close is
    applied, which can come to nothing else."""
    close = CloseSession(SessionId(7), 9, "leaves")
    made = outcomes(OPEN)
    for answer in (Committed(1, 1, 0), Committed(2, 1, 1)):
        with broken("I9"):
            made.answered(PEER, close, answer, retried=False)
    made.committed(batch(2, DepartPeer(CLUSTER_SESSION, 0, PEER, 1, "gone")))
    made.answered(PEER, close, Committed(2, 1, 0), retried=False)
    made.answered(PEER, close, Failed("overloaded", ""), retried=False)
    made.asked(close)
    with broken("I9"):
        made.answered(PEER, close, Committed(3, 1, 0), retried=False)
    made.committed(batch(3, close))
    made.answered(PEER, close, Committed(2, 1, 0), retried=False)


def test_i9_second_effect_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = outcomes(OPEN, APPEND)
    assert made.effects[7, 2] == Committed(2, 1, 1)
    made.committed(batch(3, APPEND))
    monkeypatch.setattr(Machine, "apply", lambda *_: [Committed(4, 1, 2)])
    with broken("I9"):
        made.committed(batch(4, APPEND))


def test_denial_of_what_was_done_is_seen() -> None:
    made = outcomes(OPEN, APPEND)
    for answer in (Failed("no_quorum", ""), Refused("limit", "")):
        with broken("answers"):
            made.answered(PEER, APPEND, answer, retried=False)
        made.answered(PEER, APPEND, answer, retried=True)
    made.answered(PEER, APPEND, Failed("unknown", ""), retried=False)


def test_doing_what_was_denied_is_seen() -> None:
    made = outcomes(OPEN)
    made.answered(PEER, APPEND, Failed("overloaded", ""), retried=False)
    with broken("answers"):
        made.committed(batch(2, APPEND))


def test_asking_again_takes_the_denial_back() -> None:
    made = outcomes(OPEN)
    made.answered(PEER, APPEND, Failed("overloaded", ""), retried=False)
    made.asked(APPEND)
    made.committed(batch(2, APPEND))


def test_i8_machine_that_differs_at_the_same_index_is_seen() -> None:
    made = outcomes(OPEN, APPEND)
    equal, other = outcomes(OPEN, APPEND), outcomes(OPEN, replace(APPEND, item=b"\x02"))
    made.digest_equals(PEER, equal.machine)
    with broken("I8"):
        made.digest_equals(PEER, other.machine)


def test_i8_what_a_founder_applied_that_lost_its_founding_binds_nobody() -> None:
    made = outcomes()
    made.digest_equals(PEER, outcomes(OPEN).machine)
    made.committed(batch(1, replace(OPEN, agent=AgentId("another@p"))))
    made.digest_equals(PEER, made.machine)


# ---- leases ----------------------------------------------------------------------------------

LEASED = replace(OPEN, lease=10)
TICK = Tick(CLUSTER_SESSION, 0)


def at(clock: int, index: int, command: AnyCommand) -> Batch:
    return replace(batch(index, command), clock=clock)


def test_a_lease_that_is_kept_and_then_runs_out_passes() -> None:
    made = outcomes(LEASED)
    made.committed(at(9, 2, APPEND))
    made.committed(at(18, 3, TICK))
    made.committed(at(19, 4, TICK))
    assert made.machine.agents_of(PEER) == ()
    made.committed(at(50, 5, LEASED))


def test_a_lease_that_ends_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = outcomes(LEASED)
    monkeypatch.setattr(Machine, "_close_due", lambda *_: None)
    with broken("lease"):
        made.committed(at(10, 2, TICK))


def test_a_lease_that_ends_too_early_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = outcomes(LEASED)
    made.committed(at(9, 2, APPEND))
    monkeypatch.setattr(Session, "lease_end", property(lambda _: 0))
    with broken("lease"):
        made.committed(at(18, 3, TICK))


def test_a_session_that_moves_renews_its_lease_and_a_late_copy_does_not() -> None:
    made = outcomes(LEASED)
    made.committed(at(8, 2, replace(LEASED, epoch=2)))
    made.committed(at(15, 3, LEASED))
    made.committed(at(18, 4, TICK))
    assert made.machine.agents_of(PEER) == ()


# ---- barriers --------------------------------------------------------------------------------

X, Y, Z = AgentId("x@a"), AgentId("y@a"), AgentId("z@a")
WAITING = Generation("b", 1, 2, 5, OnDeparture.BREAK, (X,), BarrierStatus.WAITING, 0)


def test_i12_lawful_generations_pass() -> None:
    judge_generation(WAITING)
    judge_generation(replace(WAITING, arrived=(X, Y), status=BarrierStatus.RELEASED))
    judge_generation(replace(WAITING, status=BarrierStatus.BROKEN))


@pytest.mark.parametrize(
    "generation",
    [
        replace(WAITING, status=BarrierStatus.RELEASED),
        replace(WAITING, arrived=(X, X), status=BarrierStatus.RELEASED),
        replace(WAITING, arrived=(X, Y, Z), status=BarrierStatus.RELEASED),
        replace(WAITING, arrived=(X, Y)),
    ],
    ids=["early", "counted twice", "more than the parties", "not released"],
)
def test_i12_unlawful_generations_are_seen(generation: Generation) -> None:
    with broken("I12"):
        judge_generation(generation)


NAMED = replace(WAITING, arrived=(X, Y), members=(X, Y), since=1, status=BarrierStatus.RELEASED)


def test_i12_release_without_a_named_member_is_seen() -> None:
    judge_generation(NAMED)
    shrunk = replace(NAMED, arrived=(X,), parties=1, on_departure=OnDeparture.SHRINK)
    judge_generation(replace(shrunk, departed=(Y,)))
    for unlawful in (shrunk, replace(NAMED, arrived=(X, Z))):
        with broken("I12"):
            judge_generation(unlawful)


def meeting(closed_index: int, *, since: int) -> BarrierChanged:
    alone = replace(NAMED, arrived=(X,), members=(X,), parties=1, since=since)
    return BarrierChanged(replace(alone, generation=closed_index, closed_index=closed_index))


@pytest.mark.parametrize(
    ("told", "is_lawful"),
    [
        ([meeting(1, since=1)], True),
        ([meeting(1, since=1), meeting(2, since=2)], True),
        ([meeting(1, since=1), meeting(2, since=1)], False),
        ([meeting(1, since=2)], True),
    ],
    ids=["once", "since another index", "twice", "later than joined"],
)
def test_i12_named_members_meet_once(
    monkeypatch: pytest.MonkeyPatch, told: list[BarrierChanged], is_lawful: bool
) -> None:
    made = outcomes(OPEN, replace(ARRIVE, sequence=2))
    monkeypatch.setattr(Machine, "take_events", lambda _: told)
    with nullcontext() if is_lawful else broken("I12"):
        made.committed(batch(3, replace(ARRIVE, sequence=3)))


def test_i12_release_of_who_has_been_away_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    again = replace(OPEN, session=SessionId(8), epoch=2)
    made = outcomes(OPEN, replace(ARRIVE, sequence=2), again)
    monkeypatch.setattr(Machine, "take_events", lambda _: [meeting(1, since=2)])
    with broken("I12"):
        made.committed(batch(4, replace(ARRIVE, session=SessionId(8), sequence=2)))


# ---- ballots ---------------------------------------------------------------------------------

ELECTORATE = tuple(AgentId(f"{letter}@a") for letter in "abcdefg")


def closed(status: ProposalStatus, choices: str, clock: int = 1) -> Proposal:
    """`choices`: a letter for each vote in order of the electorate: a, r or x."""
    words = {"a": Choice.ACCEPT, "r": Choice.REJECT, "x": Choice.ABSTAIN}
    return Proposal(
        id=ProposalId("p"),
        parameter="q",
        value=b"\x01",
        proposer=ELECTORATE[0],
        rationale="",
        metadata=b"",
        group="all",
        policy=Policy(),
        base_version=None,
        electorate=ELECTORATE,
        opened_index=1,
        opened_term=1,
        opened_clock=0,
        deadline=10,
        votes=tuple(
            Vote(agent, words[letter], 0, "", 2, 1)
            for agent, letter in zip(ELECTORATE, choices, strict=False)
        ),
        status=status,
        closed_clock=clock,
    )


@pytest.mark.parametrize(
    "proposal",
    [
        closed(ProposalStatus.ACCEPTED, "aaaaa"),
        closed(ProposalStatus.CONFLICT, "aaaaa"),
        closed(ProposalStatus.REJECTED, "rrrr"),
        closed(ProposalStatus.NO_QUORUM, "aaa", clock=10),
        closed(ProposalStatus.NO_CLEAR_MAJORITY, "aaxxxxx"),
        closed(ProposalStatus.ACCEPTED, "aaaax", clock=10),
    ],
)
def test_i13_lawful_ballots_pass(proposal: Proposal) -> None:
    judge_ballot(proposal)


@pytest.mark.parametrize(
    "proposal",
    [
        closed(ProposalStatus.REJECTED, "aaaaa"),
        closed(ProposalStatus.ACCEPTED, "aaaax"),
        closed(ProposalStatus.NO_QUORUM, "aaa"),
        replace(closed(ProposalStatus.ACCEPTED, "aaaaa"), electorate=ELECTORATE[1:]),
        replace(
            closed(ProposalStatus.ACCEPTED, "aaaaa"),
            votes=closed(ProposalStatus.ACCEPTED, "aaaa").votes * 2,
        ),
        closed(ProposalStatus.OPEN, "aaaaa"),
    ],
    ids=["wrong", "early", "no quorum yet", "stranger", "twice", "open"],
)
def test_i13_unlawful_ballots_are_seen(proposal: Proposal) -> None:
    with broken("I13"):
        judge_ballot(proposal)


def test_i18_item_out_of_place_is_seen() -> None:
    first = Journal("j", 1, (b"a",), 2, 1)
    second = Journal("j", 2, (b"b",), 2, 2)
    judge_append(None, first)
    judge_append(first, second)
    for before, told in (
        (None, second),
        (first, first),
        (first, replace(second, last=3)),
        (first, replace(second, items=(b"b", b"c"))),
        (first, replace(second, capacity=0)),
        (second, Journal("j", 3, (b"c",), 2, 3)),
    ):
        with broken("I18"):
            judge_append(before, told)


def test_i18_is_judged_on_every_append(monkeypatch: pytest.MonkeyPatch) -> None:
    made = outcomes(OPEN, APPEND)
    told = JournalAppended(Journal("j", 3, (b"c",), 0, 3))
    monkeypatch.setattr(Machine, "take_events", lambda _: (told,))
    with broken("I18"):
        made.committed(batch(3, replace(APPEND, sequence=3)))
