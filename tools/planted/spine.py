"""Bugs of consensus, ballots and barriers."""

from tools.planted.base import Edit, Mutant

REPLICATION = "mabeam_p2p/protocol/replication/replication.py"
TERM = "mabeam_p2p/protocol/replication/term.py"
CANDIDACY = "mabeam_p2p/protocol/replication/candidacy.py"
FOLLOWING = "mabeam_p2p/protocol/replication/following.py"
LOG = "mabeam_p2p/protocol/log.py"
PROGRESS = "mabeam_p2p/protocol/replication/progress.py"
LEADERSHIP = "mabeam_p2p/protocol/replication/leadership.py"
QUORUM = "mabeam_p2p/protocol/quorum.py"
MACHINE = "mabeam_p2p/machine/machine.py"
BARRIERS = "mabeam_p2p/machine/barriers.py"
BALLOTS = "mabeam_p2p/machine/ballots.py"
CODEC = "mabeam_p2p/wire/codec.py"

RAFT = ("tests/protocol/test_replication.py", "tests/paper")
"""Tests that a rule of Raft was written down in."""

MUTANTS = (
    Mutant(
        "M1",
        "the vote is not stored",
        (
            Edit(
                TERM,
                "HardState(self._log_id, number, vote)",
                "HardState(self._log_id, number, NOBODY)",
            ),
        ),
    ),
    Mutant(
        "M2",
        "the term is not stored",
        (
            Edit(
                TERM,
                "self.persist = self._outbox.persist(HardState(self._log_id, number, vote))",
                "self.persist = 0",
            ),
        ),
    ),
    Mutant(
        "M3a",
        "a vote leaves before it is on the disk",
        (
            Edit(
                CANDIDACY,
                "reply = VoteReply(self._log_id, term, granted, pre, higher)\n"
                "        self._outbox.send(target, reply, self._term.persist)",
                "reply = VoteReply(self._log_id, term, granted, pre, higher)\n"
                "        self._outbox.send(target, reply)",
            ),
        ),
    ),
    Mutant(
        "M3b",
        "an acknowledgement leaves before the batch is on the disk",
        (
            Edit(
                FOLLOWING,
                "self._outbox.send(target, reply, max(self.log_persist, self._term.persist))",
                "self._outbox.send(target, reply, self._term.persist)",
            ),
        ),
    ),
    Mutant(
        "M3c",
        "the leader counts itself before its own disk has the batch",
        (
            Edit(
                LEADERSHIP,
                "self.durable_index if voter == self._peer else self.progress[voter].match_index",
                "self._log.last_index if voter == self._peer else self.progress[voter].match_index",
            ),
        ),
    ),
    Mutant(
        "M4",
        "the vote is freed when a candidate finds a leader in its own term",
        (
            Edit(
                REPLICATION,
                "        self.candidacy.end()\n        self.heard_at = now",
                "        if self.candidacy.phase is not Phase.NONE:\n"
                "            self._term.vote = NOBODY\n"
                "        self.candidacy.end()\n        self.heard_at = now",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M5",
        "the leader commits an older term's batch by counting (figure 8)",
        (
            Edit(
                LEADERSHIP,
                "if held <= self._log.commit_index or self._log.term_at(held) != self._term:",
                "if held <= self._log.commit_index:",
            ),
        ),
    ),
    Mutant(
        "M6a",
        "votes go to logs that are not up to date",
        (
            Edit(
                CANDIDACY,
                "up_to_date = (request.standing.last_term, request.standing.last_index) >= (",
                "up_to_date = (9**9, request.standing.last_index) >= (",
            ),
        ),
    ),
    Mutant(
        "M6b",
        "logs are compared by length alone",
        (
            Edit(
                CANDIDACY,
                "up_to_date = (request.standing.last_term, request.standing.last_index) >= (\n"
                "            self._log.last_term,",
                "up_to_date = (0, request.standing.last_index) >= (\n            0,",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M7",
        "a follower truncates at every append",
        (
            Edit(
                FOLLOWING,
                "if log.term_at(batch.last_index) != batch.term:",
                "if position == 0:",
            ),
        ),
    ),
    Mutant(
        "M8",
        "a follower commits up to its last index instead of the last verified",
        (
            Edit(
                FOLLOWING,
                "min(commit_index, self._verified_index)",
                "min(commit_index, self._log.last_index)",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M9",
        "a follower acknowledges its last index instead of the last verified",
        (
            Edit(
                FOLLOWING,
                "reply = self._reply(True, self._verified_index, message.previous_index)",
                "reply = self._reply(True, log.last_index, message.previous_index)",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M10a",
        "the match index may go back",
        (
            Edit(
                PROGRESS,
                "self.match_index = max(self.match_index, match_index)",
                "self.match_index = match_index",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M10b",
        "the commit index may go back",
        (
            Edit(
                LOG,
                "self.commit_index = max(self.commit_index, index)",
                "self.commit_index = index",
            ),
        ),
    ),
    Mutant(
        "M11a",
        "the position before an append is not compared",
        (
            Edit(
                FOLLOWING,
                "if log.term_at(message.previous_index) != message.previous_term:",
                "if log.term_at(message.previous_index) is None:",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M11b",
        "a leader of an older term is followed",
        (
            Edit(
                REPLICATION,
                "if term < self.term or (term == self.term and self.leadership is not None):",
                "if self.leadership is not None:",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M12a",
        "a vote that comes twice counts twice",
        (
            Edit(CANDIDACY, "if voter not in self._votes:", "if voter:"),
            Edit(
                QUORUM,
                "agreeing = sum(1 for voter in voters if voter in granted)",
                "agreeing = len(granted)",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M12b",
        "votes of an older term count",
        (
            Edit(
                CANDIDACY,
                "and reply.granted\n            and reply.term == self._term.number",
                "and reply.granted",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M13",
        "half is a majority",
        (Edit(QUORUM, "return count // 2 + 1", "return max(1, count // 2)"),),
    ),
    Mutant(
        "M14a",
        "the leader answers reads without asking whether it still leads",
        (
            Edit(
                LEADERSHIP,
                "self.reads.confirm(held_by_majority(rounds), commit_index)",
                "self.reads.confirm(self._round, commit_index)",
            ),
        ),
        ("tests/scenarios",),
    ),
    Mutant(
        "M14b",
        "the leader answers reads before its first batch is committed",
        (
            Edit(
                LEADERSHIP,
                "if not self.reads.are_waiting or commit_index < self.first_index:",
                "if not self.reads.are_waiting:",
            ),
        ),
    ),
    Mutant(
        "M15",
        "a command that comes twice has its effect twice",
        (
            Edit(
                MACHINE,
                "if recorded is not None:\n                    return recorded",
                "if False:\n                    return recorded",
            ),
        ),
    ),
    Mutant(
        "M16",
        "a leader without its quorum does not step down",
        (
            Edit(
                REPLICATION,
                "if self.leadership is not None and not self.leadership.has_quorum(now):",
                "if False:",
            ),
        ),
        RAFT,
    ),
    Mutant(
        "M19a",
        "a barrier is released one party early",
        (
            Edit(
                BARRIERS,
                "return len(self.arrived) == self.parties > 0",
                "return len(self.arrived) >= max(1, self.parties - 1)",
            ),
        ),
    ),
    Mutant(
        "M19b",
        "an early acceptance counts the votes cast, not the electorate",
        (
            Edit(
                BALLOTS,
                "if _accepts(policy, electorate, accepts, electorate):",
                "if _accepts(policy, electorate, accepts, cast):",
            ),
        ),
        ("tests/machine/test_ballots.py",),
    ),
    Mutant(
        "M27",
        "a command that no peer reads by itself gets into the log",
        (Edit(CODEC, "        if len(blob) > COMMAND_ITEM_COUNT_MAX:", "        if False:"),),
        ("tests/wire/test_codec.py",),
    ),
)
