"""Effects become deeds, in the order in which the node left them.

Rules
1. An effect whose `after` is not durable yet is held; every other one happens in its turn.
2. Held effects happen in the order in which they came, as soon as their Persist is durable.
3. Persists that come while a write runs are written together by the next one: group commit.
4. All that is due to one peer in one turn travels as one frame, within the limits.
5. After a failure nothing happens any more: what is durable is unknown.

The storage belongs to one thread from the first write until it is closed there, so a slow disk
never delays a probe's answer.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import assert_never

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Connect, Effect, Notify, Persist, Resolve, Send
from mabeam_p2p.events import Event
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Frame, Message
from mabeam_p2p.ports import Codec, Storage, Transport
from mabeam_p2p.records import DiskUsage, Record
from mabeam_p2p.requests import Answer
from mabeam_p2p.runtime.measures import DISK_BOUNDS, Measure


class Lane:
    """Runs effects on the loop's thread. Made and used within a running loop.

    seal: makes the frame of messages to a peer. resolve, notify: where answers and events go.
    stored: told the number of each Persist that has become durable, the last of a write only, and
    how full the storage is.
    fail: told once of what ended the lane.
    """

    def __init__(
        self,
        *,
        seal: Callable[[PeerId, tuple[Message, ...]], Frame],
        codec: Codec,
        storage: Storage,
        transport: Transport,
        limits: Limits,
        resolve: Callable[[int, Answer], None],
        notify: Callable[[Event], None],
        stored: Callable[[int, DiskUsage | None], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.counters = dict.fromkeys(
            ("frames", "messages", "messages_dropped", "records", "writes"), 0
        )
        self._seal = seal
        self._codec = codec
        self._transport = transport
        self._limits = limits
        self._resolve = resolve
        self._notify = notify
        self._stored = stored
        self._fail = fail
        self._writer = _Writer(storage, asyncio.get_running_loop(), self._on_written)
        self._durable = 0
        self._writing = 0
        """Number of the last Persist of the write that runs; 0 while none does."""
        self._waiting: list[Record] = []
        self._waiting_number = 0
        self._held: list[Send | Notify | Resolve] = []
        self._outgoing: dict[PeerId, list[Message]] = {}
        self._is_halted = False

    @property
    def writes(self) -> Measure:
        """How long each write took: a transaction, and its fsync."""
        return self._writer.durations

    def depths(self) -> dict[str, int]:
        """What waits for the disk, by name."""
        return {"effects_held": len(self._held), "records_waiting": len(self._waiting)}

    def run(self, effects: Iterable[Effect]) -> None:
        """Execute the effects of one turn."""
        if self._is_halted:
            return
        for effect in effects:
            # Here and below the frequent cases come first: they come once for each command.
            match effect:
                case Resolve() | Notify() | Send():
                    if effect.after > self._durable:
                        self._held.append(effect)
                    else:
                        self._happen(effect)
                        if self._is_halted:  # By whoever was told.
                            return
                case Persist(number, record):
                    assert number > self._waiting_number, "Persists are numbered upwards"
                    self._waiting_number = number
                    self._waiting.append(record)
                case Connect(target, address):
                    self._connect(target, address)
                case _:
                    assert_never(effect)
        self._send_frames()
        self._write()

    def halt(self) -> None:
        """Let nothing happen any more. A write that runs still ends, unheard. Idempotent."""
        self._is_halted = True
        self._held.clear()
        self._outgoing.clear()

    async def close(self) -> None:
        """Write what waits, then close the storage. Not to be called twice."""
        is_failed = self._is_halted
        self.halt()
        await self._writer.close(() if is_failed else tuple(self._waiting))

    def _happen(self, effect: Send | Notify | Resolve) -> None:
        match effect:
            case Resolve():
                self._resolve(effect.token, effect.answer)
            case Notify():
                self._notify(effect.event)
            case Send():
                self._outgoing.setdefault(effect.target, []).append(effect.message)
            case _:
                assert_never(effect)

    def _connect(self, target: PeerId, address: str | None) -> None:
        # What was said before belongs to the older link.
        self._send_frame(target, self._outgoing.pop(target, []))
        if address is None:
            self._transport.disconnect(target)
        else:
            self._transport.connect(target, address)

    def _send_frames(self) -> None:
        while self._outgoing:
            target = next(iter(self._outgoing))
            messages = self._outgoing.pop(target)
            step = self._limits.frame_messages_max
            for start in range(0, len(messages), step):
                self._send_frame(target, messages[start : start + step])

    def _send_frame(self, target: PeerId, messages: list[Message]) -> None:
        """Send as one frame, or, if that would be too large, as halves."""
        if not messages:
            return
        data = self._codec.encode_frame(self._seal(target, tuple(messages)))
        if len(messages) > 1 and not self._codec.fits(data):
            middle = len(messages) // 2
            self._send_frame(target, messages[:middle])
            self._send_frame(target, messages[middle:])
        elif self._transport.send(target, data):
            self.counters["frames"] += 1
            self.counters["messages"] += len(messages)
        else:
            self.counters["messages_dropped"] += len(messages)

    def _write(self) -> None:
        if self._waiting and not self._writing:
            self.counters["writes"] += 1
            self.counters["records"] += len(self._waiting)
            self._writing = self._waiting_number
            self._writer.write(tuple(self._waiting))
            self._waiting.clear()

    def _on_written(self, error: BaseException | None, usage: DiskUsage | None) -> None:
        if self._is_halted:
            return
        try:
            if error is not None:
                raise error
            self._durable, self._writing = self._writing, 0
            # The next write starts first: the disk works while the answers leave.
            self._write()
            self.run(self._release())
            if not self._is_halted:
                self._stored(self._durable, usage)
        except Exception as failure:
            self.halt()
            self._fail(failure)

    def _release(self) -> list[Send | Notify | Resolve]:
        held, self._held = self._held, []
        for effect in held:
            if effect.after > self._durable:
                self._held.append(effect)
        return [effect for effect in held if effect.after <= self._durable]


class _Writer:
    """The storage and the thread that it lives on. Reports each write to the loop."""

    def __init__(
        self,
        storage: Storage,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[BaseException | None, DiskUsage | None], None],
    ) -> None:
        self.durations = Measure("storage_write_seconds", DISK_BOUNDS)
        self._storage = storage
        self._loop = loop
        self._report = report
        self._batches: SimpleQueue[tuple[Record, ...] | None] = SimpleQueue()
        self._is_closed = asyncio.Event()
        # A daemon: a disk that hangs must not keep the process alive.
        Thread(target=self._run, name="mabeam-storage", daemon=True).start()

    def write(self, records: tuple[Record, ...]) -> None:
        self._batches.put(records)

    async def close(self, last: tuple[Record, ...]) -> None:
        if last:
            self._batches.put(last)
        self._batches.put(None)
        await self._is_closed.wait()

    def _run(self) -> None:
        # The loop may be gone, with nobody left to be told.
        with suppress(RuntimeError):
            try:
                self._write_all()
            finally:
                self._storage.close()
                self._loop.call_soon_threadsafe(self._is_closed.set)

    def _write_all(self) -> None:
        while (records := self._batches.get()) is not None:
            began_at = self._loop.time()
            try:
                self._storage.write(records)
            except Exception as error:
                self._loop.call_soon_threadsafe(self._report, error, None)
                return
            self.durations.add(self._loop.time() - began_at)
            self._loop.call_soon_threadsafe(self._report, None, self._storage.usage())
