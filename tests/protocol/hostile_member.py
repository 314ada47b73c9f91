"""One whole peer, and members that say to it whatever the wire lets through.

The hostile member draws messages from their types, so that a new message or field is said too. It
knows the peer's log and aims at its edges: what is plainly wrong would be dropped at the door.
"""

from collections.abc import Callable
from enum import Enum
from random import Random
from types import NoneType, UnionType
from typing import Union, cast, get_args, get_origin

from msgspec import Struct, msgpack
from msgspec.structs import fields, replace

from mabeam_p2p.commands import AnyCommand, AppendJournal, Configure, RaiseVersion
from mabeam_p2p.config import PROTOCOL_VERSION, Config, Limits
from mabeam_p2p.effects import Effects, Persist, Send
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    INTEGER_MAX,
    AgentId,
    AuctionId,
    ClusterId,
    PeerId,
    ProposalId,
    SessionId,
    TaskId,
)
from mabeam_p2p.machine.machine import digest_of
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    Forward,
    Frame,
    Heard,
    Heartbeat,
    HeartbeatReply,
    Hello,
    InstallSnapshot,
    Letter,
    Message,
    Offer,
    PeerAcks,
    Relay,
    Relayed,
    TreeAnswer,
    TreeAsk,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.bootstrap import FIRST_TERM
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.protocol.variables.tree import FANOUT, NODE_MAX, ROOT
from mabeam_p2p.records import (
    RESOLVERS,
    Batch,
    BootstrapState,
    HardState,
    LogAppend,
    Member,
    MemberState,
    Record,
    Recovered,
    Variable,
)
from mabeam_p2p.requests import AgentQuery, Read, Submit
from mabeam_p2p.storage.memory import MemoryStorage
from mabeam_p2p.wire.codec import CborCodec

ME, A, B, LEARNER = (PeerId(letter * 16) for letter in "5ab1")
MEMBERS = (A, B, LEARNER)
CLUSTER, OTHER_CLUSTER, NO_CLUSTER = ClusterId("c" * 32), ClusterId("d" * 32), ClusterId("")
EPOCH = 5
MEMBER_EPOCH = 3
TICKS_MAX = 300
"""Ticks at one time; more, and the next deadline would never lie ahead."""
KINDS: tuple[type[Struct], ...] = get_args(Heard)
COMMANDS: tuple[type[Struct], ...] = tuple(
    kind for kind in get_args(AnyCommand) if kind is not RaiseVersion
)
"""All but what the wire lets nobody forward, and what stops a peer lawfully."""

# ---- what a member may say -------------------------------------------------------------------

_DOT = EPOCH << 32
_INTEGERS: tuple[int, ...] = (*range(9), 10, 100, 2**32, _DOT, _DOT + 1, 2**52, INTEGER_MAX - 1)
_PLACES = tuple(number for number in _INTEGERS if number <= 2**52)
"""Terms, indices and stamps of the log that have room behind them: what comes next must fit."""
_VALUES: dict[object, tuple[object, ...]] = {
    AgentId: ("a@x", "b@x"),
    AuctionId: ("a", "b"),
    ClusterId: (CLUSTER, CLUSTER, OTHER_CLUSTER, NO_CLUSTER),
    NoneType: (None,),
    PeerId: (ME, A, B, LEARNER),
    ProposalId: ("p", "q"),
    SessionId: (*_INTEGERS, INTEGER_MAX),
    TaskId: ("t", "u"),
    bool: (False, True),
    bytes: (b"", b"\xf6", b"x" * 10),
    float: (0.0, 1.0, 1e300),
    int: (*_INTEGERS, INTEGER_MAX),
    str: ("v", "w", "overloaded", "all"),
}
_VALUES_OF_FIELD: dict[str, tuple[object, ...]] = {
    "answered": (0, 1, 2),
    "address": ("127.0.0.1:1", "127.0.0.1:65535", "[::1]:5"),
    "clock": _PLACES,
    "outcomes": (0, 1, 2, 3),
    "resolver": RESOLVERS,
    "score": (0, 50, 100),
    "score_bucket": (0, 5, 10),
}
"""Where fewer values than the type has are of use, or allowed by the wire."""


