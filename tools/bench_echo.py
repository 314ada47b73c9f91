"""The floor of the bench: a DEALER and a ROUTER that echoes, with nothing above them.

Arguments: an address, and `server` or `client`.
"""

import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import assert_never

import zmq

from tools.bench_load import (
    ITEM,
    Order,
    Processor,
    Recorder,
    Role,
    Run,
    drive,
    hear_orders,
    processor_seconds,
    reply,
)

IDLE_MILLISECONDS = 5
"""How long the socket is waited for between two looks for an order."""


class End:
    """One end of the link: echoes as the server, loads as the client."""

    def __init__(self, address: str, role: str) -> None:
        self._role = role
        self._socket = zmq.Context().socket(zmq.ROUTER if role == "server" else zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.set_hwm(0)  # A ROUTER drops what is beyond its mark.
        if role == "server":
            self._socket.bind(f"tcp://{address}")
        else:
            self._socket.connect(f"tcp://{address}")
        self._waiting: deque[Callable[[bool], None]] = deque()
        self._orders: SimpleQueue[Order] = SimpleQueue()

    def serve(self) -> None:
        """Until the parent ends."""
        hear_orders(self._orders.put)
        while True:
            with suppress(Empty):
                self._obey(self._orders.get_nowait())
            if self._socket.poll(IDLE_MILLISECONDS):
                self._drain()

    def _obey(self, order: Order) -> None:
        match order:
            case Role():
                reply(self._role)
            case Processor():
                reply(processor_seconds())
            case Run():
                drive(Recorder(order), self._submit, reply)
            case _:
                assert_never(order)

    def _submit(self, end: Callable[[bool], None]) -> None:
        self._waiting.append(end)
        self._socket.send(ITEM)

    def _drain(self) -> None:
        with suppress(zmq.Again):
            while True:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
                if self._role == "server":
                    self._socket.send_multipart(parts)
                else:
                    self._waiting.popleft()(True)


if __name__ == "__main__":
    End(sys.argv[1], sys.argv[2]).serve()
