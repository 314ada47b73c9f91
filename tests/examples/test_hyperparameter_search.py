"""A search for hyper-parameters over peers, without a database."""

from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from examples.hyperparameter_search import space
from tests.examples.examples import run, shown


def trial(value: float | None, **params: float) -> FrozenTrial:
    """One that ended with this accuracy; None: it failed."""
    return create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params=dict(params),
        distributions={name: FloatDistribution(1e-9, 1e9, log=True) for name in params},
    )


def test_narrower_ranges_hold_the_best_trials_and_stay_within_the_old_ones() -> None:
    whole = {"C": (1e-2, 1e4), "gamma": (1e-5, 10.0)}
    trials = [trial(0.9 + n / 100, C=10.0**n, gamma=1e-5) for n in range(4)]
    trials += [trial(0.5, C=1e4, gamma=10.0)] * 4 + [trial(None, C=0.02, gamma=1.0)]
    found = space.narrower(whole, trials)
    assert found == {"C": (50.0, 2000.0), "gamma": (1e-5, 2e-5)}
    assert all(space.holds(found, one) for one in space.complete(trials)[:2])
    assert space.narrower({"C": (200.0, 900.0)}, trials) == {"C": (200.0, 900.0)}
    assert space.narrower(space.WHOLE, []) == space.WHOLE


def test_peer_accepts_what_costs_it_little() -> None:
    ranges = {"C": (1.0, 10.0)}
    inside, outside = trial(0.95, C=2.0), trial(0.954, C=20.0)
    assert space.judged(ranges, 0.99, [inside, outside])[0]
    good, why = space.judged(ranges, 0.99, [inside, trial(0.96, C=20.0)])
    assert not good
    assert "1 of my 2 trials lie inside" in why


def test_peer_that_has_not_looked_there_takes_the_promise_for_what_it_is() -> None:
    ranges = {"C": (1.0, 10.0)}
    outside = trial(0.954, C=20.0)
    assert space.judged(ranges, 0.95, [outside])[0]
    assert not space.judged(ranges, 0.94, [outside])[0]
    assert space.judged(ranges, 0.1, [])[0]
    assert space.judged(ranges, 0.1, [trial(None, C=20.0)])[0]


def test_agreed_ranges_come_back_from_the_log() -> None:
    assert space.ranges_of(None) == space.WHOLE
    assert space.ranges_of({"gamma": [1, 2.5], "C": [3, 4]}) == {
        "C": (3.0, 4.0),
        "gamma": (1.0, 2.5),
    }


@pytest.mark.fault("U1")
@pytest.mark.slow
def test_example_keeps_its_claims_though_the_coordinator_is_killed(tmp_path: Path) -> None:
    facts, said = shown("hyperparameter_search", tmp_path, "--quick")
    assert facts["killed"] in said
    many, one = facts["searches"]
    assert (many["peers"], one["peers"]) == (4, 1)
    assert len(many["best"]) >= 12
    assert many["best"] == sorted(many["best"])
    assert all(vote["why"] for ballot in facts["ballots"] for vote in ballot["votes"])


@pytest.mark.slow
def test_too_few_peers_are_refused_in_words(tmp_path: Path) -> None:
    done = run("hyperparameter_search", tmp_path, "--peers", "2")
    assert done.returncode == 2
    assert "--peers 2: take 4 or more" in done.stderr
