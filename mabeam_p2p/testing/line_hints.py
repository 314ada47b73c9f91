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
ENDS = {"release": "released", "acknowledge": "acknowledged", "return": "returned"}
"""What ends a claim, and the reason that the log has for it then."""
CLAIMED = (*GRANTS, *ENDS, "lost", "renew")


class LineHints:
    """Hears every applied batch: commands with outcomes first, then the events.

    Hints count what happened, in its order. Indices and tokens would not do: one entry can end a
    claim, serve the next one and end that, and tokens may run ahead of indices. Items of a batch
    are put before its events: at the end of the queue they are in nobody's way."""

    def __init__(self) -> None:
        self._happened = 0
        self._puts: dict[bytes, int] = {}
        self._sequences: dict[int, tuple[int, int]] = {}
        """(session, sequence) of the command that made each claim, by ticket."""
        self._granted: dict[str, int] = {}
        self._ended: dict[str, tuple[int, str]] = {}
        """By the claim's name, as histories have it; with the reason."""

    def took_effect(self, command: Command, outcome: Outcome) -> None:
        if not isinstance(outcome, Committed):
            return
        match command:
            case PutItem():
                self._puts.setdefault(command.item, self._next())
            case AcquireLock() | TakeItem():
                place = command.session, command.sequence
                self._sequences.setdefault(outcome.index, place)
            case _:
                pass

    def happened(self, event: MachineEvent) -> None:
        match event:
            case LockGranted(claim=claim) | ItemTaken(claim=claim):
                self._granted[self._name(claim)] = self._next()
            case LockEnded(claim=claim, reason=reason) | TakeEnded(claim=claim, reason=reason) if (
                claim.token
            ):
                self._ended[self._name(claim)] = self._next(), reason
            case _:
                pass

    def give(self, history: list[Call]) -> list[Call]:
        """The same calls, those on locks and queues with hints of the log."""
        for call in history:
            first = call.arguments[0] if call.arguments else None
            if call.action == "put" and isinstance(first, bytes):
                call.hint = self._puts.get(first, inf)
            elif isinstance(first, str) and call.action in CLAIMED:
                call.hint = self._hint(call.action, first)
        return history

    def _hint(self, action: str, claim: str) -> float:
        if action in GRANTS:
            return self._granted.get(claim, inf)
        ended, reason = self._ended.get(claim, (inf, ""))
        if action == "lost":
            # What was given up before is lost then, and who never had anything has not lost it.
            if claim not in self._granted:
                return 0
            return ended + 0.5 if reason in ENDS.values() else ended
        return ended if reason == ENDS.get(action) else inf

    def _next(self) -> int:
        self._happened += 1
        return self._happened

    def _name(self, claim: Claim) -> str:
        session, sequence = self._sequences.get(claim.ticket, (0, 0))
        return f"{claim.agent}/{session}/{sequence}"
