"""Dumps of a process whose loop turns, is blocked, or is gone."""

import asyncio
import contextlib
import errno
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mabeam_p2p.config import Config
from mabeam_p2p.errors import ConfigError, StorageError
from mabeam_p2p.observe import dumping
from mabeam_p2p.observe.dumping import DUMP_SUFFIX, STACKS_SUFFIX, Dumps
from tests.in_loop import in_loop


@contextmanager
def dumps() -> Iterator[tuple[Dumps, Path, asyncio.AbstractEventLoop]]:
    """Of a process with one config in it, on a loop that runs in a thread of the test."""
    with tempfile.TemporaryDirectory(prefix="mb") as folder:
        path = Path(folder) / "ant.sock"
        served = Dumps(str(path), lambda: {"config": Config(name="ant")})
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def start() -> None:
            served.start()

        asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield served, path.with_suffix(DUMP_SUFFIX), loop
        finally:
            served.close()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def read(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(str(path))
        parts = []
        while data := link.recv(65536):
            parts.append(data)
    return b"".join(parts).decode()


def test_a_dump_has_all_its_parts() -> None:
    with dumps() as (_, path, _):
        text = read(path)
    titles = [line for line in text.splitlines() if line.startswith("====")]
    assert titles == [
        "==== this process",
        "==== threads",
        "==== tasks",
        "==== log, the last lines",
        "==== state",
    ]
    assert f"process {os.getpid()}" in text
    assert "the loop turns: it answered in" in text
    assert "  name: 'ant'" in text
    assert "this part failed" not in text


def test_a_loop_that_is_blocked_is_dumped_with_where_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dumping, "LOOP_SECONDS", 0.1)
    with dumps() as (_, path, loop):
        release, entered = threading.Event(), threading.Event()

        def a_call_that_never_returns() -> None:
            entered.set()
            release.wait()

        loop.call_soon_threadsafe(a_call_that_never_returns)
        entered.wait()
        try:
            text = read(path)
        finally:
            release.set()
        assert "THE LOOP IS STUCK" in text
        assert "in a_call_that_never_returns" in text
        assert "  name: 'ant'" in text


def test_a_part_that_cannot_be_told_costs_no_other() -> None:
    with dumps() as (served, path, _):
        served._loop = None  # Then no part that asks the loop can be told.
        text = read(path)
    assert text.count("this part failed:") == 2
    assert "  name: 'ant'" in text


@pytest.mark.parametrize("place", ["os.open", "socket.socket.bind"])
@in_loop
async def test_a_disk_without_room_for_its_files_is_said_to_be_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def is_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    served = Dumps(str(tmp_path / "ant.sock"), dict)
    with monkeypatch.context() as patch, contextlib.closing(served):
        patch.setattr(place, is_full)
        with pytest.raises(StorageError, match="make room") as caught:
            served.start()
    assert caught.value.is_full


@in_loop
async def test_what_is_in_the_way_of_its_files_is_named(tmp_path: Path) -> None:
    (tmp_path / f"ant{STACKS_SUFFIX}").symlink_to(tmp_path / "elsewhere")
    served = Dumps(str(tmp_path / "ant.sock"), dict)
    with contextlib.closing(served), pytest.raises(ConfigError, match=r"ant.*cannot be made"):
        served.start()


def test_other_users_get_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumping, "peer_user", lambda link: os.getuid() + 1)
    with dumps() as (_, path, _):
        assert read(path) == ""


def test_its_files_are_this_users_alone_and_go_with_it() -> None:
    with dumps() as (served, path, _):
        for one in (path, path.with_suffix(STACKS_SUFFIX)):
            assert one.stat().st_mode & 0o777 == 0o600
        served.close()
        assert list(path.parent.iterdir()) == []
        served.close()
        with pytest.raises(OSError, match="No such file"):
            read(path)


def test_a_reader_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumping, "SEND_SECONDS", 0.05)
    with dumps() as (served, path, _):
        monkeypatch.setattr(served, "text", lambda: "x" * 4_000_000)
        with socket.socket(socket.AF_UNIX) as idle:
            idle.connect(str(path))
            assert len(read(path)) > 0
