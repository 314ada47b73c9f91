"""Verbs of `mabeam ledger` about budgets and reputations."""

import asyncio
import secrets
from decimal import Decimal

import click

from mabeam_p2p.cli import output
from mabeam_p2p.cli.ledger import GROUP, amount, ledger, scope_of
from mabeam_p2p.cli.running import Termination, run_tethered
from mabeam_p2p.cli.target import Target, key, name, primitive, verb


@ledger.command()
@GROUP
@verb
async def budgets(target: Target, group: str | None) -> None:
    """The budgets: what may be spent, is spent and is reserved."""
    async with target.look() as agent:
        seen = await scope_of(agent, group).budgets(level="local")
    if target.as_json:
        output.json_line({"budgets": [one.to_dict() for one in seen]})
        return
    output.table(
        ("BUDGET", "LIMIT", "SPENT", "RESERVED", "FREE", "PART OF", "WINDOW", "OWNER"),
        [
            (
                one.name,
                f"{one.limit:f}",
                f"{one.spent:f}",
                f"{one.reserved:f}",
                f"{one.free:f}",
                one.parent,
                None if one.window is None else f"{one.window:g} s",
                one.owner,
            )
            for one in seen
        ],
    )


@ledger.command("set-budget")
@click.argument("budget", type=key)
@click.argument("limit", type=amount)
@click.option(
    "--parent", type=key, metavar="BUDGET", default=None, help="The budget that it is part of."
)
@click.option(
    "--window",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=None,
    help="After which nothing is spent again.  [default: never]",
)
@GROUP
@verb
async def set_budget(
    target: Target,
    budget: str,
    limit: Decimal,
    parent: str | None,
    window: float | None,
    group: str | None,
) -> None:
    """Make a BUDGET, or give it another LIMIT."""
    async with target.attach() as agent:
        handle = scope_of(agent, group).budget(budget)
        await handle.set(limit, parent=parent, window=window)
        facts = await handle.status(level="local")
    if target.as_json:
        output.json_line(facts.to_dict())
    else:
        output.note(f"budget {facts.name} of {facts.limit:f}, {facts.free:f} are free")


@ledger.command("remove-budget")
@click.argument("budget", type=key)
@GROUP
@verb
async def remove_budget(target: Target, budget: str, group: str | None) -> None:
    """Forget a BUDGET in which nothing is reserved."""
    async with target.attach() as agent:
        await scope_of(agent, group).budget(budget).remove()
    if target.as_json:
        output.json_line({"removed": budget})
    else:
        output.note(f"budget {budget} removed")


@ledger.command()
@click.argument("budget", type=key)
@click.argument("amount", type=amount)
@click.option(
    "--as",
    "agent",
    type=name,
    metavar="NAME",
    default=None,
    help="Name to spend under.  [default: a new one]",
)
@GROUP
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]")
@primitive
async def spend(
    target: Target,
    budget: str,
    amount: Decimal,
    agent: str | None,
    group: str | None,
    command: tuple[str, ...],
) -> None:
    """Spend AMOUNT of a BUDGET, if it is free.

    With a COMMAND the AMOUNT is reserved while that runs, and spent if it exits with 0; if not, or
    if this program ends before, it is free again: COMMAND gets SIGTERM then, on Linux also when
    this program is killed. Exits 1 if the budget would be exceeded, else with the exit code of
    COMMAND; 143 after a SIGTERM.
    """
    code = 0
    async with target.attach(agent or f"spend-{secrets.token_hex(4)}") as attached:
        reservation = (
            scope_of(attached, group).budget(budget).reserve(amount, timeout=target.timeout)
        )
        with Termination() as termination:
            try:
                async with reservation:
                    if command:
                        code = await run_tethered(command, {})
                    reservation.spend(0 if code else amount)
            except asyncio.CancelledError:
                if termination.happened:
                    raise termination.end from None
                raise
    if target.as_json:
        output.json_line(
            {"budget": reservation.budget, "spent": f"{reservation.spent:f}", "exit_code": code}
        )
    else:
        output.note(f"{reservation.spent:f} of budget {reservation.budget} spent")
    if code:
        raise output.Exit(code)


# ---- reputations -----------------------------------------------------------------------------


@ledger.command()
@click.argument("agent", required=False, metavar="[NAME@PEER]")
@click.option("--skill", type=key, default=None, help="This skill alone.")
@GROUP
@verb
async def reputation(
    target: Target, agent: str | None, skill: str | None, group: str | None
) -> None:
    """How agents have done, in the words of those they dealt with; the best first."""
    async with target.look() as own:
        seen = await scope_of(own, group).reputation.known(agent, skill=skill, level="local")
    if target.as_json:
        output.json_line({"reputations": [one.to_dict() for one in seen]})
        return
    output.table(
        ("AGENT", "SKILL", "SCORE", "ALPHA", "BETA", "RATINGS"),
        [
            (one.agent, one.skill, *map(_rounded, (one.score, one.alpha, one.beta)), one.count)
            for one in seen
        ],
    )


def _rounded(number: float) -> str:
    return f"{number:.3g}"


@ledger.command()
@click.argument("agent", required=False, metavar="[NAME@PEER]")
@verb
async def deals(target: Target, agent: str | None) -> None:
    """What an agent, by default this host's own, has finished with others and may rate."""
    async with target.look() as own:
        seen = await own.reputation.deals(agent, level="local")
    if target.as_json:
        output.json_line({"deals": [one.to_dict() for one in seen]})
        return
    output.table(
        ("DEAL", "PARTIES", "WHEN", "RATED BY"),
        [
            (one.id, one.parties, output.moment(one.when), [by.agent for by in one.ratings])
            for one in seen
        ],
    )


@ledger.command()
@click.argument("deal", type=key)
@click.argument("score", type=click.FloatRange(0, 1))
@click.option("--skill", type=key, required=True, help="What the other party was good at.")
@GROUP
@verb
async def rate(target: Target, deal: str, score: float, skill: str, group: str | None) -> None:
    """Say how the other party of a DEAL did: SCORE is 0 to 1. The first rating binds."""
    async with target.attach() as agent:
        await scope_of(agent, group).reputation.report(deal, score, skill=skill)
    if target.as_json:
        output.json_line({"deal": deal, "score": score, "skill": skill})
    else:
        output.note(f"rated {score:g} for {skill}")


__all__ = ["ledger"]
"""With the verbs of this file and of its own."""
