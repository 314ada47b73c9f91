"""The chain of journals that holds Optuna's logs, on real peers of this process."""

import copy
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mabeam_p2p import (
    Agent,
    Closed,
    InvalidName,
    InvalidValue,
    JournalItem,
    JournalMismatch,
    NoQuorum,
    OutcomeUnknown,
    blocking,
)
from mabeam_p2p.integrations.optuna import JournalBackend, backend
from mabeam_p2p.integrations.optuna.items import PART_BYTES, Log
from tests.integrations.searchers import searchers

pytestmark = pytest.mark.slow

numbers = itertools.count()
SEGMENT_ITEMS = 3


@pytest.fixture(scope="module")
def agents() -> Iterator[list[blocking.Agent]]:
    with searchers(3) as everyone:
        yield everyone


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh one, for a chain of short journals."""
    monkeypatch.setattr(backend, "SEGMENT_ITEMS", SEGMENT_ITEMS)
    return f"chain-{next(numbers)}"


def marks(read: list[Log]) -> list[object]:
    return [log["mark"] for log in read]


def test_chain_keeps_every_log_from_the_first_on(agents: list[blocking.Agent], name: str) -> None:
    one = JournalBackend(agents[0], name)
    for number in range(4 * SEGMENT_ITEMS + 1):
        one.append_logs([{"mark": number}])
    for agent in agents:
        assert marks(JournalBackend(agent, name).read_logs(0)) == list(range(13))
    items = agents[1].journal(f"{name}/4").read()
    assert len(items) == 1
    assert all(len(agents[1].journal(f"{name}/{n}").read()) == SEGMENT_ITEMS for n in range(4))


def test_logs_are_read_from_any_number_on(agents: list[blocking.Agent], name: str) -> None:
    one = JournalBackend(agents[0], name)
    for number in range(0, 10, 2):
        one.append_logs([{"mark": number}, {"mark": number + 1}])
    for first in (0, 3, 3, 9, 10, 12, 4, 0, 7):
        assert marks(one.read_logs(first)) == list(range(first, 10))
    fresh = JournalBackend(agents[2], name)
    assert marks(fresh.read_logs(7)) == [7, 8, 9]


def test_concurrent_writers_make_one_order_for_all(agents: list[blocking.Agent], name: str) -> None:
    everyone = [JournalBackend(agent, name) for agent in agents for _ in range(2)]

    def write(which: int) -> None:
        for number in range(10):
            everyone[which].append_logs([{"mark": (which, number)}])
            # What was appended is seen by its writer at once.
            assert [which, number] in [list(mark) for mark in marks_of(everyone[which])]

    def marks_of(one: JournalBackend) -> list[tuple[int, int]]:
        return [log["mark"] for log in one.read_logs(0)]

    with ThreadPoolExecutor(len(everyone)) as threads:
        list(threads.map(write, range(len(everyone))))
    orders = [marks_of(one) for one in everyone]
    assert all(order == orders[0] for order in orders)
    assert len(orders[0]) == 60
    for which in range(len(everyone)):
        mine = [number for writer, number in orders[0] if writer == which]
        assert mine == list(range(10))


def test_long_log_is_cut_and_a_longer_one_refused(agents: list[blocking.Agent], name: str) -> None:
    one = JournalBackend(agents[0], name)
    text = "ü" * (2 * PART_BYTES)
    one.append_logs([{"mark": text}])
    with pytest.raises(InvalidValue, match="in a file"):
        one.append_logs([{"mark": text * 10}])
    one.append_logs([{"mark": "next"}])
    assert marks(JournalBackend(agents[1], name).read_logs(0)) == [text, "next"]


def test_reading_costs_what_is_new(
    agents: list[blocking.Agent], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = blocking.Journal.read

    def counted(journal: blocking.Journal, first: int = 1, **rest: float) -> object:
        items = original(journal, first, timeout=rest["timeout"])
        read.append(len(items))
        return items

    monkeypatch.setattr(blocking.Journal, "read", counted)
    one = JournalBackend(agents[0], name)
    for number in range(20):
        one.append_logs([{"mark": number}])
        assert marks(one.read_logs(number)) == [number]
    assert sum(read) == 20


def test_append_whose_outcome_is_unknown_counts_once(
    agents: list[blocking.Agent], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done, and not known to be: it is appended again, also into the next journal of the chain."""
    original = blocking.Journal.append
    doubted: list[object] = []

    def doubtful(journal: blocking.Journal, value: object, **rest: float) -> int:
        position = original(journal, value, timeout=rest["timeout"])
        if value not in doubted:
            doubted.append(value)
            raise OutcomeUnknown("no answer came")
        return position

    monkeypatch.setattr(blocking.Journal, "append", doubtful)
    one, other = JournalBackend(agents[0], name), JournalBackend(agents[1], name)
    for number in range(5):
        one.append_logs([{"mark": f"a{number}"}])
        other.append_logs([{"mark": f"b{number}"}])
    expected = [f"{writer}{number}" for number in range(5) for writer in "ab"]
    for agent in agents:
        assert marks(JournalBackend(agent, name).read_logs(0)) == expected
    held: list[JournalItem] = []
    for segment in range(7):
        held += agents[0].journal(f"{name}/{segment}").read()
    assert len(held) == 20


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([NoQuorum("none")], NoQuorum),
        ([OutcomeUnknown("maybe"), NoQuorum("none")], OutcomeUnknown),
    ],
    ids=["certainly not", "maybe"],
)
def test_patience_ends_with_the_error_that_leaves_the_most_open(
    agents: list[blocking.Agent],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    errors: list[Exception],
    raised: type[Exception],
) -> None:
    one = JournalBackend(agents[0], name, timeout=0.2)
    following = iter([*errors, *itertools.repeat(errors[-1], 100)])

    def refuse(*_: object, **__: object) -> int:
        raise next(following)

    monkeypatch.setattr(blocking.Journal, "append", refuse)
    with pytest.raises(raised) as caught:
        one.append_logs([{"mark": 1}])
    assert name in caught.value.__notes__[0]
    monkeypatch.undo()
    one.timeout = 30.0
    assert one.read_logs(0) == []
    # What was given up keeps nothing from being appended later.
    monkeypatch.setattr(backend, "SEGMENT_ITEMS", SEGMENT_ITEMS)
    one.append_logs([{"mark": 2}])
    assert marks(one.read_logs(0)) == [2]


