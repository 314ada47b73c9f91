"""A peer on a thread and loop of its own, so that a training step that blocks the application
does not silence the peer.

Rules
1. Whatever crosses goes through a deque; the first entry wakes the other side, the others ride
   along. That is one wake-up for a batch, not for an operation.
2. On the way back events are delivered before answers that are younger: who has the answer finds
   in its own tables what led to it.
3. Answers are never dropped. Events that a blocked loop does not take are bounded: the oldest
   leave, counted, and the listener is told.
4. Whatever is asked gets an answer, Closed, or OutcomeUnknown for what has effects and is under
   way, whenever the peer ends. In a forked child it has ended (`forks`).
"""

import asyncio
import atexit
import logging
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Thread, get_ident

from mabeam_p2p import forks
from mabeam_p2p.errors import Closed, Overloaded
from mabeam_p2p.events import Dropped, Event
from mabeam_p2p.ids import PeerId
from mabeam_p2p.requests import Request
from mabeam_p2p.runtime.backend import Asked
from mabeam_p2p.runtime.driver import Driver, Reply
from mabeam_p2p.runtime.endings import closed, under_way

EXIT_SECONDS_MAX = 3.0
"""How long the end of the interpreter waits for a peer to leave its cluster."""

CROSSINGS_MAX = 1024
"""Requests admitted in one turn, so that a flood of them does not silence the peer."""

_log = logging.getLogger(__name__)

Crossing = Callable[[Driver | None], None]
"""Runs on the peer's thread with the driver, or, once that has ended, anywhere with None."""


class PeerThread:
    """Builds a driver, runs it and closes it, all on one thread.

    build: called on that thread; what it raises, `start` raises.
    """

    def __init__(self, build: Callable[[], Driver]) -> None:
        self.failure: BaseException | None = None
        """What stopped the peer against its will."""
        self.has_ended = False
        """Whether nothing can be asked any more."""
        self._build = build
        self._driver: Driver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: deque[Crossing] = deque()
        self._is_woken = False
        self._started: Future[Driver] = Future()
        self._ended: Future[None] = Future()
        self._backends: weakref.WeakSet[ThreadBackend] = weakref.WeakSet()
        self._thread = Thread(target=self._run, name="mabeam-peer", daemon=True)

    async def start(self) -> None:
        """Return once the peer takes part. Raises AddressError, StorageError. Call once."""
        _running.add(self)
        forks.watch(self)
        self._thread.start()
        try:
            await asyncio.shield(asyncio.wrap_future(self._started))
        except asyncio.CancelledError:
            self.cross(_begin_close)
            raise

    def backend(self) -> "ThreadBackend":
        """A view of the peer for the running loop, which need not be the one that started it."""
        driver = self._started.result(timeout=0)
        backend = ThreadBackend(self, driver, asyncio.get_running_loop())
        self._backends.add(backend)
        return backend

    async def close(self) -> None:
        """Leave the cluster and end the thread. Bounded in time; idempotent."""
        self.cross(_begin_close)
        await asyncio.shield(asyncio.wrap_future(self._ended))

    def stop(self, seconds: float) -> None:
        """As close, without a loop; waits for `seconds` at most."""
        self.cross(_begin_close)
        with suppress(TimeoutError):
            self._ended.result(timeout=seconds)

    def cross(self, crossing: Crossing) -> None:
        """Run `crossing` on the peer's thread, in order. Callable from every thread."""
        self._inbox.append(crossing)
        if self.has_ended:
            self._refuse()
        elif not self._is_woken:
            self._is_woken = True
            loop = self._loop
            if loop is not None:  # Else the driver's start looks into the inbox.
                try:
                    loop.call_soon_threadsafe(self._admit)
                except RuntimeError:  # Closed between the two lines.
                    self._refuse()

    def forget(self) -> None:
        """In a forked child: the thread is gone, and nothing can be asked of it."""
        self.has_ended = True
        self._inbox.clear()
        _running.discard(self)
        # Another one: the lock of this one may be held by a thread that is gone.
        self._ended = Future()
        self._ended.set_result(None)
        for backend in tuple(self._backends):
            backend.forget()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._started.done():
                self.failure = error
            else:
                self._started.set_exception(error)
        finally:
            # In this order: whoever asks from now on sees the end, or is seen here.
            self.has_ended = True
            self._refuse()
            self._ended.set_result(None)
            _running.discard(self)

    async def _serve(self) -> None:
        self._driver = driver = self._build()
        await driver.start()
        self._loop = asyncio.get_running_loop()
        self._started.set_result(driver)
        self._admit()
        await driver.wait_stopped()

    def _admit(self) -> None:
        # First: what arrives while this runs wakes once more, or is still met by it.
        self._is_woken = False
        assert self._driver is not None
        assert self._loop is not None
        for _ in range(min(len(self._inbox), CROSSINGS_MAX)):
            self._inbox.popleft()(self._driver if self._driver.is_running else None)
        if self._inbox and not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._admit)

    def _refuse(self) -> None:
        # Several threads may be here; each entry leaves the deque once.
        with suppress(IndexError):
            while True:
                self._inbox.popleft()(None)


