"""Reductions are what numpy says they are, and sorting networks sort."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.api.arrays import Layout, recognised
from mabeam_p2p.api.reductions import OpWord, check_op, combiner, sorting_network
from mabeam_p2p.errors import InvalidValue

numpy = pytest.importorskip("numpy")

WEIGHTS = (1.0, 2.0, 0.5, 0.25, 3.0)


def combined(op: OpWord, arrays: list[Any], trim: float = 0.25) -> Any:
    layout, _ = recognised(arrays[0])
    result = numpy.empty_like(arrays[0])
    parts = [recognised(one)[1] for one in arrays]
    combine = combiner(op, layout, WEIGHTS[: len(arrays)], trim)
    combine(parts, memoryview(result).cast("B"))
    return result


def drawn(count: int, dtype: str = "f4", seed: int = 5) -> list[Any]:
    random = numpy.random.default_rng(seed)
    return [(random.standard_normal(64) * 100).astype(dtype) for _ in range(count)]


REFERENCES: dict[OpWord, Callable[[Any], Any]] = {
    "sum": lambda stack: stack.sum(axis=0),
    "mean": lambda stack: stack.mean(axis=0),
    "min": lambda stack: stack.min(axis=0),
    "max": lambda stack: stack.max(axis=0),
    "median": lambda stack: numpy.median(stack, axis=0),
    "weighted": lambda stack: numpy.average(stack, axis=0, weights=WEIGHTS[: len(stack)]),
    "trimmed_mean": lambda stack: numpy.sort(stack, axis=0)[
        len(stack) // 4 : len(stack) - len(stack) // 4
    ].mean(axis=0),
}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("op", REFERENCES)
def test_a_reduction_is_what_it_is_called(op: OpWord, count: int) -> None:
    arrays = drawn(count, "f8")
    expected = REFERENCES[op](numpy.stack(arrays))
    numpy.testing.assert_allclose(combined(op, arrays), expected, rtol=1e-12)


@pytest.mark.parametrize("op", ["sum", "min", "max"])
def test_whole_numbers_stay_whole(op: OpWord) -> None:
    arrays = drawn(3, "i4")
    result = combined(op, arrays)
    assert result.dtype == numpy.int32
    assert (result == REFERENCES[op](numpy.stack(arrays))).all()


def test_the_mean_of_large_halves_does_not_overflow() -> None:
    arrays = [numpy.full(3, 60_000, "f2")] * 3
    assert combined("mean", arrays).tolist() == [60_000.0] * 3


@pytest.mark.parametrize("op", ["mean", "median", "trimmed_mean", "min", "max"])
@pytest.mark.parametrize("place", range(4))
def test_what_is_no_number_at_one_party_is_none_in_the_result(op: OpWord, place: int) -> None:
    arrays = drawn(4)
    arrays[place][7] = numpy.nan
    assert numpy.isnan(combined(op, arrays)).tolist() == [n == 7 for n in range(64)]


def test_the_order_of_the_parties_decides_the_last_bit_and_nothing_else() -> None:
    arrays = drawn(5)
    assert combined("mean", arrays).tobytes() == combined("mean", arrays).tobytes()
    forth, back = combined("mean", arrays), combined("mean", arrays[::-1])
    numpy.testing.assert_allclose(forth, back, rtol=1e-5)


def test_outliers_do_not_move_median_and_trimmed_mean() -> None:
    arrays = [numpy.array([value], "f8") for value in (1.0, 2.0, 3.0, 1e300)]
    assert combined("median", arrays).tolist() == [2.5]
    assert combined("trimmed_mean", arrays).tolist() == [2.5]


@pytest.mark.parametrize("count", range(1, 11))
def test_the_network_sorts_every_input_of_zeros_and_ones(count: int) -> None:
    """Which proves that it sorts everything (Knuth, vol. 3, 5.3.4, theorem Z)."""
    network = sorting_network(count)
    assert all(0 <= low < high < count for low, high in network)
    for bits in itertools.product((0, 1), repeat=count):
        wires = list(bits)
        for low, high in network:
            wires[low], wires[high] = sorted((wires[low], wires[high]))
        assert wires == sorted(bits)


@given(st.lists(st.integers(), min_size=11, max_size=40))
def test_the_network_sorts_more(values: list[int]) -> None:
    wires = list(values)
    for low, high in sorting_network(len(values)):
        wires[low], wires[high] = sorted((wires[low], wires[high]))
    assert wires == sorted(values)


@pytest.mark.parametrize(
    ("op", "dtype", "kind", "trim", "names"),
    [
        ("mode", "<f4", "numpy", 0.25, "mode"),
        ("mean", "<i4", "numpy", 0.25, "<i4"),
        ("median", "<c8", "numpy", 0.25, "<c8"),
        ("max", "|b1", "numpy", 0.25, "|b1"),
        ("sum", "|u1", "bytes", 0.25, "bytes"),
        ("trimmed_mean", "<f4", "numpy", 0.5, "0.5"),
    ],
)
def test_what_cannot_be_reduced_is_refused_in_words(
    op: Any, dtype: str, kind: str, trim: float, names: str
) -> None:
    with pytest.raises(InvalidValue, match=names.replace("|", r"\|")):
        check_op(op, Layout(kind, dtype, (3,)), trim)
