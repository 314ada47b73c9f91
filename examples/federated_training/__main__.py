"""A model that nobody could train alone: `python -m examples.federated_training`.

Each of four peers has two classes of scikit-learn's digits and never shows an image. They train
one model in rounds: some epochs each, then the weighted average over the bulk channel. After round
3 one is gone, by kill -9 of the coordinator (or by closing, with --no-kill), and from round 7 on it
is back. Each alone, and all data in one place, are the comparison. It is as quick with --quick.
"""

import asyncio
import sys
from typing import Any

import numpy as np

from examples.common.options import Options, parsed
from examples.common.peers import Peers
from examples.common.picture import Series, chart
from examples.common.report import Report, carried_out
from examples.federated_training.model import (
    CLASSES_EACH,
    CLASSES_MAX,
    LOCAL_EPOCHS,
    Data,
    Model,
    digits,
)
from examples.federated_training.trainer import LEAVES_AFTER, RETURNS_AT, ROUNDS, own_part

NAME = "federated_training"
FEDERATED_LEAST = {4: 0.88, 5: 0.8}
"""By the number of peers: ten classes are harder to keep than eight."""
ALONE_MOST = 0.45
SECONDS_MAX = 200.0

Facts = dict[str, Any]


class Training:
    """What the peers have told: rounds by number, each by peer's name."""

    def __init__(self, options: Options) -> None:
        self.rounds: dict[int, dict[str, Facts]] = {}
        self.gone: str | None = None
        """Who has left or was killed."""
        self.broken_count = 0
        """Rounds that broke at a peer, and were opened again."""
        self._options = options
        self._is_back = False

    async def watch(self) -> None:
        leaves = "coordinator" if self._options.kill else "last"
        task = {"seed": self._options.seed, "leaves": leaves}
        async with Peers("examples.federated_training.trainer", self._options.peers, task) as peers:
            async for name, said in peers.told():
                match said["event"]:
                    case "round":
                        self.rounds.setdefault(int(str(said["round"])), {})[name] = said
                    case "broken":
                        self.broken_count += 1
                    case "hangs":
                        self.gone = name
                        await peers.kill(name)
                        print(f"killed {name}, the coordinator, after round {LEAVES_AFTER}")
                    case _:
                        self.gone = name
                        await peers.kill(name)
                        print(f"{name} has left after round {LEAVES_AFTER}")
                if self.gone is not None and not self._is_back and self._returns():
                    self._is_back = True
                    await peers.start(self.gone, leaves=None)

    def _returns(self) -> bool:
        """Whether the last round without it stands in the log: its coordinator tells of it then."""
        last = RETURNS_AT - 1
        return last in self.rounds and self.coordinator(last) != "nobody"

    def accuracy(self, number: int) -> float:
        return float(next(iter(self.rounds[number].values()))["accuracy"])

    def coordinator(self, number: int) -> str:
        told = self.rounds[number].items()
        return next((name for name, said in told if said["coordinates"]), "nobody")


class Comparison:
    """Accuracy after each round's worth of epochs: of each peer alone, and with all the data."""

    def __init__(self, options: Options) -> None:
        classes = CLASSES_EACH * options.peers
        train, test = digits(classes, options.seed)
        parts = [own_part(train, number) for number in range(options.peers)]
        self.alone = [_trained(part, test, classes, options.seed) for part in parts]
        self.central = _trained(train, test, classes, options.seed)


def _trained(data: Data, test: Data, classes: int, seed: int) -> list[float]:
    model = Model.first(classes, seed)
    reached = []
    for number in range(ROUNDS):
        model.train(data, LOCAL_EPOCHS, seed * 10_000 + number)
        reached.append(model.accuracy(test))
    return reached


def claims(training: Training, comparison: Comparison, options: Options, report: Report) -> None:
    rounds = training.rounds
    report.claim(f"all {ROUNDS} rounds have ended", sorted(rounds) == list(range(1, ROUNDS + 1)))
    reached, least = training.accuracy(ROUNDS), FEDERATED_LEAST[options.peers]
    report.claim(
        f"federated, the model reaches {reached:.3f} (at least {least:g})", reached >= least
    )
    best = max(lonely[-1] for lonely in comparison.alone)
    report.claim(f"alone, no peer is over {best:.3f} (at most {ALONE_MOST:g})", best <= ALONE_MOST)
    alike = all(len({said["digest"] for said in told.values()}) == 1 for told in rounds.values())
    report.claim("after every round all models are the same, bit by bit", alike)
    counts = {number: len(told) for number, told in rounds.items()}
    expected = {number: options.peers - (LEAVES_AFTER < number < RETURNS_AT) for number in rounds}
    report.claim(
        f"{training.gone} was missing from round {LEAVES_AFTER + 1} to {RETURNS_AT - 1}, and no "
        "longer",
        counts == expected
        and all(training.gone in rounds[n] for n in range(RETURNS_AT, ROUNDS + 1)),
    )
    if options.kill:
        later = training.coordinator(LEAVES_AFTER + 1)
        report.claim(f"{later} coordinates in its place", later not in ("nobody", training.gone))


def picture(training: Training, comparison: Comparison) -> str:
    numbers = range(1, ROUNDS + 1)
    alone = [
        Series("each alone" if number == 0 else "", list(zip(numbers, reached, strict=True)), True)
        for number, reached in enumerate(comparison.alone)
    ]
    federated = [(number, training.accuracy(number)) for number in numbers]
    central = list(zip(numbers, comparison.central, strict=True))
    lines = [Series("federated", federated), Series("all data in one place", central), *alone]
    return chart("Accuracy on digits of all classes", "round", "accuracy", lines)


async def main(options: Options) -> int:
    training, report = Training(options), Report(NAME, options)
    await training.watch()
    comparison = await asyncio.to_thread(Comparison, options)
    claims(training, comparison, options, report)
    report.table(
        ("round", "peers", "coordinator", "federated", "alone (mean)", "all data"),
        [
            (
                number,
                len(training.rounds[number]),
                training.coordinator(number),
                f"{training.accuracy(number):.3f}",
                f"{np.mean([reached[number - 1] for reached in comparison.alone]):.3f}",
                f"{comparison.central[number - 1]:.3f}",
            )
            for number in sorted(training.rounds)
        ],
    )
    facts = {
        "gone": training.gone,
        "broken": training.broken_count,
        "rounds": [{"round": n, "told": told} for n, told in sorted(training.rounds.items())],
        "alone": comparison.alone,
        "central": comparison.central,
    }
    return report.finish(facts, picture(training, comparison))


if __name__ == "__main__":
    chosen = parsed(f"examples.{NAME}", __doc__.splitlines()[0], peers=4, peers_min=4)
    if chosen.peers * CLASSES_EACH > CLASSES_MAX:
        sys.exit(f"--peers {chosen.peers}: there are {CLASSES_MAX} digits, {CLASSES_EACH} for each")
    sys.exit(carried_out(lambda: main(chosen), SECONDS_MAX))
