"""Exchanges of much data on a thread of their own: a busy application does not stop them, and they
do not stop the peer.

Rules
1. Everything here but the crossing of orders happens on that thread, which has less claim to the
   processor than others where the system allows it: a commit goes before a tensor.
2. The data stays where it lies: it is sent from the caller's memory, combined out of the frames
   that came, and otherwise copied once, into the result. Callers do not change it meanwhile.
3. A message is looked at only if its token is that of an exchange that is under way here. Whatever
   is wrong with it is counted, and it is dropped; what is lacking will be asked for again.
4. An exchange goes on serving the others after it is complete, until it is ended.
"""

import atexit
import logging
import os
import time
import weakref
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread, get_native_id
from typing import NamedTuple

from mabeam_p2p import forks
from mabeam_p2p.config import BULK_VERSION, Limits
from mabeam_p2p.errors import Closed, Overloaded, RemoteProtocolError
from mabeam_p2p.messages import BulkChunk, BulkHeader, BulkMessage, BulkWant
from mabeam_p2p.ports import BulkTransport
from mabeam_p2p.protocol.bulk import PART, WHOLE, Exchange, Parcel, Plan
from mabeam_p2p.wire.bulk import HEADER_BYTES_MAX, BulkCodec

NICENESS = 10
"""Of the thread and of the ZeroMQ thread under it, more than the process has: they get a tenth of
what others get where all compute (sched(7)). With 19 it was a seventieth, and arrays stood still
beside whatever else a machine computed."""

MESSAGES_AT_ONCE = 32
"""Received before others are sent to."""

EARLY_WANTS_MAX = 1_024
EARLY_RANGES_MAX = 16
"""Of members who have begun before this one, or of strangers: so many, so long."""

EXIT_SECONDS_MAX = 1.0
NOTHING = memoryview(b"")

_log = logging.getLogger(__name__)

Combine = Callable[[Sequence[memoryview], memoryview], None]
"""Makes one of the contributions to a chunk, in the order of their members, into the last one."""

Crossing = Callable[["_Desk | None"], None]
"""Runs on the thread, or, once that has ended, anywhere with None."""


class Party(NamedTuple):
    """Where a member is reached, and what lets it in."""

    address: str
    token: bytes


class Run(NamedTuple):
    """A run of bytes that begins at `base` of the result."""

    view: memoryview
    base: int = 0

    def at(self, offset: int, size: int) -> memoryview:
        return self.view[offset - self.base : offset - self.base + size]


class Order(NamedTuple):
    """One member's part in one round of an exchange. parties: in the order of their places.

    ended: called once at most: with None when the result is here, else with what is wrong. On the
    thread, or, once that has ended, in `begin`. Not at all when a later round has taken the place
    of this one, or after `end`.
    """

    round: int
    me: int
    parties: tuple[Party, ...]
    plan: Plan
    contribution: Run
    """What this member gives; empty if it gives nothing."""
    result: Run
    combine: Combine
    ended: Callable[[BaseException | None], None]


class BulkThread:
    """Builds a transport, exchanges over it and closes it, all on one thread."""

    def __init__(self, build: Callable[[], BulkTransport], limits: Limits) -> None:
        """build: called on that thread; what it raises, `start` raises."""
        self.has_ended = False
        self._build = build
        self._limits = limits
        self._inbox: deque[Crossing] = deque()
        self._transport: BulkTransport | None = None
        self._is_closing = False
        self.started: Future[str] = Future()
        """The address."""
        self.ended: Future[None] = Future()
        self._thread = Thread(target=self._run, name="mabeam-bulk", daemon=True)

    def start(self) -> None:
        """Begin; `started` tells when. Call once."""
        _running.add(self)
        forks.watch(self)
        self._thread.start()

    def begin(self, order: Order) -> None:
        """Take part. A later round of the same token takes the place of an earlier one."""

        def crossing(desk: "_Desk | None") -> None:
            if desk is None:
                order.ended(Closed("the sockets for bulk data have been closed"))
            else:
                desk.begin(order)

        self._cross(crossing)

    def end(self, token: bytes) -> None:
        """Take part no longer."""

        def crossing(desk: "_Desk | None") -> None:
            if desk is not None:
                desk.end(token)

        self._cross(crossing)

    def missing(self, token: bytes, tell: Callable[[tuple[int, ...]], None]) -> None:
        """Tell, on the thread, the places of those for whom the exchange waits."""

        def crossing(desk: "_Desk | None") -> None:
            tell(() if desk is None else desk.missing(token))

        self._cross(crossing)

    def counters(self, tell: Callable[[dict[str, int]], None]) -> None:
        """Tell, on the thread, what has happened so far, by name."""

        def crossing(desk: "_Desk | None") -> None:
            tell({} if desk is None else desk.counters())

        self._cross(crossing)

    def close(self) -> None:
        """Begin to end: `ended` tells when. What is under way ends with Closed. Idempotent."""
        self._is_closing = True
        self._wake()

    def forget(self) -> None:
        """In a forked child: the thread is gone, and nobody is told anything."""
        self.has_ended = True
        self._inbox.clear()
        _running.discard(self)
        # Another one: the lock of this one may be held by a thread that is gone.
        self.ended = Future()
        self.ended.set_result(None)

    def _cross(self, crossing: Crossing) -> None:
        self._inbox.append(crossing)
        if self.has_ended:
            self._refuse()
        else:
            self._wake()

    def _wake(self) -> None:
        transport = self._transport
        # Without one the thread looks into the inbox once it has it; a child has its parent's.
        if transport is not None and not self.has_ended:
            transport.wake()

    def _run(self) -> None:
        desk: _Desk | None = None
        failure: BaseException = Closed("the sockets for bulk data have been closed")
        try:
            _yield_to_others()
            self._transport = transport = self._build()
            desk = _Desk(transport, self._limits)
            self.started.set_result(transport.address)
            while not self._is_closing:
                # Orders first: what has come for them belongs to somebody then.
                while self._inbox:
                    self._inbox.popleft()(desk)
                desk.turn()
                desk.wait()
        except BaseException as error:
            failure = error
            if self.started.done():
                _log.exception("bulk data: the thread has failed")
            else:
                self.started.set_exception(error)
        finally:
            # In this order: whoever asks from now on sees the end, or is seen here.
            self.has_ended = True
            if desk is not None:
                desk.close(failure)
            self._refuse()
            self.ended.set_result(None)
            _running.discard(self)

    def _refuse(self) -> None:
        with suppress(IndexError):
            while True:
                self._inbox.popleft()(None)


