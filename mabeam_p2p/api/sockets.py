"""Where the local socket of each daemon is. Daemons and clients follow the same rules.

1. The socket of a daemon is `<root>/<cluster>/<peer name>.sock`. Roots, in order of preference:
   `$XDG_RUNTIME_DIR/mabeam`, `<user's state folder>/mabeam/.run`, `/tmp/mabeam-<uid>`.
2. A daemon takes the first root that it can create, in which the path fits into a socket's
   address, and where locks and sockets can be made. A client looks into all of them, because it may
   run in another environment, and into those that systemd makes: `/run/user/<uid>/mabeam`,
   `/run/mabeam/<user>/mabeam`.
3. Every folder from the root down belongs to this user, has mode 0700 and is no symbolic link.
   A daemon refuses any other with ConfigError; a client passes it over.
4. A daemon holds the lock `<peer name>.lock` beside its socket for life. Of many that start at
   once with one name one has it; whoever has it alone makes and removes the socket. The lock ends
   with the process, also if children that it has forked live on: what a dead daemon has left is
   replaced by the next one of its name, and passed over by clients.
5. The socket is never open to others, not even while it is made, and the kernel says who is at the
   other end of a connection: neither end speaks to another user.
"""

import errno
import fcntl
import os
import pwd
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mabeam_p2p import forks, places
from mabeam_p2p.errors import NO_ROOM, ConfigError, NameTaken, StorageError
from mabeam_p2p.ids import check_name

SOCKET_PATH_BYTES_MAX = 103 if sys.platform == "darwin" else 107
"""What sun_path holds, without the final zero byte."""

BACKLOG = 128
"""Clients that may wait to be accepted."""

LOCK_SUFFIX = ".lock"

RUN = Path("/run")
TMP = Path("/tmp")

ADDRESS_VARIABLE = "MABEAM_ADDR"
"""Names the daemon that clients attach to: a socket's path, or a peer's name."""


class Listener(socket.socket):
    """The listening socket of a daemon, with the lock on its name. Made with `listen`."""

    def __init__(self, path: Path, lock: int) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self.path = path
        self._lock = lock
        forks.watch(self)

    def remove(self) -> None:
        """Take the socket out of its folder, while the name is still held. Idempotent."""
        if self._lock >= 0:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the socket and give up the name. What stands in the folder then is stale, unless it
        was removed before. Idempotent."""
        if self._lock >= 0:
            # Whatever else has it open has not locked it.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close both, and leave the name with whoever else has them open."""
        super().close()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def listen(cluster: str, name: str) -> Listener:
    """A listening, non-blocking socket of mode 0600 for the daemon `name`; replaces a stale one.

    Sets the process's umask for a moment: to be called before there are threads that make files.
    Raises NameTaken if a live daemon has the name, ConfigError if no folder will do, StorageError
    if one would do if there were room.
    """
    check_name(cluster, "cluster")
    check_name(name, "peer name")
    refusals = []
    full: StorageError | None = None
    for root in roots():
        path = root / cluster / f"{name}.sock"
        length = len(os.fsencode(path))
        if length > SOCKET_PATH_BYTES_MAX:
            refusals.append(
                f"{path} has {length} bytes and a socket's path may have {SOCKET_PATH_BYTES_MAX}: "
                "take a shorter peer or cluster name, or a shorter XDG_RUNTIME_DIR"
            )
            continue
        try:
            with room_for(path):
                _make_private(root)
                _make_private(path.parent)
                return _listen_at(path)
        except StorageError as error:
            full = full or error
        except OSError as error:
            refusals.append(
                f"{path.parent} cannot hold it and its lock ({error.strerror}): let "
                "XDG_RUNTIME_DIR be a folder of this user on a local disk"
            )
    if full is not None:
        raise full
    raise ConfigError("no place for the local socket: " + "; ".join(refusals), key="name")


