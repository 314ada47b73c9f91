"""The judge of guarded parameters is broken by hand, once for each rule."""

from contextlib import nullcontext

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import ConfirmParameter
from mabeam_p2p.events import AgentLeft, ParameterChanged, ParameterConfirmed, ProposalDecided
from mabeam_p2p.ids import AgentId, PeerId, ProposalId, SessionId
from mabeam_p2p.records import Agent, Parameter, Policy, Proposal, ProposalStatus
from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.parameters import ParameterJudge

ONE, TWO = AgentId("one@p"), AgentId("two@p")
OLD = Parameter("rate", b"old", 3, ProposalId("p"), 0)
NEW = Parameter("rate", b"new", 7, ProposalId("q"), 10, awaited=(ONE, TWO), guard_deadline=100)


def guarded() -> ParameterJudge:
    judge = ParameterJudge()
    judge.happened(ParameterChanged(OLD), 0)
    judge.happened(ParameterChanged(NEW), 10)
    return judge


def confirm(judge: ParameterJudge, agent: AgentId, index: int, applied: bool = True) -> None:
    command = ConfirmParameter(SessionId(1), 1, "rate", 7, applied, "")
    judge.took_effect(agent, command, Committed(index, 1))


def test_a_lawful_guard_passes_and_is_counted() -> None:
    judge = guarded()
    confirm(judge, ONE, 8)
    judge.happened(ParameterConfirmed(replace(NEW, awaited=(TWO,), confirmed=(ONE,))), 20)
    judge.happened(
        AgentLeft(Agent(TWO, PeerId("0" * 16), 1, SessionId(2), (), True, True, (), 1), "dead"), 30
    )
    stands = replace(NEW, awaited=(), confirmed=(ONE,), guard_deadline=0)
    judge.happened(ParameterConfirmed(stands), 30)
    judge.passed(200)
    assert (judge.stood, judge.went_back) == (1, 0)


def test_going_back_is_lawful_after_a_failure_and_past_the_deadline() -> None:
    judge = guarded()
    confirm(judge, ONE, 8, applied=False)
    judge.happened(ParameterChanged(replace(OLD, version=8, reverted="no")), 20)
    judge.happened(ParameterChanged(replace(NEW, version=9)), 30)
    judge.happened(ParameterChanged(replace(OLD, version=12, reverted="late")), 100)
    assert (judge.stood, judge.went_back) == (0, 2)


@pytest.mark.parametrize(
    "event",
    [
        ParameterChanged(replace(OLD, version=7)),
        ParameterChanged(replace(OLD, version=8, reverted="without a reason")),
        ParameterChanged(replace(OLD, value=b"else", version=8, reverted="no")),
        ParameterChanged(replace(NEW, version=8, awaited=())),
        ParameterConfirmed(replace(NEW, awaited=(TWO,), confirmed=(ONE,))),
        ParameterConfirmed(replace(NEW, awaited=(TWO,))),
        ParameterConfirmed(replace(NEW, awaited=(ONE, TWO), guard_deadline=0)),
        ParameterConfirmed(replace(NEW, version=6)),
    ],
)
def test_what_breaks_a_rule_is_seen(event: ParameterChanged | ParameterConfirmed) -> None:
    with pytest.raises(Violation, match="parameters"):
        guarded().happened(event, 20)


def test_a_guard_that_outlives_its_deadline_is_seen() -> None:
    judge = guarded()
    judge.passed(99)
    with pytest.raises(Violation, match="outlives"):
        judge.passed(100)


@pytest.mark.parametrize(
    ("status", "base", "what"),
    [
        (ProposalStatus.ACCEPTED, 2, "accepted over version 3"),
        (ProposalStatus.ACCEPTED, 0, "accepted over version 3"),
        (ProposalStatus.CONFLICT, 3, "in conflict with nothing"),
        (ProposalStatus.CONFLICT, None, "in conflict with nothing"),
        (ProposalStatus.ACCEPTED, 3, ""),
        (ProposalStatus.ACCEPTED, None, ""),
        (ProposalStatus.CONFLICT, 2, ""),
        (ProposalStatus.REJECTED, 2, ""),
    ],
)
def test_a_proposal_over_a_version_stands_or_falls_with_it(
    status: ProposalStatus, base: int | None, what: str
) -> None:
    judge = ParameterJudge()
    judge.happened(ParameterChanged(OLD), 0)
    proposal = Proposal(
        *(ProposalId("q"), "rate", b"new", ONE, "", b"", "all", Policy(), base, (ONE,)),
        *(4, 1, 0, 9),
        status=status,
    )
    with pytest.raises(Violation, match=what) if what else nullcontext():
        judge.happened(ProposalDecided(proposal), 5)
