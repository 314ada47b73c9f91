"""Locks: a name with permits, and a line in which they are waited for.

One idea carries them all. A lock has one permit; a semaphore has several; of a read-write lock a
reader takes one permit and a writer all; a lease is a claim that ends by itself.

1. The first claim sets how many permits there are; another number is refused while claims last.
2. Permits are granted in the order of tickets. Nobody passes the head of the line, so that who
   asks for many is not starved by those who ask for few (Courtois, Heymans and Parnas 1971).
3. Every claim stands for itself: an agent that holds a lock and asks for it again waits like
   anybody else. Locks are not reentrant.
4. A claim ends when it is released, when its wait or its lease is over by the log's clock, and when
   its agent's session ends. Whoever is next is granted at the same index, with a greater token.
"""

from msgspec import Struct

from mabeam_p2p.commands import AcquireLock, ReleaseLock, RenewLock
from mabeam_p2p.config import Limits
from mabeam_p2p.events import LockEnded, LockGranted, MachineEvent
from mabeam_p2p.ids import AgentId, is_key
from mabeam_p2p.machine.core import Deadlines, Entry
from mabeam_p2p.machine.recipes.claims import Claims, Line, LineState, Tokens
from mabeam_p2p.records import Claim, Lock
from mabeam_p2p.requests import Outcome, Refused


class LockState(Struct, frozen=True, array_like=True):
    """A lock in a snapshot."""

    limit: int
    line: LineState


class _Lock:
    __slots__ = ("held", "limit", "line")

    def __init__(self, name: str, limit: int) -> None:
        self.limit = limit
        self.held = 0
        """Permits that are granted."""
        self.line = Line(name)

    def has_room(self, permits: int) -> bool:
        return self.held + permits <= self.limit


