"""Bugs of seats and of mail."""

from tools.planted.base import Edit, Mutant

SEATS = "mabeam_p2p/machine/seats.py"
ELECTIONS = "mabeam_p2p/machine/elections.py"
OWN_SEATS = "mabeam_p2p/api/seats.py"
MAIL = "mabeam_p2p/protocol/mail.py"

SEAT_TESTS = (
    "tests/machine/test_seats.py",
    "tests/machine/test_elections.py",
    "tests/machine/test_seats_standing.py",
    "tests/machine/test_seats_refusals.py",
)
GIVEN_UP_TESTS = ("tests/api/test_seats_given_up.py",)
MAIL_TESTS = ("tests/protocol/test_mail.py",)

MUTANTS = (
    Mutant(
        "S1",
        "a candidate that has departed can win",
        (
            Edit(
                ELECTIONS,
                "[one for one in self.opened.candidates if one.agent not in self.struck]",
                "list(self.opened.candidates)",
            ),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S2",
        "a seat is granted twice at one index, under one token",
        (
            Edit(
                SEATS,
                "(running.is_certain() and entry.index > seat.token)",
                "running.is_certain()",
            ),
            Edit(SEATS, "assert entry.index > seat.token,", "assert entry.index >= seat.token,"),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S3",
        "a holder that is gone keeps the seat",
        (
            Edit(
                SEATS,
                "        self._scores.pop(agent, None)\n"
                "        for seat in tuple(self._seats.values()):\n"
                "            self._gone(entry, seat, agent, reason)",
                "        self._scores.pop(agent, None)",
            ),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S4",
        "an election ends while a missing ballot can change the winner",
        (
            Edit(
                ELECTIONS,
                "first < place(one, totals[one.agent] + most, incumbent)",
                "first < place(one, totals[one.agent] + most // 2, incumbent)",
            ),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S5",
        "a later ballot takes the place of the first",
        (Edit(SEATS, "if cast.points == points:", "if cast.points != ():"),),
        SEAT_TESTS,
    ),
    Mutant(
        "S6",
        "an agent that was not in the electorate ranks",
        (Edit(SEATS, "if agent not in running.electorate:", "if not running.electorate:"),),
        SEAT_TESTS,
    ),
    Mutant(
        "S7",
        "ballots that are missing at the deadline count for nothing",
        (
            Edit(
                SEATS,
                "totals = running.totals_with(missing_count)",
                "totals = running.totals_with(0)",
            ),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S8",
        "the incumbent has no bonus",
        (Edit(ELECTIONS, "INCUMBENT_BONUS = 100", "INCUMBENT_BONUS = 0"),),
        SEAT_TESTS,
    ),
    Mutant(
        "S9",
        "ties are broken by the order of a table",
        (
            Edit(
                ELECTIONS,
                "return -points, is_challenger, candidate.joined_index, candidate.agent",
                "return -points, is_challenger, 0, candidate.agent",
            ),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S10",
        "a lost seat stays vacant",
        (
            Edit(
                SEATS,
                "            self._maybe_close(entry, seat)\n        self._fill(entry, seat)",
                "            self._maybe_close(entry, seat)",
            ),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S11",
        "who leaves the group keeps its seat",
        (Edit(SEATS, "            if seat.group == group:\n", "            if not seat.group:\n"),),
        SEAT_TESTS,
    ),
    Mutant(
        "S12",
        "what an agent resigned from it gets again",
        (
            Edit(
                SEATS,
                "        seat.standing[agent] = False\n"
                '        self._withdraw(entry, seat, agent, "resigned")',
                '        self._withdraw(entry, seat, agent, "resigned")',
            ),
        ),
        SEAT_TESTS,
    ),
    Mutant(
        "S-cancelled",
        "who is cancelled while it waits for an election stands for the seat on",
        (
            Edit(
                OWN_SEATS,
                "                    self._owed.add(full_name)\n                raise",
                "                    pass\n                raise",
            ),
        ),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-unsent",
        "who is cancelled before it has asked for a seat is no candidate any more",
        (Edit(OWN_SEATS, "if command.stands and sent and", "if command.stands and"),),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-held",
        "who asks who holds its own seat, and is cancelled, loses it",
        (Edit(OWN_SEATS, "sent and not was_held and", "sent and"),),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-won-beside",
        "who is cancelled when another call of the agent has won the seat gives that up",
        (Edit(OWN_SEATS, " and given == self._given[full_name]:", ":"),),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-undone",
        "what gives a seat up comes after what asks for it again",
        (Edit(OWN_SEATS, "            if farewell is not None:\n", "            if False:\n"),),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-owed",
        "what gave way to an election that was not held is said no more: a seat that nobody plays",
        (
            Edit(
                OWN_SEATS,
                "                if farewell.cancel():\n",
                "                if farewell.cancel() and False:\n",
            ),
        ),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-owed-beside",
        "a call that is refused gives up the seat that another call of the agent asks for",
        (Edit(OWN_SEATS, "        if self._asking[full_name]:\n", "        if False:\n"),),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-held-before",
        "who was about to give the seat up when it asked, and is cancelled, keeps it",
        (
            Edit(
                OWN_SEATS,
                "        async with self.asking(group, name, RESIGN_SECONDS):\n"
                "            was_held, given = self.seat(group, name).is_me, "
                "self._given[full_name]\n",
                "        was_held, given = self.seat(group, name).is_me, self._given[full_name]\n"
                "        async with self.asking(group, name, RESIGN_SECONDS):\n",
            ),
        ),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "S-replaced",
        "an election that goes on loses the candidate that had given the seat up before",
        (
            Edit(
                OWN_SEATS,
                "                # It stands, and the election goes on.\n"
                "                self._heard(command, group, name)\n",
                "",
            ),
        ),
        GIVEN_UP_TESTS,
    ),
    Mutant(
        "E1",
        "a copy of a letter is delivered again",
        (
            Edit(
                MAIL,
                "        if not self._heard.is_new(source, letter.number):\n            return\n",
                "",
            ),
        ),
        MAIL_TESTS,
    ),
    Mutant(
        "E2",
        "a peer speaks for agents that are not its own",
        (Edit(MAIL, "if home != self._name_of(source):", "if not home:"),),
        MAIL_TESTS,
    ),
    Mutant(
        "E3",
        "anybody answers for anybody",
        (Edit(MAIL, "if self.awaiting.get(answer.agent) != peer:", "if answer.agent == '':"),),
        MAIL_TESTS,
    ),
    Mutant(
        "E4",
        "a mailbox has no bound",
        (
            Edit(
                MAIL,
                "if self._mailboxes.get(agent, 0) >= self._limits.mailbox_letters_max:",
                "if self._mailboxes.get(agent, 0) < 0:",
            ),
        ),
        MAIL_TESTS,
    ),
    Mutant(
        "E5",
        "letters that nobody takes fill a mailbox for ever",
        (
            Edit(
                MAIL,
                "                self._release(number, held, agent)\n\n    def next_deadline",
                "                held.waiting.pop(agent)\n\n    def next_deadline",
            ),
        ),
        MAIL_TESTS,
    ),
    Mutant(
        "E6",
        "a letter whose receipt is missing is told as certainly not delivered",
        (
            Edit(
                MAIL,
                "self.silent.extend(agent for agent in targets if is_lost(agent, peer))",
                "self.unreachable.extend(agent for agent in targets if is_lost(agent, peer))",
            ),
        ),
        MAIL_TESTS,
    ),
)
