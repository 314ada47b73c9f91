"""`mabeam auction`: sell, buy and bid by hand."""

from decimal import Decimal

import click

from mabeam_p2p.api.lots import Auction, Bid, DepartureWord, RuleWord, SideWord
from mabeam_p2p.api.market import Market, Sealed
from mabeam_p2p.cli import output
from mabeam_p2p.cli.ledger import GROUP, amount, scope_of
from mabeam_p2p.cli.target import Target, key, primitive, verb
from mabeam_p2p.errors import InvalidValue

_SECONDS = click.FloatRange(min=0, min_open=True)


def _item(text: str) -> tuple[str, Decimal]:
    """NAME or NAME=RESERVE, as an argument."""
    name, _, reserve = text.rpartition("=")
    return (key(name), amount(reserve)) if name else (key(text), Decimal(0))


def _salt(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not hexadecimal") from error


@click.group()
def auction() -> None:
    """Sell to the highest bids, or buy from the lowest.

    All is done as this host's own agent, NAME@NAME of its peer.

    \b
      mabeam auction open gpu-hour --quantity 4 --reserve 1 --currency usd --timeout 30
      mabeam auction list
      mabeam auction bid 5f1c0a9b3d7e2846 2.5
    """


@auction.command("open")
@click.argument("item", type=key)
@click.option("--quantity", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--rule",
    type=click.Choice(["vickrey", "first_price", "english", "dutch", "combinatorial"]),
    default="vickrey",
    show_default=True,
)
@click.option(
    "--side",
    type=click.Choice(["forward", "reverse"]),
    default="forward",
    show_default=True,
    help="Sell (forward) or buy.",
)
@click.option("--reserve", type=amount, default="0", help="Least price of a unit, or greatest.")
@click.option("--currency", type=key, default=None, help="What is paid in.  [default: nothing is]")
@click.option("--reveal", type=_SECONDS, default=None, help="Seconds to reveal sealed bids.")
@click.option("--bond", type=amount, default="0", help="What it costs not to reveal.")
@click.option(
    "--item",
    "items",
    type=_item,
    multiple=True,
    metavar="NAME[=RESERVE]",
    help="combinatorial: one of the items; repeat it.",
)
@click.option("--increment", type=amount, default=None, help="english: by how much to outbid.")
@click.option("--extension", type=float, default=0.0, help="english: seconds left after a bid.")
@click.option("--start", type=amount, default=None, help="dutch: the first price.")
@click.option("--step", type=amount, default=None, help="dutch: by how much it moves.")
@click.option("--tick", type=_SECONDS, default=1.0, help="dutch: every so many seconds.")
@click.option("--bids-max", type=click.IntRange(min=1), default=None, help="How many it takes.")
@click.option(
    "--on-departure",
    type=click.Choice(["bind", "withdraw"]),
    default="bind",
    show_default=True,
    help="What becomes of the bids of who leaves while bidding goes on.",
)
@click.option("--id", "identity", type=key, default=None, help="Its id.  [default: a new one]")
@click.option("--no-wait", is_flag=True, help="Print it and do not wait for its end.")
@GROUP
@primitive
async def open_(
    target: Target,
    item: str,
    quantity: int,
    rule: RuleWord,
    side: SideWord,
    reserve: Decimal,
    currency: str | None,
    reveal: float | None,
    bond: Decimal,
    items: tuple[tuple[str, Decimal], ...],
    increment: Decimal | None,
    extension: float,
    start: Decimal | None,
    step: Decimal | None,
    tick: float,
    bids_max: int | None,
    on_departure: DepartureWord,
    identity: str | None,
    no_wait: bool,
    group: str | None,
) -> None:
    """Open an auction of ITEM and wait for its end.

    --timeout is the time for bids; 30 s if it is not given. Exits 1 if nothing was awarded.
    """
    async with target.attach() as agent:
        market = scope_of(agent, group).market
        opened = await market.open(
            item,
            quantity=quantity,
            rule=rule,
            side=side,
            reserve=reserve,
            currency=currency,
            timeout=target.timeout,
            reveal=reveal,
            items=dict(items),
            bond=bond,
            increment=increment,
            extension=extension,
            start=start,
            step=step,
            tick=tick,
            bids_max=bids_max,
            on_departure=on_departure,
            id=identity,
        )
        if no_wait:
            _print(target, opened)
            return
        output.note(f"auction {opened.id} is open: waiting for its end")
        ended = await market.wait(opened.id)
    _print(target, ended)
    if ended.status != "awarded":
        raise output.Exit(output.REFUSED)


# ---- bidding ---------------------------------------------------------------------------------


_ITEMS = click.option(
    "--item",
    "items",
    type=key,
    multiple=True,
    metavar="NAME",
    help="combinatorial: the price is for this item, and the others named, together.",
)
_QUANTITY = click.option("--quantity", type=click.IntRange(min=1), default=1, show_default=True)


@auction.command()
@click.argument("identity", type=key, metavar="ID")
@click.argument("price", type=amount)
@_QUANTITY
@_ITEMS
@click.option("--deposit", type=amount, default=None, help="What is set aside for a sealed bid.")
@click.option("--no-wait", is_flag=True, help="Do not wait to reveal a sealed bid.")
@GROUP
@verb
async def bid(
    target: Target,
    identity: str,
    price: Decimal,
    quantity: int,
    items: tuple[str, ...],
    deposit: Decimal | None,
    no_wait: bool,
    group: str | None,
) -> None:
    """Bid PRICE for each of --quantity units in auction ID.

    Of a sealed auction it waits until bidding has ended, and reveals the bid. With --no-wait, or
    if it is interrupted, reveal it yourself: what that takes is printed.
    """
    async with target.attach() as agent:
        market = scope_of(agent, group).market
        lot = await market.show(identity)
        if lot.rule in ("english", "dutch"):
            if items or deposit is not None:
                raise InvalidValue(
                    f"a bid in a {lot.rule} auction has a price and a quantity alone"
                )
            units = await market.bid(identity, price, quantity)
            if target.as_json:
                output.json_line({"auction": identity, "price": f"{price:f}", "units": units})
            else:
                click.echo(f"{identity}: {units} units at {price:f} each, so far")
            return
        sealed = await market.seal(identity, Bid(price, quantity, items, deposit))
        _tell_how_to_reveal(target, sealed, is_data=no_wait)
        if no_wait:
            return
        if await market.wait_for_reveal(identity):
            await market.reveal(sealed)
        ended = await market.wait(identity)
    _print(target, ended)


def _tell_how_to_reveal(target: Target, sealed: Sealed, *, is_data: bool) -> None:
    """To a person who waits it is no data."""
    (one,) = sealed.bids
    said = f"mabeam auction reveal {sealed.auction} {one.price:f}"
    said += "" if one.quantity == 1 else f" --quantity {one.quantity}"
    said += "".join(f" --item {name}" for name in one.items)
    said += f" --salt {sealed.salt.hex()}"
    if is_data and target.as_json:
        output.json_line({"auction": sealed.auction, "salt": sealed.salt.hex(), "reveal": said})
    elif is_data:
        click.echo(said)
    else:
        output.note(f"sealed; it is revealed when bidding has ended, or by:\n  {said}")


@auction.command()
@click.argument("identity", type=key, metavar="ID")
@click.argument("price", type=amount)
@_QUANTITY
@_ITEMS
@click.option("--salt", type=_salt, required=True, metavar="HEX", help="As it was sealed with.")
@GROUP
@verb
async def reveal(
    target: Target,
    identity: str,
    price: Decimal,
    quantity: int,
    items: tuple[str, ...],
    salt: bytes,
    group: str | None,
) -> None:
    """Reveal a bid that was sealed, once bidding has ended."""
    async with target.attach() as agent:
        market = scope_of(agent, group).market
        await market.reveal(await market.sealed(identity, Bid(price, quantity, items), salt=salt))
        lot = await market.show(identity, level="local")
    _print(target, lot)


# ---- looking and ending ----------------------------------------------------------------------


@auction.command("list")
@GROUP
@verb
async def list_(target: Target, group: str | None) -> None:
    """The auctions that are remembered, ended ones first."""
    async with target.look() as agent:
        found = await scope_of(agent, group).market.auctions(level="local")
    if target.as_json:
        output.json_line({"auctions": [one.to_dict() for one in found]})
        return
    output.table(
        ("ID", "ITEM", "RULE", "SIDE", "QUANTITY", "CURRENCY", "STATUS", "BIDS", "AWARDED"),
        [
            (
                one.id,
                one.item,
                one.rule,
                one.side,
                one.quantity,
                one.currency,
                one.status,
                len(one.bids),
                [f"{award.bidder} {award.payment:f}" for award in one.awards],
            )
            for one in found
        ],
    )


@auction.command()
@click.argument("identity", type=key, metavar="ID")
@verb
async def show(target: Target, identity: str) -> None:
    """Everything about auction ID: its terms, its bids, its end."""
    async with target.look() as agent:
        lot = await agent.market.show(identity, level="local")
    _print(target, lot)


@auction.command()
@click.argument("identity", type=key, metavar="ID")
@click.option("--reason", default="", help="Why; everybody sees it.")
@verb
async def cancel(target: Target, identity: str, reason: str) -> None:
    """End an auction of this host's agent that has no bids yet."""
    async with target.attach() as agent:
        market: Market = agent.market
        ended = await market.cancel(identity, reason=reason)
    _print(target, ended)


def _print(target: Target, lot: Auction) -> None:
    if target.as_json:
        output.json_line(lot.to_dict())
        return
    output.facts(
        {
            "id": lot.id,
            "item": lot.item,
            "auctioneer": lot.auctioneer,
            "rule": f"{lot.rule}, {lot.side}",
            "quantity": lot.quantity,
            "reserve": f"{lot.reserve:f} {lot.currency}".strip(),
            "items": [f"{name}={reserve:f}" for name, reserve in lot.items.items()],
            "status": lot.status,
            "reason": lot.reason,
        }
    )
    if lot.bids:
        output.table(
            ("BIDDER", "STATUS", "OFFERS", "INDEX"),
            [
                (one.bidder, one.status, list(map(_offer, one.offers)), one.index)
                for one in lot.bids
            ],
        )
    if lot.awards:
        output.table(
            ("AWARDED", "QUANTITY", "PAYMENT", "ITEMS", "DEAL"),
            [
                (one.bidder, one.quantity, f"{one.payment:f}", one.items, one.deal)
                for one in lot.awards
            ],
        )


def _offer(one: Bid) -> str:
    what = "+".join(one.items) or f"{one.quantity} x"
    return f"{what} {one.price:f}"
