"""Who runs which trial is the same as what Optuna's storage makes of the same logs."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from mabeam_p2p.integrations.optuna.items import Author, Log
from mabeam_p2p.integrations.optuna.owners import Owners

AUTHORS = [Author("ann@one", 7), Author("ben@two", 9), Author("ann@one", 12)]
MINIMIZE = [StudyDirection.MINIMIZE]


class Shared:
    """One list of logs for several storages."""

    def __init__(self) -> None:
        self.owners = Owners()
        self.logs: list[Log] = []


class Desk(BaseJournalBackend):
    """One author's way to the shared logs."""

    def __init__(self, shared: Shared, author: Author) -> None:
        self._shared = shared
        self._author = author

    def read_logs(self, log_number_from: int) -> list[Log]:
        return self._shared.logs[log_number_from:]

    def append_logs(self, logs: list[Log]) -> None:
        for log in logs:
            self._shared.owners.take(self._author, log)
        self._shared.logs += logs


def storages() -> tuple[Shared, list[JournalStorage]]:
    """One for each author."""
    shared = Shared()
    return shared, [JournalStorage(Desk(shared, author)) for author in AUTHORS]


def test_trial_belongs_to_whoever_began_it() -> None:
    shared, (ann, ben, again) = storages()
    study = ann.create_new_study(MINIMIZE, "s")
    first, second = ann.create_new_trial(study), ben.create_new_trial(study)
    assert shared.owners.left_by(study, AUTHORS) == []
    assert shared.owners.left_by(study, AUTHORS[1:]) == [first]
    assert shared.owners.left_by(study, ()) == [first, second]
    # Another session of the same agent is somebody else.
    assert again.create_new_trial(study) == 2
    assert shared.owners.left_by(study, AUTHORS[:2]) == [2]
    ben.set_trial_state_values(first, TrialState.FAIL)
    assert shared.owners.left_by(study, ()) == [second, 2]
    assert shared.owners.left_by(study + 1, ()) == []


def test_waiting_trial_belongs_to_nobody_until_it_is_begun() -> None:
    shared, (ann, ben, _) = storages()
    study = ann.create_new_study(MINIMIZE, "s")
    trial = ann.create_new_trial(study, create_trial(state=TrialState.WAITING))
    assert shared.owners.left_by(study, ()) == []
    assert ben.set_trial_state_values(trial, TrialState.RUNNING)
    assert not ann.set_trial_state_values(trial, TrialState.RUNNING)
    assert shared.owners.left_by(study, AUTHORS[:1]) == [trial]
    assert shared.owners.left_by(study, AUTHORS[1:2]) == []
    ben.set_trial_state_values(trial, TrialState.WAITING)
    assert shared.owners.left_by(study, ()) == []
    assert ann.set_trial_state_values(trial, TrialState.RUNNING)
    assert shared.owners.left_by(study, AUTHORS[1:]) == [trial]


def test_of_two_that_begin_the_same_trial_the_first_has_it() -> None:
    """Each had seen it waiting when it wrote: the second one's log changes nothing."""
    shared, (ann, ben, _) = storages()
    study = ann.create_new_study(MINIMIZE, "s")
    trial = ann.create_new_trial(study, create_trial(state=TrialState.WAITING))
    claim = {"op_code": 6, "trial_id": trial, "state": TrialState.RUNNING, "values": None}
    for author in AUTHORS[:2]:
        stamped = {**claim, "worker_id": author.agent, "datetime_start": "2026-01-01T00:00:00"}
        Desk(shared, author).append_logs([stamped])
    assert ben.get_trial(trial).state == TrialState.RUNNING
    assert shared.owners.left_by(study, AUTHORS[:1]) == []
    assert shared.owners.left_by(study, AUTHORS[1:]) == [trial]


OPERATIONS = st.tuples(
    st.sampled_from(["study", "delete", "trial", "waiting", "done", "attribute", *["state"] * 4]),
    st.integers(0, len(AUTHORS) - 1),
    st.integers(0, 2),
    st.sampled_from(TrialState),
)


def carry_out(storage: JournalStorage, what: str, number: int, state: TrialState) -> bool:
    """Whether Optuna did it and says that this storage now runs trial `number`."""
    match what:
        case "study":
            storage.create_new_study(MINIMIZE, f"s{number}")
        case "delete":
            storage.delete_study(number)
        case "trial":
            storage.create_new_trial(number)
        case "waiting":
            storage.create_new_trial(number, create_trial(state=TrialState.WAITING))
        case "done":
            storage.create_new_trial(number, create_trial(state=TrialState.COMPLETE, value=1.0))
        case "state":
            values = [1.0] if state == TrialState.COMPLETE else None
            claimed = storage.set_trial_state_values(number, state, values)
            return state == TrialState.RUNNING and claimed
        case _:
            storage.set_trial_user_attr(number, "a", 1)
    return False


@settings(max_examples=300)
@given(st.lists(OPERATIONS, max_size=40))
def test_any_run_leaves_the_running_trials_to_their_owners(
    operations: list[tuple[str, int, int, TrialState]],
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shared, everyone = storages()
    claims: dict[int, Author] = {}
    carry_out(everyone[0], "study", 0, TrialState.RUNNING)
    for what, which, number, state in operations:
        count = len(shared.logs)
        try:
            if carry_out(everyone[which], what, number, state):
                claims[number] = AUTHORS[which]
        except (KeyError, AssertionError, *REFUSALS):
            continue
        if what == "trial" and len(shared.logs) > count:
            created = everyone[which].get_all_trials(number, deepcopy=False)[-1]
            claims[created._trial_id] = AUTHORS[which]
    judge = everyone[0]
    for study in judge.get_all_studies():
        trials = judge.get_all_trials(study._study_id, deepcopy=False)
        running = [trial._trial_id for trial in trials if trial.state == TrialState.RUNNING]
        assert shared.owners.left_by(study._study_id, ()) == running
        for author in AUTHORS:
            others = [one for one in AUTHORS if one != author]
            theirs = [trial for trial in running if claims[trial] == author]
            assert shared.owners.left_by(study._study_id, others) == theirs


REFUSALS = (optuna.exceptions.DuplicatedStudyError, optuna.exceptions.UpdateFinishedTrialError)


def test_log_of_another_kind_changes_nothing() -> None:
    owners = Owners()
    for log in ({}, {"op_code": 10}, {"op_code": 99}, {"op_code": "0"}):
        owners.take(AUTHORS[0], log)
    assert owners.left_by(0, ()) == []


def test_deleted_study_leaves_no_trial_behind() -> None:
    shared, (ann, *_) = storages()
    study = ann.create_new_study(MINIMIZE, "s")
    trial = ann.create_new_trial(study)
    ann.delete_study(study)
    assert shared.owners.left_by(study, ()) == []
    with pytest.raises(KeyError):
        ann.create_new_trial(study)
    again = ann.create_new_study(MINIMIZE, "s")
    assert (again, ann.create_new_trial(again)) == (study + 1, trial + 1)
    assert shared.owners.left_by(again, ()) == [trial + 1]
