"""What an agent offers to do, and doing it: the worker's side of tasks.

1. What is declared is offered in the log, all together, and offered anew when the agent's session
   was. Nothing runs here that the log has not leased to this agent.
2. The leases are read from the log's state, never from events: what is new there is begun, what is
   there no more is cancelled. So nothing is missed while a daemon is away.
3. A coroutine function runs in the agent's loop, a plain one in a thread of its own. A plain one
   cannot be stopped: what it comes to after its lease has ended is dropped.
4. While anything runs, the agent says so three times in the time of a lease; and at once if the log
   has found it silent.
5. A result is given until the log has taken or refused it. A result that cannot travel is a
   failure, and no further attempt is made; what raises is a failure that may be tried again.
"""

import asyncio
import contextlib
import logging
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.calls import Calls, SelfCancelled
from mabeam_p2p.api.results import decoded
from mabeam_p2p.api.results.tasks import TaskResult
from mabeam_p2p.api.session import CLOSE_SECONDS, Session
from mabeam_p2p.api.streams import Stream
from mabeam_p2p.api.values import microseconds, text_of, whole
from mabeam_p2p.commands import AnyCommand, CompleteTask, FailTask, OfferTasks, RenewTasks
from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    InvalidValue,
    MabeamError,
    NoQuorum,
    Rejected,
)
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, TaskId
from mabeam_p2p.records import Task, TaskError
from mabeam_p2p.requests import Answer, Committed, Failed, Refused, WorkQuery
from mabeam_p2p.wire.cbor import encode_value

_log = logging.getLogger(__name__)

SLOTS = 4
"""Tasks that an agent works on at a time, if it does not say otherwise."""

SETTLE_SECONDS = 60.0
"""How long one question for work waits; then it is asked again."""

RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 2.0
"""Pause before something is said again, doubling from the first to the second."""

MESSAGE_LENGTH_MAX = 1_000
TRACEBACK_LENGTH_MAX = 3_000
"""Characters of an error that travel: the beginning of the one, the end of the other."""

THREADS_MAX = 256
"""Plain functions of one agent that run, or hang, at a time."""

Function = Callable[..., object]
Lease = tuple[TaskId, int]
"""A task and its token."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One function under its name. requires: what its tasks take unless their submitter says."""

    function: Function
    requires: dict[str, int] | None


