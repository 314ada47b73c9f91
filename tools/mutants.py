"""Plants known bugs, one at a time, and shows which check finds each."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tools.planted import MUTANTS, Edit, Mutant
from tools.planted.spine import RAFT

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("mabeam_p2p", "tests", "tools", "pyproject.toml")
SEEDS = 1_000_000
"""More than any time allows."""


class Verdict(NamedTuple):
    mutant: Mutant
    killer: str
    """The test, or the rule that the simulator saw broken; empty: nobody noticed."""
    seconds: float


def plant(edit: Edit, tree: Path) -> None:
    path = tree / edit.path
    text = path.read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        raise SystemExit(f"{edit.path} holds {text.count(edit.old)} times: {edit.old!r}")
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def run(command: list[str], tree: Path, seconds: float) -> tuple[int, str]:
    """Exit code and output of a Python module within `tree`. A hang ends as a failure."""
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-m", *command],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return 1, "timeout:"
    return done.returncode, done.stdout


def hunt(mutant: Mutant, within: float, first: int, simulate_only: bool) -> Verdict:
    """Look for the planted bug: by its own tests, then by simulation for `within` seconds."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, tree / name, ignore=ignored)
            else:
                shutil.copy(source, tree / name)
        for edit in mutant.edits:
            plant(edit, tree)
        started = time.monotonic()
        if mutant.tests and not simulate_only:
            _, output = run(
                ["pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests], tree, 120
            )
            failed = [text.split()[1] for text in output.splitlines() if text.startswith("FAILED")]
            if failed:
                return Verdict(mutant, failed[0], time.monotonic() - started)
        search = ["tools.simulate", "--seeds", str(SEEDS), "--first", str(first), "--stop"]
        code, output = run([*search, "--within", str(within)], tree, within * 2 + 60)
        killer = _rule(output) if code else ""
        return Verdict(mutant, killer, time.monotonic() - started)


def _rule(output: str) -> str:
    """The broken rule and its seed, out of what tools/simulate has printed."""
    lines = output.splitlines()
    for number, text in enumerate(lines):
        if "VIOLATION" in text:
            rule = lines[number + 1].strip().partition(":")[0]
            return f"simulator, {rule}, {text.partition(':')[0]}"
    return f"simulator, {lines[-1] if lines else 'silent'}"


def main() -> int:
    """Exit code 1 if a mutant survives."""
    parser = argparse.ArgumentParser(prog="tools/mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="these alone, as M8")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="the same")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (default 2)")
    parser.add_argument(
        "--within", type=float, default=60, help="seconds of simulation for each (default 60)"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--simulate-only", action="store_true", help="leave the tests out")
    options = parser.parse_args()
    names = [*options.names, *options.only]
    unknown = [name for name in names if name not in [m.name for m in MUTANTS]]
    if unknown:
        parser.error(f"no mutant is called {', '.join(unknown)}")
    chosen = [m for m in MUTANTS if not names or m.name in names]
    survivors = 0
    nothing = Mutant("none", "nothing is planted", (), RAFT)
    innocent = hunt(nothing, 5, options.first, options.simulate_only)
    if innocent.killer:
        print(f"the tree fails as it is: {innocent.killer}")
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        search = partial(
            hunt,
            within=options.within,
            first=options.first,
            simulate_only=options.simulate_only,
        )
        for verdict in pool.map(search, chosen):
            survivors += not verdict.killer
            print(
                f"{verdict.mutant.name:5} {verdict.killer or 'SURVIVES':45} "
                f"{verdict.seconds:6.1f} s  {verdict.mutant.what}",
                flush=True,
            )
    print(f"{len(chosen) - survivors} of {len(chosen)} killed")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
