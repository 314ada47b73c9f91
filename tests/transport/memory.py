"""A transport inside one process: the same port as ZeroMQ's, delivered by the loop."""

import asyncio
from collections.abc import Callable, Mapping

from mabeam_p2p.addresses import join_address
from mabeam_p2p.errors import AddressError
from mabeam_p2p.ids import PeerId


class Wire:
    """The addresses of one test."""

    def __init__(self) -> None:
        self.bound: dict[str, MemoryTransport] = {}
        self.next_port = 1


class MemoryTransport:
    def __init__(self, wire: Wire, address: str = "") -> None:
        if not address:
            address = join_address("127.0.0.1", wire.next_port)
            wire.next_port += 1
        if address in wire.bound:
            raise AddressError(f"cannot listen on {address}: another program has the port")
        wire.bound[address] = self
        self.address = address
        self.speaker: PeerId | None = None
        self.counters: Mapping[str, int] = {}
        self.wire = wire
        self.links: dict[str, str] = {}
        self.receive: Callable[[bytes], None] | None = None

    def start(
        self,
        receive: Callable[[bytes], None],
        fail: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.receive = receive

    def locate(self) -> str:
        return self.address

    def connect(self, target: str, address: str) -> None:
        self.links[target] = address

    def blame(self) -> None:
        pass

    def disconnect(self, target: str) -> None:
        self.links.pop(target, None)

    def send(self, target: str, data: bytes) -> bool:
        other = self.wire.bound.get(self.links.get(target, ""))
        if other is None:
            return False
        asyncio.get_running_loop().call_soon(other.deliver, data)
        return True

    def deliver(self, data: bytes) -> None:
        if self.receive is not None and self.wire.bound.get(self.address) is self:
            self.receive(data)

    def close(self) -> None:
        if self.wire.bound.get(self.address) is self:
            del self.wire.bound[self.address]
