"""Lines of the log: one text for people, and the same facts for programs."""

import logging

import pytest

from mabeam_p2p.events import (
    ClusterFormed,
    Dropped,
    Event,
    HandOverBegan,
    LeaderChanged,
    MemberChanged,
    QuorumChanged,
    Ready,
    Refused,
    RoleChanged,
    VotersChanged,
)
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.runtime.trace import log_event

ME, A = PeerId("0" * 16), PeerId("a" * 16)
LINES: list[tuple[Event, str, str]] = [
    (RoleChanged("leader", 3), "INFO", f"role_changed peer={ME} term=3 role=leader"),
    (
        LeaderChanged(A, "ant", 3, "elected"),
        "INFO",
        f"leader_changed peer={ME} term=3 leader={A} name=ant reason=elected",
    ),
    (
        MemberChanged(Member(A, "ant", "h:1", 2, 7, MemberState.SUSPECT)),
        "INFO",
        f"member_changed peer={ME} member={A} name=ant state=suspect incarnation=7",
    ),
    (QuorumChanged(True), "INFO", f"quorum_changed peer={ME} quorum=True"),
    (QuorumChanged(False), "WARNING", f"quorum_changed peer={ME} quorum=False"),
    (
        ClusterFormed(ClusterId("c"), (A,)),
        "INFO",
        f"cluster_formed peer={ME} cluster=c voters=('{A}',)",
    ),
    (
        VotersChanged(9, (A,), (A,), ()),
        "INFO",
        f"voters_changed peer={ME} index=9 voters=('{A}',) added=('{A}',) removed=()",
    ),
    (
        HandOverBegan(A, "ant", 3, "asked"),
        "INFO",
        f"hand_over_began peer={ME} term=3 target={A} name=ant reason=asked",
    ),
    (Ready(), "INFO", f"ready peer={ME}"),
    (
        Refused(A, "name", "taken, 100%s", True),
        "WARNING",
        f"refused peer={ME} by={A} reason=name detail='taken, 100%s'",
    ),
    (
        Dropped("x", "size", 'said "no"\n', 4),
        "WARNING",
        f"dropped peer={ME} source=x reason=size count=4 detail='said \"no\"\\n'",
    ),
]


@pytest.mark.parametrize(("event", "level", "line"), LINES, ids=lambda one: type(one).__name__)
def test_an_event_is_one_line_and_its_facts_stand_beside_it(
    event: Event, level: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mabeam_p2p"):
        log_event(ME, event)
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == (level, line)
    assert record.__dict__["event"] == line.split()[0]
    assert record.__dict__["facts"]["peer"] == ME


def test_what_is_not_asked_for_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mabeam_p2p"):
        log_event(ME, RoleChanged("leader", 3))
    assert caplog.records == []
