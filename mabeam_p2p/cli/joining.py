"""Where a join code comes from that was not typed as an argument: a prompt, a file, a pipe. Other
users see a process's arguments, so that the argument is the least private of all."""

import sys
from pathlib import Path

import click

from mabeam_p2p.errors import ConfigError

PROMPT = "-"
FILE_MARK = "@"
CODE_LENGTH_MAX = 4096


def read_code(given: str | None) -> str | None:
    """The code that `--join` stands for: `-` asks for it, or reads a line of a pipe; `@FILE` reads
    the file. Raises ConfigError."""
    if given is None:
        return None
    if given == PROMPT:
        if sys.stdin.isatty():
            typed: str = click.prompt("Join code", hide_input=True, err=True)
            return typed.strip()
        return _checked(sys.stdin.readline(CODE_LENGTH_MAX), "standard input")
    if given.startswith(FILE_MARK):
        path = Path(given.removeprefix(FILE_MARK))
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                return _checked(file.readline(CODE_LENGTH_MAX), str(path))
        except OSError as error:
            raise ConfigError(
                f"the join code in {path} cannot be read: {error.strerror}", key="join_code"
            ) from error
    return given


def _checked(text: str, where: str) -> str:
    if not text.strip():
        raise ConfigError(f"there is no join code in {where}", key="join_code")
    return text.strip()
