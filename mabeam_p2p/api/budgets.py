"""Budgets: limits of what may be spent, each perhaps part of a greater one."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Union

from mabeam_p2p.api.amounts import Amount, micro_units, units
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.holdings import BudgetFacts
from mabeam_p2p.api.insisting import until_heard
from mabeam_p2p.api.results import Level
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import microseconds
from mabeam_p2p.commands import Reserve, SetBudget, SpendReserved
from mabeam_p2p.errors import InvalidValue, MabeamError, UnknownBudget
from mabeam_p2p.ids import CLUSTER_SESSION, check_key, scoped
from mabeam_p2p.requests import BudgetQuery

_log = logging.getLogger(__name__)

OPERATION_BYTES = 8
"""Of chance in the id of a reservation."""


class Budget:
    """One name under which agents spend. `set` it once; then reserve, spend, and it is kept:
    what is spent and reserved never exceeds its limit, nor that of any budget that it is part of.
    """

    def __init__(
        self,
        group: str,
        attachment: Attachment,
        session: Session,
        agent: Callable[[], str],
        name: str,
    ) -> None:
        """Not for users."""
        self.name = check_key(scoped(group, check_key(name, "budget")), "budget")
        """With its group, as it is called everywhere else."""
        self._group = group
        self._attachment = attachment
        self._session = session
        self._agent = agent

    async def set(
        self,
        limit: Amount,
        *,
        parent: Union["Budget", str, None] = None,
        window: float | None = None,
        timeout: float | None = None,
    ) -> None:
        """Make the budget, or give it another limit; only the agent that made it does that.

        parent: the budget, or the name of one of this group, that it is part of; it must be there
        already, and stays the same. window: seconds after which nothing is spent again; stays the
        same. Raises NotOwner, BudgetExceeded if more is in use already, UnknownBudget (the
        parent), Rejected with reason budget_mismatch.
        """
        micro = micro_units(limit, f"the limit of budget {self.name!r}", least=0)
        of = "" if parent is None else self._full_name(parent)
        length = 0 if window is None else microseconds(window)
        command = SetBudget(CLUSTER_SESSION, 0, self.name, micro, of, length)
        await self._session.commit(command, f"setting budget {self.name!r}", self._seconds(timeout))

    async def status(
        self, *, level: Level = "linearizable", timeout: float | None = None
    ) -> BudgetFacts:
        """Limit, spent and reserved. Raises UnknownBudget if nobody has set it."""
        found = await self._attachment.find(
            BudgetQuery(self.name),
            f"reading budget {self.name!r}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        if not found.budgets:
            raise UnknownBudget(
                f"peer {self._attachment.peer_name} knows no budget {self.name!r}: set it first",
                reason="unknown_budget",
            )
        return BudgetFacts.of(found.budgets[0])

    def reserve(self, amount: Amount, *, timeout: float | None = None) -> "Reservation":
        """Part of the budget for what is about to be spent: `async with budget.reserve(5):`.

        Entering raises BudgetExceeded if it is not free, in the budget or in one that it is part
        of. Raises InvalidValue for what is no amount.
        """
        micro = micro_units(amount, f"reserving of budget {self.name!r}")
        return Reservation(self._attachment, self._session, self.name, micro, timeout)

    async def remove(self, *, timeout: float | None = None) -> None:
        """Forget the budget. Raises NotOwner, UnknownBudget, and Rejected with reason
        budget_in_use while something is reserved in it or a budget is part of it."""
        command = SetBudget(CLUSTER_SESSION, 0, self.name, None)
        what = f"removing budget {self.name!r}"
        await self._session.commit(command, what, self._seconds(timeout))

    def _full_name(self, parent: Union["Budget", str]) -> str:
        if isinstance(parent, Budget):
            return parent.name
        return scoped(self._group, check_key(parent, "budget"))

    def _seconds(self, timeout: float | None) -> float:
        return self._attachment.timing.request_timeout_seconds if timeout is None else timeout


async def budgets_of(
    attachment: Attachment, group: str, level: Level, timeout: float | None
) -> tuple[BudgetFacts, ...]:
    """All budgets of a group."""
    found = await attachment.find(
        BudgetQuery(""),
        "reading the budgets",
        linearizable=level == "linearizable",
        timeout=timeout,
    )
    prefix = scoped(group, "")
    return tuple(BudgetFacts.of(one) for one in found.budgets if one.name.startswith(prefix))


class Reservation:
    """Part of a budget that its agent is about to spend. Left with `async with`, what was said to
    be spent is; without a word all of it, or, if the block raised, nothing. What is not spent is
    free again. It ends with the agent's session too.

    After OutcomeUnknown, opening or committing the same object again has its effect once. What was
    being reserved when opening was cancelled is freed in the background; an end that is cancelled
    is said all the same.
    """

    def __init__(
        self,
        attachment: Attachment,
        session: Session,
        budget: str,
        micro: int,
        timeout: float | None,
    ) -> None:
        """Not for users."""
        self.budget = budget
        self.amount = units(micro)
        self._spent: Decimal | None = None
        self._token = 0
        self._operation = secrets.token_hex(OPERATION_BYTES)
        self._attachment = attachment
        self._session = session
        self._micro = micro
        self._is_open = False
        timing = attachment.timing
        self._seconds = timing.request_timeout_seconds if timeout is None else timeout

    @property
    def spent(self) -> Decimal | None:
        """What was said to be spent so far; None: nothing was said."""
        return self._spent

    @property
    def token(self) -> int:
        """Names it in the log, once it is open: an index, greater than that of any before."""
        return self._token

    async def open(self) -> None:
        """Reserve, as entering does. Cancelled, it can be opened again, as another one. Raises
        BudgetExceeded, UnknownBudget."""
        if self._token:
            raise InvalidValue(f"reservation {self._token} was open already: make another one")
        command = Reserve(CLUSTER_SESSION, 0, self.budget, self._micro, self._operation)
        what = f"reserving {self.amount} of budget {self.budget!r}"
        try:
            self._token = (await self._session.commit(command, what, self._seconds)).number
        except asyncio.CancelledError:
            give_back = partial(self._give_back, self._operation)
            self._attachment.begin_farewell(until_heard(give_back))
            self._operation = secrets.token_hex(OPERATION_BYTES)
            raise
        self._is_open = True

    def spend(self, amount: Amount) -> None:
        """Say that so much more was spent; it counts when the reservation ends. Raises
        InvalidValue beyond what is reserved."""
        more = units(micro_units(amount, f"spending of budget {self.budget!r}", least=0))
        spent = more if self.spent is None else self.spent + more
        if spent > self.amount:
            raise InvalidValue(
                f"{spent} of budget {self.budget!r} would be spent and {self.amount} are reserved: "
                "reserve more first"
            )
        self._spent = spent

    async def commit(self, spent: Amount | None = None) -> None:
        """End it: `spent` was spent; None: what was said to be, or else all of it.

        Raises BudgetExceeded for more than is reserved, and Rejected with reason
        unknown_reservation if it has ended, as with the session that it was made in.
        """
        if spent is not None:
            amount = micro_units(spent, f"spending of budget {self.budget!r}", least=0)
        else:
            told = self.amount if self.spent is None else self.spent
            amount = micro_units(told, f"spending of budget {self.budget!r}", least=0)
        command = SpendReserved(CLUSTER_SESSION, 0, self.budget, self.token, amount)
        what = f"spending {units(amount)} of budget {self.budget!r}"
        await self._session.commit(command, what, self._seconds)
        self._is_open = False
        self._spent = units(amount)

    async def release(self) -> None:
        """End it, with nothing spent."""
        await self.commit(0)

    async def __aenter__(self) -> "Reservation":
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_open:
            return
        nothing = kind is not None and self.spent is None
        try:
            await self._attachment.carried_out(self.commit(0 if nothing else None))
        except MabeamError as trouble:
            # What went wrong inside is what the caller must hear.
            if kind is None:
                raise
            _log.warning("%s", trouble)

    async def _give_back(self, operation: str) -> None:
        """Free what may have been reserved: asked for again, it is the same reservation."""
        reserve = Reserve(CLUSTER_SESSION, 0, self.budget, self._micro, operation)
        what = f"freeing {self.amount} of budget {self.budget!r}"
        # Refused: it was never reserved, or has ended.
        token = (await self._session.commit(reserve, what, self._seconds)).number
        free = SpendReserved(CLUSTER_SESSION, 0, self.budget, token, 0)
        await self._session.commit(free, what, self._seconds)
