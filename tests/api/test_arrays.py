"""What arrays are taken for, and what comes back."""

import sys
from array import array
from types import ModuleType
from typing import Any

import pytest

from mabeam_p2p.api.arrays import Layout, check_restorable, empty, recognised, restored
from mabeam_p2p.errors import InvalidValue

numpy = pytest.importorskip("numpy")


def returned(value: Any) -> Any:
    """Through bytes and back."""
    layout, data = recognised(value)
    assert layout.size == data.nbytes
    assert layout.is_sound
    memory = empty(layout.size)
    memory[:] = data
    return restored(layout, memory, value)


@pytest.mark.parametrize(
    "value",
    [
        numpy.arange(6, dtype="f4").reshape(2, 3),
        numpy.arange(6, dtype=">i8"),
        numpy.zeros((0, 3)),
        numpy.array(2.5),
        numpy.ones((3, 4), "c16"),
        numpy.array([True, False]),
        numpy.arange(12).reshape(3, 4)[:, ::2],
        numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
    ],
    ids=["f4", "big-endian", "empty", "scalar", "complex", "bool", "strided", "fortran"],
)
def test_a_numpy_array_comes_back_as_it_was(value: Any) -> None:
    back = returned(value)
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert numpy.array_equal(back, value)


@pytest.mark.parametrize(
    "value",
    [b"bytes", b"", bytearray(b"more"), array("f", [1.5, 2.5]), array("B"), array("q", [-1])],
    ids=repr,
)
def test_other_buffers_come_back_as_they_were(value: Any) -> None:
    back = returned(value)
    assert (type(back), back) == (type(value), value)


def test_the_bytes_of_an_array_in_one_run_are_not_copied() -> None:
    value = numpy.zeros(8, "f4")
    _, data = recognised(value)
    value[0] = 1
    assert bytes(data[:4]) == value[:1].tobytes()
    _, plain = recognised(memoryview(bytearray(4)))
    assert plain.nbytes == 4


def test_long_integers_travel_by_their_size() -> None:
    """What `l` is depends on the platform."""
    layout, _ = recognised(array("l", [1, 2]))
    assert layout.dtype[1:] == f"i{array('l').itemsize}"


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([1, 2], "list"),
        (3.5, "float"),
        (None, "NoneType"),
        ("text", "str"),
        (array("u", "text"), "'u'"),
        (numpy.array(["text"]), "<U4"),
        (numpy.array([object()]), "object"),
        (numpy.zeros(2, "M8[s]"), "datetime64"),
        (numpy.zeros(2, [("a", "f4")]), "'a'"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_by_name(value: Any, names: str) -> None:
    with pytest.raises(InvalidValue, match=names):
        recognised(value)


@pytest.mark.parametrize(
    "layout",
    [
        Layout("numpy", "|O8", (1,)),
        Layout("numpy", "<f4", (-1,)),
        Layout("numpy", "<f", (1,)),
        Layout("numpy", "<f4,<f4", (1,)),
        Layout("pickle", "<f4", (1,)),
        Layout("numpy", "<f4", (1,) * 33),
    ],
)
def test_a_layout_from_elsewhere_that_means_nothing_is_known_for_it(layout: Layout) -> None:
    assert not layout.is_sound


def test_a_tensor_for_who_has_no_torch_is_a_numpy_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    back = restored(Layout("torch", "<f4", (2,)), memoryview(bytearray(8)))
    assert isinstance(back, numpy.ndarray)


def test_without_numpy_bytes_travel_and_arrays_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> ModuleType:
        raise ImportError(name)

    monkeypatch.setattr("mabeam_p2p.api.arrays.importlib.import_module", missing)
    assert returned(b"bytes") == b"bytes"
    assert returned(array("d", [1.0])) == array("d", [1.0])
    check_restorable(Layout("bytes", "|u1", (3,)))
    for kind in ("numpy", "torch"):
        with pytest.raises(InvalidValue, match=r"mabeam-p2p\[numpy\]"):
            check_restorable(Layout(kind, "<f4", (3,)))


def test_an_array_that_no_array_type_holds_is_refused() -> None:
    with pytest.raises(InvalidValue, match="<f2"):
        check_restorable(Layout("array", "<f2", (3,)))
