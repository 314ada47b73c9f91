"""What an agent holds of locks and queues, and how it learns that it does not any more.

1. A grant is lost when the log has ended it for another reason than our own word; when its lease,
   or the session's, is over by our own clock, counted from the last word that was sent, which is
   earlier than the log can have counted; when this peer has had no quorum, or an attached agent
   no way to it, for as long as it takes others to count it as dead; and as soon as it says that
   it has left. Those between the first and the last are told before anybody else can hold it, if
   clocks run at about one rate. Nothing in safety rests on that: whatever must not be done twice
   checks the token (Guard).
2. A command whose outcome nobody heard may have made a claim. It is given up under its number,
   again and again until the log has that word or the session has ended.
3. Whoever waits asks its peer nothing meanwhile: events tell it to look. So any number can wait
   without keeping the word of a release from the peer.
4. After a lost connection, or lost events, every claim is looked up.
"""

import asyncio
import contextlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TypeVar

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.claims import Claimed, claims_in
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import AnyEndClaim, AnyRecipeCommand, RenewLock
from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    InvalidValue,
    LeaseLost,
    MabeamError,
    MabeamTimeout,
    NoQuorum,
    Overloaded,
    Rejected,
)
from mabeam_p2p.events import (
    EVENTS_LOST,
    Dropped,
    Event,
    ItemTaken,
    LockEnded,
    LockGranted,
    QuorumChanged,
    TakeEnded,
)
from mabeam_p2p.ids import CLUSTER_SESSION, SessionId
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import Answer, Committed, Failed, LockQuery, QueueQuery, Refused

_log = logging.getLogger(__name__)

RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 2.0
"""Pause before a claim is given up again, doubling from the first to the second."""

END_GRACE_SECONDS = 5.0
"""How much later than its deadline the end of a wait may reach this agent: the log ends it, and a
change of leader may come between."""

LOOK_SECONDS = 3.0
"""How often a claim that waits is looked up, should its news be lost without a word."""

IN_TIME = 0.9
"""Of its time a wait has lasted at least if it ended by its deadline; clocks differ by less."""

OWN_WORDS = ("released", "acknowledged", "returned")
"""Reasons of ends that the holder itself has asked for."""

ENDS_REMEMBERED = 1_024
"""Ends that were told before the grant was known here."""

CERTAIN = (Rejected, NoQuorum, Overloaded, Closed, DaemonNotRunning, InvalidValue)
"""Errors that say: certainly not done."""

OnLost = TypeVar("OnLost", bound=Callable[[str], object])


