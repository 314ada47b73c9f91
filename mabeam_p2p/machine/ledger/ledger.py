"""Who may move money, and when it is refused.

1. An operation has an id and takes effect once, whichever session repeats it. Repeated with equal
   content by the same agent it has the same outcome; with other content it is refused. The last
   `operations_max` that took effect are remembered. One that was refused changed nothing and may be
   tried again under its id.
2. The agent that first mints a currency is its issuer, for good; it alone mints and burns.
3. Money is moved by whose account it is: that of an agent, `name@peer`, by the agent alone; one of
   a group, `GROUP:NAME`, by every agent that is in the group then; NAME alone by every agent.
   Accounts are for ever: what an agent has when its session ends it has when it comes back.
4. A hold without a payee is its owner's to capture and release. One with a payee is a promise: it
   is paid to the payee alone, whoever of the two captures it, and given back by the payee alone; so
   it has a deadline. Past its deadline a hold is released.
5. What other machines hold (core.Escrow) has names of its own, which no agent's command reaches.
6. A capture of an agent's hold to another agent's account is a deal of the two (core.Deals).
"""

from collections import OrderedDict
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyLedgerCommand,
    Burn,
    CaptureHold,
    Mint,
    PlaceHold,
    ReleaseHold,
    Transfer,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import MachineEvent
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    INTEGER_MAX,
    KEY_BYTES_MAX,
    AgentId,
    account_group,
    is_account,
    is_agent_id,
    is_key,
)
from mabeam_p2p.machine.core import Deadlines, Deals, Entry
from mabeam_p2p.machine.ledger.books import Books, BooksState, Cause, new_currency
from mabeam_p2p.records import Account, Agent, Currency, Hold, Movement
from mabeam_p2p.requests import Committed, Outcome, Refused


class Operation(Struct, frozen=True, array_like=True):
    """An operation that took effect. command: without session and sequence."""

    agent: AgentId
    command: AnyLedgerCommand
    outcome: Committed


class LedgerState(Struct, frozen=True, array_like=True):
    """operations: oldest first."""

    books: BooksState
    operations: tuple[Operation, ...]


