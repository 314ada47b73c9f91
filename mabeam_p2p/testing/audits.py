"""Money, budgets and reputations, kept a second time from what was told of them, and judged by
their definitions: the rules `ledger`, `budgets` and `reputations`.

The books here are made of movements alone. They must come to what the machine says that everybody
has; and every movement must be one that its agent may make.
"""

from mabeam_p2p.events import (
    AgentChanged,
    AgentJoined,
    AgentLeft,
    BudgetChanged,
    DealSettled,
    LedgerChanged,
    MachineEvent,
    ReputationChanged,
)
from mabeam_p2p.ids import AgentId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import (
    Budget,
    BudgetChange,
    Deal,
    Hold,
    Movement,
    MovementKind,
    Rating,
    Reservation,
)
from mabeam_p2p.requests import AccountQuery, BudgetQuery, HoldQuery
from mabeam_p2p.testing.checkers import Violation


class Audit:
    """Hears every event of one machine in order. Raises Violation."""

    def __init__(self, operations_max: int) -> None:
        self.free: dict[tuple[str, str], int] = {}
        """(account, currency) to balance."""
        self.aside: dict[tuple[str, str], int] = {}
        """(currency, hold) to what is in it."""
        self.outstanding: dict[str, int] = {}
        """Currency to what was minted and not burned."""
        self.spent_most: dict[str, int] = {}
        """Budget to the most that was ever spent and reserved in it at once."""
        self._issuers: dict[str, str] = {}
        self._holders: dict[tuple[str, str], str] = {}
        self._payees: dict[tuple[str, str], str] = {}
        self._operations: dict[str, int] = {}
        self._operations_max = operations_max
        self._count = 0
        self._groups: dict[AgentId, tuple[str, ...]] = {}
        self._deals: dict[str, Deal] = {}
        self._rated: dict[tuple[AgentId, AgentId], int] = {}
        self._is_touched = False

    def happened(self, event: MachineEvent) -> None:
        """Take in one event."""
        match event:
            case AgentJoined(agent=agent) | AgentChanged(agent=agent):
                self._groups[agent.id] = agent.groups
            case AgentLeft(agent=agent):
                self._groups.pop(agent.id, None)
                self._is_touched = True
            case LedgerChanged(movement=movement, accounts=accounts):
                self._moved(movement)
                for account in accounts[-1:]:
                    place = account.account, account.currency
                    if self.free.get(place, 0) != account.balance:
                        raise Violation("ledger", f"{self.free.get(place, 0)} is told as {account}")
                self._is_touched = True
            case BudgetChanged():
                self._budgeted(event.budget, event.change)
                self._is_touched = True
            case DealSettled(deal=deal):
                if deal.one == deal.other:
                    raise Violation("reputations", f"a deal with oneself: {deal}")
                self._deals[deal.name] = deal
            case ReputationChanged():
                self._rate(event)
            case _:
                # The others move nothing.
                pass

    def compare(self, machine: Machine) -> None:
        """What `machine` says after the events so far, against the books here."""
        if not self._is_touched:
            return
        self._is_touched = False
        found = machine.find(AccountQuery("", ""))
        free = {(one.account, one.currency): one.balance for one in found.accounts if one.balance}
        if free != {place: amount for place, amount in self.free.items() if amount}:
            raise Violation("ledger", f"balances are {free}, by the movements {self.free}")
        for currency in found.currencies:
            out = currency.minted - currency.burned
            of_it = [one for one in found.accounts if one.currency == currency.name]
            total = sum(one.balance + one.held for one in of_it)
            if not out == total == self.outstanding[currency.name]:
                raise Violation("ledger", f"{out} of {currency.name} are out, {total} are there")
        holds = machine.find(HoldQuery("", "")).holds
        if {_place(hold): hold.amount for hold in holds} != self.aside:
            raise Violation("ledger", f"holds are {holds}, by the movements {self.aside}")
        budgets = machine.find(BudgetQuery(""))
        judge_budgets(budgets.budgets, budgets.reservations)
        for reservation in budgets.reservations:
            if reservation.agent not in self._groups:
                raise Violation("budgets", f"its agent has gone: {reservation}")

    # ---- money -----------------------------------------------------------------------------

    def _moved(self, movement: Movement) -> None:
        self._count += 1
        if movement.number != self._count:
            raise Violation("ledger", f"movement {self._count} is missing before {movement}")
        if movement.amount <= 0:
            raise Violation("ledger", f"nothing moves: {movement}")
        if movement.agent:
            self._permitted(movement)
        source, target = movement.source, movement.target
        currency, hold = movement.currency, (movement.currency, movement.hold)
        match movement.kind:
            case MovementKind.MINT:
                self.outstanding[currency] = self.outstanding.get(currency, 0) + movement.amount
                self._add(target, movement, 1)
            case MovementKind.BURN:
                self.outstanding[currency] -= movement.amount
                self._add(source, movement, -1)
            case MovementKind.TRANSFER:
                self._add(source, movement, -1)
                self._add(target, movement, 1)
            case MovementKind.HOLD:
                self._add(source, movement, -1)
                self.aside[hold] = self.aside.get(hold, 0) + movement.amount
                self._holders[hold] = source
                self._payees[hold] = target
            case MovementKind.CAPTURE | MovementKind.RELEASE:
                if self._holders.get(hold) != source or self.aside[hold] < movement.amount:
                    raise Violation("ledger", f"not held: {movement}")
                self.aside[hold] -= movement.amount
                if not self.aside[hold]:
                    del self.aside[hold], self._holders[hold], self._payees[hold]
                self._add(target, movement, 1)

    def _add(self, account: str, movement: Movement, sign: int) -> None:
        place = account, movement.currency
        self.free[place] = self.free.get(place, 0) + sign * movement.amount
        if self.free[place] < 0:
            raise Violation("ledger", f"{account} owes {-self.free[place]}: {movement}")

    def _permitted(self, movement: Movement) -> None:
        """Whether its agent may make it, and has not made it before."""
        last = self._operations.get(movement.operation)
        if last is not None and self._count - last <= self._operations_max:
            raise Violation("ledger", f"done as movement {last}, and again: {movement}")
        self._operations[movement.operation] = self._count
        hold = movement.currency, movement.hold
        agent, kind = AgentId(movement.agent), movement.kind
        if kind in (MovementKind.MINT, MovementKind.BURN):
            issuer = self._issuers.setdefault(movement.currency, agent)
            if issuer != agent:
                raise Violation("ledger", f"{movement.currency} is {issuer}'s: {movement}")
        payee = self._payees.get(hold, "")
        if kind in (MovementKind.TRANSFER, MovementKind.BURN, MovementKind.HOLD):
            may = self._owns(agent, movement.source)
        elif kind is MovementKind.CAPTURE:
            may = self._owns(agent, movement.source) or self._owns(agent, payee)
            may = may and payee in ("", movement.target)
        elif kind is MovementKind.RELEASE:
            may = self._owns(agent, payee or movement.source)
        else:
            may = True
        if not may:
            raise Violation("ledger", f"not {agent}'s to move: {movement}")

    def _owns(self, agent: AgentId, account: str) -> bool:
        if not account or "@" in account:
            return account == agent
        group, colon, _ = account.partition(":")
        return not colon or group in self._groups.get(agent, ())

    # ---- budgets ---------------------------------------------------------------------------

    def _budgeted(self, budget: Budget, change: BudgetChange) -> None:
        used = budget.spent + budget.reserved
        if not 0 <= used <= budget.limit or min(budget.spent, budget.reserved) < 0:
            raise Violation("budgets", f"over its limit by {change.name}: {budget}")
        self.spent_most[budget.name] = max(used, self.spent_most.get(budget.name, 0))

    # ---- reputations -----------------------------------------------------------------------

    def _rate(self, event: ReputationChanged) -> None:
        rating, reputation = event.rating, event.reputation
        pair = rating.agent, rating.about
        deals = [d for d in self._deals.values() if sorted(pair) == sorted((d.one, d.other))]
        self._rated[pair] = self._rated.get(pair, 0) + 1
        if self._rated[pair] > len(deals):
            raise Violation("reputations", f"more ratings than deals: {event}")
        judge_rating(rating)
        if (rating.about, rating.skill) != (reputation.agent, reputation.skill):
            raise Violation("reputations", f"counted for another: {event}")
        if min(reputation.alpha, reputation.beta) < 1_000:
            raise Violation("reputations", f"below the prior: {event}")


def judge_rating(rating: Rating) -> None:
    if rating.agent == rating.about or not 0 <= rating.score <= 1_000:
        raise Violation("reputations", f"no rating: {rating}")


def judge_budgets(budgets: tuple[Budget, ...], reservations: tuple[Reservation, ...]) -> None:
    """Every budget holds exactly what is reserved in it and in its parts, and no more than its
    limit."""
    known = {budget.name: budget for budget in budgets}
    reserved = dict.fromkeys(known, 0)
    for reservation in reservations:
        name = reservation.budget
        while name:
            reserved[name] += reservation.amount
            name = known[name].parent
    for budget in budgets:
        if reserved[budget.name] != budget.reserved:
            raise Violation("budgets", f"{reserved[budget.name]} are reserved in {budget}")
        used = budget.spent + budget.reserved
        if min(budget.spent, budget.reserved) < 0 or used > budget.limit:
            raise Violation("budgets", f"over its limit: {budget}")


def _place(hold: Hold) -> tuple[str, str]:
    return hold.currency, hold.name
