"""A log with something of everything in it, as a simulated cluster commits it: one that is of the
earlier release first, and is upgraded under way."""

from collections.abc import Iterator

from msgspec.structs import replace

from mabeam_p2p.commands import (
    Admit,
    AnyCommand,
    AnySessionCommand,
    Burn,
    CancelAuction,
    CaptureHold,
    CloseSession,
    ClusterCommand,
    DepartPeer,
    Mint,
    OpenAuction,
    OpenSession,
    PlaceHold,
    Rate,
    ReleaseHold,
    Reserve,
    SetBudget,
    SpendReserved,
    Transfer,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import CLUSTER_SESSION, INTEGER_MAX, AgentId, AuctionId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import AuctionRule, AuctionTerms, Batch, Side
from mabeam_p2p.requests import Outcome
from mabeam_p2p.testing.faults import CRASH, DEPART, PAUSE, UPGRADE
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, Agents, Faults, Weather, fair
from mabeam_p2p.wire.codec import CborCodec
from tests.wire.samples import COMMANDS, TWO

LIMITS = Limits()
CODEC = CborCodec(LIMITS)
STORM = 12 * SECOND
DIGEST_EVERY = 50
"""Batches."""


def weather() -> Weather:
    agents = Agents(
        per_peer=2,
        think=40_000,
        keys=2,
        lease=3 * SECOND,
        traders=1,
        tasks=True,
        seats=True,
        recipes=0.6,
    )
    calm = fair(3)
    return replace(
        calm,
        limits=LIMITS,
        agents=agents,
        faults=Faults(kinds=(CRASH, DEPART, PAUSE, UPGRADE), every=2 * SECOND, down=SECOND),
        earlier=(0, 1, 2),
        timing=replace(calm.timing, departure_grace_seconds=0.5, restart_grace_seconds=0.5),
    )


def written() -> tuple[Batch, ...]:
    """The log that the cluster of one seed commits, and behind it one command of every kind."""
    batches: list[Batch] = []
    trial = Trial("golden log", weather())
    judged = trial.outcomes.committed

    def committed(batch: Batch) -> None:
        batches.append(batch)
        judged(batch)

    setattr(trial.outcomes, "committed", committed)  # noqa: B010
    trial.run(STORM / SECOND)
    last = batches[-1]
    index, clock = last.last_index, last.clock
    for command in spoken(index + 1):
        index, clock = index + 1, clock + 1
        batches.append(Batch(index, 1, last.term, clock, CODEC.encode_commands([command])))
    return tuple(batches)


def spoken(first: int) -> Iterator[AnyCommand]:
    """Specimens of commands, most of which are refused, and some that are not, in a session of
    their own, under numbers of their own; and a peer that departs. first: the index of the first
    one."""
    opening = next(command for command in COMMANDS if isinstance(command, OpenSession))
    session, me = SessionId(INTEGER_MAX // 2), AgentId("golden@peer-a")
    guest = replace(opening, session=session + 1, sequence=1, agent=AgentId("golden@peer-b"))
    before: tuple[AnyCommand, ...] = (
        replace(opening, session=session, sequence=1, agent=me),
        replace(guest, peer=TWO),
        DepartPeer(CLUSTER_SESSION, 0, TWO, guest.epoch, "dead"),
        *(command for command in COMMANDS if isinstance(command, Admit)),
    )
    yield from before
    specimens = [command for command in COMMANDS if not isinstance(command, _NOT_SPOKEN)]
    taken = (*_budgets(first + len(before)), *_purse(me), *_mistake())
    for sequence, command in enumerate((*taken, *specimens), 2):
        yield replace(command, session=session, sequence=sequence)


_NOT_SPOKEN = (OpenSession, CloseSession, ClusterCommand)


def _budgets(first: int) -> tuple[AnySessionCommand, ...]:
    """first: as in `spoken`; what is reserved has the index of its command for a number."""
    none = SessionId(0)
    return (
        SetBudget(none, 0, "golden:week", 1_000_000, "", 86_400_000_000),
        SetBudget(none, 0, "golden:sweep", 500_000, "golden:week", 0),
        Reserve(none, 0, "golden:sweep", 5_000, "g-9"),
        SpendReserved(none, 0, "golden:sweep", first + 2, 3_200),
        Reserve(none, 0, "golden:sweep", 5_000, "g-10"),
    )


def _purse(me: AgentId) -> tuple[AnySessionCommand, ...]:
    none, at, other = SessionId(0), "lab:purse", "judge@one"
    return (
        Mint(none, 0, "g-1", me, "golden", 1_000_000, ""),
        Transfer(none, 0, "g-2", me, other, "golden", 250_000, ""),
        Burn(none, 0, "g-3", me, "golden", 1, ""),
        PlaceHold(none, 0, "g-4", me, "golden", 40, other, 30_000_000, ""),
        CaptureHold(none, 0, "g-5", "g-4", 30, other, ""),
        PlaceHold(none, 0, "g-6", me, "golden", 40),
        ReleaseHold(none, 0, "g-7", "g-6", ""),
        PlaceHold(none, 0, "g-8", me, "golden", 7, other, 2**40, ""),
        Rate(none, 0, "hold/g-4", at, 950),
    )


def _mistake() -> tuple[AnySessionCommand, ...]:
    none, auction = SessionId(0), AuctionId("golden")
    terms = AuctionTerms(AuctionRule.FIRST_PRICE, Side.FORWARD, 30_000_000, reveal=10_000_000)
    return (
        OpenAuction(none, 0, auction, "gpu-hour", "all", terms),
        CancelAuction(none, 0, auction, "no need any more"),
    )


def applied(
    batches: tuple[Batch, ...], start: Machine | None = None
) -> Iterator[tuple[Machine, list[Outcome]]]:
    """The machine after each batch, and what its commands came to."""
    machine = start or Machine(LIMITS)
    for batch in batches:
        outcomes = machine.apply(batch, CODEC.decode_commands(batch.count, batch.blob))
        machine.take_events()
        yield machine, outcomes
