"""A few peers' Variables in virtual time, with disks that forget and a network that does worse.

Ghosts outside the peers remember every write, and judge what the peers hold after each step.
"""

from random import Random

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Effect, Notify, Persist, Resolve, Send
from mabeam_p2p.events import Dropped, VariableChanged
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Message, VariableAck, VariableMessage, VariablePush
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.variables import Variables, dotted
from mabeam_p2p.protocol.vector_clock import Vector, counter_of, covers, join
from mabeam_p2p.records import (
    Member,
    MemberState,
    Sibling,
    Variable,
    VariableForgotten,
    VariableMarks,
)
from mabeam_p2p.requests import Acknowledged, Answer, SetVariables, VariableChange

WALL = 1_700_000_000.0
LATENCY = 0.001
"""Seconds that each message takes when the network runs by itself."""


def peer_id(number: int) -> PeerId:
    return PeerId(f"{number:016x}")


def change(name: str, value: bytes | None, resolver: str = "lww") -> VariableChange:
    return VariableChange(name, resolver, value)


class Write:
    """The ghost of one write of one variable."""

    def __init__(self, name: str, seen: Vector, value: bytes | None, clock: int) -> None:
        self.name = name
        self.seen = seen
        self.value = value
        self.clock = clock


class Site:
    """One peer: the core, its disk, and the effects that wait for the disk."""

    def __init__(self, number: int, network: "Network") -> None:
        self.peer = peer_id(number)
        self.name = f"peer-{number}"
        self.network = network
        self.epoch = 0
        self.disk: dict[str, Variable] = {}
        self.marks: VariableMarks | None = None
        self.forgotten: dict[tuple[PeerId, str, int], None] = {}
        """(actor, name, counter) of writes whose variable was forgotten here."""
        self.state = MemberState.ALIVE
        self.answers: dict[int, Answer] = {}
        self.changes: list[VariableChanged] = []
        self.drops: list[Dropped] = []
        self.is_disk_slow = False
        self.start()

    def start(self) -> None:
        """A new process on the same disk."""
        self.epoch += 1
        self.outbox = Outbox()
        self.unsynced: list[Persist] = []
        self.durable = 0
        self.held: list[Send | Notify | Resolve] = []
        now = self.network.now
        self.core = Variables(
            self.peer,
            self.epoch,
            tuple(self.disk.values()),
            self.network.timing,
            self.network.limits,
            Random(f"{self.peer} {self.epoch} {self.network.seed}"),
            WALL + now,
            now,
            self.outbox,
            self.marks,
        )
        self.settle()

    def settle(self) -> None:
        """Run what the core wants, as far as the disk allows."""
        self.core.check()
        for effect in self.outbox.take():
            self._take(effect)
        if not self.is_disk_slow:
            self.sync_disk()

    def _take(self, effect: Effect) -> None:
        match effect:
            case Persist():
                self.unsynced.append(effect)
            case Send() | Notify() | Resolve() if effect.after > self.durable:
                self.held.append(effect)
            case Send() | Notify() | Resolve():
                self._run(effect)
            case _:
                raise AssertionError(f"variables never want {effect}")

    def sync_disk(self) -> None:
        for persist in self.unsynced:
            match persist.record:
                case Variable() as variable:
                    self.disk[variable.name] = variable
                case VariableForgotten(name):
                    for actor, counter in self.disk.pop(name).context:
                        self.forgotten |= dict.fromkeys(self.network.dots(name, actor, counter))
                case VariableMarks() as marks:
                    self.marks = marks
                case _:
                    raise AssertionError(f"variables never write {persist}")
            self.durable = persist.number
        self.unsynced = []
        held, self.held = self.held, []
        for effect in held:
            self._take(effect)

    def _run(self, effect: Send | Notify | Resolve) -> None:
        match effect:
            case Send(target, message, _):
                self.network.send(self, target, message)
            case Notify(VariableChanged() as event, _):
                self.changes.append(event)
            case Notify(Dropped() as event, _):
                self.drops.append(event)
            case Resolve(token, answer, _):
                assert token not in self.answers, "a request was answered twice"
                self.answers[token] = answer
            case _:
                raise AssertionError(f"variables never tell of {effect}")

    def hear(self, source: PeerId, message: Message) -> None:
        assert isinstance(message, VariableMessage)
        self.core.receive(source, message, self.network.now)
        self.settle()

    def held_here(self, name: str) -> Variable | None:
        found = self.core.read(name)
        return found[0] if found else None

    def content(self) -> dict[str, tuple[Sibling, ...]]:
        """What has a value, whether or not what was deleted is still remembered."""
        return {v.name: v.siblings for v in self.core.read("") if not dotted.is_deleted(v)}

    def values(self, name: str) -> list[bytes | None]:
        found = self.held_here(name)
        return [] if found is None else [sibling.value for sibling in found.siblings]

    def acknowledged(self, token: int) -> Acknowledged:
        answer = self.answers[token]
        assert isinstance(answer, Acknowledged), answer
        return answer


