"""What a daemon holds for its clients, all together, so that many of them cannot fill its memory
when each keeps to its own bounds."""

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

    def greediest(self) -> Who | None:
        """The one that holds most, while together they hold more than the bound; else None."""
        if self.held_bytes <= self.bytes_max:
            return None
        return max(self._held, key=lambda who: self._held[who])
