"""Anti-entropy: one peer compares what it holds with one other, until both hold the same.

    asks                                   answers
    Digest            ->
                      <-  DigestEntries    of the buckets that differ, as many as fit
    VariableWant      ->                   what the asker lacks or has otherwise
                      <-  VariablePush     number 0: as many of them as fit
    VariablePush      ->                   what the other lacks, or had to merge
                      <-  VariableAck

The asker alone keeps an account, of one exchange at a time. It asks for the next part when it has
got the last one, so that a large transfer never fills a queue; an exchange that stands still is
given up, and the next one begins where the digests then differ. The other side answers each
message for itself.

A newcomer is given everything in the same way: all its buckets differ.
"""

from collections.abc import Iterable, Iterator
from random import Random

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Digest, DigestEntries, VariablePush, VariableWant
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.table import BUCKETS, Table
from mabeam_p2p.records import Variable

NAMES_PER_WANT = 512
"""Names asked for at a time: about what fits into one push when values are small."""

ENTRY_BYTES = 16
"""What an entry takes at most beside its name."""


class Exchange:
    """The asker's account of one comparison."""

    __slots__ = ("expires", "giving", "is_last", "is_wanting", "moved", "number", "peer", "wanted")

    def __init__(self, peer: PeerId, expires: float) -> None:
        self.peer = peer
        self.expires = expires
        self.is_last: bool | None = None
        """Whether the present digest was answered in full; None before its answer."""
        self.wanted: dict[str, None] = {}
        self.giving: dict[str, None] = {}
        self.is_wanting = False
        """A VariableWant is under way."""
        self.number = 0
        """The push under way; 0 if none is."""
        self.moved = False
        """Whether something changed on either side since the present digest."""


