"""One seed is one run: whatever the seed of Python's hashes, and whichever Python runs it.

`tools/simulate --hashes` prints the hashes of more seeds, to be compared by hand.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mabeam_p2p.testing.trial import run

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 4)
STORM = 4.0
SCRIPT = (
    "from mabeam_p2p.testing.trial import run\n"
    f"for seed in {SEEDS}: print(run(seed, {STORM}).trace_hash)"
)
NEWER = ("3.15", "3.14", "3.13", "3.12")
PACKAGES = ("cbor2", "msgspec")
"""What the cores and the simulator need of other packages."""


def hashes(python: str, hash_seed: str) -> str:
    """What another interpreter says of the seeds."""
    return subprocess.run(
        [python, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def interpreters() -> list[str]:
    """Newer Pythons of this machine, newest first: those on the path, and those that pyenv has,
    whose names on the path only run what is chosen for a folder."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one]
    folders += sorted(pyenv.glob("*/bin"), reverse=True)
    return [
        str(folder / f"python{version}")
        for version in NEWER
        for folder in folders
        if (folder / f"python{version}").exists()
    ]


def with_packages(python: str, folder: Path) -> str:
    """That interpreter with the packages, in an environment of its own; empty if it cannot be."""
    made = subprocess.run([python, "-m", "venv", folder], capture_output=True)
    inside = str(folder / "bin" / "python")
    if made.returncode:
        return ""
    try:
        installed = subprocess.run(
            [inside, "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return ""
    return "" if installed.returncode else inside


@pytest.fixture(scope="module")
def here() -> str:
    return "".join(f"{run(seed, STORM).trace_hash}\n" for seed in SEEDS)


@pytest.mark.slow
def test_one_seed_is_one_run_whatever_the_hash_seed(here: str) -> None:
    assert [hashes(sys.executable, seed) for seed in ("1", "2")] == [here, here]


@pytest.mark.slow
def test_one_seed_is_one_run_in_a_newer_python(here: str, tmp_path: Path) -> None:
    found = interpreters()
    for number, python in enumerate(found):
        inside = with_packages(python, tmp_path / str(number))
        if inside:
            assert hashes(inside, "3") == here, f"another run in {python}"
            return
    pytest.skip(f"no newer Python that can have {', '.join(PACKAGES)}: tried {found or 'none'}")


@pytest.mark.slow
def test_another_seed_is_another_run(here: str) -> None:
    assert len(set(here.split())) == len(SEEDS)
