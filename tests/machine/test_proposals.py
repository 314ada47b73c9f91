from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.events import ParameterChanged, ProposalDecided, ProposalOpened, VoteRecorded
from mabeam_p2p.ids import INTEGER_MAX, AgentId, ProposalId, SessionId
from mabeam_p2p.machine.ballots import result_at_close
from mabeam_p2p.records import Choice, Parameter, Policy, Proposal, ProposalStatus, Vote
from mabeam_p2p.requests import Committed, ParameterQuery, ProposalQuery, Refused
from tests.machine.written_log import SECOND, START, WrittenLog, reason

ABSTAIN, ACCEPT, REJECT = Choice
OPEN, ACCEPTED, REJECTED, NO_CLEAR_MAJORITY, NO_QUORUM, CONFLICT = ProposalStatus


def with_proposal(agent_count: int) -> tuple[WrittenLog, list[SessionId]]:
    """A log with a1 to a<count> and a proposal `p` that waits for all of them."""
    log = WrittenLog()
    sessions = log.attached(agent_count)
    assert reason(log.propose(sessions[0])) == ""
    return log, sessions


# ---- opening ---------------------------------------------------------------------------------


def test_a_proposal_opens_with_everything_that_was_said_and_a_frozen_electorate() -> None:
    log = WrittenLog()
    _, two, _ = log.attached(3)
    log.term = 4
    outcome = log.propose(two, base_version=0, rationale="flat", metadata=b"m", timeout=SECOND)
    expected = Proposal(
        id=ProposalId("p"),
        parameter="rate",
        value=b"v",
        proposer=AgentId("a2@p"),
        rationale="flat",
        metadata=b"m",
        group="all",
        policy=Policy(),
        base_version=0,
        electorate=(AgentId("a1@p"), AgentId("a2@p"), AgentId("a3@p")),
        opened_index=4,
        opened_term=4,
        opened_clock=log.clock,
        deadline=log.clock + SECOND,
    )
    assert outcome == Committed(4, 4)
    assert log.events == (ProposalOpened(expected),)
    assert log.proposal() == expected
    assert log.machine.next_deadline() == log.clock + SECOND


def test_the_electorate_is_sorted_whatever_order_agents_came_in() -> None:
    log = WrittenLog()
    for session, name in enumerate(("c", "a", "b"), 1):
        log.attach(name, session=session)
    log.propose(SessionId(1))
    assert log.proposal().electorate == ("a@p", "b@p", "c@p")


def test_the_electorate_is_the_groups_agents_that_take_part_in_consensus() -> None:
    log = WrittenLog()
    for number, groups in enumerate([("vision",), ("vision", "text"), ("text",), ()], 1):
        log.attach(f"a{number}", session=number, groups=groups)
    log.attach("watcher", session=5, groups=("vision",), participates=False)
    policy = Policy(min_voters=2)
    log.propose(SessionId(4), group="vision", policy=policy)
    assert log.proposal().electorate == ("a1@p", "a2@p")
    log.propose(SessionId(4), "q")
    assert log.proposal("q").electorate == ("a1@p", "a2@p", "a3@p", "a4@p")


@pytest.mark.parametrize(
    ("voters", "others", "min_voters", "opens"),
    [
        (0, 1, 3, False),
        (0, 5, 1, False),
        (1, 0, 3, True),
        (1, 1, 3, False),
        (1, 4, 3, False),
        (2, 0, 3, True),
        (2, 1, 3, False),
        (3, 9, 3, True),
        (2, 2, 2, True),
        (4, 1, 5, False),
    ],
)
def test_an_electorate_below_the_minimum_is_refused_unless_the_group_is_all_of_it(
    voters: int, others: int, min_voters: int, opens: bool
) -> None:
    log = WrittenLog()
    for number in range(1, voters + others + 1):
        log.attach(f"a{number}", session=number, participates=number <= voters)
    outcome = log.propose(SessionId(1), policy=Policy(min_voters=min_voters))
    assert reason(outcome) == ("" if opens else "no_electorate")
    assert len(log.machine.find(ProposalQuery(ProposalId(""))).proposals) == opens


