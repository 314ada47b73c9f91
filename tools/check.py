"""Runs every check of the tree, one line each with its time. Called by tools/check."""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


class Check(NamedTuple):
    """One command. fix: the command that mends what it can, run in its place if asked for."""

    name: str
    command: tuple[str, ...]
    fix: tuple[str, ...] = ()
    is_fast: bool = True


CHECKS = (
    Check("lint", ("ruff", "check", "."), fix=("ruff", "check", "--fix", ".")),
    Check("format", ("ruff", "format", "--check", "."), fix=("ruff", "format", ".")),
    Check("types", ("mypy",)),
    Check("floors", ("lint-imports",)),
    Check("tidy", ("pytest", "-q", "tests/test_tidy.py")),
    Check("tests", ("pytest", "-q"), is_fast=False),
)


def run(check: Check, *, may_fix: bool) -> bool:
    """Prints one line, and what the command printed if it failed."""
    command = check.fix if may_fix and check.fix else check.command
    print(f"{check.name:8}", end="", flush=True)
    started = time.monotonic()
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"{verdict:8}{time.monotonic() - started:6.1f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout, flush=True)
    return done.returncode == 0


def main() -> int:
    """Exit code 1 if any check failed; all of them are run."""
    parser = argparse.ArgumentParser(prog="tools/check", description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="leave out the tests")
    parser.add_argument("--fix", action="store_true", help="mend format and lint where possible")
    options = parser.parse_args()
    chosen = [check for check in CHECKS if check.is_fast or not options.fast]
    passed = [run(check, may_fix=options.fix) for check in chosen]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
