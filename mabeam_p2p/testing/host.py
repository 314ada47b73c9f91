"""One simulated machine: a disk that stays, and a process that comes and goes."""

from collections.abc import Callable
from math import inf
from typing import Any

from msgspec.structs import replace

from mabeam_p2p.config import Config
from mabeam_p2p.effects import Effect
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Frame, Message
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.protocol.replication.progress import Progress
from mabeam_p2p.requests import Answer, Request
from mabeam_p2p.testing.checkers import Ghost
from mabeam_p2p.testing.disk import Disk
from mabeam_p2p.testing.members import Beliefs
from mabeam_p2p.testing.weather import Weather

Reply = Callable[[Answer], None]


class Host:
    """One machine: a disk that stays, and a process that comes and goes."""

    __slots__ = (
        "address",
        "backlog",
        "began_at",
        "beliefs",
        "clock_offset",
        "clock_rate",
        "disk",
        "durable",
        "fails_for",
        "full_for",
        "ghost",
        "heard",
        "held",
        "identities",
        "idle_ticks",
        "inputs",
        "is_damaged",
        "is_earlier",
        "late_deeds",
        "late_requests",
        "letter",
        "life",
        "links",
        "matches",
        "node",
        "number",
        "outgoing",
        "paused_until",
        "peer",
        "slow_cost",
        "slow_until",
        "syncing",
        "tick_at",
        "ticked_at",
        "waiting",
        "written",
    )

    def __init__(self, number: int, peer: PeerId, address: str, clock_rate: float) -> None:
        self.number = number
        self.letter = chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")
        self.peer = peer
        self.identities = 1
        """Peers that it has been: one more with each folder that was lost."""
        self.address = address
        self.clock_rate = clock_rate
        self.clock_offset = 0.0
        self.disk = Disk()
        self.life = 0
        """Counts processes; what belongs to an older one is ignored."""
        self.node: Node | None = None
        self.ghost = Ghost(peer, self.disk)
        self.paused_until = 0
        self.slow_until = 0
        self.slow_cost = 0
        """What each input costs until then."""
        self.fails_for = 0
        """The next fsync fails; the peer is down for this long then. 0: it does not."""
        self.is_damaged = False
        """A start finds that the folder was altered, and is refused."""
        self.is_earlier = False
        """It runs the earlier of two releases."""
        self.full_for = 0
        """The next write finds no room, likewise."""
        self.backlog: list[Frame] = []
        self.late_requests: list[tuple[int, Request]] = []
        self._begin(0)

    def _begin(self, now: int) -> None:
        self.began_at = now
        self.heard: dict[PeerId, int] = {}
        """When a frame of each peer came last."""
        self.links: dict[PeerId, str] = {}
        self.outgoing: dict[PeerId, list[Message]] = {}
        self.held: list[Effect] = []
        self.written = 0
        """Number of the last Persist handed to the disk."""
        self.durable = 0
        self.syncing = False
        self.tick_at = inf
        self.idle_ticks = 0
        self.ticked_at = 0
        self.inputs = 0
        """Inputs of the present turn."""
        self.late_deeds: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        """What came due in a pause: it happens when that is over."""
        self.waiting: dict[int, Reply] = {}
        """Who waits for which token."""
        self.beliefs = Beliefs()
        self.matches: dict[PeerId, tuple[Progress, int]] = {}
        """Match indices that were checked, while it leads, and whose count each is."""

    def begin(self, now: int) -> None:
        """A new process."""
        self.life += 1
        self._begin(now)

    def local(self, time: int) -> float:
        """This host's monotonic seconds at `time`."""
        return time * 1e-6 * self.clock_rate + self.clock_offset

    def config(self, weather: Weather, seeds: tuple[str, ...]) -> Config:
        """The settings of a process that starts in this weather."""
        scores = weather.preferences.scores
        config = Config(
            name=f"peer-{self.letter.lower()}",
            listen=self.address,
            seeds=seeds,
            mdns=False,
            expect=weather.expect,
            timing=weather.timing,
            limits=weather.limits,
            score=scores[self.number] if self.number < len(scores) else 50,
            eligible=self.number not in weather.preferences.ineligible,
            preference_margin=weather.preferences.margin,
        )
        # Who lies is no voter, and nobody is to want one more.
        return replace(config, max_voters=weather.expect) if weather.hostile else config
