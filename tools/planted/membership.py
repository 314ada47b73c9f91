"""Bugs of the failure detector and of the gossip behind it."""

from tools.planted.base import Edit, Mutant

FOLDER = "mabeam_p2p/protocol/membership"
MEMBERSHIP = f"{FOLDER}/membership.py"
RECORDS = f"{FOLDER}/records.py"
TABLE = f"{FOLDER}/table.py"
GRAVES = f"{FOLDER}/graves.py"
SUSPICION = f"{FOLDER}/suspicion.py"
RUMOURS = f"{FOLDER}/rumours.py"
PROBING = f"{FOLDER}/probing.py"
LINKS = "mabeam_p2p/protocol/links.py"

TESTS = "tests/protocol/membership"
OF_RECORDS = (f"{TESTS}/test_records.py",)
OF_SUSPICION = (f"{TESTS}/test_suspicion.py",)
OF_ASKING = (f"{TESTS}/test_membership.py",)
OF_COMING = (f"{TESTS}/test_coming_and_going.py",)

MUTANTS = (
    Mutant(
        "L-elsewhere",
        "the link to a peer that was forgotten and came back elsewhere is led back to where it was",
        (Edit(LINKS, "[a for a, g in self._greetings.items() if g.target == peer]", "[]"),),
        ("tests/protocol/test_links_on_demand.py",),
    ),
    Mutant(
        "L-refused",
        "a peer gives way to a refusal of the process before it",
        (
            Edit(
                LINKS,
                "if refuse.peer and (refuse.peer, refuse.epoch)",
                "if False and (refuse.peer)",
            ),
        ),
        ("tests/protocol/test_links.py",),
    ),
    Mutant(
        "L-target",
        "a frame for a peer whose folder was lost is heard by the one that came in its place",
        (Edit(LINKS, " or frame.target not in (self._peer, NOBODY):", ":"),),
        ("tests/protocol/test_links_and_frames.py",),
    ),
    Mutant(
        "M20-membership-answers",
        "what has no room in an answer is passed over in the next one as well",
        (
            Edit(
                RECORDS,
                "room = max(0, count - len(told))\n",
                "room = count\n",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-turns",
        "questions and answers share one turn through the table",
        (Edit(RECORDS, "self._answers = Turn()", "self._answers = self._questions"),),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-doubted",
        "who comes back from a grave is told once that it was thought dead",
        (
            Edit(
                "mabeam_p2p/protocol/node/neighbours.py",
                "if membership.is_buried(them):",
                "if False:",
            ),
        ),
        ("tests/protocol/test_doubted.py",),
    ),
    Mutant(
        "M20-membership-equal",
        "the dead come back with the incarnation that they died with",
        (
            Edit(
                TABLE,
                "return (age(member), member.state) > (age(known), known.state)",
                "return age(member) >= age(known)",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-grave",
        "the dead are dropped at once and without a grave",
        (
            Edit(
                TABLE,
                "if member.state >= MemberState.DEAD:\n            self.graves.bury(member)",
                "if False:\n            self.graves.bury(member)",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-early",
        "the dead are forgotten before the time is over",
        (
            Edit(
                TABLE,
                "if now - since >= retention]",
                "if now - since >= retention / 2]",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-refute",
        "an accusation is not refuted",
        (
            Edit(
                RECORDS, "            self.renew(mine, member.incarnation)\n", "            pass\n"
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-too-small",
        "a refutation has an incarnation that is too small",
        (
            Edit(
                RECORDS,
                "self.renew(mine, member.incarnation)",
                "self.renew(mine, member.incarnation - 1)",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-unshortened",
        "confirmations do not shorten the suspicion",
        (
            Edit(
                SUSPICION,
                "confirmations = max(0, len(self.accusers) - 1)",
                "confirmations = 0",
            ),
        ),
        OF_SUSPICION,
    ),
    Mutant(
        "M20-membership-twice",
        "confirmations of one peer count more than once",
        (
            Edit(
                SUSPICION,
                "if accuser in self.accusers or len",
                "if accuser in self.accusers:\n"
                "            accuser = PeerId(f'{accuser}+{len(self.accusers)}')\n"
                "        if len",
            ),
        ),
        OF_SUSPICION,
    ),
    Mutant(
        "M20-membership-health",
        "a peer that is not well is as impatient as any",
        (
            Edit(
                MEMBERSHIP,
                "patience = self._timing.suspect_seconds * self.health.multiplier",
                "patience = self._timing.suspect_seconds",
            ),
        ),
        OF_SUSPICION,
    ),
    Mutant(
        "M20-membership-nack",
        "a nack that does not come is not noticed",
        (Edit(MEMBERSHIP, "                if missed_nack:", "                if False:"),),
        OF_SUSPICION,
    ),
    Mutant(
        "M20-membership-starved",
        "a starved peer blames the others for its own silence",
        (Edit(MEMBERSHIP, "        if late > 0:", "        if False:"),),
        OF_ASKING,
    ),
    Mutant(
        "M20-membership-unbounded",
        "a message carries all the news that there is",
        (
            Edit(
                RECORDS,
                "self.rumours.take(min(count, self.budget), transmissions",
                "self.rumours.take(len(self.rumours), transmissions",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-for-ever",
        "a rumour is passed on for ever",
        (Edit(RUMOURS, "if told + 1 < times:", "if True:"),),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-leave",
        "leaving is taken for a failure",
        (
            Edit(
                RECORDS,
                "        self.table.put(member, now)\n",
                "        if member.state is MemberState.LEFT:\n"
                "            member = replace(member, state=MemberState.DEAD)\n"
                "        self.table.put(member, now)\n",
            ),
        ),
        OF_COMING,
    ),
    Mutant(
        "M20-membership-after-leaving",
        "who has left refutes its goodbye",
        (
            Edit(
                RECORDS,
                "if member.epoch != mine.epoch or mine.state is MemberState.LEFT:",
                "if member.epoch != mine.epoch:",
            ),
            Edit(
                MEMBERSHIP,
                "if self.mine.state is MemberState.LEFT:\n            return\n        known",
                "known",
            ),
        ),
        OF_COMING,
    ),
    Mutant(
        "M20-membership-buddy",
        "a suspect is told of it when its turn comes",
        (
            Edit(
                RECORDS,
                "if member is not None and member.state is not MemberState.ALIVE:",
                "if member is None:",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-any-answer",
        "an answer to a question that was put to somebody else counts",
        (
            Edit(
                PROBING,
                "if asked is None or all(number != question for question, _ in asked.questions):",
                "if asked is None:",
            ),
        ),
        OF_ASKING,
    ),
    Mutant(
        "M20-membership-question-is-life",
        "who asks is taken for alive, though it hears no answer",
        (
            Edit(
                MEMBERSHIP,
                "        match message:\n            case Probe():\n",
                "        self._probing.forget(source)\n"
                "        match message:\n            case Probe():\n",
            ),
        ),
        OF_ASKING,
    ),
    Mutant(
        "M20-membership-round",
        "the member to ask is drawn anew in each interval",
        (
            Edit(
                PROBING,
                "                peer = self._round[self._place]\n",
                "                peer = self._random.choice(self._round)\n",
            ),
        ),
        OF_ASKING,
    ),
    Mutant(
        "M20-membership-voters",
        "voters are asked when their turn comes",
        (
            Edit(
                MEMBERSHIP,
                "        due.update(dict.fromkeys(self._voters))\n        return",
                "        return",
            ),
        ),
        OF_ASKING,
    ),
    Mutant(
        "M20-membership-strangers",
        "members of another cluster are believed",
        (Edit(RECORDS, "            not trusted\n            or self", "            self"),),
        OF_COMING,
    ),
    Mutant(
        "M20-membership-zombies",
        "news of the dead is passed on by those who never knew them",
        (
            Edit(
                RECORDS,
                "                self.table.graves.bury(member)\n        elif",
                "                self.take_in(member, None, now)\n        elif",
            ),
        ),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-storm",
        "two that have forgotten each other accuse each other for ever",
        (Edit(RECORDS, "if isinstance(message, Gossip):", "if False:"),),
        OF_RECORDS,
    ),
    Mutant(
        "M20-membership-slander",
        "a goodbye that nobody said is believed for good",
        (
            Edit(
                MEMBERSHIP,
                "if known is None or known.state is MemberState.LEFT:",
                "if known is not None and known.state is MemberState.LEFT:\n"
                "            return\n"
                "        if known is None:",
            ),
        ),
        OF_COMING,
    ),
    Mutant(
        "M20-membership-idle",
        "no idle link is closed",
        (Edit(LINKS, "                self._idle[peer] = None\n", "                pass\n"),),
        ("tests/protocol/test_links_on_demand.py",),
    ),
    Mutant(
        "M20-membership-crowd",
        "a crowd greets a newcomer all at once",
        (
            Edit(
                LINKS,
                "        return self.crowd // self._limits.greet_at_once_max",
                "        return 0",
            ),
        ),
        ("tests/protocol/test_links_on_demand.py",),
    ),
    Mutant(
        "M20-membership-elsewhere",
        "a member that is at another address is dialled at the old one",
        (
            Edit(
                LINKS,
                "link.epoch > member.epoch or place == (link.epoch, link.address)",
                "link.epoch >= member.epoch",
            ),
        ),
        ("tests/protocol/test_links.py",),
    ),
    Mutant(
        "M20-membership-moved",
        "a peer that is at another address waits until it is asked where it is",
        (
            Edit(
                LINKS,
                "                self._greet_from(peer, link.address, now)\n",
                "                pass\n",
            ),
        ),
        ("tests/protocol/test_links.py",),
    ),
    Mutant(
        "links-former-process",
        "a link goes where a peer's former process was, as it was suspected in the same turn",
        (
            Edit(
                "mabeam_p2p/protocol/node/neighbours.py",
                "for member in {member.peer: member for member in changes}.values():",
                "for member in changes:",
            ),
        ),
        ("tests/protocol/test_restarts.py",),
    ),
    Mutant(
        "M20-leap",
        "a member says of another what that one cannot go beyond",
        (
            Edit(
                "mabeam_p2p/protocol/membership/records.py",
                "elif not self._believes(member):",
                "elif False:",
            ),
        ),
        ("tests/protocol/membership/test_words.py",),
    ),
    Mutant(
        "M20-steps",
        "a member says so step by step, and what it has said counts as the other's own word",
        (
            Edit(
                "mabeam_p2p/protocol/membership/records.py",
                "        if source == member.peer:\n"
                "            self._words.keep(member)\n        elif not",
                "        is_near = self._believes(member)\n"
                "        if source == member.peer or is_near:\n"
                "            self._words.keep(member)\n        elif not",
            ),
        ),
        ("tests/protocol/membership/test_words.py",),
    ),
)