@pytest.mark.fault("C11")
def test_a_group_without_agents_has_no_electorate() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    refused = log.propose(one, group="nobody")
    assert refused == Refused("no_electorate", "0 of 0 agents vote, 1 must")


@pytest.mark.fault("C16")
def test_the_same_id_with_equal_content_is_the_same_proposal_from_any_session() -> None:
    log, (one, two, _) = with_proposal(3)
    first = Committed(4, 1)
    assert log.propose(two) == first
    assert log.events == ()
    for session in (one, two):
        log.vote(session, ACCEPT)
    assert log.status() is ACCEPTED
    assert log.propose(two) == first


@pytest.mark.parametrize(
    "other",
    [
        {"parameter": "other"},
        {"value": b"other"},
        {"rationale": "other"},
        {"metadata": b"other"},
        {"group": "other"},
        {"timeout": SECOND},
        {"base_version": 0},
        {"policy": Policy(min_voters=2)},
    ],
)
def test_the_same_id_with_other_content_is_refused(other: dict[str, object]) -> None:
    log, (one, *_) = with_proposal(3)
    before = log.proposal()
    assert reason(log.propose(one, **other)) == "proposal_exists"  # type: ignore[arg-type]
    assert log.proposal() == before


@pytest.mark.parametrize(
    ("malformed", "why"),
    [
        ({"proposal": ""}, "invalid"),
        ({"proposal": "x" * 257}, "invalid"),
        ({"parameter": ""}, "invalid"),
        ({"parameter": "a\x00"}, "invalid"),
        ({"group": ""}, "invalid"),
        ({"group": "not a name"}, "invalid"),
        ({"policy": Policy(accept_denominator=0)}, "invalid"),
        ({"timeout": 0}, "invalid"),
        ({"timeout": -1}, "invalid"),
        ({"timeout": INTEGER_MAX - START}, "invalid"),
        ({"base_version": -1}, "invalid"),
        ({"base_version": INTEGER_MAX + 1}, "invalid"),
        ({"value": b"x" * 65_537}, "too_large"),
        ({"rationale": "é" * 1_025}, "too_large"),
        ({"metadata": b"x" * 4_097}, "too_large"),
    ],
)
def test_a_malformed_proposal_does_not_open(malformed: dict[str, object], why: str) -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    assert reason(log.propose(one, **malformed)) == why  # type: ignore[arg-type]
    assert log.machine.find(ProposalQuery(ProposalId(""))).proposals == ()
    assert log.machine.next_deadline() is None


def test_what_is_as_large_as_allowed_opens() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    value, metadata, rationale = b"x" * 65_536, b"x" * 4_096, "é" * 1_024
    assert reason(log.propose(one, value=value, metadata=metadata, rationale=rationale)) == ""


# ---- voting ----------------------------------------------------------------------------------


@pytest.mark.fault("C9")
def test_a_vote_is_kept_with_its_confidence_its_rationale_and_its_place() -> None:
    log, (one, *_) = with_proposal(3)
    outcome = log.vote(one, REJECT, confidence=900, rationale="diverged")
    vote = Vote(AgentId("a1@p"), REJECT, 900, "diverged", index=5, clock=log.clock)
    assert outcome == Committed(5, 1)
    assert log.events == (VoteRecorded("p", vote),)
    assert log.proposal().votes == (vote,)


@pytest.mark.fault("C6")
def test_the_session_decides_whose_vote_it_is() -> None:
    log, (one, *_) = with_proposal(3)
    log.close(one)
    log.attach("a1", session=10)
    log.vote(SessionId(10), ACCEPT)
    assert [vote.agent for vote in log.proposal().votes] == ["a1@p"]


