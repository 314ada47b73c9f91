"""An acknowledgement is of what the disk holds, for this index and this term."""

from mabeam_p2p.messages import AppendEntries, AppendReply
from mabeam_p2p.records import Batch
from tests.protocol.raft_world import A, B, C, World, written


def entry(index: int, term: int) -> Batch:
    return Batch(index, 1, term, term, b"%d.%d" % (index, term))


def test_a_late_write_of_a_replaced_entry_acknowledges_nothing() -> None:
    """A, B, A: an entry is appended in term 2, replaced in term 3, and in term 4 the same index is
    taken again, while the disk is still at the first of them."""
    world = World(3, logs=dict.fromkeys((A, B, C), written(1)))
    world[A].is_slow = True
    world.hear(B, A, AppendEntries(0, 2, 1, 1, 1, (entry(2, 2),)))
    first = list(world[A].unwritten)
    world.hear(C, A, AppendEntries(0, 3, 1, 1, 1, (entry(2, 3),)))
    world.hear(B, A, AppendEntries(0, 4, 1, 1, 1, (entry(2, 4), entry(3, 4))))
    assert world.under_way(AppendReply, A) == [], "nothing is on the disk yet"
    # The disk reports the writes of term 2, and no more.
    for persist in first:
        world[A].disk.write(persist.record)
    world[A].unwritten = world[A].unwritten[len(first) :]
    world.act(A, lambda core: core.stored(first[-1].number))
    assert world.under_way(AppendReply, A) == [], "what is there is of term 2"
    world.write(A)
    replies = [parcel.message for parcel in world.under_way(AppendReply, A, B)]
    told = [(r.term, r.match_index) for r in replies if isinstance(r, AppendReply) and r.success]
    assert (4, 3) in told
    assert world[A].disk.holds(3, 4)
    # The answer to term 2 says so; whoever leads term 4 counts it for nothing.
    assert [term for term, _ in told if term != 4] == [2]
