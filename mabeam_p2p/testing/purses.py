"""What simulated agents do with money, budgets and reputations.

Most of it can be done: names come from what the log has made so far. Some of it cannot, and some
comes twice: operations are repeated by whichever agent and session, with their content or another.
"""

from random import Random

from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyBudgetCommand,
    AnyLedgerCommand,
    Burn,
    CaptureHold,
    Mint,
    PlaceHold,
    Rate,
    ReleaseHold,
    Reserve,
    SetBudget,
    SpendReserved,
    Transfer,
)
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Deal
from mabeam_p2p.requests import AccountQuery, BudgetQuery, HoldQuery, ReputationQuery
from mabeam_p2p.testing.weather import SECOND

PurseCommand = AnyLedgerCommand | AnyBudgetCommand | Rate

CURRENCIES = ("gpu", "fee")
BUDGETS = ("team", "sweep", "task", "day")
PARENTS = {"sweep": "team", "task": "sweep"}
Head = tuple[SessionId, int, str]
"""Session, sequence and operation."""

REPEATED = 32
"""Operations that may be repeated."""


class Purses:
    """What all agents of a run draw their operations from. `machine`: what the log has made."""

    def __init__(self, random: Random, machine: Machine, agents: tuple[AgentId, ...]) -> None:
        self._random = random
        self._machine = machine
        self._accounts = (*agents, "treasury", "lab:purse")
        self._said: list[AnyLedgerCommand] = []
        self._count = 0

    def draw(self, agent: AgentId, session: SessionId, number: int) -> PurseCommand:
        """The next command of `agent`."""
        share = self._random.random()
        if share < 0.4 and self._deals_of(agent):
            return self._rating(agent, session, number)
        if share < 0.55:
            return self._money(agent, session, number)
        if share < 0.9:
            return self._budget(agent, session, number)
        return self._rating(agent, session, number)

    # ---- money -----------------------------------------------------------------------------

    def _money(self, agent: AgentId, session: SessionId, number: int) -> AnyLedgerCommand:
        random = self._random
        if self._said and random.random() < 0.15:
            return replace(random.choice(self._said), session=session, sequence=number)
        self._count += 1
        operation = f"o{self._count}"
        if random.random() < 0.05 and self._said:
            operation = random.choice(self._said).operation
        command = self._operation(agent, (session, number, operation))
        self._said = [*self._said[1 - REPEATED :], command]
        return command

    def _operation(self, agent: AgentId, head: Head) -> AnyLedgerCommand:
        random = self._random
        found = self._machine.find(AccountQuery("", ""))
        holds = self._machine.find(HoldQuery("", "")).holds
        issued = [one.name for one in found.currencies if one.issuer == agent]
        known = [one.name for one in found.currencies]
        lacking = [name for name in CURRENCIES if name not in known]
        purses = [one for one in found.accounts if one.account in (agent, "treasury")]
        other = random.choice(self._accounts)
        if lacking or not found.accounts or (issued and random.random() < 0.2):
            return Mint(*head, other, random.choice(lacking or issued or CURRENCIES), 1_000)
        if holds and random.random() < 0.4:
            hold = random.choice(holds)
            if random.random() < 0.4:
                return ReleaseHold(*head, hold.name)
            paid = random.choice((1, hold.amount, hold.amount, hold.amount + 1))
            return CaptureHold(*head, hold.name, paid, hold.payee or other)
        purse = random.choice(purses if purses and random.random() < 0.9 else found.accounts)
        account, currency, has = purse.account, purse.currency, purse.balance
        amount = random.choice((1, has // 3 + 1, has // 3 + 1, has, has + 1)) or 1
        draw = random.random()
        if draw < 0.4:
            return Transfer(*head, account, other, currency, amount)
        if draw < 0.5:
            return Burn(*head, account, currency, amount)
        payee = random.choice(("", other))
        timeout = random.choice((SECOND // 2, 5 * SECOND)) if payee else 0
        return PlaceHold(*head, account, currency, amount, payee, timeout)

    # ---- budgets ---------------------------------------------------------------------------

    def _budget(self, agent: AgentId, session: SessionId, number: int) -> AnyBudgetCommand:
        random = self._random
        found = self._machine.find(BudgetQuery(""))
        known = [one.name for one in found.budgets]
        lacking = [name for name in BUDGETS if name not in known]
        mine = [one for one in found.reservations if one.agent == agent]
        if lacking or random.random() < 0.05:
            name = lacking[0] if lacking else random.choice(BUDGETS)
            limit = None if random.random() < 0.2 and known else random.choice((0, 60, 200, 1_000))
            window = SECOND if name == "day" else 0
            return SetBudget(session, number, name, limit, PARENTS.get(name, ""), window)
        if not mine or random.random() < 0.5:
            name = random.choice(known)
            operation = f"r{random.randrange(30)}" if random.random() < 0.3 else ""
            amount = random.choice((1, 10, 30, 100))
            return Reserve(session, number, name, amount, operation)
        one = random.choice(mine if random.random() < 0.8 else found.reservations)
        spent = random.choice((0, 0, one.amount // 4, one.amount, one.amount + 1))
        return SpendReserved(session, number, one.budget, one.number, spent)

    # ---- reputations -----------------------------------------------------------------------

    def _rating(self, agent: AgentId, session: SessionId, number: int) -> Rate:
        random = self._random
        deals = self._machine.find(ReputationQuery("", "")).deals
        mine = self._deals_of(agent)
        among = mine if mine and random.random() < 0.8 else deals
        name = random.choice(among).name if among else "hold/none"
        skill = random.choice(("speed", "care"))
        return Rate(session, number, name, skill, random.choice((0, 500, 1_000)))

    def _deals_of(self, agent: AgentId) -> list[Deal]:
        deals = self._machine.find(ReputationQuery("", "")).deals
        return [deal for deal in deals if agent in (deal.one, deal.other)]
