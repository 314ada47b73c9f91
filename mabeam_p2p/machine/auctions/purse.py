"""What one party of an auction has set aside for it."""

from collections.abc import Callable

from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.core import Entry, Escrow
from mabeam_p2p.requests import Refused


class Purse:
    """The holds of one agent in one auction, oldest first. All of an auction without a currency
    are empty, and nothing is asked of the ledger."""

    __slots__ = ("_currency", "_escrow", "_holds", "_owner")

    def __init__(
        self,
        escrow: Escrow,
        owner: AgentId,
        currency: str,
        holds: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self._escrow = escrow
        self._owner = owner
        self._currency = currency
        self._holds = dict(holds)
        """Amount by operation; 1 or more."""

    @property
    def held(self) -> int:
        return sum(self._holds.values())

    def holds(self) -> tuple[tuple[str, int], ...]:
        """For a snapshot."""
        return tuple(self._holds.items())

    def raise_to(self, entry: Entry, amount: int, operation: str) -> Refused | None:
        """Hold what is missing to `amount`, as `operation`, which is new; or say why not."""
        missing = amount - self.held
        if not self._currency or missing <= 0:
            return None
        refusal = self._escrow.hold(entry, self._owner, self._currency, missing, operation)
        if refusal is None:
            self._holds[operation] = missing
        return refusal

    def lower_to(self, entry: Entry, amount: int) -> None:
        """Give back what is held beyond `amount`."""
        self._take(self.held - amount, lambda name, part: self._escrow.release(entry, name, part))

    def pay(self, entry: Entry, amount: int, account: AgentId) -> None:
        """Pay out of what is held, which is enough."""
        if self._currency:
            assert amount <= self.held, (amount, self.held)
            self._take(amount, lambda name, part: self._escrow.capture(entry, name, part, account))

    def _take(self, amount: int, use: Callable[[str, int], None]) -> None:
        """Use up `amount` of the newest holds, or as much as there is."""
        for name in reversed(tuple(self._holds)):
            part = min(amount, self._holds[name])
            if part <= 0:
                return
            use(name, part)
            amount -= part
            self._holds[name] -= part
            if self._holds[name] == 0:
                del self._holds[name]
