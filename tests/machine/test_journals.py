from mabeam_p2p.config import Limits
from mabeam_p2p.events import JournalAppended
from mabeam_p2p.records import Journal
from mabeam_p2p.requests import Committed, JournalQuery
from tests.machine.written_log import WrittenLog, reason


def read(log: WrittenLog, name: str = "j") -> tuple[Journal, ...]:
    return log.machine.find(JournalQuery(name)).journals


def test_items_stay_in_the_order_of_the_log_and_outcomes_name_their_positions() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    outcomes = [log.write(one, b"a"), log.write(two, b"b"), log.write(one, b"c", "other")]
    assert [outcome.number for outcome in outcomes if isinstance(outcome, Committed)] == [1, 2, 1]
    assert read(log) == (Journal("j", 1, (b"a", b"b")),)
    assert read(log, "other") == (Journal("other", 1, (b"c",)),)
    assert read(log, "none") == ()


def test_an_append_is_told_with_the_new_item_alone() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    log.write(one, b"a")
    log.write(one, b"b")
    assert log.events == (JournalAppended(Journal("j", 2, (b"b",))),)


def test_a_full_journal_loses_its_front_and_keeps_its_positions() -> None:
    log = WrittenLog(Limits(journal_items_max=2))
    (one,) = log.attached(1)
    for item in (b"a", b"b", b"c"):
        outcome = log.write(one, item)
    assert isinstance(outcome, Committed)
    assert outcome.number == 3
    assert read(log) == (Journal("j", 2, (b"b", b"c")),)


def test_journals_are_bounded_in_number_and_items_in_size() -> None:
    log = WrittenLog(Limits(journals_max=1, value_bytes_max=3))
    (one,) = log.attached(1)
    assert reason(log.write(one, b"abcd")) == "too_large"
    assert read(log) == ()
    assert reason(log.write(one, b"abc")) == ""
    assert reason(log.write(one, b"a", "other")) == "limit"
    assert reason(log.write(one, b"d")) == ""


def test_a_journal_needs_a_usable_name() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    for name in ("", "a\n", "x" * 257):
        assert reason(log.write(one, b"a", name)) == "invalid"
