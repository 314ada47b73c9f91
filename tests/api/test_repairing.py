"""The repair of a data folder, as a program asks for it."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mabeam_p2p.api.repairing import repair
from mabeam_p2p.commands import Configure
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import DataFolderHeld, LogCorrupt, StorageError, VotersUnchanged
from mabeam_p2p.ids import CLUSTER_SESSION, ClusterId, PeerId
from mabeam_p2p.records import Batch, BootstrapState, HardState, LogAppend
from mabeam_p2p.storage.sqlite import SqliteStorage
from mabeam_p2p.wire.codec import CborCodec

CLUSTER = ClusterId("c" * 32)


def folder_of_three(folder: Path) -> str:
    """A peer that has formed a cluster with two others, and has stopped."""
    storage = SqliteStorage(str(folder))
    peer = storage.recover().peer
    voters = tuple(sorted((peer, PeerId("a" * 16), PeerId("b" * 16))))
    command = Configure(CLUSTER_SESSION, 0, CLUSTER, voters)
    first = Batch(1, 1, 1, 50, CborCodec(Limits()).encode_commands([command]), voters)
    formed = BootstrapState(CLUSTER, peer, voters, (first,), True)
    storage.write((HardState(0, 1, PeerId("")), LogAppend(0, 0, (first,)), formed))
    storage.close()
    return str(folder)


def as_it_is(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Of each file, and of the folder itself, what is in it, its mode, and its last change."""
    found = {}
    for path in (folder, *folder.iterdir()):
        facts = path.stat()
        data = b"" if path.is_dir() else path.read_bytes()
        found[path.name] = (data, facts.st_mode, facts.st_mtime_ns)
    return found


def killed_folder_of_three(place: Path) -> str:
    """As `folder_of_three`, of a peer that has had no time to close its database."""
    running = SqliteStorage(folder_of_three(place / "running"))
    running.recover()
    running.write((HardState(0, 2, PeerId("")),))
    shutil.copytree(place / "running", place / "killed")
    running.close()
    assert (place / "killed" / "peer.db-wal").stat().st_size
    return str(place / "killed")


@pytest.mark.parametrize("make", [folder_of_three, killed_folder_of_three])
def test_a_folder_that_is_only_looked_at_stays_as_it_is(
    tmp_path: Path, make: Callable[[Path], str]
) -> None:
    folder = make(tmp_path)
    before = as_it_is(Path(folder))
    first, second = repair(folder), repair(folder)
    assert as_it_is(Path(folder)) == before
    assert first == second
    assert (first.needed, first.done, len(first.voters)) == (True, False, 3)
    assert first.cluster_id == second.cluster_id == CLUSTER
    assert first.new_cluster_id == second.new_cluster_id != CLUSTER


def test_what_a_killed_peer_has_written_is_seen_without_its_folder_being_mended(
    tmp_path: Path,
) -> None:
    assert repair(killed_folder_of_three(tmp_path)).term == 2


def test_a_folder_in_use_is_not_looked_at_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    folder = folder_of_three(tmp_path)
    holder = SqliteStorage(folder)
    holder.recover()
    with pytest.raises(DataFolderHeld):
        repair(folder)
    holder.close()
    database = tmp_path / "peer.db"
    data = bytearray(database.read_bytes())
    data[data.index(b"c" * 32)] ^= 1
    database.write_bytes(data)
    with pytest.raises(LogCorrupt) as raised:
        repair(folder)
    assert raised.value.path == str(database)


def test_who_has_no_room_for_what_is_read_is_told_where_to_make_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of_three(tmp_path)

    def on_a_full_disk(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source, None, target)

    monkeypatch.setattr(shutil, "copyfile", on_a_full_disk)
    with pytest.raises(StorageError, match="name another folder with TMPDIR") as raised:
        repair(folder)
    assert raised.value.is_full


def test_a_copy_of_a_folder_is_looked_at_though_it_has_no_lock(tmp_path: Path) -> None:
    folder = folder_of_three(tmp_path)
    (tmp_path / "lock").unlink()
    assert repair(folder).needed
    assert not (tmp_path / "lock").exists()


def test_who_votes_alone_is_not_repaired_again_and_fences_nobody_who_has_joined_it(
    tmp_path: Path,
) -> None:
    folder = folder_of_three(tmp_path)
    done = repair(folder, write=True)
    with pytest.raises(VotersUnchanged, match="votes alone already") as raised:
        repair(folder, write=True)
    assert raised.value.reason == "not_needed"
    seen = repair(folder)
    assert (seen.needed, seen.voters) == (False, (done.peer,))
    assert (seen.cluster_id, seen.last_index) == (done.new_cluster_id, done.last_index + 1)
