"""Money: accounts, transfers, and what is set aside.

An operation has an id. Who is not told its outcome (OutcomeUnknown) asks again with the same
`operation=`, from whichever session: it takes effect once.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from decimal import Decimal
from functools import partial
from types import TracebackType

from mabeam_p2p.api.amounts import Amount, micro_units, units
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.holdings import Balance, Currency, Held, Movement, Receipt
from mabeam_p2p.api.insisting import until_heard
from mabeam_p2p.api.results import Level
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import microseconds, whole
from mabeam_p2p.commands import (
    AnyLedgerCommand,
    Burn,
    CaptureHold,
    Mint,
    PlaceHold,
    ReleaseHold,
    Transfer,
)
from mabeam_p2p.errors import InvalidName, InvalidValue, MabeamError
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    KEY_BYTES_MAX,
    check_key,
    is_account,
    scoped,
    unscoped,
)
from mabeam_p2p.requests import AccountQuery, HoldQuery, MovementQuery

_log = logging.getLogger(__name__)

OPERATION_BYTES = 8
"""Of chance in the id of an operation that is given none."""


class Ledger:
    """The money of the cluster, as one agent moves it.

    An account is an agent's id, `name@peer`, or the name of one that the agents of this group have
    together; None is this agent's own. Currencies and operations are named within the group, too.
    Amounts are Decimal, int or float, with six decimals at most; more is refused, never rounded.

    Every verb raises InvalidValue for what is no amount, InsufficientFunds, NotOwner and other
    Rejected errors, NoQuorum (it was certainly not done) and OutcomeUnknown (it may have been).
    """

    def __init__(
        self, group: str, attachment: Attachment, session: Session, agent: Callable[[], str]
    ) -> None:
        """Not for users. agent: this agent's id, as it is now."""
        self._group = group
        self._attachment = attachment
        self._session = session
        self._agent = agent

    # ---- who has what ------------------------------------------------------------------------

    def balance(self, currency: str, *, account: str | None = None) -> Decimal:
        """What the account can spend, as far as this agent's peer has told: nobody is asked."""
        key = self._account(account), self._currency(currency)
        known = self._attachment.view.accounts.get(key)
        return units(0 if known is None else known.balance)

    def accounts(self, currency: str | None = None) -> tuple[Balance, ...]:
        """Whoever has money of this currency, or of any of the group's, by account, as far as this
        agent's peer has told. In the group of all: every account."""
        name = None if currency is None else self._currency(currency)
        prefix = scoped(self._group, "")
        return tuple(
            Balance.of(one)
            for (_, of), one in sorted(self._attachment.view.accounts.items())
            if (of == name if name is not None else of.startswith(prefix))
        )

    async def read(
        self,
        currency: str,
        *,
        account: str | None = None,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Balance:
        """What the account has. linearizable: everything that was done before the call is seen;
        raises NoQuorum if no majority confirms it."""
        owner, name = self._account(account), self._currency(currency)
        found = await self._attachment.find(
            AccountQuery(owner, name),
            f"reading the account of {owner}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        known = found.accounts[:1]
        return Balance.of(known[0]) if known else Balance(owner, name, units(0), units(0))

    async def currencies(
        self, *, level: Level = "linearizable", timeout: float | None = None
    ) -> tuple[Currency, ...]:
        """Those of the group, with their issuers; in the group of all: every currency."""
        found = await self._attachment.find(
            AccountQuery(self._agent(), ""),
            "reading the currencies",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        prefix = scoped(self._group, "")
        return tuple(Currency.of(one) for one in found.currencies if one.name.startswith(prefix))

    async def holds(
        self,
        *,
        account: str | None = None,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Held, ...]:
        """What of the account is set aside, in order of its setting aside."""
        owner = self._account(account)
        found = await self._attachment.find(
            HoldQuery("", owner),
            f"reading the holds of {owner}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        return tuple(map(Held.of, found.holds))

    async def history(
        self,
        first: int = 0,
        *,
        limit: int = 100,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> tuple[Movement, ...]:
        """Movements of the whole ledger from number `first` on, as far as they are kept; 0: the
        last ones."""
        if whole(first, "first") < 0 or whole(limit, "limit") < 1:
            raise InvalidValue(f"movements from {first}, {limit} of them: take 0 and 1 or more")
        found = await self._attachment.find(
            MovementQuery(first, limit),
            "reading the movements",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        return tuple(map(Movement.of, found.movements))

    # ---- moving it ---------------------------------------------------------------------------

    async def mint(
        self,
        currency: str,
        amount: Amount,
        *,
        account: str | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Make money. Who mints a currency first is its issuer; nobody else mints or burns it.

        Raises Rejected with reason not_issuer or overflow.
        """
        micro, name = micro_units(amount, "minting"), self._operation(operation)
        owner, of = self._account(account), self._currency(currency)
        command = Mint(CLUSTER_SESSION, 0, name, owner, of, micro, _note(note))
        return await self._commit(command, f"minting {amount} {of}", timeout)

    async def transfer(
        self,
        target: str,
        currency: str,
        amount: Amount,
        *,
        source: str | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Pay the account `target`."""
        micro, name = micro_units(amount, "paying"), self._operation(operation)
        owner, payee, of = self._account(source), self._account(target), self._currency(currency)
        command = Transfer(CLUSTER_SESSION, 0, name, owner, payee, of, micro, _note(note))
        return await self._commit(command, f"paying {amount} {of} to {payee}", timeout)

    async def burn(
        self,
        currency: str,
        amount: Amount,
        *,
        account: str | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Unmake money. Raises Rejected with reason not_issuer."""
        micro, name = micro_units(amount, "burning"), self._operation(operation)
        owner, of = self._account(account), self._currency(currency)
        command = Burn(CLUSTER_SESSION, 0, name, owner, of, micro, _note(note))
        return await self._commit(command, f"burning {amount} {of}", timeout)

    async def hold(
        self,
        currency: str,
        amount: Amount,
        *,
        account: str | None = None,
        payee: str | None = None,
        expires: float | None = None,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> "Hold":
        """Set money aside: `async with await ledger.hold(...) as hold` gives back what is left.

        payee: the only account that it can be paid to. It is a promise then: the payee alone gives
        it back before it expires. expires: seconds by the log's clock, after which it is given
        back; needed with a payee, None: never. The hold has the id of the operation. Cancelled, it
        is given back in the background, unless the caller has given it an id.
        """
        micro, name = micro_units(amount, "holding"), self._operation(operation)
        owner, of = self._account(account), self._currency(currency)
        to = "" if payee is None else self._account(payee)
        if to and expires is None:
            raise InvalidValue(f"what is held for {to} expires: give `expires=` in seconds")
        until = 0 if expires is None else microseconds(expires)
        command = PlaceHold(CLUSTER_SESSION, 0, name, owner, of, micro, to, until, _note(note))
        try:
            await self._commit(command, f"holding {amount} {of}", timeout)
        except asyncio.CancelledError:
            if operation is None:
                # Nobody knows its name.
                self._attachment.begin_farewell(until_heard(partial(self._give_back, name)))
            raise
        own = unscoped(self._group, name), units(micro), unscoped(self._group, to)
        return Hold(self, *own)

    async def capture(
        self,
        hold: str,
        amount: Amount,
        account: str | None = None,
        *,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Pay so much of a hold to the account; the rest stays held. Payer and payee may both.

        Raises Rejected with reason unknown_hold if it has ended.
        """
        micro, by = micro_units(amount, "capturing"), self._operation(operation)
        name, to = self._operation(hold), self._account(account)
        command = CaptureHold(CLUSTER_SESSION, 0, by, name, micro, to, _note(note))
        return await self._commit(command, f"capturing {amount} of hold {name!r}", timeout)

    async def release(
        self,
        hold: str,
        *,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Give back what is left of a hold. Raises Rejected with reason unknown_hold."""
        by, name = self._operation(operation), self._operation(hold)
        command = ReleaseHold(CLUSTER_SESSION, 0, by, name, _note(note))
        return await self._commit(command, f"releasing hold {name!r}", timeout)

    async def _carried_out(self, work: Coroutine[object, object, None]) -> None:
        """For the holds: as `Attachment.carried_out`."""
        await self._attachment.carried_out(work)

    async def _give_back(self, hold: str) -> None:
        """Release a hold. Refused: it was not placed, or has ended."""
        command = ReleaseHold(CLUSTER_SESSION, 0, self._operation(None), hold, "")
        seconds = self._attachment.timing.request_timeout_seconds
        await self._session.commit(command, f"releasing hold {hold!r}", seconds)

    # ---- names -------------------------------------------------------------------------------

    def _account(self, account: str | None) -> str:
        if account is None:
            return self._agent()
        name = account if "@" in account else scoped(self._group, account)
        if not is_account(name):
            raise InvalidName(
                f"account {account!r} is not usable: take an agent's id, NAME@PEER, or a name of "
                f"1 to {KEY_BYTES_MAX} bytes of printable text without an @"
            )
        return name

    def _currency(self, currency: str) -> str:
        return check_key(scoped(self._group, check_key(currency, "currency")), "currency")

    def _operation(self, operation: str | None) -> str:
        name = secrets.token_hex(OPERATION_BYTES) if operation is None else operation
        return check_key(scoped(self._group, check_key(name, "operation")), "operation")

    async def _commit(self, command: AnyLedgerCommand, what: str, timeout: float | None) -> Receipt:
        timing = self._attachment.timing
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        name = unscoped(self._group, command.operation)
        done = await self._session.commit(command, f"{what} (operation {name!r})", seconds)
        return Receipt(name, done.number, done.index, done.term)


class Hold:
    """Money that was set aside. Left with `async with`, what remains of it is given back; what was
    promised to a payee stays held until it expires."""

    def __init__(self, ledger: Ledger, id: str, amount: Decimal, payee: str) -> None:
        """Not for users."""
        self.id = id
        self.amount = amount
        """What was set aside at first."""
        self.payee = payee
        self._left = amount
        self._ledger = ledger

    @property
    def left(self) -> Decimal:
        """What this handle has neither paid nor given back."""
        return self._left

    async def capture(
        self,
        amount: Amount | None = None,
        account: str | None = None,
        *,
        note: str = "",
        operation: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Pay so much of it, all by default, to the account: to the payee by default."""
        if account is None and not self.payee:
            raise InvalidValue(f"hold {self.id!r} has no payee: say which account is paid")
        paid = self.left if amount is None else units(micro_units(amount, "capturing"))
        receipt = await self._ledger.capture(
            self.id,
            paid,
            self.payee if account is None else account,
            note=note,
            operation=operation,
            timeout=timeout,
        )
        self._left -= paid
        return receipt

    async def release(
        self, *, note: str = "", operation: str | None = None, timeout: float | None = None
    ) -> Receipt:
        """Give back what is left."""
        receipt = await self._ledger.release(
            self.id, note=note, operation=operation, timeout=timeout
        )
        self._left = units(0)
        return receipt

    async def __aenter__(self) -> "Hold":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.left or self.payee:
            return
        try:
            await self._ledger._carried_out(self._release())
        except MabeamError as trouble:
            # What went wrong inside is what the caller must hear.
            if kind is None:
                raise
            _log.warning("%s", trouble)

    async def _release(self) -> None:
        await self.release()


def _note(note: str) -> str:
    length = len(note.encode(errors="replace"))
    if length > KEY_BYTES_MAX:
        raise InvalidValue(f"the note has {length} bytes: take {KEY_BYTES_MAX} at most")
    return note
