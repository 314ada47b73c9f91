"""Golden logs: what the log has meant once, it means for ever.

`tests/vectors/machine_N.zip` holds a log that a cluster has committed by version N of the machine,
the digests of the state along it, and the snapshot at its end. It is never edited. Who changes what
a command comes to, or what a snapshot holds, is told so here, and raises MACHINE_VERSION: the older
logs still come to what they came to, and the new version brings a file beside the old:
`pytest tests/machine/test_golden.py --write-vectors` writes it.
"""

import zipfile
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec import Struct

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.config import MACHINE_VERSION
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Batch
from tests.machine.golden_log import DIGEST_EVERY, LIMITS, applied, kinds, written

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
VERSIONS = range(1, MACHINE_VERSION + 1)


class Golden(Struct, frozen=True):
    batches: tuple[Batch, ...]
    digests: dict[int, int]
    """By index."""
    snapshot: bytes


def path_of(version: int) -> Path:
    return VECTORS / f"machine_{version}.zip"


def golden(version: int) -> Golden:
    with zipfile.ZipFile(path_of(version)) as archive:
        return Golden(
            msgspec.msgpack.decode(archive.read("log"), type=tuple[Batch, ...]),
            msgspec.json.decode(archive.read("digests"), type=dict[int, int]),
            archive.read("snapshot"),
        )


def write(path: Path) -> None:
    batches, digests, snapshot = written(), {}, b""
    for number, machine in enumerate(applied(batches), 1):
        if number % DIGEST_EVERY == 0 or number == len(batches):
            digests[machine.applied_index] = machine.digest()
            snapshot = machine.encode()
    members = {
        "log": msgspec.msgpack.encode(batches),
        "digests": msgspec.json.encode(digests),
        "snapshot": snapshot,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def test_todays_version_has_a_golden_log(request: pytest.FixtureRequest) -> None:
    path = path_of(MACHINE_VERSION)
    if request.config.getoption("--write-vectors", default=False) and not path.exists():
        write(path)
    assert path.exists(), "the machine has another version: see --write-vectors"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_log_of_every_version_comes_to_what_it_came_to(version: int) -> None:
    known = golden(version)
    digests = {
        machine.applied_index: machine.digest()
        for machine in applied(known.batches)
        if machine.applied_index in known.digests
    }
    assert digests == known.digests, "the log means something else: see MACHINE_VERSION"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_snapshot_of_every_version_is_loaded_and_written_as_it_was(version: int) -> None:
    known = golden(version)
    machine = Machine(LIMITS)
    machine.load(machine.decode(known.snapshot))
    assert machine.encode() == known.snapshot
    assert machine.digest() == known.digests[machine.applied_index]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_log_of_a_version_goes_on_from_a_snapshot_in_its_middle(version: int) -> None:
    known = golden(version)
    middle = len(known.batches) // 2
    machine = Machine(LIMITS)
    for before in applied(known.batches[:middle]):
        machine = before
    restored = Machine(LIMITS)
    restored.load(restored.decode(machine.encode()))
    for after in applied(known.batches[middle:], restored):
        restored = after
    assert restored.encode() == known.snapshot


def test_the_golden_logs_have_every_command() -> None:
    spoken = {name for version in VERSIONS for name in kinds(golden(version).batches)}
    assert spoken >= {kind.__name__ for kind in get_args(AnyCommand)}