@pytest.mark.fault("C6")
def test_a_restarted_agent_votes_once() -> None:
    log, (one, *_) = with_proposal(3)
    log.vote(one, ACCEPT)
    log.attach("a1", session=10, peer=1, epoch=2)
    assert reason(log.vote(SessionId(10), REJECT)) == "conflicting_vote"
    assert reason(log.vote(SessionId(10), ACCEPT)) == ""
    assert log.events == ()
    assert [vote.choice for vote in log.proposal().votes] == [ACCEPT]


@pytest.mark.fault("C7")
@pytest.mark.parametrize(
    "other", [{"choice": REJECT}, {"confidence": 1}, {"rationale": "on second thoughts"}]
)
def test_the_first_vote_binds(other: dict[str, object]) -> None:
    log, (one, *_) = with_proposal(3)
    log.vote(one, ACCEPT)
    before = log.proposal()
    refused = log.vote(one, **{"choice": ACCEPT, **other})  # type: ignore[arg-type]
    assert refused == Refused("conflicting_vote", "voted accept at index 5")
    assert log.proposal() == before


@pytest.mark.fault("C12")
def test_who_came_after_the_opening_has_no_vote() -> None:
    log, _ = with_proposal(3)
    log.attach("late", session=9)
    assert reason(log.vote(SessionId(9), ACCEPT)) == "not_eligible"
    assert log.proposal().votes == ()


@pytest.mark.fault("C12")
def test_who_left_after_the_opening_is_outstanding_and_shrinks_nothing() -> None:
    log, (one, two, three, four, _) = with_proposal(5)
    log.depart(5)
    log.close(four)
    log.vote(one, ACCEPT)
    log.vote(two, ACCEPT)
    assert log.status() is OPEN
    assert len(log.proposal().electorate) == 5
    log.vote(three, ACCEPT)
    assert log.status() is ACCEPTED


def test_a_cast_vote_stays_when_its_agent_leaves() -> None:
    log, (one, two, _) = with_proposal(3)
    log.vote(one, ACCEPT)
    log.close(one)
    log.vote(two, ACCEPT)
    assert log.status() is ACCEPTED


@pytest.mark.fault("C5")
def test_unknown_closed_ineligible_and_conflicting_votes_are_told_apart() -> None:
    log, (one, two, three) = with_proposal(3)
    log.attach("late", session=9)
    assert reason(log.vote(one, ACCEPT, "q")) == "unknown_proposal"
    assert reason(log.vote(SessionId(9), ACCEPT)) == "not_eligible"
    log.vote(one, ACCEPT)
    assert reason(log.vote(one, REJECT)) == "conflicting_vote"
    log.vote(two, ACCEPT)
    closed_index = log.machine.applied_index
    for session in (one, three, SessionId(9)):
        late = log.vote(session, REJECT)
        assert late == Refused("proposal_closed", f"accepted at index {closed_index}")


def test_a_counted_vote_that_is_repeated_after_the_close_is_no_error() -> None:
    log, (one, two, _) = with_proposal(3)
    log.vote(one, ACCEPT)
    log.vote(two, ACCEPT)
    before = log.proposal()
    assert isinstance(log.vote(one, ACCEPT), Committed)
    assert log.events == ()
    assert log.proposal() == before


@pytest.mark.fault("C8")
@pytest.mark.parametrize(
    ("malformed", "why"),
    [
        ({"confidence": -1}, "invalid"),
        ({"confidence": 1001}, "invalid"),
        ({"rationale": "é" * 1_025}, "too_large"),
    ],
)
def test_a_malformed_vote_is_not_cast(malformed: dict[str, object], why: str) -> None:
    log, (one, two, _) = with_proposal(3)
    assert reason(log.vote(one, ACCEPT, **malformed)) == why  # type: ignore[arg-type]
    assert log.proposal().votes == ()
    assert reason(log.vote(one, ACCEPT, confidence=1000, rationale="é" * 1_024)) == ""
    assert reason(log.vote(two, ACCEPT, confidence=0)) == "", "who is not sure at all may vote"


