"""Money, budgets and reputations among real peers of this process."""

import asyncio
from decimal import Decimal

import pytest

from mabeam_p2p import (
    Agent,
    BudgetExceeded,
    ConflictingOperation,
    InsufficientFunds,
    NotOwner,
    Rejected,
    UnknownBudget,
    blocking,
)
from mabeam_p2p.config import Config
from tests.api.clusters import agents, cluster
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_agents_pay_each_other_and_every_peer_comes_to_know() -> None:
    async with agents() as (a, b, c):
        told = c.events("ledger.*")
        await a.ledger.mint("gpu_s", 100)
        await a.ledger.transfer(b.id, "gpu_s", 0.5, note="a trial")
        await eventually(lambda: c.ledger.balance("gpu_s", account=b.id) == Decimal("0.5"))
        assert c.ledger.balance("gpu_s", account=a.id) == Decimal("99.5")
        with pytest.raises(InsufficientFunds, match="has 500000 micro-units"):
            await b.ledger.transfer(a.id, "gpu_s", 1)
        with pytest.raises(NotOwner, match=f"issued by {a.id}"):
            await b.ledger.mint("gpu_s", 1)
        names = [(await anext(told)).name for _ in range(2)]
        assert names == ["ledger.minted", "ledger.transferred"]
        read = await b.ledger.read("gpu_s")
        assert (read.account, read.balance) == (b.id, Decimal("0.5"))
        assert [one.kind for one in await c.ledger.history()] == ["mint", "transfer"]


@in_loop
async def test_who_has_the_answer_has_its_own_balance() -> None:
    async with agents(3) as everyone:
        for agent in everyone:
            for minted in range(1, 21):
                await agent.ledger.mint(agent.name, 1)
                assert agent.ledger.balance(agent.name) == minted


@in_loop
async def test_an_operation_is_done_once_also_by_another_session_of_the_agent() -> None:
    async with cluster() as peers:
        a, b = await peers[0].agent("a"), await peers[1].agent("b")
        await a.ledger.mint("gpu_s", 10)
        first = await a.ledger.transfer(b.id, "gpu_s", 3, operation="pay")
        await a.close()
        again = await peers[0].agent("a")
        assert again.session.id != a.session.id
        assert await again.ledger.transfer(b.id, "gpu_s", 3, operation="pay") == first
        assert (await b.ledger.read("gpu_s")).balance == 3
        with pytest.raises(ConflictingOperation, match="'pay'"):
            await again.ledger.transfer(b.id, "gpu_s", 4, operation="pay")


@in_loop
async def test_a_promise_is_kept_for_the_payee_who_is_rated_for_it() -> None:
    async with agents() as (a, b, c):
        await a.ledger.mint("fee", 10)
        hold = await a.ledger.hold("fee", 6, payee=b.id, expires=60)
        with pytest.raises(NotOwner):
            await hold.release()
        with pytest.raises(NotOwner):
            await c.ledger.capture(hold.id, 1)
        await b.ledger.capture(hold.id, 4)
        await b.ledger.release(hold.id)
        assert (await a.ledger.read("fee")).to_dict()["balance"] == "6"
        (deal,) = await a.reputation.deals()
        assert deal.parties == (a.id, b.id)
        await a.reputation.report(deal.id, 0.8, skill="judging")
        known = await c.reputation.of(b.id, "judging")
        assert (known.alpha, known.beta, known.count) == (1.8, 1.2, 1)
        with pytest.raises(Rejected, match="first rating binds"):
            await a.reputation.report(deal.id, 0.2, skill="judging")


@in_loop
async def test_what_is_held_without_a_word_is_given_back_when_it_expires() -> None:
    async with agents() as (a, b, _):
        await a.ledger.mint("fee", 10)
        released = b.events("ledger.released")
        await a.ledger.hold("fee", 6, payee=b.id, expires=0.3)
        assert (await anext(released)).facts["note"] == "expired"
        assert b.ledger.balance("fee", account=a.id) == 10
        assert (await a.ledger.holds()) == ()
        assert (await b.ledger.history(limit=1))[0].note == "expired"


@in_loop
async def test_agents_that_spend_together_stay_within_every_budget() -> None:
    async with agents() as three:
        a = three[0]
        await a.budget("team").set(10)
        await a.budget("sweep").set(8, parent="team")

        async def spend(agent: Agent) -> int:
            done = 0
            try:
                while True:
                    async with agent.budget("sweep").reserve(0.5) as reservation:
                        reservation.spend(0.25)
                    done += 1
            except BudgetExceeded:
                return done

        done = sum(await asyncio.gather(*map(spend, three)))
        team, sweep = await a.budgets()
        assert (team.name, sweep.name) == ("team", "sweep")
        assert team.spent == sweep.spent == done * Decimal("0.25")
        assert Decimal("7.5") <= team.spent <= 8
        assert team.reserved == sweep.reserved == 0


@in_loop
async def test_what_an_agent_has_reserved_is_free_when_it_ends() -> None:
    async with agents() as (a, b, _):
        await a.budget("sweep").set(10)
        await b.budget("sweep").reserve(7).open()
        assert (await a.budget("sweep").status()).reserved == 7
        await b.close()
        await eventually(lambda: b.id not in {agent.id for agent in a.agents()})
        assert (await a.budget("sweep").status()).free == 10
        await a.budget("sweep").remove()
        with pytest.raises(UnknownBudget):
            await a.budget("sweep").status()


@in_loop
async def test_groups_have_money_of_their_own() -> None:
    async with agents(1) as (a,):
        lab = a.group("lab")
        await lab.ledger.mint("credit", 5, account="purse")
        with pytest.raises(NotOwner):
            await lab.ledger.transfer(a.id, "credit", 1, source="purse")
        await eventually(lambda: lab.ledger.balance("credit", account="purse") == 5)
        assert [one.account for one in lab.ledger.accounts()] == ["lab:purse"]
        assert a.ledger.balance("lab:credit", account="lab:purse") == 5
        assert [one.name for one in await lab.ledger.currencies()] == ["lab:credit"]
        await lab.budget("b").set(1)
        assert [one.name for one in await lab.budgets()] == ["lab:b"]


def test_the_same_without_await() -> None:
    config = Config(name="solo", mdns=False, data_dir=":memory:", expect=1)
    with blocking.Peer(config) as peer, peer.agent("a") as a:
        a.ledger.mint("fee", 5)
        with a.ledger.hold("fee", 3) as hold:
            hold.capture(1, "treasury")
            assert hold.left == 2
        assert a.ledger.read("fee").balance == 4
        assert a.ledger.read("fee", account="treasury").balance == 1
        week = a.budget("week")
        week.set(5)
        a.budget("sweep").set(4, parent=week)
        with a.budget("sweep").reserve(3) as reservation:
            reservation.spend(2)
        assert reservation.spent == week.status().spent == 2
        assert [one.name for one in a.budgets()] == ["week", "sweep"]
        assert a.reputation.of("b@solo", "x").score == 0.5
        assert a.reputation.deals() == ()
        assert len(a.ledger.history()) == 4
