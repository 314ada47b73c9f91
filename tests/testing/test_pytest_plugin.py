"""The shipped pytest plugin: a test gets clusters, and its failure the way back to them."""

import pytest

pytest_plugins = ["pytester"]

PLUGIN = "mabeam_p2p.testing.pytest_plugin"
TEST = """
def test_it(trial):
    made = trial({seed})
    made.storm(100_000)
    assert {claim}
"""


@pytest.mark.slow
def test_failure_names_the_command_that_replays_the_cluster(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST.format(seed=31, claim="made.simulator.now < 0"))
    result = pytester.runpytest_inprocess("-p", PLUGIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tools/simulate --seed 31*"])


@pytest.mark.slow
def test_seed_comes_from_the_command_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST.format(seed="", claim="made.simulator.seed == 5"))
    result = pytester.runpytest_inprocess("-p", PLUGIN, "--simulation-seed", "5")
    result.assert_outcomes(passed=1)
