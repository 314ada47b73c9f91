"""Agents that explore a frozen lake together."""

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.multi_agent_rl import lake
from examples.multi_agent_rl.lake import Lake, Learner, Step
from tests.examples.examples import shown

STEPS = st.builds(
    Step,
    st.integers(0, 63),
    st.integers(0, 3),
    st.integers(0, 1),
    st.integers(0, 1),
    st.integers(0, 63),
)


@given(st.lists(STEPS))
def test_steps_come_back_from_two_bytes_each(steps: list[Step]) -> None:
    assert lake.unpacked(lake.packed(steps)) == steps
    assert len(lake.packed(steps)) == 2 * len(steps)


def test_walk_obeys_the_lake_and_ends_where_it_ends() -> None:
    ice, learner = Lake(), Learner()
    steps = learner.walk(ice, 1.0, random.Random(3))
    assert 0 < len(steps) <= lake.STEPS_MAX
    assert steps[0].state == 0
    for before, after in itertools.pairwise(steps):
        assert not before.is_end
        assert after.state == before.next_state
    assert not learner.solves(ice)


def test_curiosity_leads_to_what_is_untried() -> None:
    """Without chance, every walk tries something new as long as there is something nearby."""
    ice, learner, draw = Lake(), Learner(), random.Random(0)
    for _ in range(10):
        steps = learner.walk(ice, 0.0, draw)
        assert not all(map(learner.is_known, steps))
        learner.learn(steps)
    assert lake.wish(learner, steps) == lake.RATE_HIGH
    assert lake.wish(Learner(), steps) == lake.RATE_LOW


def test_wish_is_kept_to_within_the_tolerance() -> None:
    assert lake.accepts(0.2, 0.2 + lake.RATE_TOLERANCE)
    assert not lake.accepts(0.2, 0.2 + lake.RATE_TOLERANCE + 0.001)


@pytest.mark.slow
def test_equal_steps_make_equal_tables_and_solve_the_lake() -> None:
    """Four walkers that share, without the network: what the example shows is in the learning."""
    ices = [Lake() for _ in range(4)]
    draws = [lake.draw_of(0, agent) for agent in range(4)]
    one, other = Learner(), Learner()
    walked = 0
    while not one.solves(ices[0]):
        walked += 1
        assert walked <= 30
        walks = [one.walk(ices[agent], lake.RATE_FIRST, draws[agent]) for agent in range(4)]
        steps = [step for walk in walks for step in walk]
        one.learn(steps)
        other.learn(lake.unpacked(lake.packed(steps)))
        assert one.values == other.values
    assert walked > 10
    assert lake.alone(0, 0, 60) is None


@pytest.mark.slow
def test_example_keeps_its_claims_though_the_leader_is_killed(tmp_path: Path) -> None:
    facts, said = shown("multi_agent_rl", tmp_path, "--quick")
    assert facts["killed"] in said
    assert facts["ballots"]["count"] > 10
    assert len(facts["seeds"]) == 2
