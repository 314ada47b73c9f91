"""Golden logs: what the log has meant once, it means for ever.

A `tests/vectors/machine_N.zip`, or `machine_N.K.zip`, holds a log that a cluster has committed by
version N of the machine, the digests of the state along it, and the snapshot at its end. It is
never edited. Who changes what a command comes to, or what a snapshot holds, is told so here, and
raises MACHINE_VERSION: the older logs still come to what they came to. Together the logs of today's
version have every command, taken, and every kind of record that a state has: what they lack brings
a file beside the others, `pytest tests/machine/test_golden.py --write-vectors` writes it.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import astuple, fields

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.config import MACHINE_VERSION
from mabeam_p2p.machine.machine import KeyedState, Machine
from mabeam_p2p.records import Batch
from mabeam_p2p.requests import Committed
from tests.machine.golden_log import CODEC, DIGEST_EVERY, LIMITS, applied, written

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
LOGS = sorted(VECTORS.glob("machine_*.zip"))


class Golden(Struct, frozen=True):
    batches: tuple[Batch, ...]
    digests: dict[int, int]
    """By index."""
    snapshot: bytes


def logs_of(version: int) -> list[Path]:
    return sorted(VECTORS.glob(f"machine_{version}.*zip"))


def stored(path: Path) -> Golden:
    with zipfile.ZipFile(path) as archive:
        return Golden(
            msgspec.msgpack.decode(archive.read("log"), type=tuple[Batch, ...]),
            msgspec.json.decode(archive.read("digests"), type=dict[int, int]),
            archive.read("snapshot"),
        )


def store(path: Path, golden: Golden) -> None:
    members = {
        "log": msgspec.msgpack.encode(golden.batches),
        "digests": msgspec.json.encode(golden.digests),
        "snapshot": golden.snapshot,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def written_today() -> Golden:
    batches, digests, snapshot = written(), {}, b""
    for number, (machine, _) in enumerate(applied(batches), 1):
        if number % DIGEST_EVERY == 0 or number == len(batches):
            digests[machine.applied_index] = machine.digest()
            snapshot = machine.encode()
    return Golden(batches, digests, snapshot)


# ---- what the logs have --------------------------------------------------------------------------


def taken(kind: type[Struct]) -> str:
    return f"{kind.__name__}, taken"


def in_a_state(kind: type[Struct]) -> str:
    return f"{kind.__name__} in a state"


def everything() -> set[str]:
    """What the logs of a version have to have, in words."""
    commands, states = get_args(AnyCommand), kinds_in_type(KeyedState)
    return {*map(taken, commands), *map(in_a_state, states)}


def found_in(golden: Golden) -> Iterator[str]:
    """Of that, what a log has: a field that somebody forgets in what no digest has is not found,
    nor in what only digests of an earlier version have."""
    for (machine, outcomes), batch in zip(applied(golden.batches), golden.batches, strict=True):
        commands = CODEC.decode_commands(batch.count, batch.blob)
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, Committed):
                yield taken(type(command))
        if machine.applied_index in golden.digests and machine.version == MACHINE_VERSION:
            yield from map(in_a_state, kinds_in(machine.decode(machine.encode())))


def kinds_in_type(annotation: Any) -> Iterator[type[Struct]]:
    parts = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        yield annotation
        parts = tuple(field.type for field in fields(annotation))
    for part in parts:
        yield from kinds_in_type(part)


def kinds_in(value: object) -> Iterator[type[Struct]]:
    parts = value if isinstance(value, tuple) else ()
    if isinstance(value, Struct):
        yield type(value)
        parts = astuple(value)
    for part in parts:
        yield from kinds_in(part)


def test_the_logs_of_todays_version_have_everything(request: pytest.FixtureRequest) -> None:
    paths = logs_of(MACHINE_VERSION)
    missing = everything().difference(*map(found_in, map(stored, paths)))
    if missing and request.config.getoption("--write-vectors", default=False):
        golden = written_today()
        missing = missing.difference(found_in(golden))
        if not missing:
            store(VECTORS / f"machine_{MACHINE_VERSION}.{len(paths) + 1}.zip", golden)
    assert sorted(missing) == [], "see golden_log.py, and --write-vectors"


def test_every_version_has_a_log() -> None:
    assert all(map(logs_of, range(1, MACHINE_VERSION + 1)))


# ---- what they mean ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_log_of_every_version_comes_to_what_it_came_to(path: Path) -> None:
    known = stored(path)
    digests = {
        machine.applied_index: machine.digest()
        for machine, _ in applied(known.batches)
        if machine.applied_index in known.digests
    }
    assert digests == known.digests, "the log means something else: see MACHINE_VERSION"


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_snapshot_of_every_version_is_loaded_and_written_as_it_was(path: Path) -> None:
    known = stored(path)
    machine = Machine(LIMITS)
    machine.load(machine.decode(known.snapshot))
    assert machine.encode() == known.snapshot
    assert machine.digest() == known.digests[machine.applied_index]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_the_log_of_a_version_goes_on_from_a_snapshot_in_its_middle(path: Path) -> None:
    known = stored(path)
    middle = len(known.batches) // 2
    machine = Machine(LIMITS)
    for before, _ in applied(known.batches[:middle]):
        machine = before
    restored = Machine(LIMITS)
    restored.load(restored.decode(machine.encode()))
    for after, _ in applied(known.batches[middle:], restored):
        restored = after
    assert restored.encode() == known.snapshot
