"""The corpus as it is kept: one archive, whose files stay for ever, and grow in number.

One archive and not thousands of small files, which would be most of the files of this project;
`tar -xJf` makes files of it. What the fuzzer has found is small and few, and stands beside it in
`found/`, a file each, named by where it goes in.
"""

import io
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ARCHIVE = FOLDER / "corpus.tar.xz"
FOUND = FOLDER / "found"


def files_of(way_in: str) -> dict[str, bytes]:
    """Whatever goes in there, kept or found, by name."""
    files = read() | found()
    return {name: data for name, data in files.items() if name.startswith(f"{way_in}/")}


def read() -> dict[str, bytes]:
    """Every kept file, by name."""
    return dict(_unpacked(ARCHIVE))


@cache
def _unpacked(path: Path) -> Mapping[str, bytes]:
    """Takes seconds: once in a process, and not before somebody asks."""
    with tarfile.open(path, "r:xz") as archive:
        return {
            member.name: file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }


def found() -> dict[str, bytes]:
    """What fuzzing has found: `WAY-IN-whatever`, so that names begin as those of the archive."""
    return {
        f"{path.name.partition('-')[0]}/found/{path.name}": path.read_bytes()
        for path in sorted(FOUND.glob("*-*"))
    }


def write(files: Mapping[str, bytes]) -> None:
    """The same bytes for the same files: no times, no owners."""
    _unpacked.cache_clear()
    with tarfile.open(ARCHIVE, "w:xz", format=tarfile.USTAR_FORMAT, preset=9) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
