"""The steps in good weather: discovery, election, a vote, a concurrent write."""

import asyncio

from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results import ChoiceWord, Proposal
from mabeam_p2p.cli.demo.peers import NAMES
from mabeam_p2p.cli.demo.scene import Scene, alike
from mabeam_p2p.cli.demo.stage import ClaimFailed, Step

BALLOT_SECONDS = 15.0
ATTEMPTS_MAX = 20
"""How often two writes may miss each other before the demo gives up making them cross."""


async def discovery(scene: Scene, step: Step) -> None:
    stage = scene.stage
    stage.progress("starting five processes")
    await scene.start(NAMES)
    await scene.attach(NAMES)
    stage.progress("waiting until each sees the others")
    members = await scene.everywhere(lambda voice: voice.wait_for_members(len(NAMES), timeout=20))
    views = {
        name: sorted(m.id for m in seen if m.state == "alive") for name, seen in members.items()
    }
    how = "multicast DNS alone" if scene.uses_mdns else "seeds"
    stage.check(
        step,
        f"five processes found each other by {how}: each sees the same five ids",
        alike(views.values()) and len(views["ada"]) == len(NAMES),
    )
    step.facts["members"] = {member.name: member.id for member in members["ada"]}


async def election(scene: Scene, step: Step) -> None:
    scene.stage.progress("waiting for a leader")
    await scene.ready(NAMES)
    name, term = await scene.leader()
    seen = await scene.everywhere(lambda voice: voice.status())
    leaders = [peer for peer, status in seen.items() if status.role == "leader"]
    scene.stage.check(
        step, f"all five name {name} as the leader of term {term}, and it alone leads",
        leaders == [name],
    )  # fmt: skip
    voters = {status.voters for status in seen.values()}
    scene.stage.check(
        step, "the five are the voters: any three of them are a quorum",
        len(voters) == 1 and len(next(iter(voters))) == len(NAMES),
    )  # fmt: skip
    step.facts |= {"leader": name, "term": term}


async def vote(scene: Scene, step: Step) -> None:
    """Five persons vote, each at a peer of their own; one uses the command line."""
    stage = scene.stage
    good = await _ballot(
        scene,
        0.2,
        {
            "emil": ("reject", "0.2 was noisy in my last run"),
            "bela": ("accept", "covers the space in the time we have"),
            "ada": ("accept", "my proposal"),
            "chen": ("accept", "fine with me"),
        },
    )
    stage.check(
        step,
        "3 of 5 accept: decided at once, as the vote that is missing can change nothing",
        good["ada"].status == "accepted",
    )
    stage.check(
        step, "all five peers give the same explanation: who, what, why, at which index",
        alike(proposal.to_dict() for proposal in good.values()),
    )  # fmt: skip
    bad = await _ballot(
        scene,
        0.9,
        {
            "dora": ("reject", "that is random search"),
            "emil": ("reject", "worse than before"),
            "chen": ("reject", "it diverged at 0.8"),
        },
    )
    stage.check(step, "0.9 is rejected", bad["ada"].status == "rejected")
    readings = await scene.everywhere(lambda voice: voice.parameters.read("exploration_rate"))
    stage.check(
        step, "a linearizable read gives 0.2 at every peer",
        all(reading.value == 0.2 for reading in readings.values()),
    )  # fmt: skip
    scene.agreed["exploration_rate"] = 0.2
    step.facts["proposal"] = good["ada"].to_dict()


async def _ballot(
    scene: Scene, value: float, opinions: dict[str, tuple[ChoiceWord, str]]
) -> dict[str, Proposal]:
    """Ada proposes, the others vote in this order. The closed proposal as each peer explains it."""
    ada = scene.voices["ada"]
    proposing = asyncio.create_task(
        ada.propose("exploration_rate", value, rationale="the loss is flat", timeout=BALLOT_SECONDS)
    )
    try:
        identity = await _opened(scene, ada, value)
        for name, (choice, rationale) in opinions.items():
            if name == "emil":
                await _vote_by_command(scene, name, identity, choice, rationale)
            else:
                await scene.voices[name].vote(identity, choice, rationale=rationale)
            scene.stage.say(f"{name:5} {choice:7} “{rationale}”")
        await proposing
    finally:
        proposing.cancel()

    async def closed() -> bool:
        seen = await scene.everywhere(lambda voice: voice.explain(identity))
        return all(proposal.status != "open" for proposal in seen.values())

    await scene.until(closed)
    return await scene.everywhere(lambda voice: voice.explain(identity))


async def _opened(scene: Scene, voice: Agent, value: float) -> str:
    """Id of the open proposal, once every peer has it."""
    found: list[str] = []

    async def is_open() -> bool:
        known = await scene.everywhere(lambda other: other.proposals())
        ids = [[p.id for p in k if p.status == "open" and p.value == value] for k in known.values()]
        found[:] = ids[0]
        return bool(found) and alike(ids)

    if not await scene.until(is_open):
        raise TimeoutError("the proposal did not reach every peer")
    return found[0]


async def _vote_by_command(
    scene: Scene, name: str, proposal: str, choice: str, rationale: str
) -> None:
    code, _ = await scene.processes.mabeam(
        "vote", proposal, choice, "--rationale", rationale,
        "--cluster", scene.processes.cluster, "--addr", scene.processes.socket(name),
    )  # fmt: skip
    if code:
        raise OSError(f"`mabeam vote` ended with code {code}")


async def concurrent_write(scene: Scene, step: Step) -> None:
    stage = scene.stage
    emil = scene.voices["emil"]
    for voice in scene.voices.values():
        voice.variables.resolver("draft/*", "multi_value")
        voice.variables.resolver("best_score/*", "max")
    draft = await _cross(scene, "draft", "ada's", "emil's")
    stage.check(
        step,
        "two peers wrote one name at the same time; every peer knows both values as concurrent",
        await _show(scene, draft, ["ada's", "emil's"]),
    )
    await emil.variables.set(draft, "both of ours", wait="all")
    stage.check(
        step,
        "a later write supersedes both at every peer",
        await _show(scene, draft, ["both of ours"]),
    )
    score = await _cross(scene, "best_score", 0.91, 0.87)
    stage.check(
        step,
        "where `max` resolves, 0.91 wins over a concurrent 0.87 at every peer",
        await _show(scene, score, 0.91),
    )
    scene.shared |= {score: 0.91, draft: ["both of ours"]}


async def _cross(scene: Scene, prefix: str, ours: object, theirs: object) -> str:
    """Have ada and emil write one name at the same time, again under other names until the writes
    cross on their way: then somebody had to merge them. The name."""
    ada, emil = scene.voices["ada"], scene.voices["emil"]
    for attempt in range(ATTEMPTS_MAX):
        name = f"{prefix}/{attempt}"
        acknowledged = await asyncio.gather(
            ada.variables.set(name, ours, wait="all"), emil.variables.set(name, theirs, wait="all")
        )
        if all(acknowledgement.merged for acknowledgement in acknowledged):
            return name
    raise ClaimFailed(f"{ATTEMPTS_MAX} pairs of writes never crossed")


async def _show(scene: Scene, name: str, wanted: object) -> bool:
    """Whether every peer comes to show this value."""

    async def all_show() -> bool:
        return all(voice.variables.get(name) == wanted for voice in scene.voices.values())

    return await scene.until(all_show)
