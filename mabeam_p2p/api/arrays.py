"""Arrays of users as runs of bytes, and back.

numpy and torch are recognised without being imported: a tensor is asked to be a numpy array over
the same memory; everything else that lends its memory is taken as it is. A result is of the same
kind as what was given.
"""

import importlib
import math
import re
import sys
from array import array
from typing import Any, TypeAlias

from msgspec import Struct

from mabeam_p2p.errors import InvalidValue

Array: TypeAlias = Any
"""A numpy array or number, a torch tensor, an array.array, bytes or another buffer. Any, because
neither numpy nor torch need be there."""

KINDS = ("numpy", "torch", "array", "bytes", "bytearray")
"""What was given. Only ever appended."""

DIMENSIONS_MAX = 32

_DTYPE = re.compile(r"[<>|][biufc](?:1|2|4|8|12|16|24|32)")
"""numpy's word for a plain number. Others hold references, dates or fields."""

_TYPE_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q",
               "u8": "Q", "f4": "f", "f8": "d"}  # fmt: skip
_DTYPES = {code: dtype for dtype, code in _TYPE_CODES.items()}
_ORDER = "<" if sys.byteorder == "little" else ">"


class Layout(Struct, frozen=True, array_like=True):
    """What the bytes mean."""

    kind: str
    dtype: str
    """As numpy writes it: byte order, letter, bytes of an item; `<f4`."""
    shape: tuple[int, ...]

    @property
    def item_bytes(self) -> int:
        return int(self.dtype[2:])

    @property
    def item_count(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.item_count * self.item_bytes

    @property
    def is_sound(self) -> bool:
        """Whether it means something; it may come from elsewhere."""
        return (
            self.kind in KINDS
            and _DTYPE.fullmatch(self.dtype) is not None
            and len(self.shape) <= DIMENSIONS_MAX
            and all(length >= 0 for length in self.shape)
        )

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def recognised(value: Array) -> tuple[Layout, memoryview]:
    """What it is, and its bytes, which are those of `value` itself where they lie in one run.

    Raises InvalidValue for what is no array of numbers.
    """
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_numpy("torch", _as_numpy(value))
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return _of_numpy("numpy", numpy.asarray(value, order="C"))
    try:
        view = memoryview(value)
    except TypeError:
        raise InvalidValue(
            f"a {type(value).__name__} does not travel as bulk data: give a numpy array, a torch "
            "tensor, an array.array, or bytes"
        ) from None
    if isinstance(value, array):
        dtype = _DTYPES.get(_of_this_size(value))
        if dtype is None:
            raise InvalidValue(f"an array of type code {value.typecode!r} holds no numbers")
        order = "|" if dtype.endswith("1") else _ORDER
        return Layout("array", order + dtype, (len(value),)), view.cast("B")
    kind = "bytearray" if isinstance(value, bytearray) else "bytes"
    plain = memoryview(view.tobytes()) if not view.c_contiguous else view.cast("B")
    return Layout(kind, "|u1", (plain.nbytes,)), plain


def empty(size: int) -> memoryview:
    """New memory, to be written. With numpy it is not cleared first."""
    numpy = numpy_module()
    return memoryview(bytearray(size) if numpy is None else numpy.empty(size, numpy.uint8))


def restored(layout: Layout, data: memoryview, like: Array = None) -> Array:
    """The array in `data`, which it keeps if it can. like: what this party gave itself: a tensor
    goes to the same device."""
    if layout.kind in ("bytes", "bytearray"):
        return bytes(data) if layout.kind == "bytes" else bytearray(data)
    if layout.kind == "array":
        numbers = array(_TYPE_CODES[layout.dtype[1:]])
        numbers.frombytes(data)
        return numbers
    numpy = numpy_module()
    assert numpy is not None
    made = numpy.frombuffer(data, layout.dtype).reshape(layout.shape)
    torch = sys.modules.get("torch")
    # Who has no torch, and gave nothing itself, gets the same numbers without it.
    if layout.kind != "torch" or torch is None:
        return made
    tensor = torch.from_numpy(made)
    return tensor if like is None else tensor.to(like.device)


def check_restorable(layout: Layout) -> None:
    """Raises InvalidValue if this process cannot hold such an array."""
    if layout.kind in ("numpy", "torch") and numpy_module() is None:
        raise InvalidValue(
            f"another party sends a {layout.kind} array, and there is no numpy here: "
            "install mabeam-p2p[numpy]"
        )
    if layout.kind == "array" and layout.dtype[1:] not in _TYPE_CODES:
        raise InvalidValue(f"no array.array holds {layout.dtype}")


def numpy_module() -> Any:
    """numpy, imported now if it was not yet; None if it is not installed."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


def _of_numpy(kind: str, value: Array) -> tuple[Layout, memoryview]:
    layout = Layout(kind, str(value.dtype.str), tuple(map(int, value.shape)))
    if not layout.is_sound:
        raise InvalidValue(
            f"an array of {value.dtype} with {value.ndim} dimensions does not travel: take "
            f"numbers, in up to {DIMENSIONS_MAX} dimensions"
        )
    return layout, memoryview(value.reshape(-1).view("u1"))


def _as_numpy(tensor: Array) -> Array:
    try:
        return tensor.detach().cpu().contiguous().numpy()
    except (TypeError, RuntimeError) as error:
        raise InvalidValue(
            f"a tensor of {tensor.dtype} cannot travel: {error}; convert it first, as by .float()"
        ) from error


def _of_this_size(value: "array[Any]") -> str:
    """The type code of the same kind and size: what `l` is depends on the platform."""
    if value.typecode in "lL":
        plain = {4: "i", 8: "q"}[value.itemsize]
        return plain.upper() if value.typecode == "L" else plain
    return value.typecode
