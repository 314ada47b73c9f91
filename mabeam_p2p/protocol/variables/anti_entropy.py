"""Anti-entropy: one peer compares what it holds with one other, until both hold the same.

    asks                                answers
    TreeAsk        ->                   nodes of its hash tree, from the root on
                   <-  TreeAnswer       hashes of children, or names, of those that differ
    VariableWant   ->                   what the asker lacks or has otherwise
                   <-  VariablePush     of no number: as many of them as fit
    VariablePush   ->                   what the other lacks, or has to merge
                   <-  VariableAck
    TreeDone       ->                   once nothing differs any more

The asker alone keeps an account, of one exchange at a time; the other side answers each message
for itself. The asker goes on when it has an answer, so that a large transfer never fills a queue;
an exchange that stands still is given up, and the next one begins where the trees then differ.
Each question has a number of its own: an answer says nothing of the nodes in which nothing
differs, so that one that came twice would stand for what nobody has compared.
Differences among n names cost O(log n) each, and none costs two short messages.

What each side knew when the exchange began, the other knows at its end (`marks`, rule 1): the asker
learns it from the first answer, the other from TreeDone. Neither does if something was refused, or
found no room, for then they do not hold the same; nor if something old came in meanwhile, perhaps
from a third peer and behind what was compared already, for it may be known to be superseded. The
next exchange, in which less comes in, makes up for it.

A newcomer is given everything in the same way: all its nodes differ. Another newcomer cannot give
it everything; but where all are new, as after a start of the whole cluster, there is no more to be
given than what they hold.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import TreeAnswer, TreeAsk, TreeDone, VariablePush, VariableWant
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.hybrid_clock import HybridClock
from mabeam_p2p.protocol.variables import dotted, tree
from mabeam_p2p.protocol.variables.intake import Intake, Taken
from mabeam_p2p.protocol.variables.marks import NOTHING_LEFT_OUT, Marks
from mabeam_p2p.protocol.variables.pushes import Outcome
from mabeam_p2p.protocol.variables.table import Table
from mabeam_p2p.protocol.vector_clock import Vector
from mabeam_p2p.records import Variable

NAMES_PER_WANT = 512
"""Names asked for at a time: about what fits into one push when values are small."""

NODES_PER_ASK = 512
"""Their answer is some 60 KiB of hashes."""

LIST_MAX = 8
"""So many names are listed at once: they cost about what the hashes of sixteen children do."""

LIST_TO_EMPTY_MAX = 512
"""So many if the asker has none of them: all will be wanted."""

NEWCOMERS_ENOUGH = 8
"""So many that are new, and nobody heard of who is not: then all are taken for new."""

ENTRY_BYTES = 16
NODE_BYTES = 160
"""What a listed name takes at most beside itself, and what the children of a node take."""

Changed = Callable[[list[Variable], PeerId], None]


class Exchange:
    """The asker's account of one comparison."""

    __slots__ = (
        "asked", "base", "change_count", "expires", "frontier", "given", "giving", "hashes",
        "is_whole", "known", "number", "peer", "push_number", "their_base_hash", "theirs",
        "want_number", "wanted",
    )  # fmt: skip

    def __init__(self, peer: PeerId, marks: Marks, change_count: int, expires: float) -> None:
        self.peer = peer
        self.number = 0
        """Of the last TreeAsk."""
        self.expires = expires
        self.change_count = change_count
        self.known = marks.known_vector()
        self.base = marks.base_vector()
        """What this peer knew when the exchange began."""
        self.hashes = tree.vector_hash(self.known), tree.vector_hash(self.base)
        self.theirs: tuple[Vector, Vector] | None = None
        """What the other knew then, and its base; None before its first answer."""
        self.their_base_hash = NOTHING_LEFT_OUT
        self.frontier: dict[int, None] = {tree.ROOT: None}
        """Nodes that may differ and were not asked about."""
        self.asked: tuple[int, ...] = ()
        """Nodes of the TreeAsk under way."""
        self.wanted: dict[str, None] = {}
        self.want_number = 0
        """The VariableWant under way; 0 if none is."""
        self.giving: dict[str, Variable | None] = {}
        """By name: as it is to be given; None: as it is held then."""
        self.given: tuple[str, ...] = ()
        """What the push under way holds."""
        self.push_number = 0
        """The push under way; 0 if none is."""
        self.is_whole = True
        """Whether both will hold the same."""


