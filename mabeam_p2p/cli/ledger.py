"""`mabeam ledger`: money. Budgets and reputations stand in `budgets`."""

from decimal import Decimal, InvalidOperation

import click

from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.holdings import Receipt
from mabeam_p2p.api.scope import Scope
from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, key, name, verb


def amount(text: str) -> Decimal:
    """An amount, as an argument: exact, as it is written."""
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise click.BadParameter(f"{text!r} is no number") from error
    if not number.is_finite():
        raise click.BadParameter(f"{text!r} is no amount")
    return number


GROUP = click.option(
    "--group",
    type=name,
    metavar="NAME",
    default=None,
    help="The group whose currencies, accounts and budgets are meant.  [default: all]",
)
_OPERATION = click.option(
    "--operation",
    type=key,
    metavar="ID",
    default=None,
    help="Id of this operation: asked for again, it takes effect once.  [default: a new one]",
)
_NOTE = click.option("--note", default="", help="Why; it stays in the history.")
_ACCOUNT = click.option(
    "--account",
    type=key,
    metavar="ACCOUNT",
    default=None,
    help="Whose money: NAME@PEER, or a name of the group's.  [default: this host's own agent]",
)


@click.group()
def ledger() -> None:
    """Move money, keep budgets, and see who did well.

    All is done as this host's own agent, NAME@NAME of its peer. Amounts have six decimals at most.

    \b
      mabeam ledger mint gpu_s 1000
      mabeam ledger transfer trainer-1@bee gpu_s 250.5 --note "for run 7"
      mabeam ledger balances
      mabeam ledger set-budget sweep 100
      mabeam ledger spend sweep 5 -- python train.py
    """


def scope_of(agent: Agent, group: str | None) -> Scope:
    return agent if group is None else agent.group(group)


# ---- money -----------------------------------------------------------------------------------


@ledger.command()
@click.argument("currency", type=key, required=False)
@GROUP
@verb
async def balances(target: Target, currency: str | None, group: str | None) -> None:
    """Who has what, of one CURRENCY or of all, as this host's peer knows."""
    async with target.look() as agent:
        seen = scope_of(agent, group).ledger.accounts(currency)
    if target.as_json:
        output.json_line({"accounts": [one.to_dict() for one in seen]})
        return
    output.table(
        ("ACCOUNT", "CURRENCY", "BALANCE", "HELD"),
        [(one.account, one.currency, f"{one.balance:f}", f"{one.held:f}") for one in seen],
    )


@ledger.command()
@GROUP
@verb
async def currencies(target: Target, group: str | None) -> None:
    """The currencies, and who issues them."""
    async with target.look() as agent:
        seen = await scope_of(agent, group).ledger.currencies(level="local")
    if target.as_json:
        output.json_line({"currencies": [one.to_dict() for one in seen]})
        return
    output.table(
        ("CURRENCY", "ISSUER", "MINTED", "BURNED"),
        [(one.name, one.issuer, f"{one.minted:f}", f"{one.burned:f}") for one in seen],
    )


@ledger.command()
@click.argument("currency", type=key)
@click.argument("amount", type=amount)
@_ACCOUNT
@GROUP
@_NOTE
@_OPERATION
@verb
async def mint(
    target: Target,
    currency: str,
    amount: Decimal,
    account: str | None,
    group: str | None,
    note: str,
    operation: str | None,
) -> None:
    """Make AMOUNT of CURRENCY. Who does so first is its issuer."""
    async with target.attach() as agent:
        done = await scope_of(agent, group).ledger.mint(
            currency, amount, account=account, note=note, operation=operation
        )
    _print(target, done, f"minted {amount:f} {currency}")


@ledger.command()
@click.argument("to", type=key, metavar="ACCOUNT")
@click.argument("currency", type=key)
@click.argument("amount", type=amount)
@click.option(
    "--source",
    type=key,
    metavar="ACCOUNT",
    default=None,
    help="Who pays.  [default: this host's own agent]",
)
@GROUP
@_NOTE
@_OPERATION
@verb
async def transfer(
    target: Target,
    to: str,
    currency: str,
    amount: Decimal,
    source: str | None,
    group: str | None,
    note: str,
    operation: str | None,
) -> None:
    """Pay AMOUNT of CURRENCY to ACCOUNT."""
    async with target.attach() as agent:
        done = await scope_of(agent, group).ledger.transfer(
            to, currency, amount, source=source, note=note, operation=operation
        )
    _print(target, done, f"paid {amount:f} {currency} to {to}")


