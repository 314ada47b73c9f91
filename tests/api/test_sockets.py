import errno
import os
import pkgutil
import pwd
import socket
from pathlib import Path

import pytest

from mabeam_p2p.api import sockets
from mabeam_p2p.errors import ConfigError, InvalidName, NameTaken, StorageError


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder, and all other roots, of the test's own, with short paths."""
    folder = tmp_path_factory.mktemp("r")
    state = tmp_path_factory.mktemp("s")
    monkeypatch.setattr(sockets, "TMP", tmp_path_factory.mktemp("t"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return folder


def socket_path(cluster: str, name: str) -> Path:
    """Where the daemon `name` listens, as long as its environment is this one."""
    with sockets.listen(cluster, name) as listener:
        listener.remove()
        return listener.path


def test_socket_stands_under_the_runtime_folder_by_cluster_and_name(runtime: Path) -> None:
    path = socket_path("default", "ant")
    assert path == runtime / "mabeam" / "default" / "ant.sock"
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_folders_are_private_whatever_the_umask(runtime: Path) -> None:
    before = os.umask(0o277)
    try:
        path = socket_path("default", "ant")
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_without_a_runtime_folder_the_state_folder_serves(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    path = socket_path("default", "ant")
    assert path.parent == Path(os.environ["XDG_STATE_HOME"]) / "mabeam" / ".run" / "default"


def test_socket_is_open_to_its_owner_only_from_its_first_moment(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    def bind(listener: sockets.Listener, address: str) -> None:
        socket.socket.bind(listener, address)
        modes.append(Path(address).stat().st_mode & 0o777)

    monkeypatch.setattr(sockets.Listener, "bind", bind)
    before = os.umask(0)
    try:
        with sockets.listen("default", "ant") as listener:
            assert listener.path.stat().st_mode & 0o777 == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_folder_that_others_may_enter_is_refused(runtime: Path) -> None:
    (runtime / "mabeam").mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="mode 0755"):
        socket_path("default", "ant")


def test_folder_that_is_a_symbolic_link_is_refused(runtime: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (runtime / "mabeam").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="symbolic link"):
        socket_path("default", "ant")


def test_folder_of_another_user_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "mabeam").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(ConfigError, match="belongs to user"):
        socket_path("default", "ant")


def test_client_passes_over_a_folder_that_is_not_private(runtime: Path) -> None:
    sockets.listen("default", "ant").close()
    assert len(sockets.candidates("default")) == 1
    (runtime / "mabeam").chmod(0o755)
    assert sockets.candidates("default") == ()


def test_path_too_long_for_the_runtime_folder_goes_to_a_shorter_root(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = runtime / ("d" * 80)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    path = socket_path("default", "ant")
    assert path.is_relative_to(os.environ["XDG_STATE_HOME"])


def test_path_too_long_for_every_root_says_what_to_shorten(runtime: Path) -> None:
    with pytest.raises(ConfigError, match="shorter peer or cluster name"):
        socket_path("c" * 64, "n" * 64)


@pytest.mark.parametrize("place", ["os.mkdir", "os.open", "socket.socket.bind"])
def test_disk_without_room_is_said_to_be_full(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Of blocks or of inodes: somebody may make room, and a unit tries again."""

    def is_full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(place, is_full)
        with pytest.raises(StorageError, match=r"No space left.*make room") as caught:
            sockets.listen("default", "ant")
    assert caught.value.is_full
    sockets.listen("default", "ant").close()


def test_folder_without_room_gives_way_to_the_next_root(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def is_full(path: str, mode: int = 0o777) -> None:
        if Path(path).is_relative_to(runtime):
            raise OSError(errno.ENOSPC, "No space left on device")
        make(path, mode)

    monkeypatch.setattr(os, "mkdir", is_full)
    path = socket_path("default", "ant")
    assert path.is_relative_to(os.environ["XDG_STATE_HOME"])


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("fcntl.flock", errno.ENOLCK),
        ("socket.socket.bind", errno.EOPNOTSUPP),
        ("socket.socket.bind", errno.EPERM),
        ("socket.socket.bind", errno.ENOSPC),
    ],
)
def test_folder_that_can_lock_or_bind_nothing_gives_way_to_the_next_root(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    """As on NFS without locks, or on a file system that has no sockets."""
    real = pkgutil.resolve_name(place)

    def fails_there(what: int | socket.socket, how: object) -> None:
        path = how if isinstance(how, str) else os.readlink(f"/proc/self/fd/{what}")
        if Path(path).is_relative_to(runtime):
            raise OSError(number, os.strerror(number))
        real(what, how)

    monkeypatch.setattr(place, fails_there)
    before = descriptors()
    for _ in range(2):  # What the first has left behind does not stop the second.
        with sockets.listen("default", "ant") as listener:
            assert listener.path.is_relative_to(os.environ["XDG_STATE_HOME"])
            assert sockets.candidates("default", "ant") == (listener.path,)
    assert descriptors() == before


@pytest.mark.parametrize("place", ["fcntl.flock", "socket.socket.bind"])
def test_without_any_folder_that_can_lock_and_bind_each_is_named(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(place, fails)
    before = descriptors()
    with pytest.raises(ConfigError, match=r"Operation not supported.*XDG_RUNTIME_DIR") as caught:
        sockets.listen("default", "ant")
    for root in sockets.roots():
        assert str(root / "default") in str(caught.value)
    assert descriptors() == before


def test_name_whose_socket_somebody_makes_meanwhile_is_taken(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon of an earlier release, which looks at no lock: the next root must not have it."""

    def is_late(*_: object) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(sockets.Listener, "bind", is_late)
    with pytest.raises(NameTaken, match="already runs"):
        sockets.listen("default", "ant")


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_live_daemon_keeps_its_name(runtime: Path) -> None:
    with (
        sockets.listen("default", "ant"),
        pytest.raises(NameTaken, match="already runs"),
    ):
        sockets.listen("default", "ant")


def test_name_that_is_held_is_taken_even_before_its_socket_stands(runtime: Path) -> None:
    with sockets.listen("default", "ant") as listener:
        listener.path.unlink()
        with pytest.raises(NameTaken):
            sockets.listen("default", "ant")
        assert not listener.path.exists()


def test_whoever_has_lost_the_name_removes_no_socket_of_the_next_one(runtime: Path) -> None:
    first = sockets.listen("default", "ant")
    first.close()
    with sockets.listen("default", "ant") as second:
        first.remove()
        first.close()
        assert second.path.exists()


def test_live_daemon_that_holds_no_lock_keeps_its_name_too(runtime: Path) -> None:
    path = socket_path("default", "ant")
    with socket.socket(socket.AF_UNIX) as earlier:
        earlier.bind(str(path))
        earlier.listen()
        for _ in range(2):
            with pytest.raises(NameTaken):
                sockets.listen("default", "ant")


def test_lock_that_is_a_symbolic_link_is_refused(runtime: Path, tmp_path: Path) -> None:
    path = socket_path("default", "ant").with_suffix(sockets.LOCK_SUFFIX)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="remove what is there"):
        sockets.listen("default", "ant")
    assert not (tmp_path / "elsewhere").exists()


def test_child_that_was_forked_does_not_give_up_the_name(runtime: Path) -> None:
    with sockets.listen("default", "ant") as listener:
        child = os.fork()
        if child == 0:
            listener.close()
            os._exit(0)
        os.waitpid(child, 0)
        listener.path.unlink()  # The lock alone is asked.
        with pytest.raises(NameTaken):
            sockets.listen("default", "ant")


def test_child_that_was_forked_holds_neither_name_nor_socket(runtime: Path) -> None:
    ends, told = os.pipe()
    heard, says = os.pipe()
    listener = sockets.listen("default", "ant")
    child = os.fork()
    if child == 0:
        os.close(told)
        os.write(says, b"here")
        os.read(ends, 1)
        os._exit(0)
    try:
        assert os.read(heard, 4) == b"here"
        # As the end of the process does it: nothing is unlocked.
        listener.forget()
        sockets.listen("default", "ant").close()
    finally:
        for descriptor in (told, ends, heard, says):
            os.close(descriptor)
        os.waitpid(child, 0)


def test_stale_socket_is_replaced(runtime: Path) -> None:
    sockets.listen("default", "ant").close()
    with sockets.listen("default", "ant") as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(listener.getsockname())


def test_candidates_come_in_order_of_name(runtime: Path) -> None:
    listeners = [sockets.listen("default", name) for name in ("bee", "ant", "cow")]
    assert [path.stem for path in sockets.candidates("default")] == ["ant", "bee", "cow"]
    for listener in listeners:
        listener.close()


def test_candidates_are_those_of_the_cluster(runtime: Path) -> None:
    sockets.listen("other", "ant").close()
    assert sockets.candidates("default") == ()


def test_address_is_a_name_or_a_path(runtime: Path) -> None:
    sockets.listen("default", "ant").close()
    sockets.listen("default", "bee").close()
    assert [path.stem for path in sockets.candidates("default", "bee")] == ["bee"]
    assert sockets.candidates("default", "/any/where.sock") == (Path("/any/where.sock"),)
    assert sockets.candidates("default", "cow") == ()


@pytest.mark.parametrize("place", ["user/{uid}", "mabeam/{name}"])
def test_clients_look_where_systemd_has_daemons_too(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """As `su` and cron leave them: without XDG_RUNTIME_DIR."""
    run = runtime / "run"  # A short path, as a socket needs.
    monkeypatch.setattr(sockets, "RUN", run)
    name = pwd.getpwuid(os.getuid()).pw_name
    folder = run / place.format(uid=os.getuid(), name=name)
    folder.mkdir(parents=True, mode=0o700)
    with monkeypatch.context() as unit:
        unit.setenv("XDG_RUNTIME_DIR", str(folder))
        sockets.listen("default", "ant").close()
        sockets.listen("default", "bee").close()
        paths = sockets.candidates("default")
        assert sockets.looked_into().count(folder / "mabeam") == 1
    assert [path.parent for path in paths] == [folder / "mabeam" / "default"] * 2
    assert sockets.candidates("default") == paths
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert sockets.candidates("default", "bee") == paths[1:]
    assert folder / "mabeam" not in sockets.roots(), "where a daemon of this environment is not"
    (folder / "mabeam").chmod(0o750)
    assert sockets.candidates("default") == ()


def test_a_user_without_a_name_has_its_sockets_where_its_number_is(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert sockets.looked_into()[-1] == Path("/run/user/4000000/mabeam")


def test_names_cannot_leave_the_folder(runtime: Path) -> None:
    with pytest.raises(InvalidName):
        socket_path("..", "ant")
    with pytest.raises(InvalidName):
        sockets.candidates("default", "..")
