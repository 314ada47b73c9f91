"""Addresses that the user named. Suggested again and again, as a seed may start later than we."""

import asyncio
import logging
import random
import socket
from collections.abc import Callable
from contextlib import suppress

from mabeam_p2p.addresses import is_literal, join_address, split_address
from mabeam_p2p.discovery.threads import off_loop
from mabeam_p2p.errors import AddressError

ROUND_SECONDS = 1.0
ROUND_SECONDS_MAX = 30.0
"""Between two rounds over all seeds; doubles from the first to the second."""
LOOKUP_SECONDS_MAX = 5.0
"""How long one round waits for a name server."""
ADDRESSES_PER_SEED_MAX = 16

_log = logging.getLogger(__name__)


class SeedDiscovery:
    """The Discovery of `ports` for a fixed list of HOST:PORT."""

    def __init__(self, seeds: tuple[str, ...]) -> None:
        """Raises AddressError for what is no address."""
        self._seeds = tuple(map(split_address, seeds))
        for text, (_, port) in zip(seeds, self._seeds, strict=True):
            if port == 0:
                raise AddressError(f"seed {text!r} needs the port on which the other peer listens")
        self._unknown: dict[str, None] = {}
        """Names that were not found when last looked up, to warn once for each."""
        self._task: asyncio.Task[None] | None = None

    async def start(self, suggest: Callable[[tuple[str, ...]], None]) -> None:
        self._task = asyncio.create_task(self._repeat(suggest), name="seeds")

    def moved(self, address: str) -> None:
        """Where this peer is reached is nothing to where it looks."""

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _repeat(self, suggest: Callable[[tuple[str, ...]], None]) -> None:
        pause = ROUND_SECONDS
        while True:
            found = await asyncio.gather(*(self._find(*seed) for seed in self._seeds))
            addresses = tuple(address for each in found for address in each)
            if addresses:
                suggest(addresses)
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, ROUND_SECONDS_MAX)

    async def _find(self, host: str, port: int) -> tuple[str, ...]:
        if is_literal(host):
            return (join_address(host, port),)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS_MAX):
                found = await off_loop(
                    lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                )
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError.
            if host not in self._unknown:
                self._unknown[host] = None
                _log.warning("seed %s: name not found (%s); looking again later", host, error)
            return ()
        self._unknown.pop(host, None)
        hosts = dict.fromkeys(str(entry[4][0]) for entry in found)
        return tuple(join_address(each, port) for each in hosts)[:ADDRESSES_PER_SEED_MAX]
