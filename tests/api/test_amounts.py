from decimal import Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p import InvalidValue
from mabeam_p2p.api.amounts import AMOUNT_MAX, micro_units, text, units
from mabeam_p2p.ids import INTEGER_MAX


@pytest.mark.parametrize(
    ("amount", "micro"),
    [
        (1, 1_000_000),
        (0.1, 100_000),
        (5.0, 5_000_000),
        (1e-06, 1),
        (Decimal("0.000001"), 1),
        (Decimal("1E+3"), 1_000_000_000),
        (Decimal("2.50000000"), 2_500_000),
        (AMOUNT_MAX, INTEGER_MAX),
    ],
)
def test_an_amount_is_taken_exactly(amount: Decimal | int | float, micro: int) -> None:
    assert micro_units(amount, "paying") == micro


@pytest.mark.fault("E1")
@pytest.mark.parametrize(
    ("amount", "complaint"),
    [
        (0.1 + 0.2, "more than 6 decimals"),
        (1e-07, "more than 6 decimals"),
        (Decimal("1.0000001"), "more than 6 decimals"),
        (Decimal("10." + "0" * 69 + "1"), "more than 6 decimals"),
        (1 / 3, "more than 6 decimals"),
        (0, "more than 0"),
        (-1, "more than 0"),
        (Decimal("-0.5"), "more than 0"),
        (float("nan"), "take a number"),
        (float("inf"), "take a number"),
        (Decimal("sNaN"), "take a number"),
        (Decimal("1E+1000000"), "too much"),
        (AMOUNT_MAX + Decimal("0.000001"), "too much"),
        (2**63, "too much"),
        (True, "take a Decimal"),
        ("5", "take a Decimal"),
        (None, "take a Decimal"),
    ],
)
def test_what_is_no_exact_amount_is_refused_and_said_why(amount: object, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint) as raised:
        micro_units(amount, "paying")  # type: ignore[arg-type]
    assert "paying" in str(raised.value)


def test_nothing_can_be_meant_where_it_is_allowed() -> None:
    assert micro_units(0, "spending", least=0) == 0
    with pytest.raises(InvalidValue, match="0 or more"):
        micro_units(-1, "spending", least=0)


@given(st.integers(0, INTEGER_MAX))
def test_units_and_micro_units_are_each_others_inverse(micro: int) -> None:
    amount = units(micro)
    assert micro_units(amount, "x", least=0) == micro
    assert micro_units(Decimal(text(amount)), "x", least=0) == micro
    assert "E" not in text(amount)


def test_the_programs_own_precision_does_not_matter() -> None:
    with localcontext(Context(prec=2)):
        assert micro_units(Decimal("1234.567891"), "x") == 1_234_567_891
        assert units(1_234_567_891) == Decimal("1234.567891")


def test_an_amount_is_shown_without_needless_zeros() -> None:
    assert [text(units(n)) for n in (0, 5_000_000, 250_000, 1)] == ["0", "5", "0.25", "0.000001"]


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_a_float_is_taken_as_it_is_printed_or_not_at_all(amount: float) -> None:
    try:
        micro = micro_units(amount, "x")
    except InvalidValue:
        assert round(amount, 6) != amount
    else:
        assert float(units(micro)) == amount
