"""Where to listen, and where others reach what listens there."""

import errno
import socket
from ipaddress import ip_address

import zmq

from mabeam_p2p.addresses import (
    is_literal,
    is_loopback,
    is_wildcard,
    join_address,
    split_address,
)
from mabeam_p2p.errors import NOT_YET, AddressError, NoRoute

LAN = "lan"
"""In place of a host to listen on: the address that leads to the network."""
ELSEWHERE, ELSEWHERE_V6 = "192.0.2.1", "2001:db8::1"
"""Documentation addresses stand for all other machines."""


def listen_host(listen: str, may_leave: bool) -> tuple[str, int]:
    """Where to bind, as an IP address. Raises AddressError, too, when keys would be needed."""
    host, port = split_listen(listen)
    if not is_literal(host):
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise AddressError(
                f"cannot listen on {listen}: {host!r} is no name of this machine ({error}); "
                "take one of its IP addresses",
                is_passing=True,
            ) from error
        host = str(found[0][4][0])
    if not (may_leave or is_loopback(host)):
        raise AddressError(
            f"will not listen on {listen}: without keys a peer listens on this machine only, as "
            "anyone on the network could read and steer it. Listen on 127.0.0.1, or install a "
            "pyzmq whose libzmq has CURVE, or, on a network where you trust everybody, say "
            "--insecure-plaintext"
        )
    return host, port


def split_listen(listen: str) -> tuple[str, int]:
    """HOST:PORT; a port that is left out is a free one, and the host LAN is this machine's on its
    network. Raises AddressError, NoRoute."""
    if listen.isdecimal():
        raise AddressError(f"cannot listen on {listen}: write HOST:PORT, as {LAN}:{listen}")
    is_bare = is_literal(listen) or ":" not in listen
    host, port = split_address(join_address(listen, 0) if is_bare else listen)
    if host != LAN:
        return host, port
    host = _outward(ELSEWHERE, ELSEWHERE_V6)
    if is_loopback(host):
        raise NoRoute(
            f"cannot listen on {listen}: this machine has no way to a network; name one of its "
            "addresses, as `ip address` shows them"
        )
    return host, port


def reachable_host(host: str) -> str:
    """An address for others: `host` itself, or, if it stands for every interface, the one that
    leads to the network. What listens on `::` hears addresses of IPv4, too."""
    if not is_wildcard(host):
        return host
    return _outward(ELSEWHERE_V6, ELSEWHERE) if ":" in host else local_host(ELSEWHERE)


def _outward(first: str, second: str) -> str:
    """The address from which this machine reaches one of the two; a loopback one if neither."""
    for remote in (first, second):
        host = local_host(remote)
        # What every card has of IPv6 stands in until there is another, and needs its card named.
        is_of_card = ":" in host and ip_address(host).is_link_local
        if not (is_loopback(host) or is_of_card):
            return host
    return "::1" if ":" in first else "127.0.0.1"


def local_host(remote: str) -> str:
    """The address of this machine from which it reaches `remote`, an IP address; a loopback one if
    there is no way."""
    is_v6 = ":" in remote
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((remote, 9))  # Sends nothing: it only consults the routes.
            return str(probe.getsockname()[0])
    except OSError:
        return "::1" if is_v6 else "127.0.0.1"


def bind_error(listen: str, error: zmq.ZMQError) -> AddressError:
    # EINVAL of a scope: so libzmq says that there is no such interface.
    is_passing = error.errno in NOT_YET or (error.errno == errno.EINVAL and "%" in listen)
    if error.errno == errno.EADDRINUSE:
        why = "another program has the port; stop it, or take another port (0 takes a free one)"
    elif is_passing:
        why = "this machine has no such address; `ip address` shows those it has"
    elif error.errno == errno.EACCES:
        why = "the system does not allow this port; take one above 1023"
    else:
        why = f"{error.strerror}; take another address"
    return AddressError(f"cannot listen on {listen}: {why}", is_passing=is_passing)
