"""Whose process is at the other end of a TCP connection within this host, by the kernel.

It is asked about the one connection (sock_diag(7)), which takes the same time however many there
are: any user of the host can open thousands, and the loop that waits for the answer is the peer's.
A kernel that is not able to say it so has tables of all connections.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable
from functools import cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Every TCP socket of this network namespace, with its user (proc(5))."""

NOBODY = -1
"""The connection is in no table: it has ended, or comes from elsewhere."""

Name = tuple[str, int]

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, NLMSG_ERROR, NLM_F_REQUEST = 20, 2, 1
TIME_WAIT, LISTEN = 6, 10
"""States of no socket that is connected: for a connection that has ended the kernel may name who
listens at its address."""
ANY_STATE = ANY_COOKIE = 0xFFFFFFFF
ANSWER_BYTES = 4_096

_HEADER = struct.Struct("=IHHII")
"""Length, kind, flags, number and sender of a message (netlink(7))."""
_QUESTION = struct.Struct("=BBBBI")
"""Family, protocol, what is told beside, padding, states; behind it an identifier."""
_PORTS = struct.Struct("!HH")
_REST = struct.Struct("=III")
"""Of the identifier, behind ports and two addresses of 16 bytes: interface, cookie."""
_USER_AT = 80
"""In the answer: behind the header, four bytes, an identifier and three more words."""
_MAPPED = bytes(10) + b"\xff\xff"
"""Before an IPv4 address as IPv6 maps it."""


def user_of(source: Name, target: Name) -> int | None:
    """User id of the process whose socket is bound to `source` and connected to `target`. NOBODY:
    no such socket; None: this system does not tell."""
    user = _told(source, target) if is_able() else None
    return in_tables(source, target) if user is None else user


@cache
def is_able() -> bool:
    """Whether this kernel can be asked about one connection. To who asks about one that it does not
    know, one that is not able to answers the same."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()) as probe,
        ):
            return _told(probe.getsockname(), probe.getpeername()) == os.geteuid()
    except OSError:
        return False


def _told(source: Name, target: Name) -> int | None:
    """As user_of; None: it could not be asked."""
    if sys.platform != "linux":
        return None
    ends = [_words(one) for one in (source, target)]
    is_v4 = all(packed.startswith(_MAPPED) for packed, _ in ends)
    family = socket.AF_INET if is_v4 else socket.AF_INET6
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, ANY_STATE)
    question += _PORTS.pack(*(port for _, port in ends))
    for packed, _ in ends:
        question += packed[len(_MAPPED) :].ljust(16, b"\0") if is_v4 else packed
    question += _REST.pack(0, ANY_COOKIE, ANY_COOKIE)
    size = _HEADER.size + len(question)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
            kernel.setblocking(False)
            kernel.send(_HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + question)
            # It answers before `send` returns.
            return _user_in(kernel.recv(ANSWER_BYTES), ends)
    except (OSError, struct.error):
        return None


def _user_in(answer: bytes, ends: list[tuple[bytes, int]]) -> int | None:
    if _HEADER.unpack_from(answer)[1] == NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        return NOBODY if code == -errno.ENOENT else None
    family, state = answer[16], answer[17]
    packed = (answer[24:40], answer[40:56])
    if family == socket.AF_INET:
        packed = (_MAPPED + packed[0][:4], _MAPPED + packed[1][:4])
    found = list(zip(packed, _PORTS.unpack_from(answer, 20), strict=True))
    if state in (TIME_WAIT, LISTEN) or found != ends:
        return NOBODY
    return int(struct.unpack_from("=I", answer, _USER_AT)[0])


def in_tables(source: Name, target: Name, tables: Iterable[Path] = TABLES) -> int | None:
    """As user_of, of all connections there are."""
    wanted = (_words(source), _words(target))
    port = f":{source[1]:04X} "
    is_told = False
    for table in tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        is_told = True
        for line in lines[1:]:
            if port not in line:
                continue
            fields = line.split()
            if (_canonical(fields[1]), _canonical(fields[2])) == wanted:
                return int(fields[7])
    return NOBODY if is_told else None


def _words(name: Name) -> tuple[bytes, int]:
    """An address as 16 bytes, an IPv4 one as IPv6 maps it, and a port."""
    address = ip_address(name[0].partition("%")[0])
    if address.version == 4:
        address = IPv6Address(f"::ffff:{address}")
    return address.packed, name[1]


def _canonical(field: str) -> tuple[bytes, int]:
    """ADDRESS:PORT of the kernel: words of 32 bits in the order of this machine."""
    text, _, port = field.partition(":")
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    packed = b"".join(struct.pack("=I", word) for word in words)
    if len(packed) == 4:
        return _words((socket.inet_ntoa(packed), int(port, 16)))
    return packed, int(port, 16)
