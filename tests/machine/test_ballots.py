from collections.abc import Iterator
from fractions import Fraction

import pytest

from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.machine.ballots import is_sound, result_at_close, result_if_certain
from mabeam_p2p.records import Policy, ProposalStatus

ELECTORATE_MAX = 12
DEFAULT = Policy()
POLICIES = [
    DEFAULT,
    Policy(accept_numerator=1, accept_denominator=2, reject_numerator=1, reject_denominator=2),
    Policy(accept_numerator=2, accept_denominator=3, reject_numerator=1, reject_denominator=3),
    Policy(accept_numerator=1, accept_denominator=1, reject_numerator=1, reject_denominator=1),
    Policy(accept_numerator=1, accept_denominator=7, reject_numerator=5, reject_denominator=6),
    Policy(accept_numerator=9, accept_denominator=10, reject_numerator=1, reject_denominator=100),
]


def splits(total: int) -> Iterator[tuple[int, int, int]]:
    """Every (accepts, rejects, abstentions) of up to `total` votes."""
    for accepts in range(total + 1):
        for rejects in range(total - accepts + 1):
            for abstentions in range(total - accepts - rejects + 1):
                yield accepts, rejects, abstentions


def stated_result(
    policy: Policy, electorate: int, accepts: int, rejects: int, abstentions: int
) -> ProposalStatus:
    """The table of results, with exact fractions and no cleverness."""
    cast = accepts + rejects + abstentions
    accept_ratio = Fraction(policy.accept_numerator, policy.accept_denominator)
    reject_ratio = Fraction(policy.reject_numerator, policy.reject_denominator)
    if cast < electorate // 2 + 1:
        return ProposalStatus.NO_QUORUM
    if Fraction(accepts, cast) >= accept_ratio and Fraction(accepts, electorate) > Fraction(1, 2):
        return ProposalStatus.ACCEPTED
    if Fraction(rejects, cast) >= reject_ratio:
        return ProposalStatus.REJECTED
    return ProposalStatus.NO_CLEAR_MAJORITY


@pytest.mark.parametrize("policy", POLICIES)
def test_a_ballot_closes_early_exactly_when_all_completions_agree(policy: Policy) -> None:
    states = 0
    for electorate in range(1, ELECTORATE_MAX + 1):
        results = {votes: stated_result(policy, electorate, *votes) for votes in splits(electorate)}
        for a, r, x in results:
            completions = {
                results[a + i, r + j, x + k] for i, j, k in splits(electorate - a - r - x)
            }
            expected = completions.pop() if len(completions) == 1 else None
            assert result_if_certain(policy, electorate, a, r, x) is expected, (electorate, a, r, x)
            states += 1
    assert states == 1819


@pytest.mark.parametrize("policy", POLICIES)
def test_the_result_at_close_is_the_stated_one(policy: Policy) -> None:
    for electorate in range(1, ELECTORATE_MAX + 1):
        for votes in splits(electorate):
            expected = stated_result(policy, electorate, *votes)
            assert result_at_close(policy, electorate, *votes) is expected


@pytest.mark.parametrize("policy", POLICIES)
def test_the_last_vote_always_decides(policy: Policy) -> None:
    for electorate in range(1, ELECTORATE_MAX + 1):
        for votes in splits(electorate):
            if sum(votes) == electorate:
                expected = result_at_close(policy, electorate, *votes)
                assert result_if_certain(policy, electorate, *votes) is expected


@pytest.mark.fault("C1")
@pytest.mark.parametrize(
    ("votes", "status"),
    [
        ((3, 2, 0), ProposalStatus.ACCEPTED),
        ((2, 3, 0), ProposalStatus.REJECTED),
        ((6, 4, 0), ProposalStatus.ACCEPTED),
        ((4, 3, 0), ProposalStatus.REJECTED),
        ((12, 8, 0), ProposalStatus.ACCEPTED),
        ((6, 3, 1), ProposalStatus.ACCEPTED),
    ],
)
def test_ballots_that_depended_on_the_order_of_arrival_have_one_result(
    votes: tuple[int, int, int], status: ProposalStatus
) -> None:
    assert result_at_close(DEFAULT, sum(votes), *votes) is status


def test_two_accepts_of_five_are_no_acceptance_whatever_their_ratio() -> None:
    assert result_at_close(DEFAULT, 5, 2, 0, 1) is ProposalStatus.NO_CLEAR_MAJORITY


@pytest.mark.fault("C2")
def test_abstentions_make_the_quorum_and_weigh_in_the_ratio() -> None:
    assert result_at_close(DEFAULT, 5, 2, 0, 0) is ProposalStatus.NO_QUORUM
    assert result_at_close(DEFAULT, 7, 4, 0, 0) is ProposalStatus.ACCEPTED
    assert result_at_close(DEFAULT, 7, 4, 0, 3) is ProposalStatus.NO_CLEAR_MAJORITY


def test_early_acceptance_needs_three_fifths_of_all_by_default() -> None:
    for electorate in range(1, 200):
        for accepts in range(electorate + 1):
            early = result_if_certain(DEFAULT, electorate, accepts, 0, 0)
            is_early = early is ProposalStatus.ACCEPTED
            assert is_early == (5 * accepts >= 3 * electorate)


@pytest.mark.fault("C3")
def test_a_ratio_that_no_float_holds_is_exact() -> None:
    third = Policy(accept_numerator=10**15 + 1, accept_denominator=10**15 + 2)
    assert result_at_close(third, 4, 4, 0, 0) is ProposalStatus.ACCEPTED
    assert result_at_close(third, 4, 3, 0, 1) is not ProposalStatus.ACCEPTED


@pytest.mark.parametrize(
    ("policy", "sound"),
    [
        *[(policy, True) for policy in POLICIES],
        (Policy(accept_denominator=INTEGER_MAX), True),
        (Policy(reject_denominator=INTEGER_MAX), True),
        (Policy(min_voters=INTEGER_MAX), True),
        (Policy(accept_numerator=0), False),
        (Policy(reject_numerator=0), False),
        (Policy(accept_numerator=6), False),
        (Policy(reject_denominator=1), False),
        (Policy(accept_denominator=INTEGER_MAX + 1), False),
        (Policy(reject_denominator=INTEGER_MAX + 1), False),
        (Policy(min_voters=0), False),
        (Policy(min_voters=INTEGER_MAX + 1), False),
    ],
)
def test_a_policy_is_sound_with_fractions_up_to_one_and_somebody_to_vote(
    policy: Policy, sound: bool
) -> None:
    assert is_sound(policy) is sound
