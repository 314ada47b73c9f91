"""The repair of a log whose majority is lost for ever: one peer goes on alone, under a new cluster
id. Offline, by an operator's decision; what it may lose, `Assessment` says.

Rules
1. The log stays as it is, and one configuration is appended that names this peer alone. It is in
   effect from its append on, as every other (Raft thesis §4.1); no majority of the voters before
   has agreed to it, which is the whole difference.
2. The cluster gets another id, derived from the old one and from where the log ends, and the log
   says which one it goes on from. Peers of the old id are strangers from then on: they neither
   vote, nor are they voted for, and no batch of one log ever comes into the other.
3. All of it is one write: the repair is there, or it is not.
4. Who votes alone already is not repaired. It would change nothing but the id, and fence all that
   have joined since.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

from msgspec import Struct

from mabeam_p2p.commands import AnyCommand, Configure
from mabeam_p2p.ids import CLUSTER_SESSION, NOBODY, ClusterId, PeerId
from mabeam_p2p.protocol.log import Log
from mabeam_p2p.records import Batch, BootstrapState, HardState, LogAppend, Record, Recovered


class Assessment(Struct, frozen=True):
    """What one data folder knows, before anything is changed."""

    peer: PeerId
    cluster_id: ClusterId
    term: int
    """The last one that this peer has heard of."""
    last_index: int
    last_term: int
    clock: int
    """Stamp of the last entry, by the log's clock in microseconds."""
    configuration_index: int
    voters: tuple[PeerId, ...]
    new_cluster_id: ClusterId
    """The id under which the log would go on."""

    @property
    def is_needed(self) -> bool:
        """Whether the log waits for others. False: this peer votes alone, and leads by itself."""
        return self.voters != (self.peer,)


def assess(recovered: Recovered) -> Assessment | None:
    """None: the folder has no log of a formed cluster, and nothing to go on with."""
    log, bootstrap = Log(recovered.batches, recovered.base), recovered.bootstrap
    if bootstrap is None or not bootstrap.formed or not log.last_index or not log.voters:
        return None
    states = [state for state in recovered.hard_states if state.log == 0]
    term = max([log.last_term, *(state.term for state in states)])
    origin = f"{bootstrap.cluster_id} {log.last_index} {term} {recovered.peer}"
    return Assessment(
        peer=recovered.peer,
        cluster_id=bootstrap.cluster_id,
        term=term,
        last_index=log.last_index,
        last_term=log.last_term,
        clock=log.last_clock,
        configuration_index=log.configuration_index,
        voters=log.voters,
        new_cluster_id=ClusterId(blake2b(origin.encode(), digest_size=16).hexdigest()),
    )


def repair(
    found: Assessment, encode: Callable[[Sequence[AnyCommand]], bytes]
) -> tuple[Record, ...]:
    """What is to be written, in one write, into the folder of which `found` was said."""
    alone, cluster = (found.peer,), found.new_cluster_id
    command = Configure(CLUSTER_SESSION, 0, cluster, alone, (), found.cluster_id)
    term = found.term + 1
    batch = Batch(found.last_index + 1, 1, term, found.clock, encode([command]), alone)
    return (
        HardState(0, term, NOBODY),
        LogAppend(0, found.last_index, (batch,)),
        BootstrapState(cluster, found.peer, alone, (), True),
    )
