"""The dashboard's token: a file that its user alone can read, made if it is not there."""

import os
import secrets
import stat
from pathlib import Path

from mabeam_p2p.dashboard.access import TOKEN_LENGTH_MIN
from mabeam_p2p.errors import ConfigError

KEY = "dashboard_token"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
TOKEN_BYTES_MAX = 1_024


def read_token(file: str) -> str:
    """The token in `file`, which gets a new one if there is none. Raises ConfigError if others can
    read it, if it is no plain file of this user, or if its token is easily guessed."""
    try:
        path = Path(file).expanduser()
    except RuntimeError:
        raise _unusable(
            Path(file), "that home is not known: set HOME, or write the whole path"
        ) from None
    try:
        _make(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as opened:
            _check(path, os.fstat(descriptor))
            data = opened.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    try:
        token = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise _unusable(path, "it holds more than letters, digits and signs of ASCII") from None
    is_word = token.isprintable() and " " not in token
    if not TOKEN_LENGTH_MIN <= len(token) <= TOKEN_BYTES_MAX or not is_word:
        raise _unusable(
            path,
            f"a token is one word of {TOKEN_LENGTH_MIN} to {TOKEN_BYTES_MAX} characters; remove "
            "the file, and a good one is made",
        )
    return token


def _make(path: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return
    with open(descriptor, "w", encoding="ascii") as made:
        made.write(secrets.token_urlsafe(32) + "\n")


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _unusable(path, "it is no plain file")
    if found.st_uid != os.geteuid():
        raise _unusable(path, "it belongs to another user")
    if found.st_mode & OTHERS:
        raise _unusable(path, f"others can read or change it: `chmod 600 {path}`")


def _unusable(path: Path, fault: str) -> ConfigError:
    return ConfigError(f"{KEY} = {str(path)!r} is not usable: {fault}", path=str(path), key=KEY)
