"""A write on its way to many members: down a tree, and their acknowledgements back up it.

The writer cuts the members, in the order of their ids, into `spread_fanout` parts and sends the
write to the first or the last of each part, drawn by lot, which does the same with the rest of its
part. So each member is sent the write once, and nobody sends more than `spread_fanout` messages.
(It is the tree half of Plumtree, Leitão et al. 2007, without its lazy links: anti-entropy is there
already.) A message names the ends of the rest alone, and every peer cuts it as it sees the members
itself.

Rules
1. A part only gets smaller on the way down, and holds nobody above: there are no cycles, whatever
   views differ.
2. Who has nobody below acknowledges at once. Others wait for those below them, no longer than their
   height in the tree allows, and send what they have in one message; what comes later goes straight
   to the writer.
3. A member is counted once: by whom it is below, and by the writer. Acknowledgements of others, who
   were sent the write on another way, are passed on to the writer as they are.
4. The writer keeps the account. Whoever is missing in it is sent the write again, directly
   (`pushes`), and so the loss of a peer in the middle costs time, and no acknowledgement.
"""

from collections.abc import Sequence
from math import inf
from random import Random

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import PeerAcks, SpreadAcks, VariableSpread
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import Variable

Write = tuple[PeerId, int]
"""Who has written, and the number of the push."""