# ---- deciding --------------------------------------------------------------------------------


def test_a_proposal_closes_at_the_vote_that_makes_its_result_certain() -> None:
    log, sessions = with_proposal(5)
    for session in sessions[:2]:
        log.vote(session, ACCEPT)
        assert log.status() is OPEN
    log.vote(sessions[2], ACCEPT)
    decided = log.proposal()
    assert (decided.status, decided.reason) == (ACCEPTED, "decided")
    assert (decided.closed_index, decided.closed_term, decided.closed_clock) == (9, 1, log.clock)
    parameter = Parameter("rate", b"v", version=9, proposal=ProposalId("p"), clock=log.clock)
    assert log.events == (
        VoteRecorded("p", decided.votes[-1]),
        ProposalDecided(decided),
        ParameterChanged(parameter),
    )
    assert log.parameter() == parameter
    assert log.machine.next_deadline() is None


def test_a_lone_voter_of_a_lone_group_decides_at_once() -> None:
    log, (one,) = with_proposal(1)
    log.vote(one, REJECT)
    assert log.status() is REJECTED


@pytest.mark.fault("C4")
@pytest.mark.parametrize(
    ("choices", "status"),
    [
        ([], NO_QUORUM),
        ([ACCEPT, ACCEPT, ACCEPT], NO_QUORUM),
        ([ACCEPT, ACCEPT, ABSTAIN, ABSTAIN], NO_CLEAR_MAJORITY),
        ([ACCEPT, ABSTAIN, ABSTAIN, ABSTAIN], NO_CLEAR_MAJORITY),
        ([ACCEPT, REJECT, REJECT, ABSTAIN], REJECTED),
    ],
)
def test_the_deadline_decides_with_the_votes_it_finds(
    choices: list[Choice], status: ProposalStatus
) -> None:
    log, sessions = with_proposal(7)
    for session, choice in zip(sessions, choices, strict=False):
        log.vote(session, choice)
    assert log.status() is OPEN
    deadline = log.machine.next_deadline()
    assert deadline is not None
    log.pass_time(deadline - 1 - log.clock)
    assert log.status() is OPEN
    log.pass_time(1)
    decided = log.proposal()
    assert (decided.status, decided.reason) == (status, "deadline")
    assert decided.closed_index == log.machine.applied_index
    assert decided.closed_clock == deadline
    assert log.events == (ProposalDecided(decided),)
    assert log.parameter() is None


def test_the_deadline_closes_before_the_vote_that_comes_with_it() -> None:
    log, sessions = with_proposal(3)
    log.vote(sessions[0], ACCEPT)
    log.clock = log.proposal().deadline - 1
    late = log.vote(sessions[1], ACCEPT)
    assert reason(late) == "proposal_closed"
    assert log.status() is NO_QUORUM
    assert log.proposal().closed_index == log.machine.applied_index


def test_the_deadline_can_accept_what_was_not_yet_certain() -> None:
    log, sessions = with_proposal(7)
    for session, choice in zip(sessions, [ACCEPT] * 4, strict=False):
        log.vote(session, choice)
    assert log.status() is OPEN
    log.pass_time(60 * SECOND)
    assert log.status() is ACCEPTED
    assert log.parameter() is not None


def test_a_rejected_value_changes_nothing() -> None:
    log, sessions = with_proposal(3)
    for session in sessions[:2]:
        log.vote(session, REJECT)
    assert log.status() is REJECTED
    assert log.parameter() is None