class Ledger:
    """All money. Satisfies core.Escrow."""

    def __init__(
        self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent], deals: Deals
    ) -> None:
        self._limits = limits
        self._deals = deals
        self._books = Books(limits, deadlines, events)
        self._operations: OrderedDict[str, Operation] = OrderedDict()

    # ---- commands --------------------------------------------------------------------------

    def apply(self, entry: Entry, agent: Agent, command: AnyLedgerCommand) -> Outcome:
        """Committed.number is that of the movement.

        Refused: invalid, too_large, limit, conflicting_operation, insufficient_funds, not_owner,
        not_issuer, unknown_currency, unknown_hold, overflow.
        """
        content = replace(command, session=CLUSTER_SESSION, sequence=0)
        done = self._operations.get(command.operation)
        if done is not None:
            if (done.agent, done.command) == (agent.id, content):
                return done.outcome
            detail = f"operation {command.operation!r} of {done.agent} was another one"
            return Refused("conflicting_operation", detail)
        refusal = _malformed(command) or self._apply(entry, agent, command)
        if refusal is not None:
            return refusal
        outcome = entry.committed(self._books.movement_count)
        self._operations[command.operation] = Operation(agent.id, content, outcome)
        if len(self._operations) > self._limits.operations_max:
            self._operations.popitem(last=False)
        return outcome

    def _apply(self, entry: Entry, agent: Agent, command: AnyLedgerCommand) -> Refused | None:
        by = Cause(command.operation, agent.id, command.note)
        match command:
            case Mint():
                return self._mint(entry, agent, command, by)
            case Transfer():
                return self._transfer(entry, agent, command, by)
            case Burn():
                return self._burn(entry, agent, command, by)
            case PlaceHold():
                return self._place(entry, agent, command, by)
            case CaptureHold():
                return self._capture(entry, agent, command, by)
            case ReleaseHold():
                return self._release(entry, agent, command, by)
            case _:
                assert_never(command)

    def _mint(self, entry: Entry, agent: Agent, command: Mint, by: Cause) -> Refused | None:
        name, amount = command.currency, command.amount
        currency = self._books.currencies.get(name)
        if currency is None:
            if not is_key(name):
                return Refused("invalid", "the currency has no usable name")
            if len(self._books.currencies) >= self._limits.currencies_max:
                return Refused("limit", f"{self._limits.currencies_max} currencies exist already")
            currency = new_currency(name, agent.id)
        if currency.issuer != agent.id:
            return _not_issuer(currency)
        if currency.minted + amount > INTEGER_MAX:
            return Refused("overflow", f"of {name!r} at most {INTEGER_MAX} micro-units are minted")
        if (full := self._full(command.account, name)) is not None:
            return full
        self._books.mint(entry, currency, command.account, amount, by)
        return None

    def _transfer(self, entry: Entry, agent: Agent, command: Transfer, by: Cause) -> Refused | None:
        source, target, currency = command.source, command.target, command.currency
        refusal = (
            self._unable(agent, source, currency, command.amount)
            or _same(source, target)
            or self._full(target, currency)
        )
        if refusal is None:
            self._books.transfer(entry, source, target, currency, command.amount, by)
        return refusal

    def _burn(self, entry: Entry, agent: Agent, command: Burn, by: Cause) -> Refused | None:
        currency = self._books.currencies.get(command.currency)
        if currency is None:
            return _unknown_currency(command.currency)
        if currency.issuer != agent.id:
            return _not_issuer(currency)
        refusal = self._unable(agent, command.account, currency.name, command.amount)
        if refusal is None:
            self._books.burn(entry, currency, command.account, command.amount, by)
        return refusal

    def _place(self, entry: Entry, agent: Agent, command: PlaceHold, by: Cause) -> Refused | None:
        name, payee, timeout = command.operation, command.payee, command.timeout
        account, currency, amount = command.account, command.currency, command.amount
        if payee and not timeout:
            return Refused("invalid", f"what is held for {payee} needs a timeout")
        if timeout and not entry.can_wait(timeout):
            return Refused("invalid", "timeout is no positive number of microseconds")
        if (False, name) in self._books.holds:
            # Its operation is older than those that are remembered.
            return Refused("conflicting_operation", f"hold {name!r} stands already")
        refusal = (
            self._unable(agent, account, currency, amount)
            or _same(account, payee)
            or self._no_hold_left()
        )
        if refusal is None:
            deadline = entry.clock + timeout if timeout else 0
            hold = Hold(name, account, currency, amount, payee, deadline, entry.index, entry.clock)
            self._books.place(entry, hold, by)
        return refusal

    def _capture(
        self, entry: Entry, agent: Agent, command: CaptureHold, by: Cause
    ) -> Refused | None:
        hold = self._books.holds.get((False, command.hold))
        if hold is None:
            return _unknown_hold(command.hold)
        account, amount = command.account, command.amount
        if not (_owns(agent, hold.account) or (hold.payee and _owns(agent, hold.payee))):
            return Refused("not_owner", f"hold {hold.name!r} is of {hold.account}")
        if hold.payee and account != hold.payee:
            return Refused("not_owner", f"hold {hold.name!r} is paid to {hold.payee} alone")
        if amount > hold.amount:
            detail = f"hold {hold.name!r} has {hold.amount} micro-units, not {amount}"
            return Refused("insufficient_funds", detail)
        refusal = _same(hold.account, account) or self._full(account, hold.currency)
        if refusal is not None:
            return refusal
        self._books.pay(entry, hold, amount, account, by)
        if is_agent_id(hold.account) and is_agent_id(account):
            parties = AgentId(hold.account), AgentId(account)
            self._deals.settled(entry, f"hold/{hold.name}", *parties)
        return None

    def _release(
        self, entry: Entry, agent: Agent, command: ReleaseHold, by: Cause
    ) -> Refused | None:
        hold = self._books.holds.get((False, command.hold))
        if hold is None:
            return _unknown_hold(command.hold)
        decides = hold.payee or hold.account
        if not _owns(agent, decides):
            return Refused("not_owner", f"hold {hold.name!r} is released by {decides}")
        self._books.give_back(entry, hold, hold.amount, by)
        return None

    # ---- escrow ----------------------------------------------------------------------------

    def hold(
        self, entry: Entry, account: str, currency: str, amount: int, operation: str
    ) -> Refused | None:
        """Of core.Escrow. Refused: invalid, limit, insufficient_funds, unknown_currency."""
        if not 0 < amount <= INTEGER_MAX:
            return _not_an_amount(amount)
        refusal = self._lacks(account, currency, amount) or self._no_hold_left()
        if refusal is None:
            place = entry.index, entry.clock
            held = Hold(operation, account, currency, amount, "", 0, *place, escrow=True)
            self._books.place(entry, held, Cause(operation))
        return refusal

    def release(self, entry: Entry, operation: str, amount: int) -> None:
        """Of core.Escrow."""
        hold = self._books.holds[True, operation]
        self._books.give_back(entry, hold, amount, Cause(operation))

    def capture(self, entry: Entry, operation: str, amount: int, account: str) -> None:
        """Of core.Escrow. The account may be one more than `accounts_max`."""
        assert is_account(account), account
        hold = self._books.holds[True, operation]
        self._books.pay(entry, hold, amount, account, Cause(operation))

    # ---- deadlines -------------------------------------------------------------------------

    def expire(self, entry: Entry, name: str) -> None:
        """Release the hold `name`, whose deadline is past."""
        hold = self._books.holds[False, name]
        self._books.give_back(entry, hold, hold.amount, Cause(name, note="expired"))

    # ---- queries ---------------------------------------------------------------------------

    def accounts(self, account: str, currency: str) -> tuple[Account, ...]:
        """Those of this account, and of this currency; empty: of all."""
        known = self._books.accounts
        if account and currency:
            one = known.get((account, currency))
            return () if one is None else (one,)
        return tuple(
            one
            for one in known.values()
            if account in ("", one.account) and currency in ("", one.currency)
        )

    def currencies(self, name: str) -> tuple[Currency, ...]:
        """That of this name; empty: all."""
        return tuple(one for one in self._books.currencies.values() if name in ("", one.name))

    def holds(self, name: str, account: str) -> tuple[Hold, ...]:
        """The agents' hold of this name; without a name, those of this account, or all, escrows
        as well."""
        if name:
            known = self._books.holds.get((False, name))
            return () if known is None else (known,)
        return tuple(one for one in self._books.holds.values() if account in ("", one.account))

    def movements(self, first: int, limit: int) -> tuple[Movement, ...]:
        """Those that are kept, from number `first` on, up to `limit` of them; 0: the last ones."""
        return self._books.movements_from(first, limit)

    # ---- snapshots -------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Accounts that have money."""
        return len(self._books.accounts)

    def state(self) -> LedgerState:
        return LedgerState(self._books.state(), tuple(self._operations.values()))

    def load(self, state: LedgerState) -> None:
        self._books.load(state.books)
        self._operations = OrderedDict((one.command.operation, one) for one in state.operations)

    # ---- refusals --------------------------------------------------------------------------

    def _unable(self, agent: Agent, account: str, currency: str, amount: int) -> Refused | None:
        """Why the agent cannot take so much from the account."""
        if not _owns(agent, account):
            return Refused("not_owner", f"{agent.id} does not move what {account} has")
        return self._lacks(account, currency, amount)

    def _lacks(self, account: str, currency: str, amount: int) -> Refused | None:
        if currency not in self._books.currencies:
            return _unknown_currency(currency)
        balance = self._books.balance(account, currency)
        if amount > balance:
            detail = f"{account} has {balance} micro-units of {currency!r}, not {amount}"
            return Refused("insufficient_funds", detail)
        return None

    def _full(self, account: str, currency: str) -> Refused | None:
        """Why money cannot come to the account."""
        known, most = self._books.accounts, self._limits.accounts_max
        if (account, currency) in known or len(known) < most:
            return None
        return Refused("limit", f"{most} accounts have money already")

    def _no_hold_left(self) -> Refused | None:
        if len(self._books.holds) < self._limits.holds_max:
            return None
        return Refused("limit", f"{self._limits.holds_max} holds stand already")


