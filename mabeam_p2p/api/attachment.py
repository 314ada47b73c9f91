"""How agents are tied to one peer, near or far: its questions and answers, and the view of it.

Owns the backend's listener and the view; decides what a missing answer means. It knows nothing of
what agents do with either.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine

from mabeam_p2p.api import answers
from mabeam_p2p.api.bulk import BulkAccess
from mabeam_p2p.api.results import Leader
from mabeam_p2p.api.values import check_request, check_seconds
from mabeam_p2p.api.view import View
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.errors import Closed, DaemonNotRunning, MabeamError, Overloaded, UnknownPeer
from mabeam_p2p.events import EVENTS_LOST, Dropped, Event
from mabeam_p2p.ids import (
    AuctionId,
    ClusterId,
    PeerId,
    ProposalId,
    SessionId,
    is_peer_id,
)
from mabeam_p2p.ports import Backend
from mabeam_p2p.records import Status
from mabeam_p2p.requests import (
    COMMANDS,
    EFFECTS,
    AccountQuery,
    Answer,
    AuctionQuery,
    Await,
    ChangeVoters,
    Committed,
    Failed,
    Found,
    Members,
    ParameterQuery,
    ProposalQuery,
    Query,
    Read,
    ReadMembers,
    ReadStatus,
    ReadVariables,
    Request,
    SeatQuery,
    StatusAnswer,
    Variables,
)

_log = logging.getLogger(__name__)

ANSWER_GRACE_SECONDS = 1.0
"""How much longer than the request's own timeout an answer is waited for: a peer answers always, a
daemon that was stopped does not."""

RETRY_SECONDS = 0.2
"""Pause before a wait that ended too early is begun again."""

Begin = Callable[[SessionId], Awaitable[int]]
"""Makes the peer ready for a session that is about to open; returns the peer's epoch."""


