"""A model that nobody could train alone."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from examples.common.rounds import Rounds
from examples.federated_training.model import LOCAL_EPOCHS, Data, Model, digits
from examples.federated_training.trainer import LEAVES_AFTER, RETURNS_AT, needed, own_part
from mabeam_p2p import JournalItem
from mabeam_p2p.blocking import Agent
from tests.examples.examples import run, shown


def test_each_peer_has_two_classes_and_all_of_them() -> None:
    train, test = digits(8, seed=0)
    parts = [own_part(train, number) for number in range(4)]
    assert [sorted(set(part.labels.tolist())) for part in parts] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert sum(len(part.labels) for part in parts) == len(train.labels)
    assert set(test.labels.tolist()) == set(range(8))
    assert 0.2 < len(test.labels) / (len(test.labels) + len(train.labels)) < 0.3


def test_equal_seeds_train_equal_models_and_others_do_not() -> None:
    train, _ = digits(4, seed=0)
    few = Data(train.images[:64], train.labels[:64])
    models = [Model.first(4, seed=1) for _ in range(3)]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        model.train(few, 1, seed)
    digests = [model.digest for model in models]
    assert digests[0] == digests[1] != digests[2]
    assert Model(4, models[0].weights).digest == digests[0]


def test_a_model_is_its_own_copy_of_the_weights() -> None:
    weights = np.zeros_like(Model.first(4, seed=1).weights)
    model = Model(4, weights)
    model.train(digits(4, seed=0)[0], 1, seed=2)
    assert not weights.any()
    assert model.weights.any()


@pytest.mark.slow
def test_the_average_learns_what_nobody_has() -> None:
    """Without the network: what the example shows is in the learning."""
    train, test = digits(8, seed=0)
    parts = [own_part(train, number) for number in range(4)]
    sizes = [len(part.labels) for part in parts]
    common = Model.first(8, seed=0)
    for number in range(8):
        trained = [Model(8, common.weights) for _ in parts]
        for model, part in zip(trained, parts, strict=True):
            model.train(part, LOCAL_EPOCHS, number)
        weights = np.average([model.weights for model in trained], axis=0, weights=sizes)
        common = Model(8, weights)
    assert common.accuracy(test) > 0.88
    assert max(model.accuracy(test) for model in trained) < common.accuracy(test)


def test_a_round_waits_for_whoever_should_be_there() -> None:
    assert [needed(number, 4) for number in (1, LEAVES_AFTER)] == [4, 4]
    assert [needed(number, 4) for number in (LEAVES_AFTER + 1, RETURNS_AT - 1)] == [3, 3]
    assert needed(RETURNS_AT, 4) == 4


class Coordinator:
    """Stands in for an agent that coordinates, and finds these agents there, one look after the
    other. Its own journal, too."""

    id = "ada@ada"

    def __init__(self, *looks: tuple[str, ...]) -> None:
        self._looks = iter(looks)
        self._items: list[JournalItem] = []

    def journal(self, name: str) -> "Coordinator":
        return self

    def events(self, *patterns: str) -> "itertools.repeat[None]":
        return itertools.repeat(None)

    def elect(self, seat: str, *, among: str) -> SimpleNamespace:
        return SimpleNamespace(is_me=True)

    def read_agents(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(id=agent) for agent in next(self._looks)]

    def read(self, position: int) -> list[JournalItem]:
        return self._items[position - 1 :]

    def append(self, value: object) -> None:
        self._items.append(JournalItem(len(self._items) + 1, value))


@pytest.mark.parametrize("first", [("ada@ada",), ("ada@ada", "bela@bela", "chen@chen")])
def test_a_round_begins_when_all_are_there_and_who_is_to_be_gone_is_gone(
    first: tuple[str, ...],
) -> None:
    then = ("ada@ada", "bela@bela")
    agent = cast(Agent, Coordinator(first, then))
    opening = Rounds(agent, "rounds", 5, lambda number: 2, stands=True).opened()
    assert opening is not None
    assert opening.parties == then


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--kill", "--no-kill"])
def test_example_keeps_its_claims_when_a_peer_is_gone_for_three_rounds(
    tmp_path: Path, how: str
) -> None:
    facts, said = shown("federated_training", tmp_path, "--quick", how)
    assert facts["gone"] in said
    assert ("killed" in said) == (how == "--kill")
    last = facts["rounds"][-1]
    assert last["round"] == 10
    assert len({one["digest"] for one in last["told"].values()}) == 1
    assert len(last["told"]) == 4


@pytest.mark.slow
def test_more_peers_than_digits_are_refused_in_words(tmp_path: Path) -> None:
    done = run("federated_training", tmp_path, "--peers", "6")
    assert done.returncode == 1
    assert "there are 10 digits" in done.stderr
