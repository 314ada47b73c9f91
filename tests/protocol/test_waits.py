"""Requests that wait: what they ask for, and what time they want."""

from math import inf

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.waits import Waits
from mabeam_p2p.requests import Found, JournalQuery, Query, Read

LEADER = PeerId("b" * 16)


def find(query: Query, linearizable: bool) -> Found:
    return Found(1, 0.0, linearizable)


def waits() -> Waits:
    return Waits(find=find, timing=Timing(), outbox=Outbox())


def test_reads_that_failed_without_a_leader_want_no_more_time() -> None:
    core = waits()
    core.flush(None, lambda number: False, 0.0)
    core.read(7, Read(JournalQuery("j"), linearizable=True), deadline=100.0)
    core.flush(None, lambda number: False, 0.0)
    due = core.next_deadline()
    core.tick(due)
    core.flush(None, lambda number: False, due)
    assert len(core) == 0
    assert core.next_deadline() > due


def test_reads_that_nobody_waits_for_are_not_asked_again() -> None:
    core = waits()
    asked: list[int] = []

    def ask(number: int) -> bool:
        asked.append(number)
        return True

    core.read(7, Read(JournalQuery("j"), linearizable=True), deadline=inf)
    core.flush(LEADER, ask, 0.0)
    core.cancel(7)
    core.flush(LEADER, ask, core.next_deadline())
    assert asked == [1]
    assert core.next_deadline() == inf
