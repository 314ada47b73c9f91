"""Whatever is said, of whatever there is, in whatever order: all machines at once.

Commands are drawn field by field from what their classes say, out of small pools, so that they
meet; a kind of command that is new takes part by itself. What cannot travel is not said.
"""

from collections.abc import Sequence
from enum import Enum
from random import Random
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest

from mabeam_p2p.commands import Admit, AnyCommand, AnySessionCommand, DepartPeer, OpenSession
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    INTEGER_MAX,
    AgentId,
    AuctionId,
    PeerId,
    ProposalId,
    SessionId,
    TaskId,
)
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.machine.tasks import schedule
from mabeam_p2p.records import AuctionRule, AuctionTerms, Batch, Choice, Policy, Side, TaskStatus
from mabeam_p2p.requests import (
    AgentQuery,
    AuctionQuery,
    BudgetQuery,
    Committed,
    HoldQuery,
    LockQuery,
    ProposalQuery,
    Refused,
    ReputationQuery,
    SeatQuery,
    TasksQuery,
)
from mabeam_p2p.wire.codec import CborCodec
from tests.machine.written_log import WrittenLog, peer_id

TIGHT = Limits(
    session_window=50,
    open_proposals_max=4,
    closed_proposals_max=3,
    parameters_max=4,
    guards_max=2,
    open_barriers_max=4,
    closed_barriers_max=2,
    closed_generations_max=2,
    currencies_max=2,
    accounts_max=8,
    holds_max=6,
    operations_max=20,
    movements_max=5,
    budgets_max=5,
    reservations_max=5,
    deals_max=5,
    reputations_max=4,
    locks_max=3,
    claims_max=9,
    counters_max=3,
    queues_max=3,
    queue_items_max=4,
    open_tasks_max=12,
    finished_tasks_max=4,
    dead_tasks_max=3,
    task_names_max=3,
    task_backlog_max=2,
    task_losses_max=2,
    open_auctions_max=4,
    closed_auctions_max=2,
    seats_max=3,
    seat_candidates_max=2,
)
LEASED = (TaskStatus.LEASED,)
KINDS = get_args(AnySessionCommand)
AGENTS = tuple(AgentId(f"a{number}@p{number % 3}") for number in range(5))
WORDS = ("x", "y", "g:x")
KEYS = (b"1" * 32, b"2" * 32, b"3" * 32)
POOLS: dict[str, tuple[Any, ...]] = {
    "group": ("all", "all", "g"),
    "account": (*AGENTS, "pot", "g:pot"),
    "source": AGENTS,
    "target": (*AGENTS, "pot"),
    "payee": ("", *AGENTS),
    "currency": ("x", "x", ""),
    "operation": tuple(f"o{number}" for number in range(40)),
    "parent": ("", "", "x"),
    "timeout": (5, 100, 300),
    "attempt_timeout": (0, 0, 30),
    "lease": (50, 300, 900),
    "guard": (0, 100),
    "window": (0, 10),
    "backoff": (1, 4),
    "slots": (0, 1, 2, 4),
    "parties": (1, 2, 3),
    "quantity": (1, 1, 2),
    "requires": ((), (), (("x", 1),)),
    "policy": (Policy(min_voters=1), Policy(min_voters=1, shrink=True)),
    "priority": (0, 1),
    "capabilities": ((), (("x", 1),), (("x", 2), ("y", 1))),
    "items": ((),),
    "terms": (
        AuctionTerms(AuctionRule.ENGLISH, Side.FORWARD, 200, currency="x", increment=1),
        AuctionTerms(AuctionRule.ENGLISH, Side.REVERSE, 200, 2, 5, increment=1),
        AuctionTerms(AuctionRule.DUTCH, Side.FORWARD, 200, 3, 1, "x", start=5, step=1, tick=5),
        AuctionTerms(AuctionRule.VICKREY, Side.FORWARD, 100, 2, 1, "x", reveal=100, bond=1),
        AuctionTerms(AuctionRule.FIRST_PRICE, Side.REVERSE, 100, 1, 9, "x", reveal=100),
    ),
    "price": (1, 2, 3, 5),
    "deposit": (1, 4),
    "seal": (bytes(32),),
    "choice": (Choice.ACCEPT, Choice.ACCEPT, Choice.REJECT),
    "confidence": (1,),
    "points": ((),),
    "count": (1,),
    "retries": (0, 1),
    "participates": (True, True, False),
    "eligible": (True, True, False),
    "key": KEYS,
    "keys": (*((key,) for key in KEYS), KEYS[:2]),
    "label": (bytes(8), b"l" * 8),
}
"""By the name of a field: what is mostly drawn for it."""


