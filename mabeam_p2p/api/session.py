"""One agent's session: its commands have their effect once, however often they are sent.

1. A session id is drawn anew for each opening; sequence numbers count from 1, which opens it.
2. A number is drawn only while the oldest one under way is less than the window away: the log
   forgets the outcomes of older ones.
3. A command whose outcome is unknown is sent again under the same number until its time is up;
   only then is the outcome unknown to the caller.
4. When the way to the peer was lost, as by a daemon's restart, the session goes on: it is opened
   again under its id, its numbers count on, and what was under way is sent again under its numbers.
5. When the log has ended the session, because its peer was away or it was silent for too long,
   another one is opened by itself. Commands that were sent under the old one are not sent under
   the new one.
6. The session 0 is the voice of a daemon's own agent: nothing is opened or numbered here.
"""

import asyncio
import contextlib
import logging
import math
import secrets
from collections import deque
from collections.abc import Awaitable, Callable

from msgspec import structs

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.leases import Lease
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.commands import (
    AnyCommand,
    CloseSession,
    KeepAlive,
    OpenSession,
    RenewLock,
    RenewTasks,
)
from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    MabeamError,
    MabeamTimeout,
    NameTaken,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
)
from mabeam_p2p.events import AgentLeft, Event
from mabeam_p2p.ids import CLUSTER_SESSION, INTEGER_MAX, SessionId, agent_id
from mabeam_p2p.requests import Answer, Committed, Failed, Refused, Submit

_log = logging.getLogger(__name__)

RETRY_SECONDS = 0.05
RETRY_SECONDS_MAX = 1.0
"""Pause before a command is sent again, doubling from the first to the second."""

RENEWAL_SECONDS = 3.0
"""How long a command waits for its session to be opened again before it is given up, unsent."""

CLOSE_SECONDS = 1.0
"""How long closing waits for the log. After that, or without a quorum, it goes on behind."""

LEADS_TO_NOTHING = CloseSession, RenewLock, RenewTasks
"""Nobody looks for what they have done, and what they keep would be over while they waited."""

NAME_GRACE_SECONDS = 1.0
"""What is added to the time after which a leader says that a dead peer's agents are gone: until the
log has it, on a busy machine."""


