"""Variables of one peer: writes, pushes, acknowledgements and what comes from others.

Decides what this peer holds of each variable, and who is told of a write. Never looks into a
value, and never chooses between concurrent ones. Called by `node` alone.

Rules
1. A write has a dot of its own: this peer and a counter that never repeats, over restarts too, for
   it begins at the peer's epoch << 32. Nobody else may write under this peer's name.
2. A state only ever grows (`dotted.sync`): late, doubled and reordered pushes do no harm.
3. Whatever is pushed, acknowledged, told to listeners or answered is durable here first.
4. Every numbered push is acknowledged: also one that brings nothing new, or that is refused.
5. The variables of one write travel in one message and are told of in one event. A receiver takes
   each as far as its limits admit it.
6. A deleted variable stays as a tombstone, and counts towards `variables_max`.
"""

from itertools import count
from math import inf
from random import Random
from typing import assert_never

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.events import Dropped, VariableChanged
from mabeam_p2p.ids import INTEGER_MAX, PeerId, is_key
from mabeam_p2p.messages import (
    AckRelay,
    Digest,
    DigestEntries,
    VariableAck,
    VariablePush,
    VariableWant,
)
from mabeam_p2p.protocol.core import Outbox, numbers_before
from mabeam_p2p.protocol.hybrid_clock import HybridClock
from mabeam_p2p.protocol.variables import dotted
from mabeam_p2p.protocol.variables.anti_entropy import AntiEntropy
from mabeam_p2p.protocol.variables.pushes import Outcome, Push, Pushes
from mabeam_p2p.protocol.variables.table import BUCKETS, Table
from mabeam_p2p.protocol.vector_clock import counter_of, is_vector
from mabeam_p2p.records import RESOLVERS, Member, MemberState, Sibling, Variable
from mabeam_p2p.requests import (
    WAIT_MAJORITY,
    Failed,
    Refused,
    SetVariables,
    VariableChange,
)

VariableMessage = VariablePush | VariableAck | Digest | DigestEntries | VariableWant

EPOCH_BITS = 32
"""Writes of one process life: more than a million a second for an hour."""

GOSSIP_SPREAD = 0.25
"""Part of the gossip interval by which peers fall out of step with each other."""

DROP_REPORT_SECONDS = 1.0


