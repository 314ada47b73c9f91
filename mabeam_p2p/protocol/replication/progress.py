"""How far one follower is, as its leader knows it."""

from collections import deque

from mabeam_p2p.protocol.replication.configuration import CatchUp


class Progress:
    """What a leader keeps about one follower."""

    __slots__ = (
        "catch_up",
        "contact",
        "inflight",
        "match_index",
        "probing",
        "round",
        "sent_index",
    )

    def __init__(self, sent_index: int, now: float) -> None:
        self.match_index = 0
        """Last index known to be durable there and equal to ours."""
        self.sent_index = sent_index
        """Last index that was sent; what it holds beyond match_index is a guess."""
        self.probing = True
        self.inflight: deque[tuple[int, int, float]] = deque()
        """(previous index, last index, time sent) of each AppendEntries under way."""
        self.round = 0
        self.contact = now
        self.catch_up = CatchUp(sent_index, now)

    def probe_from(self, index: int) -> None:
        self.probing = True
        self.sent_index = max(index, self.match_index)
        self.inflight.clear()
