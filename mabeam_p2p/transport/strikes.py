"""Which connections are not listened to for a while, as too much of what they said made no sense.
Decides; does no I/O.

A little of it is nobody's fault: a peer of a later release may say what this one does not know.
Whoever says more than BROKEN_BYTES_MAX of it within SECONDS is not read for as long again, so that
it costs hardly more than the copying.
"""

SECONDS = 1.0
BROKEN_BYTES_MAX = 1024 * 1024
"""Of one connection, within SECONDS."""
MESSAGE_BYTES = 256
"""What a message counts at least: reading costs time however short it is."""
CONNECTIONS_MAX = 4_096
"""Connections that are told apart; of more, those that have been known longest are forgotten."""


class Strikes:
    """`now`: seconds that only grow."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, int]] = {}
        """Of each connection: until when its bytes count, and how many they are."""

    def blame(self, connection: bytes, size: int, now: float) -> None:
        """A message of so many bytes broke the protocol."""
        until, count = self._known.pop(connection, (0.0, 0))
        if now >= until:
            until, count = now + SECONDS, 0
        count += max(size, MESSAGE_BYTES)
        if count > BROKEN_BYTES_MAX:
            until = now + SECONDS
        self._known[connection] = until, count
        if len(self._known) > CONNECTIONS_MAX:
            del self._known[next(iter(self._known))]

    def is_out(self, connection: bytes, now: float) -> bool:
        """Whether what it says is dropped unread."""
        known = self._known.get(connection)
        return known is not None and known[1] > BROKEN_BYTES_MAX and now < known[0]
