"""Bugs of changes of the voters, of their care, and of the repair."""

from tools.planted.base import Edit, Mutant

CONFIGURATION = "mabeam_p2p/protocol/replication/configuration.py"
REPLICATION = "mabeam_p2p/protocol/replication/replication.py"
OUTSIDERS = "mabeam_p2p/protocol/replication/outsiders.py"
LEADERSHIP = "mabeam_p2p/protocol/replication/leadership.py"
LOG = "mabeam_p2p/protocol/log.py"
VOTERS = "mabeam_p2p/protocol/voters.py"
CHANGES = "mabeam_p2p/protocol/node/changes.py"
MACHINE = "mabeam_p2p/machine/configuration.py"
LINKS = "mabeam_p2p/protocol/links.py"
ASSEMBLY = "mabeam_p2p/assembly.py"
SQLITE = "mabeam_p2p/storage/sqlite.py"
REPAIR = "mabeam_p2p/protocol/replication/repair.py"

CORES = (
    "tests/protocol/test_configuration.py",
    "tests/protocol/test_configuration_races.py",
    "tests/paper/test_raft_configuration.py",
)
RACES = ("tests/protocol/test_configuration_races.py",)
POLICY = ("tests/protocol/test_voters.py",)
BY_COMMAND = ("tests/protocol/test_changes.py",)

