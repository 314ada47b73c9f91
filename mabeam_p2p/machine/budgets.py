"""Budgets: limits of what may be spent, each perhaps part of a greater one.

1. reserved + spent <= limit in every budget at every index. A reservation counts in its budget and
   in all that it is part of, or in none; so does what was spent of it.
2. A reservation is its agent's. It ends once: spent, wholly, in part or not at all, or with the
   session of its agent. What was not spent of it is free again at that index. No more than was
   reserved can be spent. Who asks again, with the reservation's operation id or number and equal
   content, is told the same: of those that were spent, the last `reservations_max` are remembered.
3. A budget belongs to the agent that set it first; it alone sets another limit, not below what is
   spent and reserved, or removes it while nothing is reserved in it and no budget is part of it.
   Every agent may make a budget that is part of it, and reserve in it.
4. What a budget is part of never changes, and stood before it: there is no circle.
5. With a window, spent is 0 again when a window ends; windows follow each other from the budget's
   beginning by the log's clock. Reservations outlast windows and are spent in the one they end in.
"""

from collections import OrderedDict
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import AnyBudgetCommand, Reserve, SetBudget, SpendReserved
from mabeam_p2p.config import Limits
from mabeam_p2p.events import BudgetChanged, MachineEvent
from mabeam_p2p.ids import INTEGER_MAX, AgentId, is_key
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import Budget, BudgetChange, Reservation
from mabeam_p2p.requests import Outcome, Refused


class Spent(Struct, frozen=True, array_like=True):
    """A reservation that has been spent, and how much of it."""

    reservation: Reservation
    amount: int