@ledger.command()
@click.argument("currency", type=key)
@click.argument("amount", type=amount)
@_ACCOUNT
@GROUP
@_NOTE
@_OPERATION
@verb
async def burn(
    target: Target,
    currency: str,
    amount: Decimal,
    account: str | None,
    group: str | None,
    note: str,
    operation: str | None,
) -> None:
    """Unmake AMOUNT of CURRENCY. Its issuer alone can."""
    async with target.attach() as agent:
        done = await scope_of(agent, group).ledger.burn(
            currency, amount, account=account, note=note, operation=operation
        )
    _print(target, done, f"burned {amount:f} {currency}")


@ledger.command()
@click.argument("currency", type=key)
@click.argument("amount", type=amount)
@click.option(
    "--payee", type=key, metavar="ACCOUNT", default=None, help="The only one it can be paid to."
)
@click.option(
    "--expires",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=None,
    help="After which it is given back; needed with --payee.  [default: never]",
)
@_ACCOUNT
@GROUP
@_NOTE
@_OPERATION
@verb
async def hold(
    target: Target,
    currency: str,
    amount: Decimal,
    payee: str | None,
    expires: float | None,
    account: str | None,
    group: str | None,
    note: str,
    operation: str | None,
) -> None:
    """Set AMOUNT of CURRENCY aside; prints the hold's id."""
    async with target.attach() as agent:
        held = await scope_of(agent, group).ledger.hold(
            currency,
            amount,
            account=account,
            payee=payee,
            expires=expires,
            note=note,
            operation=operation,
        )
    if target.as_json:
        output.json_line({"hold": held.id, "amount": f"{held.amount:f}", "payee": held.payee})
    else:
        click.echo(held.id)


@ledger.command()
@click.argument("hold", type=key, metavar="HOLD")
@click.argument("amount", type=amount)
@click.argument("account", type=key, required=False)
@GROUP
@_NOTE
@_OPERATION
@verb
async def capture(
    target: Target,
    hold: str,
    amount: Decimal,
    account: str | None,
    group: str | None,
    note: str,
    operation: str | None,
) -> None:
    """Pay AMOUNT of a HOLD to ACCOUNT, by default this host's own agent. The rest stays held."""
    async with target.attach() as agent:
        done = await scope_of(agent, group).ledger.capture(
            hold, amount, account, note=note, operation=operation
        )
    _print(target, done, f"captured {amount:f} of hold {hold}")


@ledger.command()
@click.argument("hold", type=key, metavar="HOLD")
@GROUP
@_NOTE
@_OPERATION
@verb
async def release(
    target: Target, hold: str, group: str | None, note: str, operation: str | None
) -> None:
    """Give back what is left of a HOLD."""
    async with target.attach() as agent:
        done = await scope_of(agent, group).ledger.release(hold, note=note, operation=operation)
    _print(target, done, f"released hold {hold}")


@ledger.command()
@_ACCOUNT
@GROUP
@verb
async def holds(target: Target, account: str | None, group: str | None) -> None:
    """What of an account is set aside."""
    async with target.look() as agent:
        seen = await scope_of(agent, group).ledger.holds(account=account, level="local")
    if target.as_json:
        output.json_line({"holds": [one.to_dict() for one in seen]})
        return
    output.table(
        ("HOLD", "ACCOUNT", "AMOUNT", "CURRENCY", "PAYEE", "UNTIL"),
        [
            (
                one.id,
                one.account,
                f"{one.amount:f}",
                one.currency,
                one.payee,
                None if one.deadline is None else output.moment(one.deadline),
            )
            for one in seen
        ],
    )


@ledger.command()
@click.option("--first", type=click.IntRange(min=1), default=None, help="Number to begin with.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many."
)
@verb
async def history(target: Target, first: int | None, limit: int) -> None:
    """The last movements, or those from number --first on; the oldest are forgotten."""
    async with target.look() as agent:
        seen = await agent.ledger.history(first or 0, limit=limit, level="local")
    if target.as_json:
        output.json_line({"movements": [one.to_dict() for one in seen]})
        return
    output.table(
        ("NUMBER", "WHEN", "KIND", "AMOUNT", "CURRENCY", "FROM", "TO", "BY", "NOTE"),
        [
            (
                one.number,
                output.moment(one.when),
                one.kind,
                f"{one.amount:f}",
                one.currency,
                one.source,
                one.target,
                one.agent,
                one.note,
            )
            for one in seen
        ],
    )


def _print(target: Target, done: Receipt, what: str) -> None:
    if target.as_json:
        output.json_line(done.to_dict())
    else:
        output.note(f"{what} (operation {done.operation}, movement {done.number})")
