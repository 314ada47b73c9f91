"""Bugs of attached agents, and of agents whose way to their peer is lost."""

from tools.planted.base import Edit, Mutant

AGENT = "mabeam_p2p/api/agent.py"
ATTACHED = "mabeam_p2p/api/attached.py"
OWN_SESSION = "mabeam_p2p/api/session.py"
VIEW = "mabeam_p2p/api/view.py"
WAY_LOST = ("tests/api/test_way_lost.py",)

MUTANTS = (
    Mutant(
        "way-quorum",
        "an agent whose daemon has gone thinks that it has a quorum",
        (Edit(AGENT, "        self._attachment.view.on_lost()\n", ""),),
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
)