def parts(members: Sequence[PeerId], fanout: int) -> tuple[Sequence[PeerId], ...]:
    """At most `fanout` runs of about equal size, none empty."""
    count = min(fanout, len(members))
    return tuple(
        members[number * len(members) // count : (number + 1) * len(members) // count]
        for number in range(count)
    )


def height(count: int, fanout: int) -> int:
    """Levels of a tree of `count` members below one peer."""
    levels = 0
    while count > 0:
        levels += 1
        # One of each part is on this level.
        count = -(-count // fanout) - 1
    return levels


class Gathering:
    """Acknowledgements of one write that wait for more from below."""

    __slots__ = (
        "acks",
        "after",
        "below",
        "counted",
        "deadline",
        "is_own_missing",
        "parent",
        "waiting",
    )

    def __init__(self, parent: PeerId, deadline: float) -> None:
        self.parent = parent
        self.deadline = deadline
        self.waiting: dict[PeerId, None] = {}
        """Members that were sent the write from here and have not answered."""
        self.below: dict[PeerId, None] = {}
        """Members of this part that have not acknowledged."""
        self.counted: dict[PeerId, None] = {}
        """Those that have, and whose acknowledgement waits here."""
        self.acks: dict[tuple[int, ...], list[PeerId]] = {}
        self.after = 0
        """Number of the Persist that this peer's own acknowledgement rests on."""
        self.is_own_missing = True


class Spread:
    """One peer's part in the writes of all. `live`: the other members, sorted."""

    def __init__(
        self, peer: PeerId, timing: Timing, limits: Limits, random: Random, outbox: Outbox
    ) -> None:
        self._peer = peer
        self._patience = timing.push_timeout_seconds
        self._limits = limits
        self._random = random
        self._outbox = outbox
        self._gatherings: dict[Write, Gathering] = {}
        self._due = inf
        self.live: tuple[PeerId, ...] = ()

    def send(self, number: int, variables: tuple[Variable, ...], base: int, after: int) -> None:
        """A write of this peer, to everybody."""
        everybody = VariableSpread(number, self._peer, self._peer, self._peer, variables, base)
        self._pass_on(self.live, everybody, after)

    def receive(self, source: PeerId, message: VariableSpread, now: float) -> None:
        """Pass it on, and begin to gather if acknowledgements are wanted."""
        below = [
            peer
            for peer in self.live
            if message.first <= peer <= message.last and peer not in (source, message.writer)
        ]
        heads = self._pass_on(below, message, 0)
        if not message.number:
            return
        write = message.writer, message.number
        earlier = self._gatherings.get(write)
        if earlier is not None:
            # It was sent again: what has come by now is not to wait for it.
            self._send_up(write, earlier)
        if len(self._gatherings) >= self._limits.pushes_pending_max:
            return  # Everybody below, and this peer, acknowledges to the writer.
        fanout = self._limits.spread_fanout
        levels, all_levels = height(len(below), fanout), height(len(self.live), fanout)
        wait = self._patience * levels / (all_levels + 1)
        gathering = Gathering(source, now + wait)
        gathering.waiting.update(dict.fromkeys(heads))
        gathering.below.update(dict.fromkeys(below))
        self._gatherings[write] = gathering
        self._due = min(self._due, gathering.deadline)

    def acknowledge(self, write: Write, outcomes: tuple[int, ...] | None, after: int) -> None:
        """What this peer itself has to say of a write that it was just sent; None: nothing yet."""
        gathering = self._gatherings.get(write)
        if gathering is None:
            if outcomes is not None:
                acks = (PeerAcks(outcomes, (self._peer,)),)
                self._outbox.send(write[0], SpreadAcks(write[1], write[0], acks), after)
            return
        gathering.is_own_missing = False
        gathering.after = after
        if outcomes is not None:
            gathering.acks.setdefault(outcomes, []).append(self._peer)
        self._maybe_send(write, gathering)

    def receive_acks(self, source: PeerId, message: SpreadAcks) -> None:
        """From below, for another writer."""
        write = message.writer, message.number
        gathering = self._gatherings.get(write)
        if gathering is None:
            # Too late to be gathered.
            self._outbox.send(message.writer, message)
            return
        for ack in message.acks:
            others = self._count(gathering, ack.outcomes, ack.peers)
            if others:
                acks = (PeerAcks(ack.outcomes, others),)
                self._outbox.send(message.writer, SpreadAcks(write[1], write[0], acks))
        gathering.waiting.pop(source, None)
        self._maybe_send(write, gathering)

    def tick(self, now: float) -> None:
        if now < self._due:
            return
        for write, gathering in tuple(self._gatherings.items()):
            if now >= gathering.deadline:
                self._send_up(write, gathering)
        self._due = min((g.deadline for g in self._gatherings.values()), default=inf)

    def next_deadline(self) -> float:
        return self._due

    def members(self, live: tuple[PeerId, ...]) -> None:
        """The other members that are here, sorted."""
        self.live = live
        here = dict.fromkeys(live)
        for write, gathering in tuple(self._gatherings.items()):
            if write[0] not in here:
                del self._gatherings[write]
                continue
            gathering.waiting = {p: None for p in gathering.waiting if p in here}
            self._maybe_send(write, gathering)

    def _count(
        self, gathering: Gathering, outcomes: tuple[int, ...], peers: Sequence[PeerId]
    ) -> tuple[PeerId, ...]:
        """Returns those that are neither waited for nor counted here already."""
        others: list[PeerId] = []
        for peer in peers:
            if peer in gathering.below:
                del gathering.below[peer]
                gathering.counted[peer] = None
                gathering.acks.setdefault(outcomes, []).append(peer)
            elif peer not in gathering.counted:
                others.append(peer)
        return tuple(others)

    def _pass_on(
        self, members: Sequence[PeerId], message: VariableSpread, after: int
    ) -> list[PeerId]:
        heads = []
        for part in parts(members, self._limits.spread_fanout):
            is_first = self._random.random() < 0.5
            head, rest = (part[0], part[1:]) if is_first else (part[-1], part[:-1])
            heads.append(head)
            passed = VariableSpread(
                message.number,
                message.writer,
                rest[0] if rest else head,
                rest[-1] if rest else head,
                message.variables,
                message.base,
            )
            self._outbox.send(head, passed, after)
        return heads

    def _maybe_send(self, write: Write, gathering: Gathering) -> None:
        if not gathering.waiting and not gathering.is_own_missing:
            self._send_up(write, gathering)

    def _send_up(self, write: Write, gathering: Gathering) -> None:
        del self._gatherings[write]
        if not gathering.acks:
            return
        acks = tuple(
            PeerAcks(outcomes, tuple(sorted(peers)))
            for outcomes, peers in sorted(gathering.acks.items())
        )
        target = gathering.parent if gathering.parent in self.live else write[0]
        self._outbox.send(target, SpreadAcks(write[1], write[0], acks), gathering.after)

    def check(self) -> None:
        """Assert that nobody is counted twice."""
        for gathering in self._gatherings.values():
            counted = [peer for peers in gathering.acks.values() for peer in peers]
            assert len(counted) == len(dict.fromkeys(counted))
            assert not any(peer in gathering.below for peer in counted)
