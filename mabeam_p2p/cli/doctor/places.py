"""Folders, files and the disk: whose they are, who may read them, what was left behind.

Looks, and changes nothing: no lock is taken, no socket is removed.
"""

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from mabeam_p2p.api import sockets
from mabeam_p2p.cli import output
from mabeam_p2p.cli.doctor.finding import Finding, error, ok, skipped, warning
from mabeam_p2p.config import Config

OTHERS = 0o077
OTHERS_WRITE = 0o022
FREE_BYTES_MIN = 256 * 1024 * 1024
"""A snapshot and a batch of log under way; with less a peer stops soon."""
FREE_FILES_MIN = 64
SECRETS = ("key", "secret", "token", "join", "invitation")
"""A file with such a word in its name holds something that is nobody else's."""
FILES_MAX = 10_000
BESIDE = (".dump", ".stacks")
"""What stands beside a local socket (`observe/dumping.py`)."""
LOCKS = Path("/proc/locks")


def folder(path: Path) -> Iterator[Finding]:
    """The data folder of a peer, which may not exist yet."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        yield _missing(path)
        return
    except OSError as fault:
        yield error("folder", f"{path} cannot be looked at: {fault.strerror}", f"ls -ld {path}")
        return
    if stat.S_ISLNK(facts.st_mode):
        yield warning("folder", f"{path} is a symbolic link to {path.resolve()}", f"ls -l {path}")
        facts = path.stat()
    if not stat.S_ISDIR(facts.st_mode):
        yield error("folder", f"{path} is no folder, but in its place", f"mv {path} {path}.old")
        return
    faults = [*_modes(path, facts), *_modes_within(path)]
    yield from faults
    if not os.access(path, os.W_OK | os.X_OK):
        yield error("folder", f"{path} cannot be written by this user", f"chmod u+rwx {path}")
    elif not faults:
        yield ok("folder", f"{path} is this user's alone")


def _missing(path: Path) -> Finding:
    parent = _existing(path)
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        text = f"{path} is missing, and cannot be made in {parent}"
        return error("folder", text, f"sudo install -d -m 700 -o {os.getuid()} {path}")
    return ok("folder", f"{path} is made at the first start")


def _modes(path: Path, facts: os.stat_result) -> Iterator[Finding]:
    mode = stat.S_IMODE(facts.st_mode)
    kind = "d" if stat.S_ISDIR(facts.st_mode) else "f"
    least = "700" if kind == "d" else "600"
    is_secret = kind == "f" and any(word in path.name.lower() for word in SECRETS)
    if facts.st_uid != os.getuid():
        text = f"{path} belongs to user {facts.st_uid}, not to this one ({os.getuid()})"
        yield error("modes", text, _as_owner(path, facts.st_uid))
    if mode & OTHERS_WRITE or (is_secret and mode & OTHERS):
        what = "holds a secret, and others may read it" if is_secret else "others may write it"
        yield error("modes", f"{path} has mode {mode:04o}: {what}", f"chmod {least} {path}")
    elif mode & OTHERS and kind == "d":
        text = f"{path} has mode {mode:04o}: others may look into it"
        yield warning("modes", text, f"chmod {least} {path}")


def _as_owner(path: Path, owner: int) -> str:
    """Root takes nothing from its owner: it is there for everybody, and they could not go on."""
    if os.getuid() == 0:
        return f"sudo -u '#{owner}' mabeam doctor    # as its owner, if that is who runs the peer"
    return f"sudo chown {os.getuid()} {path}"


def _modes_within(path: Path) -> Iterator[Finding]:
    try:
        for count, one in enumerate(sorted(path.rglob("*"))):
            if count >= FILES_MAX:
                return
            if not one.is_symlink():
                yield from _modes(one, one.lstat())
    except OSError as fault:
        text = f"{path} cannot be looked through: {fault.strerror}"
        yield error("modes", text, f"chmod -R u+rX {path}")


def holder(path: Path, locks: Path = LOCKS) -> int | None:
    """The process that holds the data folder; None: nobody, or it cannot be told. Read from the
    kernel's table: taking the lock, to try it, could refuse a peer that starts just now."""
    try:
        facts = (path / "lock").stat()
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    place = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    for line in lines:
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == place:
            return int(words[4])
    return None


