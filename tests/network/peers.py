"""`mabeam up` on hosts, each with folders of its own, as on machines that share nothing."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

import mabeam_p2p
from mabeam_p2p.addresses import join_address
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.config import Timing
from mabeam_p2p.errors import Closed, DaemonNotRunning
from mabeam_p2p.ids import CLUSTER_SESSION, PeerId
from mabeam_p2p.records import Member, MemberState, Status
from mabeam_p2p.requests import Answer, Members, ReadMembers, ReadStatus, Request, StatusAnswer
from tests.network.lan import Host, Process

SECONDS = 90.0
"""Deadline of every wait: reached by a failure only, however busy the machine is."""
ANSWER_SECONDS = 10.0
LOOK_SECONDS = 0.05
PORT = 7946

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = SECONDS) -> T:
    """What `look` gives once it is true. `what`: for the failure."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(LOOK_SECONDS)
    return found


async def line(process: Process, event: str) -> dict[str, object]:
    """What it prints of that, once it does."""

    async def said() -> dict[str, object] | None:
        assert process.is_running, process.said()
        lines = [msgspec.json.decode(one, type=dict[str, object]) for one in process.lines()]
        return next((one for one in lines if one["event"] == event), None)

    return await until(said, event)


def at_its_address(host: Host) -> str:
    return join_address(host.address, PORT)


class Peer:
    """One daemon, over all its lives: its identity and its log stay on its host."""

    def __init__(self, host: Host, cluster: "Cluster", name: str) -> None:
        self.host = host
        self.name = name
        self.process: Process | None = None
        self.peer = PeerId("")
        """Known once it has listened."""
        self.address = ""
        """Where it listens in its present life."""
        self.began = 0.0
        """When its present life began, by the monotonic clock."""
        self._cluster = cluster
        self._folder = host.folder
        self._backend: AttachedBackend | None = None

    def __repr__(self) -> str:
        return f"<{self.name} at {self.address}>"

    @property
    def socket(self) -> str:
        """Local sockets are files, so that it can be asked from outside of its host, too."""
        return str(self._folder / "run" / "mabeam" / self._cluster.name / f"{self.name}.sock")

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_running

    def environment(self) -> dict[str, str]:
        """Of whatever runs on its host as its user."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MABEAM_", "XDG_"))}
        (self._folder / "run").mkdir(mode=0o700, exist_ok=True)
        return kept | {
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder / "run"),
            # As of one user whose home is on all hosts: they share the join secret.
            "XDG_STATE_HOME": str(self._cluster.state),
            "XDG_CONFIG_HOME": str(self._folder / "config"),
            "PYTHONPATH": str(Path(mabeam_p2p.__file__).parent.parent),
            "MABEAM_TIMING__DEAD_SECONDS": str(self._cluster.dead_seconds),
        }

    def begin(self, *flags: str, listen: str | None = None) -> None:
        """Start it and wait for nothing. listen: where, if not where its cluster says."""
        assert not self.is_running, f"{self.name} runs already"
        listen = self._cluster.listen(self.host) if listen is None else listen
        self.address, self.began = "", time.monotonic()
        words = ["up", "--json", "--verbose", *self.flags(listen), *flags]
        self.process = self.host.mabeam(*words, environment=self.environment())

    def flags(self, listen: str) -> list[str]:
        """Of `mabeam up`, for it to be what it is here."""
        own = ["--name", self.name, "--cluster", self._cluster.name, "--listen", listen]
        return [*own, *self._cluster.flags(self)]

    async def listening(self) -> str:
        """The address where it listens."""
        told = await until(self._told, f"{self.name} listens")
        self.peer, self.address = PeerId(told[0]["peer"]), told[0]["address"]
        return self.address

    async def ready(self) -> None:
        await self.listening()
        await until(self._has_said_ready, f"{self.name} is ready")

    async def _told(self) -> list[dict[str, str]]:
        assert self.process is not None
        assert self.process.is_running, f"{self.name} ended: {self.process.said()}"
        lines = [msgspec.json.decode(line, type=dict[str, object]) for line in self.process.lines()]
        return [{key: str(value) for key, value in line.items()} for line in lines]

    async def _has_said_ready(self) -> bool:
        return any(line["event"] == "ready" for line in await self._told())

    def kill(self) -> None:
        """kill -9: nobody hears a goodbye."""
        assert self.process is not None
        self.process.kill()

    def stop(self) -> int:
        """Leave the cluster, and end; its exit code."""
        assert self.process is not None
        self.process.signal(signal.SIGTERM)
        return self.process.wait()

    # ---- what it says ------------------------------------------------------------------------

    async def ask(self, request: Request) -> Answer | None:
        """None: it does not run, or says nothing."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._backend is None:
                    backend = AttachedBackend("", cluster=self._cluster.name, addr=self.socket)
                    self._backend = backend
                    await backend.open(CLUSTER_SESSION)
                return await self._backend.ask(request)
        except (DaemonNotRunning, Closed, TimeoutError):
            await self.look_away()
            return None

    async def status(self) -> Status | None:
        answer = await self.ask(ReadStatus())
        return answer.status if isinstance(answer, StatusAnswer) else None

    async def members(self) -> dict[PeerId, Member]:
        answer = await self.ask(ReadMembers())
        known = answer.members if isinstance(answer, Members) else ()
        return {member.peer: member for member in known}

    async def state_of(self, other: "Peer") -> MemberState | None:
        """As this one sees it; None: it does not know it, or says nothing."""
        member = (await self.members()).get(other.peer)
        return None if member is None else member.state

    async def look_away(self) -> None:
        """Close the connection that questions came over."""
        if self._backend is not None:
            backend, self._backend = self._backend, None
            await backend.close()


