"""The log of one peer: positions, runs of batches, configurations, and what it refuses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.records import Batch

A, B, C = (PeerId(letter * 16) for letter in "abc")


def batch(index: int, count: int = 1, term: int = 1, size: int = 1) -> Batch:
    return Batch(index, count, term, term, bytes(size))


def log_of(*shape: tuple[int, int]) -> Log:
    """shape: count and term of each batch."""
    log = Log()
    for count, term in shape:
        log.append((batch(log.last_index + 1, count, term),))
    return log


shapes = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), max_size=12).map(
    lambda pairs: [
        (count, 1 + sum(step for _, step in pairs[: position + 1]))
        for position, (count, _) in enumerate(pairs)
    ]
)
"""Counts, and terms that never go down."""


def test_an_empty_log_ends_at_nothing() -> None:
    log = Log()
    assert (log.last_index, log.last_term, log.last_clock, log.voters, len(log)) == (0, 0, 0, (), 0)
    assert log.term_at(0) == 0
    assert log.term_at(1) is None
    assert log.end_at_or_before(9) == 0
    assert log.since(0, 9, 9) == log.holding(1, 9) == ()
    assert log.agreement_before(5, 3) == 0


def test_only_the_ends_of_batches_are_positions() -> None:
    log = log_of((2, 1), (3, 4))
    assert [log.term_at(index) for index in range(7)] == [0, None, 1, None, None, 4, None]
    assert [log.end_at_or_before(index) for index in range(7)] == [0, 0, 2, 2, 2, 5, 5]


@settings(max_examples=50)
@given(shapes, st.integers(0, 40))
def test_searches_agree_with_a_walk(shape: list[tuple[int, int]], index: int) -> None:
    log = log_of(*shape)
    batches = log.between(0, log.last_index)
    ends = [one.last_index for one in batches]
    assert log.end_at_or_before(index) == max([end for end in ends if end <= index], default=0)
    holding = [one for one in batches if one.last_index >= index]
    assert list(log.holding(index, 3)) == holding[:3]
    assert len(log) == len(shape)
    assert log.byte_count == len(shape)


@settings(max_examples=50)
@given(shapes, shapes)
def test_a_refusal_never_hides_an_agreement(
    mine: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    """From refusal to refusal the other log comes to a position that both hold, and to none earlier
    than a term before the last one they share."""
    follower, leader = log_of(*mine), log_of(*theirs)
    position, refusals = leader.last_index, 0
    while follower.term_at(position) != leader.term_at(position):
        term = leader.term_at(position)
        assert term is not None
        hint = follower.agreement_before(position, term)
        assert hint < position
        assert hint == 0 or follower.term_at(hint) is not None
        position, refusals = leader.end_at_or_before(hint), refusals + 1
    terms = {one.term for one in follower.between(0, 99)} | {
        one.term for one in leader.between(0, 99)
    }
    assert refusals <= 2 * len(terms)


def test_batches_are_handed_out_within_limits_but_at_least_one() -> None:
    log = Log((batch(1, size=10), batch(2, size=10), batch(3, size=10)))

    def ends(index: int, batch_count: int, byte_count: int) -> list[int]:
        return [one.last_index for one in log.since(index, batch_count, byte_count)]

    assert ends(0, 2, 99) == [1, 2]
    assert ends(0, 9, 20) == [1, 2]
    assert ends(0, 9, 19) == [1]
    assert ends(1, 9, 0) == [2]
    assert ends(3, 9, 99) == []
    assert [one.index for one in log.between(1, 3)] == [2, 3]
    assert log.between(2, 2) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (batch(3, term=2), "gap"),
        (batch(1, term=2), "gap"),
        (Batch(2, 0, 2, 2, b""), "empty"),
        (batch(2, term=1), "terms"),
        (Batch(2, 1, 2, 1, b""), "clock"),
    ],
)
def test_a_batch_that_breaks_a_rule_is_a_fault_of_ours(wrong: Batch, why: str) -> None:
    log = log_of((1, 2))
    with pytest.raises(AssertionError, match=why):
        log.append((wrong,))


@pytest.mark.parametrize(
    ("keep_index", "batches", "fits"),
    [
        (2, (batch(3, term=3),), True),
        (2, (batch(3, term=2), batch(4, term=5)), True),
        (2, (batch(3, term=1),), False),
        (2, (batch(3, term=3), batch(4, term=2)), False),
        (2, (Batch(3, 1, 3, 1, b""),), False),
        (0, (batch(1, term=1),), True),
    ],
)
def test_it_is_known_beforehand_what_may_stand_behind_an_index(
    keep_index: int, batches: tuple[Batch, ...], fits: bool
) -> None:
    log = log_of((1, 1), (1, 2), (1, 7))
    assert log.fits(keep_index, batches) is fits
    if fits:
        log.truncate(keep_index)
        log.append(batches)


def test_truncation_keeps_whole_batches_and_what_is_committed() -> None:
    log = Log((batch(1, 2, size=5), batch(3, 2, size=7), batch(5, size=11)))
    for keep_index, commit_index, why in [(3, 0, "split"), (9, 0, "split"), (2, 4, "committed")]:
        log.commit(commit_index)
        with pytest.raises(AssertionError, match=why):
            log.truncate(keep_index)
    log.truncate(5)
    assert log.last_index == 5
    log.truncate(4)
    assert (log.last_index, log.byte_count) == (4, 12)
    uncommitted = Log((batch(1, 2, size=5), batch(3, 2, size=7)))
    uncommitted.truncate(0)
    assert (uncommitted.last_index, uncommitted.byte_count, len(uncommitted)) == (0, 0, 0)


def test_the_commit_index_never_goes_back_nor_beyond_the_log() -> None:
    log = Log((batch(1, 2), batch(3, 2)))
    log.commit(4)
    log.commit(2)
    assert log.commit_index == 4
    with pytest.raises(AssertionError, match="not there"):
        log.commit(5)


def test_the_configuration_follows_the_log_also_backwards() -> None:
    first = Batch(1, 1, 1, 0, b"", (A,))
    second = Batch(2, 1, 1, 0, b"", (A, B))
    third = Batch(4, 1, 2, 2, b"", (A, B, C))
    log = Log((first, second, batch(3), third))
    seen = [log.voters]
    for keep_index in (3, 1, 0):
        log.truncate(keep_index)
        seen.append(log.voters)
    assert seen == [(A, B, C), (A, B), (A,), ()]


def test_of_what_conflicts_its_whole_term_is_left_out_and_no_more() -> None:
    log = log_of((2, 1), (1, 2), (1, 3), (1, 3), (1, 5))
    assert log.agreement_before(5, 4) == 3, "terms 1 and 2 may agree; of term 3 nothing is offered"
    assert log.agreement_before(6, 4) == 5, "what conflicts is of term 5"
    assert log.agreement_before(6, 2) == 3, "the other log has nothing of term 3"
    assert log.agreement_before(9, 9) == 6, "nothing stands there"
    assert log.agreement_before(2, 9) == 0, "the first term conflicts"
