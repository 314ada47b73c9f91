"""Tapes of runs that once broke a rule: none may break it again. `tools/simulate --seed S --shrink`
adds one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mabeam_p2p.testing import tape
from mabeam_p2p.testing.shrink import rule_of
from mabeam_p2p.testing.trial import replay
from tools.mutants import COPIED, plant
from tools.planted import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
TAPES = sorted((ROOT / "tests" / "regress").glob("*.tape"))


@pytest.mark.slow
@pytest.mark.parametrize("path", TAPES, ids=lambda path: path.stem)
def test_what_once_broke_a_rule_keeps_it(path: Path) -> None:
    report = replay(tape.read(path.read_bytes()))
    assert report.violation is None, f"tools/simulate --tape {path} --trace"


def test_every_tape_says_what_it_broke() -> None:
    assert TAPES
    assert all(rule_of(tape.read(path.read_bytes()).violation) for path in TAPES)


@pytest.mark.slow
def test_a_planted_bug_is_shortened_to_a_tape_that_only_it_breaks(tmp_path: Path) -> None:
    """M10a: the leader lets a match index go back."""
    tree, tapes = tmp_path / "tree", tmp_path / "tapes"
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tree / name)
    for edit in next(mutant for mutant in MUTANTS if mutant.name == "M10a").edits:
        plant(edit, tree)
    shrunk = _simulate(tree, "--seed", "0", "--seconds", "4", "--shrink", "--tapes", str(tapes))
    assert shrunk.returncode == 1, shrunk.stdout + shrunk.stderr
    short = tape.read((tapes / "001.tape").read_bytes())
    assert rule_of(short.violation) == "I10"
    assert len(short.faults) < 3
    assert short.seconds < 4
    assert _simulate(tree, "--tape", str(tapes / "001.tape")).returncode == 1
    assert replay(short).violation is None


def _simulate(tree: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-B", "-m", "tools.simulate", *options]
    environment = {"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
