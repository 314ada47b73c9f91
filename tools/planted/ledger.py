"""Bugs of money, budgets and reputations."""

from tools.planted.base import Edit, Mutant

LEDGER = "mabeam_p2p/machine/ledger/ledger.py"
BOOKS = "mabeam_p2p/machine/ledger/books.py"
BUDGETS = "mabeam_p2p/machine/budgets.py"
OWN_BUDGETS = "mabeam_p2p/api/budgets.py"
REPUTATIONS = "mabeam_p2p/machine/reputations.py"

LEDGER_TESTS = ("tests/machine/test_ledger.py",)
ESCROW_TESTS = ("tests/machine/test_escrow.py",)
BUDGET_TESTS = ("tests/machine/test_budgets.py",)
REPUTATION_TESTS = ("tests/machine/test_reputations.py",)

MUTANTS = (
    Mutant(
        "L1",
        "a hold that is captured stays what it was",
        (
            Edit(
                BOOKS,
                "            self.holds[key] = replace(hold, amount=hold.amount - amount)\n",
                "",
            ),
            Edit(BOOKS, "        if amount < hold.amount:", "        if amount <= hold.amount:"),
        ),
        LEDGER_TESTS,
    ),
    Mutant(
        "L2",
        "an operation that comes again takes effect again",
        (
            Edit(
                LEDGER,
                "        if done is not None:\n            if (done",
                "        if done is not None and done.agent != agent.id:\n            if (done",
            ),
        ),
        LEDGER_TESTS,
    ),
    Mutant(
        "L3",
        "a negative amount is moved",
        (
            Edit(
                LEDGER,
                "    if not 0 < command.amount <= INTEGER_MAX:",
                "    if not command.amount <= INTEGER_MAX:",
            ),
        ),
        LEDGER_TESTS,
    ),
    Mutant(
        "L4",
        "an account spends one more than it has",
        (Edit(LEDGER, "        if amount > balance:\n", "        if amount > balance + 1:\n"),),
        LEDGER_TESTS,
    ),
    Mutant(
        "L5",
        "anybody mints",
        (
            Edit(
                LEDGER,
                "        if currency.issuer != agent.id:\n"
                "            return _not_issuer(currency)\n"
                "        if currency.minted",
                "        if currency.minted",
            ),
        ),
        LEDGER_TESTS,
    ),
    Mutant(
        "L6",
        "the payer takes back what it has promised",
        (
            Edit(
                LEDGER,
                "        decides = hold.payee or hold.account",
                "        decides = hold.account",
            ),
        ),
        LEDGER_TESTS,
    ),
    Mutant(
        "L7",
        "more is minted than can be written",
        (
            Edit(
                LEDGER,
                "if currency.minted + amount > INTEGER_MAX:",
                "if amount > INTEGER_MAX:",
            ),
        ),
        LEDGER_TESTS,
    ),
    Mutant(
        "L8",
        "a transfer arrives and does not leave",
        (
            Edit(
                BOOKS,
                "            self._change(source, currency, balance=-amount),",
                "            self._change(source, currency),",
            ),
        ),
        LEDGER_TESTS,
    ),
    Mutant(
        "L9",
        "a reservation is held against its own budget alone",
        (
            Edit(
                BUDGETS,
                "        for budget in chain:\n            if budget.spent",
                "        for budget in chain[:1]:\n            if budget.spent",
            ),
            Edit(
                BUDGETS,
                "            assert changed.reserved + changed.spent <= changed.limit, changed\n",
                "",
            ),
        ),
        BUDGET_TESTS,
    ),
    Mutant(
        "L10",
        "a reservation ends twice",
        (Edit(BUDGETS, "        del self._reservations[reservation.number]\n", ""),),
        BUDGET_TESTS,
    ),
    Mutant(
        "L11",
        "more is spent than was reserved",
        (Edit(BUDGETS, "        if amount > reservation.amount:", "        if amount > 10**9:"),),
        BUDGET_TESTS,
    ),
    Mutant(
        "L12",
        "what an agent has reserved outlives its session",
        (
            Edit(
                BUDGETS,
                "            if reservation.agent == agent:",
                "            if not reservation.agent:",
            ),
        ),
        BUDGET_TESTS,
    ),
    Mutant(
        "L13",
        "a window that ends forgets what is reserved",
        (
            Edit(
                BUDGETS,
                "replace(budget, spent=0, window_end=0)",
                "replace(budget, spent=0, reserved=0, window_end=0)",
            ),
        ),
        BUDGET_TESTS,
    ),
    Mutant(
        "L14",
        "a party rates as often as it likes",
        (
            Edit(
                REPUTATIONS,
                "            if known.agent == agent:",
                "            if not known.agent:",
            ),
        ),
        REPUTATION_TESTS,
    ),
    Mutant(
        "L15",
        "whoever was no party rates",
        (
            Edit(
                REPUTATIONS,
                "        if agent not in (deal.one, deal.other):",
                "        if not agent:",
            ),
        ),
        REPUTATION_TESTS,
    ),
    Mutant(
        "L16",
        "an agent reaches what an auction holds",
        (
            Edit(
                LEDGER,
                "        hold = self._books.holds.get((False, command.hold))\n"
                "        if hold is None:\n            return _unknown_hold(command.hold)\n"
                "        decides",
                "        hold = self._books.holds.get((False, command.hold))\n"
                "        hold = hold or self._books.holds.get((True, command.hold))\n"
                "        if hold is None:\n            return _unknown_hold(command.hold)\n"
                "        decides",
            ),
        ),
        ESCROW_TESTS,
    ),
    Mutant(
        "L-cancelled",
        "a reservation that is cancelled while it is opened stays",
        (
            Edit(
                OWN_BUDGETS,
                "            self._attachment.begin_farewell(until_heard(give_back))\n",
                "",
            ),
        ),
        ("tests/api/test_ledger_cancelled.py",),
    ),
    Mutant(
        "L-reopened",
        "a reservation that was cancelled is opened again as the one that is given back",
        (
            Edit(
                OWN_BUDGETS,
                "            self._operation = secrets.token_hex(OPERATION_BYTES)\n",
                "",
            ),
        ),
        ("tests/api/test_ledger_cancelled.py",),
    ),
)
