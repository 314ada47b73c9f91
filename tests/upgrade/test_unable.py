"""A peer that cannot go on with its log says so and applies nothing more: whole peers, played."""

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, AppendJournal, OpenSession, RaiseVersion
from mabeam_p2p.config import MACHINE_VERSION, PROTOCOL_VERSION, Limits
from mabeam_p2p.effects import Notify, Persist
from mabeam_p2p.events import Refused
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, PeerId, SessionId
from mabeam_p2p.limits import rules_of
from mabeam_p2p.machine.machine import digest_of
from mabeam_p2p.messages import Hello, InstallSnapshot, Refuse
from mabeam_p2p.records import (
    Able,
    Batch,
    Credentials,
    Member,
    MemberState,
    Snapshot,
    SnapshotStored,
)
from mabeam_p2p.wire.codec import CborCodec
from tests.protocol.test_node import CLUSTER, ME, A, B, Desk
from tests.protocol.test_node_snapshots import install, led, snapshot, started_from

SESSION = SessionId(1)
STRANGER = PeerId("f" * 16)
OPEN = OpenSession(SESSION, 1, AgentId("a@me"), ME, 5, (), True, True)
RULES = rules_of(Limits())
LATER = RaiseVersion(CLUSTER_SESSION, 0, MACHINE_VERSION + 1, RULES)
OTHER_LIMITS = RaiseVersion(CLUSTER_SESSION, 0, MACHINE_VERSION, RULES + 1)
CODEC = CborCodec(Limits())


def batch(index: int, *commands: AnyCommand) -> Batch:
    return Batch(index, len(commands), 2, 10 * index, CODEC.encode_commands(commands))


def refusals(desk: Desk) -> list[Refused]:
    events = [one.event for one in desk.effects if isinstance(one, Notify)]
    return [event for event in events if isinstance(event, Refused)]


def later_snapshot(version: int, rules: int, *, is_known: bool = True) -> Snapshot:
    """As a release with another machine, or with other limits, has written it. is_known: what the
    machines hold is what this release knows."""
    taken = snapshot(OPEN)
    state = msgpack.decode(taken.data)
    state[3] = [*state[3][:6], version, rules, "a field that came later"]
    if not is_known:
        state[4][0][0] = "sessions of another kind"
    data = msgpack.encode([*state, Credentials(), b"and another one"])
    return replace(taken, data=data, digest=digest_of(data))


def vouch(desk: Desk, version: int, rules: int, *voters: PeerId) -> Desk:
    """These say that they apply such a log."""
    for peer in voters:
        member = Member(peer, peer[0], f"127.0.0.1:{ord(peer[0])}", 1, 1, MemberState.ALIVE)
        able = Able(1, PROTOCOL_VERSION, version, rules)
        desk.hear(peer, Hello("default", CLUSTER, member, True, able))
    return desk


@pytest.mark.parametrize(("raised", "reason"), [(LATER, "machine"), (OTHER_LIMITS, "limits")])
def test_a_peer_that_cannot_apply_the_log_says_so_once_and_applies_nothing_more(
    raised: RaiseVersion, reason: str
) -> None:
    desk = led()
    desk.append_committed((batch(2, OPEN),))
    digest = desk.node.machine.digest()
    desk.append_committed((batch(3, AppendJournal(SESSION, 2, "j", b"x"), raised),))
    desk.append_committed((batch(5, AppendJournal(SESSION, 3, "j", b"y")),))
    desk.wait(0.2)
    assert [(one.peer, one.reason, one.fatal) for one in refusals(desk)] == [(ME, reason, True)]
    assert desk.node.machine.applied_index == 2
    assert desk.node.machine.digest() == digest


def test_a_peer_goes_on_by_a_version_that_it_can() -> None:
    desk = led()
    raised = RaiseVersion(CLUSTER_SESSION, 0, MACHINE_VERSION, RULES)
    desk.append_committed((batch(2, OPEN, raised, AppendJournal(SESSION, 2, "j", b"x")),))
    assert refusals(desk) == []
    assert desk.node.machine.version == MACHINE_VERSION
    assert desk.node.links.machine_version == MACHINE_VERSION


@pytest.mark.parametrize(
    ("version", "rules", "reason"),
    [(MACHINE_VERSION + 1, RULES, "machine"), (MACHINE_VERSION, RULES + 1, "limits")],
)
def test_a_snapshot_that_a_peer_cannot_go_on_from_is_not_stored(
    version: int, rules: int, reason: str
) -> None:
    desk = vouch(led(), version, rules, A, B)
    digest = desk.node.machine.digest()
    install(desk, later_snapshot(version, rules))
    assert [(one.reason, one.fatal) for one in refusals(desk)] == [(reason, True)]
    records = [one.record for one in desk.effects if isinstance(one, Persist)]
    assert not [one for one in records if isinstance(one, SnapshotStored)]
    assert desk.node.machine.digest() == digest


