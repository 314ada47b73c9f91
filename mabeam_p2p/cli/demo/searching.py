"""The last step: agents in processes of their own search a learning rate together, on real data."""

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mabeam_p2p.cli.demo import trials
from mabeam_p2p.cli.demo.peers import NAMES, Running
from mabeam_p2p.cli.demo.scene import Scene
from mabeam_p2p.cli.demo.searcher import EPOCHS, START_RATE
from mabeam_p2p.cli.demo.stage import ClaimFailed, Step

PARTS = len(NAMES) + 1
"""One part for each agent, and one that no agent sees."""


class Ballot(msgspec.Struct):
    """What the check needs of a decision."""

    class Cast(msgspec.Struct):
        agent: str
        choice: str
        rationale: str

    value: float
    status: str
    proposer: str
    votes: tuple[Cast, ...]


class Line(msgspec.Struct, omit_defaults=True):
    """What a searcher tells; one of these is there."""

    trial: float | None = None
    accuracy: float | None = None
    decision: Ballot | None = None
    agreed: float | None = None


@dataclass
class Told:
    """Everything that the searchers have told."""

    trials: dict[str, dict[float, float]] = field(default_factory=dict)
    decisions: list[Ballot] = field(default_factory=list)
    agreed: dict[str, float] = field(default_factory=dict)


async def prepare(scene: Scene) -> tuple[Path, asyncio.Task[str]]:
    """Begin to make the data file, in a process of its own beside the other steps."""
    path = scene.processes.folder / "data.json"
    maker = await scene.processes.start("data", "data", str(path))

    async def made() -> str:
        line = await maker.line()
        return str(line["origin"])

    return path, asyncio.create_task(made(), name="data")


async def search(scene: Scene, step: Step, data: Path, making: asyncio.Task[str]) -> None:
    stage = scene.stage
    stage.progress("waiting for the data")
    origin = await making
    stage.say(origin)
    processes = scene.processes
    searchers = [
        await processes.start(
            f"agent-{name}",
            "search",
            f"agent-{name}",
            processes.cluster,
            processes.socket(name),
            str(data),
            str(part),
            str(len(NAMES)),
        )
        for part, name in enumerate(NAMES)
    ]
    told = Told()
    await asyncio.gather(*(_follow(scene, searcher, told) for searcher in searchers))
    count = sum(map(len, told.trials.values()))
    stage.check(
        step,
        f"five agents, each a process, trained {count} classifiers on their own parts of the data",
        len(told.trials) == len(NAMES) and all(len(t) > 1 for t in told.trials.values()),
    )
    refused = [ballot for ballot in told.decisions if ballot.status != "accepted"]
    accepted = [ballot for ballot in told.decisions if ballot.status == "accepted"]
    stage.check(
        step, f"they refused to start from {START_RATE:g}, because of what they had measured",
        bool(refused) and refused[0].value == START_RATE,
    )  # fmt: skip
    stage.check(
        step, "every reason given is a trial that its agent has run",
        all(_is_measured(ballot, told) for ballot in told.decisions),
    )  # fmt: skip
    stage.check(
        step, "they agreed on one learning rate, and all know it",
        len(accepted) == 1 and set(told.agreed.values()) == {accepted[0].value}
        and len(told.agreed) == len(NAMES),
    )  # fmt: skip
    rate = accepted[0].value
    unseen = trials.read_part(data, len(NAMES), PARTS)
    before = trials.accuracy(unseen, START_RATE, EPOCHS, 0)
    after = trials.accuracy(unseen, rate, EPOCHS, 0)
    stage.check(
        step,
        f"on data that no agent has seen, {rate:g} recognises {after:.0%}, and {START_RATE:g} "
        f"{before:.0%}",
        after > before,
    )
    step.facts |= {
        "data": origin,
        "trials": count,
        "learning_rate": rate,
        "accuracy": round(after, 3),
        "accuracy_before": round(before, 3),
    }


async def _follow(scene: Scene, searcher: Running, told: Told) -> None:
    """Take in what a searcher tells until it ends. Raises ClaimFailed if it fails."""
    assert searcher.process.stdout is not None
    async for text in searcher.process.stdout:
        line = msgspec.json.decode(text, type=Line)
        if line.trial is not None and line.accuracy is not None:
            told.trials.setdefault(searcher.name, {})[line.trial] = line.accuracy
            count = sum(map(len, told.trials.values()))
            scene.stage.progress(f"{count} trials, the last by {searcher.name}")
        if line.decision is not None:
            told.decisions.append(line.decision)
            _show(scene, line.decision)
        if line.agreed is not None:
            told.agreed[searcher.name] = line.agreed
    code = await searcher.process.wait()
    if code:
        raise ClaimFailed(f"{searcher.name} ended with code {code}: {searcher.last_words()}")


def _show(scene: Scene, ballot: Ballot) -> None:
    proposer = ballot.proposer.partition("@")[0]
    scene.stage.say(f"{proposer} proposes {ballot.value:g}: {ballot.status}")
    for vote in ballot.votes:
        name = vote.agent.partition("@")[0]
        scene.stage.say(f"  {name:10} {vote.choice:7} “{vote.rationale}”")


def _is_measured(ballot: Ballot, told: Told) -> bool:
    """Whether each vote cites the accuracy that its agent has told of the proposed rate."""
    for vote in ballot.votes:
        measured = told.trials[vote.agent.partition("@")[0]].get(ballot.value)
        if measured is None or f"gives {measured:.3f} on my data" not in vote.rationale:
            return False
    return bool(ballot.votes)


def make_data(path: str) -> None:
    """Write the data file and say what it is; the program of `prepare`."""
    sys.stdout.write(msgspec.json.encode({"origin": trials.write_data(Path(path))}).decode() + "\n")
