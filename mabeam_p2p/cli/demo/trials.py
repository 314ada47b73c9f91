"""The work that the demo's agents vote about: recognising handwritten digits.

A trial trains a linear classifier (softmax regression, stochastic gradient descent) on one agent's
own part of the data and measures it on the rest of that part. Plain Python on purpose: agents start
at once, and a trial is real work that takes a fraction of a second.
"""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

CLASSES = 10
SAMPLES_PER_AGENT = 240
"""So many that a trial takes about a tenth of a second on a slow core."""
HELD_OUT_SHARE = 3
"""Every third sample measures, the others train."""

Sample = tuple[list[tuple[int, float]], int]
"""The non-zero features as (position, value in 0..1), and the class."""


def write_data(path: Path) -> str:
    """Write the data set to `path` as JSON, by rename; return what it is."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        samples, origin = _made_up(), "digits made up by the demo (scikit-learn is not installed)"
    else:
        digits = load_digits()
        pixels = [[round(value / 16, 4) for value in row] for row in digits.data.tolist()]
        samples = list(zip(pixels, digits.target.tolist(), strict=True))
        origin = f"scikit-learn's handwritten digits, {len(samples)} images"
    # A shuffle with a fixed seed: the parts of the agents are alike, every run is the same.
    random.Random(7).shuffle(samples)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(samples), encoding="utf-8")
    partial.replace(path)
    return origin


def _made_up() -> list[tuple[list[float], int]]:
    """Ten 8 by 8 patterns under so much noise that a bad learning rate shows."""
    draw = random.Random(11)
    patterns = [[draw.random() < 0.4 for _ in range(64)] for _ in range(CLASSES)]
    samples = []
    for number in range(1_500):
        label = number % CLASSES
        noisy = [
            round(draw.uniform(0.4, 1.0), 4) if bit != (draw.random() < 0.3) else 0.0
            for bit in patterns[label]
        ]
        samples.append((noisy, label))
    return samples


def read_part(path: Path, part: int, parts: int) -> list[Sample]:
    """This agent's own share of the data."""
    rows = json.loads(path.read_text(encoding="utf-8"))[part::parts][:SAMPLES_PER_AGENT]
    return [([(i, x) for i, x in enumerate(pixels) if x], label) for pixels, label in rows]


def accuracy(samples: Sequence[Sample], learning_rate: float, epochs: int, seed: int) -> float:
    """Train on two thirds of `samples`, return the share of the rest that is recognised."""
    training = [sample for i, sample in enumerate(samples) if i % HELD_OUT_SHARE]
    held_out = samples[::HELD_OUT_SHARE]
    weights = [[0.0] * CLASSES for _ in range(64)]
    draw = random.Random(seed)
    for _ in range(epochs):
        draw.shuffle(training)
        for features, label in training:
            _step(weights, features, label, learning_rate)
    hits = sum(_best(_scores(weights, features)) == label for features, label in held_out)
    return hits / len(held_out)


def _step(
    weights: list[list[float]], features: list[tuple[int, float]], label: int, rate: float
) -> None:
    """One step against the gradient of the cross entropy."""
    scores = _scores(weights, features)
    highest = max(scores)
    exponentials = [math.exp(score - highest) for score in scores]
    total = sum(exponentials)
    errors = [exponential / total for exponential in exponentials]
    errors[label] -= 1.0
    for position, value in features:
        row = weights[position]
        scaled = rate * value
        for c in range(CLASSES):
            row[c] -= scaled * errors[c]


def _scores(weights: list[list[float]], features: list[tuple[int, float]]) -> list[float]:
    scores = [0.0] * CLASSES
    for position, value in features:
        row = weights[position]
        for c in range(CLASSES):
            scores[c] += value * row[c]
    return scores


def _best(scores: list[float]) -> int:
    return max(range(CLASSES), key=scores.__getitem__)
