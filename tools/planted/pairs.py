"""Bugs that others hide: defence in depth masks one of two, so that only both together do harm.

A simulator that finds none of the masked ones alone must find each pair.
"""

from tools.planted.base import Edit, Mutant
from tools.planted.votes import FOLLOWING, PROGRESS, REPLICATION

ONE_WAY = ("tests/protocol/test_one_way_links.py",)

NO_NOOP = Edit(REPLICATION, "        self.leadership.append(*noop)\n", "")
ACKNOWLEDGES_LAST = Edit(
    FOLLOWING,
    "reply = self._reply(True, self._verified_index, message.previous_index)",
    "reply = self._reply(True, log.last_index, message.previous_index)",
)
STALE_REPLIES = Edit(
    REPLICATION,
    "elif self.leadership is not None and reply.term == self.term:\n"
    "            self.leadership.receive_append_reply(",
    "elif self.leadership is not None:\n            self.leadership.receive_append_reply(",
)
MATCH_REGRESSES = Edit(
    PROGRESS,
    "self.match_index = max(self.match_index, match_index)",
    "self.match_index = match_index",
)

MUTANTS = (
    Mutant(
        "M16b",
        "a leader ignores the newer term of an answer to its heartbeat",
        (
            Edit(
                REPLICATION,
                "        if reply.term > self.term:\n"
                "            self._step_down(reply.term)\n"
                "        elif self.leadership is not None and reply.term == self.term:\n"
                "            self.leadership.receive_heartbeat_reply(",
                "        if self.leadership is not None and reply.term >= self.term:\n"
                "            self.leadership.receive_heartbeat_reply(",
            ),
        ),
        ONE_WAY,
    ),
    Mutant(
        "M16c",
        "a leader ignores the newer term of an answer to its entries",
        (
            Edit(
                REPLICATION,
                "        if reply.term > self.term:\n"
                "            self._step_down(reply.term)\n"
                "        elif self.leadership is not None and reply.term == self.term:\n"
                "            self.leadership.receive_append_reply(",
                "        if self.leadership is not None and reply.term == self.term:\n"
                "            self.leadership.receive_append_reply(",
            ),
        ),
        ONE_WAY,
    ),
    Mutant(
        "M9+noop",
        "M9, and a leader appends nothing of its own when it is elected",
        (NO_NOOP, ACKNOWLEDGES_LAST),
    ),
    Mutant(
        "M10a+stale",
        "M10a, and answers to the entries of an older term are counted in this one",
        (STALE_REPLIES, MATCH_REGRESSES),
    ),
)
