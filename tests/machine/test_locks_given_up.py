"""Claims that their agent has given up, before or after they came."""

import pytest

from mabeam_p2p.commands import AcquireLock, ReleaseLock
from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.requests import Committed, Outcome
from tests.machine.recipes_log import RecipesLog
from tests.machine.written_log import SECOND, reason


def number(outcome: Outcome) -> int:
    assert isinstance(outcome, Committed), outcome
    return outcome.number


def test_a_claim_that_is_given_up_before_it_comes_never_comes() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    acquire = AcquireLock(one, log.next(one), "l", 1, 1, SECOND)
    release = ReleaseLock(one, log.next(one), acquire.sequence, "l")
    assert reason(log.apply(release)) == "not_held"
    assert reason(log.apply(acquire)) == "stale_sequence"
    assert log.holders() == []


@pytest.mark.parametrize("claim", [3, 4, INTEGER_MAX])
def test_a_number_that_can_have_made_no_claim_is_not_given_up(claim: int) -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.acquire(one)
    word = ReleaseLock(one, log.next(one), claim, "l")
    assert word.sequence == 3
    assert reason(log.apply(word)) == "not_held"
    # Given up it would have pushed the window of numbers up to its end.
    assert reason(log.acquire(one, "other")) == ""
    assert reason(log.close(one)) == ""


def test_giving_up_what_has_come_forgets_nothing() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    acquire = AcquireLock(one, log.next(one), "l", 1, 1, SECOND)
    outcome = log.apply(acquire)
    log.release(one, acquire.sequence)
    assert log.apply(acquire) == outcome
    assert log.holders() == []


def test_a_claim_of_another_name_or_agent_is_not_released() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.acquire(one)
    held = log.last
    assert reason(log.release(one, held, "other")) == "not_held"
    assert reason(log.release(two, held)) == "not_held"
    assert log.holders() == ["a1@p"]
