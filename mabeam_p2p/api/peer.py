"""Peers inside this process: each on a thread and loop of its own, so that a training step that
blocks the application does not silence it."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from types import TracebackType

from mabeam_p2p import assembly
from mabeam_p2p.api import settings
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.fitness import Score, ScoreWatch, ready, set_fitness, transferred
from mabeam_p2p.api.joining import START_SECONDS, Joining, joined, raise_if_not_let_in
from mabeam_p2p.api.keys import invited
from mabeam_p2p.api.profiles import profile_of
from mabeam_p2p.api.results import Leader, Member, PeerStatus
from mabeam_p2p.config import Config
from mabeam_p2p.errors import Closed
from mabeam_p2p.key_requests import INVITE_SECONDS
from mabeam_p2p.runtime.thread import PeerThread


class Peer:
    """A peer that hosts agents of this process. Enter it with `async with`, or `start` and
    `close`. One that is forgotten is closed when the interpreter ends."""

    def __init__(self, config: Config | None = None, *, score: Score | None = None) -> None:
        """config: None gathers the settings from the environment and files. score: asked each
        `timing.score_interval_seconds` how fit this peer is to lead, 0..100; what is no score is
        counted, logged, and changes nothing. Raises ConfigError.
        """
        self.config = settings.load().config if config is None else settings.complete(config)
        self._score = score
        self._watch: ScoreWatch | None = None
        self._attachment: Attachment | None = None
        self._agents: list[Agent] = []
        self._closing: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def id(self) -> str:
        return str(self._running.backend.peer)

    async def start(self) -> None:
        """Begin to take part. Call once. Raises AddressError, StorageError, ConfigError, and
        AuthenticationError if the inviter refuses so soon."""
        thread = PeerThread(partial(assembly.build, self.config))
        await thread.start()
        attachment = Attachment(
            thread.backend(), limits=self.config.limits, timing=self.config.timing
        )
        try:
            await attachment.read_anew()
        except BaseException as error:
            await attachment.close()
            raise_if_not_let_in(error)
            raise
        self._attachment = attachment
        score = self._score or ready(self.config.score_by, attachment)
        if score is not None:
            self._watch = ScoreWatch(attachment, score)
            self._watch.begin()

    async def agent(
        self,
        name: str,
        *,
        groups: Iterable[str] = (),
        capabilities: Mapping[str, int] | None = None,
        participates_in_consensus: bool = True,
        eligible: bool = True,
        vote_manually: bool = False,
        lease: float | None = None,
        timeout: float | None = START_SECONDS,
    ) -> Agent:
        """An agent `name@peer`; returns when the cluster knows it.

        lease: as of `connect`; None leaves it to the cluster to notice this peer's end. timeout:
        seconds to wait for a cluster. Raises InvalidName, InvalidValue, MabeamTimeout, NameTaken,
        PeerRefused, AuthenticationError.
        """
        profile = profile_of(name, groups, capabilities, participates_in_consensus, eligible, lease)
        agent = await joined(self._running, profile, timeout=timeout, vote_manually=vote_manually)
        # Those that have ended are not kept: a peer may outlive any number of them.
        self._agents = [one for one in self._agents if not one.is_closed]
        self._agents.append(agent)
        return agent

    async def status(self) -> PeerStatus:
        """The present state of this peer in the log."""
        return PeerStatus.of(await self._running.status())

    def members(self) -> tuple[Member, ...]:
        """Every peer that this one knows, itself included."""
        return self._running.view.members()

    async def set_score(self, score: float, *, unfit: str = "") -> None:
        """How fit this peer is to lead from now on, 0..100, in place of `config.score`. unfit: why
        it is not to lead at all until this is said without; it votes all the same. Both end with
        the peer. A function that gives the score goes on giving it. Raises InvalidValue."""
        await set_fitness(self._running, score, unfit)

    @property
    def score_faults(self) -> int:
        """How often the function that gives the score has raised, or given something else."""
        return 0 if self._watch is None else self._watch.fault_count

    async def invite(self, *, seconds: float = INVITE_SECONDS, once: bool = False) -> str:
        """As `Keys.invite`, also before there is a cluster."""
        return await invited(self._running, seconds, once)

    async def transfer_leadership(
        self, peer: str | None = None, *, timeout: float | None = None
    ) -> Leader:
        """As `Agent.transfer_leadership`."""
        return await transferred(self._running, peer, timeout)

    async def close(self) -> None:
        """Leave the cluster gracefully, agents first; who leads hands over. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="close peer")
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> "Peer":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _close(self) -> None:
        if self._watch is not None:
            await self._watch.close()
        if self._attachment is not None:
            live = [agent for agent in self._agents if not agent.is_closed]
            await asyncio.gather(*(agent.close() for agent in live))
            await self._attachment.close()

    @property
    def _running(self) -> Attachment:
        if self._attachment is None or self._closing is not None:
            state = "has not been started" if self._attachment is None else "has been closed"
            raise Closed(f"peer {self.name} {state}: use it within `async with Peer(...)`")
        return self._attachment


