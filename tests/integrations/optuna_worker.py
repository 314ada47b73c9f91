"""A searcher as a process: `python -m tests.integrations.optuna_worker NAME STORAGE SEED…`.

It joins, finishes one trial, says so, begins another one, says so, and hangs in it. It ends with
the process that started it.
"""

import sys
import threading

import optuna
from optuna.trial import Trial

from mabeam_p2p import blocking
from mabeam_p2p.integrations.optuna import Storage
from tools.children import hear, say


def hang(trial: Trial) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    if trial.number > 0:
        say(b"hangs in %d" % trial.number)
        threading.Event().wait()
    return x


def main() -> None:
    name, storage, *seeds = sys.argv[1:]
    hear(lambda _: None)
    agent = blocking.join(
        name, cluster="search", data_dir=":memory:", mdns=False, expect=3, seeds=seeds
    )
    study = optuna.create_study(study_name="s", storage=Storage(agent, storage))
    study.optimize(hang, n_trials=1)
    say(b"finished 0")
    study.optimize(hang, n_trials=1)


if __name__ == "__main__":
    main()
