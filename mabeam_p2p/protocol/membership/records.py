"""What is known of whom, what becomes of news of it, and what is told on.

Decides by the order of records, and by what members have said of themselves (rules 3 to 8 of
`membership`), and asks nobody. A part of `Membership`.
"""

from collections.abc import Callable, Iterable
from math import inf

from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX, PeerId
from mabeam_p2p.messages import Gossip, MembershipMessage, Rumour, Wanted
from mabeam_p2p.protocol.core import Drop, Outbox
from mabeam_p2p.protocol.membership.graves import age
from mabeam_p2p.protocol.membership.health import Health
from mabeam_p2p.protocol.membership.probing import Probing
from mabeam_p2p.protocol.membership.rumours import Rumours, transmissions
from mabeam_p2p.protocol.membership.suspicion import Suspicion
from mabeam_p2p.protocol.membership.table import Table, Turn, is_newer
from mabeam_p2p.protocol.membership.words import LEAP_MAX, OwnWords
from mabeam_p2p.records import Member, MemberState

WHOLE_TABLES_SECONDS = 0.25
"""The whole table is told on request no more often than this."""


class Records:
    """The table, the suspicions and the rumours of one peer."""

    def __init__(
        self,
        mine: Member,
        *,
        limits: Limits,
        outbox: Outbox,
        health: Health,
        trusts: Callable[[PeerId], bool],
        probing: Probing,
        drop: Drop,
    ) -> None:
        self.mine = mine
        self.changes: list[Member] = []
        self.forgotten: list[PeerId] = []
        self.hints: list[str] = []
        self.table = Table(limits)
        self.rumours = Rumours(limits.rumours_max)
        self.suspicions: dict[PeerId, Suspicion] = {}
        self.budget = limits.rumours_per_interval_max
        """Rumours that may still be told in this probe interval."""
        self.refutation_counts: dict[PeerId, int] = {}
        """How often each of these has come back by its own word; this peer included. For show."""
        self._corrected: dict[PeerId, Member] = {}
        """Who was told in this probe interval that it is wrong, and of which record."""
        self._limits = limits
        self._outbox = outbox
        self._health = health
        self._trusts = trusts
        self._probing = probing
        self._drop = drop
        self._words = OwnWords(limits.members_max)
        self._view: tuple[Member, ...] | None = None
        self._told_all_at = -inf
        # Apart: where both took from one turn, one of them could come to the same records always.
        self._questions = Turn()
        self._answers = Turn()

    # ---- facts -------------------------------------------------------------------------------

    def view(self) -> tuple[Member, ...]:
        """Every member known, this peer included, sorted by id."""
        if self._view is None:
            everybody = [*self.table.members.values(), self.mine]
            self._view = tuple(sorted(everybody, key=lambda member: member.peer))
        return self._view

    def is_here(self, peer: PeerId) -> bool:
        if peer == self.mine.peer:
            return self.mine.state is not MemberState.LEFT
        return self.table.is_here(peer)

    def here_count(self) -> int:
        """Members that are alive or suspect, this one included."""
        return self.table.here_count() + 1

    def holder_of(self, name: str, peer: PeerId, address: str = "") -> PeerId | None:
        for member in self.view():
            if (
                member.name == name
                and member.peer != peer
                and member.address != address
                and self.is_here(member.peer)
            ):
                return member.peer
        return None

    def addresses(self, count: int) -> tuple[str, ...]:
        others = [m for m in self.view() if m.peer != self.mine.peer]
        behind = [m.address for m in others if m.peer > self.mine.peer]
        before = [m.address for m in others if m.peer < self.mine.peer]
        return (*behind, *before, *self.table.graves.addresses())[:count]

    def introduce(self, members: Iterable[Member]) -> None:
        others = [member for member in members if member.peer != self.mine.peer]
        self.table.members.update((member.peer, member) for member in others)
        self._words.keep(*others)
        self._probing.begin(list(self.table.members))
        self._view = None

    # ---- news --------------------------------------------------------------------------------

    def begin_interval(self) -> None:
        """A probe interval begins."""
        self.budget = self._limits.rumours_per_interval_max
        self._corrected.clear()

    def met(self, member: Member, now: float) -> bool:
        """See `Membership.met`."""
        peer, table = member.peer, self.table
        self._words.keep(member)
        known = table.members.get(peer) or table.graves.find(member)
        if known is not None and not is_newer(member, known):
            if age(member) == age(known) and known.state is not MemberState.ALIVE:
                # It is here, and has yet to say so by a greater incarnation.
                self._outbox.send(peer, Gossip((known,)))
                return known.state is MemberState.DEAD
            return False
        if not (peer in table.members or self._make_room()):
            return False
        for other in list(table.members.values()):
            if other.address == member.address and other.peer != peer and self.is_here(other.peer):
                # Another peer answers at its address: it is gone, or will refute that.
                self.take_in(replace(other, state=MemberState.DEAD), None, now)
        self.take_in(member, None, now)
        self.tell_all(peer, Wanted.SOME)
        return True

    def heard(self, source: PeerId, member: Member, accuser: PeerId | None, now: float) -> None:
        """A record from another peer."""
        if source == member.peer:
            self._words.keep(member)
        elif not self._believes(member):
            self._drop(source, "member", f"{member.peer} has never come so far", now)
            self._hint(member)
            return
        if member.peer == self.mine.peer:
            self._heard_of_me(source, member)
            return
        known = self.table.members.get(member.peer)
        if known is None:
            self._heard_of_stranger(source, member, accuser, now)
        elif is_newer(member, known):
            self.take_in(member, accuser, now)
        elif member.state is MemberState.SUSPECT and not is_newer(known, member):
            self.confirm(known, accuser)

    def _believes(self, member: Member) -> bool:
        if member.peer == self.mine.peer:
            return member.incarnation <= self.mine.incarnation + LEAP_MAX
        return self._words.admit(member)

    def heard_table(self, source: PeerId, gossip: Gossip, now: float) -> None:
        """Part of another peer's table; answered with what it asks for."""
        newer = []
        for member in gossip.members[: self._limits.members_max]:
            self.heard(source, member, None, now)
            known = self.table.members.get(member.peer)
            if known is not None and is_newer(known, member):
                newer.append(known)
        if gossip.wanted is Wanted.ALL and now >= self._told_all_at + WHOLE_TABLES_SECONDS:
            self._told_all_at = now
            self.tell_all(source, Wanted.NOTHING)
        elif gossip.wanted is Wanted.SOME:
            count = self._limits.sync_members_max
            told = dict.fromkeys((self.mine, *newer))
            room = max(0, count - len(told))
            told.update(dict.fromkeys(self.table.window(room, self._answers)))
            self._outbox.send(source, Gossip(tuple(told)[:count]))

    def heard_from_stranger(self, source: PeerId, message: MembershipMessage, now: float) -> None:
        """One that has left or is forgotten, as far as is known here, does not know it: else it
        would refute. Perhaps both have forgotten each other, so an accusation is never answered by
        another one."""
        if isinstance(message, Gossip):
            for member in message.members:
                if member.peer in (source, self.mine.peer):
                    self.heard(source, member, None, now)
            return
        last = self.table.members.get(source) or self.table.graves.last(source)
        if last is not None:
            self._correct(source, last)

    def _heard_of_me(self, source: PeerId, member: Member) -> None:
        """If it is bad, or too new to be true, refute it."""
        mine = self.mine
        if member.epoch != mine.epoch or mine.state is MemberState.LEFT:
            return
        if is_newer(member, mine):
            if member.state is not MemberState.ALIVE:
                self._health.worse()
                self._count_refutation(mine.peer)
            self.renew(mine, member.incarnation)
        if member.state is not MemberState.ALIVE:
            self._correct(source, self.mine)

    def _correct(self, source: PeerId, record: Member) -> None:
        """Tell a peer what it has wrong, once in a probe interval: what else comes of it so soon it
        has said before it could hear that. If the answer is lost, it says it again later."""
        is_told = self._corrected.get(source) == record
        if not is_told and len(self._corrected) < self._limits.members_max:
            self._corrected[source] = record
            self._outbox.send(source, Gossip((record,)))

    def _heard_of_stranger(
        self, source: PeerId, member: Member, accuser: PeerId | None, now: float
    ) -> None:
        trusted = self._trusts(source)
        if member.state >= MemberState.DEAD:
            # Not taken in: records of who is gone would go round for ever.
            if trusted:
                self.table.graves.bury(member)
        elif self.table.graves.find(member) is not None:
            return
        elif (
            not trusted
            or self.holder_of(member.name, member.peer) is not None
            or not self._make_room()
        ):
            self._hint(member)
        else:
            self.take_in(member, accuser, now)

    def _hint(self, member: Member) -> None:
        """It is greeted where it is said to be, and can speak for itself."""
        if len(self.hints) < self._limits.candidates_max and not self.is_here(member.peer):
            self.hints.append(member.address)

    # ---- transitions -------------------------------------------------------------------------

    def take_in(self, member: Member, accuser: PeerId | None, now: float) -> None:
        """A record that is newer than the one before; it is news for others."""
        peer = member.peer
        before = self.table.members.get(peer)
        self.table.put(member, now)
        self._view = None
        self.suspicions.pop(peer, None)
        if member.state is MemberState.SUSPECT:
            suspicion = self.suspicions[peer] = Suspicion(now)
            if accuser is not None:
                suspicion.confirm(accuser)
        if before is not None and _is_refutation(before, member):
            self._count_refutation(peer)
        if before is None:
            self._probing.add(peer)
        elif member.state is not MemberState.SUSPECT:
            # A refutation answers what was asked before it; the dead are not waited for.
            self._probing.forget(peer)
        self.rumours.spread(Rumour(member, accuser))
        if before is None or replace(before, incarnation=member.incarnation) != member:
            self.changes.append(member)

    def confirm(self, member: Member, accuser: PeerId | None) -> None:
        """Somebody else suspects it, too. member: as known here."""
        if accuser is not None and self.suspicions[member.peer].confirm(accuser):
            self.rumours.confirm(Rumour(member, accuser))

    def renew(self, facts: Member, incarnation: int) -> None:
        """This peer's own record becomes `facts`, newer than `incarnation`."""
        self.mine = replace(facts, incarnation=min(incarnation + 1, INTEGER_MAX))
        self._view = None
        self.rumours.spread(Rumour(self.mine))

    def leave(self) -> None:
        self.mine = replace(self.mine, state=MemberState.LEFT)
        self._view = None

    def forget(self, peer: PeerId) -> None:
        self.table.forget(peer)
        self._probing.remove(peer)
        self.suspicions.pop(peer, None)
        self.refutation_counts.pop(peer, None)
        self.rumours.silence(peer)
        self.forgotten.append(peer)
        self._view = None

    def forget_long_gone(self, retention: float, now: float) -> None:
        for peer in self.table.outlived(retention, now):
            self.forget(peer)

    def _count_refutation(self, peer: PeerId) -> None:
        self.refutation_counts[peer] = self.refutation_counts.get(peer, 0) + 1

    def _make_room(self) -> bool:
        if not self.table.has_room():
            peer = self.table.least_missed()
            if peer is None:
                return False
            self.forget(peer)
        return True

    # ---- telling -----------------------------------------------------------------------------

    def rumours_for(self, peer: PeerId) -> tuple[Rumour, ...]:
        """What goes with a message: first what the receiver has to refute (Lifeguard §IV-C), which
        is not counted, as there is no more of it than suspects."""
        count = self._limits.rumours_per_message_max
        member = self.table.members.get(peer)
        buddy: tuple[Rumour, ...] = ()
        if member is not None and member.state is not MemberState.ALIVE:
            buddy = (Rumour(member),)
            count -= 1
        taken = self.rumours.take(min(count, self.budget), transmissions(self.here_count()))
        self.budget -= len(taken)
        return (*buddy, *taken)

    def some(self) -> tuple[Member, ...]:
        """This peer's record and the next few others."""
        return (self.mine, *self.table.window(self._limits.sync_members_max - 1, self._questions))

    def tell_all(self, peer: PeerId, wanted: Wanted) -> None:
        """The whole table, in bounded messages."""
        view, size = self.view(), self._limits.sync_members_max
        for start in range(0, len(view), size):
            is_last = start + size >= len(view)
            part = view[start : start + size]
            self._outbox.send(peer, Gossip(part, wanted if is_last else Wanted.NOTHING))


def _is_refutation(before: Member, member: Member) -> bool:
    """Whether a process that was taken for suspect or dead says that it lives."""
    is_alive = member.state is MemberState.ALIVE and member.epoch == before.epoch
    return is_alive and before.state in (MemberState.SUSPECT, MemberState.DEAD)