def no_room(path: Path, text: str) -> Finding:
    """That the disk is full on which the data folder is, and what takes its room."""
    there = _existing(path).resolve()
    disk = next(one for one in (there, *there.parents) if one.is_mount())
    return error("disk", text, f"sudo du -xh {disk} | sort -h | tail")


def free_bytes(path: Path) -> int:
    """Of the disk on which the data folder is, or will be, for this user. Raises OSError."""
    return shutil.disk_usage(_existing(path)).free


def larger(bytes_max: int, cluster: str, name: str) -> str:
    """The command that gives a peer twice the room."""
    return (
        f"mabeam down --cluster {cluster} --addr {name}; MABEAM_LIMITS__DATA_BYTES_MAX="
        f"{2 * bytes_max} mabeam up --cluster {cluster} --name {name}    # as it was started before"
    )


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if _is_there(one))


def _is_there(path: Path) -> bool:
    """What may not be looked for counts as missing: it is not where anything can be made."""
    try:
        return path.exists()
    except PermissionError:
        return False


def room(path: Path, config: Config) -> Finding:
    """The disk on which the data folder is, or will be, and its quota."""
    there = _existing(path)
    bytes_max = config.limits.data_bytes_max
    try:
        free, files = free_bytes(path), os.statvfs(there)
        files_here = path.iterdir() if path == there and path.is_dir() else ()
        used = sum(one.stat().st_size for one in files_here if one.is_file())
    except OSError as fault:
        return error("disk", f"{there} tells nothing of its disk: {fault.strerror}", f"df {there}")
    if bytes_max and used * 10 >= bytes_max * 9:
        text = f"{path} uses {output.size(used)} of its quota of {output.size(bytes_max)}"
        mend = larger(bytes_max, config.cluster, config.name)
        return error("disk", f"{text}: where it leads, a peer takes no commands", mend)
    if free < FREE_BYTES_MIN:
        text = f"{output.size(free)} are free on the disk of {there}"
        return no_room(path, f"{text}, {output.size(FREE_BYTES_MIN)} are needed")
    if files.f_files and files.f_favail < FREE_FILES_MIN:
        text = f"the disk of {there} has room for {files.f_favail} more files"
        return error("disk", text, f"du -x --inodes {there} | sort -n | tail")
    return ok("disk", f"{output.size(free)} are free for {path}")


def local_sockets(cluster: str) -> Iterator[Finding]:
    """The folders of local sockets, and what is in those of this cluster."""
    faults: list[Finding] = []
    live_count = 0
    for root in sockets.looked_into():
        for place in (root, root / cluster):
            wrong = sockets.fault(place)
            if wrong is None or wrong == "missing":
                continue
            if "mode" in wrong:
                mend = f"chmod 700 {place}"
            elif "belongs to user" in wrong:  # Somebody's, perhaps with a daemon in it.
                mend = f"ls -lnR {place}    # and look as that user, or set XDG_RUNTIME_DIR"
            else:
                mend = f"sudo rm -rf {place}"
            faults.append(error("socket", f"{place} {wrong}: no socket in it is used", mend))
        if sockets.fault(root / cluster) is None:
            for path in sorted((root / cluster).glob("*.sock")):
                if _is_stale(path):
                    text = f"{path} was left behind by a daemon that has died"
                    beside = " ".join(str(path.with_suffix(suffix)) for suffix in BESIDE)
                    faults.append(warning("socket", text, f"rm -f {path} {beside}"))
                else:
                    live_count += 1
    yield from faults
    if not faults:
        text = f"{live_count} in use" if live_count else "no daemon of this cluster runs here"
        yield (ok if live_count else skipped)("socket", text)


def _is_stale(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
