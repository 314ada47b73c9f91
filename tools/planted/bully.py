"""Bugs of handing over the lead: of Raft's transfer, of preference, and of who may stand."""

from tools.planted.base import Edit, Mutant

CANDIDACY = "mabeam_p2p/protocol/replication/candidacy.py"
DISPATCH = "mabeam_p2p/protocol/node/dispatch.py"
ELECTION = "mabeam_p2p/protocol/election.py"
FITNESS = "mabeam_p2p/protocol/node/fitness.py"
REPORT = "mabeam_p2p/protocol/node/report.py"
HANDOVER = "mabeam_p2p/protocol/node/handover.py"
SUCCESSORS = "mabeam_p2p/protocol/node/successors.py"
LEADERSHIP = "mabeam_p2p/protocol/replication/leadership.py"
NODE = "mabeam_p2p/protocol/node/node.py"
PREFERENCE = "mabeam_p2p/protocol/preference.py"
REPLICATION = "mabeam_p2p/protocol/replication/replication.py"
TRANSFER = "mabeam_p2p/protocol/replication/transfer.py"

PAPER = ("tests/paper/test_raft_transfer.py",)
UNIT = ("tests/protocol/test_preference.py",)
NODE_TESTS = ("tests/protocol/test_handover.py", "tests/protocol/test_handover_leaving.py")
DAYS = ("tests/bad_days/test_hand_over.py",)
BULLY = ("tests/paper/test_bully.py",)
EXCLUDED = (
    "tests/simulation/test_preference.py::test_a_peer_that_is_not_eligible_votes_and_does_not_lead",
    "tests/simulation/test_preference.py"
    "::test_where_nobody_that_is_left_may_lead_nobody_does_and_each_says_so",
)
CARETAKER = (
    "tests/simulation/test_preference.py"
    "::test_a_log_that_only_a_peer_that_may_not_lead_holds_is_handed_on_by_it",
)


