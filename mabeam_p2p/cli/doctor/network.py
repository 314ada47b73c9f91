"""The way to other peers: this host's address, its port, and multicast.

What is sent is one question of multicast DNS, as every peer asks it. Nothing is announced.
"""

import errno
import fcntl
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from mabeam_p2p.addresses import is_literal, is_loopback, is_wildcard, join_address
from mabeam_p2p.cli.doctor.finding import Finding, error, ok, skipped, warning
from mabeam_p2p.cli.doctor.holders import advice, holder_of
from mabeam_p2p.config import SERVICE_TYPE

GROUP = "224.0.0.251"
MDNS_PORT = 5353
LISTEN_SECONDS = 1.5
"""How long answers of other hosts are waited for: they come within 0.1 s, busy ones 0.5 s."""
GET_ADDRESS, GET_FLAGS = 0x8915, 0x8913
"""SIOCGIFADDR and SIOCGIFFLAGS of Linux' netdevice(7)."""
UP, MULTICAST = 0x1, 0x1000
FLAGS_OFFSET, ANSWER = 2, 0x80
"""Where a packet of DNS says that it is an answer (RFC 1035 §4.1.1)."""


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    address: str
    """Its first IPv4 address; empty: it has none."""
    flags: int

    def __str__(self) -> str:
        return f"{self.name} {self.address or '(no address)'}"


