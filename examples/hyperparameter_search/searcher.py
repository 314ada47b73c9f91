"""One peer of the search: runs trials of the common study, and votes by those that it ran itself.

In each round it

1. runs some trials within the ranges that are agreed, and tells each; a meeting: all have;
2. sees to it that there is a coordinator, who proposes narrower ranges from the trials of all; the
   others vote by their own; a meeting: it is decided.

The study lives in the log, and so does what was agreed: who is killed takes nothing with it. It
says within a trial that it is ready, and hangs until it is killed.
"""

import threading
import time
from functools import partial

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial

from examples.common.peer import PAUSE_SECONDS, Meeting, Setup, patiently, run, tell
from examples.hyperparameter_search import space
from mabeam_p2p import Proposal, ProposalTimeout, Vote
from mabeam_p2p.blocking import Agent
from mabeam_p2p.integrations.optuna import Storage

STUDY = "digits"
PARAMETER = "ranges"
SEAT = "coordinator"
MEETING_SECONDS = 15.0
"""How long a round waits for one that was killed; a trial takes a fifth of a second."""
BEGIN_SECONDS = 60.0
BALLOT_SECONDS = 20.0


class Searcher:
    def __init__(self, agent: Agent, setup: Setup) -> None:
        self._agent = agent
        self._task = space.Task()
        self._meeting = Meeting(agent, len(setup.names))
        self._is_alone = len(setup.names) == 1
        self._ranges = space.ranges_of(None)
        self._hangs = False
        self.study = optuna.create_study(
            study_name=STUDY,
            storage=Storage(agent, STUDY),
            direction="maximize",
            sampler=sampler(setup.task["seed"] + setup.number, setup.number),
            load_if_exists=True,
        )

    def search(self, rounds: int, trials: int, killed_in: int | None) -> None:
        """killed_in: the round in which whoever coordinates is killed; None: nobody is."""
        came = self._meeting.meet("begin", BEGIN_SECONDS)
        for number in range(1, rounds + 1):
            self._hangs = number == killed_in and self._coordinates(came)
            self.study.optimize(self._objective, n_trials=trials, callbacks=[self._told])
            came = self._meeting.meet(f"round {number}: tried", MEETING_SECONDS)
            if number < rounds:
                self._agree(number, came)
        fail_stale_trials(self.study)
        self._meeting.meet("end", BEGIN_SECONDS)
        tell("study", trials=[facts(trial) for trial in self.study.trials])

    def judge(self, proposal: Proposal) -> Vote:
        ranges = space.ranges_of(proposal.value)
        promised = float(proposal.metadata["best"])
        is_good, why = space.judged(ranges, promised, self._own_trials())
        return Vote.accept(why) if is_good else Vote.reject(why)

    def _objective(self, trial: Trial) -> float:
        trial.set_user_attr(space.PEER, self._agent.name)
        if self._hangs:
            tell("hangs")
            threading.Event().wait()
        return self._task.accuracy(trial, self._ranges)

    def _told(self, study: optuna.Study, trial: FrozenTrial) -> None:
        tell("trial", **facts(trial))

    def _own_trials(self) -> list[FrozenTrial]:
        return [
            trial
            for trial in self.study.trials
            if trial.user_attrs.get(space.PEER) == self._agent.name
        ]

    def _coordinates(self, came: tuple[str, ...]) -> bool:
        """See to it that one of those who came is coordinator; whether it is this agent. One that
        was killed has the seat until the log knows that it is gone."""
        while (seat := patiently(partial(self._agent.elect, SEAT))).holder not in came:
            time.sleep(PAUSE_SECONDS)
        return seat.is_me

    def _agree(self, number: int, came: tuple[str, ...]) -> None:
        """Have a coordinator, and what it proposes decided; otherwise the ranges stay."""
        if self._coordinates(came):
            ranges = space.narrower(self._ranges, self.study.trials)
            if self._is_alone:
                self._ranges = ranges
                return
            self._propose(number, ranges)
        self._meeting.meet(f"round {number}: decided", MEETING_SECONDS)
        if not self._is_alone:
            self._ranges = space.ranges_of(self._agent.parameters.get(PARAMETER))

    def _propose(self, number: int, ranges: space.Ranges) -> None:
        try:
            decision = patiently(
                partial(
                    self._agent.propose,
                    PARAMETER,
                    {name: list(bounds) for name, bounds in ranges.items()},
                    rationale="the best quarter of all trials lies there",
                    metadata={"best": self.study.best_value},
                    timeout=BALLOT_SECONDS,
                )
            )
        except ProposalTimeout:
            return
        votes = [
            {"agent": vote.agent, "choice": vote.choice, "why": vote.rationale}
            for vote in decision.votes
        ]
        coordinator = self._agent.name
        tell(
            "decided",
            round=number,
            coordinator=coordinator,
            status=decision.status,
            ranges=ranges,
            votes=votes,
        )


def sampler(seed: int, number: int) -> BaseSampler:
    """Two ways to search: every second peer draws blindly, the others follow what was found."""
    return RandomSampler(seed=seed) if number % 2 else TPESampler(seed=seed)


def facts(trial: FrozenTrial) -> dict[str, object]:
    began, ended = trial.datetime_start, trial.datetime_complete
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "params": trial.params,
        "peer": trial.user_attrs.get(space.PEER),
        "began": None if began is None else began.timestamp(),
        "ended": None if ended is None else ended.timestamp(),
    }


def main(agent: Agent, setup: Setup) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searcher = Searcher(agent, setup)
    agent.on_proposal(PARAMETER)(searcher.judge)
    searcher.search(setup.task["rounds"], setup.task["trials"], setup.task["killed_in"])


if __name__ == "__main__":
    run(main)
