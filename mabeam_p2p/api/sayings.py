"""What an agent has said of itself in the log, where it stands for as long as the session: kept, to
be said again in the next one.

A value is noted before it is sent, so that what is said again meanwhile is the newest; what was
certainly not taken leaves the one before.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from mabeam_p2p.api.grants import CERTAIN

T = TypeVar("T")


class Sayings(Generic[T]):
    """Values by the name of what they tell. nothing: the value that takes one back."""

    def __init__(self, nothing: T) -> None:
        self._nothing = nothing
        self._values: dict[str, T] = {}

    @contextlib.contextmanager
    def saying(self, name: str, value: T) -> Iterator[None]:
        """The block sends it."""
        before = self._of(name)
        self._note(name, value)
        try:
            yield
        except CERTAIN:
            if self._of(name) == value:
                self._note(name, before)
            raise

    async def say_again(self, say: Callable[[str, T], Awaitable[None]]) -> None:
        """Send each by `say`, and once more if it has changed until that has returned. Raises what
        `say` does."""
        for name in tuple(self._values):
            said = self._nothing
            while (value := self._of(name)) != said:
                await say(name, value)
                said = value

    def _of(self, name: str) -> T:
        return self._values.get(name, self._nothing)

    def _note(self, name: str, value: T) -> None:
        self._values.pop(name, None)
        if value != self._nothing:
            self._values[name] = value
