"""Putting agreed values into effect, and saying so where the cluster waits for it.

1. An applier is called with each new value of the parameters that match, the most specific pattern
   alone; of values that come while it runs only the last one is taken.
2. A guarded version is confirmed when the applier has returned, or at once where there is none. If
   it raises, the failure is told with its text, and the cluster goes back to the value before. It
   is said until it gets through or is refused, or there is a newer version.
3. Nothing is said before `begin`, and where there is no applier not for a while after it: the
   program declares its appliers when joining has returned.
4. Each version is put into effect once, also one of which no event told: after a lost connection,
   or lost events, versions that are newer than what was heard are taken from the view. Of a guarded
   one the view goes on to say that it is waited for, as it is not told of confirmations: once it
   was heard, that starts nothing. Of another log everything is new.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from mabeam_p2p.api.calls import Calls
from mabeam_p2p.api.evaluators import SETTLING_SECONDS
from mabeam_p2p.api.insisting import insistently
from mabeam_p2p.api.patterns import Patterns
from mabeam_p2p.api.results import Change, decoded
from mabeam_p2p.api.values import text_of
from mabeam_p2p.errors import Closed, MabeamError
from mabeam_p2p.records import Parameter

_log = logging.getLogger(__name__)

Applier = Callable[[Change], object | Awaitable[object]]

Confirm = Callable[[Parameter, bool, str], Awaitable[None]]
"""Tells the cluster whether the version took hold, and what was wrong."""


class Appliers:
    """The appliers of one agent. awaits: whether the cluster waits for it to confirm this
    version, as far as is known: not if there is a newer one."""

    def __init__(self, confirm: Confirm, awaits: Callable[[Parameter], bool]) -> None:
        self._confirm = confirm
        self._awaits = awaits
        self._calls = Calls("appliers")
        self._declared: Patterns[Applier] = Patterns()
        self._latest: dict[str, Parameter] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._heard: dict[str, int] = {}
        """The last version of each parameter that was heard of."""
        self._settled_at: float | None = None

    def declare(self, pattern: str, applier: Applier) -> None:
        self._declared.declare(pattern, applier)

    def begin(self, known: Iterable[Parameter]) -> None:
        """The program has its agent. known: what was agreed before, of which that counts as heard
        which the cluster does not wait for. Whoever calls this tells then all of it."""
        self._settled_at = asyncio.get_running_loop().time() + SETTLING_SECONDS
        self._heard = {one.name: one.version for one in known if not self._awaits(one)}

    def changed(self, parameter: Parameter) -> None:
        """This is agreed, as an event has told or the view that was read anew."""
        if self._settled_at is None or parameter.version <= self._heard.get(parameter.name, 0):
            return
        self._heard[parameter.name] = parameter.version
        self._take(parameter)

    def forget(self) -> None:
        """Another log has begun: all that it has agreed is put into effect, whatever is heard of
        it first."""
        self._heard.clear()

    def _take(self, parameter: Parameter) -> None:
        if self._declared.find(parameter.name) is None and not self._awaits(parameter):
            return
        self._latest[parameter.name] = parameter
        if parameter.name not in self._running:
            task = asyncio.create_task(self._work(parameter.name), name=f"apply {parameter.name}")
            self._running[parameter.name] = task

    async def close(self) -> None:
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, name: str) -> None:
        try:
            while (parameter := self._latest.pop(name, None)) is not None:
                await self._apply(parameter)
        except Closed:
            return
        finally:
            del self._running[name]

    async def _apply(self, parameter: Parameter) -> None:
        applier = self._declared.find(parameter.name)
        if applier is None:
            assert self._settled_at is not None
            await asyncio.sleep(max(0.0, self._settled_at - asyncio.get_running_loop().time()))
            applier = self._declared.find(parameter.name)
        fault = ""
        if applier is not None:
            change = Change(parameter.name, decoded(parameter.value), parameter.version, False)
            try:
                await self._calls.call(partial(applier, change))
            except Exception as error:
                fault = f"the applier raised {type(error).__name__}: {text_of(error)}"
                _log.warning("parameter %s version %d: %s", change.name, change.version, fault)
        try:
            await insistently(
                partial(self._confirm, parameter, not fault, fault),
                lambda: self._awaits(parameter),
            )
        except Closed:
            raise
        except MabeamError as error:
            name, version = parameter.name, parameter.version
            _log.info("version %d of %s not confirmed: %s", version, name, error)
