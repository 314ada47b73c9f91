"""What a parameter's values may be: declared once, and held against every proposal.

The log keeps a declaration as it was made. Proposers check before they ask, and every voter of this
package rejects what breaks it, so that a value gets through only if a majority runs something else.
"""

import math
from collections.abc import Mapping, Sequence
from typing import get_args

from mabeam_p2p.api.results import Decoded, TypeWord, ValueSchema, decoded
from mabeam_p2p.errors import InvalidValue

_TYPES: dict[TypeWord, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "text": (str,),
    "bytes": (bytes,),
    "list": (list, tuple),
    "map": (dict,),
}
_WORDS: dict[object, TypeWord] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "text",
    bytes: "bytes",
    list: "list",
    dict: "map",
}
"""Types of Python that name a type of values."""


def schema_of(
    kind: TypeWord | type,
    minimum: float | None,
    maximum: float | None,
    choices: Sequence[object] | None,
) -> ValueSchema:
    """Raises InvalidValue for a declaration that no value could meet, or that says nothing."""
    word = _WORDS.get(kind) if isinstance(kind, type) else kind
    if word is None or word not in get_args(TypeWord):
        known = ", ".join(get_args(TypeWord))
        raise InvalidValue(f"type {kind!r} is none of a parameter's: take one of {known}")
    if (minimum is not None or maximum is not None) and word not in ("int", "float"):
        raise InvalidValue(f"values of type {word} have no minimum or maximum: leave it out")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidValue(f"minimum {minimum} is above maximum {maximum}: exchange them")
    bounds = ValueSchema(word, minimum, maximum)
    for choice in choices or ():
        fault = fault_of(bounds, choice)
        if fault is not None:
            raise InvalidValue(f"choice {choice!r} {fault}: leave it out")
    if choices is not None and not choices:
        raise InvalidValue("choices is empty, so that no value fits: name some, or leave it out")
    return ValueSchema(word, minimum, maximum, None if choices is None else tuple(choices))


def fault_of(schema: ValueSchema, value: object) -> str | None:
    """What is wrong with `value`, as `is no int`; None: it fits."""
    is_bool = isinstance(value, bool)
    if not isinstance(value, _TYPES[schema.type]) or (is_bool and schema.type != "bool"):
        return f"is no {schema.type}"
    if isinstance(value, float) and not math.isfinite(value):
        return "is no finite number"
    number: Decoded = value
    if schema.minimum is not None and number < schema.minimum:
        return f"is below {schema.minimum}"
    if schema.maximum is not None and number > schema.maximum:
        return f"is above {schema.maximum}"
    if schema.choices is not None and value not in schema.choices:
        return f"is none of {', '.join(map(repr, schema.choices))}"
    return None


def to_plain(schema: ValueSchema) -> dict[str, object]:
    """What the log keeps: only what was said."""
    return {key: value for key, value in schema.to_dict().items() if value is not None}


def from_encoded(data: bytes) -> ValueSchema | None:
    """None for a declaration of a later release, which binds those alone who understand it."""
    plain = decoded(data)
    if not isinstance(plain, Mapping) or plain.get("type") not in get_args(TypeWord):
        return None
    choices = plain.get("choices")
    return ValueSchema(
        plain["type"],
        plain.get("minimum"),
        plain.get("maximum"),
        None if choices is None else tuple(choices),
    )
