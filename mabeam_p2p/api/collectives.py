"""Arrays among agents: reduced, broadcast and gathered, over the members that the log names.

1. The parties meet at a barrier. Its end, one entry of the log, fixes the members, and shows each
   what all bring and where they are reached. Who does not fit fails for all alike, before a byte
   has moved.
2. The data moves between them, beside the log.
3. They meet once more, as named members, each when it has the whole result. Only if all of them
   come does any of them return it.
4. If a member departs before that, the log ends that meeting for all, names who is gone, and the
   rest begin again without it. So nobody returns a result over other members than the others.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from mabeam_p2p.api.arrays import Array, Layout
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.barriers import END_GRACE_SECONDS
from mabeam_p2p.api.bulk import Endpoint, settle
from mabeam_p2p.api.results import Result
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import microseconds, whole
from mabeam_p2p.commands import Arrive
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import (
    BulkBroken,
    BulkMismatch,
    InvalidValue,
    NoQuorum,
    NotEligible,
    Overloaded,
)
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, check_key
from mabeam_p2p.messages import BULK_TOKEN_BYTES
from mabeam_p2p.protocol.bulk import Plan
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import GenerationQuery
from mabeam_p2p.runtime.bulk import Combine, Order, Party, Run

WATCH_SECONDS = 0.25
"""How long data may move before the log is asked to watch the members. Most exchanges are over by
then, and spare it the work."""

MEETINGS_MAX = 16
"""Exchanges of one name that can be under way at a time; names of meetings are used again."""

RETRY_SECONDS = 0.2
AWAY = "the cluster took this agent as gone"


@dataclass(frozen=True, slots=True)
class BulkResult(Result):
    """What a collective has brought. The same parties for all who return."""

    name: str
    value: Array
    """The array; of a gathering, those of all parties by agent, or None at the others."""
    parties: tuple[str, ...]
    """Who took part, sorted; contributions were combined in this order."""
    left_out: tuple[str, ...]
    """Who had come, and departed before the end."""
    seconds: float
    """From the call to the result."""

    def to_dict(self) -> dict[str, object]:
        """Without the value: that is no plain data."""
        return {
            "name": self.name,
            "parties": list(self.parties),
            "left_out": list(self.left_out),
            "seconds": self.seconds,
        }


class Offer(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one party notes when it arrives."""

    terms: str
    """What all must have alike: the collective and its options."""
    address: str
    token: str
    """Hexadecimal: what lets others in."""
    layout: Layout | None
    """Of what it brings."""
    chunk_bytes: int
    weight: float = 1.0


class Work(NamedTuple):
    """What one party does in one round."""

    plan: Plan
    contribution: Run
    result: Run
    combine: Combine


class Collective(Protocol):
    """One kind of exchange, with what this party brings to it."""

    @property
    def terms(self) -> str: ...

    @property
    def layout(self) -> Layout | None: ...

    @property
    def weight(self) -> float: ...

    def mismatch(self, offers: Mapping[AgentId, Offer]) -> str:
        """Why these do not fit together; empty: they do."""
        ...

    def needed(self, offers: Mapping[AgentId, Offer]) -> AgentId | None:
        """Whom it cannot do without."""
        ...

    def work(self, me: AgentId, offers: Mapping[AgentId, Offer], limits: Limits) -> Work:
        """The part of agent `me` among these, in order. Raises InvalidValue."""
        ...

    def value(self, me: AgentId, offers: Mapping[AgentId, Offer]) -> Array:
        """The result, once it is here."""
        ...


