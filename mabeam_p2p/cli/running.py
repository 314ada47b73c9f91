"""Running what a verb was given behind `--`: by itself, or tethered to something that is held. What
is tethered is ended when that is lost, and does not outlive this program."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import cast

from mabeam_p2p.api.settings import COMMAND_VARIABLES
from mabeam_p2p.cli import output

COMMAND_NOT_FOUND = 127
"""What shells exit with."""

GRACE_SECONDS = 10.0
"""How long a command may take to end after SIGTERM, before SIGKILL."""

_DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux' prctl(2)."""


async def run_command(command: tuple[str, ...]) -> int:
    """Its exit code, as a shell gives it."""
    try:
        # The terminal has told the command as well; it ends in its own way.
        async with _process(asyncio.create_subprocess_exec(*command), _outwaited) as process:
            code = await process.wait()
    except OSError as error:
        output.fail(f"{command[0]}: {error.strerror}", COMMAND_NOT_FOUND)
    return code if code >= 0 else 128 - code


class Termination:
    """Within, SIGTERM cancels this task, so that what it has begun is ended in order."""

    def __init__(self) -> None:
        self.happened = False

    def __enter__(self) -> "Termination":
        task = asyncio.current_task()
        assert task is not None

        def on_signal() -> None:
            self.happened = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_signal)
        return self

    def __exit__(self, *ending: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

    @property
    def end(self) -> output.Exit:
        """What this program exits with after a SIGTERM."""
        return output.Exit(128 + signal.SIGTERM)


async def run_tethered(
    command: tuple[str, ...],
    told: Mapping[str, str],
    *,
    given: bytes | None = None,
    grace: float = GRACE_SECONDS,
) -> int:
    """The exit code of the command, as a shell tells it. told: more of its environment, of
    COMMAND_VARIABLES alone. given: its standard input; None: ours. Cancelled, it ends the command
    first; on Linux the command gets SIGTERM also when this program is killed."""
    # The command may be a program of ours, which refuses what it does not know.
    assert told.keys() <= set(COMMAND_VARIABLES)
    beginning = asyncio.create_subprocess_exec(
        *command,
        env=os.environ | told,
        stdin=None if given is None else PIPE,
        preexec_fn=_tether(),
    )
    try:
        async with _process(beginning, lambda process: _end(process, grace)) as process:
            if given is not None:
                await process.communicate(given)
            code = await process.wait()
    except OSError as error:
        output.note(f"error: {command[0]}: {error.strerror}", colour="red")
        return COMMAND_NOT_FOUND
    return code if code >= 0 else 128 - code


async def output_of(
    command: tuple[str, ...], given: bytes, *, grace: float = GRACE_SECONDS
) -> tuple[int, bytes, bytes]:
    """The exit code of the command, and what it wrote to standard output and standard error. Ended
    as by `run_tethered`. Raises OSError if it cannot be begun."""
    beginning = asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, preexec_fn=_tether()
    )
    async with _process(beginning, lambda process: _end(process, grace)) as process:
        printed, errors = await process.communicate(given)
        code = await process.wait()
    return code, printed, errors


@contextlib.asynccontextmanager
async def _process(
    beginning: Coroutine[object, object, Process], end: Callable[[Process], Awaitable[None]]
) -> AsyncIterator[Process]:
    """A command runs within. Cancelled, `end` ends it first, also if it was only being begun: it
    may be at work already, and asyncio would kill it without a word. Raises OSError."""
    begun = asyncio.create_task(_watched(beginning))
    try:
        yield await asyncio.shield(begun)
    except asyncio.CancelledError:
        await end(await begun)
        raise


async def _outwaited(process: Process) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await process.wait()


def _tether() -> Callable[[], object] | None:
    """What makes a child get SIGTERM when this process dies, however it dies; None where the
    system has no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(_DIES_WITH_PARENT, int(signal.SIGTERM))


if sys.version_info < (3, 12):

    class _Watcher(asyncio.PidfdChildWatcher):
        """Waits without a thread, as asyncio does from Python 3.12 on."""

        def __init__(self) -> None:
            super().__init__()
            self.attach_loop(asyncio.get_running_loop())

        def close(self) -> None:
            """It was replaced, for commands to come, and waits for its own."""


async def _watched(beginning: Coroutine[object, object, Process]) -> Process:
    """`beginning`, and no thread waits for what it began. When this process is killed, Linux sends
    a child its SIGTERM for each thread that the child falls to: a second one would interrupt how
    it ends."""
    if sys.version_info < (3, 12) and _has_pidfd():
        # `beginning` takes it in its first step, so that no other command comes in between.
        asyncio.set_child_watcher(_Watcher())
        try:
            return await beginning
        finally:  # The usual one again, for others in this process.
            asyncio.set_child_watcher(cast(asyncio.AbstractChildWatcher, None))
    return await beginning


def _has_pidfd() -> bool:
    """Whether the system has it, and allows it."""
    if not hasattr(os, "pidfd_open"):
        return False
    with contextlib.suppress(OSError):
        os.close(os.pidfd_open(os.getpid()))
        return True
    return False


async def _end(process: Process, grace: float) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(grace):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
