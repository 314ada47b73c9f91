"""Linearizable reads that wait for their leader to be confirmed (Raft thesis §6.4)."""

from collections import deque

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import ReadIndexReply
from mabeam_p2p.protocol.core import Outbox


class Reads:
    """Those of one term, of this peer and of others, in the order in which they were asked."""

    def __init__(self, peer: PeerId, *, log_id: int, term_persist: int, outbox: Outbox) -> None:
        self.confirmed: list[tuple[int, int]] = []
        """(number, index) of this peer's own reads that are answered; the owner takes them."""
        self._peer = peer
        self._log_id = log_id
        self._term_persist = term_persist
        self._outbox = outbox
        self._asked: list[tuple[PeerId, int]] = []
        self._waiting: deque[tuple[int, PeerId, int]] = deque()
        """(round that has to be confirmed, who asks, its number)."""

    @property
    def want_round(self) -> bool:
        """Whether a read was asked that no round of heartbeats has begun after."""
        return bool(self._asked)

    @property
    def are_waiting(self) -> bool:
        return bool(self._waiting)

    def ask(self, asker: PeerId, number: int) -> None:
        """A read by `asker`, under its own number; confirmed in a later turn."""
        self._asked.append((asker, number))

    def begin_round(self, round_number: int) -> None:
        """A round of heartbeats begins: what was asked before it is confirmed with it."""
        self._waiting.extend((round_number, asker, number) for asker, number in self._asked)
        self._asked.clear()

    def confirm(self, round_number: int, index: int) -> None:
        """A majority has answered this round: what waited for it may read at `index`."""
        while self._waiting and self._waiting[0][0] <= round_number:
            _, asker, number = self._waiting.popleft()
            self._answer(asker, number, index, self._term_persist)

    def refuse(self) -> None:
        """Leadership ends: every read that waits is answered with index 0."""
        for asker, number in [*self._asked, *((a, number) for _, a, number in self._waiting)]:
            self._answer(asker, number, 0, 0)
        self._asked.clear()
        self._waiting.clear()

    def _answer(self, asker: PeerId, number: int, index: int, after: int) -> None:
        if asker == self._peer:
            self.confirmed.append((number, index))
        else:
            self._outbox.send(asker, ReadIndexReply(self._log_id, number, index), after)
