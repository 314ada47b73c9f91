from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry

BARRIER, PROPOSAL = DeadlineKind.BARRIER, DeadlineKind.PROPOSAL


def test_equal_deadlines_are_ordered_by_kind_and_then_name() -> None:
    deadlines = Deadlines()
    deadlines.add(BARRIER, "a", 5)
    deadlines.add(PROPOSAL, "c", 5)
    deadlines.add(PROPOSAL, "b", 5)
    deadlines.add(BARRIER, "z", 4)
    order = []
    while (first := deadlines.first()) is not None:
        order.append(first)
        deadlines.remove(*first[1:])
    assert order == [(4, BARRIER, "z"), (5, PROPOSAL, "b"), (5, PROPOSAL, "c"), (5, BARRIER, "a")]


@given(
    st.lists(st.tuples(st.sampled_from(DeadlineKind), st.sampled_from("abc"), st.integers(1, 9)))
)
def test_the_first_deadline_is_the_least_open_one(
    changes: list[tuple[DeadlineKind, str, int]],
) -> None:
    deadlines, model = Deadlines(), dict[tuple[DeadlineKind, str], int]()
    for kind, name, deadline in changes:
        if (kind, name) in model:
            deadlines.remove(kind, name)
            del model[kind, name]
        else:
            deadlines.add(kind, name, deadline)
            model[kind, name] = deadline
        least = min(((due, *key) for key, due in model.items()), default=None)
        assert deadlines.first() == least


def test_deadlines_that_were_removed_early_do_not_pile_up() -> None:
    deadlines = Deadlines()
    deadlines.add(PROPOSAL, "first", 1)
    for number in range(10_000):
        deadlines.add(BARRIER, "b", 1_000_000 + number)
        deadlines.remove(BARRIER, "b")
    assert len(deadlines._heap) < 100
    assert deadlines.first() == (1, PROPOSAL, "first")


def test_a_deadline_lies_ahead_and_can_be_written() -> None:
    entry = Entry(1, 1, INTEGER_MAX - 10)
    assert [entry.can_wait(timeout) for timeout in (-1, 0, 1, 10, 11)] == [
        False,
        False,
        True,
        True,
        False,
    ]
