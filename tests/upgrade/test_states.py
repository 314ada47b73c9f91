"""States of earlier versions, and the limits that a log is applied by."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import Struct, msgpack
from msgspec.structs import replace

import mabeam_p2p
from mabeam_p2p.commands import Configure, Noop, RaiseVersion
from mabeam_p2p.config import MACHINE_VERSION, Limits
from mabeam_p2p.events import VersionRaised
from mabeam_p2p.ids import CLUSTER_SESSION, ClusterId
from mabeam_p2p.limits import FIRST_LIMITS, rules_of
from mabeam_p2p.machine import versions
from mabeam_p2p.machine.machine import Machine, written_by
from mabeam_p2p.protocol.versions import common_machine
from mabeam_p2p.records import Able
from mabeam_p2p.requests import Committed
from tests.machine.written_log import WrittenLog, peer_id, reason

MACHINES = Path(mabeam_p2p.__file__).parent / "machine"
NO_ANSWER = {"journal_page_bytes_max"}
"""Limits of machines that no outcome depends on."""
CLUSTER = ClusterId("c" * 32)
FIRST = Configure(CLUSTER_SESSION, 0, CLUSTER, (peer_id(1),))
RULES = rules_of(Limits())
RAISE = RaiseVersion(CLUSTER_SESSION, 0, 2, RULES)


Since = Callable[[int], None]


class Leaf(Struct, frozen=True, array_like=True, tag=3):
    old: int
    new: int = 0


class Other(Struct, frozen=True, array_like=True, tag=4):
    old: int


class Tree(Struct, frozen=True, array_like=True):
    first: Leaf
    run: tuple[Leaf, ...]
    either: Leaf | Other | None
    plain: tuple[tuple[int, bytes], ...] = ()


class Bud(Leaf, frozen=True, array_like=True, tag=5):
    """What a leaf is, under another tag."""


class Bundle(Struct, frozen=True, array_like=True):
    leaves: tuple[Leaf, ...] | None


class FormerLeaf(Struct, frozen=True, array_like=True, tag=3):
    old: int


class FormerTree(Struct, frozen=True, array_like=True):
    first: FormerLeaf
    run: tuple[FormerLeaf, ...]
    either: FormerLeaf | Other | None
    plain: tuple[tuple[int, bytes], ...] = ()


@pytest.fixture
def since(monkeypatch: pytest.MonkeyPatch) -> Iterator[Since]:
    """Say since when a field is there, for the length of a test."""
    versions._plan.cache_clear()
    field: tuple[type[Struct], str] = (Leaf, "new")
    yield lambda version: monkeypatch.setitem(versions.FIELDS_SINCE, field, version)
    versions._plan.cache_clear()


# ---- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("either", [None, Leaf(4), Other(5)])
def test_a_state_is_encoded_as_before_its_fields_came(
    since: Since, either: Leaf | Other | None
) -> None:
    since(7)
    tree = Tree(Leaf(1), (Leaf(2), Leaf(3)), either, ((1, b"x"),))
    was = FormerTree(
        FormerLeaf(1),
        (FormerLeaf(2), FormerLeaf(3)),
        FormerLeaf(4) if isinstance(either, Leaf) else either,
        ((1, b"x"),),
    )
    assert msgpack.encode(versions.as_of(tree, 6)) == msgpack.encode(was)
    assert versions.as_of(tree, 7) is tree
    assert msgpack.decode(msgpack.encode(was), type=Tree) == tree


def test_a_field_that_is_used_before_its_version_is_our_own_fault(since: Since) -> None:
    since(8)
    with pytest.raises(AssertionError, match="before its version"):
        msgpack.encode(versions.as_of(Tree(Leaf(1, 9), (), None), 7))


def test_a_field_of_a_base_came_with_it_in_all_that_have_it(since: Since) -> None:
    since(7)
    assert versions.as_of(Bud(1), 6) == (5, 1)
    assert versions.as_of(Bud(1), 7) == Bud(1)


def test_a_state_that_no_plan_reaches_is_our_own_fault(since: Since) -> None:
    """Rather that than a later field in what an earlier release reads."""
    since(7)
    bundle = Bundle((Leaf(1),))
    assert versions.as_of(bundle, 7) is bundle
    with pytest.raises(AssertionError, match=r"no plan for tuple\[.*Leaf, \.\.\.\] \| None"):
        versions.as_of(bundle, 6)


def test_a_machine_of_the_first_version_says_nothing_of_versions() -> None:
    log = WrittenLog()
    log.apply(FIRST)
    before = log.machine.encode()
    assert written_by(before) == (1, 0)
    configuration = msgpack.decode(before)[3]
    assert len(configuration) == 6
    log.apply(RAISE)
    assert msgpack.decode(log.machine.encode())[3][6:] == [2, RULES]
    assert written_by(log.machine.encode()) == (2, RULES)


# ---- the version in the log ----------------------------------------------------------------------


def test_a_log_begins_by_the_version_that_its_first_entry_names() -> None:
    log = WrittenLog()
    log.apply(replace(FIRST, version=2, rules=RULES))
    assert (log.machine.version, log.machine.configuration.rules) == (2, RULES)
    # What the voters are changed to says nothing of it.
    log.apply(replace(FIRST, voters=(peer_id(2),), version=1))
    assert log.machine.version == 2


def test_a_version_is_raised_at_one_index_and_never_lowered() -> None:
    log = WrittenLog()
    log.apply(FIRST)
    assert isinstance(log.apply(RAISE), Committed)
    assert log.events == (VersionRaised(log.machine.applied_index, 2),)
    assert reason(log.apply(RAISE)) == "stale_version"
    assert reason(log.apply(replace(RAISE, version=1, rules=0))) == "stale_version"
    assert (log.machine.version, log.machine.configuration.rules) == (2, RULES)


@pytest.mark.parametrize(
    ("version", "rules", "reason"),
    [(3, RULES, "machine"), (2, RULES + 1, "limits"), (2, RULES, ""), (1, 0, "")],
)
def test_a_machine_objects_to_what_it_cannot_apply(version: int, rules: int, reason: str) -> None:
    machine = Machine(Limits(), version_max=2)
    for command in (
        replace(FIRST, version=version, rules=rules),
        RaiseVersion(CLUSTER_SESSION, 0, version, rules),
    ):
        unable = machine.objection((Noop(CLUSTER_SESSION, 0), command))
        assert (unable.reason if unable else "") == reason


# ---- limits --------------------------------------------------------------------------------------


def test_every_limit_that_a_machine_reads_is_in_the_log() -> None:
    texts = [path.read_text(encoding="utf-8") for path in MACHINES.rglob("*.py")]
    read = {name for text in texts for name in re.findall(r"limits\.([a-z_]+)", text)}
    assert {name for name in read if name in Limits.__struct_fields__} - NO_ANSWER == set(
        FIRST_LIMITS
    )


def test_what_each_limit_was_when_it_came_is_written_down_for_ever() -> None:
    assert rules_of(Limits()) == 1_865_147_336_997_338
    assert len(FIRST_LIMITS) >= 59


@pytest.mark.parametrize("name", sorted(FIRST_LIMITS))
def test_another_limit_is_another_hash(name: str) -> None:
    assert rules_of(replace(Limits(), **{name: FIRST_LIMITS[name] + 1})) != RULES


def test_a_limit_that_came_later_and_is_as_it_came_changes_no_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FIRST_LIMITS, "frame_messages_max", Limits().frame_messages_max)
    assert rules_of(Limits()) == RULES
    assert rules_of(replace(Limits(), frame_messages_max=1)) != RULES


# ---- what all can --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "version"),
    [
        ((), 5),
        ((Able(machine=5, rules=7), Able(machine=4, rules=7)), 4),
        ((Able(machine=9, rules=7),), 5),
        ((Able(machine=5, rules=7), None), 1),
        ((Able(machine=5, rules=8),), 1),
        ((Able(),), 1),
    ],
)
def test_the_version_of_a_log_is_one_that_all_can(
    others: tuple[Able | None, ...], version: int
) -> None:
    mine = Able(machine=5, rules=7)
    assert common_machine(mine, others) == (version, 7 if version > 1 else 0)


def test_this_release_has_a_version_with_limits() -> None:
    assert MACHINE_VERSION >= 2
