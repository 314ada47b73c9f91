"""What is trained: a small network that recognises digits, in numpy, without randomness of its own.

Each peer holds two classes alone, so that none can learn the others' by itself, and the average of
models that were trained apart for long would know neither (McMahan et al. 2017, FedAvg).
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

PIXELS, HIDDEN = 64, 256
CLASSES_EACH = 2
CLASSES_MAX = 10
TEST_SHARE = 4
"""Every fourth image measures, the others train."""
LEARNING_RATE = 0.2
BATCH = 16
LOCAL_EPOCHS = 2


class Data(NamedTuple):
    images: Array
    labels: Labels

    def of_classes(self, first: int, count: int) -> "Data":
        chosen = (self.labels >= first) & (self.labels < first + count)
        return Data(self.images[chosen], self.labels[chosen])


def digits(class_count: int, seed: int) -> tuple[Data, Data]:
    """For training and for measuring: images of the first so many digits."""
    loaded = load_digits()
    order = np.random.default_rng(seed).permutation(len(loaded.target))
    whole = Data(loaded.data[order] / 16.0, loaded.target[order].astype(np.int64))
    chosen = whole.of_classes(0, class_count)
    measures = np.arange(len(chosen.labels)) % TEST_SHARE == 0
    train = Data(chosen.images[~measures], chosen.labels[~measures])
    return train, Data(chosen.images[measures], chosen.labels[measures])


class Model:
    """One hidden layer. `weights` is all that there is of it, as one flat array."""

    def __init__(self, class_count: int, weights: Array) -> None:
        self.class_count = class_count
        self.weights = weights.copy()
        shapes = ((PIXELS, HIDDEN), (HIDDEN,), (HIDDEN, class_count), (class_count,))
        self._parts: list[Array] = []
        at = 0
        for shape in shapes:
            size = int(np.prod(shape))
            self._parts.append(self.weights[at : at + size].reshape(shape))
            at += size

    @classmethod
    def first(cls, class_count: int, seed: int) -> "Model":
        """The same for everybody."""
        size = PIXELS * HIDDEN + HIDDEN + HIDDEN * class_count + class_count
        draw = np.random.default_rng(seed)
        return cls(class_count, draw.normal(0.0, 0.1, size))

    def train(self, data: Data, epochs: int, seed: int) -> None:
        """Stochastic gradient descent on the cross entropy. seed: of the order of images."""
        draw = np.random.default_rng(seed)
        for _ in range(epochs):
            order = draw.permutation(len(data.labels))
            for at in range(0, len(order), BATCH):
                batch = order[at : at + BATCH]
                self._step(data.images[batch], data.labels[batch])

    def accuracy(self, data: Data) -> float:
        _, scores = self._forward(data.images)
        return float(np.mean(scores.argmax(axis=1) == data.labels))

    @property
    def digest(self) -> str:
        """Of the weights, bit by bit."""
        return hashlib.blake2b(self.weights.tobytes(), digest_size=8).hexdigest()

    def _forward(self, images: Array) -> tuple[Array, Array]:
        in_weights, in_bias, out_weights, out_bias = self._parts
        hidden = np.maximum(images @ in_weights + in_bias, 0.0)
        return hidden, hidden @ out_weights + out_bias

    def _step(self, images: Array, labels: Labels) -> None:
        in_weights, in_bias, out_weights, out_bias = self._parts
        hidden, scores = self._forward(images)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = scores / scores.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1.0
        error /= len(labels)
        inner = (error @ out_weights.T) * (hidden > 0.0)
        out_weights -= LEARNING_RATE * (hidden.T @ error)
        out_bias -= LEARNING_RATE * error.sum(axis=0)
        in_weights -= LEARNING_RATE * (images.T @ inner)
        in_bias -= LEARNING_RATE * inner.sum(axis=0)
