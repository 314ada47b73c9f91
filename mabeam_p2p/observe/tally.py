"""Counts of what a peer has told since its daemon has started, for its metrics."""

from mabeam_p2p.events import (
    EVENTS_LOST,
    AuctionClosed,
    BarrierChanged,
    Dropped,
    Event,
    HandOverBegan,
    LeaderChanged,
    MemberChanged,
    ProposalDecided,
    QuorumChanged,
    Refused,
    RoleChanged,
    TaskChanged,
)
from mabeam_p2p.observe.catalogue import COUNTED
from mabeam_p2p.records import (
    BarrierStatus,
    Figure,
    MemberState,
    ProposalStatus,
    TaskStatus,
)

LABELS_MAX = 64
"""Labels of one name, which others may have chosen; what is beyond is counted as `other`."""
OTHER = "other"

_ENDS = (TaskStatus.DONE, TaskStatus.DEAD, TaskStatus.CANCELLED)


class Tally:
    """Give it every event, in order."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        for name, metric in COUNTED.items():
            self._counts[name] = {} if metric.label else {"": 0}
        # What is known beforehand counts from 0, so that its first rise is seen.
        for name, labels in _known_labels().items():
            self._counts[name] = dict.fromkeys(labels, 0)

    def count(self, event: Event) -> None:
        match event:
            case RoleChanged(role="candidate"):
                self._add("elections_started_total")
            case RoleChanged(role="leader"):
                self._add("elections_won_total")
            case LeaderChanged(leader=str()):
                self._add("leader_changes_total")
            case QuorumChanged(quorum=False):
                self._add("quorum_losses_total")
            case HandOverBegan(reason=reason):
                self._add("hand_overs_total", reason)
            case MemberChanged(member=member):
                self._add("member_changes_total", member.state.name.lower())
            case ProposalDecided(proposal=proposal):
                self._add("ballots_total", proposal.status.name.lower())
            case BarrierChanged(generation=one) if one.status is not BarrierStatus.WAITING:
                self._add("barriers_total", one.status.name.lower())
            case TaskChanged(task=task) if task.status in _ENDS:
                self._add("tasks_total", task.status.name.lower())
            case AuctionClosed():
                self._add("auctions_total")
            case Dropped(reason=reason, count=count) if reason != EVENTS_LOST:
                self._add("dropped_total", reason, count)
            case Refused(reason=reason):
                self._add("refusals_total", reason)
            case _:
                pass

    def figures(self) -> tuple[Figure, ...]:
        return tuple(
            Figure(name, count, label)
            for name, labels in self._counts.items()
            for label, count in labels.items()
        )

    def _add(self, name: str, label: str = "", count: int = 1) -> None:
        labels = self._counts[name]
        if label not in labels and len(labels) >= LABELS_MAX:
            label = OTHER
        labels[label] = labels.get(label, 0) + count


def _known_labels() -> dict[str, list[str]]:
    statuses = [status for status in ProposalStatus if status is not ProposalStatus.OPEN]
    return {
        "hand_overs_total": ["asked", "leaving", "preferred", "caretaker"],
        "member_changes_total": [state.name.lower() for state in MemberState],
        "ballots_total": [status.name.lower() for status in statuses],
        "barriers_total": [BarrierStatus.RELEASED.name.lower(), BarrierStatus.BROKEN.name.lower()],
        "tasks_total": [status.name.lower() for status in _ENDS],
    }