class HostileMember:
    """Says to `node` anything that the wire lets through."""

    def __init__(self, node: Node, codec: CborCodec, random: Random) -> None:
        self._node = node
        self._codec = codec
        self._random = random
        self._boldness = random.choice((0.0, 0.02, 0.5))
        """How often it claims a term that is not the node's."""
        self._round: list[type[Struct]] = []
        """Kinds still to be said before any is said again, so that none is left to luck."""

    def message(self) -> Heard:
        if not self._round:
            self._round = self._random.sample(KINDS, len(KINDS))
        # KINDS are the members of Heard, which the type checker cannot see.
        return cast(Heard, self._struct(self._round.pop()))

    def _draw(self, kind: object, name: str) -> object:
        """Any value of the type `kind` for a field called `name`."""
        choose = self._random.choice
        parts = get_args(kind)
        if get_origin(kind) is tuple and parts[-1] is ...:
            count = choose((0, 1, 1, 2, 3))
            return tuple(self._draw(parts[0], name) for _ in range(count))
        if get_origin(kind) is tuple:
            return tuple(self._draw(part, name) for part in parts)
        if get_origin(kind) in (UnionType, Union):
            return self._draw(choose(parts), name)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return choose(list(kind))
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self._struct(kind)
        if name in ("term", "last_term", "previous_term"):
            return self._term()
        if "index" in name:
            return self._index()
        if kind is bool:  # Some fields share their names with numbers of other messages.
            return choose(_VALUES[bool])
        return choose(_VALUES_OF_FIELD.get(name) or _VALUES[kind])

    def _term(self) -> int:
        """Of the node's time, but for now and then: a greater one ends what goes on."""
        choose, term = self._random.choice, self._node.replication.term
        if self._random.random() < self._boldness:
            return choose((term + 1, choose(_PLACES)))
        return max(0, term - choose((0, 0, 0, 0, 1)))

    def _index(self) -> int:
        """Mostly close to an edge of the node's log."""
        choose, replication = self._random.choice, self._node.replication
        if self._random.random() < 0.3:
            return choose(_PLACES)
        edge = choose((replication.log.last_index, replication.commit_index))
        return max(0, edge + choose((-2, -1, 0, 0, 0, 1, 2)))

    def _struct(self, kind: type[Struct]) -> Struct:
        made = kind(**{field.name: self._draw(field.type, field.name) for field in fields(kind)})
        return self._well_formed(made)

    def _well_formed(self, made: Struct) -> Struct:
        """`made`, changed as little as the wire's rules between fields ask for."""
        match made:
            case Batch():
                count = self._random.choice((1, 1, 2, 3))
                voters = tuple(sorted(set(made.voters))) if self._random.random() < 0.2 else ()
                index, blob = max(1, made.index), self._blob(count)
                return replace(made, index=index, count=count, blob=blob, voters=voters)
            case Forward() | Relay() | Relayed():
                count = self._random.choice((1, 2))
                return replace(made, count=count, blob=self._blob(count))
            case AppendEntries():
                return self._contiguous(made)
            case InstallSnapshot():
                return self._whole_snapshot(made) if self._random.random() < 0.7 else made
            case Letter():
                targets = made.targets or (AgentId("a@x"),)
                number, timeout = max(1, made.number), max(1, made.timeout)
                return replace(made, number=number, targets=targets, timeout=timeout)
            case Offer():
                voters = tuple(sorted({*made.voters, ME}))
                first = replace(made.first, index=1, term=FIRST_TERM, voters=voters)
                return replace(made, voters=voters, first=first)
            case TreeAsk():
                # From the root on, so that there is something to answer.
                nodes = ((ROOT, 1), *((max(1, node % NODE_MAX), one) for node, one in made.nodes))
                return replace(made, nodes=nodes)
            case TreeAnswer():
                hashes = tuple(self._random.randrange(2) for _ in range(FANOUT))
                listed = tuple(max(1, node % NODE_MAX) for node in made.listed)
                return replace(made, nodes=((ROOT, hashes),), listed=listed)
            case PeerAcks():
                return replace(made, peers=made.peers or (A,))
            case Variable():
                return _dominating(made)
            case _:
                return made

    def _blob(self, count: int) -> bytes:
        """Commands that decoding lets through, if not the machine."""
        while True:
            commands = [self._struct(self._random.choice(COMMANDS)) for _ in range(count)]
            try:
                return self._codec.encode_commands(cast(list[AnyCommand], commands))
            except InvalidValue:
                continue

    def _whole_snapshot(self, made: InstallSnapshot) -> InstallSnapshot:
        """All of one in a single piece, with the hash that it has: of the node's own state at
        another index, perhaps not as a machine would write it, or with a part left out."""
        random, machine = self._random, self._node.machine
        index = max(1, made.base.index)
        base = replace(
            made.base,
            index=index,
            term=min(made.base.term, made.term),
            voters=tuple(sorted({*made.base.voters, A})),
            configuration_index=min(made.base.configuration_index, index),
        )
        parts = msgpack.decode(machine.encode())
        parts[:2] = base.index, base.term
        data = msgpack.encode(parts)
        if random.random() < 0.5:
            assert data[0] == 0x90 + len(parts), "a short array"
            data = b"\xdc" + len(parts).to_bytes(2) + data[1:]
        elif random.random() < 0.3:
            data = data[:-1]
        return replace(made, base=base, digest=digest_of(data), size=len(data), offset=0, data=data)

    def _contiguous(self, made: AppendEntries) -> AppendEntries:
        """Batches that follow each other, and mostly follow what stands in the node's log."""
        random, log = self._random, self._node.replication.log
        previous_index, previous_term = made.previous_index, made.previous_term
        if random.random() < 0.7:
            previous_index = log.end_at_or_before(previous_index)
            previous_term = log.term_at(previous_index) or 0
        last_index, batches = previous_index, []
        for batch in made.batches:
            clock, term = batch.clock, batch.term
            if random.random() < 0.8:
                clock = max(log.last_clock, clock % 1000)
            if random.random() < 0.5:
                term = max(previous_term, min(term, made.term))
            batches.append(replace(batch, index=last_index + 1, clock=clock, term=term))
            last_index = batches[-1].last_index
        return replace(
            made,
            previous_index=previous_index,
            previous_term=previous_term,
            batches=tuple(batches),
        )


