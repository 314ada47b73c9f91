import importlib
import pkgutil
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import get_args, get_type_hints

import msgspec
import pytest

import mabeam_p2p
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.observe import describing
from mabeam_p2p.observe.describing import DEPTH_MAX, HIDDEN, ROWS_MAX, WORDS, Describer
from mabeam_p2p.records import Agent, Member, MemberState, TaskError


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
        ("code", "canary"),
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


def test_of_the_words_of_an_application_the_length_is_told() -> None:
    assert described(error=TaskError("ValueError", "canary", "canary " * 100))[1:] == [
        "  error: TaskError",
        "    kind: 'ValueError'",
        "    message: <6 characters>",
        "    traceback: <700 characters>",
    ]
    assert described(_reverted="canary")[1] == "  _reverted: <6 characters>"


def test_words_are_not_shown_in_any_container_of_theirs() -> None:
    words = ("canary", "")
    told = Agent(
        AgentId("b@p"), PeerId("p"), 1, SessionId(1), (), True, True, (), 1, (("where", "canary"),)
    )
    lines = described(
        notes=words, _notes={"a@p": "canary"}, note=[[words], deque(words)], error=[told]
    )
    assert "canary" not in "".join(lines)
    assert "    0: <6 characters>" in lines
    assert "    1: <0 characters>" in lines
    assert "    'a@p': <6 characters>" in lines
    assert "      id: 'b@p'" in lines, "an object's other fields are its own"


SHOWN = frozenset({
    "account", "address", "addresses", "agent", "applied", "barrier", "budget", "capabilities",
    "cluster", "cluster_id", "counter", "counters", "currency", "deal", "entries", "group",
    "groups", "hold", "item", "items", "journal", "key", "kind", "label",
    "leader_name", "left", "lock", "merged", "missing", "name", "names", "operation",
    "parameter", "parent", "part", "payee", "proposal", "queue", "rationale", "reason",
    "requires", "resolver", "role", "scores", "seat", "skill", "source", "state", "superseded",
    "target", "target_name", "topic", "unfit", "weights", "what",
})  # fmt: skip
"""Names, stable words and what people give as a reason: written for others to read."""
SECRET = frozenset({"code"})
FLOOR = (
    "commands", "effects", "events", "inquiries", "key_requests", "messages", "records", "requests",
)  # fmt: skip


def texts() -> Iterator[str]:
    """The names of all fields that hold text of no narrower type, in what is stored and sent."""
    for name in FLOOR:
        floor = importlib.import_module(f"{mabeam_p2p.__name__}.{name}")
        for kind in {kind for module in (floor, *modules(floor)) for kind in structs(module)}:
            yield from (field for field, hint in get_type_hints(kind).items() if has_text(hint))


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        yield importlib.import_module(f"{package.__name__}.{module.name}")


def structs(module: ModuleType) -> Iterator[type]:
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield kind


def has_text(hint: object) -> bool:
    return hint is str or any(map(has_text, get_args(hint)))


def test_of_every_text_it_is_decided_whether_it_is_shown() -> None:
    """Whoever adds one puts it into WORDS, if applications write it, or into SHOWN."""
    assert not WORDS & SHOWN
    assert set(texts()) == WORDS | SHOWN | SECRET
    assert all(HIDDEN in described(**{name: "canary"})[1] for name in SECRET)


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
    lines = described(name="a\nb" + "x" * 500)
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
