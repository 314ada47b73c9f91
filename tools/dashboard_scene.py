"""A small cluster with something of every kind in it, for the dashboard to show: what is agreed and
what is open, who waits, what is worked on, sold and paid. Used by tools/dashboard and by the tests
of the page."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from mabeam_p2p import Agent, Proposal, RemoteTaskError, Vote, connect
from mabeam_p2p.api.results import ChoiceWord

GROUP = "vision"
OPEN_SECONDS = 3_600.0
"""How long what is to be seen open stays so."""

PLAIN = (
    "Try the cosine schedule next.",
    "The queue was empty all night.",
    "run 12, seed 7",
    "one quarter of the budget",
)

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "javascript:document.title='owned'",
    "a\u202eb\u2066c\u0007 & &amp; \"quoted\" 'too'",
)
"""What a page must show as text, in place of PLAIN."""

RATIONALES = (
    "Loss is flat for 5 epochs; a lower rate should settle it.",
    "Agreed, our shard shows the same plateau.",
    "It diverged at 0.1 in run 12, so smaller is safer.",
)


@asynccontextmanager
async def furnished(
    daemons: Sequence[str], *, cluster: str, texts: tuple[str, ...] = PLAIN
) -> AsyncIterator[list[Agent]]:
    """Three agents at the daemons of these names, and what they have done. They go at the end.
    texts: four, which stand wherever somebody can write one."""
    async with AsyncExitStack() as stack:
        agents = [
            await stack.enter_async_context(
                connect(
                    name,
                    cluster=cluster,
                    addr=daemons[number % len(daemons)],
                    group=GROUP,
                    capabilities={"gpu": number + 1},
                    vote_manually=number > 0,
                )
            )
            for number, name in enumerate(("ada", "bo", "cy"))
        ]
        waiting: list[asyncio.Future[object]] = []
        try:
            waiting.append(asyncio.ensure_future(await _agree(agents, texts)))
            waiting.append(asyncio.ensure_future(await _meet(agents)))
            waiting.append(asyncio.ensure_future(await _work(agents, texts)))
            waiting.append(asyncio.ensure_future(await _trade(agents, texts)))
            await _share(agents, texts)
            await _preside(agents)
            yield agents
        finally:
            for wait in waiting:
                wait.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def _agree(agents: list[Agent], texts: tuple[str, ...]) -> Awaitable[object]:
    """Two proposals accepted, one rejected, and one left open. Ada votes by herself; the others by
    hand, so that the last vote decides."""
    ada, bo = (agent.group(GROUP) for agent in agents[:2])

    @ada.on_proposal("*")
    def judge(proposal: Proposal) -> Vote:
        if isinstance(proposal.value, float) and proposal.value > 0.05:
            return Vote.reject(RATIONALES[2], confidence=0.92)
        return Vote.accept(RATIONALES[0], confidence=0.7)

    async def decided(parameter: str, value: object, choice: ChoiceWord, rationale: str) -> None:
        id = f"scene-{parameter.replace('/', '-')}"
        other: ChoiceWord = "reject" if choice == "accept" else "accept"
        asking = asyncio.ensure_future(
            ada.propose(parameter, value, rationale=rationale, id=id, timeout=30)
        )
        for agent, word, why in (
            (agents[2], other, RATIONALES[2]),
            (agents[1], choice, RATIONALES[1]),
        ):
            await _until_open(agent, id)
            await agent.vote(id, word, rationale=why, confidence=0.85)
        await asking

    await decided("learning_rate", 0.003, "accept", "Settle the loss.")
    await decided("dropout", 0.4, "reject", "Regularise harder.")
    await decided("notes", list(texts), "accept", texts[0])
    rationale = f"Memory allows it; throughput rose by 18 % in a trial. {texts[1]}"
    opened = asyncio.ensure_future(
        bo.propose("batch_size", 256, rationale=rationale, id="scene-open", timeout=OPEN_SECONDS)
    )
    await _until_open(agents[2], "scene-open")
    return opened


async def _until_open(agent: Agent, proposal: str) -> None:
    """Return when the agent's own peer knows the proposal."""
    opened = agent.events("proposal.opened")
    if not any(one.id == proposal for one in await agent.proposals()):
        async for event in opened:
            if event.facts["id"] == proposal:
                break
    opened.close()


