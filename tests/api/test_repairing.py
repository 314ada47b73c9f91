"""The repair of a data folder, as a program asks for it."""

from pathlib import Path

import pytest

from mabeam_p2p.api.repairing import repair
from mabeam_p2p.commands import Configure
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import VotersUnchanged
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


def test_a_folder_that_is_only_looked_at_stays_as_it_is(tmp_path: Path) -> None:
    folder = folder_of_three(tmp_path)
    first, second = repair(folder), repair(folder)
    assert (first.needed, first.done, len(first.voters)) == (True, False, 3)
    assert first.cluster_id == second.cluster_id == CLUSTER
    assert first.new_cluster_id == second.new_cluster_id != CLUSTER


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
