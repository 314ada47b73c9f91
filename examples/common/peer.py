"""One process of an example: a peer that has joined, and what it tells whoever started it."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from mabeam_p2p import (
    BarrierBroken,
    ElectionTimeout,
    MabeamTimeout,
    NoQuorum,
    Overloaded,
    blocking,
)
from mabeam_p2p.blocking import Agent
from tools.children import say

T = TypeVar("T")

JOIN_SECONDS = 60.0
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 60.0
"""How long a leader is waited for, or somebody who may be starting on a busy machine."""


class Setup(Struct, frozen=True):
    """What a process is told at its start. task: of its example alone."""

    name: str
    names: tuple[str, ...]
    cluster: str
    listen: str
    seeds: tuple[str, ...]
    folder: str
    task: dict[str, Any]

    @property
    def number(self) -> int:
        return self.names.index(self.name)


def tell(event: str, **facts: object) -> None:
    say(msgspec.json.encode({"event": event, **facts}))


def run(main: Callable[[Agent, Setup], None]) -> None:
    """Join as the one argument says, do `main`, and leave when all have done theirs: the last ones
    would miss the first that leaves. End with whoever started this process."""
    all_done = threading.Event()
    threading.Thread(target=_hear, args=(all_done,), name="parent", daemon=True).start()
    logging.basicConfig(level=logging.WARNING)
    setup = msgspec.json.decode(sys.argv[1], type=Setup)
    with blocking.join(
        setup.name,
        cluster=setup.cluster,
        listen=setup.listen,
        seeds=setup.seeds,
        expect=len(setup.names),
        data_dir=setup.folder,
        mdns=False,
        timeout=JOIN_SECONDS,
    ) as agent:
        main(agent, setup)
        tell("done")
        all_done.wait()


def _hear(all_done: threading.Event) -> None:
    """The parent holds the other end, and writes a line when all are done. It ends with it."""
    while os.read(0, 4_096):
        all_done.set()
    os.kill(os.getpid(), signal.SIGKILL)


def patiently(ask: Callable[[], T]) -> T:
    """The answer, asked for again while there is no leader: it was certainly not done then. An
    election that came to no end in time is another case where asking again does no harm."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (NoQuorum, Overloaded, ElectionTimeout):
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)


class Meeting:
    """The parties of an example, who meet at one barrier after the other.

    Who is killed between two meetings is missed at the next one, which ends without it at its
    deadline. What the log says of that is the same for all: those who came are the parties from
    then on, so nobody has to guess who is gone.
    """

    def __init__(self, agent: Agent, parties: int) -> None:
        self._agent = agent
        self._count = parties

    def meet(self, name: str, seconds: float) -> tuple[str, ...]:
        """Return who came, once all have, or once `seconds` have passed since the first came."""
        barrier = self._agent.barrier(
            name, parties=self._count, timeout=seconds, on_departure="shrink"
        )
        # Listened to before arriving: with a change of leader the end may come after this agent has
        # given up waiting, and then the log tells it.
        ends = self._agent.events("barrier.released", "barrier.broken")
        try:
            came = patiently(barrier.wait).parties
        except BarrierBroken as error:
            came = error.arrived
        except MabeamTimeout:
            came = next(tuple(e.facts["arrived"]) for e in ends if e.facts["barrier"] == name)
        finally:
            ends.close()
        if self._agent.id not in came:
            raise RuntimeError(f"the others have met at {name!r} without {self._agent.id}")
        self._count = len(came)
        return came


def leader_of(agent: Agent) -> str:
    """Name of the peer that leads the log; empty while there is none."""
    return agent.leader.name if agent.leader else ""