def _mutant(name: str, what: str, path: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    return Mutant(f"bully-{name}", what, (Edit(path, old, new),), tests)


MUTANTS = (
    # ---- the transfer ------------------------------------------------------------------------
    _mutant(
        "proposals-go-on",
        "a leader that hands over takes commands",
        LEADERSHIP,
        "        if self.transfer is not None:\n            return False\n",
        "",
        PAPER,
    ),
    _mutant(
        "voters-change-meanwhile",
        "a leader that hands over changes the voters",
        LEADERSHIP,
        "        if self.transfer is not None:\n            return Objection.PENDING\n",
        "",
        PAPER,
    ),
    _mutant(
        "told-too-early",
        "the target is told to stand before it has the whole log",
        TRANSFER,
        "if is_told or progress.match_index != log.last_index:",
        "if is_told:",
        PAPER,
    ),
    _mutant(
        "never-aborted",
        "a hand-over without a successor never ends",
        LEADERSHIP,
        "if progress is None or now >= transfer.ends_at:",
        "if progress is None:",
        PAPER,
    ),
    _mutant(
        "said-once",
        "a lost TimeoutNow is not said again",
        TRANSFER,
        "is_told = self._told_in_round == round_number",
        "is_told = self._told_in_round >= 0",
        PAPER,
    ),
    _mutant(
        "old-term-obeyed",
        "TimeoutNow of another term is obeyed",
        REPLICATION,
        "message.term == self.term\n            and source == self.leader",
        "source == self.leader",
        PAPER,
    ),
    _mutant(
        "anybody-obeyed",
        "TimeoutNow of a peer that does not lead is obeyed",
        REPLICATION,
        "            and source == self.leader\n            and self.leadership is None",
        "            and self.leadership is None",
        PAPER,
    ),
    _mutant(
        "late-word-obeyed",
        "TimeoutNow of a time when the log was shorter is obeyed",
        REPLICATION,
        "            and message.last_index == self.log.last_index\n",
        "",
        PAPER,
    ),
    _mutant(
        "stale-burst-obeyed",
        "TimeoutNow behind a silence is obeyed",
        REPLICATION,
        "            and now - self._contact_since >= self._timing.heartbeat_seconds / 2\n",
        "",
        PAPER,
    ),
    _mutant(
        "removed-obeys",
        "TimeoutNow is obeyed by who has no vote",
        REPLICATION,
        "            and self.peer in self.voters\n            and standing.eligible",
        "            and standing.eligible",
        PAPER,
    ),
    _mutant(
        "flag-outranks-log",
        "the transfer flag outranks the log",
        CANDIDACY,
        "up_to_date = (request.standing.last_term, request.standing.last_index) >= (",
        "up_to_date = request.transfer or (\n"
        "            request.standing.last_term,\n"
        "            request.standing.last_index,\n"
        "        ) >= (",
        PAPER,
    ),
    _mutant(
        "flag-any-term",
        "the transfer flag counts in every later term, and for pre-votes",
        REPLICATION,
        "if not request.transfer or request.pre or request.term != self.term + 1:",
        "if not request.transfer:",
        PAPER,
    ),
    _mutant(
        "flag-ignored",
        "a leader that is heard hides the candidate that it wants",
        REPLICATION,
        "heard = self.is_leader_heard(now) and not self._is_successor(source, message)",
        "heard = self.is_leader_heard(now)",
        PAPER,
    ),
    _mutant(
        "leader-gives-way",
        "a leader gives way to any candidate with the flag",
        REPLICATION,
        "return transfer is not None and transfer.target == source",
        "return True",
        PAPER,
    ),
    _mutant(
        "told-overloaded",
        "what comes while the leader hands over is told to be too much",
        REPLICATION,
        "if self.leadership is None or self.is_handing_over:",
        "if self.leadership is None:",
        NODE_TESTS,
    ),
    _mutant(
        "own-commands-fail",
        "a leader's own agents are told that it takes nothing",
        NODE,
        "return None if replication.is_handing_over else (replication.leader, replication.term)",
        "return replication.leader, replication.term",
        NODE_TESTS,
    ),
    _mutant(
        "leaves-at-once",
        "a leader that leaves does not wait for its successor",
        HANDOVER,
        "return self.is_leaving and self._attempt is None",
        "return self.is_leaving",
        DAYS,
    ),
    _mutant(
        "copies-heard",
        "a copy of a wish for another leader is a wish",
        HANDOVER,
        "        if not self._heard.is_new(source, message.number):\n            return\n",
        "",
        NODE_TESTS,
    ),
    _mutant(
        "wish-lost",
        "a wish that may be heard yet is told as one that will be",
        HANDOVER,
        'Failed("unknown", text)',
        'Failed("timeout", text)',
        NODE_TESTS,
    ),
    _mutant(
        "leader-unreachable",
        "a leader that hands over says of itself that it hears nothing of it",
        HANDOVER,
        "if attempt is not None and attempt.target != target:",
        "if attempt is not None and not target:",
        NODE_TESTS,
    ),
    _mutant(
        "asked-without-end",
        "a peer has the lead handed over as often as it asks",
        HANDOVER,
        "not self._allowance.take(wish[0], now)",
        "False",
        NODE_TESTS,
    ),
    _mutant(
        "one-allowance",
        "who asks for hand-overs without end keeps all others from asking",
        HANDOVER,
        "self._allowance.take(wish[0], now)",
        "self._allowance.take(self._replication.peer, now)",
        NODE_TESTS,
    ),
    # ---- preference --------------------------------------------------------------------------
    _mutant(
        "no-dwell",
        "a challenger need not dwell",
        PREFERENCE,
        "and now - self._since[peer] >= dwell and is_ready(peer)",
        "and is_ready(peer)",
        UNIT,
    ),
    _mutant(
        "no-margin",
        "any better score is preferred",
        PREFERENCE,
        "            if lead >= self._margin:",
        "            if lead >= 1:",
        UNIT,
    ),
    _mutant(
        "no-hysteresis",
        "any dip below the margin begins the dwell time anew",
        PREFERENCE,
        "if 2 * leads.get(peer, 0) < self._margin:",
        "if leads.get(peer, 0) < self._margin:",
        UNIT,
    ),
    _mutant(
        "two-a-minute",
        "a new leader need not wait",
        PREFERENCE,
        "self._quiet_until = now + self._timing.preference_interval_seconds\n\n    def failed",
        "self._quiet_until = now\n\n    def failed",
        UNIT,
    ),
    _mutant(
        "failures-free",
        "a hand-over that failed does not count",
        PREFERENCE,
        "self._quiet_until = now + interval * 2**self._failure_count",
        "self._quiet_until = now",
        UNIT,
    ),
    _mutant(
        "not-ready",
        "leadership goes to a peer that lags",
        PREFERENCE,
        "and now - self._since[peer] >= dwell and is_ready(peer)",
        "and now - self._since[peer] >= dwell",
        UNIT,
    ),
    _mutant(
        "usurps",
        "a higher peer stands although the leader is heard",
        DISPATCH,
        "            and not replication.is_leader_heard(now)\n",
        "",
        NODE_TESTS,
    ),
    _mutant(
        "score-outranks-log",
        "the score comes before the log",
        ELECTION,
        "        -standing.last_term,\n"
        "        -standing.last_index,\n"
        "        -standing.score_bucket,\n",
        "        -standing.score_bucket,\n"
        "        -standing.last_term,\n"
        "        -standing.last_index,\n",
        BULLY,
    ),
    # ---- who may lead ------------------------------------------------------------------------
    _mutant(
        "ineligible-stands",
        "who may not lead stands",
        ELECTION,
        "        if not mine.eligible and self._refused_count < CARETAKER_REFUSALS:\n"
        "            self._due = now + self._timing.election_timeout_seconds\n"
        "            self._refused_count += _is_ahead_of_all(mine, others)\n"
        "            return False\n",
        "",
        ("tests/protocol/test_election.py",),
    ),
    _mutant(
        "caretaker-waits-to-be-asked",
        "a log that only a peer that may not lead holds waits for candidates that never stand",
        ELECTION,
        "            self._refused_count += _is_ahead_of_all(mine, others)\n",
        "",
        ("tests/protocol/test_election.py",),
    ),
    _mutant(
        "no-caretaker",
        "a log that only a peer that may not lead holds blocks every election",
        CANDIDACY,
        "            self.outran = True",
        "            pass",
        ("tests/protocol/test_replication_authority.py",),
    ),
    _mutant(
        "caretaker-stays",
        "who may not lead and was elected for its log stays",
        HANDOVER,
        "self._is_caretaker = not mine.eligible",
        "self._is_caretaker = False",
        CARETAKER,
    ),
    _mutant(
        "unfit-leads",
        "who is not fit is handed over to",
        FITNESS,
        "self._is_eligible and not self.unfit and not is_leaving",
        "self._is_eligible and not is_leaving",
        DAYS,
    ),
    _mutant(
        "fit-by-score",
        "a score alone takes back why its peer is not to lead",
        FITNESS,
        "self.unfit if request.unfit is None else request.unfit",
        'request.unfit or ""',
        NODE_TESTS,
    ),
    _mutant(
        "leaving-leads",
        "who leaves takes the lead",
        FITNESS,
        "self._is_eligible and not self.unfit and not is_leaving",
        "self._is_eligible and not self.unfit",
        NODE_TESTS,
    ),
    # ---- exclusion ---------------------------------------------------------------------------
    _mutant(
        "excluded-untold",
        "nobody says that nobody may lead",
        REPORT,
        "return len(alive) >= majority(len(voters)) and not any(alive)",
        "return False",
        EXCLUDED,
    ),
    _mutant(
        "excluded-alone",
        "a peer says that nobody may lead when too few are there",
        REPORT,
        "return len(alive) >= majority(len(voters)) and not any(alive)",
        "return bool(voters) and not any(alive)",
        EXCLUDED,
    ),
    _mutant(
        "excluded-forgotten",
        "who must not lead does after a while, when nobody else is there",
        ELECTION,
        "            self._refused_count += _is_ahead_of_all(mine, others)\n",
        "            self._refused_count += not any(s.eligible for _, s in others)\n",
        EXCLUDED,
    ),
    # ---- wishes ------------------------------------------------------------------------------
    _mutant(
        "record-ignored",
        "who has not told where it stands is taken for fit, whatever its record says",
        SUCCESSORS,
        "if not (member.eligible if standing is None else standing.eligible):",
        "if standing is not None and not standing.eligible:",
        NODE_TESTS,
    ),
    _mutant(
        "record-outranks-word",
        "a record outranks what the voter tells of itself",
        SUCCESSORS,
        "if not (member.eligible if standing is None else standing.eligible):",
        "if not member.eligible:",
        NODE_TESTS,
    ),
    _mutant(
        "untold-are-unfit",
        "a voter that has not told where it stands cannot be handed to",
        SUCCESSORS,
        "if not (member.eligible if standing is None else standing.eligible):",
        "if standing is None or not standing.eligible:",
        NODE_TESTS,
    ),
    _mutant(
        "answered-before-told",
        "who is answered that another leads has not been told so",
        NODE,
        "        self._application.advance(now)\n        self._keys.carry()\n",
        "        self._handover.flush(now)\n"
        "        self._application.advance(now)\n"
        "        self._keys.carry()\n",
        NODE_TESTS,
    ),
    _mutant(
        "answered-before-heard",
        "a follower answers that another leads, and has not heard it",
        HANDOVER,
        "replication.leader is not None and replication.term >= answer.term",
        "True",
        NODE_TESTS,
    ),
    _mutant(
        "answered-in-the-turn",
        "who leads already is told before the news of the same turn",
        HANDOVER,
        "self._handed.append((token, HandedOver(replication.leader, replication.term), now))",
        "self._outbox.resolve(token, HandedOver(replication.leader, replication.term))",
        NODE_TESTS,
    ),
    _mutant(
        "anybody-answers",
        "an answer to a wish is believed of anybody",
        HANDOVER,
        "        if source != asked:\n            return\n        del self._sent[reply.number]\n",
        "        if not self._sent.pop(reply.number, None):\n            return\n",
        NODE_TESTS,
    ),
)
