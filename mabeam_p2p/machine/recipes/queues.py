"""Queues: items in the order in which they were put, each handed to one taker at a time.

1. An item is ready, or taken by one claim, or gone. Takers are served in the order of tickets.
2. An item is gone when its taker acknowledges it. Until then the taker's session holds it: when
   that ends, or when the taker returns it, the item is ready again in its old place, before all
   that were put later.
3. So an item is handed out at least once, and acknowledged at most once. Whoever does something
   with it in the outside world passes on the token, which grows with each delivery.
"""

from bisect import insort
from collections import deque
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import AcknowledgeItem, PutItem, ReturnItem, TakeItem
from mabeam_p2p.config import Limits
from mabeam_p2p.events import ItemTaken, MachineEvent, TakeEnded
from mabeam_p2p.ids import AgentId, is_key
from mabeam_p2p.machine.core import Deadlines, Entry
from mabeam_p2p.machine.recipes.claims import Claims, Line, LineState, Tokens
from mabeam_p2p.records import Claim, Item, Queue
from mabeam_p2p.requests import Outcome, Refused

_position = attrgetter("position")


class QueueState(Struct, frozen=True, array_like=True):
    """A queue in a snapshot."""

    ready: tuple[Item, ...]
    line: LineState


class _Queue:
    __slots__ = ("line", "ready")

    def __init__(self, name: str) -> None:
        self.ready: deque[Item] = deque()
        """By position."""
        self.line = Line(name)

    @property
    def count(self) -> int:
        """Items, taken ones included."""
        return len(self.ready) + len(self.line.granted)