class _Work:
    """One order under way."""

    __slots__ = ("checksums", "exchange", "held", "is_told", "order", "others")

    def __init__(self, order: Order, now: float) -> None:
        self.order = order
        self.exchange = Exchange(order.plan, order.me, now)
        self.others = [(n, party) for n, party in enumerate(order.parties) if n != order.me]
        self.held: dict[Parcel, dict[int, memoryview]] = {}
        """Contributions to my chunks, until all are there."""
        self.checksums: dict[Parcel, int] = {}
        """Of my chunks, which several others get."""
        self.is_told = False

    def data(self, parcel: Parcel) -> memoryview:
        """Where the bytes of a chunk lie that I send, or have in the result."""
        run = self.order.contribution if parcel.stage == PART else self.order.result
        plan = self.order.plan
        return run.at(
            plan.chunk_offset(parcel.slice, parcel.chunk),
            plan.chunk_size(parcel.slice, parcel.chunk),
        )

    def combine(self, parcel: Parcel) -> None:
        parts = self.held.pop(parcel, {})
        if self.order.me in self.order.plan.slices[parcel.slice].sources:
            parts[self.order.me] = self.data(parcel)
        whole = Parcel(WHOLE, parcel.slice, parcel.chunk)
        self.order.combine([parts[place] for place in sorted(parts)], self.data(whole))
        self.exchange.combined(parcel)

    def checksum(self, parcel: Parcel, data: memoryview) -> int:
        if parcel.stage == PART:
            return zlib.crc32(data)
        known = self.checksums.get(parcel)
        if known is None:
            known = self.checksums[parcel] = zlib.crc32(data)
        return known

    def tell(self, error: BaseException | None) -> None:
        if not self.is_told:
            self.is_told = True
            self.order.ended(error)