def _listen_at(path: Path) -> Listener:
    """Raises NameTaken, ConfigError, StorageError, or OSError if the folder can lock or bind
    nothing."""
    lock = _lock(path.with_suffix(LOCK_SUFFIX))
    if lock is None:
        raise _taken(path)
    try:
        if not _is_free(path):
            raise _taken(path)
        listener = Listener(path, lock)
    except BaseException:
        os.close(lock)
        raise
    try:
        # The folder is ours alone already; the mode is a second fence, and has no gap.
        umask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(umask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException as error:
        listener.close()
        # Made just now by a daemon that looks at no lock; another root must not have the name too.
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise _taken(path) from error
        raise
    return listener


def _taken(path: Path) -> NameTaken:
    return NameTaken(
        f"a daemon named {path.stem!r} already runs in cluster {path.parent.name!r} on this host "
        f"({path}): stop it with `mabeam down --cluster {path.parent.name} --addr {path.stem}`, or "
        "take another name",
        reason="name_taken",
    )


def candidates(cluster: str, addr: str | None = None) -> tuple[Path, ...]:
    """Sockets that a client may try, in order. `addr` is a socket's path or a peer's name;
    None means every daemon of `cluster`, in order of name."""
    if addr and "/" in addr:
        return (Path(addr),)
    check_name(cluster, "cluster")
    folders = [
        root / cluster
        for root in looked_into()
        if fault(root) is None and fault(root / cluster) is None
    ]
    if addr:
        check_name(addr, "daemon's name")
        paths = [folder / f"{addr}.sock" for folder in folders]
        return tuple(path for path in paths if path.exists())
    paths = [path for folder in folders for path in folder.glob("*.sock")]
    return tuple(sorted(paths, key=lambda path: path.name))


def roots() -> Iterator[Path]:
    """Of a daemon of this environment, by rule 1, the preferred one first; they may not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        yield Path(runtime) / "mabeam"
    state = places.state_folder()
    if state is not None:
        yield state / ".run"
    yield TMP / f"mabeam-{os.getuid()}"


def looked_into() -> tuple[Path, ...]:
    """The roots of rule 2 in which there may be daemons, each once."""
    user = os.getuid()
    made = [RUN / "user" / str(user) / "mabeam"]
    with suppress(KeyError):  # As in a container: a user without a name.
        made.append(RUN / "mabeam" / pwd.getpwuid(user).pw_name / "mabeam")
    return tuple(dict.fromkeys((*roots(), *made)))


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Within, `path` is made. Raises StorageError if there is no room for it; every other OSError
    passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StorageError(
            f"{path} cannot be made ({error.strerror}): make room on its disk, also for more files",
            path=str(path),
            is_full=True,
        ) from error


def fault(folder: Path) -> str | None:
    """What is wrong with `folder` as a place for sockets, or None. `missing` if it is not there."""
    try:
        facts = folder.lstat()
    except OSError:
        return "missing"
    if not stat.S_ISDIR(facts.st_mode):
        return "is a symbolic link or no folder"
    if facts.st_uid != os.getuid():
        return f"belongs to user {facts.st_uid}"
    mode = stat.S_IMODE(facts.st_mode)
    if mode != 0o700:
        return f"has mode {mode:04o}"
    return None


def _make_private(folder: Path) -> None:
    """Create `folder` with mode 0700 if it is missing. Raises OSError, or ConfigError if what is
    there cannot be trusted."""
    wrong = fault(folder)
    if wrong == "missing":
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            # The umask may have taken bits away from the mode that was asked for.
            folder.chmod(0o700)
        wrong = fault(folder)
    if wrong is not None:
        raise ConfigError(
            f"{folder} {wrong}, so local sockets in it would not be private: remove it, or make "
            "it a folder of your own with mode 0700",
            path=str(folder),
        )


def _lock(path: Path) -> int | None:
    """The descriptor that holds the lock of a name; None if another process does. Raises
    ConfigError, StorageError, or OSError if there are no locks."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with room_for(path):
            descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be opened ({error.strerror}): it is the lock of a daemon's name, and a "
            "file of this user; remove what is there",
            path=str(path),
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_free(path: Path) -> bool:
    """Whether nobody answers at `path`; what is stale there is gone then. To be called with the
    lock held: a daemon that has none may still be of an earlier release."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return True
        except OSError:
            # A full backlog, for one: somebody holds it.
            return False
    return False


# ---- who is at the other end -----------------------------------------------------------------


def peer_user(connection: socket.socket) -> int | None:
    """User id of the process at the other end of a Unix socket, as the kernel knows it; None where
    the system does not tell, and the folder's mode alone keeps others out."""
    if not sys.platform.startswith("linux"):
        return None
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)


def check_user(connection: socket.socket) -> None:
    """Raises PermissionError if a daemon of another user is at the other end."""
    user = peer_user(connection)
    if not is_own(user):
        raise PermissionError(f"it is a daemon of user {user}, not of this one")


def is_own(user: int | None) -> bool:
    """Whether `peer_user` found this user, or could not tell."""
    return user is None or user == os.getuid()
