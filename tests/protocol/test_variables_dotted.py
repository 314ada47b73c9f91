"""A variable as a dotted version vector set: a join that loses nothing but what was superseded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.variables import dotted, tree
from mabeam_p2p.protocol.vector_clock import Vector, covers, dominates
from mabeam_p2p.records import RESOLVERS, Sibling, Variable

A, B, C = (PeerId(letter * 16) for letter in "abc")


def write(variable: Variable | None, actor: PeerId, counter: int, seen: Vector | None) -> Variable:
    sibling = Sibling(actor, counter, counter, f"{actor[0]}{counter}".encode())
    return dotted.written(variable, "x", "lww", seen, sibling)


@st.composite
def replicas(draw: st.DrawFn) -> list[Variable]:
    """Three replicas, each the work of one actor, after writes and merges in any order."""
    actors = [A, B, C]
    states = [write(None, actor, 1, None) for actor in actors]
    for counter in range(2, 2 + draw(st.integers(0, 8))):
        one, other = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        if draw(st.booleans()):
            seen = draw(st.sampled_from([None, (), states[other].context]))
            states[one] = write(states[one], actors[one], counter, seen)
        else:
            states[one] = dotted.sync(states[one], states[other])
    return states


@st.composite
def states(draw: st.DrawFn) -> Variable:
    """Any well-formed state, such as a peer that lies could send."""
    context = draw(st.dictionaries(st.sampled_from([A, B, C]), st.integers(1, 3), min_size=1))
    dots = [(actor, n) for actor, last in sorted(context.items()) for n in range(1, last + 1)]
    chosen = sorted(draw(st.lists(st.sampled_from(dots), unique=True)))
    siblings = [
        Sibling(actor, n, draw(st.integers(0, 2)), draw(st.sampled_from([None, b"", b"v"])))
        for actor, n in chosen
    ]
    word = draw(st.sampled_from(RESOLVERS))
    return Variable("x", word, tuple(sorted(context.items())), tuple(siblings))


@pytest.mark.slow
@given(states(), states(), states())
def test_sync_is_a_join_whatever_peers_claim(a: Variable, b: Variable, c: Variable) -> None:
    assert dotted.sync(a, b) == dotted.sync(b, a)
    assert dotted.sync(a, dotted.sync(b, c)) == dotted.sync(dotted.sync(a, b), c)
    assert dotted.sync(a, a) == a
    assert dotted.sync(a, dotted.sync(a, b)) == dotted.sync(a, b)


@pytest.mark.slow
@given(states(), states())
def test_sync_stays_well_formed_and_only_grows(a: Variable, b: Variable) -> None:
    both = dotted.sync(a, b)
    assert dotted.defect(both, Limits()) == ""
    assert dominates(both.context, a.context)
    assert dominates(both.context, b.context)


@given(replicas())
def test_nothing_is_lost_but_what_a_later_write_had_seen(found: list[Variable]) -> None:
    a, b, _ = found
    both = dotted.sync(a, b)
    for one, other in ((a, b), (b, a)):
        for sibling in one.siblings:
            is_superseded = (
                covers(other.context, sibling.actor, sibling.counter)
                and sibling not in other.siblings
            )
            assert (sibling in both.siblings) is not is_superseded


def test_a_write_supersedes_what_its_writer_had_seen_and_nothing_else() -> None:
    both = dotted.sync(write(None, A, 1, None), write(None, B, 1, None))
    assert [s.value for s in write(both, C, 1, None).siblings] == [b"c1"]
    assert [s.value for s in write(both, C, 1, ((A, 1),)).siblings] == [b"b1", b"c1"]
    assert [s.value for s in write(both, C, 1, ()).siblings] == [b"a1", b"b1", b"c1"]


def test_a_write_cannot_supersede_what_this_peer_does_not_know() -> None:
    here = write(None, A, 1, None)
    wrote = write(here, B, 1, ((A, 9), (C, 7)))
    assert wrote.context == ((A, 1), (B, 1))
    elsewhere = write(None, C, 7, None)
    assert [s.value for s in dotted.sync(wrote, elsewhere).siblings] == [b"b1", b"c7"]


def test_the_earlier_of_two_resolver_words_stands() -> None:
    words = [replace(write(None, A, 1, None), resolver=word) for word in ("set", "max", "map")]
    assert dotted.sync(words[0], dotted.sync(words[1], words[2])).resolver == "max"


def test_beyond_the_limit_of_siblings_the_latest_stand() -> None:
    variable: Variable | None = None
    for counter in (3, 1, 2, 4):
        actor = PeerId(str(counter) * 16)
        sibling = Sibling(actor, counter, counter, b"v")
        variable = dotted.written(variable, "x", "lww", (), sibling)
    assert variable is not None
    shorter = dotted.bounded(variable, Limits(siblings_max=2))
    assert [s.counter for s in shorter.siblings] == [3, 4]
    assert shorter.context == variable.context
    assert dotted.bounded(variable, Limits(siblings_max=4)) is variable


def test_beyond_the_limit_of_bytes_the_latest_stand() -> None:
    variable = dotted.sync(
        Variable("x", "lww", ((A, 1),), (Sibling(A, 1, 5, b"a" * 500),)),
        Variable("x", "lww", ((B, 1),), (Sibling(B, 1, 4, b"b" * 500),)),
    )
    shorter = dotted.bounded(variable, Limits(push_bytes_max=900))
    assert [s.actor for s in shorter.siblings] == [A]


def test_a_variable_that_fits_to_the_byte_keeps_what_stands() -> None:
    variable = Variable("x", "lww", ((A, 1),), (Sibling(A, 1, 5, b"a" * 500),))
    size = dotted.size(variable)
    assert dotted.bounded(variable, Limits(push_bytes_max=size)) is variable
    assert dotted.bounded(variable, Limits(push_bytes_max=size - 1)).siblings == ()


def test_a_fingerprint_tells_apart_whatever_differs() -> None:
    base = Variable("x", "lww", ((A, 2),), (Sibling(A, 1, 7, b"ab"), Sibling(A, 2, 7, b"c")))
    others = [
        replace(base, name="y"),
        replace(base, resolver="max"),
        replace(base, siblings=base.siblings[:1]),
        replace(base, siblings=(Sibling(A, 1, 8, b"ab"), base.siblings[1])),
        replace(base, siblings=(Sibling(A, 1, 7, None), base.siblings[1])),
        replace(base, siblings=(Sibling(A, 1, 7, b"a"), Sibling(A, 2, 7, b"bc"))),
    ]
    prints = [dotted.fingerprint(variable) for variable in (base, *others)]
    assert len(dict.fromkeys(prints)) == len(prints)
    assert all(0 < fingerprint < 2**48 for fingerprint in prints)


def test_the_past_of_what_stands_does_not_change_a_fingerprint() -> None:
    base = Variable("x", "lww", ((A, 2),), (Sibling(A, 2, 7, b"c"),))
    assert dotted.fingerprint(replace(base, context=((A, 2), (B, 7)))) == dotted.fingerprint(base)


def test_of_what_is_deleted_the_context_is_compared() -> None:
    deleted = Variable("x", "lww", ((A, 2),), (Sibling(A, 2, 7, None),))
    more = replace(deleted, context=((A, 2), (B, 7)))
    assert dotted.fingerprint(deleted) != dotted.fingerprint(more)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    """What differs here would make peers of two releases compare for ever."""
    variable = Variable("x", "lww", ((A, 2),), (Sibling(A, 2, 7, b"c"), Sibling(B, 1, 7, None)))
    assert dotted.fingerprint(variable) == 124283293782267
    assert [tree.leaf_of(name) for name in ("a", "b", "model/lr")] == [73243, 96859, 128032]


GOOD = Variable("x", "lww", ((A, 2), (B, 3)), (Sibling(A, 2, 7, b"v"), Sibling(B, 3, 7, None)))
GOOD_SIBLING = GOOD.siblings[0]


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        (replace(GOOD, name=""), "name"),
        (replace(GOOD, name="a" * 257), "name"),
        (replace(GOOD, name="a\n"), "name"),
        (replace(GOOD, name="\ud800"), "name"),
        (replace(GOOD, resolver="newest"), "resolver"),
        (replace(GOOD, context=()), "sibling dot"),
        (replace(GOOD, context=((B, 3), (A, 2))), "context"),
        (replace(GOOD, context=((A, 2), (A, 3))), "context"),
        (replace(GOOD, context=((A, 2**62), (B, 3))), "context"),
        (replace(GOOD, context=((PeerId("nobody"), 1),)), "context"),
        (replace(GOOD, siblings=GOOD.siblings[::-1]), "sibling order"),
        (replace(GOOD, siblings=(GOOD_SIBLING, GOOD_SIBLING)), "sibling order"),
        (replace(GOOD, siblings=(replace(GOOD_SIBLING, counter=3),)), "sibling dot"),
        (replace(GOOD, siblings=(replace(GOOD_SIBLING, counter=0),)), "sibling dot"),
        (replace(GOOD, siblings=(replace(GOOD_SIBLING, actor=C),)), "sibling dot"),
        (replace(GOOD, siblings=(replace(GOOD_SIBLING, clock=-1),)), "clock"),
        (replace(GOOD, siblings=(replace(GOOD_SIBLING, clock=2**62),)), "clock"),
        (replace(GOOD, siblings=(replace(GOOD_SIBLING, value=b"v" * 65_537),)), "value size"),
        (replace(GOOD, siblings=GOOD.siblings * 40), "sibling count"),
        (replace(GOOD, siblings=(replace(GOOD_SIBLING, value=b"v" * 300_000),)), "size"),
    ],
)
def test_every_field_of_a_foreign_variable_is_judged(variable: Variable, reason: str) -> None:
    assert dotted.defect(variable, Limits()) == reason


def test_a_well_formed_variable_has_no_defect() -> None:
    assert dotted.defect(GOOD, Limits()) == ""
    assert dotted.defect(replace(GOOD, siblings=()), Limits()) == ""
