"""One whole peer that is asked how old its state is, and whether it can serve."""

import json

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import Noop
from mabeam_p2p.effects import Notify, Resolve
from mabeam_p2p.events import Ready
from mabeam_p2p.ids import CLUSTER_SESSION
from mabeam_p2p.inquiries import EvidenceAnswer, ReadEvidence
from mabeam_p2p.messages import AppendEntries, AppendReply, Heartbeat, HeartbeatReply, VoteReply
from mabeam_p2p.protocol.node import application
from mabeam_p2p.records import Batch
from mabeam_p2p.requests import Found, JournalQuery, Read
from tests.protocol.test_node import ME, A, B, Desk
from tests.protocol.test_node_snapshots import OPEN, append, snapshot, started_from

NOOP = Desk().codec.encode_commands([Noop(CLUSTER_SESSION, 0)])
HOUR_AGO = int((1.7e9 - 3600.0) * 1_000_000)
"""By the log's clock. It is 1.7e9 s since 1970 by the wall clock where a desk begins."""


def entry(index: int, term: int = 2, clock: int = HOUR_AGO) -> Batch:
    return Batch(index, 1, term, clock, NOOP)


def age(desk: Desk) -> float:
    desk.did(desk.node.request(7, Read(JournalQuery("j")), desk.now))
    found = [e.answer for e in desk.effects if isinstance(e, Resolve) and e.token == 7]
    assert isinstance(found[-1], Found)
    assert json.loads(json.dumps(found[-1].age_seconds, allow_nan=False)) >= 0
    return found[-1].age_seconds


def missing(desk: Desk) -> dict[str, str]:
    """Until the peer is ready."""
    desk.did(desk.node.request(8, ReadEvidence(ME), desk.now))
    found = [e.answer for e in desk.effects if isinstance(e, Resolve) and e.token == 8]
    assert isinstance(found[-1], EvidenceAnswer)
    return {one.reason: one.detail for one in found[-1].evidence.unready}


def test_who_catches_up_says_how_old_its_state_is_until_it_has_all() -> None:
    desk = Desk()
    desk.hear(A, AppendEntries(0, 2, 1, 1, 9, (entry(2), entry(3))))
    desk.end_turn()
    assert desk.node.machine.applied_index == 3
    assert age(desk) == pytest.approx(3600, abs=1), "it was told a moment ago that there is more"
    assert "not_caught_up" in missing(desk)
    assert "3 of 9" in missing(desk)["not_caught_up"]
    rest = tuple(entry(index) for index in range(4, 10))
    desk.hear(A, AppendEntries(0, 2, 3, 2, 9, rest))
    desk.end_turn()
    assert age(desk) == 0.0
    assert "not_caught_up" not in missing(desk)
    desk.wait(0.25)
    assert age(desk) == pytest.approx(0.25, abs=0.01), "it has heard nothing since"
    desk.hear(A, Heartbeat(0, 2, 9, 1))
    assert age(desk) == 0.0
    desk.hear(A, Heartbeat(0, 2, 12, 2), Heartbeat(0, 2, 9, 1))
    desk.wait(0.125)
    assert age(desk) == pytest.approx(0.125, abs=0.01), "there is more since then"
    desk.hear(A, Heartbeat(0, 2, 9, 1))
    assert age(desk) > 0.1, "a late copy takes no word back"


def test_who_starts_without_a_quorum_says_how_old_its_snapshot_is() -> None:
    taken = snapshot(OPEN, append(2))
    desk = started_from(taken)
    desk.wait(0.3)
    years = age(desk)
    assert years > 1e9, "by the clock of its log, which began with 1970"
    desk.hear(A, Heartbeat(0, 3, 3, 1))
    desk.end_turn()
    assert age(desk) >= years, "the leader has committed nothing in its term"
    assert "not_caught_up" in missing(desk)
    desk.hear(A, AppendEntries(0, 3, 3, 2, 4, (entry(4, 3),)))
    desk.end_turn()
    assert age(desk) == 0.0
    assert set(missing(desk)) == {"variables"}


def test_a_peer_is_ready_when_it_has_caught_up_and_stays_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.protocol.variables.Variables.ready", True)
    desk = started_from(snapshot(OPEN, append(2)))
    desk.hear(A, AppendEntries(0, 3, 3, 2, 5, (entry(4, 3),)))
    desk.end_turn()
    assert "not_caught_up" in missing(desk)
    assert Notify(Ready()) not in desk.effects, "it has a snapshot, and there is more"
    desk.hear(A, AppendEntries(0, 3, 4, 3, 5, (entry(5, 3),)))
    desk.end_turn()
    assert Notify(Ready()) in desk.effects
    desk.hear(A, Heartbeat(0, 3, 9, 1))
    desk.end_turn()
    assert missing(desk) == {}


def test_a_wall_clock_that_is_behind_makes_no_state_young() -> None:
    later = int(1.8e9 * 1_000_000)
    desk = Desk(recovered=lambda old: replace(old, batches=(*old.batches, entry(2, 1, later))))
    desk.hear(A, AppendEntries(0, 2, 2, 1, 9, ()))
    desk.end_turn()
    assert desk.node.machine.applied_index == 2
    desk.wait(0.3)
    assert age(desk) == pytest.approx(0.3, abs=0.01)


def test_a_new_leader_is_not_up_to_date_before_its_first_entry_is_applied() -> None:
    """Before, it may not know what the leader before it has committed."""
    desk = elected()
    assert age(desk) > 1e9
    assert "nothing_applied" in missing(desk)
    desk.hear(A, AppendReply(0, 2, True, 2, 1))
    desk.stored(None)
    assert desk.node.machine.applied_index == 2
    assert age(desk) < 0.1
    assert not {"nothing_applied", "not_caught_up"} & missing(desk).keys()


def test_the_age_of_a_leader_counts_from_when_a_majority_has_heard_it() -> None:
    desk = elected()
    desk.hear(A, AppendReply(0, 2, True, 2, 1))
    desk.stored(None)
    desk.wait(0.1)
    rounds = [m for m in desk.sent(Heartbeat) if isinstance(m, Heartbeat)]
    desk.hear(B, HeartbeatReply(0, 2, rounds[-1].round))
    desk.end_turn()
    first = age(desk)
    assert first <= 0.1
    desk.wait(3.0)
    assert desk.node.replication.leadership is None
    assert age(desk) == pytest.approx(first + 3.0, abs=0.01)


def test_who_follows_a_leader_that_commits_without_pause_is_ready_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has come to what was said at one time, though there is more by then."""
    monkeypatch.setattr(application, "COMMANDS_PER_TURN", 2)
    desk = Desk()
    last = 9
    desk.hear(A, AppendEntries(0, 2, 1, 1, last, tuple(entry(n) for n in range(2, last + 1))))
    desk.end_turn()
    for _ in range(12):
        desk.now += 0.05
        desk.hear(A, AppendEntries(0, 2, last, 2, last + 2, (entry(last + 1), entry(last + 2))))
        desk.end_turn()
        last += 2
        assert desk.node.machine.applied_index < last, "it never has all"
    assert set(missing(desk)) == {"variables"}
    assert age(desk) < 0.6


def elected() -> Desk:
    """ME leads in term 2, and nothing of that is committed."""
    desk = Desk()
    desk.wait(1.0)
    for pre in (True, False):
        desk.hear(A, VoteReply(0, 2, True, pre, False))
        desk.end_turn()
    assert desk.node.replication.leadership is not None
    return desk
