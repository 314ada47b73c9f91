"""First starts of three peers at once, again and again: no two clusters may ever come of one."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from random import Random

from mabeam_p2p.events import ClusterFormed, Event
from tools.soak_cluster import Cluster
from tools.soak_faults import WEATHERS, log_uniform

PEERS = 3
SETTLED_SECONDS = 60.0
APART_SECONDS_MAX = 2.0
"""Between the first and the last start."""
BROKEN_SHARE = 0.7
"""Of the boots: those with faults of links meanwhile."""
BROKEN_SECONDS = (0.2, 4.0)


class Formed:
    """The clusters that peers said they were in, during one boot."""

    def __init__(self) -> None:
        self.clusters: dict[str, None] = {}

    def hear(self, event: Event) -> None:
        if isinstance(event, ClusterFormed):
            self.clusters[event.cluster_id] = None


async def boot(folder: Path, random: Random) -> tuple[list[str], str, float]:
    """One boot in an empty folder: its violations, the fault of links, seconds until all agree."""
    cluster = Cluster(folder, PEERS)
    formed = Formed()
    for process in cluster.processes:
        process.on_event = formed.hear
    await cluster.raise_links()
    loop = asyncio.get_running_loop()
    began = loop.time()
    fault = "none"
    breaking = None
    if random.random() < BROKEN_SHARE:
        weather = random.choices(WEATHERS, [weather.weight for weather in WEATHERS])[0]
        fault = weather.name
        breaking = asyncio.create_task(_break(cluster, weather.name, random))
    waits = sorted(random.uniform(0, APART_SECONDS_MAX) for _ in range(PEERS))
    try:
        for process, wait in zip(random.sample(cluster.processes, PEERS), waits, strict=True):
            await asyncio.sleep(max(0.0, began + wait - loop.time()))
            await process.start()
        if breaking is not None:
            await breaking
        violations = await _judge(cluster, formed)
    finally:
        if breaking is not None:
            breaking.cancel()
        await cluster.close()
    return violations + cluster.failures, fault, loop.time() - began


async def _break(cluster: Cluster, name: str, random: Random) -> None:
    weather = next(weather for weather in WEATHERS if weather.name == name)
    flapping = weather.begin(cluster.links, PEERS, None, random)
    if flapping is not None:
        await flapping.run(random)
    else:
        await asyncio.sleep(log_uniform(random, BROKEN_SECONDS))
    cluster.links.heal(reset=random.random() < 0.5)


async def _judge(cluster: Cluster, formed: Formed) -> list[str]:
    violations = []
    try:
        async with asyncio.timeout(SETTLED_SECONDS):
            await cluster.settled()
    except TimeoutError:
        told = [status for _, status in await cluster.statuses()]
        violations.append(f"stuck: no cluster after {SETTLED_SECONDS:g} s: {told}")
    for _, status in await cluster.statuses():
        if status.cluster_id:
            formed.clusters[status.cluster_id] = None
    if len(formed.clusters) > 1:
        violations.append(f"double cluster: {', '.join(formed.clusters)}")
    return violations


async def run(folder: Path, count: int, seed: int) -> tuple[dict[str, object], list[str]]:
    """The facts, and every violation as `kind: detail`. Folders of good boots are removed."""
    random = Random(f"boots {seed}")
    violations: list[str] = []
    faults: Counter[str] = Counter()
    times: list[float] = []
    for number in range(count):
        place = folder / f"boot{number}"
        place.mkdir()
        broken, fault, seconds = await boot(place, random)
        faults[fault] += 1
        times.append(seconds)
        violations += [f"{violation} (boot {number}, {fault})" for violation in broken]
        if not broken:
            shutil.rmtree(place)
    return {
        "boots": count,
        "faults_of_links": dict(faults),
        "double_clusters": sum(v.startswith("double") for v in violations),
        "slowest_boot_seconds": round(max(times, default=0.0), 2),
        "violations": violations,
    }, violations
