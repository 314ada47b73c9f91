"""Agents that live in a process of their own and are attached to a daemon of this host."""

from collections.abc import Iterable, Mapping
from functools import partial

from mabeam_p2p.api import settings
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.joining import START_SECONDS, Joining, joined
from mabeam_p2p.api.leases import LEASE_SECONDS
from mabeam_p2p.api.profiles import profile_of


def connect(
    name: str | None,
    *,
    cluster: str | None = None,
    addr: str | None = None,
    group: str | None = None,
    groups: Iterable[str] = (),
    capabilities: Mapping[str, int] | None = None,
    participates_in_consensus: bool = True,
    eligible: bool = True,
    vote_manually: bool = False,
    lease: float | None = LEASE_SECONDS,
    timeout: float | None = START_SECONDS,
) -> Joining:
    """Attach an agent called `name` to a daemon of this host.

    Use it as `async with connect(...) as agent`, or `agent = await connect(...)` and `await
    agent.close()`. cluster: None takes `$MABEAM_CLUSTER`, files, or `default`. addr: a socket's
    path or a peer's name; None takes `$MABEAM_ADDR`, or the first daemon of the cluster that
    answers.
    name: None speaks for the daemon's own agent, which may propose, vote, write and read, and meets
    at no barrier. If the daemon goes away the agent attaches again by itself, with its session if
    that comes about in time. lease: seconds after which the cluster gives up an agent that says
    nothing, and releases what it holds; the agent speaks up by itself on this loop, so that a loop
    which is blocked for longer loses them: run long work in a thread (`asyncio.to_thread`), or take
    a longer one. None: nothing but the end of this process or of the daemon ends it. timeout:
    seconds to wait until a cluster exists and knows the agent. Timing and limits of the agent are
    those of the settings of this process: files and the environment.

    Raises DaemonNotRunning, ConfigError, InvalidName, InvalidValue, MabeamTimeout, NameTaken,
    Overloaded, PeerRefused.
    """

    async def begin() -> Agent:
        config = settings.load({"cluster": cluster}).config
        profile = None
        if name:
            member_of = (group, *groups) if group else tuple(groups)
            profile = profile_of(
                name, member_of, capabilities, participates_in_consensus, eligible, lease
            )
        limits, timing = config.limits, config.timing
        backend = AttachedBackend(name or "", cluster=config.cluster, addr=addr, limits=limits)
        attachment = Attachment(backend, limits=limits, timing=timing, begin=backend.open)
        opened = partial(_keep, backend)
        try:
            agent = await joined(
                attachment, profile, timeout=timeout, vote_manually=vote_manually, on_opened=opened
            )
        except BaseException:
            await attachment.close()
            raise
        agent.on_close = attachment.close
        return agent

    return Joining(begin)


def _keep(backend: AttachedBackend, agent: Agent) -> None:
    """From now on a daemon that is lost is one that is attached to again."""
    backend.on_lost = lambda: agent.lost(has_left=backend.has_left)
