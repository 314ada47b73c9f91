"""Processes that are forked instead of started are those that were ordered, and end with us."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

import mabeam_p2p
from tests.nursery import ROOT, Forked, Nursery, nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors of processes")

WAIT_SECONDS = 60.0
MAKE_AND_WAIT = """
import sys
from pathlib import Path
from tests.nursery import nursery
folder = Path(sys.argv[1])
up = ["up", "--json", "--no-mdns", "--data-dir", ":memory:"]
told = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder)}
daemon = nursery().begin(up, folder=folder, environment=told, errors=sys.stderr.buffer)
assert daemon.stdout is not None
daemon.stdout.readline()
print(daemon.pid, nursery()._process.pid, flush=True)
sys.stdin.read()
"""


def begin(folder: Path, *arguments: str, **environment: str) -> Forked:
    with (folder / "errors").open("wb") as errors:
        return nursery().begin(arguments, folder=folder, environment=environment, errors=errors)


@contextmanager
def daemon(folder: Path) -> Iterator[Forked]:
    """That runs."""
    told = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder)}
    process = begin(folder, "up", "--json", "--no-mdns", "--data-dir", ":memory:", **told)
    try:
        assert process.stdout is not None
        assert b"listening" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def test_a_command_prints_and_ends_as_it_does_elsewhere(tmp_path: Path) -> None:
    process = begin(tmp_path, "version")
    assert process.stdout is not None
    with process.stdout as printed:
        assert mabeam_p2p.__version__ in printed.read().decode()
    assert process.wait(WAIT_SECONDS) == 0
    assert process.poll() == 0
    refused = begin(tmp_path, "no-such-verb")
    assert refused.wait(WAIT_SECONDS) == 2
    assert refused.stdout is not None
    refused.stdout.close()
    assert "no-such-verb" in (tmp_path / "errors").read_text()


def test_it_has_no_other_folder_and_environment_than_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is forked from a process that has another one."""
    monkeypatch.setenv("MABEAM_NO_SUCH_SETTING", "1")
    monkeypatch.setattr("tests.test_nursery.nursery", cache(Nursery))
    try:
        with daemon(tmp_path) as process:
            assert os.readlink(f"/proc/{process.pid}/cwd") == str(tmp_path)
            assert list((tmp_path / "mabeam").rglob("*.sock"))
    finally:
        nursery().close()


def test_it_holds_nothing_of_the_others(tmp_path: Path) -> None:
    """A pipe that one of them had too would not end with the process that writes to it."""
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    with daemon(tmp_path / "0") as first, daemon(tmp_path / "1") as second:
        shared = held(first) & held(second)
        assert {one for one in shared if one.startswith(("pipe", "socket"))} == set()


def held(process: Forked) -> set[str]:
    found = set()
    for one in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # Closed meanwhile.
            found.add(os.readlink(one))
    return found


def test_its_end_is_told_with_the_signal_that_ended_it(tmp_path: Path) -> None:
    with daemon(tmp_path) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(WAIT_SECONDS) == -signal.SIGKILL
        process.send_signal(signal.SIGTERM)
        assert process.poll() == -signal.SIGKILL


def test_nothing_runs_on_when_the_tests_are_killed(tmp_path: Path) -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKE_AND_WAIT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert maker.stdout is not None
    with maker:
        handles = [os.pidfd_open(int(word)) for word in maker.stdout.readline().split()]
        assert len(handles) == 2
        maker.send_signal(signal.SIGKILL)
    for handle in handles:
        ended, _, _ = select.select([handle], [], [], WAIT_SECONDS)
        os.close(handle)
        assert ended


def test_it_ends_before_the_tests_do() -> None:
    """Else each worker of a whole run warns of it, somewhere among what the tests say."""
    made = "from tests.nursery import nursery; nursery()"
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", made]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, timeout=WAIT_SECONDS
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
