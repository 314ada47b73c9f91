"""Bugs of votes, reads and positions that others have shipped, each by a few words of code.

Real ones are told of in hashicorp/raft, etcd, canonical/raft, daos, nebula and willemt/raft.
"""

from tools.planted.base import Edit, Mutant

CANDIDACY = "mabeam_p2p/protocol/replication/candidacy.py"
FOLLOWING = "mabeam_p2p/protocol/replication/following.py"
PROGRESS = "mabeam_p2p/protocol/replication/progress.py"
LEADERSHIP = "mabeam_p2p/protocol/replication/leadership.py"
REPLICATION = "mabeam_p2p/protocol/replication/replication.py"
CONFIGURATION = "mabeam_p2p/protocol/replication/configuration.py"
QUORUM = "mabeam_p2p/protocol/quorum.py"

ELECTIONS = ("tests/paper/test_raft_elections.py", "tests/paper/test_raft_stability.py")
POSITIONS = ("tests/paper/test_raft_log.py", "tests/protocol/test_replication.py")
AUTHORITY = ("tests/protocol/test_replication_authority.py",)
READS = ("tests/paper/test_raft_reads.py",)

MUTANTS = (
    Mutant(
        "R1",
        "a candidate does not vote for itself, and may vote for another",
        (
            Edit(
                CANDIDACY,
                "self._set_term(self._term.number + 1, self._peer)",
                "self._set_term(self._term.number + 1, NOBODY)",
            ),
        ),
        ELECTIONS,
    ),
    Mutant(
        "R2",
        "a late pre-vote counts as a vote",
        (
            Edit(
                CANDIDACY,
                "            not reply.pre\n            and reply.granted",
                "            reply.granted",
            ),
        ),
        ELECTIONS,
    ),
    Mutant(
        "R3",
        "a second candidate of a term gets a vote, too",
        (
            Edit(
                CANDIDACY,
                "up_to_date and (request.term > number or self._term.vote in (NOBODY, source))",
                "up_to_date",
            ),
        ),
        ELECTIONS,
    ),
    Mutant(
        "R4",
        "a peer votes while it hears a leader",
        (Edit(CANDIDACY, "        if is_leader_heard:", "        if False:"),),
        ELECTIONS,
    ),
    Mutant(
        "R5",
        "a pre-vote moves the term of who grants it",
        (
            Edit(
                CANDIDACY,
                "granted = up_to_date and request.term > number and not takes_over\n",
                "granted = up_to_date and request.term > number and not takes_over\n"
                "            if granted:\n                self._set_term(request.term, NOBODY)\n",
            ),
        ),
        ELECTIONS,
    ),
    Mutant(
        "R6",
        "who has granted a pre-vote waits as if it had voted",
        (
            Edit(
                CANDIDACY,
                "            self._reply(source, term, granted=granted, pre=True",
                "            self.vote_given = self.vote_given or granted\n"
                "            self._reply(source, term, granted=granted, pre=True",
            ),
        ),
        ELECTIONS,
    ),
    Mutant(
        "R7",
        "who is no voter stands",
        (
            Edit(
                REPLICATION,
                "if self.may_stand and self.leadership is None:",
                "if self.leadership is None:",
            ),
        ),
        ELECTIONS,
    ),
    Mutant(
        "R8",
        "who is no voter is voted for",
        (
            Edit(
                CANDIDACY,
                "is_known = not log.voters or may_stand(source, log)",
                "is_known = True",
            ),
        ),
        ("tests/protocol/test_replication_authority.py",),
    ),
    Mutant(
        "R9",
        "half of an even number is a majority",
        (Edit(QUORUM, "return count // 2 + 1", "return (count + 1) // 2"),),
        ("tests/protocol/test_quorum.py",),
    ),
    Mutant(
        "R10",
        "the vote of a peer whose id is empty does not count",
        (
            Edit(
                QUORUM,
                "for voter in voters if voter in granted",
                "for voter in voters if voter and voter in granted",
            ),
        ),
        ("tests/protocol/test_quorum.py",),
    ),
    Mutant(
        "R11",
        "a follower is sent what it has acknowledged again",
        (
            Edit(
                PROGRESS,
                "self.sent_index = max(self.sent_index, self.match_index)",
                "pass",
            ),
        ),
        ("tests/protocol/test_progress.py",),
    ),
    Mutant(
        "R12",
        "what is committed counts as uncommitted until the leader takes nothing more",
        (Edit(LEADERSHIP, "self.uncommitted_bytes -= len(batch.blob)", "pass"),),
        ("tests/protocol/test_replication.py",),
    ),
    Mutant(
        "R13",
        "what the leader's disk has counts as unwritten until it takes nothing more",
        (Edit(LEADERSHIP, "            self._unstored_bytes -= byte_count\n", ""),),
        ("tests/protocol/test_replication.py",),
    ),
    Mutant(
        "R14",
        "what was verified for one leader counts for the next",
        (
            Edit(
                FOLLOWING,
                'last one\'s."""\n        self._verified_index = 0\n',
                'last one\'s."""\n',
            ),
        ),
        POSITIONS,
    ),
    Mutant(
        "R15",
        "a round of heartbeats that began before a read confirms it",
        (
            Edit(
                LEADERSHIP,
                "self.reads.begin_round(self._round)",
                "self.reads.begin_round(self._round - 1)",
            ),
        ),
        READS,
    ),
    Mutant(
        "R16",
        "contact counts from the answer, not from the question",
        (
            Edit(
                LEADERSHIP,
                "max(progress.contact, self._round_times.get(reply.round, 0.0))",
                "now",
            ),
        ),
        ELECTIONS,
    ),
    Mutant(
        "R17",
        "reads of a deposed leader wait for ever",
        (Edit(REPLICATION, "        self.leadership.reads.refuse()\n", ""),),
        READS,
    ),
    Mutant(
        "R18",
        "a follower replaces what it has committed if a member says so",
        (
            Edit(
                FOLLOWING,
                "keep_index >= self._log.commit_index\n            and batches",
                "batches",
            ),
        ),
        POSITIONS,
    ),
    Mutant(
        "R19",
        "a member can carry the term to where no other can follow",
        (
            Edit(
                REPLICATION, "(is_heard and message.term <= self.term + TERM_LEAP_MAX)", "is_heard"
            ),
        ),
        ("tests/protocol/test_replication.py",),
    ),
    Mutant(
        "R20",
        "observers are not told when a peer's part in the log changes",
        (
            Edit(
                "mabeam_p2p/protocol/node/report.py",
                "            outbox.notify(RoleChanged(role.value, replication.term))\n",
                "",
            ),
        ),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "R21",
        "a candidate that leaves is elected by votes that come later",
        (
            Edit(
                REPLICATION,
                "        self.candidacy.end()\n        if self.leadership is not None:\n"
                "            self._stop_leading()",
                "        if self.leadership is not None:\n            self._stop_leading()",
            ),
        ),
        ("tests/protocol/test_replication_authority.py",),
    ),
    Mutant(
        "R22",
        "who is in no cluster takes a log from who is in none",
        (
            Edit(
                "mabeam_p2p/protocol/node/node.py",
                "if not frame.cluster or not self.bootstrap.adopt(frame.cluster):",
                "if frame.cluster and not self.bootstrap.adopt(frame.cluster):",
            ),
        ),
        ("tests/protocol/test_node.py",),
    ),
    Mutant(
        "R23",
        "a second leader of one term is followed",
        (
            Edit(
                REPLICATION,
                "if term == self.term and is_second_leader(source, self._term_leader, self.log):",
                "if False:",
            ),
        ),
        AUTHORITY,
    ),
    Mutant(
        "R24",
        "who led a term follows another one in it",
        (
            Edit(
                REPLICATION,
                "self.leader = self._term_leader = self.peer",
                "self.leader = self.peer",
            ),
        ),
        AUTHORITY,
    ),
    Mutant(
        "R25",
        "who has no vote hides the leader of the term that has one",
        (
            Edit(
                CONFIGURATION,
                "return leader is not None and claimant != leader and may_stand(leader, log)",
                "return leader is not None and claimant != leader",
            ),
        ),
        AUTHORITY,
    ),
)
