"""What every Storage keeps (ports.Storage), checked on each of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.errors import StorageError
from mabeam_p2p.ids import ClusterId, PeerId, is_peer_id
from mabeam_p2p.ports import Storage
from mabeam_p2p.records import (
    Batch,
    BootstrapState,
    HardState,
    KnownAddresses,
    LogAppend,
    LogBase,
    Record,
    Recovered,
    Sibling,
    Snapshot,
    SnapshotStored,
    Variable,
    VariableForgotten,
    VariableMarks,
)
from mabeam_p2p.storage.memory import MemoryStorage
from mabeam_p2p.storage.sqlite import SqliteStorage

ONE, TWO = PeerId("0123456789abcdef"), PeerId("fedcba9876543210")
Open = Callable[[], Storage]
"""Opens the one place of a test, as after a restart; an open one is closed first."""


@pytest.fixture(params=["memory", "sqlite"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[Storage] = []
    memory = MemoryStorage()

    def open_again() -> Storage:
        for storage in opened:
            storage.close()
        storage = memory if request.param == "memory" else SqliteStorage(str(tmp_path / "peer"))
        opened.append(storage)
        return storage

    yield open_again
    for storage in opened:
        storage.close()


def batch(index: int, count: int = 1, term: int = 1) -> Batch:
    return Batch(index, count, term, index * 1000, b"%d" % index * count)


def variable(name: str, counter: int) -> Variable:
    return Variable(name, "lww", ((ONE, counter),), (Sibling(ONE, counter, 5, b"\xf5"),))


def snapshot(index: int, term: int = 1, data: bytes = b"state") -> Snapshot:
    return Snapshot(base(index, term), 2**64 - 1, data)


def base(index: int, term: int = 1) -> LogBase:
    return LogBase(index, term, index * 1000, (ONE, TWO))


def recovered_after(open_storage: Open, *writes: list[Record]) -> Recovered:
    storage = open_storage()
    storage.recover()
    for records in writes:
        storage.write(records)
    return open_storage().recover()


def test_a_new_place_has_an_identity_and_nothing_else(open_storage: Open) -> None:
    recovered = open_storage().recover()
    assert is_peer_id(recovered.peer)
    assert recovered == Recovered(recovered.peer, epoch=1)


def test_the_identity_stays_and_the_epoch_counts_opens(open_storage: Open) -> None:
    first, second, third = (open_storage().recover() for _ in range(3))
    assert first.peer == second.peer == third.peer
    assert [first.epoch, second.epoch, third.epoch] == [1, 2, 3]


def test_two_places_are_two_peers(tmp_path: Path) -> None:
    made: list[Storage] = [MemoryStorage(), MemoryStorage()]
    made += [SqliteStorage(str(tmp_path / name)) for name in ("a", "b")]
    peers = {storage.recover().peer for storage in made}
    for storage in made:
        storage.close()
    assert len(peers) == 4


def test_every_kind_of_record_comes_back(open_storage: Open) -> None:
    bootstrap = BootstrapState(ClusterId("c" * 32), ONE, (ONE, TWO), (batch(1),), formed=False)
    recovered = recovered_after(
        open_storage,
        [
            HardState(0, 7, ONE),
            LogAppend(0, 0, (Batch(1, 3, 1, 9, b"\x00\xff", (ONE, TWO)),)),
            bootstrap,
            KnownAddresses(("127.0.0.1:1", "[::1]:2")),
            variable("b", 1),
            variable("a/ü", 2**60),
        ],
    )
    assert recovered.hard_states == (HardState(0, 7, ONE),)
    assert recovered.batches == (Batch(1, 3, 1, 9, b"\x00\xff", (ONE, TWO)),)
    assert recovered.bootstrap == bootstrap
    assert recovered.addresses == ("127.0.0.1:1", "[::1]:2")
    assert recovered.variables == (variable("a/ü", 2**60), variable("b", 1))


def test_the_last_record_of_a_kind_or_name_is_the_one_that_counts(open_storage: Open) -> None:
    recovered = recovered_after(
        open_storage,
        [HardState(0, 1, ONE), variable("a", 1), KnownAddresses(("x:1",))],
        [HardState(0, 2, PeerId("")), HardState(0, 3, TWO), variable("a", 2), variable("b", 1)],
        [KnownAddresses(())],
    )
    assert recovered.hard_states == (HardState(0, 3, TWO),)
    assert recovered.variables == (variable("a", 2), variable("b", 1))
    assert recovered.addresses == ()


def test_a_variable_that_is_forgotten_does_not_come_back_and_marks_replace_each_other(
    open_storage: Open,
) -> None:
    marks = VariableMarks(((ONE, 2**60), (TWO, 7)), ((TWO, 5),))
    recovered = recovered_after(
        open_storage,
        [variable("a", 1), variable("marks", 1), VariableMarks(((ONE, 1),), ())],
        [marks, VariableForgotten("a"), VariableForgotten("never held")],
    )
    assert recovered.variables == (variable("marks", 1),)
    assert recovered.marks == marks


def test_an_append_drops_every_batch_behind_what_it_keeps(open_storage: Open) -> None:
    recovered = recovered_after(
        open_storage,
        [LogAppend(0, 0, (batch(1, 2), batch(3), batch(4, 5)))],
        [LogAppend(0, 3, (batch(4, 2, term=2), batch(6, 1, term=2)))],
    )
    assert recovered.batches == (batch(1, 2), batch(3), batch(4, 2, term=2), batch(6, 1, term=2))


def test_an_append_may_drop_everything_or_only_drop(open_storage: Open) -> None:
    recovered = recovered_after(
        open_storage,
        [LogAppend(0, 0, (batch(1), batch(2)))],
        [LogAppend(0, 0, (batch(1, term=2), batch(2, term=2)))],
        [LogAppend(0, 1, ())],
    )
    assert recovered.batches == (batch(1, term=2),)


@pytest.mark.parametrize(
    "wrong", [LogAppend(0, 4, (batch(5),)), LogAppend(0, 1, ()), LogAppend(0, 5, (batch(7),))]
)
def test_an_append_that_breaks_the_log_is_an_error_of_the_caller(
    open_storage: Open, wrong: LogAppend
) -> None:
    storage = open_storage()
    storage.recover()
    storage.write([LogAppend(0, 0, (batch(1, 5),))])
    with pytest.raises(AssertionError):
        storage.write([wrong])


def test_a_snapshot_takes_the_place_of_the_log_before_it_but_for_what_is_kept(
    open_storage: Open,
) -> None:
    recovered = recovered_after(
        open_storage,
        [LogAppend(0, 0, (batch(1, 2), batch(3), batch(4), batch(5, 5)))],
        [SnapshotStored(0, snapshot(4), base(2), keeps_tail=True)],
    )
    assert recovered.snapshot == snapshot(4)
    assert recovered.base == base(2)
    assert recovered.batches == (batch(3), batch(4), batch(5, 5))


def test_a_newer_snapshot_takes_the_place_of_an_older_one(open_storage: Open) -> None:
    recovered = recovered_after(
        open_storage,
        [LogAppend(0, 0, (batch(1), batch(2)))],
        [SnapshotStored(0, snapshot(1), base(1), keeps_tail=True)],
        [SnapshotStored(0, snapshot(2, data=b"s" * 100_000), base(2), keeps_tail=True)],
        [LogAppend(0, 2, (batch(3),))],
    )
    assert recovered.snapshot == snapshot(2, data=b"s" * 100_000)
    assert (recovered.base, recovered.batches) == (base(2), (batch(3),))


def test_a_snapshot_from_elsewhere_can_take_the_place_of_the_whole_log(open_storage: Open) -> None:
    recovered = recovered_after(
        open_storage,
        [LogAppend(0, 0, (batch(1), batch(2), batch(3, 9)))],
        [SnapshotStored(0, snapshot(7, term=2), base(7, term=2), keeps_tail=False)],
        [LogAppend(0, 7, (batch(8, term=2), batch(9, term=2)))],
        [LogAppend(0, 8, (batch(9, term=3),))],
    )
    assert recovered.snapshot == snapshot(7, term=2)
    assert recovered.batches == (batch(8, term=2), batch(9, term=3))


def test_all_behind_a_snapshot_can_be_dropped_and_written_anew(open_storage: Open) -> None:
    recovered = recovered_after(
        open_storage,
        [LogAppend(0, 0, (batch(1), batch(2), batch(3)))],
        [SnapshotStored(0, snapshot(2), base(2), keeps_tail=True)],
        [LogAppend(0, 2, (batch(3, term=2),))],
    )
    assert recovered.batches == (batch(3, term=2),)


def test_a_snapshot_and_what_follows_it_are_written_in_one(open_storage: Open) -> None:
    recovered = recovered_after(
        open_storage,
        [
            LogAppend(0, 0, (batch(1), batch(2))),
            SnapshotStored(0, snapshot(9), base(9), keeps_tail=False),
            LogAppend(0, 9, (batch(10),)),
        ],
    )
    assert (recovered.base.index, recovered.batches) == (9, (batch(10),))


@pytest.mark.parametrize(
    "wrong",
    [
        SnapshotStored(0, snapshot(9), base(1), keeps_tail=True),
        SnapshotStored(0, snapshot(1), base(2), keeps_tail=True),
        SnapshotStored(0, snapshot(1), base(2), keeps_tail=False),
    ],
)
def test_a_snapshot_of_what_is_not_there_is_an_error_of_the_caller(
    open_storage: Open, wrong: SnapshotStored
) -> None:
    storage = open_storage()
    storage.recover()
    storage.write([LogAppend(0, 0, (batch(1), batch(2)))])
    with pytest.raises(AssertionError):
        storage.write([wrong])


def test_writing_nothing_changes_nothing(open_storage: Open) -> None:
    assert recovered_after(open_storage, [], []).batches == ()


def test_nothing_is_written_before_it_is_open_or_after_it_is_closed(open_storage: Open) -> None:
    storage = open_storage()
    with pytest.raises(StorageError):
        storage.write([HardState(0, 1, ONE)])
    storage.recover()
    storage.close()
    storage.close()
    with pytest.raises(StorageError):
        storage.write([HardState(0, 1, ONE)])
    assert open_storage().recover().hard_states == ()


@st.composite
def histories(draw: st.DrawFn) -> list[list[Record]]:
    """Writes as a peer makes them: appends that keep a prefix, snapshots of a prefix and from
    elsewhere, votes and variables between them."""
    log: list[Batch] = []
    start = base(0)
    writes: list[list[Record]] = []
    for term in range(1, draw(st.integers(1, 8)) + 1):
        records: list[Record] = []
        for _ in range(draw(st.integers(0, 3))):
            log = log[: draw(st.integers(0, len(log)))]
            keep_index = log[-1].last_index if log else start.index
            added: list[Batch] = []
            for _ in range(draw(st.integers(0, 3))):
                last_index = added[-1].last_index if added else keep_index
                blob = draw(st.binary(max_size=40))
                added.append(Batch(last_index + 1, draw(st.integers(1, 9)), term, term, blob))
            log += added
            records.append(LogAppend(0, keep_index, tuple(added)))
        if draw(st.booleans()) and log:
            stays = draw(st.booleans())
            last = draw(st.sampled_from(log))
            start = LogBase(last.last_index, last.term, last.clock, (ONE,))
            if not stays:
                start = LogBase(last.last_index + 5, term, term, (TWO,))
            log = [batch for batch in log if stays and batch.index > start.index]
            taken = Snapshot(start, term, draw(st.binary(max_size=40)))
            records.append(SnapshotStored(0, taken, start, stays))
        if draw(st.booleans()):
            records.append(HardState(0, term, ONE))
        if draw(st.booleans()):
            records.append(variable(draw(st.sampled_from("ab")), term))
        writes.append(records)
    return writes


@pytest.mark.slow
@settings(max_examples=40)
@given(histories())
def test_the_disk_and_the_memory_keep_the_same(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[Record]]
) -> None:
    memory, disk = MemoryStorage(), SqliteStorage(str(tmp_path_factory.mktemp("peer") / "data"))
    kept: list[Recovered] = []
    for storage in (memory, disk):
        storage.recover()
        for records in writes:
            storage.write(records)
        storage.close()
        kept.append(storage.recover())
        storage.close()
    assert kept[0].batches == kept[1].batches
    assert (kept[0].snapshot, kept[0].base) == (kept[1].snapshot, kept[1].base)
    assert kept[0].hard_states == kept[1].hard_states
    assert kept[0].variables == kept[1].variables
