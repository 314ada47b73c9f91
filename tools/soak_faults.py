"""What befalls the peers of a soak: who is killed or paused, which links fail, and for how long.

Drawn from the seed, but for what depends on who leads. Peers are known by number.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tools.soak_links import Link, Links

KILLS = {"one": 8, "leader": 6, "two": 3, "all": 1}
PAUSES = {"one": 4, "leader": 5, "two": 2, "all": 1}
"""How often each kind is drawn."""
PAUSE_SECONDS = (0.2, 8.0)
PARTITION_SECONDS = (0.3, 6.0)
FLAPS_MAX = 6
FLAP_SECONDS = (0.1, 0.9)
DELAY_SECONDS = (0.01, 0.25)
RESETS_MAX = 8


def victims(kind: str, running: Sequence[int], leader: int | None, count: int, random: Random) -> (
    list[int]
):  # fmt: skip
    """Whom a kill or a pause of this kind meets, of `count` peers; a minority, unless `all`."""
    if kind == "all":
        return list(running)
    if kind == "leader" and leader is not None:
        return [leader]
    minority = max(1, (count - 1) // 2)
    return random.sample(list(running), min(2 if kind == "two" else 1, minority, len(running)))


def log_uniform(random: Random, bounds: tuple[float, float]) -> float:
    """As often in each doubling."""
    low, high = bounds
    return float(low * (high / low) ** random.random())


class Weather(NamedTuple):
    """A fault of links: `begin` starts it and returns what lets it go on, or None."""

    name: str
    begin: Callable[[Links, int, int | None, Random], "Flapping | None"]
    weight: int


class Flapping(NamedTuple):
    """Links that fail and heal again and again."""

    links: list[Link]
    times: int

    async def run(self, random: Random) -> None:
        for _ in range(self.times):
            for link in self.links:
                link.cut()
            await asyncio.sleep(random.uniform(*FLAP_SECONDS))
            for link in self.links:
                link.heal(reset=random.random() < 0.5)
            await asyncio.sleep(random.uniform(*FLAP_SECONDS))


def _cut(links: Links, one: Sequence[int], other: Sequence[int]) -> None:
    for link in links.between(one, other) + links.between(other, one):
        link.cut()


def _shuffled(count: int, random: Random) -> list[int]:
    order = list(range(count))
    random.shuffle(order)
    return order


def _one(count: int, leader: int | None, random: Random) -> int:
    """The leader, mostly."""
    drawn = random.randrange(count)
    return leader if leader is not None and random.random() < 0.7 else drawn


def halves(links: Links, count: int, leader: int | None, random: Random) -> None:
    """A minority and a majority, in which the leader may be on either side."""
    order = _shuffled(count, random)
    size = random.randint(1, max(1, (count - 1) // 2))
    _cut(links, order[:size], order[size:])


def isolated(links: Links, count: int, leader: int | None, random: Random) -> None:
    """One is alone."""
    alone = _one(count, leader, random)
    _cut(links, [alone], [peer for peer in range(count) if peer != alone])


def nobody(links: Links, count: int, leader: int | None, random: Random) -> None:
    """Everybody is alone: no majority is left."""
    _cut(links, range(count), range(count))


def ring(links: Links, count: int, leader: int | None, random: Random) -> None:
    """Each hears its two neighbours alone; of three, a chain."""
    order = _shuffled(count, random)
    if count == 3:
        _cut(links, order[:1], order[2:])
        return
    for place, peer in enumerate(order):
        near = {order[place - 1], order[(place + 1) % count], peer}
        _cut(links, [peer], [other for other in order if other not in near])


def bridge(links: Links, count: int, leader: int | None, random: Random) -> None:
    """Two sides that do not hear each other, and one that hears both."""
    _, *order = _shuffled(count, random)
    half = len(order) // 2
    _cut(links, order[:half], order[half:])


def deaf(links: Links, count: int, leader: int | None, random: Random) -> None:
    """One is heard, and hears nobody."""
    target = _one(count, leader, random)
    for link in links.between(range(count), [target]):
        link.cut()


def mute(links: Links, count: int, leader: int | None, random: Random) -> None:
    """One hears everybody, and is not heard."""
    source = _one(count, leader, random)
    for link in links.between([source], range(count)):
        link.cut()


def half_open(links: Links, count: int, leader: int | None, random: Random) -> None:
    """On some links one direction of bytes stops: words without heartbeats, or the reverse."""
    for link in links.all():
        drawn = random.random()
        if drawn < 0.25:
            link.words.hold()
        elif drawn < 0.5:
            link.answers.hold()


def slow(links: Links, count: int, leader: int | None, random: Random) -> None:
    """Some links, or all those of one peer, take their time."""
    one = _one(count, leader, random)
    near = links.between([one], range(count)) + links.between(range(count), [one])
    delay = log_uniform(random, DELAY_SECONDS)
    for link in near if random.random() < 0.5 else links.all():
        if random.random() < 0.8:
            link.words.delay_seconds = delay * random.random()
            link.answers.delay_seconds = delay * random.random()


def resets(links: Links, count: int, leader: int | None, random: Random) -> None:
    """Connections break, and are made anew at once."""
    for link in random.sample(links.all(), min(RESETS_MAX, len(links.all()))):
        link.reset()


def flapping(links: Links, count: int, leader: int | None, random: Random) -> Flapping:
    """One is cut off and is back, again and again."""
    one, everybody = _one(count, leader, random), range(count)
    near = links.between([one], everybody) + links.between(everybody, [one])
    return Flapping(near, random.randint(2, FLAPS_MAX))


WEATHERS = (
    Weather("halves", halves, 4),
    Weather("isolated", isolated, 4),
    Weather("nobody", nobody, 2),
    Weather("ring", ring, 2),
    Weather("bridge", bridge, 2),
    Weather("deaf", deaf, 2),
    Weather("mute", mute, 2),
    Weather("half_open", half_open, 2),
    Weather("slow", slow, 2),
    Weather("resets", resets, 2),
    Weather("flapping", flapping, 2),
)
PARTITIONS = ("halves", "isolated", "nobody", "ring", "bridge", "deaf", "mute", "flapping")
"""Those that count as partitions."""
