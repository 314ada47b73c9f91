"""Optuna over three real peers: its own conformance suite, as its wheel ships it, and what an agent
that goes leaves behind."""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.storages import fail_stale_trials
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, Trial, TrialState

from mabeam_p2p import blocking
from mabeam_p2p.integrations.optuna import Storage
from tests.cli.daemons import until
from tests.integrations.searchers import hosts, searchers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    # Trials are asked for by hand here, so that they can be left running.
    pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"),
]

numbers = itertools.count()


@pytest.fixture(scope="module")
def agents() -> Iterator[list[blocking.Agent]]:
    with searchers(3) as everyone:
        yield everyone


@pytest.fixture
def storage(agents: list[blocking.Agent]) -> Storage:
    """An empty one, on another peer than the last."""
    number = next(numbers)
    return Storage(agents[number % len(agents)], f"case-{number}")


class TestStorage(StorageTestCase):
    """The suite asks for the fixture `storage`."""


def studies(agents: list[blocking.Agent]) -> list[optuna.Study]:
    """One study, as each agent sees it."""
    name = f"study-{next(numbers)}"
    return [
        optuna.create_study(
            study_name="s",
            storage=Storage(agent, name),
            sampler=RandomSampler(seed=number),
            load_if_exists=True,
        )
        for number, agent in enumerate(agents)
    ]


def closed(agent: blocking.Agent, survivor: blocking.Agent) -> None:
    """Close the agent, and wait until the log knows."""
    agent.close()
    everybody = survivor.group("all")
    until(lambda: agent.id not in {one.id for one in everybody.read_agents()})


def storage_name(study: optuna.Study) -> str:
    assert isinstance(study._storage, Storage)
    return study._storage.name


def distance(trial: Trial) -> float:
    return abs(trial.suggest_float("x", -1.0, 1.0))


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_peers_search_together_and_agree_on_every_trial(agents: list[blocking.Agent]) -> None:
    everyone = studies(agents)
    with ThreadPoolExecutor(len(everyone)) as threads:
        list(threads.map(lambda one: one.optimize(distance, n_trials=6, n_jobs=2), everyone))
    trials = everyone[0].trials
    assert [trial.number for trial in trials] == list(range(18))
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    for study in everyone[1:]:
        assert study.trials == trials
        assert study.best_value == min(trial.value or 0.0 for trial in trials)
    # A peer that comes later reads the whole study from the log.
    late = Storage(agents[1], storage_name(everyone[0]))
    assert optuna.load_study(study_name="s", storage=late).trials == trials


def test_pruning_and_numbers_that_are_none_come_back(agents: list[blocking.Agent]) -> None:
    one, other, _ = studies(agents)

    def objective(trial: Trial) -> float:
        trial.report(math.nan, 0)
        trial.report(math.inf, 1)
        trial.set_user_attr("note", {"é": [1, None, 2**70]})
        raise optuna.TrialPruned

    one.optimize(objective, n_trials=1)
    (trial,) = other.trials
    assert (trial.state, trial.value) == (TrialState.PRUNED, math.inf)
    assert math.isnan(trial.intermediate_values[0])
    assert trial.user_attrs == {"note": {"é": [1, None, 2**70]}}


def test_enqueued_trial_is_run_by_one_agent_alone(agents: list[blocking.Agent]) -> None:
    everyone = studies(agents)
    for number in range(6):
        everyone[0].enqueue_trial({"x": number / 10})
    with ThreadPoolExecutor(len(everyone)) as threads:
        list(threads.map(lambda one: one.optimize(distance, n_trials=2), everyone))
    assert sorted(trial.value or 0.0 for trial in everyone[0].trials) == [
        number / 10 for number in range(6)
    ]


def test_trials_of_an_agent_that_ends_are_failed_and_no_others() -> None:
    with searchers(3) as agents:
        leaving, staying, third = studies(agents)
        left, kept = leaving.ask(), staying.ask()
        done = leaving.ask()
        leaving.tell(done, 1.0)
        staying.enqueue_trial({"x": 0.5})
        for study in (leaving, staying, third):
            fail_stale_trials(study)
        assert states(third) == ["RUNNING", "RUNNING", "COMPLETE", "WAITING"]
        closed(agents[0], agents[2])
        third.optimize(distance, n_trials=1)
        assert states(third) == ["FAIL", "RUNNING", "COMPLETE", "COMPLETE"]
        assert (third.trials[3].value, third.trials[3].number) == (0.5, 3)
        staying.tell(kept, 2.0)
        with pytest.raises(ValueError, match="FAIL"):
            staying.tell(left.number, 3.0)


def test_agent_that_comes_back_does_not_own_what_it_left() -> None:
    """The name is the same, the session is not; and all storages of one session are one owner."""
    with hosts(3) as peers:
        first, second = peers[0].agent("first"), peers[1].agent("second")
        leaving, judging = studies([first, second])
        beside = optuna.load_study(study_name="s", storage=Storage(first, storage_name(leaving)))
        leaving.ask()
        beside.ask()
        fail_stale_trials(judging)
        assert states(judging) == ["RUNNING", "RUNNING"]
        closed(first, second)
        again = peers[0].agent("first")
        assert again.id == first.id
        back = optuna.load_study(study_name="s", storage=Storage(again, storage_name(leaving)))
        back.ask()
        fail_stale_trials(judging)
        assert states(judging) == ["FAIL", "FAIL", "RUNNING"]


def test_failed_trial_is_tried_again_where_that_is_asked_for() -> None:
    with hosts(3) as peers:
        agents = [peer.agent("a") for peer in peers]
        name = "again"
        leaving = optuna.create_study(study_name="s", storage=Storage(agents[0], name))
        leaving.ask().suggest_float("x", -1.0, 1.0)
        closed(agents[0], agents[1])
        patient = Storage(agents[1], name, fails_stale=False)
        optuna.load_study(study_name="s", storage=patient).optimize(distance, n_trials=1)

        def again(study: optuna.Study, trial: FrozenTrial) -> None:
            study.enqueue_trial(trial.params)

        judging = optuna.load_study(
            study_name="s", storage=Storage(agents[2], name, stale_trial_callback=again)
        )
        assert states(judging) == ["RUNNING", "COMPLETE"]
        judging.optimize(distance, n_trials=1)
        assert states(judging) == ["FAIL", "COMPLETE", "COMPLETE"]
        assert judging.trials[2].params == judging.trials[0].params