def _owns(agent: Agent, account: str) -> bool:
    """Whether what the account has is the agent's to move (rule 3)."""
    if is_agent_id(account):
        return account == agent.id
    group = account_group(account)
    return not group or group in agent.groups


def _malformed(command: AnyLedgerCommand) -> Refused | None:
    """What is wrong with a command, whatever the ledger holds."""
    if not is_key(command.operation):
        return Refused("invalid", "the operation has no usable id")
    if len(command.note.encode()) > KEY_BYTES_MAX:
        return Refused("too_large", f"a note has at most {KEY_BYTES_MAX} bytes")
    match command:
        case Transfer():
            accounts: tuple[str, ...] = (command.source, command.target)
        case PlaceHold(payee=payee):
            accounts = (command.account, payee) if payee else (command.account,)
        case Mint() | Burn() | CaptureHold():
            accounts = (command.account,)
        case ReleaseHold():
            return None
        case _:
            assert_never(command)
    for account in accounts:
        if not is_account(account):
            return Refused("invalid", f"{account!r} names no account")
    if not 0 < command.amount <= INTEGER_MAX:
        return _not_an_amount(command.amount)
    return None


def _not_an_amount(amount: int) -> Refused:
    return Refused("invalid", f"an amount is 1 to {INTEGER_MAX} micro-units, not {amount}")


def _not_issuer(currency: Currency) -> Refused:
    return Refused("not_issuer", f"{currency.name!r} is issued by {currency.issuer}")


def _same(source: str, target: str) -> Refused | None:
    return Refused("invalid", f"{source} does not pay itself") if source == target else None


def _unknown_currency(name: str) -> Refused:
    return Refused("unknown_currency", f"nobody has minted {name!r}")


def _unknown_hold(name: str) -> Refused:
    return Refused("unknown_hold", f"hold {name!r} has ended or never was")