class Work:
    """See the module. One for each agent, shared by its groups."""

    def __init__(self, attachment: Attachment, session: Session, agent: Callable[[], str]) -> None:
        self._attachment = attachment
        self._session = session
        self._agent = agent
        self._declared: dict[str, Declared] = {}
        self._slots = SLOTS
        self._is_offered = True
        """Whether the log has taken or refused all that is offered."""
        self._is_changed = False
        """Whether something was declared or withdrawn since the last offer was sent."""
        self._fault: MabeamError | None = None
        """Why the last offer was refused."""
        self._offered = asyncio.Event()
        self._offering: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._running: dict[Lease, asyncio.Task[None]] = {}
        self._given: dict[Lease, None] = {}
        """Leases that ended here, while the log's state may still be shown with them."""
        self.streams: weakref.WeakSet[Stream[TaskResult]] = weakref.WeakSet()
        """The maps of the agent, which end with it."""
        self._endings: dict[asyncio.Task[None], None] = {}
        self._calls = Calls("functions of tasks", THREADS_MAX)
        self._is_closed = False

    # ---- offering ----------------------------------------------------------------------------

    def find(self, name: str) -> Declared | None:
        return self._declared.get(name)

    def declare(self, name: str, function: Function, requires: dict[str, int] | None) -> None:
        """Offer `function` under `name`; another one of that name is replaced."""
        most = self._attachment.limits.offers_per_agent_max
        if name not in self._declared and len(self._declared) >= most:
            raise InvalidValue(f"an agent offers at most {most} tasks: declare the rest at others")
        self._declared[name] = Declared(function, requires)
        self._change()

    def withdraw(self, name: str) -> None:
        """Offer `name` no more. What runs goes on."""
        if self._declared.pop(name, None) is not None:
            self._change()

    def set_slots(self, slots: int) -> None:
        most = self._attachment.limits.task_slots_max
        if not 0 <= whole(slots, "slots") <= most:
            raise InvalidValue(f"slots {slots!r}: take 0 to {most}")
        if slots != self._slots:
            self._slots = slots
            self._change()

    async def offered(self) -> None:
        """Return once the log has all that is offered. Raises why it was refused, NoQuorum if that
        takes longer than a request may (it goes on being offered), and Closed."""
        timeout = self._attachment.timing.request_timeout_seconds
        try:
            async with asyncio.timeout(timeout):
                while not self._is_offered and not self._is_closed:
                    self._offered.clear()
                    await self._offered.wait()
        except TimeoutError:
            raise NoQuorum(
                f"peer {self._attachment.peer_name} has not heard within {timeout:g} s that the "
                f"cluster knows what {self._agent()} offers; it goes on being offered: see `mabeam "
                "status` for a quorum, and wait again"
            ) from None
        if self._is_closed:
            raise Closed(f"agent {self._agent()} has been closed")
        if self._fault is not None:
            raise self._fault

    def offer_anew(self) -> None:
        """The session is another one, which has offered nothing yet."""
        if self._declared:
            self._change()

    def forget(self) -> None:
        """The peer has another log: what has been seen of the former one counts for nothing."""
        self._given.clear()
        if self._asking is not None and not self._is_closed:
            self._asking.cancel()
            self._asking = asyncio.create_task(self._ask_for_work(), name="ask for work")

    def see_out(self, ending: "asyncio.Task[None]") -> None:
        """Something that says its last words when the agent closes: closing waits for it, for a
        second at most."""
        self._endings[ending] = None
        ending.add_done_callback(lambda done: self._endings.pop(done, None))

    async def close(self) -> None:
        """Stop. What runs is left to others; what was asked for and is not wanted any more is
        cancelled."""
        self._is_closed = True
        self._offered.set()
        for stream in tuple(self.streams):
            stream.close()
        own = (self._offering, self._asking, self._renewing, self._speaking)
        tasks = [*filter(None, own), *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                # A map that ends leaves the cancelling of its tasks.
                while self._endings:
                    await asyncio.wait(tuple(self._endings))

    def _change(self) -> None:
        self._is_offered = False
        self._is_changed = True
        if self._is_closed or (self._offering is not None and not self._offering.done()):
            return
        self._offering = asyncio.create_task(self._offer(), name="offer tasks")

    async def _offer(self) -> None:
        lease = microseconds(self._attachment.timing.task_lease_seconds)
        pause = RETRY_SECONDS
        while self._is_changed:
            # What is declared meanwhile makes it true again.
            self._is_changed = False
            names = tuple(sorted(self._declared))
            command = OfferTasks(CLUSTER_SESSION, 0, names, self._slots, lease)
            answer = await self._say(command)
            match answer:
                case Committed():
                    self._fault = None
                    pause = RETRY_SECONDS
                case Refused():
                    self._fault = self._attachment.error(answer, f"offering {len(names)} tasks")
                    _log.warning("%s", self._fault)
                case _:
                    self._is_changed = True
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RETRY_SECONDS_MAX)
        self._is_offered = True
        self._offered.set()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_for_work(), name="ask for work")

    # ---- what is leased ----------------------------------------------------------------------

    async def _ask_for_work(self) -> None:
        loop = asyncio.get_running_loop()
        seen_index = 0
        while True:
            query = WorkQuery(AgentId(self._agent()), seen_index)
            try:
                found = await self._attachment.settled(
                    query, "asking for work", loop.time() + SETTLE_SECONDS
                )
            except Closed:
                return
            except MabeamError as error:
                _log.info("%s", error)
                await asyncio.sleep(RETRY_SECONDS_MAX)
                continue
            if found is not None:
                worker = found.workers[0]
                seen_index = worker.changed_index
                self._take_in(found.tasks)
                if worker.is_silent and (self._speaking is None or self._speaking.done()):
                    # Nothing would be leased to it before it is heard of.
                    self._speaking = asyncio.create_task(self._speak_up(), name="renew tasks")

    def _take_in(self, leased: tuple[Task, ...]) -> None:
        """Begin what is new, and let go of what is no longer ours."""
        leases = {(task.id, task.token): task for task in leased}
        for lease, running in self._running.items():
            if lease not in leases:
                running.cancel()
        self._given = {lease: None for lease in self._given if lease in leases}
        for lease, task in leases.items():
            if lease not in self._running and lease not in self._given:
                self._running[lease] = asyncio.create_task(
                    self._work(task), name=f"task {task.id} {task.order.name}"
                )
        if self._running and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew(), name="renew tasks")

    async def _speak_up(self) -> None:
        await self._give(RenewTasks(CLUSTER_SESSION, 0))

    async def _renew(self) -> None:
        pause = self._attachment.timing.task_lease_seconds / 3
        await asyncio.sleep(pause)
        while self._running:
            await self._say(RenewTasks(CLUSTER_SESSION, 0))
            await asyncio.sleep(pause)

    # ---- one task ----------------------------------------------------------------------------

    async def _work(self, task: Task) -> None:
        lease = task.id, task.token
        try:
            report = await self._attempt(task)
            await self._give(report)
        finally:
            del self._running[lease]
            self._given[lease] = None

    async def _attempt(self, task: Task) -> AnyCommand:
        """Run it; what is to be said of it."""
        declared = self._declared.get(task.order.name)
        if declared is None:
            error = TaskError("LookupError", f"{self._agent()} offers it no more", "")
            return _failed(task, error)
        try:
            positional, keyword = decoded(task.order.argument)
            value: object = await self._calls.call(
                partial(declared.function, *positional, **keyword)
            )
        except SelfCancelled as error:
            return _failed(task, TaskError("CancelledError", str(error), ""))
        except Exception as error:
            return _failed(task, told(error))
        try:
            result = encode_value(value, self._attachment.limits.task_result_bytes_max)
        except InvalidValue as error:
            message = f"what it returned cannot travel: {error}"[:MESSAGE_LENGTH_MAX]
            return _failed(task, TaskError("InvalidValue", message, ""), is_final=True)
        return CompleteTask(CLUSTER_SESSION, 0, task.id, task.token, result)

    async def _give(self, report: AnyCommand) -> None:
        """Until the log has taken or refused it."""
        pause = RETRY_SECONDS
        while True:
            answer = await self._say(report)
            if isinstance(answer, Committed):
                return
            if isinstance(answer, Refused):
                # Another agent is at it, or it has ended: a result is not wanted.
                _log.info("%s was refused: %s", type(report).__name__, answer.detail)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _say(self, command: AnyCommand) -> Answer:
        """The answer; Failed if there was none."""
        try:
            return await self._session.ask(command, self._attachment.timing.request_timeout_seconds)
        except (DaemonNotRunning, Rejected) as error:
            return Failed("no_quorum", str(error))
        except InvalidValue as error:
            # It would be so each time.
            return Refused("invalid", str(error))
        except Closed:
            raise asyncio.CancelledError from None
        except MabeamError as error:
            return Failed("unknown", str(error))


def told(error: BaseException) -> TaskError:
    """As much of it as travels."""
    message = _text(text_of(error))
    lines = traceback.format_exception(error)
    return TaskError(
        type(error).__qualname__[:MESSAGE_LENGTH_MAX],
        message[:MESSAGE_LENGTH_MAX],
        _text("".join(lines))[-TRACEBACK_LENGTH_MAX:],
    )


def _text(text: str) -> str:
    """Fit for UTF-8, in no more bytes than a character has at most."""
    return text.encode(errors="replace").decode()


def _failed(task: Task, error: TaskError, is_final: bool = False) -> FailTask:
    return FailTask(CLUSTER_SESSION, 0, task.id, task.token, error, is_final)
