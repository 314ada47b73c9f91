"""One whole peer, and what its snapshots know of keys."""

from mabeam_p2p.commands import Admit, AnyCommand, AppendJournal, OpenSession, SetKeys
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, SessionId
from mabeam_p2p.records import Batch
from tests.protocol.test_node import ME, Desk

SESSION = SessionId(1)
OPEN = OpenSession(SESSION, 1, AgentId("a@me"), ME, 5, (), True, True)


def test_a_snapshot_knows_the_keys_that_peers_speak_under() -> None:
    """Else who starts from it lets in no more whoever has got another key since, its leader too."""
    first, second = b"1" * 32, b"2" * 32
    desk = Desk(limits=Limits(snapshot_entries=4))
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
    taken = snapshots.index
    assert taken == 4, "as by the number of entries"
    commit(SetKeys(SESSION, 3, (first, second), ME))
    assert snapshots.index == taken + 1
    commit(SetKeys(SESSION, 4, (second, first), ME), SetKeys(SESSION, 5, (second,), ME))
    assert snapshots.index == taken + 1, "it names both"
