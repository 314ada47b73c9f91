"""Agents that explore a frozen lake together: `python -m examples.multi_agent_rl`.

Four peers walk on FrozenLake 8x8, share every step through a journal of the log, and agree on the
rate of chance of each round by a vote. The same agent, alone, is the comparison. One peer is killed
in the middle, the others go on, and it is back for the next seed.
"""

import asyncio
import sys
from typing import Any

from examples.common.options import Options, parsed
from examples.common.peers import Peers
from examples.common.picture import Series, chart, staircase
from examples.common.report import Report, carried_out
from examples.multi_agent_rl.lake import alone

NAME = "multi_agent_rl"
SEED_COUNT = 5
SEED_COUNT_QUICK = 2
ROUNDS = 30
ROUNDS_ALONE = 60
KILL_ROUND = 20
"""Late enough that three can do the rest."""
SECONDS_MAX = 400.0

Round = dict[str, Any]


class Run:
    """What the peers have told: rounds by seed and number, each by peer's name."""

    def __init__(self, options: Options) -> None:
        count = SEED_COUNT_QUICK if options.quick else SEED_COUNT
        self.seeds = [options.seed + number for number in range(count)]
        self.rounds: dict[tuple[int, int], dict[str, Round]] = {}
        self.ballots: list[Round] = []
        self.killed: str | None = None
        self.options = options

    async def watch(self) -> None:
        task = {"seeds": self.seeds, "rounds": ROUNDS}
        async with Peers("examples.multi_agent_rl.agent", self.options.peers, task) as peers:
            async for name, said in peers.told():
                if said["event"] == "decided":
                    self.ballots.append(said)
                    continue
                place = int(str(said["seed"])), int(str(said["round"]))
                self.rounds.setdefault(place, {})[name] = said
                if self._is_time(place, said):
                    await self._replace(peers, str(said["leader"]), *place)

    def _is_time(self, place: tuple[int, int], said: Round) -> bool:
        # Not in the last seed: it is to take part again.
        is_middle = place[1] >= KILL_ROUND and place[0] != self.seeds[-1] and said["leader"]
        return bool(self.options.kill and self.killed is None and is_middle)

    async def _replace(self, peers: Peers, leader: str, seed: int, number: int) -> None:
        """Kill the leader; it takes part again from the next seed on."""
        self.killed = leader
        await peers.kill(leader)
        print(f"killed {leader}, who led, in round {number} of seed {seed}")
        await peers.start(leader, seeds=self.seeds[self.seeds.index(seed) + 1 :])

    def solved_in(self, seed: int) -> int | None:
        """The first round in which all present had solved it."""
        for (of, number), told in sorted(self.rounds.items()):
            if of == seed and all(one["solved"] for one in told.values()):
                return number
        return None


def told(run: Run, lonely: dict[int, int | None], report: Report) -> None:
    """The claims."""
    needed = len(run.seeds) - 1
    together = [seed for seed in run.seeds if run.solved_in(seed) is not None]
    report.claim(
        f"sharing, the lake is solved by round {ROUNDS} for {len(together)} of {len(run.seeds)} "
        f"seeds (at least {needed})",
        len(together) >= needed,
    )
    failing = [seed for seed in run.seeds if lonely[seed] is None]
    report.claim(
        f"alone, it is not solved by round {ROUNDS_ALONE} for {len(failing)} of {len(run.seeds)} "
        f"seeds (at least {needed})",
        len(failing) >= needed,
    )
    alike = all(len({one["digest"] for one in row.values()}) == 1 for row in run.rounds.values())
    report.claim("after every round all agents have the same table, bit by bit", alike)
    agreed = sum(ballot["status"] == "accepted" for ballot in run.ballots)
    report.claim(
        f"the agents voted on the rate of chance {len(run.ballots)} times, {agreed} were accepted",
        agreed > 0,
    )
    if run.killed is not None:
        last = run.seeds[-1]
        back = [row for (seed, _), row in run.rounds.items() if seed == last and run.killed in row]
        report.claim(f"{run.killed}, killed in the middle, took part again", bool(back))


def picture(run: Run, lonely: dict[int, int | None]) -> str:
    together = [run.solved_in(seed) for seed in run.seeds]
    lines = [
        Series(f"{run.options.peers} agents that share", _share_solved(together, ROUNDS)),
        Series("one agent alone", _share_solved(list(lonely.values()), ROUNDS_ALONE)),
    ]
    return chart("FrozenLake 8x8: seeds that are solved", "round", "share", lines)


def _share_solved(rounds: list[int | None], last: int) -> list[tuple[float, float]]:
    """For each round, the share of seeds that were solved by then."""
    shares = [
        (number, sum(r is not None and r <= number for r in rounds) / len(rounds))
        for number in range(last + 1)
    ]
    return staircase(shares)


async def main(options: Options) -> int:
    run, report = Run(options), Report(NAME, options)
    await run.watch()
    lonely = {seed: await asyncio.to_thread(alone, seed, 0, ROUNDS_ALONE) for seed in run.seeds}
    told(run, lonely, report)
    rows = [
        (seed, run.solved_in(seed) or f"> {ROUNDS}", lonely[seed] or f"> {ROUNDS_ALONE}")
        for seed in run.seeds
    ]
    report.table(("seed", "sharing: solved in round", "alone: solved in round"), rows)
    seeds = [
        {"seed": seed, "sharing": run.solved_in(seed), "alone": lonely[seed]} for seed in run.seeds
    ]
    ballots = {"count": len(run.ballots), "decisions": run.ballots}
    return report.finish(
        {"seeds": seeds, "ballots": ballots, "killed": run.killed}, picture(run, lonely)
    )


if __name__ == "__main__":
    chosen = parsed(f"examples.{NAME}", __doc__.splitlines()[0], peers=4)
    sys.exit(carried_out(lambda: main(chosen), SECONDS_MAX))
