"""Looks for input that breaks a reader, guided by what each input reaches. Called by tools/fuzz.

Targets are the ways in of tests/hostile: frame, command, bulk, joining, local, value; and
`storage`, a row of a data folder under a right checksum, or a write-ahead log. It begins with the
corpus. Whatever raises anything but a refusal, or hangs, is written to tests/hostile/found/, where
every run of the tests tries it from then on. With --keep the inputs that reached more go into the
corpus.
"""

import argparse
import hashlib
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tests.hostile import archive

TARGETS = ("frame", "command", "bulk", "joining", "local", "value", "storage")
INPUT_BYTES_MAX = 8_192
SECONDS_PER_INPUT = 5
"""Until an input counts as one that hangs: instrumented code is slow."""
KEPT_BYTES_MAX = 512


def entrance(target: str) -> Callable[[bytes], object]:
    """What takes one input; it may refuse, and raise nothing."""
    if target == "storage":
        rows: ModuleType = importlib.import_module("tests.hostile.rows")
        read_row: Callable[[bytes], object] = rows.read_row
        return read_row
    entrances = importlib.import_module("tests.hostile.entrances")
    outcome: Callable[[str, bytes], str] = entrances.outcome
    return lambda data: outcome(target, data)


def run_target(target: str, arguments: list[str]) -> None:
    """In a process of its own: libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["mabeam_p2p", "cbor2"]):
        take = entrance(target)
    atheris.Setup([f"fuzz {target}", *arguments], take)
    atheris.Fuzz()


def seeds(target: str, folder: Path) -> None:
    """The corpus of one way in, as files."""
    files = archive.files_of(target)
    if target == "storage":
        rows = importlib.import_module("tests.hostile.rows")
        files |= {f"storage/{number}": data for number, data in enumerate(rows.seeds())}
    for data in files.values():
        if len(data) <= INPUT_BYTES_MAX:
            (folder / hashlib.sha256(data).hexdigest()).write_bytes(data)


def keep_broken(target: str, path: Path) -> Path:
    kept = archive.FOUND / f"{target}-{digest(path.read_bytes())}"
    kept.write_bytes(path.read_bytes())
    return kept


def keep_fresh(target: str, paths: list[Path]) -> None:
    contents = [path.read_bytes() for path in paths]
    archive.write(archive.read() | {f"{target}/reached/{digest(data)}": data for data in contents})


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def fuzz(target: str, seconds: int, *, keeps: bool) -> int:
    """How many inputs broke something."""
    archive.FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz") as place:
        corpus, broken, new = (Path(place) / name for name in ("corpus", "broken", "new"))
        for folder in (corpus, broken, new):
            folder.mkdir()
        seeds(target, corpus)
        command = [sys.executable, "-m", "tools.fuzz", "--target", target, "--"]
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_BYTES_MAX}",
            f"-timeout={SECONDS_PER_INPUT}",
            f"-artifact_prefix={broken}/",
            "-print_final_stats=1",
        ]
        # What is new goes into the first folder.
        done = subprocess.run([*command, *options, str(new), str(corpus)], check=False)
        found = [keep_broken(target, path) for path in sorted(broken.iterdir())]
        if done.returncode and not found:
            sys.exit(f"{target}: nothing was tried: it ended with {done.returncode}")
        for path in found:
            sys.stdout.write(f"{target}: {path} breaks it\n")
        fresh = [path for path in sorted(new.iterdir()) if path.stat().st_size <= KEPT_BYTES_MAX]
        sys.stdout.write(f"{target}: {len(found)} broke it, {len(fresh)} reached more\n")
        if keeps and fresh:
            keep_fresh(target, fresh)
        return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument(
        "--keep", action="store_true", help="also what reached more than the corpus"
    )
    parser.add_argument("--target", choices=TARGETS, help=argparse.SUPPRESS)
    own = sys.argv[1:]
    rest: list[str] = []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser.parse_args(own)
    if options.target:
        run_target(options.target, rest)
        return
    targets = options.targets or list(TARGETS)
    if unknown := [target for target in targets if target not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    try:
        importlib.import_module("atheris")
    except ImportError:
        sys.exit("fuzz: needs atheris: tools/venv test fuzz, or pip install 'mabeam-p2p[fuzz]'")
    sys.exit(1 if sum(fuzz(t, options.seconds, keeps=options.keep) for t in targets) else 0)


if __name__ == "__main__":
    main()
