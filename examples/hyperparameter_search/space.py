"""What is searched, and how a peer judges a narrower range: a classifier of handwritten digits.

Pure but for the training itself: what a peer proposes and votes follows from trials alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC

Ranges = dict[str, tuple[float, float]]
"""Lowest and highest value of each hyper-parameter; both are searched on a logarithmic scale."""

WHOLE: Ranges = {"C": (1e-3, 1e3), "gamma": (1e-7, 1e3)}
IMAGES = 900
FOLDS = 3
BEST_SHARE = 4
"""A narrower range holds the best trials, one in so many."""
MARGIN = 2.0
"""Factor by which it reaches beyond them."""
TOLERANCE = 0.005
"""Accuracy that a peer gives up for an agreement."""
PEER = "peer"
"""Attribute of a trial: who ran it."""


class Task:
    """Support vector machines on digits; the accuracy is that of a cross-validation."""

    def __init__(self) -> None:
        digits = load_digits()
        self._images = digits.data[:IMAGES] / 16.0
        self._labels = digits.target[:IMAGES]
        self._folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)

    def accuracy(self, trial: Trial, ranges: Ranges) -> float:
        values = {
            name: trial.suggest_float(name, low, high, log=True)
            for name, (low, high) in ranges.items()
        }
        model = SVC(**values)
        scores = cross_val_score(model, self._images, self._labels, cv=self._folds)
        return float(scores.mean())


def ranges_of(value: Mapping[str, Any] | None) -> Ranges:
    """From a value that was agreed; the whole ranges if none was."""
    if value is None:
        return dict(WHOLE)
    return {name: (float(low), float(high)) for name, (low, high) in sorted(value.items())}


def complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The best first; of equals the older one."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(done, key=lambda trial: (-(trial.value or 0.0), trial.number))


def narrower(ranges: Ranges, trials: Sequence[FrozenTrial]) -> Ranges:
    """What holds the best trials, and somewhat more, within what was searched so far."""
    best = complete(trials)
    best = best[: max(1, len(best) // BEST_SHARE)]
    found: Ranges = {}
    for name, (low, high) in ranges.items():
        values = [trial.params[name] for trial in best if name in trial.params]
        if values:
            low = max(low, min(values) / MARGIN)
            high = min(high, max(values) * MARGIN)
        found[name] = (low, high)
    return found


def holds(ranges: Ranges, trial: FrozenTrial) -> bool:
    return all(low <= trial.params[name] <= high for name, (low, high) in ranges.items())


def judged(ranges: Ranges, promised: float, own: Sequence[FrozenTrial]) -> tuple[bool, str]:
    """Whether a peer accepts these ranges by the trials that it has run itself, and why.

    promised: accuracy that somebody has found inside; counts where this peer has not looked.
    """
    best = complete(own)
    if not best:
        return True, "I have no trials of my own yet"
    inside = [trial for trial in best if holds(ranges, trial)]
    mine = best[0].value or 0.0
    there = (inside[0].value or 0.0) if inside else promised
    who = "my best there" if inside else "what is promised there"
    told = f"{len(inside)} of my {len(best)} trials lie inside"
    return mine - there <= TOLERANCE, f"{told}; {who} is {there:.3f}, my best {mine:.3f}"
