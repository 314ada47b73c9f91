"""One whole peer that is given a snapshot, and one that starts from one: who is answered, what is
told, and what is refused."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, AppendJournal, Arrive, Configure, Noop, OpenSession
from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Notify, Persist, Resolve
from mabeam_p2p.events import EVENTS_LOST, AgentJoined, Dropped
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, SessionId
from mabeam_p2p.machine.machine import Machine, digest_of
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    Forward,
    ForwardRefused,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    SnapshotReply,
    VoteReply,
)
from mabeam_p2p.protocol.node import application
from mabeam_p2p.records import Batch, DiskUsage, LogBase, OnDeparture, Snapshot, SnapshotStored
from mabeam_p2p.requests import (
    Await,
    Committed,
    Failed,
    Found,
    GenerationQuery,
    JournalQuery,
    LogQuery,
    Read,
    ReadStatus,
    StatusAnswer,
    Submit,
)
from tests.protocol.test_node import CLUSTER, ME, VOTERS, A, Desk

SESSION = SessionId(1)
OPEN = OpenSession(SESSION, 1, AgentId("a@me"), ME, 5, (), True, True)


def append(sequence: int) -> AppendJournal:
    return AppendJournal(SESSION, sequence, "j", b"x")


def snapshot(*commands: AnyCommand, limits: Limits | None = None) -> Snapshot:
    """Of a log that holds the cluster's first entry and these, in term 2."""
    machine = Machine(limits or Limits())
    machine.apply(
        Batch(1, 1, 1, 10, b"", VOTERS), (Configure(CLUSTER_SESSION, 0, CLUSTER, VOTERS),)
    )
    machine.apply(Batch(2, len(commands), 2, 20, b""), commands)
    data = machine.encode()
    return Snapshot(LogBase(1 + len(commands), 2, 20, VOTERS), digest_of(data), data)


def install(desk: Desk, taken: Snapshot) -> None:
    size = len(taken.data)
    desk.hear(A, InstallSnapshot(0, 2, taken.base, taken.digest, size, 0, taken.data))
    desk.end_turn()


def started_from(taken: Snapshot, *batches: Batch) -> Desk:
    return Desk(
        recovered=lambda found: replace(found, batches=batches, base=taken.base, snapshot=taken)
    )


def led(limits: Limits | None = None) -> Desk:
    desk = Desk(limits=limits)
    desk.hear(A, Heartbeat(0, 2, 1, 1))
    desk.end_turn()
    return desk


def answers(desk: Desk) -> dict[int, object]:
    return {one.token: one.answer for one in desk.effects if isinstance(one, Resolve)}


def dropped(desk: Desk) -> list[Dropped]:
    events = [one.event for one in desk.effects if isinstance(one, Notify)]
    return [event for event in events if isinstance(event, Dropped)]


def test_a_peer_becomes_the_state_that_it_is_given() -> None:
    desk, taken = led(), snapshot(OPEN, append(2), append(3))
    install(desk, taken)
    assert desk.node.machine.digest() == taken.digest
    assert desk.node.machine.applied_index == desk.node.replication.commit_index == 4
    [stored] = [
        one.record
        for one in desk.effects
        if isinstance(one, Persist) and isinstance(one.record, SnapshotStored)
    ]
    assert stored == SnapshotStored(0, taken, taken.base, keeps_tail=False)
    desk.did(desk.node.request(9, Read(JournalQuery("j")), desk.now))
    found = answers(desk)[9]
    assert isinstance(found, Found)
    assert found.journals[0].items == (b"x", b"x")


def test_a_state_is_taken_once_and_the_log_goes_on_behind_it() -> None:
    desk = led()
    install(desk, snapshot(OPEN, append(2)))
    desk.append_committed((Batch(4, 1, 2, 30, desk.codec.encode_commands([append(3)])),))
    desk.end_turn()
    assert desk.node.machine.applied_index == 4
    desk.did(desk.node.request(9, Read(JournalQuery("j")), desk.now))
    found = answers(desk)[9]
    assert isinstance(found, Found)
    assert found.journals[0].items == (b"x", b"x")
    assert len(dropped(desk)) == 1, "the machine has leapt once"


