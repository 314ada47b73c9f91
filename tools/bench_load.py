"""The load of the bench, the same for every contender: a closed loop of appends of ITEM.

A contender is a few processes that answer the bench's orders, one line of JSON each. The load
runs inside the process that is told to run it, as an application would embed the library.
"""

import time
from collections.abc import Callable
from statistics import quantiles

import msgspec
from msgspec import Struct

from tools.children import hear, say

ITEM = b"0123456789"
WARM_SECONDS = 0.4
"""Of a run, before what is counted."""


class Role(Struct, frozen=True, tag=True):
    """Which part do you play? Answer: a word."""


class Processor(Struct, frozen=True, tag=True):
    """Answer: the seconds that this process has computed, by the operating system's account."""


class Run(Struct, frozen=True, tag=True):
    """Keep so many operations under way for so long. Answer: Sample."""

    outstanding: int
    seconds: float


Order = Role | Processor | Run


class Sample(Struct, frozen=True):
    """One run."""

    operations: int
    """All that have ended, those of the warm-up included."""
    failures: int
    per_second: float
    """Ended in the counted time."""
    p50: float
    """Seconds from the call to the answer; of those counted."""
    p99: float


class Recorder:
    """What happens in one run."""

    def __init__(self, run: Run) -> None:
        self.outstanding = run.outstanding
        self._seconds = run.seconds
        self._counted_from = time.perf_counter() + WARM_SECONDS
        self._counted_to = self._counted_from + run.seconds
        self._latencies: list[float] = []
        self._operations = 0
        self._failures = 0

    def ended(self, began: float, is_done: bool) -> bool:
        """An operation that began at `began` has ended. Whether another one shall begin."""
        now = time.perf_counter()
        self._operations += 1
        if not is_done:
            self._failures += 1
        if now > self._counted_to:
            return False
        if now >= self._counted_from:
            self._latencies.append(now - began)
        return True

    def sample(self) -> Sample:
        # Whoever ended nothing in the counted time took at least that long.
        latencies = self._latencies or [self._seconds]
        cuts = quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else []
        return Sample(
            operations=self._operations,
            failures=self._failures,
            per_second=len(self._latencies) / self._seconds,
            p50=cuts[49] if cuts else latencies[0],
            p99=cuts[98] if cuts else latencies[0],
        )


def drive(
    recorder: Recorder,
    submit: Callable[[Callable[[bool], None]], None],
    finished: Callable[[Sample], None],
) -> None:
    """Begin the load. submit: starts one operation; its argument is to be called at the end, on
    the same thread, never from within `submit`."""
    under_way = recorder.outstanding

    def begin() -> None:
        began = time.perf_counter()

        def end(is_done: bool) -> None:
            nonlocal under_way
            if recorder.ended(began, is_done):
                begin()
                return
            under_way -= 1
            if not under_way:
                finished(recorder.sample())

        submit(end)

    for _ in range(recorder.outstanding):
        begin()


def hear_orders(receive: Callable[[Order], None]) -> None:
    """In a contender: `receive` gets each order, on a thread of its own."""
    decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
    hear(lambda line: receive(decoder.decode(line)))


def reply(answer: str | float | Sample) -> None:
    say(msgspec.json.encode(answer))


def processor_seconds() -> float:
    return time.process_time()
