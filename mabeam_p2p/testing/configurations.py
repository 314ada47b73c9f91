"""I11, of the configurations in the log: no leader changes the voters before an entry of its own
term is committed, nor while a change is uncommitted, nor by more than one voter (Raft thesis
chapter 4).

Judged when a batch goes to a disk, against what the claims of all peers have proved to
be committed, and never against what the leader believes.
"""

from collections.abc import Iterable

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Batch
from mabeam_p2p.testing.disk import LogView


class ConfigurationFault(Exception):
    """What is wrong with a configuration."""


def judge(
    batch: Batch, previous: Batch, committed: LogView, own_committed_index: int | None
) -> None:
    """The configuration `batch` is appended where `previous` is the one before.
    own_committed_index: of the last entry that was committed in its term, or None. Raises
    ConfigurationFault."""
    if batch.count != 1:
        raise ConfigurationFault(f"a configuration shares its batch: {batch}")
    if own_committed_index is None:
        raise ConfigurationFault(f"nothing of term {batch.term} is committed before {batch}")
    if committed.last_index < previous.index or committed.term_at(previous.index) != previous.term:
        raise ConfigurationFault(f"{previous} is not committed before {batch}")
    changed = [voter for voter in batch.voters if voter not in previous.voters]
    changed += [voter for voter in previous.voters if voter not in batch.voters]
    if len(changed) != 1:
        raise ConfigurationFault(f"{changed} change at once: {previous.voters} to {batch.voters}")


def in_effect(logs: Iterable[LogView], committed: LogView) -> list[tuple[PeerId, ...]]:
    """The voters of every configuration that may be in effect: the last committed one, and each
    later one in any of the `logs`, for nobody knows yet whether it is committed."""
    last = committed.configurations[-1:]
    later = [
        configuration.voters
        for log in logs
        for configuration in log.configurations
        if not last or configuration.index > last[0].index
    ]
    return list(dict.fromkeys([*(configuration.voters for configuration in last), *later]))


def without_leavers(
    effective: list[tuple[PeerId, ...]], leavers: Iterable[PeerId]
) -> list[tuple[PeerId, ...]]:
    """Also those that may be about to be in effect, because one of the `leavers` has said goodbye
    and a leader has heard enough of the others a moment ago."""
    gone = dict.fromkeys(leavers)
    smaller = [
        tuple(voter for voter in voters if voter != leaver)
        for voters in effective
        for leaver in voters
        if leaver in gone
    ]
    return list(dict.fromkeys([*effective, *smaller]))


def can_lose(victim: PeerId, lost: Iterable[PeerId], effective: list[tuple[PeerId, ...]]) -> bool:
    """Whether a majority of each of the `effective` configurations keeps its disks when `victim`
    loses its own. No protocol survives more."""
    gone = dict.fromkeys((*lost, victim))
    return bool(effective) and all(
        2 * sum(voter in gone for voter in voters) < len(voters) for voters in effective
    )


def is_core(peers: Iterable[PeerId], effective: list[tuple[PeerId, ...]]) -> bool:
    """Whether `peers` are a majority of each of the `effective` configurations: enough for
    progress."""
    here = dict.fromkeys(peers)
    return bool(effective) and all(
        2 * sum(voter in here for voter in voters) > len(voters) for voters in effective
    )
