"""The word HOST:PORT: taken apart, put together and judged here and nowhere else.

A host is a name, an IPv4 address, or an IPv6 address in brackets, with or without a scope. What
ends in a number is no name: most libraries take it for an IPv4 address, of whatever form. Of a
scope, which is a name or number of an interface, no more is taken than every library down to the
kernel does: a word that one of them refuses would be found out when it is dialled.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address

from mabeam_p2p.errors import AddressError

ADDRESS_LENGTH_MAX = 255 + 6
"""A DNS name, a colon and five digits."""

LOCAL_NAMES = ("localhost",)
"""What each host is called by itself alone."""

_SCOPE = re.compile(r"[A-Za-z0-9._-]+")
_HOST_HEADER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")


def split_address(text: str) -> tuple[str, int]:
    """HOST:PORT or [V6]:PORT as (host without brackets, port). Raises AddressError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        address, _, scope = host.partition("%")
        is_plain = address == host or _SCOPE.fullmatch(scope) is not None
        is_usable = is_literal(host) and ":" in host and is_plain
    else:
        is_usable = ":" not in host and (is_literal(host) or _is_name(host))
    is_number = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    if not (colon and is_usable and is_number and len(text) <= ADDRESS_LENGTH_MAX):
        raise AddressError(f"{text!r} is not an address: write HOST:PORT or [IPV6]:PORT")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Inverse of split_address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_literal(host: str) -> bool:
    """Whether `host` is an IP address, so that no name must be resolved to dial it."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    if not host.isprintable() or " " in host or len(host) > ADDRESS_LENGTH_MAX:
        return False
    try:
        host.encode("idna")  # As whoever resolves it does first.
    except UnicodeError:
        return False
    last = host.removesuffix(".").rpartition(".")[2]
    return last != "" and not last.isdecimal()


def is_loopback(host: str) -> bool:
    """Whether `host` is an IP address that never leaves this machine. A name never is: what it
    stands for is not known here."""
    return is_literal(host) and ip_address(host).is_loopback


def is_wildcard(host: str) -> bool:
    """Whether `host` stands for every interface."""
    return is_literal(host) and ip_address(host).is_unspecified


def is_host_header_of(header: str, names: Collection[str]) -> bool:
    """Whether a Host header of HTTP is an IP address or one of these names, which are in small
    letters. A page of another site whose name was made to point here (DNS rebinding) says that
    name, and is of no concern to whoever serves this host alone."""
    found = _HOST_HEADER.fullmatch(header)
    host = (found[1] or found[2]).lower() if found else ""
    return host in names or is_literal(host)
