"""Network namespaces that have no name: the kernel frees one when the last process in it and the
last descriptor of it are gone, so that none outlives the tests, also when these are killed."""

import ctypes
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of Linux' unshare(2) and setns(2)."""
NEEDED = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "ping": "iputils-ping",
}
"""Programs, and the Debian package that each is in."""

T = TypeVar("T")


def new_namespace() -> int:
    """A descriptor of a network namespace that nobody is in yet. Raises OSError."""

    def make() -> int:
        library = ctypes.CDLL(None, use_errno=True)
        if library.unshare(NEW_NETWORK):
            number = ctypes.get_errno()
            raise OSError(number, f"unshare(CLONE_NEWNET): {os.strerror(number)}")
        own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        return os.open(own, os.O_RDONLY | os.O_CLOEXEC)

    return _elsewhere(make)


def packet_socket(namespace: int) -> socket.socket:
    """One that gets what passes any interface of the namespace, both ways. Raises OSError."""

    def make() -> socket.socket:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(namespace, NEW_NETWORK):
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
        every_protocol = socket.htons(3)
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, every_protocol)

    return _elsewhere(make)


def _elsewhere(make: Callable[[], T]) -> T:
    """What `make` gives, or the OSError that it raises. A thread has the namespace that it was born
    in: this one alone changes, and then ends."""
    made: list[T | OSError] = []

    def run() -> None:
        try:
            made.append(make())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=run, name="another namespace")
    thread.start()
    thread.join()
    result = made[0]
    if isinstance(result, OSError):
        raise result
    return result


def path_of(descriptor: int) -> str:
    """Where programs that this process starts find the namespace."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def why_not() -> str | None:
    """Why this machine has no virtual network for us; None: it has."""
    if not sys.platform.startswith("linux"):
        return f"network namespaces need Linux, and this is {sys.platform}"
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        packages = " ".join(dict.fromkeys(NEEDED[program] for program in missing))
        return f"without {', '.join(missing)}; on Debian: apt-get install {packages}"
    try:
        os.close(new_namespace())
    except OSError as error:
        return f"{error.strerror}: run the tests as root"
    return None


def why_no_taps() -> str | None:
    """Why hosts cannot be joined by a switch in user space; None: they can."""
    if os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return None
    return "/dev/net/tun is missing, or not for this user"