class BudgetsState(Struct, frozen=True, array_like=True):
    """budgets and reservations: in the order in which they came into being. spent: oldest first."""

    budgets: tuple[Budget, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    spent: tuple[Spent, ...] = ()


class Budgets:
    """Every budget by name, and every reservation by number."""

    def __init__(self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._events = events
        self._budgets: dict[str, Budget] = {}
        self._reservations: dict[int, Reservation] = {}
        self._spent: OrderedDict[int, Spent] = OrderedDict()
        self._operations: dict[str, int] = {}
        """Number of each reservation, standing or spent, that has an operation id. Derived."""
        self._part_counts: dict[str, int] = {}
        """How many budgets are part of each, directly. Derived."""

    # ---- commands --------------------------------------------------------------------------

    def apply(self, entry: Entry, agent: AgentId, command: AnyBudgetCommand) -> Outcome:
        """Refused: invalid, limit, unknown_budget, unknown_reservation, conflicting_operation,
        budget_mismatch, budget_exceeded, budget_in_use, not_owner."""
        match command:
            case SetBudget(limit=limit):
                if limit is None:
                    return self._remove(entry, agent, command)
                return self._set(entry, agent, command, limit)
            case Reserve():
                return self._reserve(entry, agent, command)
            case SpendReserved():
                return self._spend(entry, agent, command)
            case _:
                assert_never(command)

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """Free what an agent had reserved whose session has ended."""
        for reservation in tuple(self._reservations.values()):
            if reservation.agent == agent:
                self._end(entry, reservation, 0, BudgetChange.RELEASED)
                self._operations.pop(reservation.operation, None)

    def expire(self, entry: Entry, name: str) -> None:
        """The window of budget `name` has ended."""
        budget = self._budgets[name]
        assert budget.window, budget
        self._deadlines.remove(DeadlineKind.BUDGET, name)
        self._budgets[name] = replace(budget, spent=0, window_end=0)
        self._tell(name, BudgetChange.RESET, budget.spent, "")

    def _set(self, entry: Entry, agent: AgentId, command: SetBudget, limit: int) -> Outcome:
        name = command.budget
        budget = self._budgets.get(name)
        if not 0 <= limit <= INTEGER_MAX:
            return Refused("invalid", f"a limit is 0 to {INTEGER_MAX} micro-units, not {limit}")
        if budget is None:
            return self._begin(entry, agent, command, limit)
        if budget.owner != agent:
            return _not_owner(budget)
        if (budget.parent, budget.window) != (command.parent, command.window):
            detail = f"{name!r} is part of {budget.parent!r}, window {budget.window} us, for good"
            return Refused("budget_mismatch", detail)
        if limit < budget.spent + budget.reserved:
            return _exceeded(budget, f"a limit of {limit}")
        self._budgets[name] = replace(budget, limit=limit)
        self._tell(name, BudgetChange.SET, limit, agent)
        return entry.committed()

    def _begin(self, entry: Entry, agent: AgentId, command: SetBudget, limit: int) -> Outcome:
        name, parent, window = command.budget, command.parent, command.window
        most, depth_max = self._limits.budgets_max, self._limits.budget_depth_max
        if not is_key(name):
            return Refused("invalid", "the budget has no usable name")
        if window and not entry.can_wait(window):
            return Refused("invalid", "the window is no positive number of microseconds")
        if parent and parent not in self._budgets:
            return _unknown_budget(parent)
        if parent and len(self._chain(parent)) >= depth_max:
            return Refused("limit", f"budgets nest {depth_max} deep at most")
        if len(self._budgets) >= most:
            return Refused("limit", f"there are {most} budgets already")
        place = entry.index, entry.clock
        self._budgets[name] = Budget(name, agent, limit, 0, 0, parent, window, 0, *place)
        if parent:
            self._part_counts[parent] = self._part_counts.get(parent, 0) + 1
        self._tell(name, BudgetChange.SET, limit, agent)
        return entry.committed()

    def _remove(self, entry: Entry, agent: AgentId, command: SetBudget) -> Outcome:
        name = command.budget
        budget = self._budgets.get(name)
        if budget is None:
            return _unknown_budget(name)
        if budget.owner != agent:
            return _not_owner(budget)
        if budget.reserved or name in self._part_counts:
            detail = f"{self._part_counts.get(name, 0)} budgets are part of {name!r}"
            if budget.reserved:
                detail = f"{budget.reserved} micro-units of {name!r} are reserved"
            return Refused("budget_in_use", detail)
        self._tell(name, BudgetChange.REMOVED, 0, agent)
        if budget.window_end:
            self._deadlines.remove(DeadlineKind.BUDGET, name)
        if budget.parent:
            self._part_counts[budget.parent] -= 1
            if not self._part_counts[budget.parent]:
                del self._part_counts[budget.parent]
        del self._budgets[name]
        return entry.committed()

    def _reserve(self, entry: Entry, agent: AgentId, command: Reserve) -> Outcome:
        """Committed.number is the reservation's."""
        name, amount, operation = command.budget, command.amount, command.operation
        if operation in self._operations:
            return self._reserved_before(entry, agent, command)
        if operation and not is_key(operation):
            return Refused("invalid", "the operation has no usable id")
        if not 0 < amount <= INTEGER_MAX:
            detail = f"an amount is 1 to {INTEGER_MAX} micro-units, not {amount}"
            return Refused("invalid", detail)
        if name not in self._budgets:
            return _unknown_budget(name)
        chain = self._chain(name)
        for budget in chain:
            if budget.spent + budget.reserved + amount > budget.limit:
                return _exceeded(budget, f"{amount} more")
        if len(self._reservations) >= self._limits.reservations_max:
            return Refused("limit", f"{self._limits.reservations_max} reservations stand already")
        number = entry.index
        self._reservations[number] = Reservation(number, name, amount, agent, operation)
        if operation:
            self._operations[operation] = number
        self._change(entry, chain, reserved=amount)
        self._tell(name, BudgetChange.RESERVED, amount, agent)
        return entry.committed(number)

    def _reserved_before(self, entry: Entry, agent: AgentId, command: Reserve) -> Outcome:
        number = self._operations[command.operation]
        known = self._reservations.get(number) or self._spent[number].reservation
        if (known.budget, known.amount, known.agent) == (command.budget, command.amount, agent):
            return entry.committed(number)
        detail = f"operation {command.operation!r} of {known.agent} was another one"
        return Refused("conflicting_operation", detail)

    def _spend(self, entry: Entry, agent: AgentId, command: SpendReserved) -> Outcome:
        number, amount = command.reservation, command.amount
        reservation = self._reservations.get(number)
        before = self._spent.get(number)
        if before is not None and before.reservation.budget == command.budget:
            if (before.reservation.agent, before.amount) == (agent, amount):
                return entry.committed(number)
            detail = f"of reservation {number} {before.amount} micro-units have been spent"
            return Refused("unknown_reservation", detail)
        if reservation is None or reservation.budget != command.budget:
            detail = f"reservation {number} of {command.budget!r} has ended or never was"
            return Refused("unknown_reservation", detail)
        if reservation.agent != agent:
            return Refused("not_owner", f"reservation {number} is of {reservation.agent}")
        if amount < 0:
            return Refused("invalid", f"{amount} micro-units are no amount")
        if amount > reservation.amount:
            detail = f"{reservation.amount} micro-units are reserved, {amount} were not"
            return Refused("budget_exceeded", detail)
        self._end(entry, reservation, amount, BudgetChange.SPENT)
        self._spent[number] = Spent(reservation, amount)
        if len(self._spent) > self._limits.reservations_max:
            _, oldest = self._spent.popitem(last=False)
            self._operations.pop(oldest.reservation.operation, None)
        return entry.committed(number)

    # ---- queries ---------------------------------------------------------------------------

    def budgets(self, name: str) -> tuple[Budget, ...]:
        """That of this name; empty: all."""
        if not name:
            return tuple(self._budgets.values())
        one = self._budgets.get(name)
        return () if one is None else (one,)

    def reservations(self, budget: str) -> tuple[Reservation, ...]:
        """Those in this budget, and not in one that is part of it; empty: all."""
        return tuple(one for one in self._reservations.values() if budget in ("", one.budget))

    # ---- snapshots -------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Budgets that are set."""
        return len(self._budgets)

    def state(self) -> BudgetsState:
        return BudgetsState(
            tuple(self._budgets.values()),
            tuple(self._reservations.values()),
            tuple(self._spent.values()),
        )

    def load(self, state: BudgetsState) -> None:
        self._budgets = {one.name: one for one in state.budgets}
        self._reservations = {one.number: one for one in state.reservations}
        self._spent = OrderedDict((one.reservation.number, one) for one in state.spent)
        known = (*state.reservations, *(one.reservation for one in state.spent))
        self._operations = {one.operation: one.number for one in known if one.operation}
        self._part_counts = {}
        for budget in state.budgets:
            if budget.parent:
                self._part_counts[budget.parent] = self._part_counts.get(budget.parent, 0) + 1
            if budget.window_end:
                self._deadlines.add(DeadlineKind.BUDGET, budget.name, budget.window_end)

    # ---- transitions -----------------------------------------------------------------------

    def _chain(self, name: str) -> list[Budget]:
        """The budget and all that it is part of, outwards."""
        chain: list[Budget] = []
        while name:
            budget = self._budgets[name]
            chain.append(budget)
            name = budget.parent
        return chain

    def _end(
        self, entry: Entry, reservation: Reservation, spent: int, change: BudgetChange
    ) -> None:
        del self._reservations[reservation.number]
        chain = self._chain(reservation.budget)
        self._change(entry, chain, reserved=-reservation.amount, spent=spent)
        amount = spent if change is BudgetChange.SPENT else reservation.amount
        self._tell(reservation.budget, change, amount, reservation.agent)

    def _change(self, entry: Entry, chain: list[Budget], reserved: int, spent: int = 0) -> None:
        for budget in chain:
            changed = replace(
                budget, reserved=budget.reserved + reserved, spent=budget.spent + spent
            )
            if changed.spent and budget.window and not budget.window_end:
                passed = (entry.clock - budget.opened_clock) // budget.window
                end = budget.opened_clock + (passed + 1) * budget.window
                changed = replace(changed, window_end=end)
                self._deadlines.add(DeadlineKind.BUDGET, budget.name, end)
            assert changed.reserved >= 0, changed
            assert changed.spent >= 0, changed
            assert changed.reserved + changed.spent <= changed.limit, changed
            self._budgets[budget.name] = changed

    def _tell(self, name: str, change: BudgetChange, amount: int, agent: str) -> None:
        self._events.append(BudgetChanged(self._budgets[name], change, amount, agent))


def _exceeded(budget: Budget, what: str) -> Refused:
    detail = (
        f"of {budget.limit} micro-units in {budget.name!r} {budget.spent} are spent and "
        f"{budget.reserved} reserved: too little for {what}"
    )
    return Refused("budget_exceeded", detail)


def _not_owner(budget: Budget) -> Refused:
    return Refused("not_owner", f"budget {budget.name!r} was set by {budget.owner}")


def _unknown_budget(name: str) -> Refused:
    return Refused("unknown_budget", f"nobody has set a budget {name!r}")
