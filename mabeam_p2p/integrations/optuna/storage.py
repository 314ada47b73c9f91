"""Optuna's journal storage over peers, in which the trials of an agent end with its session."""

from collections.abc import Callable

from optuna import Study
from optuna.storages import JournalStorage

# RDBStorage gets it from there, too: there is no public name.
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial

from mabeam_p2p.blocking import Agent
from mabeam_p2p.integrations.optuna.backend import TIMEOUT_SECONDS, JournalBackend

OnStale = Callable[[Study, FrozenTrial], None]

WAKE_SECONDS = 3_600
"""Optuna's thread beside each trial has nothing to do here; so rarely it looks."""


class Storage(JournalStorage, BaseHeartbeat):
    """For `optuna.create_study(storage=...)` and `load_study`. Threads may share one.

    A trial belongs to the agent that began it, in the session in which it did. When that session
    has ended in the log, because the agent was closed or its process is gone, the trial is failed:
    by another agent's `study.optimize` before its next trial, or by
    `optuna.storages.fail_stale_trials(study)`. No heartbeat is written: the session is one. An
    agent whose peer was away for so long that its session was ended finds its trial failed as
    well; telling its result raises ValueError then.

    fails_stale: False for trials that outlive their agents, as when one process asks and another
    one tells. stale_trial_callback: called with each trial that this storage has failed, as
    `optuna.storages.RetryFailedTrialCallback`.
    """

    def __init__(
        self,
        agent: Agent,
        name: str = "optuna",
        *,
        timeout: float = TIMEOUT_SECONDS,
        fails_stale: bool = True,
        stale_trial_callback: OnStale | None = None,
    ) -> None:
        """See JournalBackend for agent, name, timeout, and what is raised."""
        self.name = name
        self.fails_stale = fails_stale
        self._stale_trial_callback = stale_trial_callback
        self._peers = JournalBackend(agent, name, timeout=timeout)
        super().__init__(self._peers)

    def record_heartbeat(self, trial_id: int) -> None:
        """Nothing: the agent's session tells whether it lives."""

    def get_heartbeat_interval(self) -> int | None:
        return WAKE_SECONDS if self.fails_stale else None

    def get_heartbeat_stale_trial_callback(self) -> OnStale | None:
        return self._stale_trial_callback

    def get_failed_trial_callback(self) -> OnStale | None:
        """The same, under the name of Optuna before 4.9."""
        return self._stale_trial_callback

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        return self._peers.trials_left(study_id)
