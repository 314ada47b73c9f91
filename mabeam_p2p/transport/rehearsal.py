"""Before a peer speaks under another key: who would let it in? Every target of its links is asked
again and again, under the key to come, until it does.

What is said under a key that the other end has not heard of is lost; and if who says it leads,
nobody else could tell it. So whoever rotates its key does it once the others know the new one.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from mabeam_p2p.ports import KeyPair
from mabeam_p2p.transport.introductions import JoinPort

ROUND_SECONDS = 0.1
ROUND_SECONDS_MAX = 2.0
"""Between two rounds; doubles from the first to the second."""


class Rehearsal:
    """Begins when it is made, and goes on until `end`."""

    def __init__(
        self,
        port: JoinPort,
        addresses: Callable[[], tuple[str, ...]],
        pair: KeyPair,
        heard: Callable[[bytes], None],
    ) -> None:
        """addresses: where targets are, at the moment. heard: told the key of whoever lets this
        peer in under `pair`."""
        self._port = port
        self._addresses = addresses
        self._pair = pair
        self._heard = heard
        self._done: dict[str, None] = {}
        self._asking: dict[str, Callable[[], None]] = {}
        self._pause = ROUND_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._round()

    def end(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asking, self._asking = self._asking, {}
        for end in asking.values():
            end()

    def _round(self) -> None:
        for address in self._addresses():
            if address not in self._done and address not in self._asking:
                ended = partial(self._ended, address)
                self._asking[address] = self._port.visit(address, ended, self._pair)
        self._timer = self._loop.call_later(self._pause, self._round)
        self._pause = min(2 * self._pause, ROUND_SECONDS_MAX)

    def _ended(self, address: str, found: tuple[bytes, int] | None, refusal: str) -> None:
        self._asking.pop(address, None)
        if found is not None:
            self._done[address] = None
            self._heard(found[0])
