"""A daemon with its dashboard, if it is to have one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from mabeam_p2p.cli import output
from mabeam_p2p.config import Config
from mabeam_p2p.daemon.host import Host


def check(config: Config) -> None:
    """Whether it can have the dashboard that it names. Makes nothing. Raises ConfigError,
    AddressError."""
    if config.dashboard:
        from mabeam_p2p.dashboard.serving import address_of

        address_of(config)


@asynccontextmanager
async def running(config: Config, host: Host) -> AsyncIterator[str | None]:
    """Within, the daemon runs; the URL of its dashboard, or None. What is wrong with that is said
    before the peer has begun. Raises ConfigError, AddressError, and what `host` does."""
    if not config.dashboard:
        async with host:
            yield None
        return
    # It needs an extra, which a peer without a dashboard does without.
    from mabeam_p2p.dashboard.serving import prepared

    with prepared(config) as dashboard:
        if dashboard.is_exposed:
            output.note(
                f"the dashboard listens on {dashboard.address}: others open it by an IP address of "
                "this host, or by its name as `hostname` prints it. It is plain HTTP: whoever can "
                "listen on the way reads along, the token too; behind a tunnel, as `ssh -L`, "
                "127.0.0.1 does",
                colour="yellow",
            )
        pages, ending = AsyncExitStack(), None
        try:
            async with host:
                await pages.enter_async_context(dashboard.serving(host.attachment))
                try:
                    yield dashboard.url
                finally:
                    # Side by side with the peer: pages that do not end must not keep it from
                    # telling its cluster.
                    ending = asyncio.create_task(pages.aclose(), name="end dashboard")
        finally:
            if ending is not None:
                await ending
