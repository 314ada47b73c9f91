"""The steps in bad weather: a leader killed under load, parties that are late or dead, and all five
peers killed at once."""

import asyncio
import contextlib
import itertools
import time

import mabeam_p2p
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results import Decision, Release
from mabeam_p2p.cli.demo.peers import NAMES
from mabeam_p2p.cli.demo.scene import STEP_SECONDS, Scene, alike
from mabeam_p2p.cli.demo.stage import Step
from mabeam_p2p.errors import BarrierBroken, MabeamError

JOURNAL = "notes"
BEFORE_COUNT = 20
"""Items that are acknowledged before the leader is killed."""
AFTER_COUNT = 20
"""Items that are acknowledged under the next leader before the load ends."""
RETRY_SECONDS = 0.1
BARRIER_SECONDS = 10.0
LATE_SECONDS = 0.6


class Load:
    """Writers at several peers that append to one journal, each as fast as it is acknowledged."""

    def __init__(self, writers: dict[str, Agent]) -> None:
        self.acknowledged: dict[int, str] = {}
        """Position to item."""
        self.unknown: list[str] = []
        """Items of which nobody could say whether they were written."""
        self.refused_count = 0
        self.gap_seconds = 0.0
        """Longest time without an acknowledgement."""
        self._last = time.monotonic()
        self._is_over = False
        self._progressed = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._write(name, voice), name=f"load {name}")
            for name, voice in writers.items()
        ]

    async def wait_for(self, count: int) -> None:
        """Until so many more items were acknowledged."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(STEP_SECONDS):
            while len(self.acknowledged) < goal:
                self._progressed.clear()
                await self._progressed.wait()

    async def end(self) -> None:
        """Begin no more writes, and wait for the answers that are still to come."""
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _write(self, name: str, voice: Agent) -> None:
        for number in itertools.count(1):
            if self._is_over:
                return
            item = f"{name} {number}"
            try:
                position = await voice.journal(JOURNAL).append(item, timeout=10)
            except mabeam_p2p.OutcomeUnknown:
                self.unknown.append(item)
            except (mabeam_p2p.NoQuorum, mabeam_p2p.Overloaded):
                self.refused_count += 1
                await asyncio.sleep(RETRY_SECONDS)
            else:
                now = time.monotonic()
                self.gap_seconds = max(self.gap_seconds, now - self._last)
                self._last = now
                self.acknowledged[position] = item
                self._progressed.set()


async def failover(scene: Scene, step: Step) -> None:
    stage = scene.stage
    old, term = await scene.leader()
    await scene.detach((old,))
    load = Load(dict(scene.voices))
    try:
        await load.wait_for(BEFORE_COUNT)
        stage.progress(f"kill -9 of {old}, which leads")
        killed = time.monotonic()
        await scene.peers[old].kill()

        async def has_successor() -> bool:
            leaders = [voice.leader for voice in scene.voices.values()]
            return all(leader and leader.term > term for leader in leaders)

        elected = await scene.until(has_successor)
        seconds = time.monotonic() - killed
        new, new_term = await scene.leader()
        stage.check(
            step,
            f"{old} was killed by kill -9; the other four name {new} of term {new_term} as leader "
            f"after {seconds:.2f} s",
            elected and new != old,
        )
        await load.wait_for(AFTER_COUNT)
    finally:
        await load.end()
    journals = await scene.everywhere(lambda voice: voice.journal(JOURNAL).read())
    items = {name: {i.position: i.value for i in read} for name, read in journals.items()}
    kept = all(
        journal.get(position) == item
        for journal in items.values()
        for position, item in load.acknowledged.items()
    )
    stage.check(
        step,
        f"none of {len(load.acknowledged)} acknowledged writes is lost or moved "
        f"(longest wait {load.gap_seconds:.2f} s)",
        kept,
    )
    first = list(items[new].values())
    stage.check(
        step, "nothing was written twice, and the four hold the same list",
        len(set(map(str, first))) == len(first) and alike(items.values()),
    )  # fmt: skip
    scene.remembered = first
    step.facts |= {
        "killed": old,
        "leader": new,
        "failover_seconds": round(seconds, 3),
        "acknowledged": len(load.acknowledged),
        "unknown": len(load.unknown),
        "refused": load.refused_count,
    }


async def barrier(scene: Scene, step: Step) -> None:
    stage = scene.stage
    hosts = sorted(scene.voices)
    async with contextlib.AsyncExitStack() as stack:
        parties = [
            await stack.enter_async_context(
                mabeam_p2p.connect(
                    f"worker-{host}",
                    cluster=scene.processes.cluster,
                    addr=scene.processes.socket(host),
                    participates_in_consensus=False,
                )
            )
            for host in hosts
        ]
        await _late_party(scene, step, parties)
        await _dead_party(scene, step, parties[:-1], hosts[-1])
    stage.progress("the parties leave")


async def _late_party(scene: Scene, step: Step, parties: list[Agent]) -> None:
    *early, late = parties
    waiting = [
        asyncio.create_task(_gate(party, "epoch-1", len(parties)).wait(), name=party.name)
        for party in early
    ]
    scene.stage.progress(f"{late.id} lets the others wait")
    done, _ = await asyncio.wait(waiting, timeout=LATE_SECONDS)
    last = await _gate(late, "epoch-1", len(parties)).wait()
    releases: list[Release] = [*await asyncio.gather(*waiting), last]
    scene.stage.check(
        step,
        f"a party that came {LATE_SECONDS:g} s late kept the others at the barrier; then all "
        f"{len(parties)} passed together",
        not done and alike((r.generation, r.parties) for r in releases),
    )
    step.facts["waited"] = [round(release.seconds, 3) for release in releases]


async def _dead_party(scene: Scene, step: Step, others: list[Agent], host: str) -> None:
    """The last party is a process of its own, `mabeam barrier`, which dies while it waits."""
    parties = len(others) + 2
    heard = others[0].events("barrier.arrived")
    process = await scene.processes.start(
        "party", "barrier", "epoch-2", "--parties", str(parties), "--as", "doomed",
        "--timeout", str(BARRIER_SECONDS), "--cluster", scene.processes.cluster,
        "--addr", scene.processes.socket(host),
    )  # fmt: skip
    waiting = [
        asyncio.create_task(_gate(party, "epoch-2", parties).wait(), name=party.name)
        for party in others
    ]
    scene.stage.progress("a party of the next barrier is killed while it waits")
    try:
        async with asyncio.timeout(BARRIER_SECONDS):
            async for event in heard:
                if len(event.facts["arrived"]) == len(others) + 1:
                    break
        killed = time.monotonic()
        await process.kill()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        for task in waiting:
            task.cancel()
    seconds = time.monotonic() - killed
    broken = [end for end in ends if isinstance(end, BarrierBroken)]
    scene.stage.check(
        step,
        f"a party was killed while it waited: the barrier broke for all the others after "
        f"{seconds:.2f} s, with the same reason: {broken[0].reason if broken else ends}",
        len(broken) == len(others)
        and alike((end.reason, end.arrived) for end in broken)
        and "doomed" in broken[0].reason,
    )
    step.facts["broken_seconds"] = round(seconds, 3)


def _gate(party: Agent, name: str, parties: int) -> mabeam_p2p.Barrier:
    return party.barrier(name, parties=parties, timeout=BARRIER_SECONDS)


async def restart(scene: Scene, step: Step) -> None:
    stage = scene.stage
    dead = [name for name, peer in scene.peers.items() if peer.process.returncode is not None]
    stage.progress(f"{', '.join(dead)} comes back")
    await scene.start(dead)
    await scene.ready(dead)
    await scene.attach(dead)
    await scene.leader()
    before = await _memory(scene, scene.voices[dead[0]])
    stage.check(
        step, f"{', '.join(dead)} is back and has caught up",
        before["complete"] is True and before["notes"] == scene.remembered,
    )  # fmt: skip
    await scene.detach(NAMES)
    stage.progress("kill -9 of all five")
    await asyncio.gather(*(peer.kill() for peer in scene.peers.values()))
    begun = time.monotonic()
    await scene.start(NAMES)
    await scene.ready(NAMES)
    await scene.attach(NAMES)
    name, term = await scene.leader()
    seconds = time.monotonic() - begun
    after = await scene.everywhere(lambda voice: _memory(scene, voice))
    stage.check(
        step,
        f"all five were killed by kill -9 and started again: {name} leads in term {term} after "
        f"{seconds:.1f} s, and every peer still knows the decisions, their reasons, "
        f"{len(scene.remembered)} notes, the variables and where the money went",
        all(memory == before for memory in after.values()),
    )
    step.facts |= {"leader": name, "term": term, "restart_seconds": round(seconds, 3)}


async def _memory(scene: Scene, voice: Agent) -> dict[str, object]:
    """What a peer knows of all that was agreed and shared, once it shows what was agreed on."""

    async def shows_all() -> bool:
        try:
            read = await voice.parameters.read("exploration_rate")
        except (KeyError, MabeamError):
            return False
        shared = scene.shared.items()
        return read.value == scene.agreed["exploration_rate"] and all(
            voice.variables.get(name) == value for name, value in shared
        )

    complete = await scene.until(shows_all)
    journal = await voice.journal(JOURNAL).read()
    proposals = await voice.proposals()
    movements = await voice.ledger.history()
    return {
        "complete": complete,
        "notes": [item.value for item in journal],
        "money": [movement.to_dict() for movement in movements],
        "decisions": sorted(
            (p.id, p.status, p.index, [(v.agent, v.choice, v.rationale) for v in p.votes])
            for p in proposals
            if isinstance(p, Decision)
        ),
    }
