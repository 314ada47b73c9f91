"""A peer whose disk fails ends, says why, and is itself again when the disk is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.folders import Folder

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number", "error", "code"),
    [("sync", 1, "eio", 78), ("sync", 2, "eio", 78), ("write", 3, "enospc", 75)],
)
def test_peer_whose_disk_fails_ends_with_an_error_and_starts_again_from_what_it_had(
    tmp_path: Path, kind: str, number: int, error: str, code: int
) -> None:
    folder = tmp_path / "data"
    script = [sys.executable, "-m", "tests.storage.failing_peer", kind, str(number), error]
    flags = ["up", "--no-mdns", "--name", "ant", "--expect", "1", "--data-dir", str(folder)]
    ended = subprocess.run(
        [*script, *flags, "--listen", "127.0.0.1:0"],
        cwd=ROOT,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == code
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert f"{folder}/peer.db" in last
    assert "start the peer again" in last
    first = Folder(folder).recover()
    assert Folder(folder).recover().epoch == first.epoch + 1