def _dominating(made: Variable) -> Variable:
    """With a context that covers every sibling, both sorted and each dot once."""
    siblings = {(sibling.actor, sibling.counter): sibling for sibling in made.siblings}
    context = dict(made.context)
    for actor, counter in siblings:
        context[actor] = max(context.get(actor, 0), counter)
    return replace(
        made,
        context=tuple(sorted(context.items())),
        siblings=tuple(siblings[dot] for dot in sorted(siblings)),
    )


# ---- the peer that hears it ------------------------------------------------------------------


class Desk:
    """One peer that was brought to `role`, its disk, its clock, and members it has met.

    Whatever leaves the Node is encoded and decoded as on the way to others: RemoteProtocolError
    rises where they could not read it.
    """

    def __init__(self, role: Role, random: Random) -> None:
        self._random = random
        self._codec = CborCodec(Limits())
        self._disk = MemoryStorage()
        self._number = 0
        self._now = 1000.0
        self._sent: list[Send] = []
        self.heard: dict[Role, set[type[Struct]]] = {role: set() for role in Role}
        """Kinds of messages that the hostile member said to the peer while it had this role."""
        config, seed = Config(name="me", expect=3), random.random()
        recovered = self._recover(role)
        self.node = Node(
            config, recovered, "127.0.0.1:1000", self._codec, Random(seed), 1.7e9, self._now
        )
        self._do(self.node.start(self._now))
        self._member = HostileMember(self.node, self._codec, random)
        for peer in MEMBERS:
            self._greet(peer, NO_CLUSTER if role is Role.NONE else CLUSTER)
        self._bring_to(role)

    def step(self, number: int) -> None:
        """A member says anything, others mostly agree, an agent may ask, the turn may end."""
        random = self._random
        messages = [self._member.message() for _ in range(random.choice((1, 1, 2, 3)))]
        self.heard[self.node.replication.role].update(map(type, messages))
        self._hear(random.choice(MEMBERS), *messages)
        if random.random() < 0.6:
            self._agree()
        if random.random() < 0.1:
            self._do(self.node.request(2 * number + 1, Read(AgentQuery(), True), self._now))
        if random.random() < 0.1:
            command = AppendJournal(SessionId(5), number + 1, "j", b"x")
            self._do(self.node.request(2 * number + 2, Submit(command), self._now))
        if random.random() < 0.7:
            self._end_turn(random.choice((0.0, 0.01, 0.1, 0.3)))

    def _recover(self, role: Role) -> Recovered:
        """What the disk holds of a peer that was, or was not, in a cluster before."""
        recovered = replace(self._disk.recover(), peer=ME, epoch=EPOCH)
        if role is Role.NONE:
            return recovered
        if role is Role.LEARNER:
            formed = BootstrapState(CLUSTER, PeerId(""), (), (), True)
            self._disk.write([formed])
            return replace(recovered, bootstrap=formed)
        first, state = self._first(ME, A, B), HardState(0, 1, PeerId(""))
        formed = BootstrapState(CLUSTER, ME, first.voters, (first,), True)
        self._disk.write([formed, state, LogAppend(0, 0, (first,))])
        return replace(recovered, bootstrap=formed, batches=(first,), hard_states=(state,))

    def _first(self, *voters: PeerId) -> Batch:
        voters = tuple(sorted(voters))
        configure = Configure(CLUSTER_SESSION, 0, CLUSTER, voters)
        return Batch(1, 1, 1, 10, self._codec.encode_commands([configure]), voters)

    def _greet(self, peer: PeerId, cluster: ClusterId) -> None:
        address = f"127.0.0.1:{2000 + ord(peer[0])}"
        incarnation = MEMBER_EPOCH << 16
        member = Member(peer, f"m{peer[0]}", address, MEMBER_EPOCH, incarnation, MemberState.ALIVE)
        self._hear(peer, Hello("default", cluster, member, True))

    def _bring_to(self, role: Role) -> None:
        if role is Role.LEARNER:
            self._hear(A, AppendEntries(0, 1, 0, 0, 1, (self._first(A, B),)))
            self._end_turn(0.0)
        if role is Role.LEADER:
            self._until(lambda: self.node.replication.role is Role.LEADER)
            self._until(lambda: self.node.replication.commit_index > 1)

    def _until(self, holds: Callable[[], bool]) -> None:
        """The others vote for the peer and follow it, until what is awaited holds."""
        for _ in range(40):
            self._agree()
            self._end_turn(0.1)
            if holds():
                return
        raise AssertionError(f"the peer stays {self.node.replication.role}")

    def _agree(self) -> None:
        """Whoever was sent something votes for the peer or follows it."""
        sent, self._sent = self._sent, []
        for target, message in ((send.target, send.message) for send in sent):
            match message:
                case VoteRequest(log, term, pre=pre):
                    self._hear(target, VoteReply(log, term, True, pre, False))
                case AppendEntries(log, term, index, batches=batches):
                    last_index = batches[-1].last_index if batches else index
                    self._hear(target, AppendReply(log, term, True, last_index, index))
                case Heartbeat(log, term, round=count):
                    self._hear(target, HeartbeatReply(log, term, count))
                case _:
                    pass

    def _hear(self, source: PeerId, *messages: Message) -> None:
        cluster = self.node.links.cluster_id
        frame = Frame(PROTOCOL_VERSION, source, MEMBER_EPOCH, EPOCH, 1, cluster, messages)
        frame = self._codec.decode_frame(self._codec.encode_frame(frame))
        self._do(self.node.receive(frame, self._now))

    def _do(self, effects: Effects) -> None:
        records: list[Record] = []
        for effect in effects:
            match effect:
                case Persist():
                    records.append(effect.record)
                    self._number = effect.number
                case Send():
                    frame = self.node.frame(effect.target, (effect.message,))
                    self._codec.decode_frame(self._codec.encode_frame(frame))
                    self._sent.append(effect)
                case _:
                    pass
        self._disk.write(records)

    def _end_turn(self, seconds: float) -> None:
        """The disk writes what there is; then time passes, and the node does what is due."""
        for _ in range(2):
            self._do(self.node.stored(self._number, self._now))
            self._do(self.node.flush(self._now))
        self._now += seconds
        ticks = 0
        while self.node.next_deadline() <= self._now:
            ticks += 1
            assert ticks <= TICKS_MAX, "the next deadline never lies ahead"
            self._do(self.node.tick(self._now))
            self._do(self.node.flush(self._now))
