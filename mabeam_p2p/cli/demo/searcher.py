"""One agent of the demo's search: a process that trains, proposes, and votes from its own trials.

What it does, told as JSON lines on standard output for the demo to check:

1. It tries some learning rates on its own part of the data and shares its best as a variable. One
   part more is left for the demo to check the result on.
2. A barrier: all have shared. Each ranks the agents by what they have found.
3. Round 0: the last of the ranking proposes the rate that everybody starts from. Round n: the n-th
   proposes its best. The others try the proposed rate on their own data and vote: accept if it
   costs at most TOLERANCE against their own best. A barrier ends each round.
4. All look for what was agreed, and meet again: if there is a rate, all stop.
"""

import asyncio
import random
from pathlib import Path

import mabeam_p2p
from mabeam_p2p.api.agent import Agent, Group
from mabeam_p2p.api.results import Proposal, Vote
from mabeam_p2p.cli import output
from mabeam_p2p.cli.demo import trials

GROUP = "search"
PARAMETER = "learning_rate"
START_RATE = 0.0005
"""The rate that nobody has chosen for good reasons: too low for a short training."""
OWN_TRIALS = 5
EPOCHS = 4
TOLERANCE = 0.05
"""Accuracy that an agent gives up for an agreement: four images of its 80."""
ROUNDS_MAX = 5
SECONDS = 20.0
"""Deadline of each ballot and barrier."""


class Searcher:
    """An agent with its own data and what it has found out from them."""

    def __init__(self, agent: Agent, samples: list[trials.Sample], part: int) -> None:
        self.results: dict[float, float] = {}
        """Accuracy by learning rate."""
        self._agent = agent
        self._samples = samples
        self._part = part
        self._training = asyncio.Lock()

    @property
    def best(self) -> tuple[float, float]:
        """Learning rate and accuracy."""
        return max(self.results.items(), key=lambda result: (result[1], -result[0]))

    async def search(self) -> None:
        draw = random.Random(self._part)
        for _ in range(OWN_TRIALS):
            await self.try_out(round(10 ** draw.uniform(-3, 1), 5))
        rate, accuracy = self.best
        shared = {"learning_rate": rate, "accuracy": accuracy}
        await self._agent.variables.set(f"{GROUP}/{self._agent.name}", shared, wait="all")

    async def try_out(self, rate: float) -> float:
        """Train and measure, off the loop, so that the agent goes on listening."""
        async with self._training:
            if rate not in self.results:
                self.results[rate] = round(
                    await asyncio.to_thread(
                        trials.accuracy, self._samples, rate, EPOCHS, self._part
                    ),
                    3,
                )
                output.json_line({"trial": rate, "accuracy": self.results[rate]})
        return self.results[rate]

    async def judge(self, proposal: Proposal) -> Vote:
        measured = await self.try_out(proposal.value)
        rate, accuracy = self.best
        found = f"{proposal.value:g} gives {measured:.3f} on my data, my best is {accuracy:.3f}"
        rationale = f"{found} at {rate:g}, after {len(self.results)} trials"
        confidence = min(1.0, 0.5 + 5 * abs(accuracy - TOLERANCE - measured))
        if measured >= accuracy - TOLERANCE:
            return Vote.accept(rationale, confidence)
        return Vote.reject(rationale, confidence)


async def run(name: str, cluster: str, addr: str, data: Path, part: int, parties: int) -> None:
    """Search until a learning rate is agreed, or the rounds are over."""
    samples = trials.read_part(data, part, parties + 1)
    async with mabeam_p2p.connect(name, cluster=cluster, addr=addr, group=GROUP) as agent:
        group = agent.group(GROUP)
        searcher = Searcher(agent, samples, part)
        group.on_proposal(PARAMETER)(searcher.judge)
        await searcher.search()
        await _meet(agent, "all have shared", parties)
        ranking = _ranking(agent)
        for number in range(ROUNDS_MAX + 1):
            proposer = ranking[(number - 1) % len(ranking)]
            if proposer == name:
                rate = searcher.best[0] if number else START_RATE
                await _propose(group, searcher, rate)
            await _meet(agent, f"round {number} is over", parties)
            agreed = await _agreed(group)
            # Until all have looked nobody goes on: who looked too late would see the next round's.
            # Nobody leaves before, either: it would be missed here.
            await _meet(agent, f"round {number} is known", parties)
            if agreed is not None:
                output.json_line({"agreed": agreed, "trials": len(searcher.results)})
                break


async def _agreed(group: Group) -> float | None:
    """What the log says now."""
    try:
        return float((await group.parameters.read(PARAMETER)).value)
    except KeyError:
        return None


async def _propose(group: Group, searcher: Searcher, rate: float) -> None:
    if rate == START_RATE:
        why = "everybody starts from it"
    else:
        why = f"the best of my {len(searcher.results)} trials, with {searcher.best[1]:.3f}"
    decision = await group.propose(PARAMETER, rate, rationale=why, timeout=SECONDS)
    output.json_line({"decision": decision.to_dict()})


async def _meet(agent: Agent, name: str, parties: int) -> None:
    await agent.barrier(f"{GROUP}: {name}", parties=parties, timeout=SECONDS).wait()


def _ranking(agent: Agent) -> list[str]:
    """Names of the agents, the best result first."""
    shared = {
        name.partition("/")[2]: value["accuracy"]
        for name, value in agent.variables.items()
        if name.startswith(f"{GROUP}/")
    }
    return sorted(shared, key=lambda name: (-shared[name], name))


def main(arguments: list[str]) -> None:
    """Arguments: name, cluster, socket, data file, part, number of searchers."""
    name, cluster, addr, data, part, parties = arguments
    with output.endings():
        asyncio.run(run(name, cluster, addr, Path(data), int(part), int(parties)))