class Drawn:
    """A log of drawn commands, one batch after the other."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.log = WrittenLog(TIGHT)
        self.codec = CborCodec(TIGHT)
        self.effects: dict[type, int] = {}
        """How many commands of each kind have taken effect."""
        self._said: dict[SessionId, int] = {}
        """The last number of each session."""
        self._session = CLUSTER_SESSION
        """Whose command is drawn."""
        self._restored = Machine(TIGHT)
        """As it was at some index, and what it has made of the log since then."""
        self._restored.restore(self.log.machine.snapshot())

    def batch(self) -> None:
        commands = [self._readable() for _ in range(self.random.choice((1, 1, 2, 3)))]
        self.log.clock += self.random.choice((0, 0, 1, 2, 5, 20))
        index = self.log.machine.applied_index + 1
        outcomes = self.log.append(*commands)
        for command, outcome in zip(commands, outcomes, strict=True):
            assert isinstance(outcome, Committed | Refused)
            if isinstance(outcome, Committed):
                self.effects[type(command)] = self.effects.get(type(command), 0) + 1
        batch = Batch(index, len(commands), 1, self.log.clock, b"")
        assert self._restored.apply(batch, tuple(commands)) == outcomes
        assert self._restored.take_events() == self.log.events
        assert self._restored.next_deadline() == self.log.machine.next_deadline()
        if self.random.random() < 0.02:
            self._restored.restore(self.log.machine.snapshot())

    def _readable(self) -> AnyCommand:
        """One that has gone the way of all commands."""
        while True:
            try:
                blob = self.codec.encode_commands([self._command()])
            except InvalidValue:
                continue
            return self.codec.decode_commands(1, blob)[0]

    def _command(self) -> AnyCommand:
        live = self.log.machine.find(AgentQuery()).agents
        drawn = self.random.random()
        if not live or drawn < 0.04:
            number = self.random.randrange(5)
            opened: OpenSession = self._struct(OpenSession)
            peer, epoch = peer_id(number % 3), self.random.randrange(1, 4)
            session = SessionId(self.random.randrange(1, 10**9))
            return msgspec.structs.replace(
                opened, session=session, sequence=1, agent=AGENTS[number], peer=peer, epoch=epoch
            )
        if drawn < 0.05:
            return DepartPeer(CLUSTER_SESSION, 0, peer_id(self.random.randrange(3)), 2, "gone")
        if drawn < 0.06:
            number = self.random.randrange(3)
            return Admit(CLUSTER_SESSION, 0, peer_id(number), KEYS[number])
        session = self._session = self.random.choice(live).session
        command: AnyCommand = self._struct(self.random.choice(KINDS))
        sequence = self._said[session] = self._said.get(session, 1) + 1
        return msgspec.structs.replace(command, session=session, sequence=sequence)

    def _struct(self, kind: type) -> Any:
        """Mostly with the defaults of its fields: what is all drawn is seldom sound."""
        return kind(
            **{
                field.name: self._value(field.type, field.name)
                for field in msgspec.structs.fields(kind)
                if field.default is msgspec.NODEFAULT or self.random.random() < 0.2
            }
        )

    def _value(self, kind: Any, name: str) -> Any:
        choice = self.random.choice
        if (known := self._known(name)) and self.random.random() < 0.7:
            return choice(known)
        if name in POOLS and self.random.random() < 0.9:
            return choice(POOLS[name])
        if kind in (int, SessionId):
            index = self.log.machine.applied_index
            near = max(0, index - self.random.randrange(12))
            return choice((0, 1, 1, 2, 3, 5, near, near, choice((1_000, INTEGER_MAX))))
        if kind is bool:
            return choice((True, False))
        if kind is bytes:
            return choice((b"", b"v", bytes(16), bytes(32)))
        if kind is AgentId:
            return choice(AGENTS)
        if kind is PeerId:
            return peer_id(0)
        if get_origin(kind) in (UnionType, Union):
            return self._of_one(choice(get_args(kind)), name)
        if get_origin(kind) is tuple:
            return self._tuple(get_args(kind), name)
        if kind in (ProposalId, TaskId, AuctionId):
            return f"n{self.log.machine.applied_index}"
        if kind is str:
            return choice(WORDS)
        return choice(list(kind)) if issubclass(kind, Enum) else self._struct(kind)

    def _known(self, name: str) -> Sequence[Any]:
        """What there is that a field of this name can mean."""
        find = self.log.machine.find
        match name:
            case "claim":
                last = self._said.get(self._session, 1)
                held = [one for lock in find(LockQuery("")).locks for one in lock.claims]
                return [one.number for one in held] or range(max(1, last - 8), last + 1)
            case "proposal":
                every = find(ProposalQuery(ProposalId(""))).proposals
                return [one.id for one in every if not one.status]
            case "hold":
                return [one.name for one in find(HoldQuery("", "")).holds if not one.escrow]
            case "reservation":
                return [one.number for one in find(BudgetQuery("")).reservations]
            case "election":
                return [
                    one.election.opened_index for one in find(SeatQuery("")).seats if one.election
                ]
            case "auction":
                return [one.id for one in find(AuctionQuery(AuctionId(""), True)).auctions]
            case "deal":
                return [one.name for one in find(ReputationQuery("", "")).deals]
            case "task":
                return [one.id for one in find(TasksQuery(LEASED, 9)).tasks]
            case "token":
                return [one.token for one in find(TasksQuery(LEASED, 9)).tasks]
            case _:
                return ()

    def _of_one(self, kind: Any, name: str) -> Any:
        return None if kind is type(None) else self._value(kind, name)

    def _tuple(self, arguments: tuple[Any, ...], name: str) -> tuple[Any, ...]:
        if arguments[1:] != (...,):
            return tuple(self._value(kind, name) for kind in arguments)
        count = self.random.choice((0, 0, 1, 2))
        # Pools hold whole fields: what stands within one is drawn by its type.
        values = [self._value(arguments[0], "") for _ in range(count)]
        is_sorted = not isinstance(values[0], msgspec.Struct) if values else False
        return tuple(sorted(dict.fromkeys(values))) if is_sorted else tuple(values)


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4))])
def test_any_commands_have_outcomes_and_snapshots_lose_nothing_of_them(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Attempts are overdue within the few microseconds of these logs.
    monkeypatch.setattr(schedule, "OVERDUE_FLOOR", 2)
    monkeypatch.setattr(schedule, "FIRST_LOOK", 3)
    monkeypatch.setattr(schedule, "HUNG_FACTOR", 4)
    drawn = Drawn(seed)
    for _ in range(2_000):
        drawn.batch()
    assert len(drawn.effects) > 30, sorted(kind.__name__ for kind in drawn.effects)
