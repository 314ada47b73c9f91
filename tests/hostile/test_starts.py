"""Of daemons that start at once with one name, or one data folder, exactly one serves."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mabeam_p2p.api import sockets
from tests.cli.daemons import House, environment, house, until

COUNT = 50


@contextmanager
def started(place: House, name: str, data_dir: Path) -> Iterator[list[tuple[int, str]]]:
    """What became of each of COUNT daemons, once all others than those that serve have ended."""
    command = [sys.executable, "-m", "tests.hostile.starts", str(COUNT), name, str(data_dir)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=root,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        lines = [process.stdout.readline().strip().split(" ", 1) for _ in range(COUNT)]
        yield [(int(number), what) for number, what in lines]
        process.stdin.close()
        assert process.wait(60) == 0
        assert process.stdout.read() == ""


def winners(outcomes: list[tuple[int, str]]) -> list[int]:
    return [number for number, what in outcomes if what == "serves"]


@pytest.fixture
def place() -> Iterator[House]:
    with house() as found:
        yield found


def stale_socket(name: str) -> None:
    sockets.listen("starts", name).close()


@pytest.mark.slow
@pytest.mark.parametrize("is_stale", [False, True])
def test_of_fifty_daemons_with_one_name_and_folder_one_serves(place: House, is_stale: bool) -> None:
    if is_stale:  # As after a crash: everybody finds a socket that nobody answers at.
        stale_socket("ant")
        (place.folder / "data").mkdir(mode=0o700)
        (place.folder / "data" / "lock").write_text("4194304\n")
    with started(place, "ant", place.folder / "data") as outcomes:
        assert Counter(what for _, what in outcomes) == {"serves": 1, "NameTaken": COUNT - 1}
        (path,) = sockets.candidates("starts")
        assert sockets.fault(path.parent) is None
        # The one that serves is the one that is reached.
        with pytest.raises(Exception, match="already runs"):
            sockets.listen("starts", "ant")
    assert sockets.candidates("starts") == ()


@pytest.mark.slow
def test_of_fifty_daemons_with_one_name_and_folders_of_their_own_one_serves(place: House) -> None:
    stale_socket("ant")
    with started(place, "ant", place.folder / "data{n}") as outcomes:
        (winner,) = winners(outcomes)
        assert len(sockets.candidates("starts")) == 1
    # No other one has got as far as to a folder.
    assert [path.name for path in place.folder.glob("data*")] == [f"data{winner}"]


@pytest.mark.slow
def test_of_fifty_daemons_with_one_folder_and_names_of_their_own_one_serves(place: House) -> None:
    with started(place, "ant{n}", place.folder / "data") as outcomes:
        (winner,) = winners(outcomes)
        assert Counter(what for _, what in outcomes)["DataFolderHeld"] == COUNT - 1
        (path,) = sockets.candidates("starts")
        assert path.stem == f"ant{winner}"
    assert sockets.candidates("starts") == ()


@pytest.mark.slow
def test_lock_of_a_killed_daemon_is_free_and_that_of_a_live_one_is_not(place: House) -> None:
    first = place.start("--expect", "1", "--data-dir", str(place.folder / "data"))
    first.line()
    second = place.start("--expect", "1", "--data-dir", str(place.folder / "data"), name="bee")
    assert second.wait() != 0
    assert f"in use by process {first.process.pid}" in second.said()
    first.process.kill()
    first.wait()
    third = place.start("--expect", "1", "--data-dir", str(place.folder / "data"))
    until(lambda: third.line()["event"] == "ready")
