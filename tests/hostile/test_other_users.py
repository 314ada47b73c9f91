"""Another user of this machine is hostile: it reaches no daemon, and deceives no client."""

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mabeam_p2p.api import sockets
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.cli import output
from mabeam_p2p.errors import ConfigError, DaemonNotRunning, StorageError
from mabeam_p2p.ids import SessionId
from mabeam_p2p.observe.dumping import DUMP_SUFFIX, beside
from mabeam_p2p.storage import folder
from tests.cli.daemons import mabeam
from tests.daemon.served import counters, daemon
from tests.eventually import eventually
from tests.hostile.other_user import OTHER_USER, as_other_user, needs_root
from tests.in_loop import in_loop

CONNECT = """
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(30)
    try:
        client.connect(sys.argv[1])
        client.sendall(b"\\0\\0\\0\\1\\x80")
        print("got", client.recv(100))
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.fixture
def crossroads() -> Iterator[Path]:
    """A folder that every user can pass through. pytest closes its own ones again and again."""
    with tempfile.TemporaryDirectory(prefix="mb") as path:
        os.chmod(path, 0o711)
        yield Path(path)


def careless(path: Path) -> None:
    """As an administrator who opens what was closed."""
    path.parent.chmod(0o711)
    path.chmod(0o666)


@needs_root
@in_loop
async def test_folder_of_the_sockets_lets_no_other_user_through(crossroads: Path) -> None:
    async with daemon(crossroads) as d:
        careless(Path(d.path))
        os.chmod(crossroads, 0o700)
        said = await asyncio.to_thread(as_other_user, CONNECT, d.path)
        assert said == "PermissionError"
        assert (await d.counters())["daemon_clients_refused"] == 0


@needs_root
@in_loop
async def test_another_user_who_gets_at_the_socket_is_not_heard(crossroads: Path) -> None:
    async with daemon(crossroads) as d:
        careless(Path(d.path))
        said = await asyncio.to_thread(as_other_user, CONNECT, d.path)
        assert said in ("got b''", "ConnectionResetError", "BrokenPipeError")
        assert await d.counters() == counters(daemon_clients=1, daemon_clients_refused=1)


LISTEN = """
with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    server.settimeout(30)
    os.chmod(sys.argv[1], 0o666)
    connection, _ = server.accept()
"""
SERVE = f"""{LISTEN}
    print("heard", connection.recv(1000))
"""
TELL = f"""{LISTEN}
    try:
        connection.sendall(b"what another user would have this one believe")
    except BrokenPipeError:
        pass
"""


def foreign_folder(crossroads: Path) -> Path:
    place = crossroads / "planted"
    place.mkdir()
    os.chown(place, OTHER_USER, OTHER_USER)
    return place


@needs_root
@in_loop
async def test_client_says_nothing_to_the_daemon_of_another_user(crossroads: Path) -> None:
    path = foreign_folder(crossroads) / "d.sock"
    serving = asyncio.create_task(asyncio.to_thread(as_other_user, SERVE, path))
    backend = AttachedBackend("ant", cluster="default", addr=str(path))
    await eventually(lambda: stands_open(path), 60.0)
    with pytest.raises(DaemonNotRunning, match=f"a daemon of user {OTHER_USER}, not of this one"):
        await backend.open(SessionId(7))
    assert await serving == "heard b''"


@needs_root
@in_loop
async def test_nobody_is_shown_a_dump_that_another_user_has_planted(crossroads: Path) -> None:
    path = foreign_folder(crossroads) / "d.sock"
    planted = beside(str(path), DUMP_SUFFIX)
    telling = asyncio.create_task(asyncio.to_thread(as_other_user, TELL, planted))
    await eventually(lambda: stands_open(planted), 60.0)
    done = await asyncio.to_thread(mabeam, "dump", "--addr", str(path))
    await telling
    assert done.exit_code == output.UNREACHABLE
    assert f"a daemon of user {OTHER_USER}, not of this one" in done.output
    assert "believe" not in done.output


def stands_open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & stat.S_IWOTH)


@needs_root
def test_folder_that_another_user_has_planted_is_refused(
    crossroads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(crossroads))
    monkeypatch.setenv("XDG_STATE_HOME", str(crossroads / "state"))
    planted = crossroads / "mabeam"
    crossroads.chmod(0o777)
    as_other_user("os.mkdir(sys.argv[1], 0o700)", planted)
    assert planted.stat().st_uid == OTHER_USER
    with pytest.raises(ConfigError, match=f"belongs to user {OTHER_USER}"):
        sockets.listen("default", "ant")
    assert sockets.candidates("default") == ()
    assert list(planted.iterdir()) == []


@needs_root
def test_data_folder_of_another_user_is_refused_and_untouched(crossroads: Path) -> None:
    path = crossroads / "data"
    path.mkdir(mode=0o700)
    os.chown(path, OTHER_USER, OTHER_USER)
    with pytest.raises(StorageError, match=f"belongs to user {OTHER_USER}"):
        folder.hold(str(path))
    assert list(path.iterdir()) == []


@needs_root
def test_data_folder_and_its_files_are_closed_to_other_users(crossroads: Path) -> None:
    path = crossroads / "data"
    folder.hold(str(path)).release()
    code = """
for action in (os.listdir, folder.hold):
    try:
        print(action(sys.argv[1]))
    except (OSError, MabeamError) as error:
        print(type(error).__name__)
"""
    assert as_other_user(code, path) == "PermissionError\nStorageError"


# ---- what any user can see to ----------------------------------------------------------------


def test_data_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    for mode in (0o770, 0o707, 0o1777):
        path.chmod(mode)
        with pytest.raises(StorageError, match=f"has mode {mode:04o}.*chmod 700 {path}"):
            folder.hold(str(path))
        assert list(path.iterdir()) == []
    path.chmod(0o755)
    folder.hold(str(path)).release()
    assert (path / folder.LOCK_NAME).stat().st_mode & 0o777 == 0o600


def test_data_folder_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    with pytest.raises(StorageError, match="is a symbolic link: give the folder that it leads to"):
        folder.hold(str(link))
    assert list((tmp_path / "real").iterdir()) == []


def test_lock_of_a_data_folder_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    (path / folder.LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="in the way"):
        folder.hold(str(path))
    assert not (tmp_path / "elsewhere").exists()


def test_kernel_names_this_user_at_both_ends(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        for end in (ours, theirs):
            assert sockets.is_own(sockets.peer_user(end))
    assert not sockets.is_own(os.getuid() + 1)
