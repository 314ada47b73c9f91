"""One whole peer, and what its snapshots know of keys."""

import pytest

from mabeam_p2p.commands import Admit, AnyCommand, AppendJournal, OpenSession, SetKeys
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, SessionId
from mabeam_p2p.records import Batch
from tests.protocol.test_node import ME, Desk

SESSION = SessionId(1)
OPEN = OpenSession(SESSION, 1, AgentId("a@me"), ME, 5, (), True, True)


@pytest.mark.parametrize("taken", [0, 4], ids=["without one before", "with one before"])
def test_a_snapshot_knows_the_keys_that_peers_speak_under(taken: int) -> None:
    """Else who starts from it lets in no more whoever has got another key since, its leader too;
    nor does who starts from none, and has met that peer under its former key by then."""
    first, second = b"1" * 32, b"2" * 32
    desk = Desk(limits=Limits(snapshot_entries=taken or 100))
    snapshots = desk.node.replication.snapshots

    def commit(*said: AnyCommand) -> None:
        last_index = desk.node.replication.log.last_index
        blobs = [desk.codec.encode_commands([one]) for one in said]
        desk.append_committed(
            tuple(
                Batch(number, 1, 2, 10 * number, blob)
                for number, blob in enumerate(blobs, last_index + 1)
            )
        )

    commit(OPEN, Admit(CLUSTER_SESSION, 0, ME, first), AppendJournal(SESSION, 2, "j", b"x"))
    assert snapshots.index == taken, "as by the number of entries"
    commit(SetKeys(SESSION, 3, (first, second), ME))
    assert snapshots.index == desk.node.replication.log.last_index == 5
    commit(SetKeys(SESSION, 4, (second, first), ME), SetKeys(SESSION, 5, (second,), ME))
    assert snapshots.index == 5, "it names both"
