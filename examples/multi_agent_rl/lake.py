"""The lake and one agent's learning: FrozenLake 8x8 without slipping, tabular Q with a count bonus.

An agent without a map walks from one corner; the goal is in the other, 14 steps away, with holes
between. Nothing is rewarded before the goal is reached, so what is learned first is where nobody
has been yet: an action that was tried fewer than KNOWN_COUNT times is worth a bonus (Brafman and
Tennenholtz 2002, R-MAX), discounted by the way to it. Both tables are learned by replaying what is
known (Sutton 1990, Dyna): every step that any agent has shared.
"""

import random
from collections.abc import Iterable
from typing import NamedTuple

import gymnasium

STATES, ACTIONS = 64, 4
STEPS_MAX = 19
"""Of one walk: five more than the shortest way to the goal has."""
DISCOUNT = 0.95
BONUS = 1.0
BONUS_DISCOUNT = 0.6
"""What is untried nearby is worth more than what is far away."""
KNOWN_COUNT = 1
"""Tries after which an action is known: on ice that does not slip, one tells all."""
SWEEPS = 20
RATE_LOW, RATE_HIGH = 0.1, 0.25
"""Share of steps at random that an agent can wish for."""
RATE_FIRST = 0.2
RATE_TOLERANCE = 0.04
"""How far from an agent's own wish a rate may be for it to accept."""


class Step(NamedTuple):
    state: int
    action: int
    reward: int
    is_end: int
    next_state: int


class Lake:
    """The environment of one agent."""

    def __init__(self) -> None:
        self._lake = gymnasium.make("FrozenLake-v1", map_name="8x8", is_slippery=False)

    def begin(self) -> int:
        """The state at the start."""
        state, _ = self._lake.reset(seed=0)
        return int(state)

    def step(self, state: int, action: int) -> Step:
        following, reward, ended, _, _ = self._lake.step(action)
        return Step(state, action, round(float(reward)), int(ended), int(following))


class Learner:
    """What is known of the lake, and how an agent walks by it.

    Equal steps in equal order make equal tables: no agent's own chance is in them.
    """

    def __init__(self) -> None:
        self.values = [[0.0] * ACTIONS for _ in range(STATES)]
        """Reward to come."""
        self.counts = [[0] * ACTIONS for _ in range(STATES)]
        self._bonuses = [[BONUS] * ACTIONS for _ in range(STATES)]
        """What is untried, here or on the way."""
        self._known: dict[tuple[int, int], Step] = {}

    def walk(self, lake: Lake, rate: float, draw: random.Random) -> list[Step]:
        """One walk from the start. rate: share of steps at random."""
        steps: list[Step] = []
        state = lake.begin()
        while len(steps) < STEPS_MAX:
            step = lake.step(state, self._choice(state, rate, draw))
            steps.append(step)
            if step.is_end:
                break
            state = step.next_state
        return steps

    def learn(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.counts[step.state][step.action] += 1
            self._known[step.state, step.action] = step
        for _ in range(SWEEPS):
            # The newest first: what they lead to is known already.
            for (state, action), step in reversed(self._known.items()):
                going_on = 0.0 if step.is_end else 1.0
                ahead = going_on * DISCOUNT * max(self.values[step.next_state])
                self.values[state][action] = step.reward + ahead
                here = BONUS if self.counts[state][action] < KNOWN_COUNT else 0.0
                there = going_on * BONUS_DISCOUNT * max(self._bonuses[step.next_state])
                self._bonuses[state][action] = max(here, there)

    def is_known(self, step: Step) -> bool:
        return self.counts[step.state][step.action] >= KNOWN_COUNT

    def solves(self, lake: Lake) -> bool:
        """Whether the best known way, without chance, leads to the goal."""
        state = lake.begin()
        for _ in range(STATES):
            values = self.values[state]
            if max(values) <= 0.0:
                return False
            step = lake.step(state, values.index(max(values)))
            if step.is_end:
                return step.reward > 0
            state = step.next_state
        return False

    def _choice(self, state: int, rate: float, draw: random.Random) -> int:
        if draw.random() < rate:
            return draw.randrange(ACTIONS)
        worth = [
            value + bonus
            for value, bonus in zip(self.values[state], self._bonuses[state], strict=True)
        ]
        best = max(worth) - 1e-9
        return draw.choice([action for action in range(ACTIONS) if worth[action] >= best])


def draw_of(seed: int, agent: int) -> random.Random:
    return random.Random(f"{seed}/{agent}")


def wish(learner: Learner, steps: list[Step]) -> float:
    """The rate that an agent would take next: the less it found on its last walk, the higher.

    learner: as it was before it learned of the walk.
    """
    known_share = sum(map(learner.is_known, steps)) / len(steps)
    return round(RATE_LOW + (RATE_HIGH - RATE_LOW) * known_share, 3)


def accepts(own_wish: float, rate: float) -> bool:
    return abs(rate - own_wish) <= RATE_TOLERANCE + 1e-9


def alone(seed: int, agent: int, rounds: int) -> int | None:
    """The round in which an agent that shares with nobody has solved the lake, if it does."""
    lake, learner, draw = Lake(), Learner(), draw_of(seed, agent)
    rate = RATE_FIRST
    for number in range(1, rounds + 1):
        steps = learner.walk(lake, rate, draw)
        rate = wish(learner, steps)
        learner.learn(steps)
        if learner.solves(lake):
            return number
    return None


def packed(steps: list[Step]) -> bytes:
    """Two bytes for each step."""
    return bytes(
        byte
        for step in steps
        for byte in (
            step.state << 2 | step.action,
            step.next_state << 2 | step.reward << 1 | step.is_end,
        )
    )


def unpacked(data: bytes) -> list[Step]:
    return [
        Step(first >> 2, first & 3, second >> 1 & 1, second & 1, second >> 2)
        for first, second in zip(data[::2], data[1::2], strict=True)
    ]