class Lease:
    """One grant: a lock, or a part of one, that this agent holds until it releases or loses it."""

    def __init__(self, grants: "Grants", claimed: Claimed, claim: Claim) -> None:
        """Not for users."""
        self.name = claimed.name
        """Of the lock or queue, as it is called in the log."""
        self.token = claim.token
        """Greater than that of every earlier grant of this name: what `Guard` compares."""
        self.ticket = claim.ticket
        """Log index of the claim."""
        self._grants = grants
        self._claimed = claimed
        self._lease_seconds = claim.lease / 1_000_000
        self._lost = ""
        """Why it is lost; empty while it is not."""
        self._ended = False
        """Whether the holder itself has ended it."""
        self._listeners: list[Callable[[str], object]] = []
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it was taken away, as far as can be known here: somebody else may hold it."""
        if not self._ended and not self._lost:
            self._grants.look_at(self)
        return bool(self._lost)

    def check(self) -> None:
        """Raise LeaseLost if it is lost."""
        if self.is_lost:
            raise self.lost_error()

    def on_lost(self, callback: OnLost) -> OnLost:
        """Call the decorated plain function with the reason, once, if the lease is lost; on this
        agent's loop."""
        if self.is_lost:
            callback(self._lost)
        else:
            self._listeners.append(callback)
        return callback

    async def renew(self) -> None:
        """Begin the lease anew, with its length from now. Raises LeaseLost; InvalidValue for a lock
        that has none; NoQuorum and OutcomeUnknown, then it goes on until its old end."""
        if not self._lease_seconds:
            raise InvalidValue(
                f"lock {self.name!r} was taken without a lease: there is none to renew"
            )
        self.check()
        sent_at = asyncio.get_running_loop().time()
        command = RenewLock(CLUSTER_SESSION, 0, self.name, self._claimed.number)
        answer = await self._grants.say(command, self._claimed.session)
        if isinstance(answer, Refused):
            self.lose("it had ended before it was renewed")
        self.check()
        if not isinstance(answer, Committed):
            raise self._grants.attachment.error(answer, f"renewing lock {self.name!r}")
        self.extend(sent_at)

    async def release(self) -> None:
        """Give it back. Idempotent. Raises LeaseLost if it was lost before; NoQuorum and
        OutcomeUnknown if the cluster was not reached: it is asked again in the background."""
        await self._end(self._claimed.end())

    async def __aenter__(self) -> "Lease":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._finish(kind is not None)
        except MabeamError as trouble:
            # What went wrong inside is what the caller must hear.
            if kind is None:
                raise
            _log.warning("%s", trouble)

    # ---- for the parts of the package ----------------------------------------------------------

    @property
    def has_lease(self) -> bool:
        return bool(self._lease_seconds)

    @property
    def session(self) -> SessionId:
        return self._claimed.session

    @property
    def query(self) -> LockQuery | QueueQuery:
        """What finds the claim in the log, while it lasts."""
        return self._claimed.query(self.ticket)

    def extend(self, sent_at: float) -> None:
        """The lease was asked for at that time by the loop's clock."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_at(
            sent_at + self._lease_seconds, self.doubt, "its lease is over"
        )

    def doubt(self, reason: str) -> None:
        """Lose it, as far as can be known here; the log shall not think otherwise."""
        if not self._ended and not self._lost:
            self._grants.give_up(self._claimed)
        self.lose(reason)

    def lose(self, reason: str) -> None:
        """The log has ended it: tell the holder. Idempotent."""
        if self._ended or self._lost:
            return
        self._lost = reason
        self._forget()
        for listener in self._listeners:
            try:
                listener(reason)
            except Exception:
                _log.exception("what was to be called when %r was lost has failed", self.name)

    def lost_error(self) -> LeaseLost:
        return LeaseLost(
            f"{self._claimed.what} was lost at peer {self._grants.attachment.peer_name}: "
            f"{self._lost}; somebody else may hold it, so that what was done under token "
            f"{self.token} counts only where tokens are checked (see Guard): take it again",
            name=self.name,
            token=self.token,
            reason=self._lost,
        )

    async def _finish(self, failed: bool) -> None:
        await self.release()

    async def _end(self, command: AnyEndClaim) -> None:
        if self._ended:
            return
        was_lost = self.is_lost
        self._ended = True
        self._forget()
        answer = await self._grants.end(command, self._claimed.session)
        if isinstance(answer, Refused) and not was_lost:
            self._lost, was_lost = "the log had ended it", True
        if was_lost:
            raise self.lost_error()
        if not isinstance(answer, Committed):
            raise self._grants.attachment.error(answer, f"ending {self._claimed.what}")

    def _forget(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._grants.held.pop(self.ticket, None)


class Grants:
    """All that one agent holds."""

    def __init__(self, attachment: Attachment, session: Session) -> None:
        self.attachment = attachment
        self.held: dict[int, Lease] = {}
        """By ticket."""
        self._session = session
        self._waiting: dict[int, asyncio.Event] = {}
        """News of the claims that wait, by ticket."""
        self._ends: OrderedDict[int, str] = OrderedDict()
        """Reasons of the last ends, by ticket."""
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._doubt: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        """When the session's lease is looked at."""
        self._end_listening = attachment.view.listen(self._on_event)
        self._end_mending = attachment.on_mended(self.look)

    def close(self) -> None:
        """The session has ended, and all that it held. Idempotent."""
        self._end_listening()
        self._end_mending()
        for timer in (self._doubt, self._watch):
            if timer is not None:
                timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        for lease in tuple(self.held.values()):
            lease.lose("the agent was closed")

    def keep(self, lease: Lease, sent_at: float) -> None:
        """From now on its loss is told. sent_at: of the command that asked for it."""
        self.held[lease.ticket] = lease
        if lease.has_lease:
            lease.extend(sent_at)
        if lease.ticket in self._ends:
            lease.lose(self._ends[lease.ticket])
        self.look_at(lease)
        if self._watch is None:
            self._watch_session()

    def look_at(self, lease: Lease) -> None:
        """Judge by what is known here."""
        if lease.session != self._session.id:
            lease.lose("the agent's session has ended")
        elif reason := self._session.doubt:
            lease.doubt(reason)

    def look(self) -> None:
        """Judge all by what is known here, which no event may have told."""
        self._on_quorum(self.attachment.view.quorum)
        self._look_at_held()

    def forget(self) -> None:
        """The peer has another log than the one that has granted this."""
        self._doubt_all("another log has taken the place of the one that granted it")
        self._ends.clear()

    def _look_at_held(self) -> None:
        for lease in tuple(self.held.values()):
            self.look_at(lease)

    def _watch_session(self) -> None:
        """Look at the grants when the session's lease may be over, as long as there are any."""
        self._watch = None
        self._look_at_held()
        if self.held and math.isfinite(self._session.lease_end):
            loop = asyncio.get_running_loop()
            self._watch = loop.call_at(self._session.lease_end, self._watch_session)

    async def claim(self, command: AnyRecipeCommand, claimed: Claimed, timeout: float) -> Committed:
        """Commit what makes a claim. If its outcome stays unknown the claim is given up."""
        if self._session.id == CLUSTER_SESSION:
            raise Rejected(
                f"{claimed.what} at peer {self.attachment.peer_name}: the daemon's own agent holds "
                "nothing: connect under a name of your own",
                reason="no_session",
            )
        try:
            return await self._session.commit(command, claimed.what, timeout, claimed.stamped)
        except (MabeamError, asyncio.CancelledError) as error:
            if not isinstance(error, CERTAIN):
                self.give_up(claimed)
            raise

    async def settled(
        self, claimed: Claimed, ticket: int, began: float, seconds: float
    ) -> Claim | None:
        """The claim once it is granted; None if its time was over. began: when the wait of so many
        seconds began, by the loop's clock. Raises LeaseLost if it has ended otherwise, and
        MabeamTimeout if nobody told what became of it."""
        loop = asyncio.get_running_loop()
        peer_name = self.attachment.peer_name
        what = f"waiting for {claimed.what}"
        deadline = max(began + seconds, loop.time()) + END_GRACE_SECONDS
        news = self._waiting[ticket] = asyncio.Event()
        try:
            while (claims := await self._claims_at(claimed.query(ticket), ticket, what)) is None:
                left = deadline - loop.time()
                if left <= 0:
                    raise MabeamTimeout(
                        f"{what}: peer {peer_name} has not heard in {loop.time() - began:.1f} s "
                        "what became of it; it is given up: see `mabeam status` for a quorum, then "
                        "try again"
                    )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK_SECONDS)):
                        await news.wait()
                news.clear()
        finally:
            del self._waiting[ticket]
        for claim in claims:
            return claim
        if loop.time() - began >= seconds * IN_TIME:
            return None
        reason = "the agent's session has ended"
        raise LeaseLost(
            f"{what} at peer {peer_name} has ended before its time: {reason}; try again",
            name=claimed.name,
            token=0,
            reason=reason,
        )

    async def _claims_at(
        self, query: LockQuery | QueueQuery, ticket: int, what: str
    ) -> list[Claim] | None:
        """The claim of this ticket if it is granted, nothing if it has ended; None: it waits, as
        far as can be known here."""
        try:
            found = await self.attachment.find(query, what)
        except Closed:
            raise
        except MabeamError:
            # The daemon is away.
            return None
        claims = claims_in(found)
        is_known = found.index >= ticket and all(claim.token for claim in claims)
        return claims if is_known else None

    async def say(self, command: AnyRecipeCommand, session: SessionId) -> Answer:
        """The answer to a command that has a meaning in this session alone."""
        seconds = self.attachment.timing.request_timeout_seconds
        return await self._session.ask(command, seconds, within=session)

    async def end(self, command: AnyEndClaim, session: SessionId) -> Answer:
        """As `say`; if nothing is known of it in time, or nobody waits, it goes on being said."""
        try:
            answer = await self.say(command, session)
        except Closed:
            return Refused("unknown_session", "the agent was closed")
        except (MabeamError, asyncio.CancelledError):
            self._go_on(command, session)
            raise
        if isinstance(answer, Failed):
            self._go_on(command, session)
        return answer

    def give_up(self, claimed: Claimed) -> None:
        """End a claim of which nobody will hear, in the background."""
        if claimed.number:
            self._go_on(claimed.end(), claimed.session)

    async def look_again(self) -> None:
        """Look every claim up: news of it may have been lost, and of the quorum."""
        self.look()
        for news in self._waiting.values():
            news.set()
        for lease in tuple(self.held.values()):
            with contextlib.suppress(MabeamError):
                found = await self.attachment.find(lease.query, "looking a grant up")
                # A daemon that was restarted may not have come as far again.
                if found.index >= lease.ticket and not claims_in(found):
                    lease.lose("the log had ended it")

    def _go_on(self, command: AnyEndClaim, session: SessionId) -> None:
        self._begin(self._say_until_heard(command, session), "give up claim")

    def _begin(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _say_until_heard(self, command: AnyEndClaim, session: SessionId) -> None:
        pause = RETRY_SECONDS
        while self._session.id == session:
            answer: Answer | None
            try:
                answer = await self.say(command, session)
            except Closed:
                return
            except MabeamError:
                answer = None
            if isinstance(answer, Committed | Refused):
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    def _on_event(self, event: Event) -> None:
        match event:
            case LockEnded(claim=claim, reason=reason) | TakeEnded(claim=claim, reason=reason):
                self._on_end(claim.ticket, reason)
                self._tell(claim.ticket)
            case LockGranted(claim=claim) | ItemTaken(claim=claim):
                self._tell(claim.ticket)
            case QuorumChanged(quorum=quorum):
                self._on_quorum(quorum)
            case Dropped(reason=reason) if reason == EVENTS_LOST:
                self._begin(self.look_again(), "look grants up")
            case _:
                # The others end nothing.
                pass

    def _tell(self, ticket: int) -> None:
        """There is news of a claim."""
        if ticket in self._waiting:
            self._waiting[ticket].set()

    def _on_end(self, ticket: int, reason: str) -> None:
        if reason in OWN_WORDS:
            return
        lease = self.held.get(ticket)
        if lease is not None:
            lease.lose(reason)
            return
        self._ends[ticket] = reason
        if len(self._ends) > ENDS_REMEMBERED:
            self._ends.popitem(last=False)

    def _on_quorum(self, quorum: bool) -> None:
        if quorum and self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
        if not quorum and self._doubt is None:
            seconds = self.attachment.timing.dead_seconds
            reason = "this peer has had no quorum for so long that it may count as dead"
            self._doubt = asyncio.get_running_loop().call_later(seconds, self._doubt_all, reason)

    def _doubt_all(self, reason: str) -> None:
        for lease in tuple(self.held.values()):
            lease.doubt(reason)
