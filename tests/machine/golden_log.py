"""A log with something of everything in it, as a simulated cluster commits it: one that is of the
earlier release first, and is upgraded under way."""

from collections.abc import Iterator

from msgspec.structs import replace

from mabeam_p2p.commands import (
    Admit,
    AnyCommand,
    AnySessionCommand,
    Burn,
    CaptureHold,
    CloseSession,
    ClusterCommand,
    Mint,
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
from mabeam_p2p.ids import INTEGER_MAX, AgentId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Batch
from mabeam_p2p.testing.faults import CRASH, DEPART, PAUSE, UPGRADE
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, Agents, Faults, Weather, fair
from mabeam_p2p.wire.codec import CborCodec
from tests.wire.samples import COMMANDS

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
    for command in spoken():
        index, clock = index + 1, clock + 1
        batches.append(Batch(index, 1, last.term, clock, CODEC.encode_commands([command])))
    return tuple(batches)


def spoken() -> Iterator[AnyCommand]:
    """Specimens of commands, most of which are refused, and a purse that is used, in a session of
    their own, under numbers of their own."""
    opening = next(command for command in COMMANDS if isinstance(command, OpenSession))
    session, me = SessionId(INTEGER_MAX // 2), AgentId("golden@peer-a")
    yield replace(opening, session=session, sequence=1, agent=me)
    yield from (command for command in COMMANDS if isinstance(command, Admit))
    specimens = [command for command in COMMANDS if not isinstance(command, _NOT_SPOKEN)]
    for sequence, command in enumerate((*_purse(me), *specimens), 2):
        yield replace(command, session=session, sequence=sequence)


_NOT_SPOKEN = (OpenSession, CloseSession, ClusterCommand)


def _purse(me: AgentId) -> tuple[AnySessionCommand, ...]:
    none, at, other = SessionId(0), "lab:purse", "judge@one"
    return (
        Mint(none, 0, "g-1", me, "golden", 1_000_000, ""),
        Transfer(none, 0, "g-2", me, other, "golden", 250_000, ""),
        Burn(none, 0, "g-3", me, "golden", 1, ""),
        PlaceHold(none, 0, "g-4", me, "golden", 40, other, 30_000_000, ""),
        CaptureHold(none, 0, "g-5", "g-4", 30, other, ""),
        PlaceHold(none, 0, "g-6", me, "golden", 40, other, 30_000_000, ""),
        ReleaseHold(none, 0, "g-7", "g-6", ""),
        PlaceHold(none, 0, "g-8", me, "golden", 7, other, 2**40, ""),
        SetBudget(none, 0, "golden:week", 1_000_000, "", 86_400_000_000),
        SetBudget(none, 0, "golden:sweep", 500_000, "golden:week", 0),
        Reserve(none, 0, "golden:sweep", 5_000, "g-9"),
        SpendReserved(none, 0, "golden:sweep", 12, 3_200),
        Reserve(none, 0, "golden:sweep", 5_000, "g-10"),
        Rate(none, 0, "hold/g-4", at, 950),
    )


def kinds(batches: tuple[Batch, ...]) -> dict[str, int]:
    """How often each command stands there."""
    counts: dict[str, int] = {}
    for batch in batches:
        for command in CODEC.decode_commands(batch.count, batch.blob):
            name = type(command).__name__
            counts[name] = counts.get(name, 0) + 1
    return counts


def applied(batches: tuple[Batch, ...], start: Machine | None = None) -> Iterator[Machine]:
    """The machine after each batch."""
    machine = start or Machine(LIMITS)
    for batch in batches:
        machine.apply(batch, CODEC.decode_commands(batch.count, batch.blob))
        machine.take_events()
        yield machine
