"""Bugs of versions: of frames, of what the log means, of states; and of two releases together."""

from tools.planted.base import Edit, Mutant

VERSIONS = "mabeam_p2p/protocol/versions.py"
LINKS = "mabeam_p2p/protocol/links.py"
LEADERSHIP = "mabeam_p2p/protocol/replication/leadership.py"
UPGRADING = "mabeam_p2p/protocol/node/upgrading.py"
APPLICATION = "mabeam_p2p/protocol/node/application.py"
DESK = "mabeam_p2p/protocol/node/desk.py"
NODE = "mabeam_p2p/protocol/node/node.py"
MACHINE = "mabeam_p2p/machine/machine.py"
STATES = "mabeam_p2p/machine/versions.py"
CONFIGURATION = "mabeam_p2p/machine/configuration.py"
COUNTERS = "mabeam_p2p/machine/recipes/counters.py"
CODEC = "mabeam_p2p/wire/codec.py"
LOCAL = "mabeam_p2p/wire/local.py"
LIMITS = "mabeam_p2p/limits.py"

GREETINGS = ("tests/upgrade/test_greetings.py",)
IN_STATES = ("tests/upgrade/test_states.py",)
RAISING = ("tests/upgrade/test_raising.py",)
VOUCHED = "return voter_count >= min(2, len(self._other_voters()))"
UNABLE = ("tests/upgrade/test_unable.py",)
GOLDEN = ("tests/machine/test_golden.py",)
ATTACHED = ("tests/wire/test_local.py", "tests/api/test_attached_backend.py")

