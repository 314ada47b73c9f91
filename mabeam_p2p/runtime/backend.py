"""A peer for code that runs on the peer's own loop, as in the daemon."""

import asyncio
from collections.abc import Callable

from mabeam_p2p.events import Event
from mabeam_p2p.requests import Answer, Request
from mabeam_p2p.runtime.driver import Driver, Reply


class Asked(asyncio.Future[Answer]):
    """The answer to come. Cancelling it tells `withdraw`, so that the peer forgets the request."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, request: Request, withdraw: Callable[["Asked"], None]
    ) -> None:
        super().__init__(loop=loop)
        self.request = request
        self.token = 0
        """The driver's number of the request, once it has one."""
        self._withdraw = withdraw

    def cancel(self, msg: object = None) -> bool:
        is_cancelled = super().cancel(msg)
        if is_cancelled:
            self._withdraw(self)
        return is_cancelled

    def settle(self, reply: Reply) -> None:
        """Let those who wait have the reply, unless they have gone."""
        if self.done():
            return
        if isinstance(reply, Exception):
            self.set_exception(reply)
            self.exception()  # Nobody has to await it: the peer's end is known otherwise too.
        else:
            self.set_result(reply)


class LoopBackend:
    """The Backend of `ports` on the driver's loop. The driver must have been started."""

    def __init__(self, driver: Driver) -> None:
        self.peer = driver.peer
        self.peer_name = driver.name
        self.cluster = driver.cluster
        self._driver = driver
        self._loop = asyncio.get_running_loop()

    def ask(self, request: Request) -> Asked:
        asked = Asked(self._loop, request, self._cancel)
        asked.token = self._driver.ask(request, asked.settle)
        return asked

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        return self._driver.listen(listener)

    async def close(self) -> None:
        await self._driver.close()

    def _cancel(self, asked: Asked) -> None:
        self._driver.cancel(asked.token)