def test_an_agent_that_a_snapshot_does_not_know_or_knows_by_another_session_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Letters to it are not waited for, nor what was asked of who has come back since."""
    stays, back = (replace(OPEN, session=SessionId(n), agent=AgentId(f"{n}@me")) for n in (3, 4))
    desk = led()
    opened = desk.codec.encode_commands([OPEN, stays, back])
    desk.append_committed((Batch(2, 3, 2, 20, opened),))
    departed: list[AgentId] = []
    monkeypatch.setattr(desk.node.mail, "departed", departed.append)
    anew, noop = replace(back, session=SessionId(9)), Noop(CLUSTER_SESSION, 0)
    install(desk, snapshot(stays, anew, noop, noop))
    assert sorted(departed) == [back.agent, OPEN.agent]


def test_commands_that_a_snapshot_holds_are_answered_and_the_others_go_on() -> None:
    desk = led()
    asked: tuple[AnyCommand, ...] = (OPEN, append(2), append(3))
    for token, command in enumerate(asked, 1):
        desk.did(desk.node.request(token, Submit(command, 30.0), desk.now))
    desk.end_turn()
    install(desk, snapshot(OPEN, append(2)))
    assert answers(desk) == {1: Committed(2, 2), 2: Committed(3, 2, 1)}
    assert len(desk.node.pending) == 1


def test_what_a_snapshot_cannot_tell_any_more_is_unknown() -> None:
    limits = Limits(session_window=4)
    desk = led(limits)
    desk.did(desk.node.request(1, Submit(append(2), 30.0), desk.now))
    desk.end_turn()
    far = snapshot(OPEN, append(2), append(9), limits=limits)
    install(desk, far)
    answer = answers(desk)[1]
    assert isinstance(answer, Failed)
    assert answer.reason == "unknown"


def test_who_waits_for_what_a_snapshot_holds_waits_no_longer() -> None:
    desk = led()
    question = GenerationQuery("b", 1)
    desk.did(desk.node.request(1, Await(question, 30.0), desk.now))
    desk.end_turn()
    assert answers(desk) == {}
    arrive = Arrive(SESSION, 2, "b", 1, 1, OnDeparture.WAIT)
    install(desk, snapshot(OPEN, arrive))
    assert isinstance(answers(desk)[1], Found)


def test_it_is_said_that_nobody_was_told_of_the_entries_between() -> None:
    desk = led()
    desk.wait(0.01)
    before = desk.node.machine.applied_index
    install(desk, snapshot(OPEN, append(2)))
    text = f"caught up by a snapshot: entries {before + 1} to 3"
    assert dropped(desk) == [Dropped(ME, EVENTS_LOST, text, 3 - before)]


def test_a_start_from_a_snapshot_is_no_news() -> None:
    taken = snapshot(OPEN, append(2))
    desk = started_from(taken)
    assert desk.node.machine.digest() == taken.digest
    assert desk.node.machine.applied_index == 3
    assert dropped(desk) == []


@pytest.mark.parametrize("by_snapshot", [False, True])
def test_what_takes_the_place_of_a_recovered_tail_is_news(by_snapshot: bool) -> None:
    """What came from the disk is applied without a word, but not what a leader put in its place."""
    noop = Desk().codec.encode_commands([Noop(CLUSTER_SESSION, 0)])
    tail = tuple(Batch(index, 1, 1, 20, noop) for index in range(2, 9))
    desk = Desk(recovered=lambda old: replace(old, batches=(*old.batches, *tail)))
    opened = Batch(2, 1, 2, 20, desk.codec.encode_commands([OPEN]))
    if by_snapshot:
        install(desk, snapshot(Noop(CLUSTER_SESSION, 0)))
        opened = replace(opened, index=3)
    desk.effects.clear()
    previous = opened.index - 1
    message = AppendEntries(0, 2, previous, previous, opened.index, (opened,))
    desk.hear(A, message)
    desk.end_turn()
    assert desk.node.machine.applied_index == opened.index
    told = [one.event for one in desk.effects if isinstance(one, Notify)]
    assert [event.agent.id for event in told if isinstance(event, AgentJoined)] == [OPEN.agent]


def test_a_start_from_a_snapshot_goes_on_with_the_log_behind_it() -> None:
    taken = snapshot(OPEN, append(2))
    blob = Desk().codec.encode_commands([append(3)])
    behind = Batch(4, 1, 2, 30, blob)
    desk = Desk(
        recovered=lambda old: replace(old, batches=(behind,), base=taken.base, snapshot=taken)
    )
    assert (desk.node.machine.applied_index, desk.node.replication.log.last_index) == (3, 4)


@pytest.mark.parametrize("change", ["hash", "index", "shape"])
def test_a_peer_does_not_start_from_a_snapshot_that_is_not_what_it_names(change: str) -> None:
    """Catalogue 43: an index is adopted with the state that goes with it, or not at all."""
    taken = snapshot(OPEN, append(2))
    wrong = {
        "hash": replace(taken, digest=taken.digest ^ 1),
        "index": replace(taken, base=replace(taken.base, index=9)),
        "shape": replace(taken, data=b"\x90", digest=digest_of(b"\x90")),
    }[change]
    with pytest.raises(AssertionError, match="not what was written"):
        started_from(wrong)


@pytest.mark.parametrize("change", ["hash", "index", "shape"])
def test_a_snapshot_that_is_not_what_it_names_replaces_nothing(change: str) -> None:
    desk, taken = led(), snapshot(OPEN, append(2))
    wrong = {
        "hash": replace(taken, digest=taken.digest ^ 1),
        "index": replace(taken, base=replace(taken.base, index=9)),
        "shape": replace(taken, data=b"\x90", digest=digest_of(b"\x90")),
    }[change]
    before = desk.node.machine.digest()
    install(desk, wrong)
    assert desk.node.machine.digest() == before
    assert desk.node.replication.log.base.index == 0
    assert not any(reply.installed for reply in desk.sent(SnapshotReply))  # type: ignore[union-attr]
    assert desk.node.replication.dropped_count == 1


def test_the_log_can_be_read_from_where_it_begins() -> None:
    desk = Desk(limits=Limits(snapshot_entries=4, log_trailing_entries=0))
    blobs = [desk.codec.encode_commands([append(number)]) for number in range(2, 11)]
    batches = [Batch(number, 1, 2, 10 * number, blob) for number, blob in enumerate(blobs, 2)]
    desk.append_committed(tuple(batches))
    desk.did(desk.node.request(1, Read(LogQuery(1, 99)), desk.now))
    found = answers(desk)[1]
    assert isinstance(found, Found)
    assert [batch.index for batch in found.batches] == [9, 10]


# ---- a disk that is getting full -----------------------------------------------------------------

FULL, ROOMY = DiskUsage(90, 100), DiskUsage(89, 100)


def leading(limits: Limits | None = None) -> Desk:
    """ME leads in term 2, with its no-op committed."""
    desk = Desk(limits=limits)
    desk.wait(1.0)
    desk.hear(A, VoteReply(0, 2, True, True, False))
    desk.end_turn()
    desk.hear(A, VoteReply(0, 2, True, False, False))
    desk.end_turn()
    desk.hear(A, AppendReply(0, 2, True, 2, 1))
    desk.stored(None)
    assert desk.node.replication.commit_index == 2
    return desk


def test_a_leader_whose_disk_is_nine_tenths_full_takes_no_commands_and_says_so() -> None:
    desk = leading()
    for token, usage, expected in ((1, ROOMY, None), (2, FULL, "disk_full"), (3, ROOMY, None)):
        desk.stored(usage)
        asked = replace(OPEN, session=SessionId(token))
        desk.did(desk.node.request(token, Submit(asked, 30.0), desk.now))
        desk.end_turn()
        answer = answers(desk).get(token)
        assert (answer.reason if isinstance(answer, Failed) else None) == expected


def test_commands_that_are_forwarded_to_a_full_disk_are_refused_with_the_reason() -> None:
    desk = leading()
    desk.stored(FULL)
    desk.hear(A, Forward(0, 1, 1, desk.codec.encode_commands([append(1)])))
    assert desk.sent(ForwardRefused) == [ForwardRefused(0, 1, "disk_full")]


def test_a_full_disk_stops_neither_heartbeats_nor_reads() -> None:
    desk = leading()
    desk.stored(FULL)
    desk.effects.clear()
    desk.did(desk.node.request(1, Read(JournalQuery("j"), linearizable=True), desk.now))
    desk.end_turn()
    beat = desk.sent(Heartbeat)[0]
    assert isinstance(beat, Heartbeat)
    desk.hear(A, HeartbeatReply(0, 2, beat.round))
    desk.end_turn()
    assert isinstance(answers(desk)[1], Found)


def test_a_disk_that_gets_full_is_relieved_of_all_that_a_snapshot_can_take_the_place_of() -> None:
    desk = leading()
    desk.stored(FULL)
    log = desk.node.replication.log
    assert (log.base.index, len(log)) == (2, 0)
    [stored] = [
        one.record
        for one in desk.effects
        if isinstance(one, Persist) and isinstance(one.record, SnapshotStored)
    ]
    assert stored.base == stored.snapshot.base
    desk.effects.clear()
    desk.stored(FULL)
    assert not any(isinstance(one, Persist) for one in desk.effects)


def test_a_peers_status_tells_of_its_snapshot_its_log_and_its_disk() -> None:
    desk = leading()
    desk.stored(FULL)
    desk.did(desk.node.request(1, ReadStatus(), desk.now))
    told = answers(desk)[1]
    assert isinstance(told, StatusAnswer)
    seen = told.status
    assert (seen.snapshot_index, seen.log_entries) == (2, 0)
    assert (seen.disk_used_bytes, seen.disk_bytes_max, seen.disk_full) == (90, 100, True)


def test_what_trails_a_snapshot_goes_too_when_the_disk_gets_full() -> None:
    desk = Desk(limits=Limits(snapshot_entries=4))
    blobs = [desk.codec.encode_commands([append(number)]) for number in range(2, 9)]
    batches = [Batch(number, 1, 2, 10 * number, blob) for number, blob in enumerate(blobs, 2)]
    desk.append_committed(tuple(batches))
    log = desk.node.replication.log
    assert (log.base.index, log.last_index, desk.node.replication.snapshots.index) == (0, 8, 8)
    desk.stored(FULL)
    assert (log.base.index, log.last_index, desk.node.replication.snapshots.index) == (8, 8, 8)


def test_a_disk_that_stays_full_gets_a_snapshot_only_for_as_much_log_as_that_takes() -> None:
    """A follower goes on when its disk is nearly full, as the quota is the leader's alone. It must
    not write all of its state for each batch that comes."""
    desk = Desk()
    blob = desk.codec.encode_commands([append(2)])
    desk.stored(FULL)
    log, snapshots = desk.node.replication.log, desk.node.replication.snapshots
    taken = []
    for index in range(2, 102):
        desk.append_committed((Batch(index, 1, 2, 10 * index, blob),))
        desk.stored(FULL)
        taken.append(snapshots.index)
        assert snapshots.latest is not None
        assert log.byte_count <= len(snapshots.latest.data) + len(blob)
    assert snapshots.latest is not None
    worth = len(snapshots.latest.data) // len(blob)
    assert 1 < len(dict.fromkeys(taken)) <= 2 + 100 // worth
    desk.append_committed((Batch(102, 1, 2, 1020, blob),))
    desk.stored(ROOMY)
    desk.stored(FULL)
    assert snapshots.index == 102, "it was found nearly full anew"


def test_a_snapshot_is_due_by_bytes_too_counted_from_the_last_one() -> None:
    blob = Desk().codec.encode_commands([append(2)])
    desk = Desk(limits=Limits(snapshot_bytes=9 * len(blob) + 1))
    assert list(dict.fromkeys(snapshots_taken(desk, blob, 40))) == [1, 11, 21, 31, 41]


def test_a_large_snapshot_waits_for_a_quarter_of_its_size_in_commands() -> None:
    """Else each few commands would have all of a large state written once more."""
    desk = Desk(limits=Limits(snapshot_entries=2))
    snapshots, blob = desk.node.replication.snapshots, desk.codec.encode_commands([append(2)])
    desk.append_committed((Batch(2, 1, 2, 20, desk.codec.encode_commands([OPEN])),))
    assert snapshots.index == 2
    assert snapshots.latest is not None
    worth = -(-len(snapshots.latest.data) // (application.SNAPSHOT_SHARE * len(blob)))
    assert worth > 2, "the state is too small to show anything"
    taken = snapshots_taken(desk, blob, worth, first=3)
    assert taken == [2] * (worth - 1) + [2 + worth]


def test_a_large_snapshot_waits_for_so_many_entries_at_most() -> None:
    """What a start has to apply stays bounded by the setting."""
    desk = Desk(limits=Limits(snapshot_entries=1))
    blob = desk.codec.encode_commands([Noop(CLUSTER_SESSION, 0)])
    desk.append_committed((Batch(2, 1, 2, 20, desk.codec.encode_commands([append(10)])),))
    taken = list(dict.fromkeys(snapshots_taken(desk, blob, 40, first=3)))
    gaps = [after - before for before, after in pairwise(taken[1:])]
    assert gaps
    assert max(gaps) == application.SNAPSHOT_PATIENCE


def snapshots_taken(desk: Desk, blob: bytes, count: int, first: int = 2) -> list[int]:
    """The index of the last snapshot behind each of `count` further batches of `blob`."""
    taken = []
    for index in range(first, first + count):
        desk.append_committed((Batch(index, 1, 2, 10 * index, blob),))
        taken.append(desk.node.replication.snapshots.index)
    return taken


def test_peers_take_the_same_snapshots() -> None:
    """Where they are taken the log alone says, so that any leader can go on with a transfer."""
    digests = []
    for turns in (1, 5):
        desk = Desk(limits=Limits(snapshot_entries=4))
        blobs = [desk.codec.encode_commands([append(number)]) for number in range(2, 12)]
        batches = [Batch(number, 1, 2, 10 * number, blob) for number, blob in enumerate(blobs, 2)]
        step = len(batches) // turns
        for first in range(0, len(batches), step):
            desk.append_committed(tuple(batches[first : first + step]))
        latest = desk.node.replication.snapshots.latest
        assert latest is not None
        digests.append((latest.base.index, latest.digest))
    assert digests[0] == digests[1]
    assert digests[0][0] == 8


# ---- applying in pages -----------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 2, 3, 4, 100])
def test_what_is_committed_is_applied_without_a_gap_however_small_the_pages(
    page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 29. A batch that is larger than a page is a page of its own."""
    monkeypatch.setattr(application, "COMMANDS_PER_TURN", page)
    desk = Desk(limits=Limits(snapshot_entries=5, log_trailing_entries=0))
    batches: list[Batch] = []
    index = sequence = 2
    for count in (1, 3, 2, 1, 4, 1):
        commands: list[AnyCommand] = [append(n) for n in range(sequence, sequence + count)]
        blob = desk.codec.encode_commands([OPEN] if index == 2 else commands)
        batches.append(Batch(index, count, 2, 10 * index, blob))
        index, sequence = index + count, sequence + count
    applied: list[int] = []
    desk.append_committed(tuple(batches))
    for _ in range(10):
        applied.append(desk.node.machine.applied_index)
        if desk.node.machine.applied_index < desk.node.replication.commit_index:
            assert desk.node.next_deadline() <= desk.now
        desk.end_turn()
    ends = [1, *(batch.last_index for batch in batches)]
    assert applied[-1] == 13
    assert set(applied) <= set(ends)
    turns = len(dict.fromkeys(applied))
    assert turns == {1: 7, 2: 6, 3: 5, 4: 5, 100: 1}[page]
    desk.did(desk.node.request(9, Read(JournalQuery("j")), desk.now))
    found = answers(desk)[9]
    assert isinstance(found, Found)
    assert len(found.journals[0].items) == 11


