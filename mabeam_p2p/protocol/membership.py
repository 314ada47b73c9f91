"""Who is here: the members that this peer knows, and whether they answer.

It decides each member's state as this peer sees it: alive, suspect, dead or left. A verdict is a
hint to elections and departures; it never changes voters.

Every member is probed in each interval and judged by its answers alone, so that only a link that
works in both directions keeps a member alive. (The verbs and the table are those of SWIM, Das et
al. 2002, without its sampling: docs/divergence.md#failure-detection.)

Rules
1. A member that answered is alive. Silence makes it suspect, longer silence dead.
2. A peer that was itself starved of time forgives the others as much silence (Lifeguard,
   Dadgar et al. 2018, local health): a tick that comes late moves every last answer forward.
3. Leaving is a member's own word, and final for that incarnation. Records are ordered by
   incarnation; an older one changes nothing.
4. Hearsay of an unknown peer is only a hint where to greet.
"""

from math import inf
from random import Random

from msgspec.structs import replace

from mabeam_p2p.config import PROTOCOL_VERSION, Config, Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Gossip, Probe, ProbeAck
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import Member, MemberState, Standing

GOSSIP_EVERY = 4
"""Probe intervals between two exchanges of the whole table with one random member."""

EPOCH_SHIFT = 16
"""Incarnations of one epoch."""


class Acquaintance:
    """What this peer keeps about one other member."""

    __slots__ = ("answered_at", "member", "standing")

    def __init__(self, member: Member, now: float) -> None:
        self.member = member
        self.answered_at = now
        self.standing: Standing | None = None


