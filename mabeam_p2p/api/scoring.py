"""Scores that follow what they measure: a function of the program's is evaluated anew when values
that it may depend on have changed, and what it gives is published if it is something else.

A publication is an entry of the log: there is at most one in PAUSE_SECONDS for each function.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from mabeam_p2p.api.calls import Calls
from mabeam_p2p.api.patterns import matches
from mabeam_p2p.api.results.seats import thousandths
from mabeam_p2p.api.seats import Seats
from mabeam_p2p.api.values import text_of
from mabeam_p2p.errors import Closed, DaemonNotRunning, NoQuorum, OutcomeUnknown, Overloaded

_log = logging.getLogger(__name__)

Scorer = Callable[[], Mapping[str, float] | Awaitable[Mapping[str, float]]]
"""Gives numbers from 0 to 1 by the name of what they measure."""

PAUSE_SECONDS = 1.0


class Scoring:
    """One declared function, from `begin` until `close`."""

    def __init__(
        self, seats: Seats, group: str, seat: str | None, pattern: str, scorer: Scorer
    ) -> None:
        """pattern: of the variables and parameters, by their full names, that it depends on."""
        self._seats = seats
        self._group = group
        self._seat = seat
        self._pattern = pattern
        self._scorer = scorer
        self._calls = Calls("score functions")
        self._changed = asyncio.Event()
        self._published: tuple[tuple[str, int], ...] | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        view = self._seats.attachment.view
        view.variables.watch(self._on_change)
        view.parameters.watch(self._on_change)
        self._task = asyncio.create_task(self._follow(), name=f"score for {self._seat or 'seats'}")

    async def close(self) -> None:
        view = self._seats.attachment.view
        view.variables.unwatch(self._on_change)
        view.parameters.unwatch(self._on_change)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_change(self, name: str) -> None:
        if matches(name, self._pattern):
            self._changed.set()

    async def _follow(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._evaluate()
            except Closed:
                return
            except Exception as error:
                # What was published stands. What is wrong with the cluster may soon be over; what
                # is wrong with the function may be at the next change.
                if isinstance(error, NoQuorum | OutcomeUnknown | Overloaded | DaemonNotRunning):
                    self._changed.set()
                told = f"{type(error).__name__}: {text_of(error)}"
                _log.warning("no new score of %s: %s", self._seats.agent, told)
            await asyncio.sleep(PAUSE_SECONDS)
            await self._changed.wait()

    async def _evaluate(self) -> None:
        scores = await self._calls.call(self._scorer)
        amounts = thousandths(scores, "the score")
        if amounts == self._published:
            return
        timing = self._seats.attachment.timing
        seconds = timing.request_timeout_seconds
        await self._seats.publish(self._group, self._seat, scores, seconds)
        self._published = amounts
