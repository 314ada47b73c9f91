"""Bits that flip in a data folder: refused with their place, or without effect; never silent."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.errors import LogCorrupt, StorageError
from mabeam_p2p.records import LogAppend, LogBase, Recovered, Snapshot, SnapshotStored
from mabeam_p2p.storage import layout, mark, recovery, sqlite, wal
from mabeam_p2p.storage.layout import DamagedRow
from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.storage.folders import FRAME_BYTES, VOTE, Folder, append, batch, transaction_ends


def outcome_of(folder: Folder) -> object:
    """What recovery finds, or None if it refuses; refusing must leave the files as they were."""
    before = folder.contents()
    try:
        return folder.recover()
    except LogCorrupt as error:
        refusal = error
    assert folder.contents() == before
    assert Path(refusal.path).parent == folder.path
    assert 0 <= refusal.offset < len(before[Path(refusal.path).name])
    return None


def flipped(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 1 << bit,)) + data[position + 1 :]


def positions(size: int, structure: Iterable[int], random: Random) -> list[int]:
    """Places to damage: all that hold structure, and some of the rest."""
    return sorted({*structure, *(random.randrange(size) for _ in range(150))})


@pytest.mark.slow
def test_a_flip_in_the_log_before_its_tail_is_refused(killed: Folder) -> None:
    whole = killed.wal.read_bytes()
    tail = transaction_ends(whole)[-2]
    heads = (offset + k for offset in range(32, tail, FRAME_BYTES) for k in range(24))
    random = Random(1)
    for position in positions(tail, (*range(32), *heads), random):
        damaged = killed.copy("damaged")
        damaged.wal.write_bytes(flipped(whole, position, random.randrange(8)))
        assert outcome_of(damaged) is None, f"byte {position} of the log"


@pytest.mark.slow
def test_a_flip_in_the_logs_tail_loses_at_most_the_last_write(killed: Folder) -> None:
    whole = killed.wal.read_bytes()
    tail = transaction_ends(whole)[-2]
    random = Random(2)
    for position in random.sample(range(tail, len(whole)), 100):
        damaged = killed.copy("damaged")
        damaged.wal.write_bytes(flipped(whole, position, random.randrange(8)))
        recovered = damaged.recover()
        assert len(recovered.batches) in (11, 12)
        assert recovered.hard_states[0].term == len(recovered.batches)


@pytest.mark.slow
def test_a_flip_in_the_database_is_refused_or_without_effect(killed: Folder) -> None:
    killed.recover()  # Closing copies the log into the database, so that nothing hides a flip.
    whole = killed.database.read_bytes()
    right = killed.copy("right").recover()
    pages = range(0, len(whole), layout.PAGE_BYTES)
    structure = (page + k for page in pages for k in range(24))
    random = Random(3)
    refused = 0
    for position in positions(len(whole), (*range(100), *structure), random):
        damaged = killed.copy("damaged")
        damaged.database.write_bytes(flipped(whole, position, random.randrange(8)))
        outcome = outcome_of(damaged)
        assert outcome in (None, right), f"byte {position} of the database"
        refused += outcome is None
    assert refused > 100


@pytest.mark.parametrize(
    ("spoil", "offset"),
    [
        (lambda data: b"", 0),
        (lambda data: b"not a database at all" * 500, 0),
        (lambda data: data[:50], 0),
        (lambda data: data[:16] + b"\x20\x00" + data[18:], 16),
        (lambda data: data[:18] + b"\x01\x01" + data[20:], 18),
        (lambda data: data.replace(b"CREATE TABLE batches", b"CREATE TABLE\xa0batches"), 0),
        (lambda data: data[: layout.PAGE_BYTES], None),
        (lambda data: data[: layout.PAGE_BYTES] + bytes(len(data) - layout.PAGE_BYTES), None),
    ],
)
def test_what_is_no_database_of_ours_is_refused(
    killed: Folder, spoil: Callable[[bytes], bytes], offset: int | None
) -> None:
    killed.recover()
    killed.wal.unlink(missing_ok=True)
    killed.database.write_bytes(spoil(killed.database.read_bytes()))
    before = killed.contents()
    with pytest.raises(LogCorrupt, match="left as it is") as caught:
        killed.recover()
    assert killed.contents() == before
    assert caught.value.path == str(killed.database)
    assert offset is None or caught.value.offset == offset


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"not a database at all" * 500,
        lambda data: data[:50],
        lambda data: data[:16] + b"\x20\x00" + data[18:],
        lambda data: data.replace(b"CREATE TABLE batches", b"CREATE TABLE\xa0batches"),
    ],
)
def test_a_database_that_is_refused_beside_its_log_leaves_that_there_and_is_marked(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """SQLite deletes the log of a database that is empty, even of one that it only reads."""
    live = Folder(tmp_path / "live")
    # What the second life writes does not touch the first page.
    for first in (1, 3):
        storage = SqliteStorage(str(live.path))
        storage.recover()
        for index in (first, first + 1):
            storage.write(append(index))
        killed = live.copy("killed")
        storage.close()
    assert killed.wal.exists()
    killed.database.write_bytes(spoil(killed.database.read_bytes()))
    before = killed.contents()
    with pytest.raises(LogCorrupt, match="left as it is"):
        killed.recover()
    assert killed.contents() == before
    assert mark.path_of(killed.database).exists()


def test_the_place_of_a_damaged_batch_is_named(killed: Folder) -> None:
    killed.recover()
    data = killed.database.read_bytes()
    place = data.index(batch(4).blob)
    killed.database.write_bytes(flipped(data, place + 90, 0))
    with pytest.raises(LogCorrupt, match="batch at index 4 has a wrong checksum") as caught:
        killed.recover()
    assert caught.value.offset == place


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM batches WHERE first_index = 5", "goes on at index 6 where 5 is next"),
        ("DELETE FROM batches WHERE first_index = 1", "goes on at index 2 where 1 is next"),
        ("DELETE FROM records WHERE name = 'identity'", "does not say whose it is"),
        ("UPDATE batches SET term = 2 WHERE first_index = 5", "index 5 has a wrong checksum"),
        ("UPDATE batches SET blob = 'text' WHERE first_index = 5", "columns of other types"),
        ("UPDATE records SET name = 'hard state 1' WHERE name = 'hard state 0'", "wrong checksum"),
        ("CREATE TABLE other (x)", "tables are not those"),
    ],
)
def test_rows_that_were_not_written_so_are_refused(
    killed: Folder, statement: str, message: str
) -> None:
    killed.recover()
    connection = sqlite.connect(recovery.uri(killed.database, "rw"))
    connection.execute(statement)
    connection.close()
    with pytest.raises(LogCorrupt, match=message):
        killed.recover()


@pytest.mark.parametrize("field", ["term", "clock"])
def test_a_term_or_clock_that_falls_is_refused(killed: Folder, field: str) -> None:
    killed.recover()
    storage = sqlite.SqliteStorage(str(killed.path))
    storage.recover()
    storage.write(append(13))
    storage.close()
    connection = sqlite.connect(recovery.uri(killed.database, "rw"))
    connection.execute(layout.DELETE_BATCHES, (12,))
    wrong = batch(13)
    fallen = layout.batch_row(
        type(wrong)(13, 1, 0 if field == "term" else 1, 1 if field == "clock" else 13, wrong.blob)
    )
    connection.execute(layout.INSERT_BATCH, fallen)
    connection.close()
    with pytest.raises(LogCorrupt, match="term or clock falls at index 13"):
        killed.recover()


def test_a_checksum_covers_every_column_of_a_batch() -> None:
    row = layout.batch_row(batch(4))
    assert layout.batch_from(row) == batch(4)
    for column in range(len(row)):
        value = row[column]
        other = value + b"!" if isinstance(value, bytes) else value + 1
        with pytest.raises(DamagedRow):
            layout.batch_from((*row[:column], other, *row[column + 1 :]))


# ---- one file without the other ----------------------------------------------------------------


def damaged_in_its_log(folder: Folder) -> bytes:
    """The log as it was. The folder has been refused once."""
    whole = folder.wal.read_bytes()
    folder.wal.write_bytes(flipped(whole, 40, 3))
    with pytest.raises(LogCorrupt) as caught:
        folder.recover()
    assert caught.value.path == str(folder.wal)
    assert f"move the whole folder {folder.path} away" in str(caught.value)
    return whole


@pytest.mark.parametrize("is_emptied", [False, True])
def test_who_moves_a_damaged_log_away_alone_does_not_start_from_what_is_left(
    killed: Folder, is_emptied: bool
) -> None:
    """Else it would be the same peer, and would have forgotten the last six writes."""
    whole = damaged_in_its_log(killed)
    killed.wal.write_bytes(b"") if is_emptied else killed.wal.unlink()
    before = killed.contents()
    for _ in range(2):
        with pytest.raises(LogCorrupt, match="its write-ahead log is gone") as caught:
            killed.recover()
        assert caught.value.path == str(killed.database)
    with pytest.raises(LogCorrupt, match="its write-ahead log is gone"):
        SqliteStorage(str(killed.path)).look()
    assert killed.contents() == before
    killed.wal.write_bytes(whole)
    for _ in range(2):  # Closing takes the log away, which is no loss.
        assert len(killed.recover().batches) == 12
    assert not killed.wal.exists()


def test_who_moves_database_and_damaged_log_away_starts_as_a_new_peer(killed: Folder) -> None:
    old = killed.copy("old").recover()
    damaged_in_its_log(killed)
    killed.wal.unlink()
    killed.database.unlink()
    new = killed.recover()
    assert new.peer != old.peer
    assert (new.epoch, new.batches) == (1, ())
    assert killed.recover().epoch == 2


def test_a_database_that_was_damaged_while_it_had_no_log_is_read_once_it_is_whole(
    killed: Folder,
) -> None:
    killed.recover()
    whole = killed.database.read_bytes()
    killed.database.write_bytes(flipped(whole, 0, 0))
    assert outcome_of(killed) is None
    killed.database.write_bytes(whole)
    assert len(killed.recover().batches) == 12


def recovered_by_the_earlier_release(folder: Folder) -> Recovered:
    """It knows no mark."""
    found = mark.path_of(folder.database)
    hidden = folder.path.parent / "hidden"
    found.rename(hidden)
    recovered = folder.recover()
    hidden.rename(found)
    return recovered


def test_a_mark_says_nothing_of_a_database_that_was_opened_in_order_since(killed: Folder) -> None:
    killed.wal.write_bytes(damaged_in_its_log(killed))
    assert len(recovered_by_the_earlier_release(killed).batches) == 12
    assert not killed.wal.exists()
    for _ in range(2):
        assert len(killed.recover().batches) == 12


def test_a_mark_says_nothing_of_the_database_of_another_peer(killed: Folder) -> None:
    damaged_in_its_log(killed)
    killed.wal.unlink()
    killed.database.unlink()
    new = recovered_by_the_earlier_release(killed)
    assert killed.recover().peer == new.peer


def test_a_database_into_which_the_whole_part_of_a_damaged_log_was_copied_is_refused(
    killed: Folder,
) -> None:
    """As another program does that opens it. It has the epoch that the log brought."""
    whole = killed.wal.read_bytes()
    killed.wal.write_bytes(flipped(whole, transaction_ends(whole)[-3] + 40, 3))
    before = killed.database.read_bytes()
    with pytest.raises(LogCorrupt, match="behind a damaged one"):
        killed.recover()
    connection = sqlite.connect(recovery.uri(killed.database, "rw"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert killed.database.read_bytes() != before
    assert not killed.wal.exists()
    with pytest.raises(LogCorrupt, match="its write-ahead log is gone"):
        killed.recover()


@pytest.mark.parametrize("content", [b"", b"no epoch\n", b"\xff\xff", b"0123456789abcdef 1"])
def test_a_mark_that_names_nothing_speaks_of_any_database(killed: Folder, content: bytes) -> None:
    killed.recover()
    mark.path_of(killed.database).write_bytes(content)
    with pytest.raises(LogCorrupt, match="its write-ahead log is gone"):
        killed.recover()


def test_a_large_folder_is_marked_without_a_name(
    killed: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "COPY_BYTES_MAX", 1)
    killed.wal.write_bytes(flipped(killed.wal.read_bytes(), 32 + 30, 0))
    with pytest.raises(LogCorrupt):
        killed.recover()
    assert mark.path_of(killed.database).read_bytes() == b""


def test_a_mark_goes_when_the_log_is_read_and_found_whole(killed: Folder) -> None:
    mark.path_of(killed.database).write_bytes(b"")
    for _ in range(2):  # Closing takes the log away.
        assert len(killed.recover().batches) == 12
    assert not mark.path_of(killed.database).exists()


def test_a_disk_that_takes_no_mark_hides_no_damage(
    killed: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touch(path: Path, mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "touch", touch)
    damaged_in_its_log(killed)


def test_a_log_without_its_database_is_refused_and_stays_as_it_is(killed: Folder) -> None:
    """Else it would be replayed over the database of a new peer."""
    killed.database.unlink()
    before = killed.contents()
    with pytest.raises(StorageError, match="is the log of a database that is gone") as caught:
        killed.recover()
    assert caught.value.path == str(killed.wal)
    assert f"move the whole folder {killed.path} away" in str(caught.value)
    assert killed.contents() == before


# ---- the log alone -------------------------------------------------------------------------------


def test_a_log_of_an_older_generation_behind_the_end_is_no_damage(tmp_path: Path) -> None:
    live = Folder(tmp_path / "live")
    storage = sqlite.SqliteStorage(str(live.path))
    storage.recover()
    for index in range(1, 21):
        storage.write(append(index))
    reader = sqlite.connect(recovery.uri(live.database, "rw"))
    reader.execute("PRAGMA wal_checkpoint(RESTART)")
    reader.close()
    older = len(live.wal.read_bytes())
    storage.write(append(21))
    assert len(live.wal.read_bytes()) == older
    left = live.copy("left")
    storage.close()
    assert len(left.recover().batches) == 21


@pytest.mark.slow
def test_no_cut_at_any_byte_of_the_last_three_writes_is_taken_for_damage(tmp_path: Path) -> None:
    """What SQLite then takes depends on the whole frames alone: `test_sqlite` looks at each."""
    live = Folder(tmp_path / "live")
    storage = sqlite.SqliteStorage(str(live.path))
    storage.recover()
    for index in range(1, 5):
        storage.write(append(index))
    whole = live.wal.read_bytes()
    storage.close()
    ends = transaction_ends(whole)
    assert len(ends) == 5
    for cut in range(ends[-4], len(whole) + 1):
        assert wal.find_damage(whole[:cut], layout.PAGE_BYTES) is None, f"cut at byte {cut}"


def test_frames_written_out_of_order_within_the_last_write_are_no_damage(killed: Folder) -> None:
    whole = killed.wal.read_bytes()
    *_, begin, end = transaction_ends(whole)
    assert end - begin >= 2 * FRAME_BYTES
    # The disk wrote the last frame of the transaction, but not its first.
    torn = whole[:begin] + bytes(FRAME_BYTES) + whole[begin + FRAME_BYTES :]
    assert wal.find_damage(torn, layout.PAGE_BYTES) is None
    killed.wal.write_bytes(torn)
    assert len(killed.recover().batches) == 11


def test_a_large_last_write_that_was_torn_is_no_damage(tmp_path: Path) -> None:
    live = Folder(tmp_path / "live")
    storage = sqlite.SqliteStorage(str(live.path))
    storage.recover()
    for index in range(1, 7):
        storage.write(append(index, size=200_000))
    storage.write([LogAppend(0, 2, ())])  # Its pages are free now, and are taken from the end.
    storage.write([record for index in range(3, 23) for record in append(index, size=300_000)])
    left = live.copy("left")
    storage.close()
    whole = left.wal.read_bytes()
    begin = transaction_ends(whole)[-2]
    left.wal.write_bytes(flipped(whole, begin + 100, 0))
    assert len(left.recover().batches) == 2


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 32 + 24, 32 + FRAME_BYTES - 1])
def test_a_log_without_a_whole_frame_is_no_damage(killed: Folder, size: int) -> None:
    assert wal.find_damage(killed.wal.read_bytes()[:size], layout.PAGE_BYTES) is None
    assert wal.find_damage(bytes(size), layout.PAGE_BYTES) is None


SNAPSHOT = Snapshot(LogBase(4, 1, 4, (VOTE,)), 7, b"the state of a machine " * 40)


@pytest.fixture
def compacted(tmp_path: Path) -> Folder:
    """A folder whose log begins behind a snapshot, closed in order."""
    folder = Folder(tmp_path / "compacted")
    storage = SqliteStorage(str(folder.path))
    storage.recover()
    for index in range(1, 7):
        storage.write(append(index))
    storage.write([SnapshotStored(0, SNAPSHOT, LogBase(2, 1, 2, (VOTE,)), keeps_tail=True)])
    storage.close()
    return folder


def test_a_corrupt_snapshot_is_refused_with_its_place_and_the_folder_untouched(
    compacted: Folder,
) -> None:
    whole = compacted.database.read_bytes()
    place = whole.find(SNAPSHOT.data[:64])
    assert compacted.copy("right").recover().snapshot == SNAPSHOT
    for position in range(place, place + len(SNAPSHOT.data), 13):
        damaged = compacted.copy("damaged")
        damaged.database.write_bytes(flipped(whole, position, position % 8))
        before = damaged.contents()
        with pytest.raises(LogCorrupt, match="the snapshot at index 4 has a wrong checksum") as at:
            damaged.recover()
        assert damaged.contents() == before
        assert at.value.offset in (0, place) or position < place + 64


def test_a_log_that_does_not_hold_the_end_of_its_snapshot_is_refused(compacted: Folder) -> None:
    """Catalogue 43: an index is believed only with the state that goes with it."""
    elsewhere = SnapshotStored(0, SNAPSHOT, LogBase(2, 1, 2, (VOTE,)), keeps_tail=True)
    row = layout.snapshot_row(replace(elsewhere, snapshot=replace(SNAPSHOT, base=LogBase(9, 1, 9))))
    with sqlite3.connect(compacted.database) as connection:
        connection.execute(layout.REPLACE_SNAPSHOT, row)
    connection.close()
    with pytest.raises(LogCorrupt, match="does not hold the end of the snapshot, index 9"):
        compacted.recover()


def test_a_folder_of_the_first_format_opens_and_gains_what_it_lacks(killed: Folder) -> None:
    old = killed.recover()
    identity = layout.Identity(1, old.peer, old.epoch, 0)
    with sqlite3.connect(killed.database) as connection:
        connection.execute("DROP TABLE snapshots")
        connection.execute(layout.REPLACE_RECORD, layout.record_row(identity))
    connection.close()
    assert killed.recover() == replace(old, epoch=old.epoch + 1)
    storage = SqliteStorage(str(killed.path))
    assert storage.recover().batches == old.batches
    storage.write([SnapshotStored(0, SNAPSHOT, SNAPSHOT.base, keeps_tail=True)])
    storage.close()
    again = killed.recover()
    assert again.snapshot == SNAPSHOT
    assert again.batches == old.batches[4:]