class Membership:
    """The table of members, from one peer's point of view."""

    def __init__(
        self,
        mine: Member,
        *,
        timing: Timing,
        limits: Limits,
        random: Random,
        outbox: Outbox,
        now: float,
    ) -> None:
        self.mine = mine
        self.changes: list[Member] = []
        """Members whose record or state has changed; the owner takes and clears them."""
        self.hints: list[str] = []
        """Addresses of peers that were heard of; the owner takes and clears them."""
        self._table: dict[PeerId, Acquaintance] = {}
        self._timing = timing
        self._limits = limits
        self._random = random
        self._outbox = outbox
        self._probe_number = 0
        self._probe_due = now
        self._ticked_at = now

    # ---- facts -------------------------------------------------------------------------------

    def view(self) -> tuple[Member, ...]:
        """Every member known, this peer included, sorted by id."""
        everybody = [a.member for a in self._table.values()]
        return tuple(sorted([*everybody, self.mine], key=lambda member: member.peer))

    def find(self, peer: PeerId) -> Member | None:
        if peer == self.mine.peer:
            return self.mine
        acquaintance = self._table.get(peer)
        return acquaintance.member if acquaintance else None

    def name_of(self, peer: PeerId) -> str:
        """Empty: no such member is known."""
        member = self.find(peer)
        return "" if member is None else member.name

    def is_here(self, peer: PeerId) -> bool:
        """Whether the peer is alive or merely suspect."""
        member = self.find(peer)
        return member is not None and member.state <= MemberState.SUSPECT

    def holder_of(self, name: str, peer: PeerId) -> PeerId | None:
        """A member that is here and has `name`, other than `peer`."""
        for member in self.view():
            if member.name == name and member.peer != peer and self.is_here(member.peer):
                return member.peer
        return None

    def standings(self) -> tuple[tuple[PeerId, Standing], ...]:
        """Where the members that are alive stand in the bully order, as far as they have told."""
        return tuple(
            (peer, acquaintance.standing)
            for peer, acquaintance in sorted(self._table.items())
            if acquaintance.standing is not None and acquaintance.member.state is MemberState.ALIVE
        )

    def next_deadline(self) -> float:
        return self._probe_due if self._table else inf

    # ---- verbs -------------------------------------------------------------------------------

    def met(self, member: Member, now: float) -> bool:
        """A peer has introduced itself and is linked. Whether this changes what is known of it."""
        known = self._table.get(member.peer)
        if known is None:
            if len(self._table) >= self._limits.members_max and not self._make_room():
                return False
            self._table[member.peer] = Acquaintance(member, now)
            self._probe_due = min(self._probe_due, now)
        elif member.epoch < known.member.epoch or (
            member.epoch == known.member.epoch and known.member.state is not MemberState.DEAD
        ):
            return False
        else:
            known.answered_at = now
            known.member = member
        self.changes.append(member)
        self._outbox.send(member.peer, Gossip(self.view()))
        return True

    def _make_room(self) -> bool:
        """Forget a member that has left."""
        for peer, acquaintance in self._table.items():
            if acquaintance.member.state is MemberState.LEFT:
                del self._table[peer]
                return True
        return False

    def leave(self) -> None:
        """Say goodbye to everybody."""
        self.mine = _with_state(self.mine, MemberState.LEFT)
        for peer in self._table:
            if self.is_here(peer):
                self._outbox.send(peer, Gossip((self.mine,)))

    def tick(self, standing: Standing, now: float) -> None:
        """Probe, and judge silence."""
        late = now - self._ticked_at - 2 * self._timing.probe_interval_seconds
        self._ticked_at = now
        if late > 0:
            for acquaintance in self._table.values():
                acquaintance.answered_at = min(now, acquaintance.answered_at + late)
        for acquaintance in self._table.values():
            self._judge(acquaintance, now)
        if now >= self._probe_due:
            self._probe_due = now + self._timing.probe_interval_seconds
            self._probe(standing)

    def _probe(self, standing: Standing) -> None:
        if self.mine.state is MemberState.LEFT:
            return
        self._probe_number += 1
        here = [peer for peer in self._table if self.is_here(peer)]
        for peer in here:
            self._outbox.send(peer, Probe(self._probe_number, standing))
        if here and self._probe_number % GOSSIP_EVERY == 0:
            self._outbox.send(here[self._random.randrange(len(here))], Gossip(self.view()))

    def _judge(self, acquaintance: Acquaintance, now: float) -> None:
        member = acquaintance.member
        if member.state >= MemberState.DEAD:
            return
        silence = now - acquaintance.answered_at
        state = MemberState.ALIVE
        if silence >= self._timing.dead_seconds:
            state = MemberState.DEAD
        elif silence >= self._timing.suspect_seconds:
            state = MemberState.SUSPECT
        if state != member.state:
            self._change(acquaintance, _with_state(member, state))

    def _change(self, acquaintance: Acquaintance, member: Member) -> None:
        acquaintance.member = member
        self.changes.append(member)

    # ---- reactions ---------------------------------------------------------------------------

    def receive(
        self, source: PeerId, message: Probe | ProbeAck | Gossip, standing: Standing, now: float
    ) -> None:
        acquaintance = self._table.get(source)
        if acquaintance is None:
            return
        match message:
            case Probe():
                acquaintance.standing = message.standing
                if self.mine.state is not MemberState.LEFT:
                    self._outbox.send(source, ProbeAck(message.number, standing))
            case ProbeAck():
                acquaintance.standing = message.standing
                if message.number <= self._probe_number:
                    self._answered(acquaintance, now)
            case Gossip():
                for member in message.members[: self._limits.members_max]:
                    self._on_record(source, member)

    def _answered(self, acquaintance: Acquaintance, now: float) -> None:
        acquaintance.answered_at = now
        member = acquaintance.member
        if member.state in (MemberState.SUSPECT, MemberState.DEAD):
            self._change(acquaintance, _with_state(member, MemberState.ALIVE))

    def _on_record(self, source: PeerId, member: Member) -> None:
        if member.peer == self.mine.peer:
            return
        known = self._table.get(member.peer)
        if known is None:
            if member.state <= MemberState.SUSPECT:
                self.hints.append(member.address)
        elif (
            source == member.peer
            and member.state is MemberState.LEFT
            and member.epoch == known.member.epoch
            and known.member.state is not MemberState.LEFT
        ):
            self._change(known, member)


def own_record(config: Config, peer: PeerId, address: str, epoch: int) -> Member:
    """This peer's own record; its incarnation begins above every one of an earlier epoch."""
    incarnation, eligible, score = epoch << EPOCH_SHIFT, config.eligible, config.score
    alive = MemberState.ALIVE
    return Member(
        peer, config.name, address, epoch, incarnation, alive, eligible, score, PROTOCOL_VERSION
    )


def _with_state(member: Member, state: MemberState) -> Member:
    return replace(member, state=state)
