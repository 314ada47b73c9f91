"""What the API gives back, and what it says when it cannot."""

import dataclasses
import json

import pytest

from mabeam_p2p import errors
from mabeam_p2p.api import answers
from mabeam_p2p.api.patterns import Patterns
from mabeam_p2p.api.results import Decision, Proposal, Vote
from mabeam_p2p.errors import InvalidValue, MabeamError, OutcomeUnknown, Rejected
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Choice, ProposalStatus
from mabeam_p2p.records import Proposal as ProposalRecord
from mabeam_p2p.records import Vote as VoteRecord
from mabeam_p2p.requests import Done, Failed, Refused
from tests.api.fakes import proposal


def closed(*choices: Choice) -> ProposalRecord:
    """Rejected by these votes of an electorate of four."""
    agents = [AgentId(f"a{n}@ant") for n in range(4)]
    open_one = proposal(
        votes=tuple(
            VoteRecord(agent, choice, 750, "why", n, 2_500_000)
            for n, (agent, choice) in enumerate(zip(agents, choices, strict=False), 5)
        )
    )
    fields = {name: getattr(open_one, name) for name in open_one.__struct_fields__}
    fields |= {
        "electorate": tuple(agents),
        "status": ProposalStatus.REJECTED,
        "closed_index": 9,
        "closed_term": 2,
        "closed_clock": 3_000_000,
        "reason": "decided",
    }
    return ProposalRecord(**fields)


def test_results_are_frozen_and_become_plain_data() -> None:
    decision = Proposal.of(closed(Choice.ACCEPT, Choice.REJECT, Choice.ABSTAIN))
    assert isinstance(decision, Decision)
    with pytest.raises(dataclasses.FrozenInstanceError):
        decision.status = "accepted"  # type: ignore[misc]
    plain = json.loads(json.dumps(decision.to_dict()))
    assert (plain["status"], plain["accepted"], plain["index"], plain["term"]) == (
        "rejected",
        False,
        9,
        2,
    )
    assert plain["votes"][0] == {
        "choice": "accept",
        "rationale": "why",
        "confidence": 0.75,
        "agent": "a0@ant",
        "index": 5,
        "when": 2.5,
    }


def test_ratio_is_of_votes_cast_and_participation_of_the_electorate() -> None:
    decision = Proposal.of(closed(Choice.ACCEPT, Choice.REJECT, Choice.ABSTAIN))
    assert decision.accept_ratio == pytest.approx(1 / 3)
    assert decision.participation == 3 / 4
    assert Proposal.of(closed()).accept_ratio == 0.0


def test_unaccepted_decision_raises_with_the_counts_and_the_next_step() -> None:
    decision = Proposal.of(closed(Choice.ACCEPT, Choice.REJECT))
    assert isinstance(decision, Decision)
    with pytest.raises(Rejected, match=r"1 accepts, 1 rejects, 0 abstentions of 4.*explain"):
        decision.raise_for_status()


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_confidence_is_from_zero_to_one(confidence: float) -> None:
    with pytest.raises(InvalidValue, match="from 0 to 1"):
        Vote.accept(confidence=confidence)


def test_choice_is_one_of_three_words() -> None:
    with pytest.raises(InvalidValue, match="accept, reject or abstain"):
        Vote("yes")  # type: ignore[arg-type]


REFUSALS = [
    "name_taken",
    "unknown_session",
    "limit",
    "invalid",
    "unknown_proposal",
    "proposal_closed",
    "not_eligible",
    "conflicting_vote",
    "proposal_exists",
    "no_electorate",
    "barrier_mismatch",
    "unknown_generation",
    "stale_sequence",
    "too_large",
    "resolver_mismatch",
]


@pytest.mark.parametrize("reason", REFUSALS)
def test_every_refusal_has_an_error_that_names_peer_matter_and_next_step(reason: str) -> None:
    error = answers.error(Refused(reason, "the detail"), "ant", "the matter")
    assert isinstance(error, MabeamError)
    for part in ("ant", "the matter", "the detail", "; "):
        assert part in str(error)
    if isinstance(error, Rejected):
        assert error.reason == reason


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("no_quorum", errors.NoQuorum),
        ("overloaded", errors.Overloaded),
        ("closed", errors.Closed),
        ("unknown", errors.OutcomeUnknown),
        ("timeout", errors.MabeamTimeout),
    ],
)
def test_every_failure_has_its_error(reason: str, kind: type[MabeamError]) -> None:
    assert type(answers.error(Failed(reason, ""), "ant", "the matter")) is kind


def test_reasons_of_later_releases_are_still_refusals() -> None:
    error = answers.error(Refused("moon_phase", ""), "ant", "the matter")
    assert isinstance(error, Rejected)
    assert error.reason == "moon_phase"


def test_answer_of_another_kind_leaves_the_outcome_open() -> None:
    assert isinstance(answers.error(Done(), "ant", "the matter"), OutcomeUnknown)


def test_later_declaration_of_a_pattern_takes_the_place_of_the_first() -> None:
    patterns: Patterns[int] = Patterns()
    for pattern, meaning in (("a*", 1), ("*a", 2), ("a*", 3), ("aa", 4)):
        patterns.declare(pattern, meaning)
    assert patterns.find("aba") == 3
    assert patterns.find("aa") == 4
    assert patterns.find("b") is None