class Network:
    """`count` sites that know each other. Messages move only when asked to."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        timing: Timing | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.now = 100.0
        self.seed = seed
        self.timing = timing or Timing()
        self.limits = limits or Limits()
        self.queue: list[tuple[Site, int, Site, int, VariableMessage, float]] = []
        self.sent: list[tuple[PeerId, PeerId, VariableMessage]] = []
        self.cut: dict[tuple[PeerId, PeerId], None] = {}
        self.writes: dict[tuple[str, PeerId, int], Write] = {}
        self.promised: list[tuple[str, PeerId, int]] = []
        """Writes whose writer was told that they are done."""
        self.tokens = 0
        self.sites: list[Site] = []
        for number in range(1, count + 1):
            self.sites.append(Site(number, self))
        self.tell_members()

    def tell_members(self) -> None:
        for site in self.sites:
            self.tell(site, self.members())

    def tell(self, site: Site, members: tuple[Member, ...]) -> None:
        site.core.members(members, self.now)
        site.settle()

    def members(self) -> tuple[Member, ...]:
        return tuple(Member(s.peer, s.name, "127.0.0.1:1", s.epoch, 1, s.state) for s in self.sites)

    # ---- what sites do -----------------------------------------------------------------------

    def write(
        self,
        site: Site,
        *changes: VariableChange,
        wait: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Write; return the request's token."""
        self.tokens += 1
        before = {c.name: site.held_here(c.name) for c in changes}
        site.core.write(self.tokens, SetVariables(changes, wait, timeout), self.now)
        for wanted in changes:
            after = site.held_here(wanted.name)
            if after is not None and after is not before[wanted.name]:
                self._remember(site, wanted, before[wanted.name], after)
        is_written = any(site.held_here(c.name) is not before[c.name] for c in changes)
        site.settle()
        if is_written and self.tokens in site.answers:
            self.promised += [self._last_dot(site, c.name) for c in changes]
        return self.tokens

    def _last_dot(self, site: Site, name: str) -> tuple[str, PeerId, int]:
        held = site.held_here(name)
        assert held is not None
        return name, site.peer, dict(held.context)[site.peer]

    def _remember(
        self, site: Site, wanted: VariableChange, before: Variable | None, after: Variable
    ) -> None:
        dot = self._last_dot(site, wanted.name)
        context = before.context if before is not None else ()
        known = join(context, site.core._marks.known_vector())
        seen = tuple((a, dot[2] - 1 if a == site.peer else n) for a, n in known)
        if wanted.context is not None:
            seen = tuple((a, min(n, counter_of(seen, a))) for a, n in wanted.context)
        sibling = next(s for s in after.siblings if (s.actor, s.counter) == dot[1:])
        assert dot not in self.writes, "a dot was used twice"
        self.writes[dot] = Write(wanted.name, seen, wanted.value, sibling.clock)

    def dots(self, name: str, actor: PeerId, last: int) -> list[tuple[PeerId, str, int]]:
        """The writes of `actor` up to this one."""
        return [
            (actor, name, dot[2])
            for dot in self.writes
            if dot[0] == name and dot[1] == actor and dot[2] <= last
        ]

    def crash(self, site: Site) -> None:
        """Lose what was not durable, and start again."""
        for dot in [dot for dot in self.writes if dot[1] == site.peer]:
            durable = site.disk.get(dot[0])
            # Own writes are durable in order, and all known if one was forgotten.
            is_known = site.marks is not None and counter_of(site.marks.known, site.peer) > 0
            is_forgotten = is_known and (site.peer, dot[0], dot[2]) in site.forgotten
            if not (durable and covers(durable.context, dot[1], dot[2])) and not is_forgotten:
                assert dot not in self.promised, "a write that was acknowledged is lost"
                del self.writes[dot]
        site.start()
        self.tell(site, self.members())
        # Nobody hears a new process before it has met it.
        for other in self.sites:
            if site.peer in other.core._live:
                self.tell(other, self.members())

    # ---- the network -------------------------------------------------------------------------

    def send(self, source: Site, target: PeerId, message: Message) -> None:
        assert isinstance(message, VariableMessage)
        site = next(site for site in self.sites if site.peer == target)
        assert site is not source, "a peer sends to itself"
        self.sent.append((source.peer, target, message))
        due = self.now + LATENCY
        self.queue.append((source, source.epoch, site, site.epoch, message, due))

    def deliver(self, position: int = 0, *, keep: bool = False) -> None:
        """Let a message arrive; `keep` lets it come again later."""
        source, source_epoch, target, target_epoch, message, _ = self.queue[position]
        if not keep:
            del self.queue[position]
        is_current = (source_epoch, target_epoch) == (source.epoch, target.epoch)
        if is_current and (source.peer, target.peer) not in self.cut:
            target.hear(source.peer, message)
            self.check()

    def deliver_all(self) -> None:
        """Until nothing is under way."""
        while self.queue:
            self.deliver()

    def lose_all(self) -> None:
        self.queue.clear()

    def part(self, left: list[Site], right: list[Site]) -> None:
        for one in left:
            for other in right:
                self.cut[one.peer, other.peer] = None
                self.cut[other.peer, one.peer] = None

    def heal(self) -> None:
        self.cut.clear()

    def tick(self, seconds: float) -> None:
        """Time passes; nothing is delivered."""
        self.now += seconds
        for site in self.sites:
            site.core.tick(self.now)
            site.settle()

    def run(self, seconds: float) -> None:
        """Let everything happen when it is due."""
        end = self.now + seconds
        while True:
            arrival = self.queue[0][5] if self.queue else end
            due = min([arrival, *(site.core.next_deadline() for site in self.sites)])
            if due >= end:
                self.now = end
                return
            self.now = max(self.now, due)
            if self.queue and self.queue[0][5] <= self.now:
                self.deliver()
            for site in self.sites:
                if site.core.next_deadline() <= self.now:
                    site.core.tick(self.now)
                    site.settle()

    # ---- what must hold ----------------------------------------------------------------------

    def is_even(self) -> bool:
        """Whether all hold the same."""
        first = self.sites[0].content()
        return all(site.content() == first for site in self.sites)

    def check(self) -> None:
        """Each peer holds exactly the writes that it knows and that no other one of them had seen;
        so equal clocks imply equal values, and nothing is lost without a successor."""
        by_name: dict[str, list[tuple[tuple[PeerId, int], Write]]] = {}
        for dot, write in self.writes.items():
            by_name.setdefault(dot[0], []).append((dot[1:], write))
        for site in self.sites:
            for name, writes in by_name.items():
                self._check_variable(site, name, writes)

    def _check_variable(
        self, site: Site, name: str, writes: list[tuple[tuple[PeerId, int], Write]]
    ) -> None:
        variable = site.held_here(name)
        context = () if variable is None else variable.context
        seen = join(context, site.core._marks.known_vector())
        known = {dot: write for dot, write in writes if covers(seen, *dot)}
        siblings = () if variable is None else variable.siblings
        held = {(s.actor, s.counter): s for s in siblings}
        where = site.name, name
        for dot, sibling in held.items():
            write = self.writes[name, *dot]
            assert (write.clock, write.value) == (sibling.clock, sibling.value), where
        for dot, write in known.items():
            if write.value is None:
                continue  # A tombstone may be forgotten, and may come from who has not.
            if any(covers(later.seen, *dot) for later in known.values()):
                assert dot not in held, (where, "a value stands beside its successor")
            elif dot not in held:
                # Whoever told this peer has seen the successor.
                assert any(covers(later.seen, *dot) for _, later in writes), (where, "a value lost")

    def check_promises(self) -> None:
        """Every write that was told to be done is known everywhere."""
        for name, actor, counter in self.promised:
            for site in self.sites:
                held = site.held_here(name)
                seen = join(held.context if held else (), site.core._marks.known_vector())
                assert covers(seen, actor, counter)


# ---- what tests ask of it ----------------------------------------------------------------------

X = change("x", b"1")


def settled(count: int, limits: Limits | None = None, timing: Timing | None = None) -> Network:
    network = Network(count, limits=limits, timing=timing)
    network.run(5.0)
    network.deliver_all()
    network.sent.clear()
    return network


def pushes(network: Network) -> list[VariablePush]:
    return [message for _, _, message in network.sent if isinstance(message, VariablePush)]


def acks(network: Network) -> list[VariableAck]:
    return [message for _, _, message in network.sent if isinstance(message, VariableAck)]


def limit(site: Site, limits: Limits) -> None:
    """From here on the site takes less, or more, than the others."""
    site.core._limits = site.core._intake._limits = limits


def compare(network: Network, asker: Site, other: Site) -> None:
    """One whole exchange with `other`, by hand."""
    asker.core._anti_entropy.begin(other.peer, network.now)
    asker.settle()
    network.deliver_all()


def foreign(name: str = "x", value: bytes | None = b"v", clock: int = 5) -> Variable:
    """A variable as a stranger has written it."""
    actor = peer_id(99)
    return Variable(name, "lww", ((actor, 1),), (Sibling(actor, 1, clock, value),))