MUTANTS = (
    Mutant(
        "V-latest",
        "a peer speaks its own latest version of frames, whatever the other one speaks",
        (
            Edit(
                VERSIONS,
                "version = min(mine.protocol_max, theirs.protocol_max)",
                "version = mine.protocol_max",
            ),
        ),
        GREETINGS,
    ),
    Mutant(
        "V-earliest",
        "two peers speak a version that one of them has given up",
        (
            Edit(
                VERSIONS,
                "version if version >= max(mine.protocol_min, theirs.protocol_min) else 0",
                "version",
            ),
        ),
        GREETINGS,
    ),
    Mutant(
        "V-hearsay",
        "what a peer can do stays unknown if its first greeting is lost, and the log's version low",
        (Edit(LINKS, "if link.able is None:", "if False:"),),
        ("tests/protocol/test_links_on_demand.py",),
    ),
    Mutant(
        "V-greeting",
        "greetings travel in the version that was agreed with a process that may be gone",
        (
            Edit(
                LINKS,
                "if link is not None and not any(isinstance(one, Hello | Refuse)"
                " for one in messages):",
                "if link is not None:",
            ),
        ),
        GREETINGS,
    ),
    Mutant(
        "V-told-of",
        "who was only told of is sent the latest version",
        (
            Edit(
                LINKS,
                "link = Link(member.address, member.epoch, now, self.able.protocol_min)",
                "link = Link(member.address, member.epoch, now, self.able.protocol_max)",
            ),
        ),
        GREETINGS,
    ),
    Mutant(
        "V-opens",
        "frames of versions that this release does not speak are opened",
        (Edit(LINKS, "if not speaks(self.able, frame.version):", "if False:"),),
        GREETINGS,
    ),
    Mutant(
        "V-restart",
        "what a peer said in an earlier life counts",
        (
            Edit(LINKS, "link.able = hello.able\n", "link.able = link.able or hello.able\n"),
            Edit(
                LINKS,
                "if link is None or new:\n",
                "if link is None or (new and link.address != them.address):\n",
            ),
        ),
        GREETINGS,
    ),
    Mutant(
        "V-understood",
        "a peer is sent messages that its release does not know",
        (Edit(VERSIONS, "MESSAGES_SINCE.get(type(one), 1) <= version", "version"),),
        GREETINGS,
    ),
    Mutant(
        "V-too-old",
        "who cannot apply the log takes part",
        (Edit(VERSIONS, "if theirs.machine < machine_version:", "if False:"),),
        (*GREETINGS, *RAISING),
    ),
    Mutant(
        "V-limits-refused",
        "who has other limits than the log takes part",
        (Edit(VERSIONS, "if has_log and machine_version >= WITH_LIMITS and differ:", "if False:"),),
        GREETINGS,
    ),
    Mutant(
        "V-limits-first",
        "peers of different limits begin a cluster",
        (Edit(VERSIONS, "if not has_log and not hello.cluster_id and differ:", "if False:"),),
        GREETINGS,
    ),
    Mutant(
        "V-unknown",
        "a peer of which nothing is known is taken for one that can all",
        (
            Edit(
                VERSIONS,
                "if other is None:\n            return 1, 0",
                "if other is None:\n            continue",
            ),
        ),
        (*IN_STATES, *RAISING),
    ),
    Mutant(
        "V-limits-common",
        "the log is raised to a version that names limits, over a peer that has others",
        (Edit(VERSIONS, "if other.rules != mine.rules:", "if False:"),),
        IN_STATES,
    ),
    Mutant(
        "V-voters",
        "a version is raised that a voter cannot apply",
        (Edit(UPGRADING, "(*replication.voters, *replication.learners)", "replication.learners"),),
        RAISING,
    ),
    Mutant(
        "V-learners",
        "a version is raised that a learner cannot apply",
        (Edit(UPGRADING, "(*replication.voters, *replication.learners)", "replication.voters"),),
        RAISING,
    ),
    Mutant(
        "V-command",
        "a command goes into a log that peers of an earlier release cannot read then",
        (Edit(DESK, "if is_known(command, version):", "if True:"),),
        RAISING,
    ),
    Mutant(
        "V-away",
        "a voter that is away counts as what it was before",
        (Edit(UPGRADING, "if leadership.is_heard(peer, now) else None", "if peer else None"),),
        RAISING,
    ),
    Mutant(
        "V-unheard",
        "a leader that was just elected takes everybody for heard",
        (Edit(LEADERSHIP, "progress is not None and progress.round > 0 and ", ""),),
        RAISING,
    ),
    Mutant(
        "V-founding",
        "a cluster begins by the version of its coordinator, whatever its voters can",
        (
            Edit(
                NODE,
                "version, rules = common_machine(self.able, map(self.links.able_of, voters))",
                "version, rules = common_machine(self.able, ())",
            ),
        ),
        RAISING,
    ),
    Mutant(
        "V-again",
        "a leader that has yet to apply its log raises what is raised",
        (
            Edit(
                UPGRADING,
                "return machine.applied_index >= leadership.first_index",
                "return True",
            ),
        ),
        (*RAISING, "tests/scenarios/test_scenarios.py"),
    ),
    Mutant(
        "V-lowered",
        "a version is lowered",
        (Edit(CONFIGURATION, "if command.version <= self.version:", "if False:"),),
        IN_STATES,
    ),
    Mutant(
        "V-applies",
        "a peer applies what it cannot",
        (Edit(MACHINE, "if version > self.version_max:", "if False:"),),
        (*IN_STATES, *UNABLE),
    ),
    Mutant(
        "V-applies-limits",
        "a peer applies a log of other limits",
        (Edit(MACHINE, "if rules not in (0, self.rules):", "if False:"),),
        (*IN_STATES, *UNABLE),
    ),
    Mutant(
        "V-goes-on",
        "a peer that cannot apply an entry goes on behind it",
        (
            Edit(
                APPLICATION,
                "                self._give_up(unable)\n                return\n",
                "                self._give_up(unable)\n",
            ),
        ),
        UNABLE,
    ),
    Mutant(
        "V-snapshot",
        "a peer takes in a snapshot that it cannot go on from",
        (
            Edit(
                APPLICATION,
                "            if is_own or self._is_vouched_for(version, rules):\n"
                "                self._give_up(unable)\n            return None\n",
                "            pass\n",
            ),
        ),
        UNABLE,
    ),
    Mutant(
        "V-vouched",
        "one member stops others by a snapshot that nobody can go on from",
        (Edit(APPLICATION, VOUCHED, "return voter_count >= 0"),),
        UNABLE,
    ),
    Mutant(
        "V-vouched-twice",
        "one voter stops others by a snapshot that it alone can go on from",
        (Edit(APPLICATION, VOUCHED, "return voter_count >= 1"),),
        UNABLE,
    ),
    Mutant(
        "V-one-word",
        "the word of one member ends a peer that starts",
        (Edit("mabeam_p2p/api/joining.py", "or len(final) > 1:", "or final:"),),
        ("tests/api/test_joining.py",),
    ),
    Mutant(
        "V-refusals",
        "a member's refusals are told as often as it says them",
        (
            Edit(
                "mabeam_p2p/protocol/links.py",
                "if now < self._refused_until.get(source, -inf):",
                "if now < -inf:",
            ),
        ),
        ("tests/protocol/test_links.py",),
    ),
    Mutant(
        "V-forwarded",
        "anybody can have the version raised",
        (
            Edit(
                "mabeam_p2p/protocol/node/credentials.py",
                "is_its_own = False",
                "is_its_own = True",
            ),
        ),
        ("tests/protocol/test_proposing.py",),
    ),
    Mutant(
        "V-stopped",
        "there is no way back from the moment in which the last peer is stopped to be upgraded",
        (
            Edit(
                "mabeam_p2p/protocol/node/upgrading.py",
                "return (*here, *(one for one in self._gone() if one[0] not in everybody))",
                "return here",
            ),
        ),
        ("tests/upgrade/test_raising.py",),
    ),
    Mutant(
        "V-limits-told",
        "who has other limits is told to apply a version that it applies",
        (Edit(UPGRADING, "if able is not None and able.machine >= version", "if able is None"),),
        RAISING,
    ),
    Mutant(
        "V-guests",
        "where members come and go, the version is never raised",
        (
            Edit(
                "mabeam_p2p/protocol/node/neighbours.py",
                "self._ables[them.peer] = hello.able",
                "self._ables.clear()",
            ),
        ),
        ("tests/upgrade/test_raising.py",),
    ),
    Mutant(
        "V-cut-off",
        "who was cut off while the log was raised goes on, and applies nothing",
        (
            Edit(
                "mabeam_p2p/protocol/node/node.py",
                "                    self._application.refused(frame.source, message)",
                "                    pass",
            ),
        ),
        ("tests/upgrade/test_raising.py", "tests/upgrade/test_unable.py"),
    ),
    Mutant(
        "V-one-voice",
        "one member ends another by a refusal",
        (
            Edit(
                "mabeam_p2p/protocol/node/application.py",
                "if self._is_enough(len(self._refusing)):",
                "if self._refusing:",
            ),
        ),
        ("tests/upgrade/test_unable.py",),
    ),
    Mutant(
        "V-encoded",
        "a state is encoded with all fields, whatever the log's version",
        (Edit(MACHINE, "_encode(as_of(self._state(), self.version))", "_encode(self._state())"),),
        (*IN_STATES, *GOLDEN),
    ),
    Mutant(
        "V-own-version",
        "a state is encoded by the version of the release",
        (
            Edit(
                MACHINE,
                "_encode(as_of(self._state(), self.version))",
                "_encode(as_of(self._state(), self.version_max))",
            ),
        ),
        (*IN_STATES, *GOLDEN),
    ),
    Mutant(
        "V-nested",
        "fields that came later are left out at the top of a state alone",
        (
            Edit(
                STATES,
                "kept.append((field.name, _plan_of(field.type, version)))",
                "kept.append((field.name, None))",
            ),
        ),
        IN_STATES,
    ),
    Mutant(
        "V-inherited",
        "a field that came later is left out where it stands, and not where it is inherited",
        (Edit(STATES, "for one in kind.__mro__", "for one in (kind,)"),),
        IN_STATES,
    ),
    Mutant(
        "V-unplanned",
        "fields that came later are not left out of a run that may be missing",
        (Edit(STATES, "is_one_of_several and all(map(_is_struct, changed))", "is_one_of_several"),),
        IN_STATES,
    ),
    Mutant(
        "V-outcome",
        "a command comes to something else without a new version",
        (Edit(COUNTERS, "return entry.committed(value)", "return entry.committed(known)"),),
        GOLDEN,
    ),
    Mutant(
        "V-forgotten",
        "a record of a state gains a field, and nobody says in which version",
        (
            Edit(
                "mabeam_p2p/machine/budgets.py",
                "    amount: int\n\n\nclass BudgetsState",
                "    amount: int\n    refunded: int = 0\n\n\nclass BudgetsState",
            ),
        ),
        GOLDEN,
    ),
    Mutant(
        "V-hash",
        "limits are compared by name alone",
        (
            Edit(LIMITS, 'f"{name}={value}"', 'f"{name}"'),
            Edit(LIMITS, "if value != FIRST_LIMITS[name]", ""),
        ),
        IN_STATES,
    ),
    Mutant(
        "V-told",
        "a daemon of a later release that tells of something new loses every program",
        (Edit(LOCAL, "if tag == _TOLD:", "if False:"),),
        ATTACHED,
    ),
    Mutant(
        "V-answered",
        "one answer that a program cannot read ends its connection, and its session with it",
        (Edit(LOCAL, "if tag == _ANSWERED:", "if False:"),),
        ATTACHED,
    ),
    Mutant(
        "V-unread",
        "a command whose answer cannot be read was certainly not done",
        (Edit(LOCAL, 'Failed("unknown", f"{UNREAD_ANSWER}', 'Failed("closed", f"{UNREAD_ANSWER}'),),
        ATTACHED,
    ),
    Mutant(
        "V-whatever",
        "whatever a daemon says that makes no sense is passed over",
        (
            Edit(
                LOCAL,
                "            raise fault\n",
                '            return Told(Dropped("daemon", UNKNOWN_EVENT, str(fault), 1))\n',
            ),
        ),
        ATTACHED,
    ),
)
