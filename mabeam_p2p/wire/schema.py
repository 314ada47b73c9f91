"""What may stand in a field beyond its type, checked.

The rules of the fields stand in `rules`. From these, one check is made for each class when a Schema
is built; a check calls no reflection.

Only what keeps the receiver safe stands there. What a sender may say depends on who it is and on
what is known, and is decided in the cores and machines.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from operator import attrgetter
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.ids import INTEGER_MAX, SessionId
from mabeam_p2p.wire.rules import (
    TUPLE_COUNT_MAX,
    Rule,
    always,
    by_field,
    by_type,
    each,
    is_integer,
    relations,
    shorter,
)

Check = Callable[[Any], None]
"""Raises RemoteProtocolError with reason `schema` and the field's name."""


class Schema:
    """The checks of `roots` and of every class within them, for given limits.

    Raises TypeError for a field that has no rule, so that none is forgotten.
    """

    def __init__(self, limits: Limits, roots: Iterable[type]) -> None:
        self._by_type = by_type()
        self._by_field = by_field(limits)
        self._relations = relations()
        self._checks: dict[type, Check] = {}
        for root in roots:
            self._check_of(root)

    def check(self, struct: msgspec.Struct) -> None:
        """Return, or raise RemoteProtocolError with reason `schema`. struct: of a root."""
        self._checks[type(struct)](struct)

    def _check_of(self, kind: type) -> Check:
        if kind not in self._checks:
            self._checks[kind] = self._make_check(kind)
        return self._checks[kind]

    def _make_check(self, kind: type) -> Check:
        name = kind.__name__
        integers: list[str] = []
        steps: list[Check] = []
        for field in msgspec.structs.fields(kind):
            rule = self._by_field.get((kind, field.name))
            if rule is None and field.type in (int, SessionId):
                integers.append(field.name)
                continue
            rule = rule or self._rule(field.type, f"{name}.{field.name}")
            if rule is not always:
                steps.append(_field_check(name, field.name, _optional(field.type, rule)))
            inner = self._inner_check(field.type)
            if inner is not None:
                steps.append(_at_field(field.name, inner))
        if integers:
            steps.insert(0, _integers_check(name, integers))
        if kind in self._relations:
            steps.append(_relation_check(name, *self._relations[kind]))
        return _all_of(steps)

    def _rule(self, annotation: Any, place: str) -> Rule:
        """The rule of a type. Structs have none: they have checks."""
        if annotation in self._by_type:
            return self._by_type[annotation]
        if isinstance(annotation, type) and issubclass(annotation, Enum | msgspec.Struct):
            return always
        arguments = _alternatives(annotation)
        if arguments and all(_is_struct(argument) for argument in arguments):
            return always
        if len(arguments) == 1:
            return self._rule(arguments[0], place)
        element = _element(annotation)
        if element is not None:
            rule = self._rule(element, place)
            return shorter(TUPLE_COUNT_MAX) if rule is always else each(rule, TUPLE_COUNT_MAX)
        raise TypeError(f"{place} needs a rule of its own: {annotation} has none")

    def _inner_check(self, annotation: Any) -> Check | None:
        """The check for a field that holds a struct, one of several, or a tuple of them."""
        if _is_struct(annotation):
            return self._check_of(annotation)
        structs = [kind for kind in _alternatives(annotation) if _is_struct(kind)]
        if structs:
            return _choice_check({kind: self._check_of(kind) for kind in structs})
        element = _element(annotation)
        inner = None if element is None else self._inner_check(element)
        return None if inner is None else _each_check(inner)


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _alternatives(annotation: Any) -> list[Any]:
    """What a union can be, besides None; nothing for other types."""
    if get_origin(annotation) not in (UnionType, Union):
        return []
    return [argument for argument in get_args(annotation) if argument is not type(None)]


def _element(annotation: Any) -> Any:
    """`X` of `tuple[X, ...]`, else None."""
    arguments = get_args(annotation)
    is_run = get_origin(annotation) is tuple and arguments[1:] == (...,)
    return arguments[0] if is_run else None


def _optional(annotation: Any, rule: Rule) -> Rule:
    if type(None) in get_args(annotation):
        return lambda value: value is None or rule(value)
    return rule


def _refuse(place: str) -> RemoteProtocolError:
    return RemoteProtocolError("schema", place)


def _integers_check(kind: str, names: list[str]) -> Check:
    """All plain integers of a class at once: the hot messages hold little else."""
    if len(names) == 1:
        return _field_check(kind, names[0], is_integer)
    get = attrgetter(*names)

    def check(struct: Any) -> None:
        values = get(struct)
        if min(values) < 0 or max(values) > INTEGER_MAX:
            wrong = [n for n, value in zip(names, values, strict=True) if not is_integer(value)]
            raise _refuse(f"{kind}.{wrong[0]}")

    return check


def _field_check(kind: str, name: str, rule: Rule) -> Check:
    get = attrgetter(name)

    def check(struct: Any) -> None:
        if not rule(get(struct)):
            raise _refuse(f"{kind}.{name}")

    return check


def _at_field(name: str, check: Check) -> Check:
    get = attrgetter(name)
    return lambda struct: check(get(struct))


def _each_check(check_one: Check) -> Check:
    def check(values: tuple[Any, ...]) -> None:
        for value in values:
            check_one(value)

    return check


def _choice_check(checks: dict[Any, Check]) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            checks[type(value)](value)

    return check


def _relation_check(kind: str, what: str, rule: Rule) -> Check:
    def check(struct: Any) -> None:
        if not rule(struct):
            raise _refuse(f"{kind}: {what}")

    return check


def _all_of(steps: list[Check]) -> Check:
    def check(struct: Any) -> None:
        for step in steps:
            step(struct)

    return steps[0] if len(steps) == 1 else check
