"""Bugs of how old a peer says that its state is, and of when it can serve."""

from tools.planted.base import Edit, Mutant

FRESHNESS = "mabeam_p2p/protocol/node/freshness.py"
REPORT = "mabeam_p2p/protocol/node/report.py"

TESTS = ("tests/protocol/test_freshness.py",)

MUTANTS = (
    Mutant(
        "fresh-behind",
        "who is still catching up counts as up to date as soon as it hears a leader",
        (Edit(FRESHNESS, "machine.applied_index < said.commit_index or ", ""),),
        TESTS,
    ),
    Mutant(
        "fresh-term",
        "a leader counts as up to date before it can know what is committed",
        (Edit(FRESHNESS, " or machine.applied_term < said.term", ""),),
        TESTS,
    ),
    Mutant(
        "fresh-latest",
        "who follows a leader that commits without pause is never up to date",
        (Edit(FRESHNESS, "if self._awaited is None or self._reach(self._awaited):", "if True:"),),
        TESTS,
    ),
    Mutant(
        "fresh-started",
        "what a peer has found on its disk is as young as the peer",
        (Edit(FRESHNESS, "return max(by_clock, ", "return min(by_clock, "),),
        TESTS,
    ),
    Mutant(
        "fresh-alone",
        "a leader that nobody answers is up to date until it gives up",
        (Edit(FRESHNESS, "leadership.answered_at(now)", "now"),),
        TESTS,
    ),
    Mutant(
        "fresh-ready",
        "a peer is ready as soon as it has a snapshot",
        (
            Edit(
                REPORT,
                "and self._freshness.has_caught_up and",
                "and self.machine.applied_index and",
            ),
        ),
        TESTS,
    ),
)
