"""Whose log it is, and who votes in it, as of the last applied entry.

Raft takes the voters from the batches themselves, as soon as they stand in the log; the machine
keeps what is committed of them, for snapshots and for whoever asks.

Rules
1. The first configuration names the cluster. Another name follows only where the log itself was
   repaired after the loss of a majority (docs/guarantees.md), and says which one it goes on from.
2. The machine version by which the log is applied begins with the first configuration and is raised
   by RaiseVersion, alone and for ever. With version 2 the limits by which it is applied are told.
3. A Configure counts only in a batch that names the same voters: those are made by leaders, and by
   the repair, alone. In any other batch it was put there by somebody who may not.
"""

from msgspec import Struct

from mabeam_p2p.commands import Configure, RaiseVersion
from mabeam_p2p.events import MachineEvent, VersionRaised, VotersChanged
from mabeam_p2p.ids import ClusterId, PeerId, is_name, is_peer_id
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.requests import Outcome, Refused

BARRED_MAX = 64
"""Peers that are kept out of the voters by command; of more, those barred last."""
ANCESTORS_MAX = 16
"""Clusters that the log was repaired from that are remembered; of more, the last ones."""


class ConfigurationState(Struct, frozen=True, array_like=True):
    cluster_id: ClusterId
    index: int
    voters: tuple[PeerId, ...]
    barred: tuple[PeerId, ...]
    ancestors: tuple[ClusterId, ...]
    ignored_count: int
    version: int = 1
    rules: int = 0


class Configuration:
    """The committed configuration."""

    def __init__(self, events: list[MachineEvent]) -> None:
        self.cluster_id = ClusterId("")
        self.index = 0
        """Of the entry that the voters stand in."""
        self.voters: tuple[PeerId, ...] = ()
        """Sorted."""
        self.barred: tuple[PeerId, ...] = ()
        """Peers that a command took out of the voters: they stay learners until another one
        promotes them. In order of their barring."""
        self.ancestors: tuple[ClusterId, ...] = ()
        """Ids that the cluster had before its log was repaired, oldest first."""
        self.ignored_count = 0
        """Configure commands that were refused."""
        self.version = 1
        """The machine version by which the log is applied."""
        self.rules = 0
        """A hash of the limits by which it is; 0: the log does not say."""
        self._events = events

    def apply(self, entry: Entry, command: Configure, voters: tuple[PeerId, ...]) -> Outcome:
        """voters: of the batch that holds the command."""
        usable = (
            is_name(command.cluster_id)
            and bool(voters)
            and tuple(sorted(command.voters)) == voters
            and all(map(is_peer_id, (*voters, *command.barred)))
            and len(dict.fromkeys(voters)) == len(voters)
        )
        known = self.cluster_id
        goes_on = bool(known) and command.repaired == known != command.cluster_id
        if not usable or (known and command.cluster_id != known and not goes_on):
            self.ignored_count += 1
            return Refused("invalid", f"this is cluster {known or 'none'}")
        if not known and command.version > 1:
            self.version, self.rules = command.version, command.rules
        if goes_on:
            self.ancestors = (*self.ancestors, known)[-ANCESTORS_MAX:]
        added = tuple(voter for voter in voters if voter not in self.voters)
        removed = tuple(voter for voter in self.voters if voter not in voters)
        self.cluster_id, self.index, self.voters = command.cluster_id, entry.index, voters
        self.barred = command.barred[-BARRED_MAX:]
        self._events.append(VotersChanged(entry.index, voters, added, removed))
        return entry.committed()

    def raise_version(self, entry: Entry, command: RaiseVersion) -> Outcome:
        """Of versions that this machine has: its owner has seen to that."""
        if command.version <= self.version:
            return Refused("stale_version", f"the log is applied by version {self.version}")
        self.version, self.rules = command.version, command.rules
        self._events.append(VersionRaised(entry.index, command.version))
        return entry.committed()

    def state(self) -> ConfigurationState:
        return ConfigurationState(
            cluster_id=self.cluster_id,
            index=self.index,
            voters=self.voters,
            barred=self.barred,
            ancestors=self.ancestors,
            ignored_count=self.ignored_count,
            version=self.version,
            rules=self.rules,
        )

    def load(self, state: ConfigurationState) -> None:
        self.cluster_id = state.cluster_id
        self.index = state.index
        self.voters = state.voters
        self.barred = state.barred
        self.ancestors = state.ancestors
        self.ignored_count = state.ignored_count
        self.version = state.version
        self.rules = state.rules
