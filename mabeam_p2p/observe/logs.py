"""The log of a daemon, as lines of text or as JSON objects, one on a line.

Keys of every object, in this order: `time` (UTC, RFC 3339), `level`, `logger`, `event`, `message`;
then the event's own facts, under the names that the text has; `exception` with the traceback, if
there is one. `event` is a stable word, `message` that of what is only text. Keys are added, never
renamed.
"""

import copy
import logging
import sys
import threading
import traceback
from collections import deque
from datetime import UTC, datetime
from types import TracebackType

import msgspec

from mabeam_p2p.observe.legible import legible

TEXT_FORMAT = "%(asctime)s %(levelname)s %(message)s"
FORMATS = ("text", "json")

PLAIN = "message"
"""The event of a line that is only text."""

RECENT_MAX = 500
RECENT_LENGTH_MAX = 1_000

recent: deque[str] = deque(maxlen=RECENT_MAX)
"""The last lines of the log of this process, as text."""

_log = logging.getLogger("mabeam_p2p.daemon")


class JsonFormatter(logging.Formatter):
    """See the module. `runtime/trace.py` gives events and facts as attributes of the record."""

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", None)
        line: dict[str, object] = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", PLAIN),
            "message": _message(record),
        }
        if isinstance(facts, dict):
            line.update({key: value for key, value in facts.items() if key not in line})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        try:
            return msgspec.json.encode(line, enc_hook=_text).decode()
        except UnicodeEncodeError:  # As of a path whose name is no text.
            return msgspec.json.encode({key: _legible(line[key]) for key in line}).decode()


class TextFormatter(logging.Formatter):
    """A line for people, whatever others have said in it, and under it the traceback, if there is
    one."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        told = copy.copy(record)
        told.msg, told.args = legible(_message(record)), None
        return super().format(told)


def _legible(value: object) -> str:
    return _text(value).encode(errors="backslashreplace").decode()


def _message(record: logging.LogRecord) -> str:
    """Also of a line whose arguments do not fit its text, or have no words for themselves: somebody
    else's, and still a line."""
    try:
        return record.getMessage()
    except Exception:
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        return f"{_text(record.msg)} ({', '.join(map(_text, arguments))})"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__qualname__}>"


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Recent(logging.Handler):
    """Keeps the last lines, for a dump."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            recent.append(self.format(record)[:RECENT_LENGTH_MAX])
        except Exception:
            self.handleError(record)


def set_up(kind: str, level: int) -> None:
    """Send the log of this process to standard error, from `level` on. kind: one of FORMATS. With
    `json` everything that goes there is an object: warnings of the interpreter, errors that nobody
    catches and what ends it, too. What this package says is kept from INFO on, in `recent`."""
    handler = logging.StreamHandler()
    handler.setLevel(level)
    kept = _Recent(logging.INFO)
    kept.setFormatter(TextFormatter())
    if kind == "json":
        handler.setFormatter(JsonFormatter())
        logging.captureWarnings(True)
        sys.excepthook = _uncaught
        sys.unraisablehook = _unraisable
        threading.excepthook = _uncaught_in_thread
    else:
        handler.setFormatter(TextFormatter())
    logging.basicConfig(level=level, handlers=[handler, kept], force=True)
    logging.getLogger("mabeam_p2p").setLevel(logging.INFO)


def note(text: str, is_error: bool) -> None:
    """A word of the command line for a person, as a line of the log."""
    _log.log(logging.ERROR if is_error else logging.WARNING, "%s", text)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log.critical("this process ends: %s", error, exc_info=(kind, error, trace))


def _unraisable(arguments: "sys.UnraisableHookArgs") -> None:
    """What a finalizer raised, or a callback of C code: the process goes on."""
    where = arguments.err_msg or "Exception ignored in"
    error = arguments.exc_value or RuntimeError(arguments.exc_type.__name__)
    _log.error("%s: %r", where, arguments.object, exc_info=error)


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if issubclass(arguments.exc_type, SystemExit):
        return  # It ends by its own will.
    name = arguments.thread.name if arguments.thread is not None else "?"
    error = arguments.exc_value or RuntimeError(arguments.exc_type.__name__)
    _log.critical("thread %s ends: %s", name, error, exc_info=error)
