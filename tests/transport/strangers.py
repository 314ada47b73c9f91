"""Who knocks at a port, by each mechanism and under each key."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import zmq
from zmq.utils.monitor import parse_monitor_message

from mabeam_p2p.security.keyring import KeyPair
from mabeam_p2p.transport.curve import as_client
from tests.eventually import eventually
from tests.transport.guarded import CANARY

Prepare = Callable[["zmq.Socket[bytes]"], None]
"""Of a socket that is about to connect."""

ENDS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


class Stranger:
    """A DEALER of the test's own, what it has to say, and the end of its first handshake."""

    def __init__(
        self, address: str, prepare: Prepare, said: Sequence[bytes] = (CANARY,) * 3
    ) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = 0
        self._monitor = self.socket.get_monitor_socket()
        prepare(self.socket)
        self.socket.connect(f"tcp://{address}")
        # After some refusals libzmq gives up, and has nobody any more to say the rest to.
        with suppress(zmq.Again):
            for data in said:
                self.socket.send(data, zmq.NOBLOCK)
        self.event = 0

    async def ended(self) -> None:
        def look() -> bool:
            while self._monitor.poll(0):
                event = parse_monitor_message(self._monitor.recv_multipart())["event"]
                if event & ENDS:
                    self.event = int(event)
                    return True
            return False

        await eventually(look)

    def close(self) -> None:
        self.socket.disable_monitor()
        self._context.destroy(linger=0)


def in_plain_text(socket: "zmq.Socket[bytes]") -> None:
    """As it is."""


def with_a_password(socket: "zmq.Socket[bytes]") -> None:
    socket.plain_username, socket.plain_password = b"user", b"password"


def under(pair: KeyPair, server_key: bytes, routing_id: bytes = b"") -> Prepare:
    def prepare(socket: "zmq.Socket[bytes]") -> None:
        as_client(socket, pair, server_key)
        if routing_id:
            socket.setsockopt(zmq.ROUTING_ID, routing_id)

    return prepare
