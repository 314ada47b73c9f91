"""Where a Config comes from. Decides precedence, checks every value, remembers each one's origin.

Precedence, first wins:

1. what the caller gives: flags of the command line, arguments of `join` and `connect`;
2. the environment: `MABEAM_` and the key in upper case, `__` for the dot of a nested one, as in
   `MABEAM_TIMING__HEARTBEAT_SECONDS`; lists are separated by commas; empty counts as unset, and
   what is there for another reason (`is_foreign`), too;
3. the file that was named (`--config`, `$MABEAM_CONFIG`), else `./mabeam.toml`;
4. the user's file, `$XDG_CONFIG_HOME/mabeam/mabeam.toml`;
5. the system's file, `/etc/mabeam/mabeam.toml`;
6. the built-in value.
"""

import difflib
import math
import os
import re
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mabeam_p2p import places
from mabeam_p2p.config import MACHINE_VERSION, Config, Limits, Timing
from mabeam_p2p.errors import ConfigError
from mabeam_p2p.ids import NAME_LENGTH_MAX, check_name

FILE_NAME = "mabeam.toml"
SYSTEM_FILE = Path("/etc/mabeam") / FILE_NAME

PREFIX = "MABEAM_"
FILE_VARIABLE = "MABEAM_CONFIG"
PROGRAM_VARIABLES = (
    FILE_VARIABLE,
    "MABEAM_ADDR",
    "MABEAM_TIMEOUT",
    "MABEAM_LOG_FORMAT",
    "MABEAM_METRICS",
)
"""Variables with the prefix that steer programs and are no settings of a peer."""

COMMAND_VARIABLES = (
    "MABEAM_TOKEN",
    "MABEAM_LOCK",
    "MABEAM_QUEUE",
    "MABEAM_SEAT",
    "MABEAM_GROUP",
)
"""What verbs with `-- COMMAND` tell it, and nothing else: it may be a program of ours as well."""

_OF_PLATFORMS = re.compile(r"MABEAM_(SERVICE_HOST|SERVICE_PORT.*|PORT|PORT_.*)")
"""What container platforms tell every program of a service that is called mabeam."""

SCORES_BY = ("load", "uptime", "latency")
"""What `api/fitness.py` can make a score of."""

BUILT_IN = "built-in"
ENVIRONMENT = "environment"
HOST_NAME = "host's name"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value. `key` is dotted; `origin` is `built-in`, `argument`, `environment NAME` or a
    file's path."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """A checked Config and where each value came from, in the order of the fields."""

    config: Config
    all: tuple[Setting, ...]


def load(
    given: Mapping[str, object] | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    origin: str = "argument",
) -> Settings:
    """Gather the settings of one peer. Raises ConfigError with the path and the key.

    given: dotted or nested keys; None means not given. file: as --config. environment: None takes
    the process's. origin: what to call `given` in Settings.
    """
    environment = os.environ if environment is None else environment
    chosen: dict[str, Setting] = {}
    for layer in _layers(given or {}, file, environment, origin):
        chosen.setdefault(layer.key, layer)
    values = {key: _convert(setting) for key, setting in chosen.items()}
    if values.get("join_code") and "cluster" not in chosen:
        values["cluster"] = _cluster_of(str(values["join_code"]))
        chosen["cluster"] = Setting("cluster", values["cluster"], chosen["join_code"].origin)
    config = _assemble(values)
    if not config.name:
        config = _named(config)
        chosen["name"] = Setting("name", config.name, HOST_NAME)
    _check(config, chosen)
    return Settings(
        config,
        tuple(
            Setting(key, _shown(key, value), chosen[key].origin if key in chosen else BUILT_IN)
            for key, value in _flatten(config).items()
        ),
    )


def _cluster_of(join_code: str) -> str:
    # Here: only who joins by a code needs what this brings.
    from mabeam_p2p import assembly

    return assembly.join_cluster(join_code)


def _shown(key: str, value: object) -> object:
    """What may be printed of a value."""
    return "(redacted)" if key == "join_code" and value else value


