"""Which daemon a verb talks to, and how every verb is run: the options they share."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec

import click

from mabeam_p2p.api import leases, settings
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.connecting import connect
from mabeam_p2p.api.joining import START_SECONDS
from mabeam_p2p.cli import output
from mabeam_p2p.config import Config
from mabeam_p2p.errors import DaemonNotRunning, InvalidName, MabeamTimeout
from mabeam_p2p.ids import CLUSTER_SESSION, GROUP_ALL, check_key, check_name

P = ParamSpec("P")


@dataclass(frozen=True)
class Target:
    """A daemon, as the command line names it. `addr` None: the first of the cluster that
    answers."""

    cluster: str
    addr: str | None
    timeout: float | None
    """Seconds for the whole verb; None: the verb's own."""
    as_json: bool
    config: Config = field(default_factory=Config)
    """The settings here: timing and limits of what is asked."""

    @asynccontextmanager
    async def attach(
        self,
        name: str | None = None,
        *,
        eligible: bool = False,
        group: str = GROUP_ALL,
        lease: float | None = leases.LEASE_SECONDS,
    ) -> AsyncIterator[Agent]:
        """An agent at that daemon that has no vote, once the peer is ready. Without a name it
        speaks for the daemon's own agent. eligible: it can be elected, in `group`."""
        joining = connect(
            name,
            cluster=self.cluster,
            addr=self.addr,
            group=None if group == GROUP_ALL else group,
            participates_in_consensus=False,
            eligible=eligible,
            lease=lease,
            timeout=START_SECONDS if self.timeout is None else self.timeout,
        )
        with output.patience(
            f"waiting for cluster {self.cluster!r} to have a leader, with room on its disk: see "
            "`mabeam status`"
        ):
            agent = await joining
        async with agent:
            yield agent

    @asynccontextmanager
    async def look(self) -> AsyncIterator[Agent]:
        """The daemon's view at once: also where no cluster has formed, or no quorum is left.

        Streams end when the daemon goes; then, at the end, raises DaemonNotRunning.
        """
        endings: list[asyncio.Task[None]] = []
        async with self.question(lambda: endings.append(end_soon())) as attachment:
            agent = Agent(attachment, None)

            def end_soon() -> asyncio.Task[None]:
                return asyncio.create_task(agent.close(), name="daemon has gone")

            await attachment.read_anew()
            try:
                yield agent
            finally:
                await agent.close()
            if endings:
                raise DaemonNotRunning(f"the daemon of peer {agent.peer} has gone")

    @asynccontextmanager
    async def question(
        self, on_lost: Callable[[], object] = lambda: None
    ) -> AsyncIterator[Attachment]:
        """A connection for what no agent is needed for. on_lost: called if the daemon goes."""
        limits, timing = self.config.limits, self.config.timing
        backend = AttachedBackend("", cluster=self.cluster, addr=self.addr, limits=limits)
        backend.on_lost = on_lost
        await backend.open(CLUSTER_SESSION)
        attachment = Attachment(backend, limits=limits, timing=timing)
        try:
            yield attachment
        finally:
            await attachment.close()


Verb = Callable[Concatenate[Target, P], Coroutine[object, object, None]]


def verb(function: Verb[P]) -> Callable[P, None]:
    """Run a verb against a daemon: adds --json, --cluster, --addr, --timeout, which bounds it."""

    async def bounded(target: Target, /, *arguments: P.args, **options: P.kwargs) -> None:
        try:
            async with asyncio.timeout(target.timeout) as deadline:
                await function(target, *arguments, **options)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise MabeamTimeout(
                f"not done within --timeout {target.timeout:g} s: give it more, or see `mabeam "
                "status` for a leader and a quorum"
            ) from error

    functools.update_wrapper(bounded, function)
    return primitive(bounded)


def primitive(function: Verb[P]) -> Callable[P, None]:
    """As `verb`, for what has a deadline in the cluster: --timeout is that, and the verb waits for
    what the cluster says of it."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @click.option(
        "--cluster",
        envvar="MABEAM_CLUSTER",
        help="Name of the cluster.  [default: as in the settings, else default]",
    )
    @click.option(
        "--addr",
        envvar="MABEAM_ADDR",
        metavar="PEER|PATH",
        help="Daemon to talk to: a peer's name on this host, or a socket's path."
        "  [default: the first that answers]",
    )
    @click.option(
        "--timeout",
        envvar="MABEAM_TIMEOUT",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="How long the command may take, or wait in the cluster.  [default: the verb's own]",
    )
    @functools.wraps(function)
    def run(
        as_json: bool,
        cluster: str | None,
        addr: str | None,
        timeout: float | None,
        *arguments: P.args,
        **options: P.kwargs,
    ) -> None:
        with output.endings():
            config = settings.load({"cluster": cluster}).config
            target = Target(config.cluster, addr, timeout, as_json, config)
            asyncio.run(function(target, *arguments, **options))

    # Wrapping made the target look like an argument of the command line.
    return run  # type: ignore[return-value]


def key(text: str) -> str:
    """The name of a parameter, variable or barrier, as an argument."""
    try:
        return check_key(text)
    except InvalidName as error:
        raise click.BadParameter(str(error)) from error


def name(text: str) -> str:
    """The name of an agent or a group, as an argument."""
    try:
        return check_name(text)
    except InvalidName as error:
        raise click.BadParameter(str(error)) from error


def value(text: object) -> object:
    """A value, as an argument."""
    return output.given(text) if isinstance(text, str) else text
