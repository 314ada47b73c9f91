"""Queues: items in order, each handed to one agent at a time."""

import asyncio
from dataclasses import dataclass
from functools import partial

from mabeam_p2p.api.claims import Claimed
from mabeam_p2p.api.grants import Grants, Lease
from mabeam_p2p.api.results import Decoded, Result, decoded
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import encoded, microseconds
from mabeam_p2p.commands import AcknowledgeItem, PutItem, ReturnItem, TakeItem
from mabeam_p2p.errors import MabeamTimeout, Rejected
from mabeam_p2p.ids import CLUSTER_SESSION, check_key
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import QueueQuery


@dataclass(frozen=True, slots=True)
class QueueFacts(Result):
    name: str
    ready: int
    """Items that nobody has taken."""
    taken: int
    """Items that are neither acknowledged nor returned."""
    waiting: int
    """Agents that wait for an item."""


class Delivery(Lease):
    """An item that this agent has taken. With `async with`, it is acknowledged at the end, or
    returned if the body raises."""

    def __init__(self, grants: Grants, claimed: Claimed, claim: Claim) -> None:
        """Not for users."""
        super().__init__(grants, claimed, claim)
        assert claim.item is not None
        self.value: Decoded = decoded(claim.item.value)
        self.position = claim.item.position
        """Log index of its put: the order of the queue, and the item's name."""
        self.deliveries = claim.item.deliveries
        """How often it was handed out, this time included."""

    async def acknowledge(self) -> None:
        """It is done with, for good. Idempotent. Raises LeaseLost if it was lost before: then
        somebody else gets, or has got it; NoQuorum and OutcomeUnknown as `Lease.release`."""
        number = self._claimed.number
        await self._end(AcknowledgeItem(CLUSTER_SESSION, 0, number, self.name))

    async def release(self) -> None:
        """Put it back in its place. Idempotent; raises as `acknowledge`."""
        await super().release()

    async def __aenter__(self) -> "Delivery":
        return self

    async def _finish(self, failed: bool) -> None:
        if failed:
            await self.release()
        else:
            await self.acknowledge()


class Queue:
    """First in, first out. An item is handed out at least once, and acknowledged at most once."""

    def __init__(self, grants: Grants, session: Session, name: str) -> None:
        """Not for users."""
        self.name = check_key(name, "queue")
        self._grants = grants
        self._session = session

    async def put(self, value: object, *, timeout: float | None = None) -> int:
        """How many items the queue has then, taken ones included.

        Raises InvalidValue, Overloaded if the queue is full, NoQuorum, OutcomeUnknown.
        """
        attachment = self._grants.attachment
        command = PutItem(CLUSTER_SESSION, 0, self.name, encoded(value, attachment.limits))
        seconds = attachment.timing.request_timeout_seconds if timeout is None else timeout
        committed = await self._session.commit(
            command, f"putting into queue {self.name!r}", seconds
        )
        return committed.number

    async def take(self, timeout: float | None = None) -> Delivery:
        """Wait for the first item.

        timeout: seconds, decided in the log; None takes `lock_timeout_seconds`. Raises
        MabeamTimeout, NoQuorum (nothing was asked for), and OutcomeUnknown: then an item that may
        have been taken is returned in the background.
        """
        timing = self._grants.attachment.timing
        seconds = timing.lock_timeout_seconds if timeout is None else timeout
        return await self._take(microseconds(seconds), seconds)

    async def try_take(self) -> Delivery | None:
        """The first item, or None if there is none that is ready."""
        try:
            return await self._take(0, self._grants.attachment.timing.request_timeout_seconds)
        except Rejected as refusal:
            if refusal.reason == "queue_empty":
                return None
            raise

    async def facts(self) -> QueueFacts:
        """How many items and takers there are, by a linearizable read."""
        found = await self._grants.attachment.find(
            QueueQuery(self.name), f"reading queue {self.name!r}", linearizable=True
        )
        for one in found.queues:
            return QueueFacts(one.name, one.ready_count, one.taken_count, one.waiting_count)
        return QueueFacts(self.name, 0, 0, 0)

    async def _take(self, wait: int, seconds: float) -> Delivery:
        grants, name = self._grants, self.name
        began = asyncio.get_running_loop().time()
        claimed = Claimed(
            f"an item of queue {name!r}",
            name,
            lambda number: ReturnItem(CLUSTER_SESSION, 0, number, name),
            partial(QueueQuery, name),
        )
        command = TakeItem(CLUSTER_SESSION, 0, name, wait)
        patience = max(seconds, grants.attachment.timing.request_timeout_seconds)
        committed = await grants.claim(command, claimed, patience)
        try:
            claim = await grants.settled(claimed, committed.index, began, seconds)
            if claim is None:
                raise MabeamTimeout(
                    f"no item of queue {name!r} was ready for this agent at peer "
                    f"{grants.attachment.peer_name} within {seconds:g} s: wait again, or longer"
                )
            delivery = Delivery(grants, claimed, claim)
            grants.keep(delivery, began)
        except BaseException:
            grants.give_up(claimed)
            raise
        return delivery
