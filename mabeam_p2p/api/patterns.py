"""Glob patterns over names, as in `model/*`: which one speaks for a name.

The most specific pattern wins: one without wildcards, else the one with more literal characters,
else the one that came later.
"""

from fnmatch import fnmatchcase
from typing import Generic, TypeVar

T = TypeVar("T")

WILDCARDS = "*?["


def matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern)


class Patterns(Generic[T]):
    """What was declared for which pattern."""

    def __init__(self) -> None:
        self._declared: dict[str, T] = {}

    def declare(self, pattern: str, meaning: T) -> None:
        """A second declaration of the same pattern takes the place of the first."""
        self._declared.pop(pattern, None)
        self._declared[pattern] = meaning

    def find(self, name: str) -> T | None:
        """The meaning of the most specific pattern that matches `name`."""
        fitting = [pattern for pattern in self._declared if matches(name, pattern)]
        if not fitting:
            return None
        # Of equals max takes the first: look at the later ones first.
        return self._declared[max(reversed(fitting), key=_specificity)]


def _specificity(pattern: str) -> tuple[bool, int]:
    is_exact = not any(sign in pattern for sign in WILDCARDS)
    return is_exact, sum(sign not in WILDCARDS for sign in pattern)