def join(
    name: str,
    *,
    cluster: str | None = None,
    group: str | None = None,
    seeds: Iterable[str] | None = None,
    expect: int | None = None,
    listen: str | None = None,
    data_dir: str | None = None,
    mdns: bool | None = None,
    join_code: str | None = None,
    insecure_plaintext: bool | None = None,
    score: int | Score | None = None,
    capabilities: Mapping[str, int] | None = None,
    participates_in_consensus: bool | None = None,
    eligible: bool | None = None,
    lease: float | None = None,
    timeout: float | None = START_SECONDS,
) -> Joining:
    """Become a peer of this process with one agent, both called `name`.

    Use it as `async with join(...) as agent`, or `agent = await join(...)` and `await
    agent.close()`. What is not given comes from the environment, files and the built-in values;
    `Peer` takes a whole Config. group: the agent's, beside `all`. data_dir: None takes the user's
    state folder, ":memory:" keeps nothing. join_code: by which a peer on another host, or of
    another user, lets this one in; it names the cluster, too. lease: as of `connect`; None leaves
    it to the cluster to notice this peer's end. score: how fit the peer is to lead, or a function
    as of `Peer`. timeout: seconds to wait until a cluster exists and knows the agent.

    Raises ConfigError, AddressError, StorageError, MabeamTimeout, NameTaken, PeerRefused, and
    AuthenticationError if the peer that gave out the code does not let this one in.
    """
    given: dict[str, object] = {
        "name": name,
        "cluster": cluster,
        "seeds": seeds if seeds is None or isinstance(seeds, str) else tuple(seeds),
        "expect": expect,
        "listen": listen,
        "data_dir": data_dir,
        "mdns": mdns,
        "join_code": join_code,
        "insecure_plaintext": insecure_plaintext,
        "score": None if callable(score) else score,
        "participates_in_consensus": participates_in_consensus,
        "eligible": eligible,
    }

    scorer = score if callable(score) else None
    return Joining(partial(_begin, name, given, scorer, group, capabilities, lease, timeout))


async def _begin(
    name: str,
    given: Mapping[str, object],
    scorer: Score | None,
    group: str | None,
    capabilities: Mapping[str, int] | None,
    lease: float | None,
    timeout: float | None,
) -> Agent:
    """A peer of its own for one agent of the same name, which takes it along at its end."""
    config = settings.load(given).config
    peer = Peer(config, score=scorer)
    try:
        await peer.start()
        agent = await peer.agent(
            name,
            groups=() if group is None else (group,),
            capabilities=capabilities,
            participates_in_consensus=config.participates_in_consensus,
            eligible=config.eligible,
            lease=lease,
            timeout=timeout,
        )
    except BaseException:
        await peer.close()
        raise
    agent.on_close = peer.close
    return agent
