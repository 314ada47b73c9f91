"""A log that goes on with one peer alone: what is written, and whom it fences."""

from msgspec.structs import replace

from mabeam_p2p.commands import Configure
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import CLUSTER_SESSION, ClusterId, PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.replication import Replication, Role
from mabeam_p2p.protocol.replication.repair import assess, repair
from mabeam_p2p.records import (
    Batch,
    BootstrapState,
    HardState,
    LogAppend,
    LogBase,
    Recovered,
    Standing,
)
from mabeam_p2p.storage.memory import MemoryStorage
from mabeam_p2p.wire.codec import CborCodec
from tests.protocol.raft_world import NOBODY, TIMING, A, B, C

CLUSTER = ClusterId("c" * 32)
CODEC = CborCodec(Limits())
FIRST = Batch(
    1,
    1,
    1,
    50,
    CODEC.encode_commands([Configure(CLUSTER_SESSION, 0, CLUSTER, (A, B, C))]),
    (A, B, C),
)


def survivor(*batches: Batch, term: int = 4) -> Recovered:
    formed = BootstrapState(CLUSTER, A, (A, B, C), (FIRST,), True)
    return Recovered(
        B, 7, (HardState(0, term, C),), (FIRST, *batches), formed, addresses=("10.0.0.1:1",)
    )


def repaired(before: Recovered) -> Recovered:
    """The folder after the repair, opened anew."""
    found = assess(before)
    assert found is not None
    state, append, formed = repair(found, CODEC.encode_commands)
    assert isinstance(state, HardState)
    assert isinstance(append, LogAppend)
    assert isinstance(formed, BootstrapState)
    assert append.keep_index == before.batches[-1].last_index
    batches = (*before.batches, *append.batches)
    return replace(before, hard_states=(state,), batches=batches, bootstrap=formed)


def test_what_a_folder_knows_is_said_before_anything_is_changed() -> None:
    tail = Batch(2, 3, 2, 90, b"xyz")
    found = assess(survivor(tail))
    assert found is not None
    assert (found.peer, found.cluster_id, found.voters) == (B, CLUSTER, (A, B, C))
    assert (found.last_index, found.last_term, found.term, found.clock) == (4, 2, 4, 90)
    assert found.configuration_index == 1


def test_a_folder_without_a_log_of_a_cluster_has_nothing_to_go_on_with() -> None:
    before = survivor()
    assert before.bootstrap is not None
    for spoiled in (
        replace(before, bootstrap=None),
        replace(before, batches=()),
        replace(before, bootstrap=replace(before.bootstrap, formed=False)),
        replace(before, batches=(replace(FIRST, voters=()),)),
    ):
        assert assess(spoiled) is None


def test_a_log_that_begins_behind_a_snapshot_goes_on_from_there() -> None:
    compacted = replace(survivor(), batches=(), base=LogBase(4, 2, 90, (A, B, C), 1))
    found = assess(compacted)
    assert found is not None
    assert (found.last_index, found.configuration_index, found.voters) == (4, 1, (A, B, C))
    _, append, _ = repair(found, CODEC.encode_commands)
    assert isinstance(append, LogAppend)
    assert (append.keep_index, append.batches[0].index, append.batches[0].clock) == (4, 5, 90)


def test_the_new_id_depends_on_all_that_the_logs_of_two_repairs_can_differ_in() -> None:
    ids: list[str] = []
    for before in (
        survivor(),
        survivor(term=5),
        survivor(Batch(2, 1, 1, 60, b"x")),
        replace(survivor(), peer=C),
    ):
        found = assess(before)
        assert found is not None
        ids.append(found.new_cluster_id)
        assert assess(before) == found, "looking twice shows the same"
    assert len(dict.fromkeys([*ids, str(CLUSTER)])) == 5


def test_a_repaired_peer_leads_alone_and_commits_its_whole_log() -> None:
    after = repaired(survivor(Batch(2, 1, 2, 90, b"x")))
    core = Replication(
        B,
        hard_state=after.hard_states[0],
        batches=after.batches,
        timing=TIMING,
        limits=Limits(),
        outbox=(outbox := Outbox()),
        now=0.0,
    )
    assert (core.voters, core.term, core.vote) == ((B,), 5, NOBODY)
    core.stand(Standing(5, 3, 0, 0))
    assert core.is_elected
    core.lead((1, b"noop"), 0.0)
    core.flush(0.0)
    core.stored(outbox.persisted)
    core.flush(0.0)
    assert (core.role, core.commit_index, core.log.is_configured) == (Role.LEADER, 4, True)


def test_the_repaired_log_says_which_cluster_it_goes_on_from() -> None:
    after = repaired(survivor())
    machine = Machine(Limits())
    for batch in after.batches:
        machine.apply(batch, CODEC.decode_commands(batch.count, batch.blob))
    assert after.bootstrap is not None
    configuration = machine.configuration
    assert configuration.cluster_id == after.bootstrap.cluster_id != CLUSTER
    assert (configuration.ancestors, configuration.voters) == ((CLUSTER,), (B,))


def test_a_log_can_be_repaired_again() -> None:
    after = repaired(repaired(survivor()))
    machine = Machine(Limits())
    for batch in after.batches:
        machine.apply(batch, CODEC.decode_commands(batch.count, batch.blob))
    assert len(machine.configuration.ancestors) == 2
    assert machine.configuration.ignored_count == 0


def test_a_storage_takes_the_repair_in_one_write() -> None:
    storage = MemoryStorage()
    peer = storage.recover().peer
    formed = BootstrapState(CLUSTER, peer, (peer,), (FIRST,), True)
    storage.write([formed, HardState(0, 4, PeerId("")), LogAppend(0, 0, (FIRST,))])
    storage.close()
    found = assess(storage.recover())
    assert found is not None
    storage.write(repair(found, CODEC.encode_commands))
    storage.close()
    again = storage.recover()
    assert again.batches[-1].voters == (peer,)
    assert again.hard_states == (HardState(0, 5, PeerId("")),)
    assert again.bootstrap is not None
    assert again.bootstrap.cluster_id == found.new_cluster_id
