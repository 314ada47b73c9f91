"""What the command line prints and how it ends.

1. Data goes to standard output, everything else to standard error.
2. `--json` prints one object; a stream prints one object per line.
3. A failure prints one message that says what to do, and a traceback only of a fault of ours:

   | code | meaning |
   | --- | --- |
   | 0 | done |
   | 1 | asked and refused: rejected, lost, not found |
   | 2 | used wrongly |
   | 69 | no daemon or peer reachable |
   | 70 | a fault of this program |
   | 75 | timed out, no quorum, no room on the disk, no such address yet: try again |
   | 78 | bad configuration, or a place that cannot be used |
   | 130 | interrupted |
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import click
import msgspec

import mabeam_p2p
from mabeam_p2p.errors import (
    AddressError,
    AuthenticationError,
    Closed,
    ConfigError,
    DaemonNotRunning,
    DataFolderHeld,
    InvalidValue,
    LeaseLost,
    MabeamError,
    MabeamTimeout,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
    PeerRefused,
    Rejected,
    StorageError,
)
from mabeam_p2p.observe.legible import legible

DONE = 0
REFUSED = 1
USAGE = 2
UNREACHABLE = 69
FAULT = 70
TRY_AGAIN = 75
BAD_CONFIGURATION = 78
INTERRUPTED = 130

PATIENCE_SECONDS = 1.0
"""How long a verb is silent before it says what it waits for."""

_CODES: tuple[tuple[type[MabeamError], int], ...] = (
    (InvalidValue, USAGE),
    (DataFolderHeld, REFUSED),
    (Rejected, REFUSED),
    (LeaseLost, REFUSED),
    (PeerRefused, REFUSED),
    (AuthenticationError, REFUSED),
    (DaemonNotRunning, UNREACHABLE),
    (Closed, UNREACHABLE),
    (NoQuorum, TRY_AGAIN),
    (Overloaded, TRY_AGAIN),
    (OutcomeUnknown, TRY_AGAIN),
    (MabeamTimeout, TRY_AGAIN),
    (AddressError, BAD_CONFIGURATION),
    (StorageError, BAD_CONFIGURATION),
    (ConfigError, BAD_CONFIGURATION),
)
"""The first class that fits decides; a subclass stands before its base."""


class Exit(Exception):
    """Ends the program with `code`; what there is to say has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_code(error: MabeamError) -> int:
    """The code that tells a script what kind of failure `error` is."""
    if isinstance(error, StorageError) and error.is_full:
        return TRY_AGAIN  # A unit does: nobody need do anything but make room.
    if isinstance(error, AddressError) and error.is_passing:
        return TRY_AGAIN  # Here nobody need do even that, after a boot.
    return next((code for kind, code in _CODES if isinstance(error, kind)), REFUSED)


@contextmanager
def endings() -> Iterator[None]:
    """Turn the package's errors and an interruption into a message and an exit code."""
    try:
        yield
    except MabeamError as error:
        fail(str(error), exit_code(error))
    except ExceptionGroup as group:
        errors = [error for error in _leaves(group) if isinstance(error, MabeamError)]
        if not errors:
            raise
        fail(str(errors[0]), exit_code(errors[0]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has enough, as `head` does.
        sys.stdout = None
        sys.exit(DONE)
    except Exit as end:
        sys.exit(end.code)


@contextmanager
def faults() -> Iterator[None]:
    """End what nobody foresaw with its traceback and a code of its own: Python's would be that of a
    refusal, after which a service is not started again."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise  # Ends that click knows.
    except Exception:
        sys.excepthook(*sys.exc_info())  # Of a daemon it is a line of its log.
        version = mabeam_p2p.__version__
        fail(f"this is a fault of mabeam {version} itself: please report the lines above", FAULT)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def fail(message: str, code: int) -> NoReturn:
    """Say why on standard error and end with `code`."""
    note(f"error: {message}", colour="red")
    sys.exit(code)


def note(text: str, *, colour: str | None = None) -> None:
    """A line for a person, on standard error, or wherever `notes_to` sends it."""
    if _tellers:
        _tellers[-1](text, colour == "red")
    else:
        click.secho(lines(text), err=True, fg=colour)


_tellers: list[Callable[[str, bool], None]] = []


@contextmanager
def notes_to(tell: Callable[[str, bool], None]) -> Iterator[None]:
    """Within, notes go there: the text, and whether it is an error."""
    _tellers.append(tell)
    try:
        yield
    finally:
        _tellers.pop()


@contextmanager
def patience(text: str) -> Iterator[None]:
    """Say what is waited for, if the block takes longer than a person waits without a word."""
    timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, note, text)
    try:
        yield
    finally:
        timer.cancel()


def json_line(value: object) -> None:
    """One JSON object on a line of its own, at once: a reader may wait for it."""
    click.echo(msgspec.json.encode(value))


def facts(pairs: Mapping[str, object]) -> None:
    """Names and values under each other."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {cell(value)}")


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their longest cell; no ruling, so that `awk` can read it."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    click.secho(_row(headings, widths), bold=True)
    for row in cells:
        click.echo(_row(row, widths))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [text.ljust(width) for text, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()


def cell(value: object) -> str:
    """A fact as a person reads it in a line. For a value that was agreed or shared: `exact`."""
    match value:
        case None | "" | () | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(cell, value))
        case _:
            return legible(plain(value))


def size(count: int) -> str:
    """Bytes as a person reads them."""
    for unit, width in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= width:
            return f"{count / width:,.1f} {unit}"
    return f"{count} bytes"


def plain(value: object) -> str:
    """An agreed or shared value alone, for programs: text as it is, anything else as JSON (bytes in
    base64)."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def exact(value: object) -> str:
    """An agreed or shared value in a line: as an argument that gives the same one is written. So
    text is JSON, too, where it would be taken for that, or could not be seen as it is."""
    if not isinstance(value, str):
        return legible(plain(value))
    is_plain = legible(value) == value == value.strip() != "" and given(value) == value
    return value if is_plain else legible(json.dumps(value, ensure_ascii=False))


def given(text: str) -> object:
    """The value that an argument gives: JSON if the text is that, else the text itself."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(word: str) -> object:
    # NaN and Infinity are no JSON, so they are text.
    raise ValueError(word)


def lines(text: str) -> str:
    """Text of others that may have several lines."""
    return legible(text, but="\n\t")


def moment(when: float) -> str:
    """A time in seconds since 1970, as a clock on this host's wall shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
