"""One peer of the training: it has two classes of digits, and learns all from the average.

In each round the coordinator gives its model to all who are there, each trains it for a while on
its own images, and their weighted average, over the bulk channel, is the next model: the same bits
for everybody. One peer leaves after round LEAVES_AFTER: it says so and hangs until it is killed, or
closes. When it is back it needs nothing that it had: the model comes with the round.
"""

import threading

import numpy as np

from examples.common.peer import Setup, run, tell
from examples.common.rounds import Opening, Rounds
from examples.federated_training.model import CLASSES_EACH, LOCAL_EPOCHS, Data, Model, digits
from mabeam_p2p import BulkBroken
from mabeam_p2p.blocking import Agent

ROUNDS = 10
LEAVES_AFTER, RETURNS_AT = 3, 7
COLLECTIVE_SECONDS = 30.0


def needed(number: int, count: int) -> int:
    return count - 1 if LEAVES_AFTER < number < RETURNS_AT else count


class Trainer:
    def __init__(self, agent: Agent, setup: Setup) -> None:
        count = len(setup.names)
        self._agent = agent
        self._setup = setup
        self._classes = CLASSES_EACH * count
        self._seed = int(setup.task["seed"])
        train, self._test = digits(self._classes, self._seed)
        self._data = own_part(train, setup.number)
        self._model = Model.first(self._classes, self._seed)
        self._rounds = Rounds(
            agent,
            "rounds",
            ROUNDS,
            lambda number: needed(number, count),
            # Who comes back has no model to give before it has been given one.
            stands=setup.task["leaves"] is not None,
        )

    def train(self) -> None:
        while (opening := self._rounds.opened()) is not None:
            try:
                parties = self._take_part(opening)
            except BulkBroken as error:
                tell("broken", round=opening.number, reason=error.reason)
                continue
            self._rounds.stands = True
            is_giver = opening.giver == self._agent.id
            if is_giver:
                digest = self._model.digest
                self._rounds.end(opening, {"digest": digest, "parties": list(parties)})
            tell(
                "round",
                round=opening.number,
                digest=self._model.digest,
                accuracy=self._model.accuracy(self._test),
                parties=parties,
                coordinates=is_giver,
            )
            if opening.number == LEAVES_AFTER and self._leaves(opening):
                return

    def _take_part(self, opening: Opening) -> tuple[str, ...]:
        """The model is the round's average after that. Returns whose average it is."""
        agent, count = self._agent, len(opening.parties)
        given = agent.broadcast(
            f"{opening.place}/model",
            self._model.weights if opening.giver == agent.id else None,
            parties=count,
            timeout=COLLECTIVE_SECONDS,
        )
        model = Model(self._classes, np.asarray(given.value))
        model.train(self._data, LOCAL_EPOCHS, training_seed(self._seed, opening, self._setup))
        average = agent.all_reduce(
            model.weights,
            name=f"{opening.place}/average",
            parties=count,
            op="weighted",
            weight=float(len(self._data.labels)),
            timeout=COLLECTIVE_SECONDS,
        )
        self._model = Model(self._classes, np.asarray(average.value))
        return average.parties

    def _leaves(self, opening: Opening) -> bool:
        """Whether this peer is the one that leaves, and closes by itself."""
        match self._setup.task["leaves"]:
            case "coordinator" if opening.giver == self._agent.id:
                tell("hangs")
                threading.Event().wait()
            case "last" if self._setup.name == self._setup.names[-1]:
                self._agent.close()
                tell("leaves")
                return True
            case _:
                pass
        return False


def own_part(train: Data, number: int) -> Data:
    """The images of a peer: those of its two classes."""
    return train.of_classes(CLASSES_EACH * number, CLASSES_EACH)


def training_seed(seed: int, opening: Opening, setup: Setup) -> int:
    """Another one for each peer in each round."""
    return seed * 10_000 + opening.number * 100 + setup.number


def main(agent: Agent, setup: Setup) -> None:
    Trainer(agent, setup).train()


if __name__ == "__main__":
    run(main)
