"""The arithmetic of rankings, held against every completion by brute force."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine import elections
from mabeam_p2p.machine.elections import (
    INCUMBENT_BONUS,
    POINTS_MAX,
    default_points,
    is_certain,
    place,
    ranked,
    score,
)
from mabeam_p2p.records import Candidate

NAMES = tuple(AgentId(f"{letter}@p") for letter in "abcd")
NOBODY = AgentId("")

scores = st.dictionaries(st.sampled_from("pqr"), st.integers(0, POINTS_MAX), max_size=3).map(
    lambda amounts: tuple(sorted(amounts.items()))
)


@st.composite
def fields(draw: st.DrawFn) -> tuple[list[Candidate], dict[AgentId, int], AgentId]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    candidates = [
        Candidate(name, draw(st.integers(1, 2)), draw(st.integers(0, POINTS_MAX))) for name in names
    ]
    totals = {name: draw(st.integers(0, 3)) * 500 for name in names}
    return candidates, totals, draw(st.sampled_from((NOBODY, *names)))


@given(fields())
def test_places_are_a_total_order(
    field: tuple[list[Candidate], dict[AgentId, int], AgentId],
) -> None:
    candidates, totals, incumbent = field
    places = [place(one, totals[one.agent], incumbent) for one in candidates]
    assert len({*places}) == len(places)
    order = ranked(candidates, totals, incumbent)
    assert order == ranked(candidates[::-1], totals, incumbent)
    assert [points for _, points in order] == sorted(totals.values(), reverse=True)


@given(fields(), st.integers(0, 2))
def test_a_result_is_certain_exactly_when_every_completion_has_the_same_winner(
    field: tuple[list[Candidate], dict[AgentId, int], AgentId], missing_count: int
) -> None:
    candidates, totals, incumbent = field
    extremes = (0, 1, POINTS_MAX - 1, POINTS_MAX)
    ballot = tuple(product((0, POINTS_MAX), repeat=len(candidates)))
    if len(candidates) < 3:
        ballot = tuple(product(extremes, repeat=len(candidates)))
    winners: dict[AgentId, None] = {}
    for ballots in product(ballot, repeat=missing_count):
        more = [sum(given) for given in zip(*ballots, strict=True)] or [0] * len(candidates)
        complete = {
            one.agent: totals[one.agent] + points
            for one, points in zip(candidates, more, strict=True)
        }
        winners[ranked(candidates, complete, incumbent)[0][0]] = None
    assert is_certain(candidates, totals, incumbent, missing_count) is (len(winners) == 1)


@pytest.mark.fault("L6")
def test_of_equals_the_incumbent_wins_then_who_joined_earlier_then_the_lower_id() -> None:
    late, early, twin = (
        Candidate(AgentId(f"{name}@p"), index, 500)
        for name, index in (("a", 9), ("c", 3), ("b", 3))
    )
    totals = dict.fromkeys((late.agent, early.agent, twin.agent), 700)
    order = [name for name, _ in ranked([late, early, twin], totals, late.agent)]
    assert order == ["a@p", "b@p", "c@p"]
    order = [name for name, _ in ranked([late, early, twin], totals, NOBODY)]
    assert order == ["b@p", "c@p", "a@p"]


@given(scores, scores)
def test_a_score_lies_between_the_least_and_the_greatest_that_make_it(
    published: tuple[tuple[str, int], ...], weights: tuple[tuple[str, int], ...]
) -> None:
    if weights and not sum(weight for _, weight in weights):
        weights = ()
    values = [value for _, value in published] or [0]
    if weights:
        values.append(0)
    assert min(values) <= score(published, weights) <= max(values)


def test_an_incumbents_bonus_ends_at_the_most_that_a_ballot_gives() -> None:
    candidate = Candidate(NAMES[0], 1, POINTS_MAX - 10)
    assert default_points(candidate, NOBODY) == POINTS_MAX - 10
    assert default_points(candidate, NAMES[0]) == POINTS_MAX
    low = Candidate(NAMES[0], 1, 10)
    assert default_points(low, NAMES[0]) == 10 + INCUMBENT_BONUS


def test_no_float_decides() -> None:
    assert isinstance(score((("a", 1), ("b", 2)), ()), int)
    assert elections.score((("a", 1000), ("b", 999)), (("a", 1), ("b", 1))) == 999


def test_a_score_that_was_not_published_counts_nothing() -> None:
    assert score((("p", 600),), (("p", 1), ("q", 2))) == 200
    assert score((("p", 600),), (("q", 1),)) == 0
