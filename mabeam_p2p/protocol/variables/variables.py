"""Variables of one peer: writes, pushes, acknowledgements and what comes from others.

Decides what this peer holds of each variable, and who is told of a write. Never looks into a
value, and never chooses between concurrent ones. Called by `node` alone.

Rules
1. A write has a dot of its own: this peer and a counter that never repeats, over restarts too, for
   it begins at the peer's epoch << 32. Nobody else may write under this peer's name.
2. A state only ever grows (`dotted.sync`): late, doubled and reordered pushes do no harm.
3. Whatever is pushed, acknowledged, told to listeners or answered is durable here first.
4. Every numbered push is acknowledged: also one that brings nothing new, or that is refused. Only
   what cannot be judged yet is not: it comes again.
5. The variables of one write travel in one message and are told of in one event. A receiver takes
   each as far as its limits admit it.
6. A deleted variable stays as a tombstone until nobody can bring it back (`marks`), and counts
   towards `variables_max` until then.
7. A write goes to each member directly, or down a tree (`spread`) where there are many. What goes
   again goes directly, with whole contexts, which anybody can read, as far as they fit.
"""

from collections.abc import Iterable, Mapping
from itertools import count
from random import Random
from typing import assert_never

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.events import VariableChanged
from mabeam_p2p.ids import INTEGER_MAX, PeerId, is_key
from mabeam_p2p.messages import (
    SpreadAcks,
    TreeAnswer,
    TreeAsk,
    TreeDone,
    VariableAck,
    VariableMessage,
    VariablePush,
    VariableSpread,
    VariableWant,
)
from mabeam_p2p.protocol.core import Outbox, numbers_before
from mabeam_p2p.protocol.hybrid_clock import HybridClock
from mabeam_p2p.protocol.variables import dotted, tree
from mabeam_p2p.protocol.variables.anti_entropy import AntiEntropy
from mabeam_p2p.protocol.variables.intake import EPOCH_BITS, Drops, Intake, Taken
from mabeam_p2p.protocol.variables.marks import NOTHING_LEFT_OUT, Marks
from mabeam_p2p.protocol.variables.pushes import Outcome, Push, Pushes
from mabeam_p2p.protocol.variables.spread import Spread
from mabeam_p2p.protocol.variables.staging import Staging
from mabeam_p2p.protocol.variables.table import Table
from mabeam_p2p.protocol.variables.upkeep import Upkeep
from mabeam_p2p.protocol.vector_clock import counter_of
from mabeam_p2p.records import Member, MemberState, Variable, VariableMarks
from mabeam_p2p.requests import Failed, Refused, SetVariables

