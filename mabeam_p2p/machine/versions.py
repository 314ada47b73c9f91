"""Versions of the machine: what a state looked like before a field was added to it.

Rules
1. Peers at one index are equal only if they apply the log by one version. Which one is in the log:
   the first Configure says by which it begins, a RaiseVersion by which it goes on. Never lower.
2. A machine of version n encodes what a release of version n encoded, byte for byte: fields that
   came later are left out, and stand at their defaults. So a release that knows more can take part.
3. Fields come at the end, and have defaults. A state of a later version can so be told by its
   version, whatever else is in it, and is taken for nothing else.
4. From version 2 on the limits that outcomes depend on are in the log, as a hash (`limits`).
5. A command that came in a version is asked for in a log of that version alone (COMMANDS_SINCE):
   who does not know it could not read its batch, nor anything behind that.

A change that shows in an outcome, an event or a state asks `version` in the machine that it is in;
a field that a state gains stands in FIELDS_SINCE. `tests/machine/test_golden.py` finds what was
forgotten.
"""

from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from mabeam_p2p.commands import Command, RevokePeer, RotateSecret, SetKeys
from mabeam_p2p.machine.configuration import ConfigurationState

FIELDS_SINCE: dict[tuple[type[Struct], str], int] = {
    (ConfigurationState, "version"): 2,
    (ConfigurationState, "rules"): 2,
}
"""The version in which a field of a state, or of a record in one, came; it holds for what
inherits the field, too. All others are of 1."""

COMMANDS_SINCE: dict[type[Command], int] = {RevokePeer: 2, RotateSecret: 2, SetKeys: 2}
"""The version in which a command of agents came. All others are of 1. (RaiseVersion comes when all
know it; and who is admitted speaks under keys, as no release of version 1 does.)"""


def is_known(command: Command, version: int) -> bool:
    """Whether releases of that version know such a command."""
    return COMMANDS_SINCE.get(type(command), 1) <= version


# ---- states --------------------------------------------------------------------------------------


def as_of(state: Struct, version: int) -> object:
    """What is encoded of `state` in `version`: itself, or sequences in place of what had fewer
    fields then."""
    plan = _plan(type(state), version)
    return state if plan is None else plan(state)


Plan = Callable[[Any], object]


@cache
def _plan(kind: type[Struct], version: int) -> Plan | None:
    """What makes of a `kind` that which was encoded of it; None: it was as it is."""
    kept: list[tuple[str, Plan | None]] = []
    later: list[tuple[str, object]] = []
    for field in fields(kind):
        if _since(kind, field.name) > version:
            assert field.default is not NODEFAULT, f"{field.name} came later, without a default"
            later.append((field.name, field.default))
            continue
        assert not later, f"{kind.__name__}.{field.name} stands behind what came later"
        kept.append((field.name, _plan_of(field.type, version)))
    if not later and all(plan is None for _, plan in kept):
        return None
    config = kind.__struct_config__
    assert config.array_like, f"{kind.__name__} is no sequence"
    tag = () if config.tag is None else (config.tag,)

    def encoded(state: Any) -> object:
        for name, default in later:
            assert getattr(state, name) == default, f"{name} is used before its version"
        values = (
            getattr(state, name) if plan is None else plan(getattr(state, name))
            for name, plan in kept
        )
        return (*tag, *values)

    return encoded


def _since(kind: type[Struct], field: str) -> int:
    """The version in which a field of `kind` came: its own, or that of one of its bases."""
    named = (FIELDS_SINCE.get((one, field)) for one in kind.__mro__)
    return next((version for version in named if version is not None), 1)


def _plan_of(annotation: Any, version: int) -> Plan | None:
    """The plan of a field: of a struct, one of several, or a run of them."""
    if _is_struct(annotation):
        return _plan(annotation, version)
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and arguments[1:] == (...,):
        plan = _plan_of(arguments[0], version)
        return None if plan is None else _of_each(plan)
    changed = [part for part in arguments if _plan_of(part, version) is not None]
    if not changed:
        return None
    is_one_of_several = get_origin(annotation) in (UnionType, Union)
    is_planned = is_one_of_several and all(map(_is_struct, changed))
    assert is_planned, f"no plan for {annotation}"
    return lambda value: as_of(value, version) if isinstance(value, Struct) else value


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def _of_each(plan: Plan) -> Plan:
    return lambda values: tuple(map(plan, values))
