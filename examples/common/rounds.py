"""Rounds that a coordinator opens, one after the other, for whoever is there then.

1. All that is known of them stands in one journal of the log: openings and ends, in one order.
2. The coordinator is elected among those that stand for it. It opens the next round when as many
   agents are there by the log as are to take part: one that is about to leave would be waited for.
   When the coordinator is gone, the others elect another one.
3. A round that broke is opened again. Whoever is in an opening takes part, wherever it had been
   before: what it needs to know comes from the giver, the one that opened.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from examples.common.peer import patiently
from mabeam_p2p import JournalItem
from mabeam_p2p.blocking import Agent

SEAT = "coordinator"


class Opening(NamedTuple):
    """One round. place: of the opening in the journal, unlike that of any other."""

    number: int
    parties: tuple[str, ...]
    giver: str
    place: int


class Rounds:
    """One agent's part in the rounds 1 to `last`.

    needed: how many agents take part in a round. stands: whether this agent may coordinate.
    """

    def __init__(
        self, agent: Agent, name: str, last: int, needed: Callable[[int], int], *, stands: bool
    ) -> None:
        self.stands = stands
        self.done = 0
        """The last round that ended."""
        self._agent = agent
        self._journal = agent.journal(name)
        self._last = last
        self._needed = needed
        self._position = 1
        self._opening: Opening | None = None
        # Listened to before the journal is read for the first time: nothing falls between.
        self._events = agent.events("journal.appended", "agent.joined", "agent.left")

    def opened(self) -> Opening | None:
        """The next round that this agent is in; None when the last one has ended."""
        while True:
            self._read()
            if self._opening is not None:
                opening, self._opening = self._opening, None
                return opening
            if self.done >= self._last:
                return None
            if not (self.stands and self._coordinates() and self._open()):
                next(self._events)

    def end(self, opening: Opening, facts: Mapping[str, object]) -> None:
        """The giver notes that the round has ended, and how."""
        patiently(partial(self._journal.append, {"done": opening.number, **facts}))

    def _read(self) -> None:
        items = patiently(partial(self._journal.read, self._position))
        for item in items:
            self._position = item.position + 1
            if "done" in item.value:
                self.done = max(self.done, item.value["done"])
            else:
                self._take(item)
        if self._opening is not None and self._opening.number <= self.done:
            self._opening = None

    def _take(self, item: JournalItem) -> None:
        parties = tuple(item.value["parties"])
        if self._agent.id in parties:
            number, giver = item.value["open"], item.value["giver"]
            self._opening = Opening(number, parties, giver, item.position)

    def _coordinates(self) -> bool:
        """See to it that there is a coordinator; whether it is this agent."""
        return patiently(partial(self._agent.elect, SEAT, among="standing")).is_me

    def _open(self) -> bool:
        """Open the next round if those are there who take part."""
        number = self.done + 1
        parties = [agent.id for agent in patiently(self._agent.read_agents)]
        if len(parties) != self._needed(number):
            return False
        opening = {"open": number, "parties": parties, "giver": self._agent.id}
        patiently(partial(self._journal.append, opening))
        return True