class Queues:
    """Every queue that has items or takers; the others are not remembered."""

    def __init__(
        self, limits: Limits, deadlines: Deadlines, tokens: Tokens, events: list[MachineEvent]
    ) -> None:
        self._limits = limits
        self._events = events
        self._claims = Claims(deadlines, tokens)
        self._queues: dict[str, _Queue] = {}

    # ---- commands --------------------------------------------------------------------------

    def put(self, entry: Entry, command: PutItem) -> Outcome:
        """Committed.number is how many items the queue has. Refused: invalid, too_large, limit."""
        limits = self._limits
        if len(command.item) > limits.value_bytes_max:
            return Refused("too_large", f"an item holds at most {limits.value_bytes_max} B")
        queue = self._queues.get(command.queue)
        if queue is None:
            refusal = self._no_new_queue(command.queue)
            if refusal is not None:
                return refusal
            queue = self._queues[command.queue] = _Queue(command.queue)
        elif queue.count >= limits.queue_items_max:
            return Refused("limit", f"the queue has {limits.queue_items_max} items already")
        queue.ready.append(Item(entry.index, command.item))
        count = queue.count
        self._serve(entry, queue)
        return entry.committed(count)

    def take(self, entry: Entry, agent: AgentId, command: TakeItem) -> Outcome:
        """Committed.number is the token, or 0 if the claim waits; its ticket is the index.

        Refused: invalid, queue_empty, limit.
        """
        name, limits = command.queue, self._limits
        queue = self._queues.get(name)
        if command.timeout and not entry.can_wait(command.timeout):
            return Refused("invalid", "timeout is no positive number of microseconds")
        if queue is None and (refusal := self._no_new_queue(name)) is not None:
            return refusal
        if not command.timeout and (queue is None or not queue.ready):
            return Refused("queue_empty", f"queue {name!r} has no item that is ready")
        if len(self._claims) >= limits.claims_max:
            return Refused("limit", f"{limits.claims_max} claims on queues are open already")
        if queue is None:
            queue = self._queues[name] = _Queue(name)
        deadline = entry.clock + command.timeout if command.timeout else 0
        claim = Claim(entry.index, agent, command.sequence, deadline=deadline)
        self._claims.wait(queue.line, claim)
        self._serve(entry, queue)
        granted = queue.line.granted.get(entry.index)
        return entry.committed(0 if granted is None else granted.token)

    def acknowledge(self, entry: Entry, agent: AgentId, command: AcknowledgeItem) -> Outcome:
        """Refused: not_held."""
        found = self._claims.find(agent, command.claim, command.queue)
        if found is None or not found[1].token:
            return _not_held(command.queue, command.claim)
        queue = self._queues[command.queue]
        self._end(queue, found[1], "acknowledged")
        self._serve(entry, queue)
        return entry.committed()

    def give_back(self, entry: Entry, agent: AgentId, command: ReturnItem) -> Outcome:
        """Refused: not_held."""
        found = self._claims.find(agent, command.claim, command.queue)
        if found is None:
            return _not_held(command.queue, command.claim)
        queue = self._queues[command.queue]
        self._undo(queue, found[1], "returned")
        self._serve(entry, queue)
        return entry.committed()

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """End the claims of an agent whose session has ended: first all, then others are served."""
        touched: dict[str, None] = {}
        for line, claim in tuple(self._claims.of_agent(agent)):
            self._undo(self._queues[line.name], claim, "departed")
            touched[line.name] = None
        for name in touched:
            self._serve(entry, self._queues[name])

    def expire(self, entry: Entry, ticket: int) -> bool:
        """End the claim of this ticket, whose deadline is past. False: there is none."""
        line = self._claims.line_of(ticket)
        if line is None:
            return False
        claim = line.claim(ticket)
        assert claim is not None
        queue = self._queues[line.name]
        self._undo(queue, claim, "timeout")
        self._serve(entry, queue)
        return True

    # ---- queries ---------------------------------------------------------------------------

    def queues(self, name: str, ticket: int) -> tuple[Queue, ...]:
        """The queue of this name with the claim of `ticket`, if that is not 0. With an empty name
        all queues, by name."""
        if not name:
            return tuple(_record(self._queues[known], 0) for known in sorted(self._queues))
        queue = self._queues.get(name)
        return () if queue is None else (_record(queue, ticket),)

    @property
    def count(self) -> int:
        """Queues that hold items, or are waited at."""
        return len(self._queues)

    def state(self) -> tuple[QueueState, ...]:
        return tuple(
            QueueState(tuple(queue.ready), queue.line.state()) for queue in self._queues.values()
        )

    def load(self, state: tuple[QueueState, ...]) -> None:
        self._queues = {}
        self._claims.clear()
        for stored in state:
            name = stored.line.name
            queue = self._queues[name] = _Queue(name)
            queue.ready.extend(stored.ready)
            self._claims.load(queue.line, stored.line)

    # ---- transitions -----------------------------------------------------------------------

    def _serve(self, entry: Entry, queue: _Queue) -> None:
        """Hand out in turn as long as there are items; forget a queue that has nothing."""
        line = queue.line
        while queue.ready and (claim := line.head) is not None:
            item = queue.ready.popleft()
            item = replace(item, deliveries=item.deliveries + 1)
            granted = self._claims.grant(entry, line, claim.ticket, item)
            self._events.append(ItemTaken(line.name, granted))
        if not queue.ready and not line.granted and not line.waiting:
            del self._queues[line.name]

    def _undo(self, queue: _Queue, claim: Claim, reason: str) -> None:
        """End a claim; what it holds is ready again in its place."""
        self._end(queue, claim, reason)
        if claim.item is not None:
            insort(queue.ready, claim.item, key=_position)

    def _end(self, queue: _Queue, claim: Claim, reason: str) -> None:
        self._claims.end(queue.line, claim)
        self._events.append(TakeEnded(queue.line.name, claim, reason))

    # ---- refusals --------------------------------------------------------------------------

    def _no_new_queue(self, name: str) -> Refused | None:
        if not is_key(name):
            return Refused("invalid", "the queue has no usable name")
        if len(self._queues) >= self._limits.queues_max:
            return Refused("limit", f"{self._limits.queues_max} queues are in use already")
        return None


def _record(queue: _Queue, ticket: int) -> Queue:
    line = queue.line
    claims = line.claims(ticket) if ticket else ()
    return Queue(line.name, len(queue.ready), len(line.granted), len(line.waiting), claims)


def _not_held(name: str, number: int) -> Refused:
    return Refused("not_held", f"no item of queue {name!r} is held under number {number}")
