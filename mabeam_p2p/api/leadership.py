"""Work that is done only while an agent holds a seat.

1. Entering waits until the agent holds the seat; it stands for it meanwhile.
2. The seat is lost when the log gives it to another or takes it back, when the agent has another
   session in the log, or its lease has run out, when its peer has left, or when it has had no
   quorum, or an attached agent no way to it, for as long as a peer may be silent before it counts
   as dead: what the log says then cannot be known, and another may hold the seat soon.
3. Leaving gives the seat up. If that does not reach the log at once, it is tried on.

Between the loss and the moment at which this agent hears of it another one may have begun: what
must not happen twice checks the token.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType

from mabeam_p2p.api.results.seats import AmongWord, Seat
from mabeam_p2p.api.seats import RESIGN_SECONDS, Seats
from mabeam_p2p.errors import (
    DaemonNotRunning,
    InvalidValue,
    LeadershipLost,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
)
from mabeam_p2p.ids import SessionId, check_key, scoped

ASK_AGAIN_SECONDS = 12.0
"""Who waits for a seat says so again: the log may have forgotten it, or a holder that never asked
for the seat may have to give way by now."""

RETRY_SECONDS = 0.5
LOOK_SECONDS = 0.25
"""How often a holder looks for what no event tells: whether its daemon is there."""

_PASSING = (NoQuorum, OutcomeUnknown, Overloaded, DaemonNotRunning)
"""Faults that a waiting agent sits out."""


class Leadership:
    """`async with agent.leadership(...) as seat:`: the body runs while the seat is held. It is
    cancelled when the seat is lost, and LeadershipLost is raised in its place."""

    def __init__(
        self,
        seats: Seats,
        group: str,
        name: str,
        *,
        timeout: float | None,
        among: AmongWord,
        weights: Mapping[str, float] | None,
    ) -> None:
        """Not for users."""
        if timeout is not None and not timeout > 0:
            raise InvalidValue(f"timeout {timeout!r}: take a number of seconds over 0, or None")
        self.name = check_key(name, "seat")
        self._seat: Seat | None = None
        self._lost = ""
        self._seats = seats
        self._group = group
        self._timeout = timeout
        seconds = seats.attachment.timing.election_seconds
        self._command = seats.command(group, name, seconds, True, False, among, weights)
        self._watching: asyncio.Task[None] | None = None
        self._session = seats.session.id
        self._cancelling = 0
        self._body: asyncio.Task[object] | None = None
        self._is_body_cancelled = False

    @property
    def seat(self) -> Seat | None:
        """As it was granted, once it has been."""
        return self._seat

    @property
    def lost(self) -> str:
        """Why the seat was lost; empty while it was not."""
        return self._lost

    @property
    def is_lost(self) -> bool:
        return bool(self._lost)

    async def __aenter__(self) -> Seat:
        body: asyncio.Task[object] | None = asyncio.current_task()
        assert body is not None
        seat = await self.begin(self._cancel_body)
        self._body, self._cancelling = body, body.cancelling()
        if self._lost:
            # Between the grant and here.
            self._cancel_body()
        return seat

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        body, self._body = self._body, None
        if self._is_body_cancelled and body is not None:
            ours = body.uncancel() <= self._cancelling
            if kind is None:
                # The body ended before it saw the cancellation, which must not hit what follows.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            await self.end()
            if ours and (kind is None or kind is asyncio.CancelledError):
                raise self.error() from error
            return
        await self.end()

    # ---- also for the blocking face ----------------------------------------------------------

    async def begin(self, on_lost: Callable[[], None]) -> Seat:
        """Wait for the seat. on_lost: called once, when it is lost before `end`."""
        assert self._watching is None, "a leadership is entered once"
        loop = asyncio.get_running_loop()
        deadline = None if self._timeout is None else loop.time() + self._timeout
        seats = self._seats
        try:
            async with seats.asking(self._group, self.name, self._timeout):
                seat = await self._wait(deadline)
                seats.given(self._group, self.name)
        except BaseException:
            # Who does not wait any more does not want it any more.
            await self._stand_down()
            raise
        self._seat = seat
        self._watching = asyncio.create_task(self._watch(on_lost), name=f"watch seat {self.name}")
        return seat

    async def end(self) -> None:
        """Give the seat up, if it is still held."""
        if self._watching is not None:
            self._watching.cancel()
        # Begun before anything is waited for, so that it is said even if this is cancelled.
        await self._stand_down()

    def error(self) -> LeadershipLost:
        seats = self._seats
        token = 0 if self._seat is None else self._seat.token
        return LeadershipLost(
            f"agent {seats.agent} has lost seat {self.name!r} of group {self._group!r} (token "
            f"{token}): {self._lost}; stop what depends on it, and enter `leadership` again"
        )

    # ---- waiting and watching ----------------------------------------------------------------

    async def _wait(self, deadline: float | None) -> Seat:
        seats, view = self._seats, self._seats.attachment.view
        loop = asyncio.get_running_loop()
        while True:
            left = ASK_AGAIN_SECONDS if deadline is None else deadline - loop.time()
            if left <= 0:
                raise seats.late(self.name, self._group, self._timeout or 0.0)
            patience = min(left, ASK_AGAIN_SECONDS)
            session = seats.session.id
            try:
                await seats.session.commit(
                    self._command, f"standing for seat {self.name!r}", patience
                )
            except _PASSING:
                await asyncio.sleep(min(RETRY_SECONDS, patience))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await view.until(partial(self._is_over, session))
            if self._holds() and seats.session.id == session:
                self._session = session
                return seats.seat(self._group, self.name)

    def _is_over(self, session: SessionId) -> bool:
        """Whether waiting under this session has come to an end."""
        return self._holds() or self._seats.session.id != session

    def _holds(self) -> bool:
        record = self._seats.record(scoped(self._group, self.name))
        return record is not None and record.holder == self._seats.agent

    async def _watch(self, on_lost: Callable[[], None]) -> None:
        seats = self._seats
        view, timing = seats.attachment.view, seats.attachment.timing
        loop = asyncio.get_running_loop()
        silent_since: float | None = None
        while not self._lost:
            is_connected = view.quorum and not seats.session.is_renewing
            if is_connected:
                silent_since = None
            elif silent_since is None:
                silent_since = loop.time()
            if silent_since is not None and loop.time() - silent_since >= timing.dead_seconds:
                self._lost = f"no quorum for {timing.dead_seconds:g} s"
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await view.until(lambda: bool(self._fault()))
            self._lost = self._fault()
        on_lost()

    def _fault(self) -> str:
        """Why the seat is not this grant's any more; empty while it is."""
        assert self._seat is not None
        if self._seats.session.id != self._session:
            return "the cluster had lost the agent's session"
        if reason := self._seats.session.doubt:
            return reason
        record = self._seats.record(scoped(self._group, self.name))
        if record is None:
            return "the log has forgotten the seat"
        if not record.holder:
            return record.reason
        if record.token != self._seat.token:
            return f"{record.holder} was elected (token {record.token})"
        return ""

    def _cancel_body(self) -> None:
        if self._body is not None and not self._is_body_cancelled:
            self._is_body_cancelled = True
            self._body.cancel()

    async def _stand_down(self) -> None:
        """Neither hold the seat nor want it. What cannot be said now is said later."""
        if self._seats.session.id != self._session and self._seat is not None:
            return
        saying = self._seats.give_up(self._group, self.name)
        if saying is not None:
            await asyncio.wait({saying}, timeout=RESIGN_SECONDS)
