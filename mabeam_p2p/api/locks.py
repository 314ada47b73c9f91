"""Locks, semaphores, read-write locks and leases: one thing in four shapes."""

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from mabeam_p2p.api.claims import Claimed
from mabeam_p2p.api.grants import Grants, Lease
from mabeam_p2p.api.results import Result
from mabeam_p2p.api.values import microseconds, whole
from mabeam_p2p.commands import AcquireLock, ReleaseLock
from mabeam_p2p.errors import InvalidValue, LockTimeout, MabeamError, Rejected
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, check_key
from mabeam_p2p.records import Claim
from mabeam_p2p.records import Lock as LockRecord
from mabeam_p2p.requests import Committed, LockQuery

READERS_MAX = 2**32
"""Permits of a read-write lock: a writer takes all of them."""


@dataclass(frozen=True, slots=True)
class Holder(Result):
    agent: str
    token: int
    permits: int


@dataclass(frozen=True, slots=True)
class LockFacts(Result):
    """Who holds a lock, and who waits for it in which order."""

    name: str
    limit: int
    """Permits; 0 while nobody uses the lock."""
    holders: tuple[Holder, ...]
    waiting: tuple[str, ...]

    @staticmethod
    def of(record: LockRecord) -> "LockFacts":
        return LockFacts(
            record.name,
            record.limit,
            tuple(Holder(str(c.agent), c.token, c.permits) for c in record.claims if c.token),
            tuple(str(claim.agent) for claim in record.claims if not claim.token),
        )


class Lock:
    """A name that is held by one agent at a time, or by as many as it has permits.

    Enter it with `async with`, which gives a Lease, or call `acquire` and `release` that. Locks are
    granted in the order of the log. They are not reentrant: an agent that holds a lock and asks for
    it again waits like anybody else, and its tasks exclude each other.
    """

    def __init__(
        self,
        grants: Grants,
        name: str,
        *,
        limit: int,
        permits: int,
        timeout: float | None,
        lease: float | None = None,
    ) -> None:
        """Not for users."""
        if not 1 <= whole(permits, "permits") <= whole(limit, "limit"):
            raise InvalidValue(
                f"lock {name!r}: {permits} of {limit} permits: take a limit of 1 or more, and at "
                "most as many permits"
            )
        self.name = check_key(name, "lock")
        self.limit = limit
        self.permits = permits
        self.timeout = grants.attachment.timing.lock_timeout_seconds if timeout is None else timeout
        microseconds(self.timeout)
        self._lease = 0 if lease is None else microseconds(lease)
        self._grants = grants
        self._entered: dict[object, list[Lease]] = {}
        """By the task that has entered."""

    async def acquire(self, timeout: float | None = None) -> Lease:
        """Wait for the lock.

        timeout: seconds, decided in the log; None takes the lock's. Raises LockTimeout, which names
        the holders, LockMismatch if the name is in use for something else, NoQuorum (it was
        certainly not asked for), and OutcomeUnknown: then it is given up in the background.
        """
        seconds = self.timeout if timeout is None else timeout
        return await self._acquire(microseconds(seconds), seconds)

    async def try_acquire(self) -> Lease | None:
        """The lock if it is free and nobody waits for it; else None."""
        try:
            return await self._acquire(0, self._grants.attachment.timing.request_timeout_seconds)
        except Rejected as refusal:
            if refusal.reason == "lock_held":
                return None
            raise

    async def facts(self) -> LockFacts:
        """Who holds it and who waits, by a linearizable read."""
        found = await self._grants.attachment.find(
            LockQuery(self.name), f"reading lock {self.name!r}", linearizable=True
        )
        for record in found.locks:
            return LockFacts.of(record)
        return LockFacts(self.name, 0, (), ())

    async def __aenter__(self) -> Lease:
        lease = await self.acquire()
        self._entered.setdefault(asyncio.current_task(), []).append(lease)
        return lease

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task = asyncio.current_task()
        leases = self._entered[task]
        lease = leases.pop()
        if not leases:
            del self._entered[task]
        await lease.__aexit__(kind, error, trace)

    async def _acquire(self, wait: int, seconds: float) -> Lease:
        grants, name = self._grants, self.name
        loop = asyncio.get_running_loop()
        began = loop.time()
        claimed = Claimed(
            f"lock {name!r}",
            name,
            lambda number: ReleaseLock(CLUSTER_SESSION, 0, number, name),
            partial(LockQuery, name),
        )
        command = AcquireLock(CLUSTER_SESSION, 0, name, self.limit, self.permits, wait, self._lease)
        # Whoever waits in the log need not hear of it at once.
        patience = max(seconds, grants.attachment.timing.request_timeout_seconds)
        committed = await grants.claim(command, claimed, patience)
        try:
            claim = self._claim_of(committed) or await grants.settled(
                claimed, committed.index, began, seconds
            )
            if claim is None:
                raise await self._timed_out(seconds)
            lease = Lease(grants, claimed, claim)
            grants.keep(lease, began)
            if not committed.number and lease.has_lease:
                # It began with a grant of which the time is not known here.
                lease.extend(loop.time())
                await lease.renew()
        except BaseException:
            grants.give_up(claimed)
            raise
        return lease

    def _claim_of(self, committed: Committed) -> Claim | None:
        """The claim, if it was granted at once."""
        if not committed.number:
            return None
        return Claim(
            committed.index,
            AgentId(""),
            0,
            permits=self.permits,
            lease=self._lease,
            token=committed.number,
        )

    async def _timed_out(self, seconds: float) -> LockTimeout:
        attachment = self._grants.attachment
        facts: list[LockFacts] = []
        # What the caller must hear is that its time is over; the holders are a help.
        with contextlib.suppress(MabeamError):
            found = await attachment.find(LockQuery(self.name), f"reading lock {self.name!r}")
            facts = [LockFacts.of(record) for record in found.locks]
        holders = tuple(holder.agent for one in facts for holder in one.holders)
        return LockTimeout(
            f"lock {self.name!r} was not granted to this agent at peer {attachment.peer_name} "
            f"within {seconds:g} s: it is held by {', '.join(holders) or 'nobody now'}; wait "
            "longer, or see whether its holder still works (a lock is not reentrant)",
            holders=holders,
        )


class ReadWriteLock:
    """Many read at a time, or one writes. A writer that waits is not passed by later readers."""

    def __init__(self, grants: Grants, name: str, *, timeout: float | None) -> None:
        """Not for users."""
        self.name = check_key(name, "lock")
        self._grants = grants
        self._timeout = timeout

    def read(self) -> Lock:
        """Shared with other readers."""
        return self._lock(1)

    def write(self) -> Lock:
        """Alone."""
        return self._lock(READERS_MAX)

    def _lock(self, permits: int) -> Lock:
        return Lock(
            self._grants, self.name, limit=READERS_MAX, permits=permits, timeout=self._timeout
        )
