"""One peer is starved, in two ways: it is stopped for two seconds of every three, or its
interpreter's lock is held as long. It may lose what it holds; no healthy peer may be called dead.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mabeam_p2p.events import Event, MemberChanged
from mabeam_p2p.records import MemberState
from tools.soak_cluster import Cluster
from tools.soak_peer import GIL_EVERY_SECONDS

STARVED_SECONDS = 2.0
SETTLED_SECONDS = 60.0
LOOK_SECONDS = 0.1
AFTER_SECONDS = 5.0
"""How long a last verdict may take to arise once nothing is starved any more."""


class Verdicts:
    """What the peers said of each other, by (speaker, member, state)."""

    def __init__(self, cluster: Cluster) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.is_over = False
        for process in cluster.processes:
            process.on_event = self._hearing(process.name)

    def _hearing(self, speaker: str) -> Callable[[Event], None]:
        def hear(event: Event) -> None:
            if isinstance(event, MemberChanged) and not self.is_over:
                member = event.member
                self.counts[speaker, member.name, member.state.name.lower()] += 1

        return hear

    def of(self, state: MemberState, starved: str, *, healthy: bool) -> int:
        """How often a healthy, or else the starved, member was given this state."""
        return sum(
            count
            for (_, member, given), count in self.counts.items()
            if given == state.name.lower() and (member != starved) == healthy
        )

    def met(self, starved: str) -> set[str]:
        """Who has said that this one is alive."""
        alive = MemberState.ALIVE.name.lower()
        return {who for who, member, state in self.counts if (member, state) == (starved, alive)}


async def _settle(cluster: Cluster) -> list[str]:
    try:
        async with asyncio.timeout(SETTLED_SECONDS):
            await cluster.settled()
    except TimeoutError:
        told = [status for _, status in await cluster.statuses()]
        return [f"stuck: the peers do not agree after {SETTLED_SECONDS:g} s: {told}"]
    return []


async def _met(verdicts: Verdicts, starved: str, count: int) -> list[str]:
    """Return once so many others have said that it is alive."""
    looks = round(SETTLED_SECONDS / LOOK_SECONDS)
    for _ in range(looks):
        if len(verdicts.met(starved)) >= count:
            return []
        await asyncio.sleep(LOOK_SECONDS)
    return [f"stuck: {starved} was not met within {SETTLED_SECONDS:g} s"]


async def _one_way(
    folder: Path, peers: int, seconds: float, *, holds_lock: bool
) -> tuple[Verdicts, str, list[str]]:
    cluster = Cluster(folder, peers, gil_seconds=STARVED_SECONDS if holds_lock else 0.0)
    verdicts = Verdicts(cluster)
    starved = cluster.processes[-1]
    try:
        await cluster.start(cluster.processes)
        # Who has not been met cannot be missed.
        if holds_lock:
            violations = await _met(verdicts, starved.name, peers - 1)
        else:
            violations = await _settle(cluster)
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            if not holds_lock:
                starved.pause()
            await asyncio.sleep(STARVED_SECONDS)
            starved.resume()
            await asyncio.sleep(GIL_EVERY_SECONDS - STARVED_SECONDS)
        await asyncio.sleep(AFTER_SECONDS)
        verdicts.is_over = True
        if not holds_lock:
            violations += await _settle(cluster)
    finally:
        verdicts.is_over = True
        await cluster.close()
    return verdicts, starved.name, violations + cluster.failures


async def run(folder: Path, seconds: float, peers: int) -> tuple[dict[str, object], list[str]]:
    """The facts, and every violation as `kind: detail`. Both ways take `seconds` each."""
    facts: dict[str, object] = {"peers": peers, "seconds_each": seconds}
    violations: list[str] = []
    for name, holds_lock in (("stopped", False), ("lock_held", True)):
        (folder / name).mkdir()
        verdicts, starved, broken = await _one_way(
            folder / name, peers, seconds, holds_lock=holds_lock
        )
        false = verdicts.of(MemberState.DEAD, starved, healthy=True)
        for who, healthy in (("healthy", True), ("starved", False)):
            for state in (MemberState.SUSPECT, MemberState.DEAD):
                word = f"{name}_{who}_called_{state.name.lower()}"
                facts[word] = verdicts.of(state, starved, healthy=healthy)
        violations += [f"{violation} ({name})" for violation in broken]
        if false:
            told = {" ".join(key): count for key, count in verdicts.counts.items()}
            violations.append(f"false death: a healthy peer was called dead ({name}): {told}")
    facts["violations"] = violations
    return facts, violations
