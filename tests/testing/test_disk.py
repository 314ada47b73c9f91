"""The simulated disk keeps exactly a prefix of what was written."""

from random import Random

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch, HardState, LogAppend
from mabeam_p2p.testing.disk import Disk, LogView


def batch(index: int, count: int = 1, term: int = 1) -> Batch:
    return Batch(index=index, count=count, term=term, clock=0, blob=b"x" * count)


def test_crash_keeps_a_prefix_and_never_reorders() -> None:
    kept = set()
    for seed in range(30):
        disk = Disk()
        for term in range(1, 5):
            disk.write(HardState(0, term, PeerId("")))
        survivors = disk.crash(Random(seed))
        assert disk.hard_state.term == survivors
        assert not disk.pending
        kept.add(survivors)
    assert kept == {0, 1, 2, 3, 4}


def test_synced_records_survive_every_crash() -> None:
    disk = Disk()
    disk.write(LogAppend(0, 0, (batch(1),)))
    disk.sync(1)
    disk.write(LogAppend(0, 1, (batch(2),)))
    for seed in range(5):
        disk.crash(Random(seed))
        assert disk.log.batches[0] == batch(1)


def test_append_drops_what_begins_behind_the_kept_index() -> None:
    disk = Disk()
    disk.write(LogAppend(0, 0, (batch(1, 3), batch(4, 2), batch(6))))
    disk.write(LogAppend(0, 3, (batch(4, 1, term=2),)))
    disk.sync(2)
    assert disk.recover(PeerId("p")).batches == (batch(1, 3), batch(4, 1, term=2))


def test_every_start_has_an_epoch_of_its_own() -> None:
    disk = Disk()
    assert [disk.recover(PeerId("p")).epoch for _ in range(3)] == [1, 2, 3]


def test_equal_logs_have_equal_hashes_and_others_differ() -> None:
    one, other = LogView(), LogView()
    for log in (one, other):
        log.append(batch(1, 2))
    assert one.append(batch(3)) == other.append(batch(3))
    other.keep(2)
    assert other.append(batch(3, term=2)) != one.hash_at(3)
    assert other.hash_at(2) == one.hash_at(2)


def test_hash_is_known_only_where_a_batch_ends() -> None:
    log = LogView()
    log.append(batch(1, 3, term=4))
    assert log.hash_at(0) == 0
    assert log.hash_at(2) is None
    assert log.hash_at(3) is not None
    assert log.hash_at(4) is None
    assert [log.term_at(index) for index in range(5)] == [0, 4, 4, 4, 0]