def written_at_length(data: bytes) -> bytes:
    """The same state with its outermost array's head in three bytes where one does."""
    assert data[0] & 0xF0 == 0x90, "a short array"
    return b"\xdc" + (data[0] & 0x0F).to_bytes(2) + data[1:]


def with_an_agent_twice(data: bytes) -> bytes:
    state = Machine(Limits()).decode(data)
    sessions = state.parts.sessions
    twice = replace(sessions, live=sessions.live * 2)
    return msgpack.encode(replace(state, parts=replace(state.parts, sessions=twice)))


@pytest.mark.parametrize("change", [written_at_length, with_an_agent_twice])
def test_a_state_that_no_machine_has_written_replaces_nothing(
    change: Callable[[bytes], bytes],
) -> None:
    """Whole, with the right hash and of the right index: a peer that took it would end at once, and
    again at every start."""
    desk, taken = led(), snapshot(OPEN, append(2))
    before, data = desk.node.machine.applied_index, change(taken.data)
    install(desk, Snapshot(taken.base, digest_of(data), data))
    assert desk.node.machine.applied_index == before
    assert desk.node.replication.log.base.index == 0
    stored = [one for one in desk.effects if isinstance(one, Persist)]
    assert not any(isinstance(one.record, SnapshotStored) for one in stored)
    install(desk, taken)
    assert desk.node.machine.digest() == taken.digest
