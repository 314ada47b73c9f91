"""Where the log says that calls on locks and queues had their effects, as hints for the search.

Agents often do not hear what came of a claim; the log knows. An order that the log suggests is
still checked by the model and by real time: hints speed the search up, and decide nothing.
"""

from math import inf

from mabeam_p2p.commands import AcquireLock, Command, PutItem, TakeItem
from mabeam_p2p.events import ItemTaken, LockEnded, LockGranted, MachineEvent, TakeEnded
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import Committed, Outcome
from mabeam_p2p.testing.wing_gong import Call

GRANTS = ("acquire", "take")
ENDS = ("release", "acknowledge", "return", "lost")


class LineHints:
    """Hears every applied batch: commands with outcomes first, then the events, then its end."""

    def __init__(self) -> None:
        self._puts: dict[bytes, int] = {}
        self._sequences: dict[int, tuple[int, int]] = {}
        """(session, sequence) of the command that made each claim, by ticket."""
        self._granted: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        """By the claim's name, as histories have it."""
        self._last_index = 0
        self._ends: list[tuple[str, str]] = []
        """(line, claim) of those that have ended since the last grant of that line."""

    def took_effect(self, command: Command, outcome: Outcome) -> None:
        if not isinstance(outcome, Committed):
            return
        self._last_index = max(self._last_index, outcome.index)
        match command:
            case PutItem():
                self._puts.setdefault(command.item, outcome.index)
            case AcquireLock() | TakeItem():
                place = command.session, command.sequence
                self._sequences.setdefault(outcome.index, place)
            case _:
                pass

    def happened(self, event: MachineEvent) -> None:
        match event:
            case LockGranted(lock=line, claim=claim) | ItemTaken(queue=line, claim=claim):
                self._granted[self._name(claim)] = claim.token
                # What has ended before on that line made room for it, at the latest.
                for ended in [one for one in self._ends if one[0] == line]:
                    self._ends.remove(ended)
                    self._ended[ended[1]] = claim.token
            case LockEnded(lock=line, claim=claim) | TakeEnded(queue=line, claim=claim):
                if claim.token:
                    self._ends.append((line, self._name(claim)))
            case _:
                pass

    def batch_ended(self) -> None:
        for _, claim in self._ends:
            self._ended[claim] = self._last_index
        self._ends.clear()

    def give(self, history: list[Call]) -> list[Call]:
        """The same calls; where the agent knows no index, with the log's."""
        for call in history:
            if call.hint < inf or not call.arguments:
                continue
            first = call.arguments[0]
            if call.action == "put" and isinstance(first, bytes):
                call.hint = self._puts.get(first, inf)
            elif call.action in GRANTS and isinstance(first, str):
                call.hint = self._granted.get(first, inf)
            elif call.action in ENDS and isinstance(first, str):
                call.hint = self._ended.get(first, inf)
        return history

    def _name(self, claim: Claim) -> str:
        session, sequence = self._sequences.get(claim.ticket, (0, 0))
        return f"{claim.agent}/{session}/{sequence}"
