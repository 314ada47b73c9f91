"""What a daemon holds for its clients, all together, so that many of them cannot fill its memory
when each keeps to its own bounds."""

from collections.abc import Callable
from typing import Generic, TypeVar

Who = TypeVar("Who")


class Room(Generic[Who]):
    """Bytes held for each client, with a bound on their sum. Decides; does no I/O."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0
        self._held: dict[Who, int] = {}

    def hold(self, who: Who, count: int) -> None:
        """So many bytes are held for `who` from now on, in place of those before."""
        self.held_bytes += count - self._held.pop(who, 0)
        if count:
            self._held[who] = count

    def has_room_for(self, count: int) -> bool:
        return self.held_bytes + count <= self.bytes_max

    def greediest(
        self, count: int = 0, *, among: Callable[[Who], bool] = lambda _: True
    ) -> Who | None:
        """The one that holds most of those that are `among`, while there is no room for `count`
        bytes more; else None."""
        if self.has_room_for(count):
            return None
        return max(filter(among, self._held), key=self._held.__getitem__, default=None)
