"""What passes the cards of hosts, loopback included: every frame, and the streams that these make
up. It begins where a host has not said a word, and misses nothing, or says so."""

import asyncio
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple

from tests.network.lan import Host
from tests.network.namespaces import packet_socket

FRAME_BYTES_MAX = 1 << 18
"""More than a card that divides what is sent by itself is ever given at once."""
WAITING_BYTES_MAX = 1 << 26
"""As Linux counts them. It is taken in by the test's loop, which some calls hold up."""
SET_RECEIVE_BUFFER = 33
"""SO_RCVBUFFORCE of Linux' socket.h."""
SOL_PACKET, PACKET_STATISTICS = 263, 6
"""Of Linux' if_packet.h."""
ETHERNET_BYTES, UDP_BYTES = 14, 8
IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP = 6, 17
BEGINS = 0x02
"""The flag SYN."""
MDNS_PORT = 5353

Way = tuple[str, int, str, int]
"""From an address and a port to others."""


class Packet(NamedTuple):
    """Of TCP or UDP, with its header."""

    kind: int
    source: str
    target: str
    content: bytes


class Stream:
    """One direction of one connection, in pieces that may come twice and in any order."""

    def __init__(self, first: int) -> None:
        """first: the number of its first byte."""
        self.first = first
        self._pieces: dict[int, bytes] = {}
        """By place."""

    def put(self, number: int, piece: bytes) -> None:
        place = (number - self.first) % 2**32
        # What is before the beginning, as a question whether somebody is there, is nothing.
        if place < 2**31 and len(piece) > len(self._pieces.get(place, b"")):
            self._pieces[place] = piece

    def content(self) -> bytes:
        """All of it: nothing may be missing in between."""
        whole = bytearray()
        for place, piece in sorted(self._pieces.items()):
            assert place <= len(whole), f"bytes {len(whole)} to {place} are missing"
            whole += piece[len(whole) - place :]
        return bytes(whole)


class Listener:
    """At one host."""

    def __init__(self, host: Host) -> None:
        self.frames: list[bytes] = []
        self.datagrams: list[tuple[str, int, bytes]] = []
        """From which address, to which port, and what."""
        self.streams: dict[Way, list[Stream]] = {}
        """A way may be gone by one connection after the other."""
        self._lost_count = 0
        self._looked_count = 0
        """Frames that are known as datagrams or in streams."""
        self._socket = packet_socket(host.namespace)
        self._socket.setblocking(False)
        with suppress(PermissionError):  # Root of a user's own namespace gets less.
            self._socket.setsockopt(socket.SOL_SOCKET, SET_RECEIVE_BUFFER, WAITING_BYTES_MAX)

    def fileno(self) -> int:
        return self._socket.fileno()

    def hear(self) -> None:
        """Take in what has come."""
        with suppress(BlockingIOError):
            while True:
                self.frames.append(self._socket.recv(FRAME_BYTES_MAX))
        told = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self._lost_count += struct.unpack("II", told)[1]

    def look(self) -> None:
        """Find out what it was."""
        self.hear()
        assert self._lost_count == 0, f"{self._lost_count} frames were missed"
        for frame in self.frames[self._looked_count :]:
            packet = _packet(frame)
            if packet is not None and packet.kind == UDP:
                port = int.from_bytes(packet.content[2:4], "big")
                self.datagrams.append((packet.source, port, packet.content[UDP_BYTES:]))
            elif packet is not None:
                self._take(packet)
        self._looked_count = len(self.frames)

    def _take(self, packet: Packet) -> None:
        source, target, number, _, size, flags = struct.unpack_from("!HHIIBB", packet.content)
        known = self.streams.setdefault((packet.source, source, packet.target, target), [])
        if flags & BEGINS:
            number = (number + 1) % 2**32
            if not known or known[-1].first != number:
                known.append(Stream(number))
        if piece := packet.content[(size >> 4) * 4 :]:
            assert known, "it began before anybody listened"
            known[-1].put(number, piece)

    def close(self) -> None:
        self._socket.close()


class Sniffer:
    """Listens at these hosts within the context, by the running loop."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = hosts
        self._listeners: list[Listener] = []
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> "Sniffer":
        for host in self._hosts:
            self._listeners.append(listener := Listener(host))
            self._loop.add_reader(listener, listener.hear)
        return self

    def __exit__(self, *failure: object) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()

    def announced(self, text: bytes) -> list[str]:
        """From which addresses that was said by mDNS."""
        self._look()
        said = [one for listener in self._listeners for one in listener.datagrams]
        found = (source for source, port, data in said if port == MDNS_PORT and text in data)
        return sorted(dict.fromkeys(found))

    def bytes_sent(self, source: Host, target: Host) -> int:
        """In all connections from the one to the other."""
        self._look()
        listener = self._listeners[0]
        return sum(
            len(stream.content())
            for way, streams in listener.streams.items()
            if (way[0], way[2]) == (source.address, target.address)
            for stream in streams
        )

    def everything(self) -> bytes:
        """Each frame as it was, and each stream as a whole."""
        self._look()
        return b"\n".join(self._parts())

    def _look(self) -> None:
        for listener in self._listeners:
            listener.look()

    def _parts(self) -> Iterator[bytes]:
        for listener in self._listeners:
            yield from listener.frames
            for streams in listener.streams.values():
                yield from (stream.content() for stream in streams)


def _packet(frame: bytes) -> Packet | None:
    """None: it is neither of TCP nor of UDP."""
    kind = int.from_bytes(frame[12:14], "big")
    content = frame[ETHERNET_BYTES:]
    if kind == IPV4:
        size = (content[0] & 15) * 4
        protocol, ends = content[9], (content[12:16], content[16:20])
        total = int.from_bytes(content[2:4], "big")
    elif kind == IPV6:
        size = 40
        protocol, ends = content[6], (content[8:24], content[24:40])
        total = size + int.from_bytes(content[4:6], "big")
    else:
        return None
    if protocol not in (TCP, UDP):
        return None
    # A short frame is filled up.
    inside = content[size : total or None]
    return Packet(protocol, str(ip_address(ends[0])), str(ip_address(ends[1])), inside)
