"""From a peer or a daemon to an agent that takes part."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType

from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.errors import (
    AuthenticationError,
    MabeamError,
    MabeamTimeout,
    PeerRefused,
)
from mabeam_p2p.events import Event, Refused
from mabeam_p2p.ids import PeerId

START_SECONDS = 60.0
"""How long joining waits for the cluster by default."""

REFUSAL_SECONDS = 3.0
"""How long the word of one peer waits for that of others: who is let in meanwhile is in."""


class Joining:
    """An agent to come: `agent = await joining`, or `async with joining as agent`."""

    def __init__(self, begin: Callable[[], Awaitable[Agent]]) -> None:
        self._begin = begin
        self._agent: Agent | None = None

    def __await__(self) -> Generator[object, None, Agent]:
        return self._begin().__await__()

    async def __aenter__(self) -> Agent:
        self._agent = await self._begin()
        return self._agent

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._agent is not None:
            await self._agent.close()


async def joined(
    attachment: Attachment,
    profile: Profile | None,
    *,
    timeout: float | None,
    vote_manually: bool = False,
    on_close: Callable[[], Awaitable[None]] | None = None,
    on_opened: Callable[[Agent], None] = lambda agent: None,
) -> Agent:
    """An agent whose session is open, at a peer that is ready: a cluster exists and knows it, and
    the peer has been given what the cluster has.

    on_opened: hears of it once its session is open. timeout: seconds, None for ever. Raises
    MabeamTimeout, which says how far the cluster has come; PeerRefused if members refuse this peer
    for good, or one does and nobody else lets it in within REFUSAL_SECONDS; AuthenticationError if
    its inviter does; NameTaken; DaemonNotRunning. The agent is closed then, without `on_close`.
    """
    agent = Agent(attachment, profile, vote_manually=vote_manually)
    loop = asyncio.get_running_loop()
    refusals: list[Refused] = []
    """The last one, if any."""
    final: dict[PeerId, Refused] = {}
    """Those for good, by whom."""
    refused = asyncio.Event()
    waits: list[asyncio.TimerHandle] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Refused):
            refusals[:] = [event]
            if event.fatal:
                final[event.peer] = event
                if event.peer == attachment.backend.peer or len(final) > 1:
                    refused.set()
                else:
                    waits.append(loop.call_later(REFUSAL_SECONDS, refused.set))

    end_listening = attachment.view.listen(on_event)
    opening = asyncio.create_task(_take_part(attachment, agent, on_opened), name="open session")
    waiting = asyncio.create_task(refused.wait(), name="refusal")
    try:
        await asyncio.wait({opening, waiting}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if final and not opening.done():
            raise _refusal(attachment, next(reversed(final.values())))
        if not opening.done():
            raise await _late(attachment, timeout, refusals)
        await opening
    except BaseException as error:
        # First: it would take the end of its session for a loss, and open another one.
        opening.cancel()
        await agent.close()
        raise_if_not_let_in(error)
        raise
    finally:
        end_listening()
        waiting.cancel()
        for timer in waits:
            timer.cancel()
    agent.on_close = on_close
    agent.begin()
    return agent


def raise_if_not_let_in(error: BaseException) -> None:
    """Raises what ended the peer, whatever was under way then, if its inviter did not let it in."""
    if isinstance(error.__cause__, AuthenticationError):
        raise error.__cause__ from None


async def _take_part(
    attachment: Attachment, agent: Agent, on_opened: Callable[[Agent], None]
) -> None:
    await agent.session.open()
    on_opened(agent)
    await attachment.read_anew()
    await attachment.view.until(lambda: attachment.view.ready)


def _refusal(attachment: Attachment, event: Refused) -> PeerRefused:
    advice = {
        "cluster": "check the cluster's name",
        "version": "the two releases are too far apart: install one that both can speak to",
        "machine": "install the release that the others have",
        "limits": "all peers of a cluster need the same: take those of the others",
        "name": "another live peer has this name: take another one",
        "repaired": "start it with an empty data folder, as a new peer",
        "revoked": "its key was revoked: let it join as a new peer, with an empty data folder",
        "identity": "two peers use one data folder, or a copy of one: give each its own",
    }
    return PeerRefused(
        f"peer {event.peer} refuses peer {attachment.peer_name}: "
        f"{event.detail or event.reason}; {advice.get(event.reason, 'see its log')}",
        reason=event.reason,
    )


async def _late(
    attachment: Attachment, timeout: float | None, refusals: list[Refused]
) -> MabeamTimeout:
    seconds = f"{timeout:g}" if timeout is not None else "?"
    try:
        async with asyncio.timeout(1.0):
            status = await attachment.status()
    except (MabeamError, TimeoutError):
        return MabeamTimeout(
            f"peer {attachment.peer_name} did not answer within {seconds} s: see its log"
        )
    if not status.cluster_id:
        return MabeamTimeout(
            f"no cluster {status.cluster!r} after {seconds} s: peer {status.name} at "
            f"{status.address} sees {status.alive_count} of the {status.expect} peers that it "
            "expects, itself included; start the others, give their addresses as seeds where mDNS "
            "does not reach, or expect fewer. Those of another host, user or cluster answer to a "
            "join code alone (`mabeam keys invite`)"
            + "".join(
                f". Peer {event.peer} refuses it (reason: {event.reason}): {event.detail}"
                for event in refusals
            )
        )
    leader = f"{status.leader_name} leads" if status.leader else "nobody leads"
    disk = "its data folder is full, " if status.disk_full else ""
    return MabeamTimeout(
        f"peer {status.name} could not join cluster {status.cluster!r} within {seconds} s: "
        f"{disk}{leader}, and {status.alive_count} members are alive; "
        "see `mabeam status` and `mabeam members` on another peer"
    )