class AntiEntropy:
    """`numbers` is shared with whatever else sends pushes that are to be acknowledged. changed:
    told of what was superseded here because the other side knows that it was."""

    def __init__(
        self,
        table: Table,
        marks: Marks,
        intake: Intake,
        clock: HybridClock,
        *,
        outbox: Outbox,
        timing: Timing,
        limits: Limits,
        random: Random,
        numbers: Iterator[int],
        changed: Changed,
    ) -> None:
        self._table = table
        self._marks = marks
        self._intake = intake
        self._clock = clock
        self._outbox = outbox
        self._patience = timing.gossip_interval_seconds
        self._limits = limits
        self._random = random
        self._numbers = numbers
        self._changed = changed
        self._exchange: Exchange | None = None
        self._askers: dict[PeerId, tuple[int, int | None]] = {}
        """Of each peer that has asked: the number of its last question, and the changes until the
        first one, which is about the root; None once the exchange has ended."""
        self.is_given = False
        """Whether all is held here that some member held who was no newcomer, or all are new."""
        self._has_compared = False
        """Whether any exchange was completed."""
        self._live: Mapping[PeerId, object] = {}
        self._are_new: dict[PeerId, bool] = {}
        """Of other members, as they said last; kept while this peer itself is new."""

    def is_busy(self, now: float) -> bool:
        """Whether an exchange is under way and has not come to a stop."""
        return self._exchange is not None and now < self._exchange.expires

    def account(self, now: float) -> tuple[PeerId | None, tuple[PeerId, ...]]:
        """For show, of one that is not given everything yet: with whom it compares now, and which
        members have said that they are as new."""
        peer = self._exchange.peer if self._exchange is not None and self.is_busy(now) else None
        return peer, tuple(sorted(one for one, is_new in self._are_new.items() if is_new))

    def begin(self, target: PeerId, now: float) -> None:
        """Compare with `target`, in place of any older exchange."""
        change_count = self._table.change_count
        expires = now + self._patience
        self._exchange = Exchange(target, self._marks, change_count, expires)
        self._continue(self._exchange, now)

    # ---- the side that is asked --------------------------------------------------------------

    def receive_ask(self, source: PeerId, ask: TreeAsk, now: float) -> None:
        """Answer with what is below the nodes that differ, as far as there is room."""
        last, change_count = self._askers.get(source, (0, None))
        if any(node == tree.ROOT for node, _ in ask.nodes):
            change_count = self._table.change_count
        if ask.number > last:
            self._askers[source] = ask.number, change_count
        self._hear_of_newness(source, is_new=ask.newcomer)
        hashes = self._table.tree
        budget = self._limits.push_bytes_max
        nodes: list[tuple[int, tuple[int, ...]]] = []
        listed: list[int] = []
        entries: list[tuple[str, int]] = []
        answered, whole = 0, True
        for node, theirs in ask.nodes:
            mine = hashes.hash(node)
            if mine == theirs:
                answered += 1
                continue
            if self._is_listed(node, theirs):
                found = list(hashes.below(node))
                budget -= sum(map(_entry_size, found))
                if budget < 0 or len(entries) + len(found) > self._limits.digest_entries_max:
                    if answered or entries or nodes:
                        break
                    # No answer can hold it: a part, another one each time.
                    found, whole = self._sample(found), False
                listed.append(node)
                entries += found
            else:
                budget -= NODE_BYTES
                if budget < 0 and (entries or nodes):
                    break
                nodes.append((node, tuple(map(hashes.hash, tree.children(node)))))
            answered += 1
        self._answer(source, ask, answered, nodes, listed, entries, whole, now)

    def _answer(
        self,
        source: PeerId,
        ask: TreeAsk,
        answered: int,
        nodes: list[tuple[int, tuple[int, ...]]],
        listed: list[int],
        entries: list[tuple[str, int]],
        whole: bool,
        now: float,
    ) -> None:
        marks = self._marks
        known = marks.known_vector()
        same = tree.vector_hash(known) == ask.known
        answer = TreeAnswer(
            ask.number,
            answered,
            tuple(nodes),
            tuple(listed),
            tuple(entries),
            whole,
            same,
            () if same else known,
            marks.base_hash,
            () if marks.base_hash == ask.base else marks.base_vector(),
            self._clock.time(now),
            newcomer=not self.is_given,
        )
        self._outbox.send(source, answer, self._table.persisted)

    def _is_listed(self, node: int, theirs: int) -> bool:
        count = self._table.tree.count(node)
        few = LIST_MAX if theirs else LIST_TO_EMPTY_MAX
        return tree.is_leaf(node) or count <= min(few, self._limits.digest_entries_max)

    def _sample(self, entries: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Of a leaf that no message can hold: as many entries as fit, from a random one on."""
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
        names: dict[str, Variable | None] = dict.fromkeys(want.names)
        is_whole = want.base != self._marks.base_hash
        self._push(source, 0, names, is_whole=is_whole, answers=want.number)

    def receive_done(self, source: PeerId, done: TreeDone) -> bool:
        """`source` has given this peer all that it held. Whether contexts may leave out more."""
        number, change_count = self._askers.get(source, (0, None))
        if number != done.number or change_count is None:
            return False
        # What comes again from here on, question or end, is none of another exchange.
        self._askers[source] = number, None
        if self._table.has_taken(change_count, done.known):
            return False
        return self._learn(done.known, done.base)

    def _learn(self, known: Vector, base: Vector) -> bool:
        has_grown = self._marks.learn(known, base)
        self._table.more_is_known()
        self._table.settle()
        return has_grown

    def keep_only(self, live: Mapping[PeerId, object]) -> None:
        """The other members that are here."""
        self._live = live
        self._askers = {peer: one for peer, one in self._askers.items() if peer in live}
        self._are_new = {peer: one for peer, one in self._are_new.items() if peer in live}
        self._maybe_be_given()

    def _hear_of_newness(self, peer: PeerId, *, is_new: bool) -> None:
        if not self.is_given and peer in self._live:
            self._are_new[peer] = is_new
            self._maybe_be_given()

    def _maybe_be_given(self) -> None:
        """Nobody is waited for who could give more, if all are new."""
        enough = min(len(self._live), NEWCOMERS_ENOUGH)
        if self._has_compared and len(self._are_new) >= enough and all(self._are_new.values()):
            self._be_given()

    def _be_given(self) -> None:
        self.is_given = True
        self._are_new.clear()

    # ---- the side that asks ------------------------------------------------------------------

    def receive_answer(self, source: PeerId, answer: TreeAnswer, now: float) -> bool:
        """Whether contexts may leave out more from here on."""
        exchange = self._exchange
        if exchange is None or exchange.peer != source or exchange.number != answer.number:
            return False
        if not exchange.asked or answer.answered > len(exchange.asked):
            return False
        self._hear_of_newness(source, is_new=answer.newcomer)
        if exchange.theirs is None:
            known = exchange.known if answer.same else answer.known
            exchange.theirs = known, answer.base
            exchange.their_base_hash = answer.base_hash
        dealt_with = dict.fromkeys(exchange.asked[: answer.answered])
        for node in exchange.asked[answer.answered :]:
            exchange.frontier[node] = None
        exchange.asked = ()
        if not answer.answered:
            exchange.is_whole = False
            exchange.frontier.clear()
        for node, hashes in answer.nodes:
            if node in dealt_with and not tree.is_leaf(node):
                for child, theirs in zip(tree.children(node), hashes, strict=True):
                    if self._table.tree.hash(child) != theirs:
                        exchange.frontier[child] = None
        exchange.is_whole = exchange.is_whole and answer.whole
        listed = [node for node in answer.listed if node in dealt_with]
        self._compare(exchange, listed, dict(answer.entries), is_whole=answer.whole, now=now)
        return self._continue(exchange, now)

    def _compare(
        self,
        exchange: Exchange,
        listed: list[int],
        entries: dict[str, int],
        *,
        is_whole: bool,
        now: float,
    ) -> None:
        """Names that the other has otherwise are wanted; those that it has not are given, unless
        it knows that they were superseded."""
        assert exchange.theirs is not None
        for name, fingerprint in entries.items():
            if self._table.tree.fingerprint(name) != fingerprint:
                exchange.wanted[name] = None
        if not is_whole:
            return  # What is not named may be there.
        fill = dict(exchange.theirs[0])
        changed: list[Variable] = []
        for node in listed:
            for name in [name for name, _ in self._table.tree.below(node) if name not in entries]:
                taken = self._intake.lacking(name, fill, now)
                if taken is None:
                    continue
                if taken.is_visible:
                    changed.append(taken.result)
                if taken.is_unlike:
                    exchange.giving[name] = None
        if changed:
            self._changed(changed, exchange.peer)

    def receive_wanted(
        self, source: PeerId, number: int, taken: Mapping[str, Taken], now: float
    ) -> bool:
        """What became of each variable in the answer to the VariableWant `number`. Whether contexts
        may leave out more."""
        exchange = self._exchange
        if exchange is None or exchange.peer != source or exchange.want_number != number:
            return False
        wanted_count = len(exchange.wanted)
        for name in taken:
            exchange.wanted.pop(name, None)
        if len(exchange.wanted) == wanted_count:
            exchange.wanted.clear()
            exchange.is_whole = False
        for name, one in taken.items():
            if one.is_refused:
                exchange.is_whole = False
            elif one.is_unlike:
                exchange.giving[name] = one.result
        exchange.want_number = 0
        return self._continue(exchange, now)

    def receive_ack(
        self, source: PeerId, number: int, outcomes: tuple[int, ...], now: float
    ) -> bool | None:
        """None: the acknowledgement was not for what an exchange gave. Else whether contexts may
        leave out more."""
        exchange = self._exchange
        if exchange is None or exchange.peer != source or exchange.push_number != number:
            return None
        exchange.push_number = 0
        if Outcome.REFUSED in outcomes or len(outcomes) != len(exchange.given):
            exchange.is_whole = False
        for name, outcome in zip(exchange.given, outcomes, strict=False):
            if outcome in (Outcome.MERGED, Outcome.SUPERSEDED):
                # It had tombstones, which no tree shows, or something newer.
                exchange.wanted[name] = None
        return self._continue(exchange, now)

    def _continue(self, exchange: Exchange, now: float) -> bool:
        exchange.expires = now + self._patience
        if exchange.frontier and not exchange.asked:
            self._ask(exchange, now)
        is_their_base = exchange.their_base_hash == self._marks.base_hash
        if exchange.wanted and not exchange.want_number:
            exchange.want_number = next(self._numbers)
            names = tuple(exchange.wanted)[: min(NAMES_PER_WANT, self._limits.digest_entries_max)]
            want = VariableWant(names, self._marks.base_hash, exchange.want_number)
            self._outbox.send(exchange.peer, want)
        if exchange.giving and not exchange.push_number:
            exchange.push_number = next(self._numbers)
            dealt_with, exchange.given = self._push(
                exchange.peer, exchange.push_number, exchange.giving, is_whole=not is_their_base
            )
            for name in dealt_with:
                del exchange.giving[name]
        if exchange.asked or exchange.want_number or exchange.push_number:
            return False
        return self._end(exchange, now)

    def _ask(self, exchange: Exchange, now: float) -> None:
        count = min(NODES_PER_ASK, self._limits.digest_entries_max)
        exchange.asked = tuple(exchange.frontier)[:count]
        for node in exchange.asked:
            del exchange.frontier[node]
        exchange.number = next(self._numbers)
        ask = TreeAsk(
            exchange.number,
            tuple((node, self._table.tree.hash(node)) for node in exchange.asked),
            *exchange.hashes,
            clock=self._clock.time(now),
            newcomer=not self.is_given,
        )
        self._outbox.send(exchange.peer, ask, self._table.persisted)

    def _end(self, exchange: Exchange, now: float) -> bool:
        """Nothing differs any more, as far as could be."""
        self._exchange = None
        self._has_compared = True
        if not self._are_new.get(exchange.peer):
            self._be_given()
        self._maybe_be_given()
        if not exchange.is_whole:
            return False
        assert exchange.theirs is not None
        known, base = exchange.theirs
        is_news = known != exchange.known or exchange.their_base_hash != exchange.hashes[1]
        if not is_news:
            return False
        has_grown = False
        if not self._table.has_taken(exchange.change_count, known):
            has_grown = self._learn(known, base)
        done = TreeDone(exchange.number, exchange.known, exchange.base, self._clock.time(now))
        self._outbox.send(exchange.peer, done, self._table.persisted)
        return has_grown

    def _push(
        self,
        target: PeerId,
        number: int,
        names: dict[str, Variable | None],
        *,
        is_whole: bool,
        answers: int = 0,
    ) -> tuple[list[str], tuple[str, ...]]:
        """Send as many of the variables as fit, the first at least; return the names dealt with,
        and those sent. is_whole: with all that contexts here leave out. answers: a VariableWant."""
        chosen: list[Variable] = []
        dealt_with: list[str] = []
        budget = self._limits.push_bytes_max
        for name, given in names.items():
            variable = given or self._table.get(name)
            if variable is not None:
                if is_whole:
                    variable = self._marks.whole(variable)
                budget -= dotted.size(variable)
                if chosen and (budget < 0 or len(chosen) >= self._limits.digest_entries_max):
                    break
                chosen.append(variable)
            dealt_with.append(name)
        base = NOTHING_LEFT_OUT if is_whole else self._marks.base_hash
        push = VariablePush(number, tuple(chosen), base, answers)
        self._outbox.send(target, push, self._table.persisted)
        return dealt_with, tuple(variable.name for variable in chosen)


def _entry_size(entry: tuple[str, int]) -> int:
    return len(entry[0].encode()) + ENTRY_BYTES
