"""Amounts of money and budgets as users write them, and as they travel: whole micro-units.

Nothing is ever rounded: what has more than six decimals is refused.
"""

import operator
from decimal import Context, Decimal
from typing import TypeAlias

from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import INTEGER_MAX

Amount: TypeAlias = Decimal | int | float
"""Units of a currency or budget. A float is taken for the decimal that Python prints for it."""

DECIMALS = 6
_EXACT = Context(prec=64)
"""Wide enough for every amount that is accepted; the program's own context does not matter."""

AMOUNT_MAX = _EXACT.scaleb(Decimal(INTEGER_MAX), -DECIMALS)


def micro_units(amount: Amount, what: str, *, least: int = 1) -> int:
    """The amount in micro-units. what: whose amount it is, for messages. least: micro-units; 0
    where nothing may be meant. Raises InvalidValue."""
    number = _decimal(amount, what)
    if not number.is_finite():
        raise InvalidValue(f"{what}: {amount!r} is no amount: take a number")
    if number < 0 or (least and not number):
        allowed = "more than 0" if least else "0 or more"
        raise InvalidValue(f"{what}: {amount} is no amount: take {allowed}")
    if number > AMOUNT_MAX:
        raise InvalidValue(f"{what}: {amount} is too much: take {AMOUNT_MAX} at most")
    scaled = _EXACT.scaleb(_EXACT.plus(number), DECIMALS)
    whole = scaled.to_integral_value(context=_EXACT)
    if number != _EXACT.scaleb(whole, -DECIMALS):
        raise InvalidValue(
            f"{what}: {amount!r} has more than {DECIMALS} decimals: round it yourself, as you mean"
            " it"
        )
    return int(whole)


def units(micro: int) -> Decimal:
    """Exact, without needless zeros: 5, 0.25."""
    return _EXACT.divide(Decimal(micro), Decimal(10**DECIMALS))


def text(amount: Decimal) -> str:
    """As a person and `--json` write it: no exponent."""
    return format(amount, "f")


def _decimal(amount: Amount, what: str) -> Decimal:
    if isinstance(amount, Decimal):
        return amount
    if isinstance(amount, float):
        # What Python prints for it, also for subclasses that print themselves in another way.
        return Decimal(float.__repr__(amount))
    try:
        if not isinstance(amount, bool):
            return Decimal(operator.index(amount))
    except TypeError:
        pass
    raise InvalidValue(f"{what}: {amount!r} is no amount: take a Decimal, an int or a float")