@pytest.mark.parametrize("is_known", [True, False])
def test_a_folder_that_a_later_release_has_written_is_refused_at_the_start(is_known: bool) -> None:
    desk = started_from(later_snapshot(MACHINE_VERSION + 1, RULES, is_known=is_known))
    desk.wait(0.2)
    assert [(one.reason, one.fatal) for one in refusals(desk)] == [("machine", True)]
    assert desk.node.machine.applied_index == 0


def test_nothing_is_applied_behind_a_snapshot_that_a_peer_cannot_go_on_from() -> None:
    """Its folder holds more than the snapshot, and others commit more yet."""
    taken = later_snapshot(MACHINE_VERSION + 1, RULES)
    behind = batch(taken.base.index + 1, AppendJournal(SESSION, 2, "j", b"x"))
    desk = started_from(taken, behind)
    desk.append_committed((batch(behind.index + 1, AppendJournal(SESSION, 3, "j", b"y")),))
    assert desk.node.replication.commit_index == behind.index + 1
    desk.wait(0.2)
    assert [(one.reason, one.fatal) for one in refusals(desk)] == [("machine", True)]
    assert desk.node.machine.applied_index == 0


def test_a_later_snapshot_is_told_by_its_version_whatever_else_is_in_it() -> None:
    desk = vouch(led(), MACHINE_VERSION + 1, RULES, A, B)
    install(desk, later_snapshot(MACHINE_VERSION + 1, RULES, is_known=False))
    assert [(one.reason, one.fatal) for one in refusals(desk)] == [("machine", True)]


@pytest.mark.parametrize("version", [MACHINE_VERSION, MACHINE_VERSION + 1])
@pytest.mark.parametrize("voters", [(), (A,), (B,)])
def test_no_member_stops_a_peer_by_a_snapshot_that_others_could_not_go_on_from_either(
    version: int, voters: tuple[PeerId, ...]
) -> None:
    """It may say that itself can."""
    rules = RULES if version > MACHINE_VERSION else RULES + 1
    desk = vouch(led(), version, rules, *voters)
    for _ in range(2):
        install(desk, later_snapshot(version, rules))
    assert refusals(desk) == []
    vouch(desk, version, rules, A, B)
    install(desk, later_snapshot(version, rules))
    assert len(refusals(desk)) == 1


@pytest.mark.parametrize("reason", ["machine", "limits"])
def test_a_peer_whose_voters_refuse_it_does_not_go_on(reason: str) -> None:
    """It was cut off while the log was raised: what is behind that may be nothing that it reads."""
    desk = led()
    desk.append_committed((batch(2, OPEN),))
    refuse = Refuse(reason, "applies logs up to machine version 1", True)
    for peer, count in ((STRANGER, 0), (A, 0), (A, 0), (B, 1), (A, 1)):
        desk.wait(1.5)  # One that is said again within a second is not heard.
        desk.hear(peer, refuse)
        own = [one for one in refusals(desk) if one.peer == ME]
        assert [(one.reason, one.fatal) for one in own] == [(reason, True)] * count
    assert own[0].detail == f"peer {B} refuses this one: {refuse.detail}"
    desk.append_committed((batch(3, AppendJournal(SESSION, 2, "j", b"x")),))
    assert desk.node.machine.applied_index == 2


@pytest.mark.parametrize("reason", ["name", "version", "cluster", "repaired", "revoked"])
def test_who_is_refused_for_what_its_log_does_not_say_goes_on(reason: str) -> None:
    desk = led()
    for peer in (A, B):
        desk.hear(peer, Refuse(reason, "", True))
    desk.append_committed((batch(2, OPEN),))
    assert desk.node.machine.applied_index == 2
    assert ME not in [one.peer for one in refusals(desk)]


def test_a_snapshot_of_this_version_that_holds_what_nobody_knows_is_not_taken() -> None:
    desk = led()
    digest = desk.node.machine.digest()
    install(desk, later_snapshot(MACHINE_VERSION, RULES, is_known=False))
    assert refusals(desk) == []
    assert desk.node.machine.digest() == digest


def test_a_piece_of_such_a_snapshot_is_told_of_once() -> None:
    desk = vouch(led(), MACHINE_VERSION + 1, RULES, A, B)
    taken = later_snapshot(MACHINE_VERSION + 1, RULES)
    for _ in range(3):
        size = len(taken.data)
        desk.hear(
            desk.node.replication.leader or ME,
            InstallSnapshot(0, 2, taken.base, taken.digest, size, 0, taken.data),
        )
        desk.end_turn()
    assert len(refusals(desk)) == 1
