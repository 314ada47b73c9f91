"""Peers, and the two ways to an agent, without `await`."""

from collections.abc import Iterable, Mapping
from types import TracebackType

from mabeam_p2p.api import connecting
from mabeam_p2p.api import peer as peers
from mabeam_p2p.api.fitness import Score
from mabeam_p2p.api.joining import START_SECONDS
from mabeam_p2p.api.leases import LEASE_SECONDS
from mabeam_p2p.api.results import Leader, Member, PeerStatus
from mabeam_p2p.blocking.agent import Agent
from mabeam_p2p.blocking.loop import LOOP
from mabeam_p2p.config import Config
from mabeam_p2p.key_requests import INVITE_SECONDS


class Peer:
    def __init__(self, config: Config | None = None, *, score: Score | None = None) -> None:
        self._own = peers.Peer(config, score=score)
        self.config = self._own.config

    @property
    def name(self) -> str:
        return self._own.name

    @property
    def id(self) -> str:
        return self._own.id

    def start(self) -> None:
        LOOP.run(self._own.start())

    def agent(
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
        own = self._own.agent(
            name,
            groups=groups,
            capabilities=capabilities,
            participates_in_consensus=participates_in_consensus,
            eligible=eligible,
            vote_manually=vote_manually,
            lease=lease,
            timeout=timeout,
        )
        return Agent(LOOP.run(own))

    def status(self) -> PeerStatus:
        return LOOP.run(self._own.status())

    def members(self) -> tuple[Member, ...]:
        return LOOP.call(self._own.members)

    def set_score(self, score: float, *, unfit: str = "") -> None:
        LOOP.run(self._own.set_score(score, unfit=unfit))

    @property
    def score_faults(self) -> int:
        return self._own.score_faults

    def invite(self, *, seconds: float = INVITE_SECONDS, once: bool = False) -> str:
        return LOOP.run(self._own.invite(seconds=seconds, once=once))

    def transfer_leadership(
        self, peer: str | None = None, *, timeout: float | None = None
    ) -> Leader:
        return LOOP.run(self._own.transfer_leadership(peer, timeout=timeout))

    def close(self) -> None:
        LOOP.run(self._own.close())

    def __enter__(self) -> "Peer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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
) -> Agent:
    """As `mabeam_p2p.join`: `agent = join(...)`, or `with join(...) as agent`."""
    joining = peers.join(
        name,
        cluster=cluster,
        group=group,
        seeds=seeds,
        expect=expect,
        listen=listen,
        data_dir=data_dir,
        mdns=mdns,
        join_code=join_code,
        insecure_plaintext=insecure_plaintext,
        score=score,
        capabilities=capabilities,
        participates_in_consensus=participates_in_consensus,
        eligible=eligible,
        lease=lease,
        timeout=timeout,
    )
    return Agent(LOOP.run(joining.__aenter__()))


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
) -> Agent:
    """As `mabeam_p2p.connect`: `agent = connect(...)`, or `with connect(...) as agent`. The lease
    is kept on a thread of its own, which the caller's work does not block."""
    joining = connecting.connect(
        name,
        cluster=cluster,
        addr=addr,
        group=group,
        groups=groups,
        capabilities=capabilities,
        participates_in_consensus=participates_in_consensus,
        eligible=eligible,
        vote_manually=vote_manually,
        lease=lease,
        timeout=timeout,
    )
    return Agent(LOOP.run(joining.__aenter__()))