class Variables:
    """`wall`: seconds since 1970 at `now`. `variables`: what storage held."""

    def __init__(
        self,
        peer: PeerId,
        epoch: int,
        variables: tuple[Variable, ...],
        timing: Timing,
        limits: Limits,
        random: Random,
        wall: float,
        now: float,
        outbox: Outbox,
    ) -> None:
        self._peer = peer
        self._timing = timing
        self._limits = limits
        self._random = random
        self._outbox = outbox
        self._table = Table(variables, outbox)
        self._clock = HybridClock(wall, now)
        self._counter = epoch << EPOCH_BITS
        self._counter_max = self._counter + (1 << EPOCH_BITS) - 1
        for variable in variables:
            own = counter_of(variable.context, peer)
            assert own <= self._counter, f"{variable.name!r} was written here in a later epoch"
            for sibling in variable.siblings:
                self._clock.observe(sibling.clock, now)
        self._live: dict[PeerId, str] = {}
        """Name of each other member that is alive or suspect, sorted by peer."""
        self._numbers = count(numbers_before(epoch) + 1)
        self._pushes = Pushes(timing.push_timeout_seconds)
        self._tokens: dict[int, int] = {}
        """Number of the push that a waiting request is for."""
        self._anti_entropy = AntiEntropy(self._table, outbox, timing, limits, random, self._numbers)
        self._next_gossip = inf
        self._drops: dict[tuple[PeerId, str], tuple[float, int]] = {}
        self.coordinator: PeerId | None = None
        """Who passes this peer's acknowledgements on."""

    @property
    def ready(self) -> bool:
        """Whether some member has given this peer all that it held, or there is nobody to ask.

        Peers that are all new make each other ready.
        """
        return self._anti_entropy.is_given or not self._live

    # ---- requests ----------------------------------------------------------------------------

    def write(self, token: int, request: SetVariables, now: float) -> None:
        """Write here, tell everybody. Answers Refused or Failed, and nothing has happened; or
        Acknowledged as soon as the wait is reached, cannot be reached any more, or has lasted too
        long. Members that had not answered by then are `missing`."""
        timeout = request.timeout
        if timeout is None:
            timeout = self._timing.request_timeout_seconds
        if request.wait and len(self._pushes) >= self._limits.pushes_pending_max:
            self._outbox.resolve(token, Failed("overloaded", "too many writes under way"))
            return
        staged = self._stage(request, timeout, now)
        if isinstance(staged, Refused):
            self._outbox.resolve(token, staged)
            return
        variables = tuple(staged.values())
        self._counter += len(request.changes)
        for variable in variables:
            self._table.keep(variable)
        self._outbox.notify(VariableChanged(variables, self._peer), self._table.persisted)
        self._push(token, request.wait, variables, now + timeout, now)

    def _push(
        self, token: int, wait: int, variables: tuple[Variable, ...], deadline: float, now: float
    ) -> None:
        names = tuple(variable.name for variable in variables)
        push = Push(next(self._numbers), token, names, self._live, wait, deadline)
        # Too many under way: those that nobody waits for are left to anti-entropy if they get lost.
        is_kept = bool(self._live) and len(self._pushes) < self._limits.pushes_pending_max
        if is_kept:
            self._pushes.open(push, now)
            if token:
                self._tokens[token] = push.number
        message = VariablePush(push.number if is_kept else 0, variables)
        for peer in self._live:
            self._outbox.send(peer, message, self._table.persisted)
        self._maybe_answer(push)

    def _stage(
        self, request: SetVariables, timeout: float, now: float
    ) -> dict[str, Variable] | Refused:
        """The variables as the request makes them, or why it is refused. Changes nothing."""
        if not request.changes or request.wait < WAIT_MAJORITY or not 0 <= timeout < inf:
            return Refused("invalid", "no changes, an unknown wait, or a timeout below 0")
        if self._counter + len(request.changes) > self._counter_max:
            return Refused("limit", "no more writes before this peer restarts")
        staged: dict[str, Variable] = {}
        for counter, change in enumerate(request.changes, self._counter + 1):
            current = staged.get(change.name) or self._table.get(change.name)
            objection = self._objection(change, current)
            if objection is not None:
                return objection
            sibling = Sibling(self._peer, counter, self._clock.tick(now), change.value)
            variable = dotted.written(
                current, change.name, change.resolver, change.context, sibling
            )
            if len(variable.siblings) > self._limits.siblings_max:
                return Refused("limit", f"{change.name!r} has too many concurrent values")
            if len(variable.context) > self._limits.members_max:
                return Refused("limit", f"{change.name!r} was written by too many peers")
            staged[change.name] = variable
        if len(self._table) + sum(self._is_new(name) for name in staged) > (
            self._limits.variables_max
        ):
            return Refused("limit", f"more than {self._limits.variables_max} variables")
        if sum(map(dotted.size, staged.values())) > self._limits.push_bytes_max or (
            len(staged) > self._limits.digest_entries_max
        ):
            return Refused("too_large", "together more than one message to others may hold")
        return staged

    def _is_new(self, name: str) -> bool:
        return self._table.get(name) is None

    def _objection(self, change: VariableChange, current: Variable | None) -> Refused | None:
        if not is_key(change.name):
            return Refused("invalid", "the name is not usable")
        if change.resolver not in RESOLVERS:
            return Refused("invalid", f"resolver {change.resolver!r} is none of {RESOLVERS}")
        if current is not None and current.resolver != change.resolver:
            return Refused("resolver_mismatch", f"{change.name!r} has {current.resolver!r}")
        if len(change.value or b"") > self._limits.value_bytes_max:
            return Refused("too_large", f"{change.name!r} exceeds the limit of one value")
        if change.context is not None and not is_vector(change.context, self._limits.members_max):
            return Refused("invalid", "the context is not a version vector")
        return None

    def read(self, name: str) -> tuple[Variable, ...]:
        """The variable of this name, if it is held; with an empty name all, by name."""
        if not name:
            return self._table.all()
        variable = self._table.get(name)
        return () if variable is None else (variable,)

    def cancel(self, token: int) -> None:
        """Nobody waits for this write any more; it goes on."""
        push = self._pushes.get(self._tokens.pop(token, 0))
        if push is not None:
            push.token = 0

    def _maybe_answer(self, push: Push, *, is_over: bool = False) -> None:
        """Answer the writer if there is no more to wait for, and forget a push that is over."""
        if push.token and (is_over or push.is_reached or push.is_hopeless):
            self._outbox.resolve(push.token, push.answer(), self._table.persisted)
            self._tokens.pop(push.token, None)
            push.token = 0
        if (is_over or not push.missing) and self._pushes.get(push.number) is push:
            self._pushes.close(push)

    # ---- what others say ---------------------------------------------------------------------

    def receive(self, source: PeerId, message: VariableMessage, now: float) -> None:
        match message:
            case VariablePush():
                self._on_push(source, message, now)
            case VariableAck():
                self._on_ack(source, message, now)
            case Digest():
                self._on_digest(source, message, now)
            case DigestEntries():
                self._on_digest_entries(source, message, now)
            case VariableWant():
                self._on_want(source, message, now)
            case _ as never:
                assert_never(never)

    def _on_push(self, source: PeerId, push: VariablePush, now: float) -> None:
        if not 0 <= push.number <= INTEGER_MAX:
            self._drop(source, "variable_push", "number", now)
            return
        if len(push.variables) > self._limits.digest_entries_max:
            self._drop(source, "variable_push", "count", now)
            return
        outcomes: list[Outcome] = []
        changed: dict[str, Variable] = {}
        unlike: list[str] = []
        moved = False
        for pushed in push.variables:
            before = self._table.get(pushed.name)
            outcome = self._merge(source, pushed, now)
            after = self._table.get(pushed.name)
            outcomes.append(outcome)
            moved = moved or after is not before
            if after is None or outcome == Outcome.REFUSED:
                continue
            if before is None or after.siblings != before.siblings:
                changed[after.name] = after
            if after != pushed:
                unlike.append(after.name)
        if changed:
            event = VariableChanged(tuple(changed.values()), source)
            self._outbox.notify(event, self._table.persisted)
        if push.number:
            self._acknowledge(source, push.number, tuple(map(int, outcomes)), moved)
        else:
            names = [variable.name for variable in push.variables]
            self._anti_entropy.receive_wanted(source, names, unlike, moved, now)

    def _acknowledge(
        self, target: PeerId, number: int, outcomes: tuple[int, ...], moved: bool
    ) -> None:
        """By way of the coordinator, if there is one; directly what brought nothing new, for it was
        sent again, perhaps because that way is blocked."""
        way = self.coordinator if moved else None
        durable = self._table.persisted
        if way in (None, self._peer, target):
            self._outbox.send(target, VariableAck(number, outcomes), durable)
        else:
            self._outbox.send(way, AckRelay(target, number, outcomes), durable)

    def _merge(self, source: PeerId, pushed: Variable, now: float) -> Outcome:
        """Take what another peer holds into what this one holds."""
        defect = dotted.defect(pushed, self._limits)
        if not defect and counter_of(pushed.context, self._peer) > self._counter:
            defect = "a write of this peer that it never made"
        held = self._table.get(pushed.name) if not defect else None
        if not defect and held is None and len(self._table) >= self._limits.variables_max:
            defect = "no room for another variable"
        if defect:
            self._drop(source, "variable", defect, now)
            return Outcome.REFUSED
        merged = pushed
        if held is not None:
            merged = dotted.sync(held, pushed)
            if len(merged.context) > self._limits.members_max:
                self._drop(source, "variable", "written by too many peers", now)
                return Outcome.REFUSED
            bounded = dotted.bounded(merged, self._limits)
            if bounded is not merged:
                self._drop(source, "siblings", f"of {pushed.name!r}: the oldest given up", now)
            merged = bounded
        if merged != held:
            for sibling in pushed.siblings:
                self._clock.observe(sibling.clock, now)
            self._table.keep(merged)
        if merged.siblings == pushed.siblings:
            return Outcome.APPLIED
        if any(sibling in merged.siblings for sibling in pushed.siblings):
            return Outcome.MERGED
        return Outcome.SUPERSEDED

    def _on_ack(self, source: PeerId, ack: VariableAck, now: float) -> None:
        if not all(0 <= outcome <= Outcome.REFUSED for outcome in ack.outcomes):
            self._drop(source, "variable_ack", "outcome", now)
            return
        moved = any(o in (Outcome.APPLIED, Outcome.MERGED) for o in ack.outcomes)
        if self._anti_entropy.receive_ack(source, ack.number, moved, now):
            return
        push = self._pushes.get(ack.number)
        if push is None or source not in push.missing:
            return  # Late, or doubled.
        if len(ack.outcomes) != len(push.names):
            self._drop(source, "variable_ack", "count", now)
            return
        push.acknowledge(source, ack.outcomes)
        self._maybe_answer(push)

    def _on_digest(self, source: PeerId, digest: Digest, now: float) -> None:
        if len(digest.buckets) != BUCKETS:
            self._drop(source, "digest", "bucket count", now)
            return
        self._anti_entropy.receive_digest(source, digest)

    def _on_digest_entries(self, source: PeerId, message: DigestEntries, now: float) -> None:
        if len(message.entries) > self._limits.digest_entries_max:
            self._drop(source, "digest_entries", "count", now)
        elif len(message.buckets) > BUCKETS or any(
            not 0 <= number < BUCKETS for number in message.buckets
        ):
            self._drop(source, "digest_entries", "bucket", now)
        elif not all(is_key(name) for name, _ in message.entries):
            self._drop(source, "digest_entries", "name", now)
        else:
            self._anti_entropy.receive_entries(source, message, now)

    def _on_want(self, source: PeerId, want: VariableWant, now: float) -> None:
        if len(want.names) > self._limits.digest_entries_max:
            self._drop(source, "variable_want", "count", now)
            return
        self._anti_entropy.receive_want(source, want)

    def _drop(self, source: PeerId, reason: str, detail: str, now: float) -> None:
        """Count what broke the protocol; tell of it at most once a second for each reason."""
        reported_at, dropped_count = self._drops.get((source, reason), (-inf, 0))
        if now - reported_at < DROP_REPORT_SECONDS:
            self._drops[source, reason] = reported_at, dropped_count + 1
            return
        self._outbox.notify(Dropped(source, reason, detail, dropped_count + 1))
        self._drops[source, reason] = now, 0

    # ---- notices and time --------------------------------------------------------------------

    def members(self, members: tuple[Member, ...], now: float) -> None:
        """The members are now these; who is missing here, dead or left has gone."""
        had_nobody = not self._live
        self._live = {
            member.peer: member.name
            for member in sorted(members, key=lambda member: member.peer)
            if member.state in (MemberState.ALIVE, MemberState.SUSPECT)
            and member.peer != self._peer
        }
        for push in self._pushes:
            for peer in [peer for peer in push.missing if peer not in self._live]:
                push.leave(peer)
            self._maybe_answer(push)
        self._drops = {key: drop for key, drop in self._drops.items() if key[0] in self._live}
        if not self._live:
            self._next_gossip = inf
        elif had_nobody:
            self._next_gossip = now

    def tick(self, now: float) -> None:
        for push in self._pushes.take_due(now):
            if now >= push.deadline:
                self._maybe_answer(push, is_over=True)
                continue
            held = [self._table.get(name) for name in push.names]
            message = VariablePush(push.number, tuple(v for v in held if v is not None))
            for peer in push.missing:
                self._outbox.send(peer, message, self._table.persisted)
        if now >= self._next_gossip:
            if not self._anti_entropy.is_busy(now):
                self._anti_entropy.begin(self._random.choice(list(self._live)), now)
            self._next_gossip = now + self._gossip_pause()

    def _gossip_pause(self) -> float:
        """A newcomer is in more of a hurry."""
        pause = self._timing.gossip_interval_seconds
        if not self._anti_entropy.is_given:
            pause = min(pause, self._timing.push_timeout_seconds)
        return pause * (1 + GOSSIP_SPREAD * (2 * self._random.random() - 1))

    def next_deadline(self) -> float:
        return min(self._pushes.next_deadline(), self._next_gossip)

    # ---- own invariants ----------------------------------------------------------------------

    def check(self) -> None:
        """Assert what must hold between any two inputs. Costs a pass over everything held."""
        self._table.check()
        assert len(self._table) <= self._limits.variables_max
        for variable in self._table.all():
            assert not dotted.defect(variable, self._limits), variable
            assert counter_of(variable.context, self._peer) <= self._counter
        assert len(self._pushes) <= self._limits.pushes_pending_max
        self._pushes.check()
        numbers = {push.number: push for push in self._pushes}
        for token, number in self._tokens.items():
            assert numbers[number].token == token
        for push in self._pushes:
            assert push.missing, "a push that everybody has answered stays open"
            assert all(peer in self._live for peer in push.missing)
            assert not push.token or self._tokens[push.token] == push.number