class Locks:
    """Every lock that somebody holds or waits for; the others are not remembered."""

    def __init__(
        self, limits: Limits, deadlines: Deadlines, tokens: Tokens, events: list[MachineEvent]
    ) -> None:
        self._limits = limits
        self._events = events
        self._claims = Claims(deadlines, tokens)
        self._locks: dict[str, _Lock] = {}

    # ---- commands --------------------------------------------------------------------------

    def acquire(self, entry: Entry, agent: AgentId, command: AcquireLock) -> Outcome:
        """Committed.number is the token, or 0 if the claim waits; its ticket is the index.

        Refused: invalid, lock_mismatch, lock_held, limit.
        """
        refusal = self._refusal(entry, command)
        if refusal is not None:
            return refusal
        name = command.lock
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = _Lock(name, command.limit)
        deadline = entry.clock + command.timeout if command.timeout else 0
        claim = Claim(
            entry.index, agent, command.sequence, command.permits, command.lease, 0, deadline
        )
        self._claims.wait(lock.line, claim)
        self._serve(entry, lock)
        granted = lock.line.granted.get(entry.index)
        return entry.committed(0 if granted is None else granted.token)

    def release(self, entry: Entry, agent: AgentId, command: ReleaseLock) -> Outcome:
        """Refused: not_held."""
        found = self._claims.find(agent, command.claim, command.lock)
        if found is None:
            return _not_held(command.lock, command.claim)
        _, claim = found
        lock = self._locks[command.lock]
        self._end(lock, claim, "released")
        self._serve(entry, lock)
        return entry.committed()

    def renew(self, entry: Entry, agent: AgentId, command: RenewLock) -> Outcome:
        """Committed.number is the token. Refused: not_held, invalid."""
        found = self._claims.find(agent, command.claim, command.lock)
        if found is None or not found[1].token:
            return _not_held(command.lock, command.claim)
        line, claim = found
        if not claim.lease:
            return Refused("invalid", f"the claim on lock {command.lock!r} has no lease")
        self._claims.renew(entry, line, claim)
        return entry.committed(claim.token)

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """End the claims of an agent whose session has ended: first all, then others are served."""
        touched: dict[str, None] = {}
        for line, claim in tuple(self._claims.of_agent(agent)):
            self._end(self._locks[line.name], claim, "departed")
            touched[line.name] = None
        for name in touched:
            self._serve(entry, self._locks[name])

    def expire(self, entry: Entry, ticket: int) -> bool:
        """End the claim of this ticket, whose deadline is past. False: there is none."""
        line = self._claims.line_of(ticket)
        if line is None:
            return False
        claim = line.claim(ticket)
        assert claim is not None
        lock = self._locks[line.name]
        self._end(lock, claim, "lease expired" if claim.token else "timeout")
        self._serve(entry, lock)
        return True

    # ---- queries ---------------------------------------------------------------------------

    def locks(self, name: str, ticket: int) -> tuple[Lock, ...]:
        """The lock of this name with the claim of `ticket`, or with all if that is 0. With an empty
        name all locks."""
        if not name:
            return tuple(_record(lock, 0) for lock in self._locks.values())
        lock = self._locks.get(name)
        return () if lock is None else (_record(lock, ticket),)

    @property
    def count(self) -> int:
        """Names that are held or waited for."""
        return len(self._locks)

    def state(self) -> tuple[LockState, ...]:
        return tuple(LockState(lock.limit, lock.line.state()) for lock in self._locks.values())

    def load(self, state: tuple[LockState, ...]) -> None:
        self._locks = {}
        self._claims.clear()
        for stored in state:
            name = stored.line.name
            lock = self._locks[name] = _Lock(name, stored.limit)
            self._claims.load(lock.line, stored.line)
            lock.held = sum(claim.permits for claim in stored.line.granted)

    # ---- transitions -----------------------------------------------------------------------

    def _serve(self, entry: Entry, lock: _Lock) -> None:
        """Grant in turn as long as there are permits; forget a lock that nobody wants."""
        line = lock.line
        while (claim := line.head) is not None and lock.has_room(claim.permits):
            lock.held += claim.permits
            granted = self._claims.grant(entry, line, claim.ticket)
            self._events.append(LockGranted(line.name, lock.limit, granted))
        assert lock.held <= lock.limit
        if not line.granted and not line.waiting:
            del self._locks[line.name]

    def _end(self, lock: _Lock, claim: Claim, reason: str) -> None:
        self._claims.end(lock.line, claim)
        if claim.token:
            lock.held -= claim.permits
        self._events.append(LockEnded(lock.line.name, claim, reason))

    # ---- refusals --------------------------------------------------------------------------

    def _refusal(self, entry: Entry, command: AcquireLock) -> Refused | None:
        name, limits = command.lock, self._limits
        if not is_key(name):
            return Refused("invalid", "the lock has no usable name")
        if not 1 <= command.permits <= command.limit:
            return Refused("invalid", f"{command.permits} permits of {command.limit}")
        if command.timeout and not entry.can_wait(command.timeout):
            return Refused("invalid", "timeout is no positive number of microseconds")
        if command.lease and not entry.can_wait(command.lease):
            return Refused("invalid", "lease is no positive number of microseconds")
        lock = self._locks.get(name)
        if lock is not None and lock.limit != command.limit:
            detail = f"lock {name!r} has {lock.limit} permits while it is used, not {command.limit}"
            return Refused("lock_mismatch", detail)
        is_free = lock is None or (not lock.line.waiting and lock.has_room(command.permits))
        if not is_free and not command.timeout:
            return Refused("lock_held", f"lock {name!r} is held")
        if lock is None and len(self._locks) >= limits.locks_max:
            return Refused("limit", f"{limits.locks_max} locks are in use already")
        if len(self._claims) >= limits.claims_max:
            return Refused("limit", f"{limits.claims_max} claims on locks are open already")
        return None


def _record(lock: _Lock, ticket: int) -> Lock:
    return Lock(lock.line.name, lock.limit, lock.line.claims(ticket))


def _not_held(name: str, number: int) -> Refused:
    return Refused("not_held", f"lock {name!r} is not held or waited for under number {number}")
