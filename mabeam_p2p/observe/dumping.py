"""A dump of a running peer, for a maintainer, also when its loop is stuck.

A thread of its own answers at a socket beside the daemon's local one: so it works while the loop is
blocked, in Python or in a call that lets other threads run. What holds the interpreter itself is
beyond it; then FATAL_SIGNAL has the stacks of all threads written by the C code of faulthandler,
into a file beside the socket.

The socket stands in the private folder of local sockets, and the kernel names the user at its other
end: nobody else is served. One reader at a time; a second one waits. It sends one text and hangs
up.
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import platform
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import mabeam_p2p
from mabeam_p2p.api.sockets import peer_user, room_for
from mabeam_p2p.errors import ConfigError
from mabeam_p2p.observe import logs
from mabeam_p2p.observe.describing import Describer

DUMP_SUFFIX = ".dump"
STACKS_SUFFIX = ".stacks"
FATAL_SIGNAL = signal.SIGUSR1

LOOP_SECONDS = 1.0
"""How long the loop may take to show that it turns."""
SEND_SECONDS = 10.0
"""How long the reader may take to read."""

_log = logging.getLogger(__name__)

Parts = Callable[[], Mapping[str, object]]
"""What there is to describe, by name, at the moment of a dump."""


def beside(socket_path: str, suffix: str) -> Path:
    """Where this stands for the daemon whose local socket is there."""
    return Path(socket_path).with_suffix(suffix)


class Dumps:
    """Serves dumps of this process from `start` until `close`. Made and started on the loop."""

    def __init__(self, socket_path: str, parts: Parts) -> None:
        self._path = beside(socket_path, DUMP_SUFFIX)
        self._stacks_path = beside(socket_path, STACKS_SUFFIX)
        self._parts = parts
        self._began_at = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: socket.socket | None = None
        self._stacks: int | None = None
        self._is_closed = False

    def start(self) -> None:
        """Raises StorageError if there is no room, else ConfigError for what is in the way."""
        self._loop = asyncio.get_running_loop()
        try:
            with room_for(self._path):
                self._open()
        except OSError as error:
            text = f"{self._path} cannot be made ({error.strerror}): who else writes to its folder?"
            raise ConfigError(text, path=str(self._path)) from error
        threading.Thread(target=self._serve, name="mabeam-dump", daemon=True).start()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._stacks = os.open(self._stacks_path, flags, 0o600)
        # First: who can connect may count on the signal.
        faulthandler.register(FATAL_SIGNAL, file=self._stacks, all_threads=True, chain=False)
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._path.chmod(0o600)
        self._listener.listen(1)

    def close(self) -> None:
        """Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._listener is not None:
            # Wakes the thread, which sees that it is over.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        # First: who does not see the file sends no signal, which would end the process then.
        for path in (self._path, self._stacks_path):
            path.unlink(missing_ok=True)
        if self._stacks is not None:
            faulthandler.unregister(FATAL_SIGNAL)
            os.close(self._stacks)

    def _serve(self) -> None:
        assert self._listener is not None
        while not self._is_closed:
            try:
                reader, _ = self._listener.accept()
            except OSError:
                if self._is_closed:
                    return
                time.sleep(0.1)  # No descriptors, for one: it is tried again.
                continue
            with reader:
                if peer_user(reader) not in (None, os.getuid()):
                    continue
                reader.settimeout(SEND_SECONDS)
                try:
                    reader.sendall(self.text().encode(errors="backslashreplace"))
                except OSError:
                    continue  # The reader has gone.
                except Exception:
                    _log.exception("a dump could not be made")

    # ---- what stands in it -------------------------------------------------------------------

    def text(self) -> str:
        """The dump. Callable on any thread but the loop's."""
        sections = (
            ("this process", self._identity()),
            ("threads", self._threads()),
            ("tasks", self._tasks()),
            ("log, the last lines", iter(tuple(logs.recent))),
            ("state", self._state()),
        )
        lines: list[str] = []
        for title, section in sections:
            lines += ["", f"==== {title}", ""]
            try:
                lines += section
            except Exception:
                # The rest is worth as much.
                lines += ["this part failed:", *traceback.format_exc().splitlines()]
        return "\n".join(lines[1:]) + "\n"

    def _identity(self) -> Iterator[str]:
        yield f"mabeam {mabeam_p2p.__version__}, Python {platform.python_version()}"
        yield f"{platform.platform()}, process {os.getpid()}"
        yield f"written {datetime.now(UTC).isoformat(timespec='seconds')}"
        yield f"up for {time.monotonic() - self._began_at:.0f} s"
        yield self._loop_state()
        yield f"the monotonic clock, by which deadlines are, shows {time.monotonic():.3f}"
        yield "read beside the loop: parts of it may be of different moments"

    def _loop_state(self) -> str:
        assert self._loop is not None
        turned = threading.Event()
        began_at = time.monotonic()
        try:
            self._loop.call_soon_threadsafe(turned.set)
        except RuntimeError:
            return "THE LOOP IS CLOSED"
        if turned.wait(LOOP_SECONDS):
            return f"the loop turns: it answered in {(time.monotonic() - began_at) * 1000:.1f} ms"
        return f"THE LOOP IS STUCK: it did not turn within {LOOP_SECONDS:g} s; see thread main"

    def _threads(self) -> Iterator[str]:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident == threading.get_ident():
                continue
            main = " (main)" if ident == threading.main_thread().ident else ""
            yield f"thread {names.get(ident, ident)}{main}"
            yield from _stack(traceback.extract_stack(frame))

    def _tasks(self) -> Iterator[str]:
        assert self._loop is not None
        for task in sorted(asyncio.all_tasks(self._loop), key=lambda one: one.get_name()):
            yield f"task {task.get_name()}"
            for frame in task.get_stack(limit=4):
                yield from _stack(traceback.extract_stack(frame, limit=1))

    def _state(self) -> Iterator[str]:
        describer = Describer()
        for name, part in self._parts().items():
            yield from describer.lines(name, part)


def _stack(stack: traceback.StackSummary) -> Iterator[str]:
    """Without the lines of source: a dump may go to others."""
    for frame in stack:
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
