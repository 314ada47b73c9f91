"""The offline repair of one data folder, for programs. What it does, protocol/replication/repair.py
says; what it may lose, docs/voters.md."""

from dataclasses import dataclass

from mabeam_p2p import assembly
from mabeam_p2p.api.results import Result
from mabeam_p2p.errors import StorageError, VotersUnchanged


@dataclass(frozen=True, slots=True)
class Repair(Result):
    """A data folder whose cluster has lost its majority, and what a repair makes of it."""

    path: str
    peer: str
    cluster_id: str
    """The cluster that the log belongs to."""
    new_cluster_id: str
    """The one that it goes on as."""
    last_index: int
    """Where this peer's log ends. What others acknowledged behind it is lost."""
    last_term: int
    term: int
    """The last term that this peer has heard of."""
    last_entry_at: float
    """Seconds since 1970 of the last entry, by the log's clock, which runs only while somebody
    leads."""
    written_at: float
    """Seconds since 1970 when the folder was last written to."""
    configuration_index: int
    voters: tuple[str, ...]
    """Who voted, this peer mostly included. The others are fenced."""
    done: bool
    """Whether it was carried out, or only looked at."""
    needed: bool
    """Whether the log waits for others. False: this peer votes alone, and leads by itself."""


def repair(data_dir: str, *, write: bool = False) -> Repair:
    """Look at the folder of a stopped peer; with `write`, make its log go on with this peer alone.

    Raises DataFolderHeld if the peer runs, LogCorrupt, and StorageError, also if there is no log of
    a cluster in it; VotersUnchanged, with `write`, if the peer votes alone already. The folder is
    then as it was.
    """
    found, written_at = assembly.repair(data_dir, write=write)
    if found is None:
        raise StorageError(
            f"{data_dir} holds no log of a cluster: nothing can go on from it. Start the peer as a "
            "new one, or repair the folder of another",
            path=data_dir,
        )
    if write and not found.is_needed:
        raise VotersUnchanged(
            f"peer {found.peer} in {data_dir} votes alone already, and leads by itself: another "
            "repair would fence all that have joined it since. Start it",
            reason="not_needed",
        )
    return Repair(
        path=data_dir,
        peer=str(found.peer),
        cluster_id=str(found.cluster_id),
        new_cluster_id=str(found.new_cluster_id),
        last_index=found.last_index,
        last_term=found.last_term,
        term=found.term,
        last_entry_at=found.clock / 1_000_000,
        written_at=written_at,
        configuration_index=found.configuration_index,
        voters=tuple(map(str, found.voters)),
        done=write,
        needed=found.is_needed,
    )