GOSSIP_SPREAD = 0.25
"""Part of the gossip interval by which peers fall out of step with each other."""


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
        marks: VariableMarks | None = None,
    ) -> None:
        self._peer = peer
        self._timing = timing
        self._limits = limits
        self._random = random
        self._outbox = outbox
        counter = epoch << EPOCH_BITS
        self._clock = HybridClock(wall, now)
        self._marks = Marks(peer, counter, marks, limits, outbox)
        self._table = Table(variables, self._marks, outbox, now)
        for variable in variables:
            own = counter_of(variable.context, peer)
            assert own <= counter, f"{variable.name!r} was written here in a later epoch"
            if own:
                self._marks.wrote(counter)
            for sibling in variable.siblings:
                self._clock.observe(sibling.clock, now)
        self._live: dict[PeerId, str] = {}
        """Name of each other member that is alive or suspect, sorted by peer."""
        self._returned: dict[PeerId, None] = {}
        """Members that have come, or come back, and were not compared with since."""
        self._numbers = count(numbers_before(epoch) + 1)
        self._pushes = Pushes(timing.push_timeout_seconds)
        self._tokens: dict[int, int] = {}
        """Number of the push that a waiting request is for."""
        self._drops = Drops(outbox)
        self._intake = Intake(peer, self._table, self._marks, self._clock, limits, self._drops)
        self._intake.counter = counter
        self._staging = Staging(peer, counter, self._table, self._marks, self._clock, limits)
        self._spread = Spread(peer, timing, limits, random, outbox)
        self._upkeep = Upkeep(peer, self._table, self._marks, self._pushes, timing)
        self._anti_entropy = AntiEntropy(
            self._table,
            self._marks,
            self._intake,
            self._clock,
            outbox=outbox,
            timing=timing,
            limits=limits,
            random=random,
            numbers=self._numbers,
            changed=self._tell,
        )
        self.has_quorum = True
        """Whether this peer is where the cluster goes on; set by the owner."""
        self._next_gossip = now + timing.gossip_interval_seconds

    @property
    def ready(self) -> bool:
        """Whether some member has given this peer all that it held, or there is nobody to ask.

        Peers that are all new make each other ready.
        """
        return self._anti_entropy.is_given or not self._live

    def waits_for(self, now: float) -> str:
        """What is missing until `ready`, in words; empty: nothing."""
        if self.ready:
            return ""
        partner, new = self._anti_entropy.account(now)
        words = ["it compares with nobody at present"]
        if partner is not None:
            words = [f"it compares with {self._live.get(partner, partner)}"]
        if new:
            words.append(f"as new: {', '.join(self._live.get(peer, peer) for peer in new)}")
        return "; ".join(words)

    def clock_lead(self, peer: PeerId) -> int | None:
        """Microseconds by which a live member's clock was ahead when it last told the time."""
        return self._clock.lead(peer)

    def counts(self) -> tuple[int, int]:
        """Variables that are held, deleted ones included, and writes not acknowledged by all."""
        return len(self._table), len(self._pushes)

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
        variables = self._staging.stage(request, timeout, now)
        if isinstance(variables, Refused):
            self._outbox.resolve(token, variables)
            return
        self._staging.counter += len(request.changes)
        self._intake.counter = self._staging.counter
        self._marks.wrote(self._staging.counter)
        for variable in variables:
            self._table.keep(variable, now)
        self._tell(list(variables), self._peer)
        self._push(token, request.wait, variables, now + timeout, now)

    def _push(
        self, token: int, wait: int, variables: tuple[Variable, ...], deadline: float, now: float
    ) -> None:
        writes = tuple((v.name, counter_of(v.context, self._peer)) for v in variables)
        push = Push(next(self._numbers), token, writes, self._live, wait, deadline)
        # Too many under way: those that nobody waits for are left to anti-entropy if they get lost.
        is_kept = bool(self._live) and len(self._pushes) < self._limits.pushes_pending_max
        if is_kept:
            self._pushes.open(push, now)
            if token:
                self._tokens[token] = push.number
        number, base = push.number if is_kept else 0, self._marks.base_hash
        if len(self._live) + 1 >= self._limits.spread_from_peers:
            self._spread.send(number, variables, base, self._table.persisted)
        else:
            self._send(VariablePush(number, variables, base), self._live)
        self._maybe_answer(push)

    def _send(self, message: VariablePush, targets: Iterable[PeerId]) -> None:
        for peer in targets:
            self._outbox.send(peer, message, self._table.persisted)

    def _tell(self, variables: list[Variable], source: PeerId) -> None:
        if variables:
            event = VariableChanged(tuple(variables), source)
            self._outbox.notify(event, self._table.persisted)

    def read(self, name: str) -> tuple[Variable, ...]:
        """The variable of this name, if it is held; with an empty name all, by name."""
        if not name:
            return self._table.all()
        variable = self._table.get(name)
        return () if variable is None else (variable,)

    @property
    def written(self) -> int:
        """Number of the Persist that makes durable what is read here."""
        return self._table.written

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
            case VariableSpread():
                self._on_spread(source, message, now)
            case VariableAck():
                self._on_ack(source, message, now)
            case SpreadAcks():
                self._on_spread_acks(source, message, now)
            case TreeAsk():
                self._on_ask(source, message, now)
            case TreeAnswer():
                self._on_answer(source, message, now)
            case TreeDone():
                self._on_done(source, message, now)
            case VariableWant():
                self._on_want(source, message, now)
            case _ as never:
                assert_never(never)

    def _on_push(self, source: PeerId, push: VariablePush, now: float) -> None:
        taken = self._take(source, source, push, now)
        if taken is None:
            return
        if push.answers:
            has_grown = self._anti_entropy.receive_wanted(source, push.answers, taken, now)
            self._base_has_grown(has_grown)
        if not push.number:
            return
        outcomes = self._outcomes(source, push.variables, taken)
        if outcomes is not None:
            ack = VariableAck(push.number, outcomes)
            self._outbox.send(source, ack, self._table.persisted)

    def _on_spread(self, source: PeerId, spread: VariableSpread, now: float) -> None:
        if spread.writer == self._peer:
            return  # Views differ: it is sent back to its writer.
        if spread.writer not in self._live:
            self._drops.drop(source, "variable_spread", "the writer is not here", now)
            return
        self._spread.receive(source, spread, now)
        taken = self._take(source, spread.writer, spread, now)
        if spread.number:
            write, variables = (spread.writer, spread.number), spread.variables
            outcomes = None if taken is None else self._outcomes(spread.writer, variables, taken)
            self._spread.acknowledge(write, outcomes, self._table.persisted)

    def _take(
        self, source: PeerId, writer: PeerId, push: VariablePush | VariableSpread, now: float
    ) -> dict[str, Taken] | None:
        """What became of each variable; None: nothing was looked at. writer: who holds this."""
        if not 0 <= push.number <= INTEGER_MAX:
            self._drops.drop(source, "variable_push", "number", now)
            return None
        if len(push.variables) > self._limits.digest_entries_max:
            self._drops.drop(source, "variable_push", "count", now)
            return None
        fill: Mapping[PeerId, int] = {}
        if push.base != NOTHING_LEFT_OUT:
            if push.base != self._marks.base_hash:
                # Its contexts leave out what is not left out here, or the other way round.
                if not self._anti_entropy.is_busy(now):
                    self._anti_entropy.begin(writer, now)
                return None
            fill = self._marks.base
        taken: dict[str, Taken] = {}
        for pushed in push.variables:
            taken[pushed.name] = self._intake.take(source, pushed, fill, now)
        changed = [
            held
            for name, one in taken.items()
            if one.is_visible and (held := self._table.get(name)) is not None
        ]
        self._tell(changed, writer)
        return taken

    def _outcomes(
        self, writer: PeerId, variables: tuple[Variable, ...], taken: Mapping[str, Taken]
    ) -> tuple[int, ...] | None:
        """One for each variable; None if some cannot be judged yet."""
        outcomes: list[int] = []
        for variable in variables:
            outcome = taken[variable.name].outcome
            if outcome is None:
                return None
            has_no_room = self._intake.has_no_room(writer, variable)
            outcomes.append(int(Outcome.REFUSED if has_no_room else outcome))
        return tuple(outcomes)

    def _on_ack(self, source: PeerId, ack: VariableAck, now: float) -> None:
        if not all(0 <= outcome <= Outcome.REFUSED for outcome in ack.outcomes):
            self._drops.drop(source, "variable_ack", "outcome", now)
            return
        has_grown = self._anti_entropy.receive_ack(source, ack.number, ack.outcomes, now)
        if has_grown is not None:
            self._base_has_grown(has_grown)
            return
        self._count_ack(source, source, ack.number, ack.outcomes, now)

    def _on_spread_acks(self, source: PeerId, message: SpreadAcks, now: float) -> None:
        if not all(0 <= o <= Outcome.REFUSED for ack in message.acks for o in ack.outcomes):
            self._drops.drop(source, "variable_ack", "outcome", now)
        elif message.writer == self._peer:
            for ack in message.acks:
                for peer in ack.peers:
                    self._count_ack(source, peer, message.number, ack.outcomes, now)
        elif message.writer in self._live:
            self._spread.receive_acks(source, message)

    def _count_ack(
        self, source: PeerId, peer: PeerId, number: int, outcomes: tuple[int, ...], now: float
    ) -> None:
        """`peer` acknowledges, as `source` says."""
        push = self._pushes.get(number)
        if push is None or peer not in push.missing:
            return  # Late, or doubled.
        if len(outcomes) != len(push.names):
            self._drops.drop(source, "variable_ack", "count", now)
            return
        if any(self._intake.has_given_up(name, self._peer, own) for name, own in push.writes):
            # What goes again lacks it, and so will whoever has it once the two have compared.
            outcomes = (Outcome.REFUSED,) * len(outcomes)
        push.acknowledge(peer, outcomes)
        self._maybe_answer(push)

    def _on_ask(self, source: PeerId, ask: TreeAsk, now: float) -> None:
        if len(ask.nodes) > self._limits.digest_entries_max or not all(
            tree.is_node(node) for node, _ in ask.nodes
        ):
            self._drops.drop(source, "tree_ask", "nodes", now)
            return
        self._clock.heard(source, ask.clock, now)
        self._anti_entropy.receive_ask(source, ask, now)

    def _on_answer(self, source: PeerId, answer: TreeAnswer, now: float) -> None:
        defect = self._intake.vector_defect(answer.known) or self._intake.vector_defect(answer.base)
        if len(answer.entries) > self._limits.digest_entries_max:
            defect = "count"
        elif not all(is_key(name) for name, _ in answer.entries):
            defect = "name"
        elif not all(len(hashes) == tree.FANOUT for _, hashes in answer.nodes):
            defect = "children"
        if defect:
            self._drops.drop(source, "tree_answer", defect, now)
            return
        self._clock.heard(source, answer.clock, now)
        self._base_has_grown(self._anti_entropy.receive_answer(source, answer, now))

    def _on_done(self, source: PeerId, done: TreeDone, now: float) -> None:
        defect = self._intake.vector_defect(done.known) or self._intake.vector_defect(done.base)
        if defect:
            self._drops.drop(source, "tree_done", defect, now)
            return
        self._clock.heard(source, done.clock, now)
        self._base_has_grown(self._anti_entropy.receive_done(source, done))

    def _on_want(self, source: PeerId, want: VariableWant, now: float) -> None:
        if len(want.names) > self._limits.digest_entries_max:
            self._drops.drop(source, "variable_want", "count", now)
            return
        self._anti_entropy.receive_want(source, want)

    def _base_has_grown(self, has_grown: bool) -> None:
        if has_grown:
            self._upkeep.strip_all()

    # ---- notices and time --------------------------------------------------------------------

    def members(self, members: tuple[Member, ...], now: float) -> None:
        """The members are now these; who is missing here, dead or left has gone."""
        before = self._live
        here = [
            member
            for member in sorted(members, key=lambda member: member.peer)
            if member.state in (MemberState.ALIVE, MemberState.SUSPECT)
            and member.peer != self._peer
        ]
        self._live = {member.peer: member.name for member in here}
        self._intake.epochs = {member.peer: member.epoch for member in here}
        come = [peer for peer in self._live if peer not in before]
        self._returned = {p: None for p in (*self._returned, *come) if p in self._live}
        for push in self._pushes:
            for peer in [peer for peer in push.missing if peer not in self._live]:
                push.leave(peer)
            self._maybe_answer(push)
        self._spread.members(tuple(self._live))
        self._anti_entropy.keep_only(self._live)
        self._drops.keep_only(self._live)
        for voice in self._clock.voices():
            if voice not in self._live:
                self._clock.forget(voice)
        if self._live and not before:
            self._next_gossip = now

    def tick(self, now: float) -> None:
        for push in self._pushes.take_due(now):
            if now >= push.deadline:
                self._maybe_answer(push, is_over=True)
                continue
            self._send(self._again(push), push.missing)
        self._spread.tick(now)
        if now >= self._next_gossip:
            self._upkeep.tick(self._live, now, gives_up=self.has_quorum)
            if self._live and not self._anti_entropy.is_busy(now):
                self._anti_entropy.begin(self._partner(), now)
            self._next_gossip = now + self._gossip_pause()

    def _again(self, push: Push) -> VariablePush:
        """With whole contexts, or, if those are too long together, for who leaves out the same."""
        names = push.names
        held = tuple(v for name in names if (v := self._table.get(name)) is not None)
        whole = tuple(map(self._marks.whole, held))
        if sum(map(dotted.size, whole)) > self._limits.push_bytes_max:
            return VariablePush(push.number, held, self._marks.base_hash)
        return VariablePush(push.number, whole, NOTHING_LEFT_OUT)

    def compare_with(self, peer: PeerId, now: float) -> None:
        """Begin to compare with this live member at once."""
        self._anti_entropy.begin(peer, now)

    def is_comparing(self, now: float) -> bool:
        return self._anti_entropy.is_busy(now)

    def _partner(self) -> PeerId:
        """Whoever has come back first, else a random one."""
        if not self._returned or len(self._live) >= self._limits.spread_from_peers:
            return self._random.choice(list(self._live))
        peer = next(iter(self._returned))
        del self._returned[peer]
        return peer

    def _gossip_pause(self) -> float:
        """A newcomer is in more of a hurry."""
        pause = self._timing.gossip_interval_seconds
        if not self._live:
            return pause
        if not self._anti_entropy.is_given:
            pause = min(pause, self._timing.push_timeout_seconds)
        return pause * (1 + GOSSIP_SPREAD * (2 * self._random.random() - 1))

    def next_deadline(self) -> float:
        return min(self._pushes.next_deadline(), self._spread.next_deadline(), self._next_gossip)

    # ---- own invariants ----------------------------------------------------------------------

    def check(self) -> None:
        """Assert what must hold between any two inputs. Costs a pass over everything held."""
        self._table.check()
        self._marks.check()
        self._spread.check()
        assert len(self._table) <= self._limits.variables_max
        for variable in self._table.all():
            assert not dotted.defect(variable, self._limits), variable
            assert counter_of(variable.context, self._peer) <= self._staging.counter
        assert len(self._pushes) <= self._limits.pushes_pending_max
        self._pushes.check()
        numbers = {push.number: push for push in self._pushes}
        for token, number in self._tokens.items():
            assert numbers[number].token == token
        for push in self._pushes:
            assert push.missing, "a push that everybody has answered stays open"
            assert all(peer in self._live for peer in push.missing)
            assert not push.token or self._tokens[push.token] == push.number
