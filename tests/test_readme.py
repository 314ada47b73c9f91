"""What the README shows is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = 90.0
"""Deadline of the whole example: reached by a failure only."""


@pytest.mark.fault("C22")
@pytest.mark.slow
@pytest.mark.parametrize("run", ["on new folders", "on the folders of an earlier run"])
def test_example_of_the_readme_runs_as_three_processes(place: Path, run: str) -> None:
    [code, *_] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    program = place / "trainer.py"
    program.write_text(code)
    trainers = [
        subprocess.Popen(
            [sys.executable, str(program), f"trainer-{number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=place,
            env=environment(place),
            text=True,
        )
        for number in (1, 2, 3)
    ]
    try:
        said = [trainer.communicate(timeout=SECONDS)[0] for trainer in trainers]
    finally:
        for trainer in trainers:
            trainer.kill()
            trainer.wait()
    assert [trainer.returncode for trainer in trainers] == [0, 0, 0], "\n".join(said)
    for text in said:
        assert re.fullmatch(r"accepted 1\.0 \[('fits my last run'(, )?){2,3}\]\n", text), run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def environment(place: Path) -> dict[str, str]:
    """That of a user who has set nothing, in a cluster and folders of its own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MABEAM_")}
    return kept | {
        "MABEAM_CLUSTER": f"readme-{os.getpid()}",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_STATE_HOME": str(place / "state"),
    }