class Session:
    """See the module. `profile` says what the agent is; None is session 0. `renewed` is awaited
    after each opening but the first, whether it is still the same session or another one."""

    def __init__(
        self,
        attachment: Attachment,
        profile: Profile | None,
        renewed: Callable[[], Awaitable[None]],
    ) -> None:
        self.id = CLUSTER_SESSION
        self._attachment = attachment
        self._profile = profile
        self._opening: Profile | None = None
        """What the session of this id was opened with."""
        self._renewed = renewed
        self._window = attachment.limits.session_window
        self._last = 0
        self._under_way: dict[int, None] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._renewal: asyncio.Task[None] | None = None
        self._is_renewal_due = False
        """Whether something was lost since the renewal last began an attempt."""
        self._is_ended = True
        """Whether the log knows no session of this id, or none any more."""
        self._lease: Lease | None = None
        if profile is not None and profile.lease:
            self._lease = Lease(profile.lease / 1_000_000, self._keep_alive)
        self._trouble: MabeamError | None = None
        """What keeps the session from being opened again."""
        self._has_left = False
        """Whether the peer has left its cluster since the session was last opened."""
        self._is_closed = False
        self._end_listening = attachment.view.listen(self._on_event)

    # ---- life ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin, or go on; wait until the log has it. The caller bounds the time.

        Raises NameTaken if the name is still held after a dead peer's agents would be gone, other
        Rejected errors, and DaemonNotRunning: then it may be tried again.
        """
        loop = asyncio.get_running_loop()
        # Counted from when the name is first found taken under this leader: it alone sees to it
        # that the name is given up, and the next one begins from the beginning.
        give_up, led_by = math.inf, self._attachment.view.leader
        pause = RETRY_SECONDS
        command = await self._begin()
        while command is not None:
            sent_at = loop.time()
            answer, _ = await self._send(command, math.inf, is_opening=True)
            if isinstance(answer, Committed):
                self._opened_at(sent_at)
                return
            error = self._attachment.error(answer, self._purpose)
            # What the log has refused stays refused, and what it has ended, ended: it takes another
            # id. A name may be held by a session that is about to end, as that of this agent's own
            # process before it.
            is_ended = isinstance(answer, Refused) and answer.reason == "unknown_session"
            if isinstance(error, NoQuorum) or self._attachment.view.leader != led_by:
                give_up, led_by = math.inf, self._attachment.view.leader
            is_held = isinstance(error, NameTaken) and loop.time() <= give_up
            if isinstance(error, NameTaken):
                give_up = min(give_up, loop.time() + self._name_patience)
            self._is_ended = self._is_ended or isinstance(answer, Refused)
            # Certainly not done, so the same session can be asked for again. No quorum: the cluster
            # has not formed yet, or has no leader now.
            if not (is_ended or is_held or isinstance(error, NoQuorum | Overloaded)):
                raise error
            self._trouble = error
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
            if isinstance(answer, Refused):
                command = await self._begin_anew(min(give_up, loop.time() + self._name_patience))
        self._trouble = None

    async def close(self) -> None:
        """End the session in the log. If that is not heard soon, or there is no quorum, it is said
        on in the background for as long as there is a way to the peer, which may host other agents
        and stay. Idempotent; raises nothing."""
        if self._is_closed:
            return
        # First: the word of the end is no loss, after which another session would be opened.
        self._is_closed = True
        self._end_listening()
        if self._lease is not None:
            self._lease.end()
        if self._renewal is not None:
            self._renewal.cancel()
        if self.id == CLUSTER_SESSION:
            return
        self._last += 1
        command = CloseSession(self.id, self._last, "closed")
        saying = self._attachment.begin_farewell(self._say_closed(command))
        if self._attachment.view.quorum:
            await asyncio.wait({saying}, timeout=CLOSE_SECONDS)

    def lost(self, *, has_left: bool) -> None:
        """The way to the peer is lost: renew. has_left: it has said that it leaves the cluster,
        which ends its sessions at once."""
        self._has_left = self._has_left or has_left
        self.renew()

    def renew(self) -> asyncio.Task[None]:
        """Open the session again, or another one if it has ended, as soon as it can be. One at a
        time."""
        self._is_renewal_due = True
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(), name="renew session")
        return self._renewal

    # ---- commands --------------------------------------------------------------------------

    async def commit(
        self,
        command: AnyCommand,
        what: str,
        timeout: float,
        on_stamped: Callable[[SessionId, int], None] = lambda session, number: None,
    ) -> Committed:
        """Commit `command` under this session, whose session and sequence are filled in here.

        what: for messages. on_stamped: hears them before it is sent. Raises what `answers` makes of
        a refusal or failure.
        """
        answer = await self.ask(command, timeout, on_stamped=on_stamped)
        if isinstance(answer, Committed):
            return answer
        raise self._attachment.error(answer, what)

    async def ask(
        self,
        command: AnyCommand,
        timeout: float,
        *,
        within: SessionId | None = None,
        on_stamped: Callable[[SessionId, int], None] = lambda session, number: None,
    ) -> Answer:
        """As `commit`, but the answer whatever it is: Committed, Refused or Failed. within: the one
        session in which the command has a meaning; it is not sent in another."""
        if self._is_closed:
            raise self._closed()
        deadline = asyncio.get_running_loop().time() + timeout
        if self._profile is None:
            request = Submit(structs.replace(command, session=self.id, sequence=0), timeout)
            answer = await self._attachment.ask(request, timeout)
            if isinstance(answer, Committed):
                await self._attachment.caught_up(deadline)
            return answer
        while True:
            await self._opened(deadline)
            number = await self._draw(deadline)
            if self._is_closed:
                self._release(self.id, number or 0)
                raise self._closed()
            if number is None:
                return Failed("overloaded", f"{len(self._under_way)} commands are under way")
            session = self.id
            if within not in (None, session):
                self._release(session, number)
                return Refused("unknown_session", f"session {within} has ended")
            stamped = structs.replace(command, session=session, sequence=number)
            sent_at = asyncio.get_running_loop().time()
            on_stamped(session, number)
            try:
                answer, is_first = await self._send(stamped, deadline)
            except DaemonNotRunning:
                if not self._is_renewing:
                    raise
                continue
            finally:
                self._release(session, number)
            if self._lease is not None and isinstance(answer, Committed) and session == self.id:
                self._lease.renewed(sent_at)
            is_ended = isinstance(answer, Refused) and answer.reason == "unknown_session"
            if is_ended and session == self.id:
                self._is_ended = True
            # What was to be closed needs no other session.
            is_final = (
                isinstance(command, CloseSession) or within is not None or self._left(deadline) <= 0
            )
            if not is_ended or is_final:
                if isinstance(answer, Committed) and not isinstance(command, LEADS_TO_NOTHING):
                    await self._attachment.caught_up(deadline)
                return answer
            if not is_first:
                return Failed("unknown", "the session ended before the outcome was known")
            if session == self.id and not self._is_closed:
                self.renew()

    @property
    def profile(self) -> Profile | None:
        """What the agent tells of itself, at the next opening as well."""
        return self._profile

    def in_groups(self, groups: tuple[str, ...]) -> None:
        """The agent is in these groups from now on, also in its next session."""
        assert self._profile is not None
        self._profile = structs.replace(self._profile, groups=groups)

    @property
    def is_renewing(self) -> bool:
        """Whether the agent has no session that the log is known to have."""
        return self._is_renewing

    @property
    def lease_end(self) -> float:
        """When the log may end the session, by the loop's clock, if nothing more of it is applied;
        infinite without a lease."""
        return math.inf if self._lease is None else self._lease.over_at

    @property
    def doubt(self) -> str:
        """Why the log may have ended the session, as far as can be known here; else empty."""
        if self._has_left:
            return "its peer has left the cluster"
        is_over = asyncio.get_running_loop().time() >= self.lease_end
        return "the lease of the agent's session is over" if is_over else ""

    @property
    def _purpose(self) -> str:
        name = "" if self._profile is None else self._profile.name
        return f"joining cluster {self._attachment.backend.cluster!r} as agent {name!r}"

    @property
    def _is_renewing(self) -> bool:
        return self._renewal is not None and not self._renewal.done()

    async def _opened(self, deadline: float) -> None:
        """Return when no opening is under way; raise what keeps it back if that takes too long."""
        if self._renewal is None or self._renewal.done():
            return
        patience = min(self._left(deadline), RENEWAL_SECONDS)
        await asyncio.wait({self._renewal}, timeout=patience)
        if not self._is_renewing:
            return
        trouble = self._trouble
        if trouble is None or isinstance(trouble, NameTaken):
            # Its own name, that is still held for the connection or the session before.
            raise NoQuorum(
                f"peer {self._attachment.peer_name} is opening this agent's session again, since "
                f"it was lost ({trouble or 'no answer yet'}); nothing was done: try again"
            )
        raise trouble

    async def _send(
        self, command: AnyCommand, deadline: float, *, is_opening: bool = False
    ) -> tuple[Answer, bool]:
        """Send until the outcome is known or the time is up. Also: whether nothing but the last
        sending can have had an effect. Raises Closed and DaemonNotRunning if nothing was sent,
        and always if it opens the session: a daemon must be greeted first."""
        is_first = True
        pause = RETRY_SECONDS
        while True:
            left = min(self._left(deadline), self._attachment.timing.request_timeout_seconds)
            try:
                answer = await self._attachment.ask(Submit(command, left), left)
            except (Closed, DaemonNotRunning) as error:
                if is_first or is_opening:
                    raise
                answer = Failed("closed" if isinstance(error, Closed) else "unknown", str(error))
            match answer:
                case Failed(reason="unknown" | "timeout"):
                    is_last = self._left(deadline) <= pause
                case Failed(reason="no_quorum" | "overloaded" | "disk_full"):
                    is_last = is_first or self._left(deadline) <= pause
                case _:
                    is_last = True
            if is_last:
                if isinstance(answer, Failed) and not (is_first or is_opening):
                    answer = Failed("unknown", answer.detail)
                return answer, is_first
            is_first = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    # ---- numbers ---------------------------------------------------------------------------

    async def _draw(self, deadline: float) -> int | None:
        """The next sequence number, once the window allows it; None if that takes too long."""
        while self._under_way and self._last + 1 - next(iter(self._under_way)) >= self._window:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout(self._left(deadline)):
                    await turn
            except TimeoutError:
                return None
        self._last += 1
        self._under_way[self._last] = None
        return self._last

    def _release(self, session: SessionId, number: int) -> None:
        if session == self.id:
            self._under_way.pop(number, None)
        # All look again: the oldest number decides, and it may have been this one.
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _closed(self) -> Closed:
        return Closed(f"the agent at peer {self._attachment.peer_name} has been closed")

    @staticmethod
    def _left(deadline: float) -> float:
        return max(0.0, deadline - asyncio.get_running_loop().time())

    # ---- opening ---------------------------------------------------------------------------

    @property
    def _name_patience(self) -> float:
        """Seconds in which a leader ends the session of a peer that is gone, also if it has never
        seen that one: it looks once in an interval whether it is gone, and whether the grace is
        over."""
        timing = self._attachment.timing
        looks = 2 * timing.probe_interval_seconds
        gone = timing.dead_seconds + timing.departure_grace_seconds
        return gone + looks + NAME_GRACE_SECONDS

    async def _begin(self) -> OpenSession | None:
        """Greet the peer; return what opens the session, under a new id if the one before has
        ended. None for session 0, which needs no opening. Raises Closed."""
        if self._is_closed:
            raise self._closed()
        if self._profile is None:
            await self._attachment.begin(CLUSTER_SESSION)
            return None
        if self._is_ended:
            session = SessionId(secrets.randbelow(INTEGER_MAX) + 1)
            epoch = await self._attachment.begin(session)
            # From here on: closing must end what may have been opened.
            self.id = session
            self._opening = self._profile
            self._is_ended = False
            self._last = 1
            self._under_way.clear()
        else:
            epoch = await self._attachment.begin(self.id)
        backend = self._attachment.backend
        # What opened a session is said alike each time, whatever its agent has told since.
        profile = self._opening
        assert profile is not None, "the first opening draws an id"
        return OpenSession(
            self.id,
            1,
            agent_id(profile.name, backend.peer_name),
            backend.peer,
            epoch,
            profile.groups,
            profile.participates,
            profile.eligible,
            profile.capabilities,
            profile.lease,
            profile.yields,
        )

    async def _begin_anew(self, give_up: float) -> OpenSession | None:
        """As `_begin`, for another id: a daemon may have to notice first that the connection before
        has ended."""
        while True:
            try:
                return await self._begin()
            except NameTaken:
                if asyncio.get_running_loop().time() > give_up:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    def _opened_at(self, sent_at: float) -> None:
        self._trouble = None
        self._has_left = False
        if self._lease is not None:
            self._lease.renewed(sent_at)
            self._lease.keep()

    async def _keep_alive(self, seconds: float) -> None:
        await self.ask(KeepAlive(self.id, 0), seconds)

    async def _say_closed(self, command: CloseSession) -> None:
        """Until the log has said yes or no. A peer that has gone ends the session by itself."""
        seconds = self._attachment.timing.request_timeout_seconds
        pause = RETRY_SECONDS
        with contextlib.suppress(Closed, DaemonNotRunning, OutcomeUnknown):
            while isinstance(await self._attachment.ask(Submit(command, seconds), seconds), Failed):
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _renew(self) -> None:
        pause = RETRY_SECONDS
        while self._is_renewal_due and not self._is_closed:
            self._is_renewal_due = False
            try:
                await self.open()
                await self._tell_renewed()
            except Closed:
                return
            except (DaemonNotRunning, NameTaken, Overloaded) as error:
                # The daemon may be about to come back, or to notice that the connection is lost, or
                # have room for another client.
                self._trouble = error
                self._is_renewal_due = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS_MAX)
            except MabeamError as error:
                # Whoever asks next hears why; there is nobody else to tell.
                _log.warning("the session of an agent cannot be opened again: %s", error)
                return

    async def _tell_renewed(self) -> None:
        """Until the agent has looked at everything anew, or must begin once more."""
        pause = RETRY_SECONDS
        while not self._is_renewal_due:
            try:
                await self._renewed()
            except (MabeamTimeout, NoQuorum, Overloaded, OutcomeUnknown) as error:
                # The session stands, so that it must not be opened again for this.
                _log.info("an agent that is attached anew cannot look at what it missed: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS_MAX)
            else:
                return

    def _on_event(self, event: Event) -> None:
        is_ours = isinstance(event, AgentLeft) and event.agent.session == self.id
        if is_ours and not self._is_closed and self._profile is not None:
            self._is_ended = True
            self.renew()
