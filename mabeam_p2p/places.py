"""Where a user's own folders are, by the XDG Base Directory Specification. Looks into none."""

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder() -> Path | None:
    """What peers of this user keep by default stands there; None: the user has no home, as one of a
    container that is in no list of users."""
    folder = _folder(os.environ, "XDG_STATE_HOME", ".local/state")
    return None if folder is None else folder / "mabeam"


def config_folder(environment: Mapping[str, str]) -> Path | None:
    """Where settings of all programs of this user stand; None as of `state_folder`."""
    return _folder(environment, "XDG_CONFIG_HOME", ".config")


def _folder(environment: Mapping[str, str], variable: str, in_home: str) -> Path | None:
    named = environment.get(variable)
    if named:
        return Path(named)
    try:
        return Path.home() / in_home
    except RuntimeError:
        return None