MUTANTS = (
    Mutant(
        "M17a",
        "a leader changes the voters before an entry of its own term is committed",
        (Edit(CONFIGURATION, "if log.commit_index < first_index:", "if log.commit_index < 1:"),),
        RACES,
    ),
    Mutant(
        "M17b",
        "two changes of the voters are uncommitted at a time",
        (
            Edit(
                CONFIGURATION,
                "if is_waiting or not log.is_configured:",
                "if is_waiting:",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17c",
        "two changes are taken in one turn",
        (
            Edit(
                CONFIGURATION,
                "if is_waiting or not log.is_configured:",
                "if not log.is_configured:",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-several",
        "two voters change at once",
        (Edit(CONFIGURATION, "if len(changed) != 1", "if len(changed) > 2"),),
        CORES,
    ),
    Mutant(
        "M17-cas",
        "a change does not look at the configuration that it was made on",
        (Edit(CONFIGURATION, "if expected_index != log.configuration_index:", "if False:"),),
        CORES,
    ),
    Mutant(
        "M17-learner",
        "learners count",
        (
            Edit(
                LEADERSHIP,
                "self.durable_index if voter == self._peer else "
                "self.progress[voter].match_index\n            for voter in self._log.voters",
                "self.durable_index if voter == self._peer else "
                "self.progress[voter].match_index\n            "
                "for voter in (self._peer, *self.progress)",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-counts-itself",
        "a leader that has removed itself counts itself",
        (
            Edit(
                LEADERSHIP,
                "for voter in self._log.voters\n        ]\n        held =",
                "for voter in dict.fromkeys((*self._log.voters, self._peer))\n"
                "        ]\n        held =",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-stays",
        "a leader that has removed itself goes on leading",
        (
            Edit(
                REPLICATION,
                "if self.peer not in self.voters and self.log.is_configured:",
                "if not self.voters:",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-truncated",
        "a configuration stays in effect when it is truncated",
        (
            Edit(
                LOG,
                "while self._configurations and self._configurations[-1][0] > keep_index:",
                "while len(self._configurations) > 99:",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-base",
        "a compacted log takes its base for the place of its configuration",
        (Edit(LOG, "at = base.configuration_index or base.index", "at = base.index"),),
        CORES,
    ),
    Mutant(
        "M17-needed",
        "who is no voter by its own log does not stand, needed or not",
        (
            Edit(
                CONFIGURATION,
                "return not log.is_configured and peer in log.previous_voters",
                "return False",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-stands-on",
        "a removed peer stands for ever",
        (
            Edit(
                CONFIGURATION,
                "return not log.is_configured and peer in log.previous_voters",
                "return peer in log.previous_voters",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-deaf",
        "a candidate that votes by a configuration that has not come is not heard",
        (
            Edit(
                CONFIGURATION,
                "return (last_term, last_index) > (log.last_term, log.last_index)",
                "return False",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-deposed",
        "a leader that is heard is deposed by whoever is no voter",
        (
            Edit(
                OUTSIDERS,
                "return not is_leader_heard and is_ahead(*_end_of(message), log)",
                "return is_ahead(*_end_of(message), log)",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-stuck",
        "the newer term of a learner is never taken up",
        (
            Edit(
                OUTSIDERS,
                "return led_timeouts >= OUTSIDER_TIMEOUTS",
                "return False",
            ),
        ),
        CORES,
    ),
    Mutant(
        "M17-behind",
        "a learner is promoted before it has caught up",
        (
            Edit(
                VOTERS,
                "            and roll.is_caught_up(member.peer)\n",
                "",
            ),
        ),
        POLICY,
    ),
    Mutant(
        "M17-verdict",
        "a dead verdict alone removes a voter",
        (
            Edit(
                VOTERS,
                "return is_dead and roll.silence(voter) >= self._timing.voter_grace_seconds",
                "return is_dead",
            ),
        ),
        POLICY,
    ),
    Mutant(
        "M17-silence",
        "silence alone removes a voter",
        (
            Edit(
                VOTERS,
                "return is_dead and roll.silence(voter) >= self._timing.voter_grace_seconds",
                "return roll.silence(voter) >= self._timing.voter_grace_seconds",
            ),
        ),
        POLICY,
    ),
    Mutant(
        "M17-stranded",
        "a voter is removed although the others that are there are no majority of the rest",
        (Edit(VOTERS, "if len(near) < majority(len(candidate)):", "if False:"),),
        POLICY,
    ),
    Mutant(
        "M17-goodbye-counts",
        "who has just said goodbye counts as there",
        (
            Edit(
                VOTERS,
                "<= now - self._candidate_since and voter not in left)",
                "<= now - self._candidate_since)",
            ),
        ),
        POLICY,
    ),
    Mutant(
        "M17-heard-before",
        "who answered a heartbeat from before the change was wanted counts as there",
        (
            Edit(
                VOTERS, "roll.silence(voter) <= now - self._candidate_since", "roll.is_heard(voter)"
            ),
        ),
        POLICY,
    ),
    Mutant(
        "M17-heard-once",
        "who was there when the log did not take a change counts as there when it is tried again",
        (Edit(VOTERS, "        self._candidate = ()  #", "        #"),),
        POLICY,
    ),
    Mutant(
        "M17-heard-for-another",
        "who was there for another change counts as there for this one",
        (Edit(VOTERS, "if candidate != self._candidate:", "if not self._candidate:"),),
        POLICY,
    ),
    Mutant(
        "M17-unheard-command",
        "a command changes the voters under a leader that has heard nobody yet",
        (Edit(CHANGES, "if len(heard) < majority(len(wanted)):", "if False:"),),
        ("tests/protocol/test_changes.py",),
    ),
    Mutant(
        "M17-shrinks",
        "three voters become two without a learner",
        (Edit(VOTERS, "len(voters) > VOTERS_LEAST)", "len(voters) > 1)"),),
        POLICY,
    ),
    Mutant(
        "M17-even",
        "one learner makes an even number of voters",
        (
            Edit(
                VOTERS,
                "wanted_count = 1 if len(voters) % 2 == 0 else 2",
                "wanted_count = 1",
            ),
        ),
        POLICY,
    ),
    Mutant(
        "M17-barred",
        "who was removed by command is promoted again",
        (Edit(VOTERS, "            and member.peer not in roll.barred\n", ""),),
        POLICY,
    ),
    Mutant(
        "M17-early",
        "a change by command is answered before it is committed",
        (
            Edit(
                CHANGES,
                "elif replication.log.is_configured and not leadership.is_configuring:",
                "elif replication.log.configuration_index:",
            ),
        ),
        BY_COMMAND,
    ),
    Mutant(
        "M17-majority",
        "a change by command may leave voters of whom too few answer",
        (Edit(CHANGES, "if len(near) < majority(len(wanted)):", "if not near:"),),
        BY_COMMAND,
    ),
    Mutant(
        "M17-late-copy",
        "a wish holds on whatever configuration there is when it comes",
        (
            Edit(
                CHANGES,
                "self._replication.log_id, number, request.peer, request.votes, asked.index",
                "self._replication.log_id, number, request.peer, request.votes, request.index",
            ),
        ),
        BY_COMMAND,
    ),
    Mutant(
        "M17-left",
        "a change by command counts on who has just said goodbye",
        (
            Edit(
                CHANGES,
                "if v not in left and leadership.silence(v, now) < timeout]",
                "if leadership.silence(v, now) < timeout]",
            ),
        ),
        BY_COMMAND,
    ),
    Mutant(
        "M17-refused",
        "a change that was refused is made at the word of a copy",
        (Edit(CHANGES, "if refusal is not None:", "if refusal == ():"),),
        BY_COMMAND,
    ),
    Mutant(
        "M17-forged",
        "the machine takes a configuration that a leader did not make",
        (
            Edit(
                MACHINE,
                "            and tuple(sorted(command.voters)) == voters\n",
                "",
            ),
        ),
        ("tests/machine/test_configuration.py",),
    ),
    Mutant(
        "M17-merged",
        "a cluster that was repaired keeps its id, and meets the old one as its own",
        (
            Edit(
                REPAIR,
                "new_cluster_id=ClusterId(blake2b(origin.encode(), digest_size=16).hexdigest()),",
                "new_cluster_id=bootstrap.cluster_id,",
            ),
        ),
        ("tests/protocol/test_repair.py",),
    ),
    Mutant(
        "M17-look",
        "a folder that is only looked at counts a start more",
        (
            Edit(
                ASSEMBLY, "repairing.assess(storage.look())", "repairing.assess(storage.recover())"
            ),
        ),
        ("tests/api/test_repairing.py",),
    ),
    Mutant(
        "M17-look-beside",
        "to look at a folder writes beside its database",
        (Edit(SQLITE, "recovery.uri(copy, ", "recovery.uri(self._database, "),),
        ("tests/api/test_repairing.py",),
    ),
    Mutant(
        "M17-untold",
        "peers of a repaired cluster are not told that they are fenced",
        (Edit(LINKS, "if hello.cluster_id in self.ancestors:", "if not self._peer:"),),
        ("tests/protocol/test_links.py",),
    ),
    Mutant(
        "M17-unbounded",
        "wishes to change the voters pile up without end",
        (Edit(CHANGES, "if len(self._asked) >= WISHES_MAX:", "if False:"),),
        BY_COMMAND,
    ),
)