def interfaces() -> list[Interface]:
    """Of this host, as far as the system tells."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            flags = _control(probe, GET_FLAGS, name)
            address = _control(probe, GET_ADDRESS, name)
            found.append(
                Interface(
                    name,
                    "" if address is None else socket.inet_ntoa(address[20:24]),
                    0 if flags is None else struct.unpack("H", flags[16:18])[0],
                )
            )
    return found


def _control(probe: socket.socket, request: int, name: str) -> bytes | None:
    try:
        return fcntl.ioctl(probe.fileno(), request, struct.pack("256s", name.encode()[:15]))
    except OSError:
        return None


# ---- address and port ------------------------------------------------------------------------


def address(host: str) -> Finding:
    """Whether this host has the address that the peer is to listen on."""
    if is_wildcard(host):
        named = ", ".join(str(one) for one in interfaces() if one.address)
        text = f"every interface ({named}); others are told the one that leads to the network"
        return ok("address", text)
    literal = host
    if not is_literal(host):
        try:
            literal = str(socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as fault:
            text = f"{host} is no name of this host ({fault.strerror})"
            return error("address", text, "ip -brief address")
    for one in interfaces():
        is_its = one.address == literal or (one.name == "lo" and is_loopback(literal))
        if is_its and not one.flags & UP:
            text = f"{literal} cannot be used: the interface {one.name} is down"
            return error("address", text, f"sudo ip link set {one.name} up")
    family = socket.AF_INET6 if ":" in literal else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((literal.partition("%")[0], 0))
    except OSError as fault:
        return _no_address(literal, fault)
    return ok("address", f"{literal} is an address of this host")


def _no_address(host: str, fault: OSError) -> Finding:
    known = sorted(interfaces(), key=lambda one: is_loopback(one.address))
    named = ", ".join(str(one) for one in known if one.address) or "none"
    text = f"this host has no address {host} ({fault.strerror}); it has {named}"
    first = next((one.address for one in known if one.address), "127.0.0.1")
    return error("address", text, f"mabeam up --listen {first}:0")


def port(host: str, number: int, own_process: int | None) -> Finding:
    """Whether the port is free, or whose it is. own_process: the daemon, which may have it."""
    if number == 0:
        return skipped("port", "none is named or was had before: a free one is taken")
    name = join_address(host, number)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As ZeroMQ does: connections that are just closing do not hold a port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
            probe.listen(1)
    except OSError as fault:
        return _port_taken(name, number, fault, own_process)
    return ok("port", f"{name} is free")


def _port_taken(name: str, number: int, fault: OSError, own_process: int | None) -> Finding:
    if fault.errno == errno.EACCES:
        text = f"{name} is not allowed for this user"
        return error("port", text, f"mabeam up --listen {name.rpartition(':')[0]}:7946")
    if fault.errno != errno.EADDRINUSE:
        return error("port", f"{name} cannot be had: {fault.strerror}", "ip -brief address")
    holder = holder_of(number)
    if holder is not None and holder.process == own_process:
        return ok("port", f"{name} is the daemon's own")
    if holder is None:
        text = f"{name} is taken by a process that is not this user's"
        return error("port", text, f"sudo ss -ltnp 'sport = :{number}'")
    text = f"{name} is taken by process {holder.process} ({holder.command})"
    return error("port", text, advice(holder.process))


# ---- multicast -------------------------------------------------------------------------------


@dataclass
class Heard:
    """What came back to one question."""

    own: bool = False
    others: dict[str, bool] = field(default_factory=dict)
    """By address: whether it announced our service."""


def multicast(host: str) -> Iterator[Finding]:
    """Whether a question goes out by the interface of `host`, comes back, and is answered by
    another host. host: an IPv4 address; multicast on others is not looked at."""
    local = "127.0.0.1" if is_loopback(host) else host
    if ":" in local or is_wildcard(local) or not is_literal(local):
        yield skipped("multicast", f"looked at on one IPv4 address only, not on {host}")
        return
    interface = next((one for one in interfaces() if one.address == local), None)
    name = interface.name if interface else "eth0"
    if interface and not is_loopback(local) and not interface.flags & MULTICAST:
        text = f"the interface {interface} does no multicast"
        yield error("multicast", text, f"sudo ip link set dev {name} multicast on")
        return
    try:
        heard = _ask(local)
    except OSError as fault:
        yield _fault_of_multicast(fault, str(interface or local), name)
        return
    if not heard.own:
        text = f"a question on {interface or local} did not come back to this host"
        allow = f"sudo nft insert rule inet filter input udp dport {MDNS_PORT} accept"
        yield error("multicast", f"{text}: a firewall drops UDP {MDNS_PORT}", allow)
        return
    yield ok("multicast", f"questions leave by {interface or local} and are heard here")
    if not is_loopback(local):
        yield _neighbours(heard, local)


def _neighbours(heard: Heard, local: str) -> Finding:
    peers = sorted(one for one, is_ours in heard.others.items() if is_ours)
    if peers:
        return ok("neighbours", f"peers announce themselves from {', '.join(peers)}")
    there = "on the other host, with this peer's port, and --join CODE if it is new"
    seed = f"mabeam up --seed {local}:PORT    # {there}"
    if heard.others:
        text = f"{', '.join(sorted(heard.others))} can be heard, but no peer is announced there"
    else:
        text = "no other host was heard: there is none, or multicast does not pass between hosts"
    return warning("neighbours", text, seed)


def _fault_of_multicast(fault: OSError, where: str, name: str) -> Finding:
    match fault.errno:
        case errno.EADDRINUSE:
            text = f"another program keeps UDP {MDNS_PORT} for itself"
            return error("multicast", text, f"sudo ss -lunp 'sport = :{MDNS_PORT}'")
        case errno.ENETUNREACH | errno.ENODEV | errno.EADDRNOTAVAIL:
            text = f"there is no way for multicast from {where} ({fault.strerror})"
            return error("multicast", text, f"sudo ip route add 224.0.0.0/4 dev {name}")
        case errno.EPERM:
            allow = f"sudo nft insert rule inet filter output udp dport {MDNS_PORT} accept"
            text = f"a firewall of this host refuses what is sent to UDP {MDNS_PORT}"
            return error("multicast", text, allow)
        case _:
            text = f"multicast from {where} fails: {fault.strerror}"
            return error("multicast", text, "ip -brief address; ip maddress")


def _ask(local: str) -> Heard:
    """Ask for peers of any cluster on the interface of `local`. Raises OSError."""
    question = secrets.token_bytes(2) + _question()
    heard = Heard()
    own = {one.address for one in interfaces()} | {local}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        link.bind(("", MDNS_PORT))
        member = socket.inet_aton(GROUP) + socket.inet_aton(local)
        link.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(local))
        link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        link.sendto(question, (GROUP, MDNS_PORT))
        ends_at = time.monotonic() + LISTEN_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(link, selectors.EVENT_READ)
            # On loopback there is nobody else to wait for.
            while (left := ends_at - time.monotonic()) > 0 and not (
                heard.own and is_loopback(local)
            ):
                if selector.select(left):
                    _take(link.recvfrom(9000), question, own, heard)
    return heard


def _take(
    packet: tuple[bytes, tuple[str, int]], question: bytes, own: set[str], heard: Heard
) -> None:
    data, (source, _) = packet
    if data == question:
        heard.own = True
    elif source not in own:
        # Whoever asks names the service, too, with the answers that it has already.
        is_answer = len(data) > FLAGS_OFFSET and bool(data[FLAGS_OFFSET] & ANSWER)
        is_ours = is_answer and SERVICE_TYPE.split(".")[0].encode() in data
        heard.others[source] = heard.others.get(source, False) or is_ours


def _question() -> bytes:
    """For pointers to our service (RFC 6762 §5.1), behind the identifier."""
    labels = SERVICE_TYPE.rstrip(".").split(".")
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels)
    pointer, internet = 12, 1
    return struct.pack("!5H", 0, 1, 0, 0, 0) + name + b"\0" + struct.pack("!2H", pointer, internet)