def test_journal_of_somebody_else_is_named(agents: list[blocking.Agent], name: str) -> None:
    agents[0].journal(f"{name}/0").append("notes")
    one = JournalBackend(agents[0], name)
    with pytest.raises(InvalidValue, match=f"item 1 of journal '{name}/0' .* another name"):
        one.read_logs(0)
    with pytest.raises(JournalMismatch):
        one.append_logs([{"mark": 1}])


def test_only_a_blocking_agent_with_a_usable_name_will_do(agents: list[blocking.Agent]) -> None:
    with pytest.raises(TypeError, match=r"blocking\.join"):
        JournalBackend(object.__new__(Agent))  # type: ignore[arg-type]
    with pytest.raises(InvalidName):
        JournalBackend(agents[0], "line\nbreak")


def test_copy_in_this_process_is_another_writer_of_the_same_logs(
    agents: list[blocking.Agent], name: str
) -> None:
    one = JournalBackend(agents[0], name, timeout=5.0)
    one.append_logs([{"mark": 1}])
    other = copy.copy(one)
    assert (other.name, other.timeout) == (name, 5.0)
    other.append_logs([{"mark": 2}])
    one.append_logs([{"mark": 3}])
    assert marks(one.read_logs(0)) == marks(other.read_logs(0)) == [1, 2, 3]


def test_agent_does_not_travel_to_another_process(
    agents: list[blocking.Agent], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = JournalBackend(agents[0], name)
    state = one.__getstate__()
    monkeypatch.setattr(one, "_process", -1)
    for call in (lambda: one.read_logs(0), lambda: one.append_logs([]), lambda: one.trials_left(0)):
        with pytest.raises(Closed, match="survive a fork: join in this process"):
            call()
    stranger = JournalBackend.__new__(JournalBackend)
    with pytest.raises(Closed, match="does not travel; join in this process"):
        stranger.__setstate__({**state, "token": "of another process"})


def test_closed_agent_says_so_at_once(name: str) -> None:
    with searchers(1) as (agent,):
        one = JournalBackend(agent, name)
        agent.close()
        with pytest.raises(Closed):
            one.append_logs([{"mark": 1}])