class ThreadBackend:
    """The Backend of `ports` for one application loop. Made by PeerThread.backend."""

    def __init__(self, thread: PeerThread, driver: Driver, loop: asyncio.AbstractEventLoop) -> None:
        self.peer: PeerId = driver.peer
        self.peer_name = driver.name
        self.cluster = driver.cluster
        self.events_dropped = 0
        """Grows on the peer's thread alone."""
        self._thread = thread
        self._driver = driver
        """Of the peer's thread: asked for nothing here but what has ended it."""
        self._loop = loop
        self._loop_thread = get_ident()
        self._pending: set[Asked] = set()
        self._pending_max = driver.limits.pending_requests_max
        self._listeners: dict[object, Callable[[Event], None]] = {}
        self._events: deque[Event] = deque(maxlen=driver.limits.events_pending_max)
        self._events_dropped_told = 0
        """As far as listeners know. Grows on the application's loop alone."""
        self._replies: deque[tuple[Asked, Reply]] = deque()
        self._is_woken = False
        thread.cross(self._attach)

    def ask(self, request: Request) -> Asked:
        if self._thread.has_ended:
            raise self._closed()
        if len(self._pending) >= self._pending_max:
            raise Overloaded(
                f"{len(self._pending)} requests wait for peer {self.peer_name}; "
                "await some before you send more"
            )
        asked = Asked(self._loop, request, self._withdraw)
        self._pending.add(asked)
        self._thread.cross(partial(self._begin, asked))
        return asked

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        key = object()
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    async def close(self) -> None:
        await self._thread.close()

    def forget(self) -> None:
        """In a forked child: end what waits for an answer, if its loop is there to be told."""
        if get_ident() == self._loop_thread:
            with suppress(RuntimeError):  # That it is closed.
                self._loop.call_soon(self._end)

    # ---- on the application's loop -----------------------------------------------------------

    def _withdraw(self, asked: Asked) -> None:
        self._pending.discard(asked)
        self._thread.cross(partial(_cancel, asked))

    def _deliver(self) -> None:
        self._is_woken = False
        # The answers are taken first and given last: rule 2.
        replies = [self._replies.popleft() for _ in range(len(self._replies))]
        missed = self.events_dropped - self._events_dropped_told
        if missed:
            self._events_dropped_told += missed
            self._tell_listeners(
                Dropped(self.peer, "slow_listener", "events were lost; read anew", missed)
            )
        for _ in range(len(self._events)):
            with suppress(IndexError):  # The peer's thread drops the oldest when it is full.
                self._tell_listeners(self._events.popleft())
        for asked, reply in replies:
            self._pending.discard(asked)
            asked.settle(reply)

    def _end(self) -> None:
        """Deliver what has come, and no more will come."""
        self._deliver()
        pending, self._pending = self._pending, set()
        for asked in pending:
            asked.settle(under_way(asked.request, self._closed()))

    def _closed(self) -> Closed:
        return closed(self.peer_name, self._driver.failure)

    def _tell_listeners(self, event: Event) -> None:
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                _log.exception("a listener raised at %s", type(event).__name__)

    # ---- on the peer's thread ----------------------------------------------------------------

    def _attach(self, driver: Driver | None) -> None:
        if driver is not None:
            driver.listen(self._on_event)

    def _begin(self, asked: Asked, driver: Driver | None) -> None:
        if driver is None:
            self._on_reply(asked, self._closed())
        else:
            asked.token = driver.ask(asked.request, partial(self._on_reply, asked))

    def _on_reply(self, asked: Asked, reply: Reply) -> None:
        self._replies.append((asked, reply))
        self._wake()

    def _on_event(self, event: Event) -> None:
        if not self._listeners:
            return
        if len(self._events) == self._events.maxlen:
            self.events_dropped += 1
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            # A loop that is closed has nobody who waits.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)


def _begin_close(driver: Driver | None) -> None:
    if driver is not None:
        driver.begin_close()


def _cancel(asked: Asked, driver: Driver | None) -> None:
    if driver is not None:
        driver.cancel(asked.token)


_running: "weakref.WeakSet[PeerThread]" = weakref.WeakSet()


def _stop_all() -> None:
    for thread in tuple(_running):
        thread.stop(EXIT_SECONDS_MAX)


atexit.register(_stop_all)