class Attachment:
    """One peer and its view, which is kept from now on and complete after `read_anew`.

    begin: None for a near peer, for which nothing needs to be prepared.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        limits: Limits | None = None,
        timing: Timing | None = None,
        begin: Begin | None = None,
    ) -> None:
        self.backend = backend
        self.limits = limits or Limits()
        self.timing = timing or Timing()
        self.view = View()
        self.begin: Begin = begin or self._read_epoch
        self.bulk = BulkAccess(self._address, self.limits)
        """The way to tensors of other agents."""
        self._end_listening = backend.listen(self._on_event)
        self._reading: asyncio.Task[None] | None = None
        self._losses = 0
        """How often events, or the way to the peer, were lost."""
        self._made_good = 0
        """How many of these losses the view was read anew behind."""
        self._menders: list[Callable[[], None]] = []
        self._forgetters: list[Callable[[], None]] = []
        self._cluster_id = ClusterId("")
        """Of the log that the view is of; empty: there was none yet."""
        self._farewells: dict[asyncio.Task[None], None] = {}

    @property
    def peer_name(self) -> str:
        return self.backend.peer_name

    async def close(self) -> None:
        """Stop listening and close the backend. Idempotent."""
        self._end_listening()
        self.bulk.close()
        if self._reading is not None:
            self._reading.cancel()
        for saying in tuple(self._farewells):
            saying.cancel()
        # Nothing more will come.
        self._made_good = self._losses
        self.view.on_lost()
        await self.backend.close()

    def begin_farewell(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Something that outlives its agent: it goes on until it has ended, or there is no way to
        the peer any more."""
        saying = asyncio.create_task(work, name="farewell")
        self._farewells[saying] = None
        saying.add_done_callback(self._on_farewell_ended)
        return saying

    def _on_farewell_ended(self, saying: asyncio.Task[None]) -> None:
        self._farewells.pop(saying, None)
        error = None if saying.cancelled() else saying.exception()
        # With the peer gone there is nobody left to tell, nor anybody who waits.
        if error is not None and not isinstance(error, MabeamError):
            _log.error("a farewell to peer %s failed", self.peer_name, exc_info=error)

    async def carried_out(self, work: Coroutine[object, object, None]) -> None:
        """Await `work`. If the wait is cancelled it goes on, as a farewell."""
        await asyncio.shield(self.begin_farewell(work))

    async def ask(self, request: Request, timeout: float) -> Answer:
        """The answer, or a Failed in its place if none comes in time or a queue is full here.

        Raises Closed, and DaemonNotRunning if the peer is away: what has an effect (EFFECTS) was
        certainly not sent then; anything else may be asked again. OutcomeUnknown if the peer is
        embedded and has ended meanwhile. InvalidValue for what cannot travel.
        """
        check_seconds(timeout)
        check_request(request, self.limits)
        try:
            asked = self.backend.ask(request)
        except Overloaded as error:
            return Failed("overloaded", str(error))
        try:
            async with asyncio.timeout(timeout + ANSWER_GRACE_SECONDS):
                return await asked
        except DaemonNotRunning as error:
            if isinstance(request, EFFECTS):
                return Failed("unknown", str(error))
            raise
        except TimeoutError:
            reason = "unknown" if isinstance(request, COMMANDS) else "timeout"
            return Failed(reason, f"no answer within {timeout:g} s")

    async def find(
        self, query: Query, what: str, *, linearizable: bool = False, timeout: float | None = None
    ) -> Found:
        """What the log has made. Raises NoQuorum if `linearizable` cannot be had."""
        seconds = self.timing.request_timeout_seconds if timeout is None else timeout
        answer = await self.ask(Read(query, linearizable, seconds), seconds)
        if isinstance(answer, Found):
            return answer
        raise self.error(answer, what)

    async def find_anywhere(
        self, query: Query, what: str, is_there: Callable[[Found], object]
    ) -> Found:
        """What this peer knows; or, where that is nothing, what the leader does, who may know of it
        earlier. Raises NoQuorum if that cannot be had."""
        found = await self.find(query, what)
        return found if is_there(found) else await self.find(query, what, linearizable=True)

    async def settled(self, query: Query, what: str, deadline: float) -> Found | None:
        """The answer once the query is settled, asked for again while there is time; None: it is
        not settled as far as the peer knew at `deadline`, which is by the loop's clock. What has
        settled it is in the view, as `caught_up` has it."""
        loop = asyncio.get_running_loop()
        while True:
            left = max(0.0, deadline - loop.time())
            answer: Answer
            try:
                answer = await self.ask(Await(query, left), left)
            except DaemonNotRunning as error:
                answer = Failed("timeout", str(error))
            match answer:
                case Found():
                    await self.caught_up(deadline)
                    return answer
                case Failed(reason="timeout") if loop.time() + RETRY_SECONDS < deadline:
                    await asyncio.sleep(RETRY_SECONDS)
                case Failed(reason="timeout"):
                    return None
                case _:
                    raise self.error(answer, what)

    async def change_voters(self, peer: str, votes: bool, index: int, timeout: float | None) -> int:
        """Let a peer vote in the log, or not; return the index of the configuration. `peer`: its
        id, or the name of a member that is here."""
        seconds = self.timing.request_timeout_seconds if timeout is None else timeout
        what = f"{'promoting' if votes else 'removing'} {peer}"
        found = self.peer_called(peer)
        answer = await self.ask(ChangeVoters(found, votes, index, seconds), seconds)
        if isinstance(answer, Committed):
            return answer.index
        raise self.error(answer, what)

    def peer_called(self, peer: str) -> PeerId:
        """A member by its name, or whatever peer has this id. Raises UnknownPeer."""
        found = self.find_peer(peer) or (PeerId(peer) if is_peer_id(peer) else None)
        if found is None:
            raise UnknownPeer(
                f"no peer is called {peer!r}: see `mabeam members` for names and ids",
                reason="no_member",
            )
        return found

    def find_peer(self, peer: str) -> PeerId | None:
        """A member by its name or its id; of several that have had a name, the one that is here."""
        named = [member for member in self.view.members() if peer in (member.name, member.id)]
        if not named:
            return None
        return PeerId(min(named, key=lambda m: (m.state not in ("alive", "suspect"), m.id)).id)

    async def status(self) -> Status:
        seconds = self.timing.request_timeout_seconds
        answer = await self.ask(ReadStatus(), seconds)
        if isinstance(answer, StatusAnswer):
            return answer.status
        raise self.error(answer, "status")

    def on_mended(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when lost events have been made good by reading the view anew: what they
        told is in the view, and nobody was told. The result ends that."""
        return _listed(self._menders, listener)

    def on_other_log(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when the view was read anew and is of the log of another cluster: the
        peer was started on another data folder, or on one that was emptied or repaired. The result
        ends that."""
        return _listed(self._forgetters, listener)

    def lost(self) -> None:
        """The way to the peer is lost, and what it tells, until the view is read anew."""
        self._losses += 1
        self.view.on_lost()

    async def read_anew(self) -> None:
        """Take in the peer's whole present view."""
        losses = self._losses
        with self.view.reading():
            await self._read_anew()
        self._made_good = max(self._made_good, losses)

    async def caught_up(self, deadline: float) -> None:
        """Return when what was lost until now has been made good by reading the view anew, and at
        `deadline`, by the loop's clock, in any case: the answer to what has led to it can be told
        then. What is lost later is not waited for, so that losses without end keep nobody."""
        losses = self._losses
        if self._made_good < losses:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self.view.until(lambda: self._made_good >= losses)

    def error(self, answer: Answer, what: str) -> MabeamError:
        """The exception for an answer that is not the one hoped for."""
        return answers.error(answer, self.peer_name, what)

    async def _read_anew(self) -> None:
        seconds = self.timing.request_timeout_seconds
        # All asked at once: they are answered in order.
        made_by_log = asyncio.gather(
            self.find(ParameterQuery(""), "parameters"),
            self.find(ProposalQuery(ProposalId("")), "proposals"),
            self.find(AccountQuery("", ""), "accounts"),
            self.find(SeatQuery(""), "seats"),
            self.find(AuctionQuery(AuctionId(""), True), "auctions"),
        )
        status, members, variables, found = await asyncio.gather(
            self.status(),
            self.ask(ReadMembers(), seconds),
            self.ask(ReadVariables(""), seconds),
            made_by_log,
        )
        parameters, proposals, accounts, seats, auctions = found
        leader = status.leader
        self.view.on_status(
            None if leader is None else Leader(str(leader), status.leader_name, status.term),
            status.quorum,
            status.ready,
        )
        if not isinstance(members, Members):
            raise self.error(members, "members")
        if not isinstance(variables, Variables):
            raise self.error(variables, "variables")
        is_other = self._begin_log(status.cluster_id)
        self.view.on_members(members.members, members.agents)
        for parameter in parameters.parameters:
            self.view.parameters.put(parameter.name, parameter)
        self.view.on_proposals(proposals.proposals)
        for schema in parameters.schemas:
            self.view.schemas.put(schema.name, schema)
        self.view.on_accounts(accounts.accounts)
        self.view.on_auctions(auctions.auctions)
        self.view.on_seats(seats.seats)
        for variable in variables.variables:
            self.view.variables.put(variable.name, variable)
        if is_other:
            for listener in tuple(self._forgetters):
                listener()

    def _begin_log(self, cluster_id: ClusterId) -> bool:
        """Whether it is another log than before; then what was known of that is forgotten. Where no
        cluster has formed there is no log."""
        former = self._cluster_id
        self._cluster_id = cluster_id or former
        is_other = bool(former) and self._cluster_id != former
        if is_other:
            _log.warning(
                "peer %s has the log of another cluster (%s, and not %s): it begins anew",
                self.peer_name,
                cluster_id,
                former,
            )
            self.view.forget()
        return is_other

    def _on_event(self, event: Event) -> None:
        self.view.on_event(event)
        if isinstance(event, Dropped) and event.reason == EVENTS_LOST:
            self._losses += 1
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._mend(), name="read anew")

    async def _mend(self) -> None:
        """Read until nothing was lost meanwhile, then tell whoever acts on events."""
        while self._made_good < self._losses:
            try:
                await self.read_anew()
            except (Closed, DaemonNotRunning):
                # Whoever is attached anew reads it then.
                return
            except MabeamError as error:
                _log.info("lost events are not made good yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        for listener in tuple(self._menders):
            listener()

    async def _address(self) -> str:
        """Of the peer, as it is now."""
        return self.view.address_of(self.backend.peer) or (await self.status()).address

    async def _read_epoch(self, session: SessionId) -> int:
        return (await self.status()).epoch


def _listed(
    listeners: list[Callable[[], None]], listener: Callable[[], None]
) -> Callable[[], None]:
    """Add it; the result takes it out again."""
    listeners.append(listener)

    def end() -> None:
        if listener in listeners:
            listeners.remove(listener)

    return end
