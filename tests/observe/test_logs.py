import logging
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from mabeam_p2p.observe.logs import JsonFormatter


def line_of(
    text: str, *arguments: object, error: Exception | None = None, **attributes: object
) -> dict[str, object]:
    """What the formatter makes of one record."""
    trace = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("mabeam_p2p.x", logging.WARNING, __file__, 1, text, arguments, trace)
    record.created = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC).timestamp()
    record.__dict__.update(attributes)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return msgspec.json.decode(line, type=dict[str, object])


def test_every_line_begins_with_the_stable_keys() -> None:
    line = line_of("will not dial %s", "h:1")
    assert list(line.items()) == [
        ("time", "2026-01-02T03:04:05.678901Z"),
        ("level", "warning"),
        ("logger", "mabeam_p2p.x"),
        ("event", "message"),
        ("message", "will not dial h:1"),
    ]


def test_facts_of_an_event_stand_under_their_names_and_hide_no_other_key() -> None:
    facts = {"peer": "p", "term": 3, "voters": ("a", "b"), "time": "never", "leader": None}
    line = line_of("role_changed", event="role_changed", facts=facts)
    assert (line["event"], line["peer"], line["term"]) == ("role_changed", "p", 3)
    assert (line["voters"], line["leader"]) == (["a", "b"], None)
    assert line["time"] == "2026-01-02T03:04:05.678901Z"


def test_a_traceback_is_one_value() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        line = line_of("it ends", error=error)
    assert "ValueError: two\nlines" in str(line["exception"])


def test_text_that_breaks_lines_stays_within_its_line() -> None:
    assert line_of("a\nb\u2028%s", "\x00")["message"] == "a\nb\u2028\x00"


def test_a_line_whose_arguments_do_not_fit_is_still_told() -> None:
    assert "%d" in str(line_of("%d", "x")["message"])


def test_what_is_no_text_is_told_all_the_same() -> None:
    line = line_of("no such folder: %s", "/srv/\udcff", facts={"path": "/srv/\udcff", "n": 3})
    assert line["message"] == "no such folder: /srv/\\udcff"
    assert line["path"] == "/srv/\\udcff"


@pytest.mark.parametrize("fact", [object(), b"\xff", sys.maxsize**3, float("nan"), {1, 2}])
def test_facts_of_any_type_are_told(fact: object) -> None:
    assert "fact" in line_of("x", event="x", facts={"fact": fact})
