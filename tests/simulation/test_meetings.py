"""Barriers and ballots under fire. `tools/meetings` goes on to 20,000 generations and beyond."""

import pytest

from mabeam_p2p.testing.meetings import run


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_no_barrier_and_no_ballot_comes_to_two_ends_whatever_happens(block: int) -> None:
    generations = decided = 0
    for seed in range(8 * block, 8 * block + 8):
        met = run(seed, 10.0)
        assert met.violation is None, f"seed {seed}: {met.violation}"
        generations += met.generations
        decided += met.decided
    assert generations > 200
    assert decided > 20
