"""How contributions become one: elementwise, in the order of their members, in numpy.

Each slice is combined in one place, so that everybody gets the same bits whatever its processor.
Sorting is done by Batcher's odd-even merge network (Batcher 1968): minimum and maximum of whole
chunks, which numpy does faster than it sorts many short columns. A NaN of one party spreads to the
result, as every comparison with it gives NaN to both sides.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from mabeam_p2p.api.arrays import Array, Layout, numpy_module
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.runtime.bulk import Combine

OpWord = Literal["sum", "mean", "weighted", "trimmed_mean", "median", "min", "max"]
OPS: tuple[OpWord, ...] = get_args(OpWord)

_ANY_NUMBER = "iufc"
_ORDERED = "iuf"
_LETTERS: dict[OpWord, str] = {
    "sum": _ANY_NUMBER,
    "mean": "fc",
    "weighted": "fc",
    "trimmed_mean": "f",
    "median": "f",
    "min": _ORDERED,
    "max": _ORDERED,
}
"""Letters of dtypes that an op can make its result in."""


def check_op(op: OpWord, layout: Layout, trim: float) -> None:
    """Raises InvalidValue if `op` cannot be done with such an array."""
    if op not in OPS:
        raise InvalidValue(f"op {op!r}: take one of {', '.join(OPS)}")
    if not 0 <= trim < 0.5:
        raise InvalidValue(f"trim {trim!r}: take a share of the parties from 0 to less than 0.5")
    if layout.kind in ("bytes", "bytearray"):
        raise InvalidValue("bytes are no numbers: give an array.array, a numpy array or a tensor")
    if layout.dtype[1] not in _LETTERS[op]:
        raise InvalidValue(
            f"op {op!r} does not work with {layout.dtype}: convert the array first, "
            "as by .astype('float32')"
        )
    if numpy_module() is None:
        raise InvalidValue("all_reduce needs numpy: install mabeam-p2p[numpy]")


def combiner(op: OpWord, layout: Layout, weights: Sequence[float], trim: float) -> Combine:
    """Makes one array of those of the parties. weights: in their order, for `weighted` alone."""
    numpy = numpy_module()
    dtype = numpy.dtype(layout.dtype)
    # Half a float overflows where its mean would not.
    wide = numpy.dtype("f4") if dtype.kind == "f" and dtype.itemsize == 2 else dtype

    def combine(parts: Sequence[memoryview], into: memoryview) -> None:
        arrays = [numpy.frombuffer(part, dtype) for part in parts]
        result = numpy.frombuffer(into, dtype)
        if wide is not dtype:
            arrays = [one.astype(wide) for one in arrays]
        target = result if wide is dtype else numpy.empty(result.shape, wide)
        # Infinities and NaNs of the parties are theirs to see; the result shows them.
        with numpy.errstate(all="ignore"):
            _reduce(numpy, op, arrays, target, weights, trim)
            if target is not result:
                result[...] = target

    return combine


def _reduce(
    numpy: Any,
    op: OpWord,
    arrays: list[Array],
    into: Array,
    weights: Sequence[float],
    trim: float,
) -> None:
    count = len(arrays)
    match op:
        case "sum":
            _fold(numpy.add, arrays, into)
        case "min":
            _fold(numpy.minimum, arrays, into)
        case "max":
            _fold(numpy.maximum, arrays, into)
        case "mean":
            _mean(numpy, arrays, into)
        case "weighted":
            scaled = [one * weight for one, weight in zip(arrays, weights, strict=True)]
            _fold(numpy.add, scaled, into)
            numpy.divide(into, sum(weights), out=into)
        case "median":
            middle = (count - 1) // 2
            _mean(numpy, _sorted(numpy, arrays)[middle : count - middle], into)
        case "trimmed_mean":
            cut = trimmed_count(count, trim)
            _mean(numpy, _sorted(numpy, arrays)[cut : count - cut], into)


def trimmed_count(count: int, trim: float) -> int:
    """How many of `count` values are left out at each end."""
    return int(count * trim)


def sorting_network(count: int) -> list[tuple[int, int]]:
    """Pairs of wires to compare and exchange, in this order, so that `count` values are sorted."""
    pairs: list[tuple[int, int]] = []
    length = 1
    while length < count:
        step = length
        while step >= 1:
            for start in range(step % length, count - step, 2 * step):
                pairs += [
                    (low, low + step)
                    for low in range(start, min(start + step, count - step))
                    if low // (2 * length) == (low + step) // (2 * length)
                ]
            step //= 2
        length *= 2
    return pairs


def _fold(function: Any, arrays: list[Array], into: Array) -> None:
    if len(arrays) == 1:
        into[...] = arrays[0]
        return
    function(arrays[0], arrays[1], out=into)
    for one in arrays[2:]:
        function(into, one, out=into)


def _mean(numpy: Any, arrays: list[Array], into: Array) -> None:
    _fold(numpy.add, arrays, into)
    if len(arrays) > 1:
        numpy.divide(into, len(arrays), out=into)


def _sorted(numpy: Any, arrays: list[Array]) -> list[Array]:
    """As many arrays, of which each element of the first is the least of its column, and so on."""
    wires = list(arrays)
    for low, high in sorting_network(len(wires)):
        least = numpy.minimum(wires[low], wires[high])
        wires[high] = numpy.maximum(wires[low], wires[high])
        wires[low] = least
    return wires
