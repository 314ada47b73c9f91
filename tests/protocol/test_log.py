"""The log of one peer: positions, runs of batches, configurations, and what it refuses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.records import Batch, LogBase

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


# ---- the base ----------------------------------------------------------------------------------

VOTERS = (A, B)


def compacted(index: int) -> Log:
    """1-2 of term 1 with voters, 3 of term 2, 4-5 of term 2, 6 of term 4; the log begins behind
    `index`."""
    log = Log((Batch(1, 2, 1, 1, b"x", VOTERS), batch(3, 1, 2), batch(4, 2, 2), batch(6, 1, 4)))
    log.commit(5)
    log.compact(index)
    return log


def test_behind_a_base_the_log_is_what_it_was() -> None:
    log = compacted(3)
    assert log.base == LogBase(3, 2, 2, VOTERS, 1)
    assert (log.last_index, log.last_term, log.voters, len(log)) == (6, 4, VOTERS, 2)
    assert log.byte_count == 2
    assert [b.index for b in log.between(3, 6)] == [4, 6]
    assert log.since(3, 9, 9)[0].index == 4
    assert log.holding(5, 1)[0].index == 4


def test_no_position_before_the_base_is_taken_for_a_match() -> None:
    """Catalogue 28: neither index 0 nor any other one."""
    log = compacted(3)
    assert [log.term_at(index) for index in range(7)] == [None, None, None, 2, None, 2, 4]
    assert [log.end_at_or_before(index) for index in range(7)] == [0, 0, 0, 3, 3, 5, 6]
    assert log.agreement_before(6, 1) == 3
    assert log.base_at(2) is None


@pytest.mark.parametrize("index", [3, 5])
def test_an_empty_log_behind_a_base_ends_at_the_base(index: int) -> None:
    log = Log((), LogBase(index, 2, 7, VOTERS))
    assert (log.last_index, log.last_term, log.last_clock) == (index, 2, 7)
    assert (log.commit_index, log.voters) == (index, VOTERS)
    assert log.fits(index, (Batch(index + 1, 1, 2, 7, b""),))
    assert not log.fits(index, (Batch(index + 1, 1, 1, 7, b""),))
    assert not log.fits(index, (Batch(index + 1, 1, 2, 6, b""),))
    log.append((Batch(index + 1, 1, 2, 7, b""),))
    log.truncate(index)
    assert log.last_index == index


def test_the_configuration_before_the_base_stays_the_latest_one() -> None:
    log = compacted(5)
    log.append((Batch(7, 1, 4, 9, b"", (A, B, C)),))
    seen = [log.voters]
    log.truncate(6)
    assert [*seen, log.voters] == [(A, B, C), VOTERS]


def test_a_configuration_behind_the_snapshot_is_not_the_bases() -> None:
    log = Log((Batch(1, 1, 1, 1, b"", (A,)), Batch(2, 1, 1, 1, b"", (A, B)), batch(3)))
    log.commit(3)
    log.compact(1)
    assert (log.base.voters, log.voters) == ((A,), (A, B))
    log.compact(3)
    assert (log.base.voters, log.voters) == ((A, B), (A, B))


def test_only_what_is_committed_is_compacted_and_no_batch_is_split() -> None:
    log = compacted(3)
    with pytest.raises(AssertionError, match="not committed"):
        log.compact(6)
    with pytest.raises(AssertionError, match="split"):
        log.compact(4)
    with pytest.raises(AssertionError):
        log.compact(2)


@settings(max_examples=60)
@given(shapes.filter(bool), st.data())
def test_a_compacted_log_answers_like_the_whole_one_from_its_base_on(
    shape: list[tuple[int, int]], data: st.DataObject
) -> None:
    whole, log = log_of(*shape), log_of(*shape)
    ends = [b.last_index for b in whole.between(0, whole.last_index)]
    base = data.draw(st.sampled_from(ends))
    for one in (whole, log):
        one.commit(base)
    log.compact(base)
    assert log.byte_count == sum(len(b.blob) for b in log.between(base, log.last_index))
    for index in range(base, whole.last_index + 2):
        assert log.term_at(index) == whole.term_at(index)
        assert log.end_at_or_before(index) == whole.end_at_or_before(index)
        assert log.since(index, 3, 2) == whole.since(index, 3, 2)
        assert log.base_at(index) == whole.base_at(index)
        term = data.draw(st.integers(0, 5))
        assert log.agreement_before(index, term) == max(base, whole.agreement_before(index, term))
    again = Log(tuple(log.between(base, log.last_index)), log.base)
    assert (again.last_index, again.last_term, again.voters) == (
        whole.last_index,
        whole.last_term,
        whole.voters,
    )


@pytest.mark.parametrize(
    ("entry_count", "byte_count", "kept_from"),
    [(0, 99, 5), (1, 99, 5), (2, 99, 3), (3, 99, 2), (99, 99, 0), (99, 1, 3), (99, 0, 5)],
)
def test_what_trails_a_position_is_bounded_in_entries_and_bytes(
    entry_count: int, byte_count: int, kept_from: int
) -> None:
    log = compacted(0)
    assert log.trailing(5, entry_count, byte_count) == kept_from


def test_a_snapshot_that_the_log_agrees_with_leaves_what_follows() -> None:
    log = compacted(0)
    assert log.replace(LogBase(6, 4, 4, VOTERS))
    assert (log.base.index, log.commit_index, len(log)) == (6, 6, 0)
    other = Log((batch(1), batch(2), batch(3)))
    assert other.replace(LogBase(2, 1, 1, VOTERS))
    assert (other.base.index, other.commit_index, other.last_index) == (2, 2, 3)


@pytest.mark.parametrize("index", [6, 9])
def test_a_snapshot_that_the_log_does_not_agree_with_leaves_nothing(index: int) -> None:
    log = compacted(0)
    base = LogBase(index, 5, 9, (C,))
    assert not log.replace(base)
    assert (log.base, len(log), log.byte_count, log.commit_index) == (base, 0, 0, index)
    assert log.voters == (C,)


def test_a_configuration_in_a_conflicting_tail_goes_with_it() -> None:
    """Catalogue 42."""
    log = compacted(0)
    log.append((Batch(7, 1, 4, 9, b"", (A, B, C)),))
    log.replace(LogBase(6, 5, 9, (C,)))
    assert log.voters == (C,)


def test_a_snapshot_that_ends_before_what_is_committed_is_not_installed() -> None:
    with pytest.raises(AssertionError, match="older"):
        compacted(0).replace(LogBase(3, 2, 2, VOTERS))