@pytest.mark.slow
@settings(max_examples=80)
@given(st.data())
def test_the_order_of_votes_and_their_copies_never_matter(data: st.DataObject) -> None:
    electorate = data.draw(st.integers(1, 7))
    choices = data.draw(st.lists(st.sampled_from(Choice), max_size=electorate))
    ballots = list(enumerate(choices, 1))
    copies = data.draw(st.lists(st.sampled_from(ballots), max_size=4)) if ballots else []
    counts = [choices.count(choice) for choice in (ACCEPT, REJECT, ABSTAIN)]
    expected = result_at_close(Policy(), electorate, *counts)
    log, _ = with_proposal(electorate)
    for number, choice in data.draw(st.permutations(ballots + copies)):
        log.vote(SessionId(number), choice)
    log.pass_time(60 * SECOND)
    decided = log.proposal()
    assert decided.status is expected
    assert (log.parameter() is not None) == (expected is ACCEPTED)
    agents = [vote.agent for vote in decided.votes]
    assert len(agents) == len(set(agents)) <= len(choices)
    assert all(vote.index <= decided.closed_index for vote in decided.votes)
    assert all(one.index < other.index for one, other in pairwise(decided.votes))


# ---- versions --------------------------------------------------------------------------------


def accept(log: WrittenLog, proposal: str) -> None:
    for number in (1, 2, 3):
        log.vote(SessionId(number), ACCEPT, proposal)


@pytest.mark.fault("C15")
def test_of_two_proposals_on_one_version_the_second_is_in_conflict() -> None:
    log = WrittenLog()
    one, two, _ = log.attached(3)
    log.propose(one, "p", value=b"1", base_version=0)
    log.propose(two, "q", value=b"2", base_version=0)
    accept(log, "q")
    accept(log, "p")
    assert (log.status("q"), log.status("p")) == (ACCEPTED, CONFLICT)
    parameter = log.parameter()
    assert parameter is not None
    assert parameter.value == b"2"
    assert log.proposal("p").reason == f"version is {parameter.version}, not 0"


def test_a_proposal_on_the_current_version_is_accepted() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    log.propose(one, "p", value=b"1")
    accept(log, "p")
    first = log.parameter()
    assert first is not None
    log.propose(one, "q", value=b"2", base_version=first.version)
    accept(log, "q")
    second = log.parameter()
    assert second is not None
    assert second.version == log.proposal("q").closed_index > first.version


def test_a_proposal_on_no_version_takes_the_latest_whatever_it_is() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    for proposal, value in (("p", b"1"), ("q", b"2")):
        log.propose(one, proposal, value=value)
        accept(log, proposal)
    parameter = log.parameter()
    assert parameter is not None
    assert (parameter.value, parameter.proposal) == (b"2", "q")


def test_a_stale_base_version_is_judged_at_the_close_and_only_if_accepted() -> None:
    log = WrittenLog()
    sessions = log.attached(3)
    assert reason(log.propose(sessions[0], base_version=99)) == ""
    for session in sessions:
        log.vote(session, REJECT)
    assert log.status() is REJECTED


# ---- limits ----------------------------------------------------------------------------------


def test_open_proposals_are_bounded_in_number() -> None:
    log = WrittenLog(Limits(open_proposals_max=1))
    one, *_ = log.attached(3)
    log.propose(one, "p")
    assert reason(log.propose(one, "q")) == "limit"
    accept(log, "p")
    assert reason(log.propose(one, "q")) == ""


def test_closed_proposals_are_forgotten_in_order_of_their_closing() -> None:
    log = WrittenLog(Limits(closed_proposals_max=2))
    one, *_ = log.attached(3)
    for proposal in ("p", "q", "r"):
        log.propose(one, proposal)
    log.propose(one, "s")
    for proposal in ("q", "p", "r"):
        accept(log, proposal)
    remembered = log.machine.find(ProposalQuery(ProposalId(""))).proposals
    assert [proposal.id for proposal in remembered] == ["p", "r", "s"]
    assert reason(log.vote(one, REJECT, "q")) == "unknown_proposal"


def test_parameters_are_bounded_in_number() -> None:
    log = WrittenLog(Limits(parameters_max=1))
    one, *_ = log.attached(3)
    log.propose(one, "p")
    accept(log, "p")
    assert reason(log.propose(one, "q", parameter="other")) == "limit"
    assert reason(log.propose(one, "q")) == ""
    assert len(log.machine.find(ParameterQuery("")).parameters) == 1
