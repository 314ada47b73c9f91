"""Who runs which trial, read from the logs of a study.

Optuna's storage replays the logs into studies and trials; this follows the same logs only so far
that it knows for each unfinished trial which author began it. The operations and their numbers are
those of Optuna's journal files, which newer releases go on reading.
"""

from collections.abc import Container
from enum import IntEnum

from mabeam_p2p.integrations.optuna.items import Author, Log


class Operation(IntEnum):
    """Of a log's `op_code`: those that begin or end something."""

    CREATE_STUDY = 0
    DELETE_STUDY = 1
    CREATE_TRIAL = 4
    SET_TRIAL_STATE_VALUES = 6


RUNNING = 0
WAITING = 4
"""Of a trial's state; the others are ends."""


class _Trial:
    __slots__ = ("owner", "study")

    def __init__(self, study: int, owner: Author | None) -> None:
        self.study = study
        self.owner = owner
        """None: it waits to be begun."""


class Owners:
    """Hears every log, in order. Ids are counted as Optuna counts them."""

    def __init__(self) -> None:
        self._study_count = 0
        self._trial_count = 0
        self._studies: dict[int, str] = {}
        """Names of those that exist."""
        self._names: dict[str, int] = {}
        self._unfinished: dict[int, _Trial] = {}

    def take(self, author: Author, log: Log) -> None:
        """Take in one log. Those that Optuna ignores change nothing here either."""
        match log.get("op_code"):
            case Operation.CREATE_STUDY:
                self._create_study(log["study_name"])
            case Operation.DELETE_STUDY:
                self._delete_study(log["study_id"])
            case Operation.CREATE_TRIAL:
                self._create_trial(author, log["study_id"], log.get("state", RUNNING))
            case Operation.SET_TRIAL_STATE_VALUES:
                self._set_state(author, log["trial_id"], log["state"])
            case _:
                # The others change what trials and studies hold, not who runs them.
                pass

    def left_by(self, study: int, live: Container[Author]) -> list[int]:
        """Ids of the running trials of `study` whose owners are not among the living, in order."""
        return [
            number
            for number, trial in self._unfinished.items()
            if trial.study == study and trial.owner is not None and trial.owner not in live
        ]

    def _create_study(self, name: str) -> None:
        if name not in self._names:
            self._studies[self._study_count] = name
            self._names[name] = self._study_count
            self._study_count += 1

    def _delete_study(self, study: int) -> None:
        name = self._studies.pop(study, None)
        if name is not None:
            del self._names[name]
            kept = {n: trial for n, trial in self._unfinished.items() if trial.study != study}
            self._unfinished = kept

    def _create_trial(self, author: Author, study: int, state: int) -> None:
        if study not in self._studies:
            return
        if state in (RUNNING, WAITING):
            owner = author if state == RUNNING else None
            self._unfinished[self._trial_count] = _Trial(study, owner)
        self._trial_count += 1

    def _set_state(self, author: Author, number: int, state: int) -> None:
        trial = self._unfinished.get(number)
        if trial is None:
            return
        if state == WAITING:
            trial.owner = None
        elif state != RUNNING:
            del self._unfinished[number]
        elif trial.owner is None:
            trial.owner = author
