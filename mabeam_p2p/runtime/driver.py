"""The shell of one peer: it feeds the node one input at a time and runs the effects.

A turn is all that arrives in one iteration of the loop. Each input goes to the node at once; at
the end of the turn the node is flushed, once, and the lane runs everything that the turn left.
It decides nothing about the protocol. The daemon and the embedded peer both run it.

An exception out of the node is a broken invariant of our own: the peer stops, and says why.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Protocol, TypeVar

from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Effect, Effects
from mabeam_p2p.errors import (
    AuthenticationError,
    MabeamError,
    PeerRefused,
    RemoteProtocolError,
)
from mabeam_p2p.events import Event, Refused
from mabeam_p2p.ids import PeerId
from mabeam_p2p.inquiries import Figures
from mabeam_p2p.key_requests import GateRequest, Introduced
from mabeam_p2p.messages import Frame, Message
from mabeam_p2p.ports import Clock, Codec, Discovery, Storage, Transport
from mabeam_p2p.records import Credentials, DiskUsage, Figure
from mabeam_p2p.requests import (
    Answer,
    Committed,
    Failed,
    Leave,
    Request,
    StatusAnswer,
    Submit,
    Suggest,
)
from mabeam_p2p.runtime.endings import closed, under_way
from mabeam_p2p.runtime.lane import Lane
from mabeam_p2p.runtime.measures import COMMIT_BOUNDS, LAG_BOUNDS, Measure
from mabeam_p2p.runtime.trace import DropReports, log_event

LEAVE_SECONDS_MAX = 1.0
"""How long closing waits until the other members were told."""
STOP_SECONDS_MAX = 1.6
"""How long closing takes in all: what leaving leaves of it, the disk and discovery may take, side
by side. With the time of a daemon's clients that is less than the two seconds that a service
manager is promised (docs/operations.md)."""

LOCATE_SECONDS = 2.0
"""Between two looks at where others reach this peer."""

_ADVICE = {
    "machine": "install the release that the others have; the data folder is left as it is",
    "limits": "take those that the other peers have, and that this one had",
    "revoked": "let it join as a new peer, with an empty data folder",
}
"""What to do about a log that this peer cannot go on with."""

_log = logging.getLogger(__name__)

T = TypeVar("T")

Reply = Answer | MabeamError
"""What becomes of a request: an answer, or the error that ended the waiting."""


class NodeVerbs(Protocol):
    """What the driver needs of `protocol.node.Node`. `now`: monotonic seconds."""

    def start(self, now: float) -> Effects: ...
    def receive(self, frame: Frame, now: float) -> Effects: ...
    def request(self, token: int, request: Request, now: float) -> Effects: ...
    def cancel(self, token: int, now: float) -> Effects: ...
    def moved(self, address: str, now: float) -> Effects: ...
    def stored(self, number: int, now: float, usage: DiskUsage | None = None) -> Effects: ...
    def tick(self, now: float) -> Effects: ...
    def flush(self, now: float) -> Effects: ...
    def next_deadline(self) -> float: ...
    def frame(self, target: PeerId, messages: tuple[Message, ...]) -> Frame: ...
    def credentials(self) -> Credentials: ...


class Gate(Protocol):
    """What the driver needs of `security.gate.Gate`: the keys of this peer and of others."""

    def start(
        self,
        tell: Callable[[PeerId, bytes], None],
        fail: Callable[[BaseException], None],
        revoked: Callable[[], None],
    ) -> None:
        """tell: of each peer that has proved the join secret, this one first. revoked: told once
        that the cluster has revoked this peer."""
        ...

    def update(self, credentials: Credentials) -> None: ...

    def ask(self, request: GateRequest) -> Answer: ...


class Driver:
    """One peer on the running loop. Owns the adapters from `start` on, and closes them."""

    def __init__(
        self,
        *,
        peer: PeerId,
        name: str,
        cluster: str,
        node: NodeVerbs,
        codec: Codec,
        storage: Storage,
        transport: Transport,
        discoveries: Sequence[Discovery],
        limits: Limits,
        clock: Clock,
        gate: Gate | None = None,
    ) -> None:
        """gate: None for a peer that speaks without keys."""
        self.peer = peer
        self.name = name
        self.cluster = cluster
        self.address = transport.address
        self.limits = limits
        self.failure: BaseException | None = None
        """What stopped the peer against its will."""
        self.is_running = False
        """From `start` until the peer is closed or has failed."""
        self._node = node
        self._codec = codec
        self._storage = storage
        self._transport = transport
        self._discoveries = discoveries
        self._clock = clock
        self._gate = gate
        self._credentials: Credentials | None = None
        """What the gate was told last."""
        self._lane: Lane | None = None
        self._effects: list[Effect] = []
        self._is_turn_open = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_deadline = inf
        self._tokens = itertools.count(1)
        self._replies: dict[int, tuple[Callable[[Reply], None], Request, float]] = {}
        """Who waits for each token, for what, and since when."""
        self._commits = Measure("commit_seconds", COMMIT_BOUNDS)
        self._lags = Measure("loop_lag_seconds", LAG_BOUNDS)
        self._listeners: dict[int, Callable[[Event], None]] = {}
        self._reports = DropReports()
        self._frames_undecodable = 0
        self._frames_misattributed = 0
        self._overloaded = 0
        """Requests that found a queue full, here or at the leader."""
        self._searches: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Begin to take part. To be called once; what it raises has stopped and closed the peer."""
        assert self._lane is None, "started twice"
        self._loop = asyncio.get_running_loop()
        self._lane = Lane(
            seal=self._node.frame,
            codec=self._codec,
            storage=self._storage,
            transport=self._transport,
            limits=self.limits,
            resolve=self._resolve,
            notify=self._notify,
            stored=self._stored,
            fail=self._fail,
        )
        self.is_running = True
        try:
            self._transport.start(self._receive, self._fail)
            if self._gate is not None:
                # What the disk knows, before anybody is listened to.
                self._update_gate()
                self._gate.start(self._on_introduced, self._fail, self._on_revoked)
        except Exception as error:
            self._fail(error)
            await self.wait_stopped()
        self._feed(self._node.start)
        self._searches = [
            asyncio.create_task(self._search(discovery), name=type(discovery).__name__)
            for discovery in self._discoveries
        ]
        self._searches.append(asyncio.create_task(self._follow_address(), name="address"))
        if self._gate is not None:
            # Who was revoked, as far as its disk knows, has not started.
            await asyncio.sleep(0)
            if self.failure is not None:
                await self.wait_stopped()

    def ask(self, request: Request, reply: Callable[[Reply], None]) -> int:
        """Give the request to the node; return its token. `reply` is called once, and not before
        this returns: with the answer, or, if the peer ends before, with OutcomeUnknown for what
        has effects and Closed for anything else. Not at all after `cancel`, unless it is on its way
        already: from the gate, or from a peer that had ended."""
        token = next(self._tokens)
        if not self.is_running:
            self._loop.call_soon(reply, closed(self.name, self.failure))
            return token
        if self._gate is not None and isinstance(request, GateRequest):
            self._loop.call_soon(reply, self._ask_gate(request))
            return token
        self._replies[token] = reply, request, self._clock.monotonic()
        self._feed(lambda now: self._node.request(token, request, now))
        return token

    def _ask_gate(self, request: GateRequest) -> Reply:
        assert self._gate is not None
        try:
            return self._gate.ask(request)
        except MabeamError as error:
            return error

    def cancel(self, token: int) -> None:
        """Nobody waits for the answer any more."""
        if self._replies.pop(token, None) is not None:
            self._feed(lambda now: self._node.cancel(token, now))

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """As Backend.listen, on this loop."""
        key = next(self._tokens)
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    def counters(self) -> dict[str, int]:
        """What has happened so far, by name."""
        counts = {
            "frames_undecodable": self._frames_undecodable,
            "frames_misattributed": self._frames_misattributed,
            "overloaded": self._overloaded,
        }
        parts = {"transport": self._transport.counters}
        if self._lane is not None:
            parts["lane"] = self._lane.counters
        for part, numbers in parts.items():
            counts.update({f"{part}_{name}": number for name, number in numbers.items()})
        return counts

    def _measured(self, told: Figures) -> Figures:
        """What the node told, and what the shell knows beside it."""
        assert self._lane is not None
        counts = {f"{name}_total": count for name, count in self.counters().items()}
        depths = {"requests_waiting": len(self._replies), **self._lane.depths()}
        figures = [Figure(name, count) for name, count in {**counts, **depths}.items()]
        measures = (self._commits, self._lags, self._lane.writes)
        histograms = tuple(measure.histogram() for measure in measures)
        return Figures((*told.figures, *figures), (*told.histograms, *histograms))

    async def close(self) -> None:
        """Leave the cluster, then stop. Bounded in time; idempotent."""
        # A caller that loses its patience must not leave a half-closed peer behind.
        await asyncio.shield(self.begin_close())

    def begin_close(self) -> asyncio.Task[None]:
        """As close, without waiting for it."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._leave_and_stop(), name="close")
        return self._closing

    async def wait_stopped(self) -> None:
        """Return once the peer was closed; raise what stopped it if it failed."""
        await self._stopped.wait()
        if self.failure is not None:
            raise self.failure

    # ---- inputs ------------------------------------------------------------------------------

    def _feed(self, verb: Callable[[float], Effects]) -> None:
        if not self.is_running:
            return
        try:
            self._effects.extend(verb(self._clock.monotonic()))
        except Exception as error:
            self._fail(error)
        else:
            self._open_turn()

    def _receive(self, data: bytes) -> None:
        try:
            frame = self._codec.decode_frame(data)
        except RemoteProtocolError as error:
            self._frames_undecodable += 1
            self._transport.blame()
            now = self._clock.monotonic()
            report = self._reports.drop("", error.reason, error.detail, now)
            if report is not None:
                self._notify(report)
        else:
            speaker = self._transport.speaker
            if speaker is not None and frame.source != speaker:
                self._misattributed(frame.source, speaker)
            else:
                self._feed(lambda now: self._node.receive(frame, now))

    def _misattributed(self, source: PeerId, speaker: PeerId) -> None:
        """A frame says that it is somebody else's than the key of its connection."""
        self._frames_misattributed += 1
        detail = f"says that it is of peer {source}"
        report = self._reports.drop(speaker, "impostor", detail, self._clock.monotonic())
        if report is not None:
            self._notify(report)

    def _stored(self, number: int, usage: DiskUsage | None) -> None:
        self._feed(lambda now: self._node.stored(number, now, usage))

    def _suggest(self, addresses: tuple[str, ...]) -> None:
        self._feed(lambda now: self._node.request(0, Suggest(addresses), now))

    def _on_introduced(self, peer: PeerId, key: bytes) -> None:
        self._feed(lambda now: self._node.request(0, Introduced(peer, key), now))

    def _on_revoked(self) -> None:
        detail = "this peer was revoked: its cluster neither hears it nor speaks to it any more"
        # In the next turn: whoever has asked this peer for it is answered before.
        self._loop.call_soon(self._notify, Refused(self.peer, "revoked", detail, fatal=True))

    def _update_gate(self) -> None:
        if self._gate is not None:
            credentials = self._node.credentials()
            if credentials is not self._credentials:
                self._credentials = credentials
                self._gate.update(credentials)

    async def _search(self, discovery: Discovery) -> None:
        try:
            await discovery.start(self._suggest)
        except Exception:
            # Discovery only hints: without it, others may still find this peer.
            _log.exception("%s failed; other ways to find peers go on", type(discovery).__name__)

    async def _follow_address(self) -> None:
        while True:
            await asyncio.sleep(LOCATE_SECONDS)
            address = self._transport.locate()
            if address == self.address:
                continue
            _log.warning("moved peer=%s from=%s to=%s", self.peer, self.address, address)
            self.address = address
            self._feed(lambda now: self._node.moved(self.address, now))
            for discovery in self._discoveries:
                discovery.moved(address)

    # ---- turns -------------------------------------------------------------------------------

    def _open_turn(self) -> None:
        if not self._is_turn_open:
            self._is_turn_open = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._is_turn_open = False
        if not self.is_running:
            return
        assert self._lane is not None
        try:
            self._effects.extend(self._node.flush(self._clock.monotonic()))
            self._update_gate()
            effects, self._effects = self._effects, []
            self._lane.run(effects)
            self._set_timer()
        except Exception as error:
            self._fail(error)

    def _set_timer(self) -> None:
        """Have the node ticked at its deadline. A timer that is too early is left to ring: most
        deadlines move into the future with every message, and looking again costs less."""
        deadline = self._node.next_deadline()
        if deadline >= self._timer_deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_deadline = deadline
        delay = max(0.0, deadline - self._clock.monotonic())
        self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        due, self._timer, self._timer_deadline = self._timer_deadline, None, inf
        if not self.is_running:
            return
        self._lags.add(self._clock.monotonic() - due)
        try:
            is_due = self._node.next_deadline() <= self._clock.monotonic()
        except Exception as error:
            self._fail(error)
            return
        if is_due:
            self._feed(self._node.tick)
        else:
            self._set_timer()

    # ---- outputs -----------------------------------------------------------------------------

    def _resolve(self, token: int, answer: Answer) -> None:
        reply, request, since = self._replies.pop(token, (None, None, 0.0))
        if reply is None:  # Cancelled while the answer was held.
            return
        if type(request) is Submit and type(answer) is Committed:
            self._commits.add(self._clock.monotonic() - since)
        if type(answer) is Failed and answer.reason == "overloaded":
            self._overloaded += 1
        if type(answer) is StatusAnswer:
            counts = (*answer.status.counters, *sorted(self.counters().items()))
            answer = StatusAnswer(replace(answer.status, counters=counts))
        elif type(answer) is Figures:
            answer = self._measured(answer)
        self._call(reply, answer)

    def _notify(self, event: Event) -> None:
        log_event(self.peer, event)
        if type(event) is Refused and event.fatal and event.peer == self.peer:
            # It has found out itself that it cannot go on with its cluster's log. Of a copy of it,
            # which has the same name, it can hear that as of anybody.
            advice = _ADVICE.get(event.reason)
            if advice is not None:
                self._fail(PeerRefused(f"{event.detail}: {advice}", reason=event.reason))
        for listener in tuple(self._listeners.values()):
            self._call(listener, event)

    def _call(self, receiver: Callable[[T], None], fact: T) -> None:
        try:
            receiver(fact)
        except Exception:
            # Not the peer's fault, so not the peer's end.
            _log.exception("whoever was told %s raised", type(fact).__name__)

    # ---- the end -----------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """Stop at once: what this peer would say from now on could be wrong."""
        if self.failure is not None or not self.is_running:
            return
        self.failure = error
        is_plain = isinstance(error, PeerRefused | AuthenticationError)
        is_plain = is_plain or getattr(error, "is_full", False)  # Of a StorageError.
        story = None if is_plain else error
        _log.critical("peer %s stops: %s", self.name, error, exc_info=story)
        assert self._lane is not None
        self._lane.halt()
        self._halt()
        if self._closing is None:
            self._closing = self._loop.create_task(self._stop(), name="close")

    def _halt(self) -> None:
        """Take no more input, let no more effect happen, and tell everybody who waits."""
        self.is_running = False
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()
        replies, self._replies = self._replies, {}
        ended = closed(self.name, self.failure)
        for reply, request, _ in replies.values():
            self._call(reply, under_way(request, ended))

    async def _leave_and_stop(self) -> None:
        seconds = STOP_SECONDS_MAX
        if self.is_running:
            began_at = self._loop.time()
            told = asyncio.Event()
            self.ask(Leave(), lambda _: told.set())
            await _bounded(told.wait(), LEAVE_SECONDS_MAX)
            seconds -= self._loop.time() - began_at
        await self._stop(seconds)

    async def _stop(self, seconds: float = STOP_SECONDS_MAX) -> None:
        if self.is_running:
            self._halt()
        for search in self._searches:
            search.cancel()
        if self._lane is None:
            self._transport.close()
            self._storage.close()
        lane = () if self._lane is None else (self._lane.close(),)
        discoveries = (discovery.close() for discovery in self._discoveries)
        endings = asyncio.gather(*lane, *self._searches, *discoveries, return_exceptions=True)
        await _bounded(endings, seconds)
        self._stopped.set()


async def _bounded(awaitable: Awaitable[object], seconds: float) -> None:
    """Wait for it, but no longer."""
    with suppress(TimeoutError):
        await asyncio.wait_for(awaitable, seconds)