async def _meet(agents: list[Agent]) -> Awaitable[object]:
    """A barrier passed, and one that is waited at."""
    await asyncio.gather(*(agent.barrier("epoch-9", parties=3).wait() for agent in agents))
    return asyncio.ensure_future(
        agents[0].barrier("epoch-10", parties=3, timeout=OPEN_SECONDS).wait()
    )


async def _work(agents: list[Agent], texts: tuple[str, ...]) -> Awaitable[object]:
    ada, bo, cy = agents
    """Tasks done, one that failed, some that run and some that wait."""
    never = asyncio.Event()

    async def evaluate(rate: float) -> float:
        return round(math.exp(-rate), 4)

    async def train(epochs: int) -> str:
        await never.wait()
        return f"{epochs} epochs"

    async def fail(reason: str) -> None:
        raise ValueError(reason)

    for agent in (bo, cy):
        agent.task(name="evaluate")(evaluate)
        agent.task(name="train")(train)
        agent.task(name="fail")(fail)
        await agent.work(2)
    await asyncio.gather(*(ada.submit("evaluate", rate / 100) for rate in range(1, 6)))
    with contextlib.suppress(RemoteTaskError):
        await ada.submit("fail", texts[0])
    return asyncio.gather(*(ada.submit("train", epochs) for epochs in range(1, 7)))


async def _trade(agents: list[Agent], texts: tuple[str, ...]) -> Awaitable[object]:
    ada, bo, cy = agents
    await ada.ledger.mint("gpu_s", 1_000, note="the week's hours")
    await ada.ledger.transfer(bo.id, "gpu_s", 250, note=texts[3])
    await ada.ledger.transfer(cy.id, "gpu_s", 125.5)
    await bo.ledger.hold("gpu_s", 40, payee=ada.id, expires=OPEN_SECONDS)
    budget = ada.budget("sweep")
    await budget.set(100)
    async with budget.reserve(12) as spending:
        spending.spend(9.5)
    sold = await ada.market.open(
        "gpu-hour", rule="english", quantity=2, reserve=1, increment=1, currency="gpu_s", timeout=8
    )
    await bo.market.bid(sold.id, 5)
    await cy.market.bid(sold.id, 4)
    await ada.market.wait(sold.id)
    lot = await ada.market.open(
        f"lot of {texts[0]}",
        rule="english",
        quantity=1,
        reserve=2,
        increment=1,
        currency="gpu_s",
        timeout=OPEN_SECONDS,
    )
    await bo.market.bid(lot.id, 3)
    await cy.market.bid(lot.id, 6)
    return asyncio.ensure_future(ada.market.wait(lot.id))


async def _share(agents: list[Agent], texts: tuple[str, ...]) -> None:
    ada, bo, cy = agents
    await ada.variables.set("epsilon", 0.2, wait="all")
    await bo.variables.set("model/encoder/layers", 12)
    await bo.variables.set("stage", "warm-up")
    await cy.variables.set("best", {"loss": 0.0312, "run": 12, "tags": ["adam", "cosine"]})
    await cy.variables.set("big", 2**62 + 1)
    for number, text in enumerate(texts):
        await ada.variables.set(f"notes/{number} {texts[0]}", text)
    ada.variables.resolver("hits", "counter")
    await ada.variables.add("hits", 3)


async def _preside(agents: list[Agent]) -> None:
    ada, bo, _ = agents
    await bo.publish_score({"performance": 0.8, "reliability": 1.0})
    await ada.elect("hyperparameter_search", timeout=10)
    await ada.group(GROUP).elect("labeller", timeout=10)
