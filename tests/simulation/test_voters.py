"""Clusters whose disks are lost one after the other, in every weather."""

import pytest

from tests.simulation.replacing import Replacing

SECONDS = 15.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_lost_disks_cost_nothing_acknowledged_and_their_voters_are_replaced(seed: int) -> None:
    trial = Replacing(seed)
    try:
        trial.run(SECONDS)
        trial.replaced()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
