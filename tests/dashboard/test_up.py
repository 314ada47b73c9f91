"""`mabeam up --dashboard`."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.daemons import House, environment, house

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def refused(place: House, *flags: str, more: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and message of a daemon that must not start."""
    done = subprocess.run(
        [sys.executable, "-m", "mabeam_p2p", "up", "--name", "ant", "--no-mdns", *flags],
        cwd=place.folder,
        env=environment() | (more or {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_without_an_address_it_is_at_a_free_port_of_this_host(place: House) -> None:
    daemon = place.start("--dashboard", "--expect", "1")
    listening, ready = daemon.line(), daemon.line()
    assert str(listening["dashboard"]).startswith("http://127.0.0.1:")
    assert ready["dashboard"] == listening["dashboard"]
    with urllib.request.urlopen(str(listening["dashboard"])) as answer:
        assert b"<title>mabeam</title>" in answer.read()


def test_a_daemon_without_a_dashboard_says_nothing_of_one(place: House) -> None:
    assert "dashboard" not in place.start("--expect", "1").line()


def test_the_address_can_stand_in_the_environment(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MABEAM_DASHBOARD", "127.0.0.1:0")
    assert "dashboard" in place.start("--expect", "1").line()


def test_an_exposed_one_without_a_token_is_refused_before_the_peer_begins(place: House) -> None:
    code, said = refused(place, "--dashboard", "0.0.0.0:0")
    assert code == 78
    assert "--dashboard-token" in said
    assert not list((place.folder / "state").rglob("*"))


def test_an_exposed_one_warns_that_it_is_plain_and_says_where_it_listens(place: House) -> None:
    daemon = place.start("--dashboard", "0.0.0.0:0", "--dashboard-token", "word", "--expect", "1")
    here = str(daemon.line()["dashboard"])
    assert here.startswith("http://127.0.0.1:")
    port = here.rpartition(":")[2].strip("/")
    daemon.wait_until_it_says("plain HTTP")
    assert f"the dashboard listens on 0.0.0.0:{port}" in daemon.said()
    assert here not in daemon.said()
    assert (place.folder / "word").stat().st_mode & 0o777 == 0o600


def test_a_token_file_that_others_can_read_is_refused(place: House) -> None:
    word = place.folder / "word"
    word.write_text("correct-horse-battery")
    word.chmod(0o644)
    code, said = refused(place, "--dashboard", "--dashboard-token", "word")
    assert code == 78
    assert "chmod 600" in said
    assert "correct-horse" not in said


def test_without_the_extra_it_says_how_to_install_it(place: House, tmp_path: Path) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ImportError('no module of that name')\n")
    path = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
    code, said = refused(place, "--dashboard", more={"PYTHONPATH": path})
    assert code == 78
    assert "pip install 'mabeam-p2p[dashboard]'" in said


def test_a_peer_without_a_dashboard_does_without_the_extra(
    place: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ImportError('no module of that name')\n")
    path = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
    monkeypatch.setenv("PYTHONPATH", path)
    program = "import mabeam_p2p.cli.up, mabeam_p2p, sys; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
