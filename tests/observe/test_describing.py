from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum

import msgspec
import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.observe import describing
from mabeam_p2p.observe.describing import DEPTH_MAX, HIDDEN, ROWS_MAX, Describer
from mabeam_p2p.records import Member, MemberState


class Thing:
    """Stands for an object of the package."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


class Slotted:
    __slots__ = ("_a", "b")

    def __init__(self) -> None:
        self.b = 2


class Colour(Enum):
    RED = 1


class JoinSecret:
    """A type that says itself what it is."""


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in this file counts as the package's."""
    monkeypatch.setattr(describing, "_PACKAGE", "")
    monkeypatch.setattr(describing, "_WITHOUT_STATE", ("builtins.", "collections.", "threading."))


def described(**fields: object) -> list[str]:
    return Describer().lines("it", Thing(**fields))


def test_every_kind_of_value_is_a_line() -> None:
    member = Member(PeerId("p"), "ant", "h:1", 1, 2, MemberState.DEAD)
    assert described(a=1, b=None, c=0.5, d=Colour.RED, e={}, f=(1, "x"), g=Slotted(), m=member) == [
        "it: Thing",
        "  a: 1",
        "  b: None",
        "  c: 0.5",
        "  d: RED",
        "  e: dict of 0",
        "  f: tuple of 2",
        "    0: 1",
        "    1: 'x'",
        "  g: Slotted",
        "    b: 2",
        "  m: Member",
        "    peer: 'p'",
        "    name: 'ant'",
        "    address: 'h:1'",
        "    epoch: 1",
        "    incarnation: 2",
        "    state: DEAD",
        "    eligible: True",
        "    score: 50",
        "    version: 1",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("join_secret", "canary"),
        ("password", "canary"),
        ("_private_key", "canary"),
        ("curve_secretkey", {"canary": "canary"}),
        ("server_key", "canary"),
        ("blob", b"canary"),
        ("anything", JoinSecret()),
        ("anything", bytearray(b"canary")),
        ("anything", "canary" + "a1.-:+=^!/*?&<>()[]{}@%$#" + "x" * 9),
    ],
)
def test_secrets_and_values_are_not_shown(name: str, value: object) -> None:
    for fields in ({name: value}, {"inner": Thing(**{name: value})}, {"inner": {name: value}}):
        text = "\n".join(described(**fields))
        assert "canary" not in text.replace("dict", "")
        assert name in text


@pytest.mark.parametrize(
    "key", [b"canary", ("a", b"canary"), ((b"canary",), 1), "canary" + "a" * 34, Thing(x="canary")]
)
def test_keys_of_mappings_show_no_more_than_values(key: object) -> None:
    lines = described(table={key: 1})
    assert "canary" not in "".join(lines)
    assert lines[-1].endswith(": 1")


def test_what_is_called_a_token_is_shown_unless_it_is_text() -> None:
    assert described(_token=7, tokens={7: 8})[1:] == [
        "  _token: 7",
        "  tokens: dict of 1",
        "    7: 8",
    ]
    assert described(token="canary")[1] == f"  token: {HIDDEN}"


def test_bytes_are_told_by_their_number() -> None:
    assert described(blob=b"12345")[1] == "  blob: <5 bytes>"
    assert described(secret=JoinSecret())[1] == f"  secret: {HIDDEN}"


def test_what_comes_again_is_told_by_its_first_place() -> None:
    shared = Thing(x=1)
    lines = described(a=shared, b=[shared])
    assert lines[-1] == "    0: as it.a"
    loop = Thing()
    loop.__dict__["me"] = loop
    assert Describer().lines("it", loop) == ["it: Thing", "  me: as it"]


def test_of_long_containers_the_first_and_the_last_are_told() -> None:
    lines = described(rows=deque(range(1000)))
    assert lines[1] == "  rows: deque of 1000"
    assert len(lines) == 2 + ROWS_MAX + 1
    assert f"    ...: {1000 - ROWS_MAX} more" in lines
    assert lines[-1] == "    999: 999"
    assert len(described(rows=list(range(ROWS_MAX)))) == 2 + ROWS_MAX


def test_text_is_cut_and_stays_on_its_line() -> None:
    lines = described(text="a\nb" + "x" * 500)
    assert len(lines) == 2
    assert "characters more" in lines[1]
    assert len(described(**{"rows": {"k\n" * 300: 1}})) == 3


def test_depth_and_size_are_bounded() -> None:
    deep: object = 1
    for _ in range(DEPTH_MAX * 3):
        deep = [deep, 0]
    assert any("too deep" in line for line in described(deep=deep))
    lines = Describer(bytes_max=300).lines("it", Thing(rows=list(range(10_000))))
    assert sum(map(len, lines)) < 400
    assert "the limit of a dump is reached" in lines[-1]


class Restless(Mapping[str, int]):
    """Changes whenever it is looked through."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        yield "a"
        raise RuntimeError("changed size during iteration")

    def __len__(self) -> int:
        return 1


def test_a_container_that_changes_under_the_hand_is_passed_over() -> None:
    assert described(it=Restless(), next=2)[-1] == "  next: 2"


def test_what_belongs_to_others_is_told_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "_PACKAGE", "mabeam_p2p.")
    assert Describer().lines("it", msgspec.json.Encoder())[0].startswith("it: <msgspec")
    assert "Thing>" in Describer().lines("it", Thing(secret="canary"))[0]
