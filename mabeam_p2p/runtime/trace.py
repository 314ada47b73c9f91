"""What the log says: one line for each change that an operator would ask about, none per frame."""

import logging
from typing import get_args

from mabeam_p2p.events import (
    EVENTS_LOST,
    ClusterFormed,
    Dropped,
    Event,
    HandOverBegan,
    KeysChanged,
    LeaderChanged,
    MachineEvent,
    MemberChanged,
    QuorumChanged,
    Ready,
    Refused,
    RoleChanged,
    VersionRaised,
    VotersChanged,
)
from mabeam_p2p.ids import PeerId

REPORT_INTERVAL_SECONDS = 1.0
"""A reason to drop is reported once in this time, with a count: a flood must not flood the log."""
REPORTS_MAX = 256
"""Different (source, reason) pairs that are told apart; further ones are counted together."""

_FROM_THE_LOG = frozenset(get_args(MachineEvent)) - {VotersChanged, VersionRaised, KeysChanged}
"""What the application asked for. There may be one for each command, too many for a line each."""

_log = logging.getLogger("mabeam_p2p")
_log.addHandler(logging.NullHandler())  # Silent until the application says where logs go.


def log_event(peer: PeerId, event: Event) -> None:
    if type(event) in _FROM_THE_LOG:
        return
    match event:
        case RoleChanged(role, term):
            _tell(logging.INFO, "role_changed", peer=peer, term=term, role=role)
        case LeaderChanged(leader, name, term, reason):
            facts = {"leader": leader, "name": name, "reason": reason}
            _tell(logging.INFO, "leader_changed", peer=peer, term=term, **facts)
        case MemberChanged(member):
            _tell(
                logging.INFO,
                "member_changed",
                peer=peer,
                member=member.peer,
                name=member.name,
                state=member.state.name.lower(),
                incarnation=member.incarnation,
            )
        case QuorumChanged(quorum):
            level = logging.INFO if quorum else logging.WARNING
            _tell(level, "quorum_changed", peer=peer, quorum=quorum)
        case ClusterFormed(cluster_id, voters):
            _tell(logging.INFO, "cluster_formed", peer=peer, cluster=cluster_id, voters=voters)
        case KeysChanged(index, changed, what):
            _tell(logging.INFO, "keys_changed", peer=peer, index=index, of=changed, what=what)
        case VotersChanged(index, voters, added, removed):
            changes = {"voters": voters, "added": added, "removed": removed}
            _tell(logging.INFO, "voters_changed", peer=peer, index=index, **changes)
        case VersionRaised(index, version):
            _tell(logging.INFO, "version_raised", peer=peer, index=index, version=version)
        case HandOverBegan(target, name, term, reason):
            facts = {"target": target, "name": name, "reason": reason}
            _tell(logging.INFO, "hand_over_began", peer=peer, term=term, **facts)
        case Ready():
            _tell(logging.INFO, "ready", peer=peer)
        case Refused(by, reason, detail):
            _tell(logging.WARNING, "refused", peer=peer, by=by, reason=reason, detail=detail)
        case Dropped(source, reason, detail, count):
            dropped = {"source": source, "reason": reason, "count": count, "detail": detail}
            # A peer that starts, or catches up, tells its listeners so; nothing is wrong with it.
            level = logging.INFO if reason == EVENTS_LOST else logging.WARNING
            _tell(level, "dropped", peer=peer, **dropped)
        case _:
            pass


def _tell(level: int, event: str, **facts: object) -> None:
    """One line of text; for whoever wants more than that, the event and its facts beside it."""
    if _log.isEnabledFor(level):
        # What others chose the words of stands in quotes.
        words = [f"{key}={value!r}" if key == "detail" else f"{key}={value}"
                 for key, value in facts.items()]  # fmt: skip
        text = " ".join([event, *words])
        _log.log(level, "%s", text, extra={"event": event, "facts": facts})


class DropReports:
    """Turns drops into events, at most one in REPORT_INTERVAL_SECONDS for each reason."""

    def __init__(self) -> None:
        self._next_report: dict[tuple[str, str], float] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def drop(self, source: str, reason: str, detail: str, now: float) -> Dropped | None:
        """Count one drop; the event if it is time for one."""
        key = (source, reason)
        if key not in self._counts and len(self._counts) >= REPORTS_MAX:
            key = ("", "other")
        self._counts[key] = self._counts.get(key, 0) + 1
        if now < self._next_report.get(key, now):
            return None
        self._next_report[key] = now + REPORT_INTERVAL_SECONDS
        count, self._counts[key] = self._counts[key], 0
        return Dropped(*key, detail, count)