class Cluster:
    """One peer on each of these hosts; on one that is named twice, two. Nothing runs until it is
    started. Used as a context."""

    def __init__(
        self,
        hosts: Sequence[Host],
        *,
        name: str = "test",
        expect: int | None = None,
        listen: Callable[[Host], str] = at_its_address,
        has_keys: bool = True,
        dead_seconds: float = Timing().dead_seconds,
    ) -> None:
        """expect: None means all. listen: where the peer of a host does. has_keys: whether its
        peers speak under keys. dead_seconds: until who is silent is given up."""
        self.state = hosts[0].folder / "state"
        self.dead_seconds = dead_seconds
        self._has_keys = has_keys
        self.name = name
        self.listen = listen
        self._expect = len(hosts) if expect is None else expect
        self.peers: list[Peer] = []
        for host in hosts:
            before = sum(peer.host is host for peer in self.peers)
            name = f"{host.name}-{before}" if before else host.name
            self.peers.append(Peer(host, self, name))

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for peer in self.peers:
            await peer.look_away()
            if peer.is_running:
                peer.kill()

    def flags(self, peer: Peer) -> list[str]:
        """Of `mabeam up`, for a peer that is about to start: the one place that says how a peer
        gets into a cluster of other hosts."""
        plain = [] if self._has_keys else ["--insecure-plaintext"]
        return ["--expect", str(self._expect), *plain]

    async def begin(self, *peers: Peer, flags: Sequence[str] = ()) -> None:
        """Start these, by default all, for the first time. Return when each listens."""
        for peer in peers or self.peers:
            peer.begin(*flags)
        for peer in peers or self.peers:
            await peer.listening()

    async def started(self, *flags: str) -> Peer:
        """Start all; the leader, once all are ready and see each other."""
        await self.begin(flags=flags)
        for peer in self.peers:
            await peer.ready()
        await self.sees_itself()
        return await self.leader()

    async def sees_itself(self, peers: Iterable[Peer] | None = None) -> None:
        """Return once each of these, by default of all, sees each of them alive where it is."""
        wanted = list(self.peers if peers is None else peers)
        for peer in wanted:
            if not peer.address:
                await peer.listening()
        await self.all_see(wanted)

    async def all_see(self, peers: Sequence[Peer]) -> None:
        """As `sees_itself`, where the test says at which `address` each is."""
        await until(lambda: self._see(peers), f"{peers} see each other")

    async def _see(self, peers: Sequence[Peer]) -> bool:
        for peer in peers:
            known = await peer.members()
            for other in peers:
                member = known.get(other.peer)
                if member is None or member.state is not MemberState.ALIVE:
                    return False
                if member.address != other.address:
                    return False
        return True

    async def leader(self, among: Iterable[Peer] | None = None) -> Peer:
        """Whom all of these follow, of all by default."""
        peers = list(self.peers if among is None else among)
        return await until(lambda: self._followed(peers), f"{peers} follow one leader")

    async def _followed(self, peers: Sequence[Peer]) -> Peer | None:
        statuses = [await peer.status() for peer in peers]
        leaders = {None if s is None or not s.quorum else s.leader for s in statuses}
        named = [peer for peer in self.peers if leaders == {peer.peer}]
        return named[0] if named else None