class AntiEntropy:
    """`numbers` is shared with whatever else sends pushes that are to be acknowledged."""

    def __init__(
        self,
        table: Table,
        outbox: Outbox,
        timing: Timing,
        limits: Limits,
        random: Random,
        numbers: Iterator[int],
    ) -> None:
        self._table = table
        self._outbox = outbox
        self._patience = timing.gossip_interval_seconds
        self._limits = limits
        self._random = random
        self._numbers = numbers
        self._exchange: Exchange | None = None
        self.is_given = False
        """Whether an exchange was completed once: all that some member held is held here."""

    def is_busy(self, now: float) -> bool:
        """Whether an exchange is under way and has not come to a stop."""
        return self._exchange is not None and now < self._exchange.expires

    def begin(self, target: PeerId, now: float) -> None:
        """Compare with `target`, in place of any older exchange."""
        self._exchange = Exchange(target, now + self._patience)
        self._compare()

    # ---- the side that is asked --------------------------------------------------------------

    def receive_digest(self, source: PeerId, digest: Digest) -> None:
        """Answer with what differs. digest.buckets: one for each bucket."""
        own = self._table.digests()
        differing = [n for n in range(BUCKETS) if own[n] != digest.buckets[n]]
        # Each comparison begins elsewhere: a bucket that cannot be evened out stops no other.
        start = self._random.randrange(BUCKETS)
        buckets: list[int] = []
        entries: list[tuple[str, int]] = []
        budget = self._limits.push_bytes_max
        for number in sorted(differing, key=lambda n: (n - start) % BUCKETS):
            found = list(self._table.bucket(number).items())
            cost = sum(map(_entry_size, found))
            if cost > budget or len(entries) + len(found) > self._limits.digest_entries_max:
                if not entries:
                    entries = self._sample(found)
                break
            budget -= cost
            entries += found
            buckets.append(number)
        is_last = len(buckets) == len(differing)
        self._outbox.send(source, DigestEntries(tuple(sorted(buckets)), tuple(entries), is_last))

    def _sample(self, entries: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Of a bucket that no message can hold: as many entries as fit, from a random one on."""
        start = self._random.randrange(len(entries))
        sample: list[tuple[str, int]] = []
        budget = self._limits.push_bytes_max
        for entry in entries[start:] + entries[:start]:
            budget -= _entry_size(entry)
            if budget < 0 or len(sample) >= self._limits.digest_entries_max:
                break
            sample.append(entry)
        return sample

    def receive_want(self, source: PeerId, want: VariableWant) -> None:
        """Push as many of the wanted as fit; an answer always comes."""
        self._push(source, 0, want.names)

    # ---- the side that asks ------------------------------------------------------------------

    def receive_entries(self, source: PeerId, message: DigestEntries, now: float) -> None:
        exchange = self._exchange
        if exchange is None or exchange.peer != source or exchange.is_last is not None:
            return
        listed = dict(message.entries)
        for name, fingerprint in listed.items():
            if self._table.fingerprint(name) != fingerprint:
                exchange.wanted[name] = None
        # Only of a bucket that came whole is it known what the other side lacks.
        for number in message.buckets:
            for name in self._table.bucket(number):
                if name not in listed:
                    exchange.giving[name] = None
        exchange.is_last = message.last
        self._continue(exchange, now)

    def receive_wanted(
        self, source: PeerId, names: Iterable[str], unlike: Iterable[str], moved: bool, now: float
    ) -> None:
        """Variables came without a number, and were merged. names: all of them; unlike: those
        that are now held otherwise than they came; moved: something changed here."""
        exchange = self._exchange
        if exchange is None or exchange.peer != source or not exchange.is_wanting:
            return
        wanted_count = len(exchange.wanted)
        for name in names:
            exchange.wanted.pop(name, None)
        if len(exchange.wanted) == wanted_count:
            exchange.wanted.clear()
        exchange.giving.update((name, None) for name in unlike)
        exchange.moved = exchange.moved or moved
        exchange.is_wanting = False
        self._continue(exchange, now)

    def receive_ack(self, source: PeerId, number: int, moved: bool, now: float) -> bool:
        """Whether the acknowledgement was for what an exchange gave. moved: something changed
        there."""
        exchange = self._exchange
        if exchange is None or exchange.peer != source or exchange.number != number:
            return False
        exchange.number = 0
        exchange.moved = exchange.moved or moved
        self._continue(exchange, now)
        return True

    def _continue(self, exchange: Exchange, now: float) -> None:
        exchange.expires = now + self._patience
        if exchange.wanted and not exchange.is_wanting:
            exchange.is_wanting = True
            names = tuple(exchange.wanted)[: min(NAMES_PER_WANT, self._limits.digest_entries_max)]
            self._outbox.send(exchange.peer, VariableWant(names))
        if exchange.giving and not exchange.number:
            exchange.number = next(self._numbers)
            for variable in self._push(exchange.peer, exchange.number, exchange.giving):
                del exchange.giving[variable.name]
        if exchange.is_wanting or exchange.number:
            return
        if exchange.is_last:
            self.is_given = True
            self._exchange = None
        elif exchange.moved:
            self._compare()
        else:
            self._exchange = None

    def _compare(self) -> None:
        assert self._exchange is not None
        self._exchange.is_last = None
        self._exchange.moved = False
        digest = Digest(self._table.digests(), newcomer=not self.is_given)
        self._outbox.send(self._exchange.peer, digest)

    def _push(self, target: PeerId, number: int, names: Iterable[str]) -> list[Variable]:
        """Send as many of the variables as fit, the first at least; return those sent."""
        chosen: list[Variable] = []
        budget = self._limits.push_bytes_max
        for name in names:
            variable = self._table.get(name)
            if variable is None:
                continue
            budget -= dotted.size(variable)
            if chosen and (budget < 0 or len(chosen) >= self._limits.digest_entries_max):
                break
            chosen.append(variable)
        self._outbox.send(target, VariablePush(number, tuple(chosen)), self._table.persisted)
        return chosen


def _entry_size(entry: tuple[str, int]) -> int:
    return len(entry[0].encode()) + ENTRY_BYTES
