"""How fit a peer is to lead the log, and having another one lead it.

A score is a number from 0 to 100. It is the peer's setting, what is said while it runs, or what a
function gives that is asked at an interval. What such a function raises, or gives that is no score,
is counted and logged, and changes nothing: the last good score stays. What it gives takes the place
of a score that was said meanwhile, and leaves standing why the peer is unfit.
"""

import asyncio
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.calls import Calls
from mabeam_p2p.api.results import Leader
from mabeam_p2p.api.values import text_of
from mabeam_p2p.errors import Closed, DaemonNotRunning, InvalidValue, MabeamError, TransferFailed
from mabeam_p2p.ids import PeerId
from mabeam_p2p.requests import AgentQuery, Done, HandedOver, SetFitness, TransferLeadership

_log = logging.getLogger(__name__)

SCORE_MAX = 100

LATENCY_BEST_SECONDS = 0.002
"""A linearizable read that takes no longer scores 100."""
LATENCY_WORST_SECONDS = 0.2
"""One that takes this long, or fails, scores 0."""
SMOOTHING = 0.2
"""What a new measurement counts beside the old ones."""

UPTIME_FULL_SECONDS = 3600.0

Score = Callable[[], float | Awaitable[float]]
"""Gives a number from 0 to 100; a plain function is called in a thread."""


# ---- ready functions -------------------------------------------------------------------------


def load_score() -> float:
    """100 on an idle host, 0 when as many processes want to run as there are processors. Raises
    OSError where the system does not say."""
    processors = os.cpu_count() or 1
    return max(0.0, 100.0 * (1 - os.getloadavg()[0] / processors))


def uptime_score(full_seconds: float = UPTIME_FULL_SECONDS) -> Score:
    """A function that grows from 0, when it is made, to 100 after `full_seconds`. Raises
    InvalidValue."""
    if not (math.isfinite(full_seconds) and full_seconds > 0):
        raise InvalidValue(f"full_seconds {full_seconds!r}: take a number of seconds above 0")
    began_at = time.monotonic()
    return lambda: min(100.0, 100.0 * (time.monotonic() - began_at) / full_seconds)


class LatencyScore:
    """How near a peer is to the leader, and by it to a majority: by the time that a linearizable
    read takes, smoothed. On a scale of ratios, as links are."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._seconds: float | None = None

    async def __call__(self) -> float:
        began_at = time.monotonic()
        try:
            await self._attachment.find(
                AgentQuery(), "latency", linearizable=True, timeout=LATENCY_WORST_SECONDS
            )
            seconds = time.monotonic() - began_at
        except (Closed, DaemonNotRunning):
            raise
        except MabeamError:
            seconds = LATENCY_WORST_SECONDS
        old = seconds if self._seconds is None else self._seconds
        self._seconds = old + SMOOTHING * (seconds - old)
        return latency_points(self._seconds)


def latency_points(seconds: float) -> float:
    """The score of a link: 100 at the best, 0 at the worst, and as much less for each doubling."""
    inside = min(max(seconds, LATENCY_BEST_SECONDS), LATENCY_WORST_SECONDS)
    share = math.log(inside / LATENCY_BEST_SECONDS)
    return 100.0 * (1 - share / math.log(LATENCY_WORST_SECONDS / LATENCY_BEST_SECONDS))


def ready(name: str, attachment: Attachment) -> Score | None:
    """The ready function of this name, as in `Config.score_by`; None: there is none."""
    match name:
        case "load":
            return load_score
        case "uptime":
            return uptime_score()
        case "latency":
            return LatencyScore(attachment)
        case _:
            return None


# ---- one peer --------------------------------------------------------------------------------


def points(score: object) -> int:
    """A score as it travels. Raises InvalidValue."""
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if not is_number or not 0 <= score <= SCORE_MAX:  # type: ignore[operator]
        raise InvalidValue(f"the score is {score!r}: take a number from 0 to {SCORE_MAX}")
    return round(score)  # type: ignore[call-overload, no-any-return]


async def set_fitness(attachment: Attachment, score: float, unfit: str | None = "") -> None:
    """unfit: as in SetFitness. Raises InvalidValue."""
    answer = await attachment.ask(
        SetFitness(points(score), unfit), attachment.timing.request_timeout_seconds
    )
    if not isinstance(answer, Done):
        raise attachment.error(answer, "the score")


class ScoreWatch:
    """Asks a function how fit its peer is, from `begin` until `close`."""

    def __init__(self, attachment: Attachment, score: Score) -> None:
        self.fault_count = 0
        """Answers that were no score, or none."""
        self.fault = ""
        """What was wrong with the last of them."""
        self._attachment = attachment
        self._score = score
        self._calls = Calls("score functions", threads_max=1)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """On the running loop."""
        self._task = asyncio.create_task(self._watch(), name="score of the peer")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except (Closed, DaemonNotRunning):
                return
            await asyncio.sleep(self._attachment.timing.score_interval_seconds)

    async def look(self) -> None:
        """Ask once. Raises Closed, DaemonNotRunning."""
        try:
            score = points(await self._calls.call(self._score))
            # Somebody may have said another one.
            if score != (await self._attachment.status()).score:
                await set_fitness(self._attachment, score, unfit=None)
        except (Closed, DaemonNotRunning):
            raise
        except Exception as error:
            self.fault_count += 1
            fault = f"{type(error).__name__}: {text_of(error)}"
            if fault != self.fault:
                _log.warning("peer %s keeps its score: %s", self._attachment.peer_name, fault)
            self.fault = fault


# ---- handing over ----------------------------------------------------------------------------


async def transferred(attachment: Attachment, peer: str | None, timeout: float | None) -> Leader:
    """Who leads after a hand-over to `peer`, by name or id; None: to whoever is fittest."""
    seconds = attachment.timing.request_timeout_seconds if timeout is None else timeout
    target = PeerId("") if peer is None else _peer_of(attachment, peer)
    answer = await attachment.ask(TransferLeadership(target, seconds), seconds)
    if not isinstance(answer, HandedOver):
        raise attachment.error(answer, f"handing over to {peer or 'another peer'}")
    names = {member.id: member.name for member in attachment.view.members()}
    return Leader(str(answer.leader), names.get(answer.leader, ""), answer.term)


def _peer_of(attachment: Attachment, peer: str) -> PeerId:
    found = attachment.find_peer(peer)
    if found is not None:
        return found
    names = ", ".join(member.name for member in attachment.view.members())
    raise TransferFailed(
        f"peer {attachment.peer_name} knows no peer {peer!r}: take one of {names}",
        reason="unknown_peer",
    )
