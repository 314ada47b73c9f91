"""Running what a verb was given behind `--`."""

import asyncio
import contextlib

from mabeam_p2p.cli import output

COMMAND_NOT_FOUND = 127
"""What shells exit with."""


async def run_command(command: tuple[str, ...]) -> int:
    """Its exit code, as a shell gives it."""
    try:
        process = await asyncio.create_subprocess_exec(*command)
    except OSError as error:
        output.fail(f"{command[0]}: {error.strerror}", COMMAND_NOT_FOUND)
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        # The terminal has told the command as well; it ends in its own way.
        with contextlib.suppress(asyncio.CancelledError):
            await process.wait()
        raise
    return code if code >= 0 else 128 - code
