"""What anybody can say by multicast DNS: packets made by hand, and a door to a discovery at which
every one of them is looked at."""

import asyncio
import itertools
import socket
import struct

from mabeam_p2p.config import SERVICE_TYPE
from mabeam_p2p.discovery import throttle
from mabeam_p2p.discovery.mdns import MdnsDiscovery
from tests.eventually import eventually

HERE = ("127.0.0.1", 9)


def label(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def name(*labels: bytes) -> bytes:
    return b"".join(map(label, labels)) + b"\x00"


def announcement(instance: bytes, text: bytes, address: tuple[str, int] = HERE) -> bytes:
    """What a stranger sends by multicast: PTR, SRV, TXT and A of one instance."""
    kind = [part.encode() for part in SERVICE_TYPE.rstrip(".").split(".")]
    own = name(instance, b"local")
    host, port = address
    records = (
        (name(*kind), 12, name(instance, *kind)),
        (name(instance, *kind), 33, struct.pack(">HHH", 0, 0, port) + own),
        (name(instance, *kind), 16, text),
        (own, 1, socket.inet_aton(host)),
    )
    head = struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0)
    return head + b"".join(
        owner + struct.pack(">HHIH", number, 1, 120, len(data)) + data
        for owner, number, data in records
    )


class Ear:
    """That of a discovery which was started. Its clock is turned, so that no packet is too much."""

    def __init__(self, discovery: MdnsDiscovery) -> None:
        self._discovery = discovery
        self._protocol: throttle.Throttle | None = None

    async def open(self) -> None:
        """Returns once it listens."""
        await eventually(lambda: self._discovery._stack)
        stack = self._discovery._stack
        assert stack is not None
        await stack.zeroconf.async_wait_for_start()

        def is_throttled() -> bool:
            for reader in stack.zeroconf.engine.readers:
                protocol = reader.transport.get_protocol()
                if isinstance(protocol, throttle.Throttle):
                    self._protocol = protocol
            return self._protocol is not None

        await eventually(is_throttled)
        assert self._protocol is not None
        self._protocol._clock = itertools.count(self._protocol._looked_at, 1.0).__next__

    def take(self, packet: bytes) -> None:
        assert self._protocol is not None
        self._protocol.datagram_received(packet, ("127.0.0.1", 5353))

    async def hear(self, packet: bytes) -> None:
        """Returns once it was decided what comes of it."""
        self.take(packet)
        await asyncio.sleep(0)
        await asyncio.gather(*self._discovery._resolving.values())
