"""A written log in which locks, counters and queues are used."""

from mabeam_p2p.commands import (
    AcknowledgeItem,
    AcquireLock,
    AddCounter,
    PutItem,
    ReleaseLock,
    RenewLock,
    ReturnItem,
    SetCounter,
    TakeItem,
)
from mabeam_p2p.events import ItemTaken, LockEnded, LockGranted, TakeEnded
from mabeam_p2p.ids import SessionId
from mabeam_p2p.records import Claim, Queue
from mabeam_p2p.requests import CounterQuery, LockQuery, Outcome, QueueQuery
from tests.machine.written_log import SECOND, WrittenLog


class RecipesLog(WrittenLog):
    """Claims are known by the sequence numbers of their commands: `last` is that of the last
    one."""

    last = 0

    def _number(self, session: SessionId) -> int:
        self.last = self.next(session)
        return self.last

    # ---- locks -----------------------------------------------------------------------------

    def acquire(
        self,
        session: SessionId,
        lock: str = "l",
        *,
        limit: int = 1,
        permits: int = 1,
        timeout: int = 30 * SECOND,
        lease: int = 0,
    ) -> Outcome:
        number = self._number(session)
        return self.apply(AcquireLock(session, number, lock, limit, permits, timeout, lease))

    def release(self, session: SessionId, claim: int, lock: str = "l") -> Outcome:
        return self.apply(ReleaseLock(session, self.next(session), claim, lock))

    def renew(self, session: SessionId, claim: int, lock: str = "l") -> Outcome:
        return self.apply(RenewLock(session, self.next(session), lock, claim))

    def claims(self, lock: str = "l") -> list[Claim]:
        return [claim for one in self.machine.find(LockQuery(lock)).locks for claim in one.claims]

    def holders(self, lock: str = "l") -> list[str]:
        return [str(claim.agent) for claim in self.claims(lock) if claim.token]

    def waiting(self, lock: str = "l") -> list[str]:
        return [str(claim.agent) for claim in self.claims(lock) if not claim.token]

    def grants(self) -> list[tuple[str, int]]:
        """Agent and token of each grant of the last batch."""
        return [
            (str(event.claim.agent), event.claim.token)
            for event in self.events
            if isinstance(event, LockGranted | ItemTaken)
        ]

    def ends(self) -> list[tuple[str, str]]:
        """Agent and reason of each claim that the last batch has ended."""
        return [
            (str(event.claim.agent), event.reason)
            for event in self.events
            if isinstance(event, LockEnded | TakeEnded)
        ]

    # ---- counters --------------------------------------------------------------------------

    def add(self, session: SessionId, amount: int, counter: str = "c") -> Outcome:
        return self.apply(AddCounter(session, self.next(session), counter, amount))

    def set(
        self, session: SessionId, value: int, expected: int | None = None, counter: str = "c"
    ) -> Outcome:
        return self.apply(SetCounter(session, self.next(session), counter, value, expected))

    def value(self, counter: str = "c") -> int:
        (found,) = self.machine.find(CounterQuery(counter)).counters
        return found.value

    # ---- queues ----------------------------------------------------------------------------

    def put(self, session: SessionId, item: bytes, queue: str = "q") -> Outcome:
        return self.apply(PutItem(session, self.next(session), queue, item))

    def take(self, session: SessionId, queue: str = "q", *, timeout: int = 30 * SECOND) -> Outcome:
        return self.apply(TakeItem(session, self._number(session), queue, timeout))

    def acknowledge(self, session: SessionId, claim: int, queue: str = "q") -> Outcome:
        return self.apply(AcknowledgeItem(session, self.next(session), claim, queue))

    def give_back(self, session: SessionId, claim: int, queue: str = "q") -> Outcome:
        return self.apply(ReturnItem(session, self.next(session), claim, queue))

    def queue(self, queue: str = "q", ticket: int = 0) -> Queue | None:
        found = self.machine.find(QueueQuery(queue, ticket)).queues
        return found[0] if found else None

    def held(self, ticket: int, queue: str = "q") -> bytes | None:
        """The item that the claim of `ticket` holds."""
        found = self.queue(queue, ticket)
        if found is None or not found.claims or found.claims[0].item is None:
            return None
        return found.claims[0].item.value
