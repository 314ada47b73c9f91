"""Golden data folders: what a release has written is read for ever.

`tests/vectors/folder_N.zip` is a data folder of format N, as a kill leaves it: some of it in the
database, some in the log alone. `folder_N.json` says what it holds. Neither is ever edited. A new
format brings new files beside the old:
`pytest tests/storage/test_golden.py --write-vectors` writes those that are missing.
"""

import zipfile
from pathlib import Path

import msgspec
import pytest

from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.records import (
    Batch,
    BootstrapState,
    HardState,
    KnownAddresses,
    LogAppend,
    Record,
    Recovered,
    Sibling,
    Variable,
)
from mabeam_p2p.storage import layout
from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.storage.folders import Folder

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
ONE, TWO = PeerId("0123456789abcdef"), PeerId("fedcba9876543210")
FIRST = Batch(1, 3, 1, 1_700_000_000_000_000, b"\x80\x00\xff", (ONE, TWO))
SHIFTS: tuple[list[list[Record]], ...] = (
    [
        [BootstrapState(ClusterId("c" * 32), ONE, (ONE, TWO), (FIRST,), formed=True)],
        [HardState(0, 1, ONE), LogAppend(0, 0, (FIRST,))],
        [LogAppend(0, 3, (Batch(4, 1, 1, 1_700_000_000_000_001, bytes(5_000)),))],
        [Variable("a/ü", "lww", ((ONE, 2**60),), (Sibling(ONE, 2**60, 5, b"\xf5"),))],
    ],
    [
        [HardState(0, 7, TWO), KnownAddresses(("127.0.0.1:1", "[::1]:2"))],
        [LogAppend(0, 3, (Batch(4, 2, 7, 1_700_000_000_000_009, b"other"),))],
        [Variable("b", "counter", ((TWO, 1), (ONE, 3)), ())],
    ],
)


def write(folder: Path) -> Folder:
    """A data folder after two shifts, the second of which was killed."""
    live = Folder(folder / "live")
    for number, writes in enumerate(SHIFTS):
        storage = SqliteStorage(str(live.path))
        storage.recover()
        for records in writes:
            storage.write(records)
        if number == len(SHIFTS) - 1:
            left = live.copy("left")
        storage.close()
    return left


def add_today(folder: Path) -> None:
    path = VECTORS / f"folder_{layout.FORMAT}.zip"
    if path.exists():
        return
    left = write(folder)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(left.contents().items()):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    text = msgspec.json.format(msgspec.json.encode(left.recover()))
    path.with_suffix(".json").write_bytes(text + b"\n")


def test_todays_format_has_a_folder(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-vectors", default=False):
        add_today(tmp_path)
    known = [path.name for path in VECTORS.glob("folder_*.zip")]
    assert f"folder_{layout.FORMAT}.zip" in known, "the disk has changed: see --write-vectors"


@pytest.mark.parametrize("number", range(1, layout.FORMAT + 1))
def test_a_folder_of_every_format_is_read_as_it_was_written(tmp_path: Path, number: int) -> None:
    path = VECTORS / f"folder_{number}.zip"
    folder = Folder(tmp_path / "peer")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder.path)
    assert folder.wal.exists(), "some of it in the log alone"
    expected = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Recovered)
    assert len(expected.batches) == 2
    assert expected.hard_states == (HardState(0, 7, TWO),)
    found = folder.recover()
    assert found == expected
    # And again, as today's.
    assert folder.recover() == msgspec.structs.replace(expected, epoch=expected.epoch + 1)