class _Desk:
    """All exchanges of the thread. Lives on it."""

    def __init__(self, transport: BulkTransport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._codec = BulkCodec(limits)
        self._works: dict[bytes, _Work] = {}
        self._early: OrderedDict[tuple[bytes, int], BulkHeader] = OrderedDict()
        """By token and source: what was asked for before this member began; the oldest leave."""
        self._blocked: dict[str, None] = {}
        """Addresses whose links had enough when they were last tried."""
        self._counters = dict.fromkeys(
            (
                "chunks",
                "early",
                "stranger",
                "stale_round",
                "unexpected",
                "checksum",
                "not_its_business",
            ),
            0,
        )

    # ---- what the application orders --------------------------------------------------------

    def begin(self, order: Order) -> None:
        token = order.parties[order.me].token
        if token not in self._works and len(self._works) >= self._limits.bulk_exchanges_max:
            most = self._limits.bulk_exchanges_max
            order.ended(Overloaded(f"{most} exchanges of bulk data are under way: try later"))
            return
        work = self._works[token] = _Work(order, time.monotonic())
        for place, _ in work.others:
            early = self._early.pop((token, place), None)
            if early is not None and early.round == order.round:
                self._take(early, work, NOTHING)
        self._attempt(token, work, work.exchange.ready())

    def end(self, token: bytes) -> None:
        self._works.pop(token, None)

    def missing(self, token: bytes) -> tuple[int, ...]:
        work = self._works.get(token)
        return () if work is None else work.exchange.missing(time.monotonic())

    def counters(self) -> dict[str, int]:
        return {**self._counters, **self._transport.counters}

    def close(self, failure: BaseException) -> None:
        for work in self._works.values():
            work.tell(failure)
        self._works.clear()
        self._transport.close()

    # ---- one turn ----------------------------------------------------------------------------

    def wait(self) -> None:
        """Until there is something to do."""
        self._transport.wait(self._patience(), self._blocked)

    def turn(self) -> None:
        """Receive some messages, and send what there is to send."""
        for _ in range(MESSAGES_AT_ONCE):
            message = self._transport.receive()
            if message is None:
                break
            self._receive(*message)
        self._blocked.clear()
        now = time.monotonic()
        for work in tuple(self._works.values()):
            for place, party in work.others:
                if not (self._ask(work, place, now) and self._send_to(work, place, now)):
                    self._blocked[party.address] = None

    def _patience(self) -> float | None:
        """Until there is something to tell somebody whose link takes it."""
        first = min(
            (
                work.exchange.deadline(place)
                for work in self._works.values()
                for place, party in work.others
                if party.address not in self._blocked
            ),
            default=None,
        )
        return None if first is None else max(0.0, first - time.monotonic())

    def _receive(self, data: bytes, payload: memoryview) -> None:
        try:
            header = self._codec.decode(data)
        except RemoteProtocolError as error:
            self._count(f"header_{error.reason}")
            return
        work = self._works.get(header.token)
        if work is not None and header.round == work.order.round:
            self._take(header, work, payload)
        elif work is not None and header.round < work.order.round:
            self._count("stale_round")
        else:
            self._keep(header)

    def _keep(self, header: BulkHeader) -> None:
        """Others may begin before this member does: what they want is kept until then."""
        message = header.message
        if isinstance(message, BulkWant) and len(message.wanted) <= EARLY_RANGES_MAX:
            self._early[header.token, header.source] = header
            self._count("early")
            if len(self._early) > EARLY_WANTS_MAX:
                self._early.popitem(last=False)
        else:
            self._count("stranger")

    def _take(self, header: BulkHeader, work: _Work, payload: memoryview) -> None:
        now, message = time.monotonic(), header.message
        if isinstance(message, BulkWant):
            if not work.exchange.asked(header.source, message.wanted, now):
                self._count("not_its_business")
            return
        parcel = Parcel(message.stage, message.slice, message.chunk)
        if not work.exchange.expects(header.source, parcel, payload.nbytes):
            self._count("unexpected")
        elif zlib.crc32(payload) != message.checksum:
            self._count("checksum")
        else:
            self._count("chunks")
            if parcel.stage == WHOLE:
                work.data(parcel)[:] = payload
            else:
                work.held.setdefault(parcel, {})[header.source] = payload
            is_last = work.exchange.arrived(header.source, parcel, now)
            self._attempt(header.token, work, (parcel,) if is_last else ())

    def _attempt(self, token: bytes, work: _Work, parcels: tuple[Parcel, ...]) -> None:
        """Combine what can be; tell if that was all."""
        try:
            for parcel in parcels:
                work.combine(parcel)
        except Exception as error:  # What is combined is the caller's business.
            self.end(token)
            work.tell(error)
            return
        if work.exchange.is_complete:
            work.tell(None)

    # ---- sending -----------------------------------------------------------------------------

    def _ask(self, work: _Work, place: int, now: float) -> bool:
        """Tell a member what it shall send, if it is time. Whether its link takes more."""
        wanted = work.exchange.request(place, now, self._limits.bulk_ranges_max)
        if wanted is None:
            return True
        is_sent = self._post(work, place, BulkWant(wanted), NOTHING)
        if is_sent:
            work.exchange.told(place, now)
        return is_sent

    def _send_to(self, work: _Work, place: int, now: float) -> bool:
        """Send a member what it wants. Whether its link takes more."""
        while (parcel := work.exchange.next_parcel(place)) is not None:
            data = work.data(parcel)
            checksum = work.checksum(parcel, data)
            message = BulkChunk(parcel.stage, parcel.slice, parcel.chunk, checksum)
            if not self._post(work, place, message, data):
                return False
            work.exchange.sent(place, parcel, now)
        return True

    def _post(self, work: _Work, place: int, message: BulkMessage, payload: memoryview) -> bool:
        party, order = work.order.parties[place], work.order
        header = BulkHeader(BULK_VERSION, party.token, order.round, order.me, message)
        return self._transport.send(party.address, self._codec.encode(header), payload)

    def _count(self, what: str) -> None:
        self._counters[what] = self._counters.get(what, 0) + 1


def message_bytes_max(limits: Limits) -> int:
    """The largest frame between bulk sockets."""
    return max(limits.bulk_chunk_bytes, HEADER_BYTES_MAX)


def _yield_to_others() -> None:
    """Have less claim to the processor than the other threads of this process, on Linux, where a
    thread has a niceness of its own."""
    with suppress(OSError, AttributeError):
        thread = get_native_id()
        present = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, present + NICENESS))


_running: "weakref.WeakSet[BulkThread]" = weakref.WeakSet()


def _stop_all() -> None:
    for thread in tuple(_running):
        thread.close()
        with suppress(TimeoutError):
            thread.ended.result(timeout=EXIT_SECONDS_MAX)


atexit.register(_stop_all)
