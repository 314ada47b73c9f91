import pytest

from mabeam_p2p.dashboard.history import ENTRIES_MAX, History
from mabeam_p2p.events import (
    ClusterFormed,
    ElectionEnded,
    ElectionOpened,
    Event,
    HandOverBegan,
    LeaderChanged,
    MemberChanged,
    QuorumChanged,
    RoleChanged,
    SeatChanged,
    VotersChanged,
)
from mabeam_p2p.ids import AgentId, PeerId
from mabeam_p2p.records import Candidate, Election, ElectionStatus, Member, MemberState, Seat

ANT, BEE = PeerId("a" * 16), PeerId("b" * 16)
NAMES = {ANT: "ant"}
HOLDER = AgentId("ada@ant")


def history() -> History:
    return History(lambda peer: NAMES.get(peer, ""), lambda: 1_000.0, own_name="ant")


def seat(holder: str, reason: str) -> Seat:
    return Seat("trainer", "all", AgentId(holder), 7, 1, 7, reason)


def election(status: ElectionStatus, winner: str = "", reason: str = "") -> Election:
    candidates = (Candidate(HOLDER, 1, 500),)
    return Election(
        "trainer", "all", 5, 1, 9, AgentId(""), candidates, (), (), (), (), status,
        AgentId(winner), reason=reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        (LeaderChanged(ANT, "ant", 3, "elected"), "leader", "ant leads in term 3"),
        (LeaderChanged(BEE, "", 3, "elected"), "leader", f"{BEE} leads in term 3"),
        (LeaderChanged(None, "", 4, "not heard"), "leader", "No leader is heard (term 4)"),
        (RoleChanged("candidate", 4), "role", "ant is candidate (term 4)"),
        (RoleChanged("none", 0), "role", "ant has no part in the log (term 0)"),
        (QuorumChanged(True), "quorum", "A majority of the voters is reached"),
        (QuorumChanged(False), "quorum", "The majority of the voters is lost"),
        (HandOverBegan(ANT, "ant", 3, "asked"), "leader", "Leadership is handed to ant (asked)"),
        (ClusterFormed("0", (ANT, BEE)), "voters", f"The cluster has formed: ant, {BEE} vote"),
        (VotersChanged(9, (ANT,), (), (BEE,)), "voters", f"Voters are ant ({BEE} removed)"),
        (SeatChanged(seat("", "departed")), "seat", "Seat trainer is vacant (departed)"),
        (
            ElectionOpened(election(ElectionStatus.OPEN)),
            "seat",
            "Seat trainer: an election of 1 candidates opens",
        ),
        (
            ElectionEnded(election(ElectionStatus.ELECTED, HOLDER, "decided")),
            "seat",
            "Seat trainer: ada@ant is elected (decided)",
        ),
        (
            ElectionEnded(election(ElectionStatus.NO_CANDIDATES, "", "no candidates")),
            "seat",
            "Seat trainer: nobody is elected (no candidates)",
        ),
    ],
)
def test_each_event_of_an_election_is_told_in_words(event: Event, kind: str, text: str) -> None:
    log = history()
    assert log.on_event(event)
    assert log.entries() == {
        "shown": [{"id": 1, "when": 1_000.0, "kind": kind, "text": text}],
        "count": 1,
    }


@pytest.mark.parametrize(
    "event",
    [
        # The election's end has told it.
        SeatChanged(seat(HOLDER, "elected")),
        MemberChanged(Member(ANT, "ant", "127.0.0.1:1", 1, 1, MemberState.DEAD)),
    ],
)
def test_what_tells_nothing_new_of_elections_is_not_noted(event: Event) -> None:
    log = history()
    assert not log.on_event(event)
    assert log.entries()["count"] == 0


def test_the_latest_stand_first_and_only_so_many_are_kept() -> None:
    log = history()
    for term in range(ENTRIES_MAX + 5):
        log.on_event(RoleChanged("follower", term))
    entries = log.entries()
    shown = entries["shown"]
    assert isinstance(shown, list)
    assert len(shown) == ENTRIES_MAX
    assert shown[0]["text"] == f"ant is follower (term {ENTRIES_MAX + 4})"
    assert entries["count"] == ENTRIES_MAX + 5