def complete(config: Config) -> Config:
    """`config` with the host's name if it has none, checked. Raises ConfigError."""
    for key, value in _flatten(config).items():
        _convert(Setting(key, value, "argument"))
    config = config if config.name else _named(config)
    _check(config, {})
    return config


def _named(config: Config) -> Config:
    return msgspec.structs.replace(config, name=host_name())


def host_name() -> str:
    """The host's name without its domain, made usable as a name."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname().split(".")[0]).strip("-_")
    return name[:NAME_LENGTH_MAX] or "peer"


def user_file(environment: Mapping[str, str]) -> Path | None:
    """None: the user has no home."""
    folder = places.config_folder(environment)
    return None if folder is None else folder / "mabeam" / FILE_NAME


def is_foreign(variable: str) -> bool:
    """Whether a variable says nothing to a program of ours, though it has the prefix: a verb has
    set it for its command, or a container platform for a service. A setting goes first."""
    is_known = variable in COMMAND_VARIABLES or _OF_PLATFORMS.fullmatch(variable) is not None
    return is_known and _key_of(variable) not in _TYPES


def _key_of(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower().replace("__", ".")


# ---- layers ------------------------------------------------------------------------------------


def _layers(
    given: Mapping[str, object],
    file: str | os.PathLike[str] | None,
    environment: Mapping[str, str],
    origin: str,
) -> Iterator[Setting]:
    for key, value in _leaves(given):
        if value is not None:
            yield Setting(_known(key, origin), value, origin)
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in PROGRAM_VARIABLES or not text:
            continue
        if is_foreign(variable):
            continue
        key = _known(_key_of(variable), ENVIRONMENT, variable)
        yield Setting(key, text, f"{ENVIRONMENT} {variable}")
    named = file if file is not None else environment.get(FILE_VARIABLE)
    if named:
        yield from _file(Path(named), required=True)
    else:
        yield from _file(Path(FILE_NAME), required=False)
    of_user = user_file(environment)
    if of_user is not None:
        yield from _file(of_user, required=False)
    yield from _file(SYSTEM_FILE, required=False)


def _file(path: Path, required: bool) -> Iterator[Setting]:
    try:
        text = path.read_bytes().decode()
        document = tomllib.loads(text)
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: no such file", path=str(path)) from None
        return
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}", path=str(path)) from error
    origin = str(path.absolute())
    for key, value in _leaves(document):
        yield Setting(_known(key, origin), value, origin)


def _leaves(document: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        key = prefix + name
        if isinstance(value, Mapping) and key not in _TYPES:
            yield from _leaves(value, key + ".")
        elif isinstance(value, msgspec.Struct):
            yield from _leaves(msgspec.structs.asdict(value), key + ".")
        else:
            yield key, value


# ---- schema ------------------------------------------------------------------------------------


def _schema(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, object]]:
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _schema(field.type, prefix + field.name + ".")
        else:
            yield prefix + field.name, field.type


_TYPES = dict(_schema(Config))
"""Dotted key to type, in the order of the fields."""

_KINDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple[str, ...]: "a list of texts",
}
"""What to take for each type; text for all others."""


def _known(key: str, path: str, written: str | None = None) -> str:
    """`key`, or ConfigError with the nearest known one. `written`: as it stands in `path`."""
    if key in _TYPES:
        return key
    names = _TYPES
    if written is not None:
        names = {PREFIX + name.upper().replace(".", "__"): None for name in _TYPES}
    near = difflib.get_close_matches(written or key, names, n=1, cutoff=0.5)
    advice = f": did you mean {near[0]!r}?" if near else ": see `mabeam config show` for all keys"
    raise ConfigError(f"{path}: unknown key {written or key!r}{advice}", path=path, key=key)


def _convert(setting: Setting) -> object:
    value = setting.value
    kind = _TYPES[setting.key]
    if kind == tuple[str, ...] and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        # Only text from the environment may stand for numbers and truth.
        is_text = setting.origin.startswith(ENVIRONMENT)
        return msgspec.convert(value, kind, strict=not is_text)
    except msgspec.ValidationError as error:
        raise _wrong(setting, f"it is {_KINDS.get(kind, 'text')}") from error


def _wrong(setting: Setting, fault: str) -> ConfigError:
    return ConfigError(
        f"{setting.origin}: {setting.key} = {_shown(setting.key, setting.value)!r} is not usable: "
        f"{fault}",
        path=setting.origin,
        key=setting.key,
    )


def _assemble(values: Mapping[str, object]) -> Config:
    tree: dict[str, object] = {}
    nested: dict[str, dict[str, object]] = {"timing": {}, "limits": {}}
    for key, value in values.items():
        table, _, name = key.rpartition(".")
        (nested[table] if table else tree)[name] = value
    return msgspec.convert(tree | nested, Config)


def _flatten(config: Config) -> dict[str, object]:
    return dict(_leaves(msgspec.structs.asdict(config)))


# ---- rules about values ------------------------------------------------------------------------


def _check(config: Config, chosen: Mapping[str, Setting]) -> None:
    for key, fault in _faults(config):
        raise _wrong(chosen.get(key, Setting(key, _flatten(config)[key], "argument")), fault)


def _faults(config: Config) -> Iterator[tuple[str, str]]:
    for key in ("name", "cluster"):
        try:
            check_name(getattr(config, key), key)
        except ConfigError as error:
            # Whose name it is, and which, stands before that already.
            yield key, str(error).rpartition(": ")[2]
    if not 0 <= config.score <= 100:
        yield "score", "it is a number from 0 to 100"
    if config.score_by and config.score_by not in SCORES_BY:
        yield "score_by", f"it is one of {', '.join(SCORES_BY)}, or empty"
    if not 1 <= config.preference_margin <= 101:
        yield "preference_margin", "it is a number from 1 to 101, which no score is above another"
    if not 1 <= config.expect <= config.limits.voters_max:
        yield "expect", f"it is a number from 1 to limits.voters_max ({config.limits.voters_max})"
    if not 1 <= config.max_voters <= config.limits.voters_max:
        most = config.limits.voters_max
        yield "max_voters", f"it is a number from 1 to limits.voters_max ({most})"
    if not 1 <= config.machine_version_max <= MACHINE_VERSION:
        yield "machine_version_max", f"it is a number from 1 to {MACHINE_VERSION}"
    for key, seconds in _flat(config.timing, "timing."):
        if not (math.isfinite(seconds) and seconds > 0):
            yield key, "it is a number of seconds greater than 0"
    for key, count in _flat(config.limits, "limits."):
        least = 0 if key in _MAY_BE_NONE else 1
        if count < least:
            yield key, f"it is a whole number, {least} or more"
    if config.limits.snapshot_chunk_bytes * 2 > config.limits.frame_bytes_max:
        yield (
            "limits.snapshot_chunk_bytes",
            "a piece travels in one frame: take at most half of "
            f"limits.frame_bytes_max ({config.limits.frame_bytes_max})",
        )
    timing = config.timing
    if timing.heartbeat_seconds * 2 > timing.election_timeout_seconds:
        yield (
            "timing.heartbeat_seconds",
            "one lost heartbeat would end a leadership: take at most half of "
            f"timing.election_timeout_seconds ({timing.election_timeout_seconds})",
        )
    if not timing.suspect_seconds < timing.dead_seconds:
        yield "timing.suspect_seconds", "it must be less than timing.dead_seconds"


_MAY_BE_NONE = (
    "limits.task_retries_max",
    "limits.task_losses_max",
    "limits.task_steals_max",
    "limits.log_trailing_entries",
    "limits.data_bytes_max",
)
"""Where 0 means: never, or none."""


def _flat(values: Timing | Limits, prefix: str) -> Iterator[tuple[str, float]]:
    for name in values.__struct_fields__:
        yield prefix + name, getattr(values, name)
