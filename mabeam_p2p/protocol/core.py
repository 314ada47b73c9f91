"""The outbox: where every core of one node leaves what it wants from the world.

One outbox belongs to one Node, so that effects of different cores keep their order and Persists
share one numbering. A core never returns or executes an effect, and never looks back at one.

Rule: an effect that claims something names the Persist that makes it true (`after`).
"""

from collections.abc import Callable, Iterable
from math import inf

from mabeam_p2p.effects import Connect, Effect, Effects, Notify, Persist, Resolve, Send
from mabeam_p2p.events import Dropped, Event
from mabeam_p2p.ids import INTEGER_MAX, PeerId
from mabeam_p2p.messages import Message
from mabeam_p2p.records import Record
from mabeam_p2p.requests import Answer

DROP_REPORT_SECONDS = 1.0
NUMBER_BITS = 32
"""Questions of one process life: more than a million a second for an hour."""

HEARD_PEERS_MAX = 8192

EPOCHS_TOLD_APART = 1 << (INTEGER_MAX.bit_length() - NUMBER_BITS)
"""So that a number stays below INTEGER_MAX."""


def numbers_before(epoch: int) -> int:
    """What a process begins to count its questions from.

    An answer names the number of its question, and may come when the process that asked is gone:
    an acknowledgement that waited for a disk, a refusal that a coordinator held, what an agent
    has to say after a while. No later process has asked a question of that number.
    """
    return epoch % EPOCHS_TOLD_APART << NUMBER_BITS


class HeardNumbers:
    """The last number heard of each peer: what is not newer is a copy, or comes too late.

    A peer counts on over its restarts (`numbers_before`), so nothing is forgotten when one starts
    anew or is no member any more: copies may still be under way, and what was refused as certainly
    not done must not be done by one. At most HEARD_PEERS_MAX are remembered, those heard last.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[PeerId, int] = {}

    def is_new(self, source: PeerId, number: int) -> bool:
        """Whether this is the first time; from now on it is not."""
        last = self._last.pop(source, 0)
        self._last[source] = max(last, number)
        if len(self._last) > HEARD_PEERS_MAX:
            del self._last[next(iter(self._last))]
        return number > last


class Outbox:
    """An ordered list of effects and the number of the last Persist."""

    __slots__ = ("_effects", "_targets", "dial", "persisted")

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._targets: dict[PeerId, None] = {}
        self.persisted = 0
        """Number of the last Persist that was emitted."""
        self.dial: Callable[[Iterable[PeerId]], None] | None = None
        """Told whom something is sent to, before it is taken: what it emits goes first."""

    def persist(self, record: Record) -> int:
        """Emit a Persist; return its number."""
        self.persisted += 1
        self._effects.append(Persist(self.persisted, record))
        return self.persisted

    def send(self, target: PeerId, message: Message, after: int = 0) -> None:
        self._effects.append(Send(target, message, after))
        self._targets[target] = None

    def notify(self, event: Event, after: int = 0) -> None:
        self._effects.append(Notify(event, after))

    def resolve(self, token: int, answer: Answer, after: int = 0) -> None:
        """Answer a request; token 0 has nobody waiting."""
        if token:
            self._effects.append(Resolve(token, answer, after))

    def connect(self, target: PeerId, address: str | None) -> None:
        self._effects.append(Connect(target, address))

    def take(self) -> Effects:
        """Everything since the last take, in order."""
        if not self._effects:
            return ()
        effects = tuple(self._effects)
        self._effects.clear()
        if self._targets:
            targets, self._targets = self._targets, {}
            if self.dial is not None:
                self.dial(targets)
                self._targets.clear()
                if self._effects:
                    effects = (*self._effects, *effects)
                    self._effects.clear()
        return effects


Drop = Callable[[PeerId, str, str, float], None]
"""Told who has broken the protocol, the reason, a detail, and when."""


class Drops:
    """What broke the protocol, counted, and reported at most once a second for each reason: for
    those that are remembered, the last ones that were reported."""

    __slots__ = ("_outbox", "_reports", "_reports_max", "count")

    def __init__(self, outbox: Outbox, reports_max: int) -> None:
        self.count = 0
        self._outbox = outbox
        self._reports: dict[tuple[str, str], tuple[float, int]] = {}
        """When each was last reported, oldest first, and how many came since."""
        self._reports_max = reports_max

    def drop(self, source: str, reason: str, detail: str, now: float) -> None:
        self.count += 1
        key = source, reason
        reported_at, count = self._reports.get(key, (-inf, 0))
        if now - reported_at < DROP_REPORT_SECONDS:
            self._reports[key] = reported_at, count + 1
            return
        self._outbox.notify(Dropped(source, reason, detail, count + 1))
        self._reports.pop(key, None)
        if len(self._reports) >= self._reports_max:
            del self._reports[next(iter(self._reports))]
        self._reports[key] = now, 0
