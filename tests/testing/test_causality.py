"""I14 can fail: each of its rules is broken by hand once."""

from collections.abc import Callable

import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Record, Sibling, Variable, VariableForgotten, VariableMarks
from mabeam_p2p.testing.causality import Causality
from mabeam_p2p.testing.checkers import Violation

A, B, C = (PeerId(letter * 16) for letter in "abc")


def sibling(actor: PeerId, counter: int, value: bytes | None = b"v") -> Sibling:
    return Sibling(actor, counter, counter, value)


def variable(*siblings: Sibling, seen: tuple[tuple[PeerId, int], ...] = ()) -> Variable:
    context = dict(seen)
    for one in siblings:
        context[one.actor] = max(context.get(one.actor, 0), one.counter)
    return Variable("x", "lww", tuple(sorted(context.items())), siblings)


FIRST = variable(sibling(A, 1))
OVER = variable(sibling(B, 1), seen=((A, 1),))
"""B's write over A's."""


def judge(*records: tuple[PeerId, Record]) -> Causality:
    causality = Causality()
    for peer in (A, B, C):
        causality.started(peer, {}, None)
    for peer, record in records:
        causality.persisted(peer, record)
    return causality


def test_what_peers_do_rightly_is_no_violation() -> None:
    gone = variable(sibling(B, 2, None), seen=((A, 1),))
    causality = judge(
        (A, FIRST),
        (B, FIRST),
        (B, OVER),
        (A, OVER),
        (B, gone),
        (A, gone),
        (B, VariableMarks(((A, 1), (B, 2)), ())),
        (B, VariableForgotten("x")),
    )
    causality.settled((A, B))


BROKEN: list[tuple[str, tuple[tuple[PeerId, Record], ...]]] = [
    ("goes back", ((A, FIRST), (B, FIRST), (B, OVER), (B, variable(sibling(B, 1))))),
    ("nobody has written", ((A, FIRST), (B, variable(sibling(A, 2))))),
    ("written as", ((A, FIRST), (B, variable(sibling(A, 1, b"other"))))),
    ("loses", ((A, FIRST), (B, FIRST), (B, variable(seen=((A, 1),))))),
    ("beside", ((A, FIRST), (B, FIRST), (B, OVER), (A, variable(*FIRST.siblings, *OVER.siblings)))),
    ("which stands", ((A, FIRST), (A, VariableForgotten("x")))),
    (
        "anew",
        (
            (A, variable(sibling(A, 1, None))),
            (B, variable(sibling(A, 1, None))),
            (B, VariableForgotten("x")),
        ),
    ),
    ("lacks it", ((A, FIRST), (B, VariableMarks(((A, 1),), ())))),
    ("less than before", ((A, VariableMarks(((B, 2),), ())), (A, VariableMarks(((B, 1),), ())))),
    ("does not know", ((A, VariableMarks((), ((B, 1),))),)),
]


@pytest.mark.parametrize(("what", "records"), BROKEN, ids=[what for what, _ in BROKEN])
def test_each_rule_can_be_broken(what: str, records: tuple[tuple[PeerId, Record], ...]) -> None:
    with pytest.raises(Violation, match=what) as caught:
        judge(*records)
    assert caught.value.rule == "I14"


@pytest.mark.parametrize(
    ("what", "last"),
    [
        ("has lost", lambda causality: None),
        ("superseded", lambda causality: causality.persisted(A, OVER)),
    ],
)
def test_in_the_end_everybody_holds_what_stands(
    what: str, last: Callable[[Causality], None]
) -> None:
    causality = judge((A, FIRST), (B, FIRST))
    if what == "has lost":
        causality.persisted(B, OVER)
    else:
        causality.persisted(B, OVER)
        last(causality)
        causality._views[B].held["x"] = variable(*FIRST.siblings, *OVER.siblings)
    with pytest.raises(Violation, match=what):
        causality.settled((A, B))


def test_a_write_that_reached_nobody_before_its_folder_was_lost_superseded_nothing() -> None:
    causality = judge((A, FIRST), (B, FIRST), (B, OVER))
    causality.started(C, {"x": FIRST}, None)
    causality.settled((A, C))
    causality.persisted(C, OVER)
    with pytest.raises(Violation, match="has lost"):
        causality.settled((A, C))
    causality.persisted(A, OVER)
    causality.settled((A, C))


