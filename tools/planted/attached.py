"""Bugs of attached agents, and of agents whose way to their peer is lost."""

from tools.planted.base import Edit, Mutant

AGENT = "mabeam_p2p/api/agent.py"
CLIENT = "mabeam_p2p/daemon/client.py"
ATTACHED = "mabeam_p2p/api/attached.py"
ATTACHMENT = "mabeam_p2p/api/attachment.py"
OWN_SESSION = "mabeam_p2p/api/session.py"
VIEW = "mabeam_p2p/api/view.py"
NAME_FREE = ("tests/daemon/test_server.py",)
MADE_GOOD = ("tests/api/test_made_good.py",)
WAY_LOST = ("tests/api/test_way_lost.py",)

MUTANTS = (
    Mutant(
        "way-fitting",
        "what no peer would read is sent to the daemon, which ends the connection",
        (Edit(ATTACHMENT, "        check_request(request, self.limits)\n", ""),),
        ("tests/api/test_fitting.py",),
    ),
    Mutant(
        "way-quorum",
        "an agent whose daemon has gone thinks that it has a quorum",
        (Edit(AGENT, "        self._attachment.lost()\n", ""),),
        WAY_LOST,
    ),
    Mutant(
        "way-answers",
        "an answer from before the way was lost says that there is a quorum",
        (
            Edit(
                VIEW,
                "self._take_in(QuorumChanged(False))",
                "self._mirror(QuorumChanged(False))",
            ),
        ),
        ("tests/api/test_view.py",),
    ),
    Mutant(
        "way-left",
        "who holds something at a peer that has left waits until that would count as dead",
        (Edit(OWN_SESSION, "self._has_left = self._has_left or has_left", "pass"),),
        WAY_LOST,
    ),
    Mutant(
        "way-word",
        "the last word of a daemon that stops is not heard",
        (Edit(ATTACHED, "self.has_left = connection.has_left", "pass"),),
        ("tests/api/test_attached_backend.py",),
    ),
    Mutant(
        "name-unheard",
        "an agent that has closed has not heard that its name is free",
        (Edit(ATTACHED, "END_SECONDS if self._name else 0", "0"),),
        NAME_FREE,
    ),
    Mutant(
        "name-behind",
        "a daemon hangs up before the name is free",
        (
            Edit(
                CLIENT,
                "            writing.cancel()\n",
                "            writing.cancel()\n            self.hang_up()\n",
            ),
        ),
        NAME_FREE,
    ),
    Mutant(
        "name-endless",
        "a daemon that hangs keeps an agent that closes",
        (Edit(ATTACHED, "{self._reading}, timeout=seconds)", "{self._reading})"),),
        NAME_FREE,
    ),
    Mutant(
        "good-command",
        "a command is answered before what it has led to is known, where events were lost",
        (Edit(ATTACHMENT, "if self._made_good < losses:", "if losses < 0:"),),
        MADE_GOOD,
    ),
    Mutant(
        "good-wait",
        "what was waited for is told before it is known, where events were lost",
        (
            Edit(
                ATTACHMENT,
                "                    await self.caught_up(deadline)\n                    return",
                "                    return",
            ),
        ),
        MADE_GOOD,
    ),
    Mutant(
        "good-way",
        "a daemon that was away has lost its agents nothing",
        (
            Edit(
                ATTACHMENT,
                "        self._losses += 1\n        self.view.on_lost()",
                "        self.view.on_lost()",
            ),
        ),
        MADE_GOOD,
    ),
    Mutant(
        "good-ever",
        "while events are lost again and again nobody is answered",
        (
            Edit(
                ATTACHMENT,
                "self.view.until(lambda: self._made_good >= losses)",
                "self.view.until(lambda: self._made_good >= self._losses)",
            ),
        ),
        MADE_GOOD,
    ),
    Mutant(
        "good-early",
        "what is lost while the view is read anew counts as read",
        (
            Edit(
                ATTACHMENT,
                "self._made_good = max(self._made_good, losses)",
                "self._made_good = self._losses",
            ),
        ),
        ("tests/api/test_view.py",),
    ),
)