class Participation:
    """One call of one agent."""

    def __init__(
        self,
        attachment: Attachment,
        session: Session,
        agent: str,
        name: str,
        collective: Collective,
        *,
        parties: int,
        timeout: float | None,
    ) -> None:
        """name: of the barrier where the parties meet. Raises InvalidValue, InvalidName."""
        if whole(parties, "parties") < 1:
            raise InvalidValue(f"{collective.terms} {name!r} for {parties} parties: take 1 or more")
        size = 0 if collective.layout is None else collective.layout.size
        check_size(size, attachment.limits)
        check_key(f"bulk/{name}/{MEETINGS_MAX}", "exchange")
        seconds = attachment.timing.barrier_timeout_seconds if timeout is None else timeout
        self._timeout = microseconds(seconds)
        self._seconds = seconds
        self._attachment = attachment
        self._session = session
        self._agent = AgentId(agent)
        self._name = name
        self._collective = collective
        self._parties = parties
        self._token = secrets.token_bytes(BULK_TOKEN_BYTES)
        self._what = f"{collective.terms.partition(' ')[0]} {name!r} of {agent}"

    async def run(self) -> BulkResult:
        """Raises BulkMismatch, BulkBroken, Overloaded, and what arriving at a barrier raises."""
        endpoint = await self._attachment.bulk.endpoint()
        with endpoint.place():
            try:
                return await self._run(endpoint)
            finally:
                endpoint.end(self._token)

    async def _run(self, endpoint: Endpoint) -> BulkResult:
        began = asyncio.get_running_loop().time()
        met, offers = await self._meet_parties(endpoint)
        left_out = list(met.departed)
        rounds = 0
        while True:
            work = self._collective.work(self._agent, offers, self._attachment.limits)
            ended = await self._exchange(endpoint, met, offers, rounds, work)
            if ended.status is BarrierStatus.RELEASED:
                break
            offers = self._without(offers, ended)
            left_out += ended.departed
            rounds += 1
        return BulkResult(
            self._name,
            self._collective.value(self._agent, offers),
            tuple(offers),
            tuple(sorted(left_out)),
            round(asyncio.get_running_loop().time() - began, 6),
        )

    # ---- meeting -----------------------------------------------------------------------------

    async def _meet_parties(self, endpoint: Endpoint) -> tuple[Generation, dict[AgentId, Offer]]:
        """The generation of the parties, and what each of them brings, sorted by agent."""
        offer = Offer(
            self._collective.terms,
            endpoint.address,
            self._token.hex(),
            self._collective.layout,
            self._attachment.limits.bulk_chunk_bytes,
            self._collective.weight,
        )
        arrival = Arrive(
            CLUSTER_SESSION,
            0,
            f"bulk/{self._name}",
            self._parties,
            self._timeout,
            OnDeparture.SHRINK,
            note=msgspec.json.encode(offer).decode(),
        )
        met = await self._end_of(arrival, await self._arrive(arrival))
        if met.status is not BarrierStatus.RELEASED or self._agent not in met.arrived:
            count = len(met.arrived)
            raise self._broken(met.reason, (), f"{count} of {met.parties} parties had come")
        offers = read_offers(met)
        fault = self._fault(offers)
        if fault:
            told = {str(agent): _described(offer) for agent, offer in offers.items()}
            listed = "; ".join(f"{agent} brings {words}" for agent, words in told.items())
            raise BulkMismatch(
                f"{self._what}: {fault}; nothing has moved: {listed}; see that all parties call it "
                "alike, and under this name for nothing else",
                offers=told,
            )
        return met, {agent: offer for agent, offer in offers.items() if offer is not None}

    def _fault(self, offers: dict[AgentId, Offer | None]) -> str:
        """Why the parties do not fit together; empty: they do."""
        mine = offers[self._agent]
        known = {agent: offer for agent, offer in offers.items() if offer is not None}
        if len(known) < len(offers):
            return "not all parties brought an offer that can be read here"
        if mine is None or mine.token != self._token.hex():
            return "another call of this agent under the same name has taken the place of this one"
        if any(offer.terms != mine.terms for offer in known.values()):
            return "the parties differ in what they want done"
        if any(offer.chunk_bytes != mine.chunk_bytes for offer in known.values()):
            return "the limits of the parties differ in bulk_chunk_bytes"
        return self._collective.mismatch(known)

    def _without(self, offers: dict[AgentId, Offer], ended: Generation) -> dict[AgentId, Offer]:
        """Who goes on after a meeting that a departure has ended. Raises BulkBroken."""
        rest = {agent: one for agent, one in offers.items() if agent not in ended.departed}
        if self._agent not in rest:
            raise self._broken(f"departed: {self._agent}", (), AWAY)
        needed = self._collective.needed(offers)
        if needed is not None and needed not in rest:
            raise self._broken(f"departed: {needed}", (str(needed),), "its data is gone with it")
        return rest

    # ---- one round ---------------------------------------------------------------------------

    async def _exchange(
        self,
        endpoint: Endpoint,
        met: Generation,
        offers: dict[AgentId, Offer],
        number: int,
        work: Work,
    ) -> Generation:
        """Move the data and meet: how that meeting ended, by release or by a departure.

        Raises BulkBroken if its time is over.
        """
        members = tuple(offers)
        done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        parties = tuple(
            Party(offer.address, bytes.fromhex(offer.token)) for offer in offers.values()
        )
        me = members.index(self._agent)
        endpoint.begin(
            Order(
                number,
                me,
                parties,
                work.plan,
                work.contribution,
                work.result,
                work.combine,
                lambda error: settle(done, error),
            )
        )
        arrival = Arrive(
            CLUSTER_SESSION,
            0,
            f"bulk/{self._name}/{met.generation % MEETINGS_MAX}",
            len(members),
            self._timeout,
            OnDeparture.BREAK,
            members=members,
            since=met.closed_index,
        )
        ended = await self._meet(arrival, done)
        if ended.status is BarrierStatus.RELEASED or ended.departed:
            return ended
        missing = [members[place] for place in await endpoint.missing(self._token)]
        missing = missing or [agent for agent in members if agent not in ended.arrived]
        raise self._broken(
            ended.reason,
            tuple(map(str, missing)),
            f"{len(ended.arrived)} of {len(members)} had the whole result",
        )

    async def _meet(
        self, arrival: Arrive, done: "asyncio.Future[BaseException | None]"
    ) -> Generation:
        """Arrive once the data is here; meanwhile watch the others through the log."""
        await asyncio.wait({done}, timeout=WATCH_SECONDS)
        if not done.done():
            absent = msgspec.structs.replace(arrival, present=False)
            watch = asyncio.create_task(
                self._end_of(arrival, await self._arrive(absent)), name="watch members"
            )
            try:
                ends: tuple[asyncio.Future[Any], ...] = done, watch
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if watch.done():
                    return watch.result()
            finally:
                watch.cancel()
        if (error := done.result()) is not None:
            raise error
        return await self._end_of(arrival, await self._arrive(arrival))

    async def _arrive(self, arrival: Arrive) -> int:
        """The generation. Where members are named, others wait for this one by now: it tries
        again while there is time."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + (self._seconds if arrival.members else 0.0)
        while True:
            try:
                arrived = await self._session.commit(arrival, self._what, self._seconds)
            except NotEligible as error:
                raise self._broken(f"departed: {self._agent}", (), AWAY) from error
            except (NoQuorum, Overloaded):
                if loop.time() >= give_up:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return arrived.number

    async def _end_of(self, arrival: Arrive, number: int) -> Generation:
        deadline = asyncio.get_running_loop().time() + self._seconds + END_GRACE_SECONDS
        query = GenerationQuery(arrival.barrier, number)
        found = await self._attachment.settled(query, self._what, deadline)
        if found is None:
            raise self._broken("unheard", (), "its peer has not heard from the log how it ended")
        return found.generations[0]

    def _broken(self, reason: str, missing: tuple[str, ...], how_far: str) -> BulkBroken:
        waited = f"; it waited for {', '.join(missing)}" if missing else ""
        return BulkBroken(
            f"{self._what} has no result at peer {self._attachment.peer_name}: {reason}; "
            f"{how_far}{waited}; see `mabeam members` for who is there, and call it again",
            reason=reason,
            missing=missing,
        )


def check_size(size: int, limits: Limits) -> None:
    """Raises InvalidValue for more bytes than an agent may be given at once."""
    if size > limits.bulk_bytes_max:
        raise InvalidValue(
            f"{size} bytes of bulk data are too many, {limits.bulk_bytes_max} are allowed: send it "
            "in parts, or raise the limit bulk_bytes_max"
        )


def read_offers(met: Generation) -> dict[AgentId, Offer | None]:
    """What each party has noted, sorted by agent; None: nothing that can be read."""
    notes = met.notes or ("",) * len(met.arrived)
    by_agent: dict[AgentId, Offer | None] = {}
    for agent, note in sorted(zip(met.arrived, notes, strict=True)):
        by_agent[agent] = _read(note)
    return by_agent


def _read(note: str) -> Offer | None:
    try:
        offer = msgspec.json.decode(note, type=Offer)
        token = bytes.fromhex(offer.token)
    except (msgspec.MsgspecError, ValueError):
        return None
    is_sound = offer.layout is None or offer.layout.is_sound
    return offer if is_sound and len(token) == BULK_TOKEN_BYTES else None


def _described(offer: Offer | None) -> str:
    if offer is None:
        return "something else"
    brought = "" if offer.layout is None else f" of {offer.layout}"
    return f"{offer.terms}{brought}"
