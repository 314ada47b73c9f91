"""The log of elections: who has led, who was elected, and what the quorum and the voters did. As
this daemon has seen it since it started; times are of this host's clock."""

from collections import deque
from collections.abc import Callable

from mabeam_p2p.dashboard.fitting import Row, cut
from mabeam_p2p.events import (
    ClusterFormed,
    ElectionEnded,
    ElectionOpened,
    Event,
    HandOverBegan,
    LeaderChanged,
    QuorumChanged,
    RoleChanged,
    SeatChanged,
    VotersChanged,
)
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import ElectionStatus

ENTRIES_MAX = 200

ELECTED = "elected"
"""Why a seat is held after an election, whose end tells the same."""


class History:
    """name_of: what a peer is called. wall: seconds since 1970."""

    def __init__(
        self, name_of: Callable[[PeerId], str], wall: Callable[[], float], *, own_name: str
    ) -> None:
        self._name_of = name_of
        self._wall = wall
        self._own_name = own_name
        self._number = 0
        self._entries: deque[Row] = deque(maxlen=ENTRIES_MAX)

    def on_event(self, event: Event) -> bool:
        """Note what the event tells of elections; whether it does."""
        told = self._told(event)
        if told is None:
            return False
        self.note(*told)
        return True

    def note(self, kind: str, text: str) -> None:
        """kind: leader, role, quorum, voters, seat."""
        self._number += 1
        entry = {"id": self._number, "when": round(self._wall(), 3), "kind": kind, "text": text}
        self._entries.appendleft(entry)

    def entries(self) -> dict[str, object]:
        """The latest first."""
        return {"shown": list(self._entries), "count": self._number}

    def _told(self, event: Event) -> tuple[str, str] | None:
        match event:
            case LeaderChanged(leader=None, term=term):
                return "leader", f"No leader is heard (term {term})"
            case LeaderChanged(leader=leader, leader_name=name, term=term):
                return "leader", f"{name or leader} leads in term {term}"
            case RoleChanged(role=role, term=term):
                part = "has no part in the log" if role == "none" else f"is {role}"
                return "role", f"{self._own_name} {part} (term {term})"
            case QuorumChanged(quorum=True):
                return "quorum", "A majority of the voters is reached"
            case QuorumChanged():
                return "quorum", "The majority of the voters is lost"
            case HandOverBegan(target_name=name, target=target, reason=reason):
                return "leader", f"Leadership is handed to {name or target} ({reason})"
            case ClusterFormed(voters=voters):
                return "voters", f"The cluster has formed: {self._names(voters)} vote"
            case VotersChanged():
                return "voters", self._voters(event)
            case SeatChanged(seat=seat) if seat.reason != ELECTED:
                held = f"is held by {seat.holder}" if seat.holder else "is vacant"
                return "seat", cut(f"Seat {seat.name} {held} ({seat.reason})")
            case ElectionOpened(election=election):
                count = len(election.candidates)
                return "seat", cut(f"Seat {election.seat}: an election of {count} candidates opens")
            case ElectionEnded(election=election):
                elected = election.status is ElectionStatus.ELECTED
                end = f"{election.winner} is elected" if elected else "nobody is elected"
                return "seat", cut(f"Seat {election.seat}: {end} ({election.reason})")
            case _:
                # Nothing else is about who leads or is elected.
                return None

    def _voters(self, event: VotersChanged) -> str:
        changes = []
        if event.added:
            changes.append(f"{self._names(event.added)} added")
        if event.removed:
            changes.append(f"{self._names(event.removed)} removed")
        return f"Voters are {self._names(event.voters)} ({', '.join(changes) or 'as before'})"

    def _names(self, peers: tuple[PeerId, ...]) -> str:
        return ", ".join(self._name_of(peer) or peer for peer in peers)
