import logging
import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from mabeam_p2p.observe.logs import FORMATS, JsonFormatter, TextFormatter
from tests.cli.daemons import environment


class Mute:
    """Has no words for itself, and says so with an error of its own."""

    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


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


def test_what_others_say_makes_no_line_of_its_own_and_moves_no_terminal() -> None:
    said = "no\n2026 ERROR forged \x1b[2J"
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "refused: %s", (said,), None)
    assert TextFormatter().format(record).endswith("refused: no\\n2026 ERROR forged \\u001b[2J")


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


@pytest.mark.parametrize(
    ("text", "argument", "told"),
    [
        ("%d of four", "x", "%d of four (x)"),
        ("%(x)s", {"y": 1}, "%(x)s ({'y': 1})"),
        ("lost %s", Mute(), "lost %s (<Mute>)"),
        ("lost %(x)s", {"x": Mute()}, "lost %(x)s (<dict>)"),
    ],
)
def test_no_argument_loses_a_line(text: str, argument: object, told: str) -> None:
    arguments = (argument,)
    assert line_of(text, *arguments)["message"] == told
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, text, arguments, None)
    assert TextFormatter().format(record).endswith(f" WARNING {told}")
    assert record.args, "the record is others' to read, too"


def test_a_line_that_is_no_text_itself_is_told() -> None:
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, Mute(), (), None)
    assert '"message":"<Mute> ()"' in JsonFormatter().format(record)


def test_facts_that_have_no_words_are_told_by_their_type() -> None:
    assert line_of("x", event="x", facts={"fact": Mute()})["fact"] == "<Mute>"


TROUBLES = """
import logging, sys, threading
from mabeam_p2p.observe import logs

class Broken:
    def __del__(self):
        raise ValueError("lost in the end")
    def __repr__(self):
        raise LookupError

def end(error):
    raise error

logs.set_up(sys.argv[1], logging.WARNING)
logging.error("%(x)s", {"y": 1})
logging.error("takes %s", Broken())
for error in (SystemExit("unheard"), ValueError("in a thread")):
    thread = threading.Thread(target=end, args=(error,), name="t")
    thread.start()
    thread.join()
logging.error("last")
for line in logs.recent:
    print(line)
"""


def said(kind: str) -> tuple[str, str]:
    """By a process that meets troubles which are nobody's to catch: the log, and what is kept."""
    done = subprocess.run(
        [sys.executable, "-c", TROUBLES, kind],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, done.stdout


def test_what_nobody_catches_is_an_object_too() -> None:
    lines = [
        msgspec.json.decode(line, type=dict[str, str]) for line in said("json")[0].splitlines()
    ]
    assert len(lines) == 5, "the end of a thread by its own will is no trouble"
    assert [line["message"] for line in lines[:2]] == ["%(x)s ({'y': 1})", "takes %s (<Broken>)"]
    assert "Broken.__del__" in lines[2]["message"]
    assert "ValueError: lost in the end" in lines[2]["exception"]
    assert lines[3]["message"] == "thread t ends: in a thread"
    assert lines[4]["message"] == "last"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_line_that_cannot_be_told_is_kept_and_makes_no_other_lines(kind: str) -> None:
    log, kept = said(kind)
    assert "Logging error" not in log
    for line in ("%(x)s ({'y': 1})", "takes %s (<Broken>)", "last"):
        assert line in log
        assert line in kept


def test_what_is_no_text_is_told_all_the_same() -> None:
    line = line_of("no such folder: %s", "/srv/\udcff", facts={"path": "/srv/\udcff", "n": 3})
    assert line["message"] == "no such folder: /srv/\\udcff"
    assert line["path"] == "/srv/\\udcff"


@pytest.mark.parametrize("fact", [object(), b"\xff", sys.maxsize**3, float("nan"), {1, 2}])
def test_facts_of_any_type_are_told(fact: object) -> None:
    assert "fact" in line_of("x", event="x", facts={"fact": fact})