def test_what_a_stranger_wrote_and_one_has_all_have() -> None:
    causality = judge((A, FIRST))
    causality.settled((B, C))
    causality.persisted(B, FIRST)
    with pytest.raises(Violation, match="lost"):
        causality.settled((B, C))


def test_a_write_that_a_crash_took_back_never_was() -> None:
    causality = judge()
    causality.persisted(A, FIRST, 1)
    causality.synced(A, 1)
    causality.persisted(A, variable(sibling(A, 2)), 2)
    causality.started(A, {"x": FIRST}, None, 1)
    causality.persisted(B, FIRST)
    causality.settled((A, B))
    with pytest.raises(Violation, match="nobody has written"):
        causality.persisted(B, variable(sibling(A, 2)))


@pytest.mark.parametrize("seen_before", [0, 1])
def test_a_deletion_that_was_forgotten_before_anything_else_was_seen_of_it_was_there(
    seen_before: int,
) -> None:
    """One sync can bring a value, the tombstone, that it is forgotten, and a value of another."""
    theirs = variable(sibling(B, 1))
    records: tuple[Record, ...] = (
        FIRST,
        variable(sibling(A, 2, None)),
        VariableMarks(((A, 1),), ()),
        VariableForgotten("x"),
        theirs,
    )
    causality = judge((B, theirs))
    for number, record in enumerate(records, start=1):
        causality.persisted(A, record, number)
        if number == seen_before:
            causality.synced(A, number)
    causality.started(A, {"x": theirs}, VariableMarks(((A, 1),), ()), len(records))
    causality.settled((A, B))


def test_a_write_after_a_forgotten_deletion_does_not_tell_what_that_had_seen() -> None:
    """It is in what the writer tells that it knows: a peer that has not asked for that yet shows
    the old value for a while, beside the new one."""
    deleted = variable(sibling(B, 2, None), seen=((A, 1),))
    anew = variable(sibling(B, 3))
    known = ((A, 1), (B, 2))
    records = (
        (A, FIRST),
        (B, FIRST),
        (B, deleted),
        (B, VariableMarks(known, known)),
        (B, VariableForgotten("x")),
        (B, anew),
        (A, variable(*FIRST.siblings, *anew.siblings)),
    )
    causality = judge(*records)
    with pytest.raises(Violation, match="is superseded"):
        causality.settled((A, B))
    with pytest.raises(Violation, match="beside"):
        judge(
            *records[:-1],
            (A, VariableMarks(known, ())),
            (A, variable(*FIRST.siblings, *anew.siblings)),
        )


def test_nor_do_writes_before_it_by_a_peer_that_has_forgotten_it_as_well() -> None:
    """Counters are the writer's, not the variable's: a later one is no word of an earlier one."""
    over = variable(sibling(B, 2), seen=((A, 1),))
    deleted = variable(sibling(A, 2, None), seen=((B, 2),))
    anew = variable(sibling(B, 3))
    causality = judge(
        (A, FIRST),
        (C, FIRST),
        (B, FIRST),
        (B, over),
        (A, over),
        (A, deleted),
        (B, deleted),
        (B, VariableMarks(((A, 2), (B, 2)), ((B, 2),))),
        (B, VariableForgotten("x")),
        (B, anew),
    )
    causality.persisted(C, variable(*FIRST.siblings, *anew.siblings))
    with pytest.raises(Violation, match="is superseded"):
        causality.settled((C,))


def test_a_write_that_was_seen_stays_seen_when_its_writer_forgets_the_variable() -> None:
    """A context that ends before the forgetting is word of the writes up to there."""
    over = variable(sibling(B, 2), seen=((A, 1),))
    deleted = variable(sibling(A, 2, None), seen=((B, 2),))
    causality = judge(
        (A, FIRST),
        (B, FIRST),
        (B, over),
        (C, over),
        (A, over),
        (A, deleted),
        (B, deleted),
        (B, VariableMarks(((A, 2), (B, 2)), ((B, 2),))),
        (B, VariableForgotten("x")),
    )
    with pytest.raises(Violation, match="beside"):
        causality.persisted(C, variable(*FIRST.siblings, *over.siblings))
