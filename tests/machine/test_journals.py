from mabeam_p2p.config import Limits
from mabeam_p2p.events import JournalAppended
from mabeam_p2p.records import Journal
from mabeam_p2p.requests import Committed, JournalQuery
from tests.machine.written_log import WrittenLog, reason


def read(log: WrittenLog, name: str = "j", first: int = 1) -> tuple[Journal, ...]:
    return log.machine.find(JournalQuery(name, first)).journals


def test_items_stay_in_the_order_of_the_log_and_outcomes_name_their_positions() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    outcomes = [log.write(one, b"a"), log.write(two, b"b"), log.write(one, b"c", "other")]
    assert [outcome.number for outcome in outcomes if isinstance(outcome, Committed)] == [1, 2, 1]
    assert read(log) == (Journal("j", 1, (b"a", b"b"), last=2),)
    assert read(log, "other") == (Journal("other", 1, (b"c",), last=1),)
    assert read(log, "none") == ()


def test_an_append_is_told_with_the_new_item_alone() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    log.write(one, b"a")
    log.write(one, b"b")
    assert log.events == (JournalAppended(Journal("j", 2, (b"b",), last=2)),)


def test_a_full_journal_loses_its_front_and_keeps_its_positions() -> None:
    log = WrittenLog(Limits(journal_items_max=2))
    (one,) = log.attached(1)
    for item in (b"a", b"b", b"c"):
        outcome = log.write(one, item)
    assert isinstance(outcome, Committed)
    assert outcome.number == 3
    assert read(log) == (Journal("j", 2, (b"b", b"c"), last=3),)


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


def test_a_journal_with_a_capacity_keeps_its_front_and_refuses_more() -> None:
    log = WrittenLog(Limits(journal_items_max=3))
    (one,) = log.attached(1)
    for item in (b"a", b"b"):
        assert reason(log.write(one, item, capacity=2)) == ""
    for _ in range(2):
        assert reason(log.write(one, b"c", capacity=2)) == "journal_full"
        assert log.events == ()
    assert read(log) == (Journal("j", 1, (b"a", b"b"), 2, 2),)


def test_the_first_append_sets_the_capacity() -> None:
    log = WrittenLog()
    (one,) = log.attached(1)
    log.write(one, b"a", capacity=2)
    log.write(one, b"a", "plain")
    for capacity in (0, 1, 3):
        assert reason(log.write(one, b"b", capacity=capacity)) == "journal_mismatch"
    assert reason(log.write(one, b"b", "plain", capacity=2)) == "journal_mismatch"
    assert (read(log)[0].last, read(log, "plain")[0].last) == (1, 1)


def test_no_journal_begins_with_a_capacity_that_it_cannot_keep() -> None:
    log = WrittenLog(Limits(journal_items_max=3))
    (one,) = log.attached(1)
    for capacity in (-1, 4, 2**53 - 1):
        assert reason(log.write(one, b"a", capacity=capacity)) == "invalid"
    assert read(log) == ()
    assert reason(log.write(one, b"a", capacity=3)) == ""


def test_a_journal_is_read_from_any_position() -> None:
    log = WrittenLog(Limits(journal_items_max=3))
    (one,) = log.attached(1)
    for item in (b"a", b"b", b"c", b"d"):
        log.write(one, item)
    assert read(log, first=1) == (Journal("j", 2, (b"b", b"c", b"d"), last=4),)
    assert read(log, first=3) == (Journal("j", 3, (b"c", b"d"), last=4),)
    for beyond in (5, 9, 2**53 - 1):
        assert read(log, first=beyond) == (Journal("j", beyond, (), last=4),)


def test_a_page_holds_what_fits_and_never_nothing() -> None:
    log = WrittenLog(Limits(journal_page_bytes_max=4))
    (one,) = log.attached(1)
    for item in (b"ab", b"cd", b"e", b"too long", b"f"):
        log.write(one, item)
    pages = []
    first = 1
    while first <= 5:
        (page,) = read(log, first=first)
        pages.append(page.items)
        assert (page.first, page.last) == (first, 5)
        first += len(page.items)
    assert pages == [(b"ab", b"cd"), (b"e",), (b"too long",), (b"f",)]
