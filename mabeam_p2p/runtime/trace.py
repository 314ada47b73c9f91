"""What the log says: one line for each change that an operator would ask about, none per frame."""

import logging
from typing import get_args

from mabeam_p2p.events import (
    ClusterFormed,
    Dropped,
    Event,
    HandOverBegan,
    LeaderChanged,
    MachineEvent,
    MemberChanged,
    QuorumChanged,
    Ready,
    Refused,
    RoleChanged,
    VotersChanged,
)
from mabeam_p2p.ids import PeerId

REPORT_INTERVAL_SECONDS = 1.0
"""A reason to drop is reported once in this time, with a count: a flood must not flood the log."""
REPORTS_MAX = 256
"""Different (source, reason) pairs that are told apart; further ones are counted together."""

_FROM_THE_LOG = frozenset(get_args(MachineEvent)) - {VotersChanged}
"""What the application asked for. There may be one for each command, too many for a line each."""

_log = logging.getLogger("mabeam_p2p")
_log.addHandler(logging.NullHandler())  # Silent until the application says where logs go.


def log_event(peer: PeerId, event: Event) -> None:
    if type(event) in _FROM_THE_LOG:
        return
    match event:
        case RoleChanged(role, term):
            _log.info("role_changed peer=%s term=%d role=%s", peer, term, role)
        case LeaderChanged(leader, name, term, reason):
            _log.info(
                "leader_changed peer=%s term=%d leader=%s name=%s reason=%s",
                peer, term, leader, name, reason,
            )  # fmt: skip
        case MemberChanged(member):
            _log.info(
                "member_changed peer=%s member=%s name=%s state=%s incarnation=%d",
                peer, member.peer, member.name, member.state.name.lower(), member.incarnation,
            )  # fmt: skip
        case QuorumChanged(quorum):
            _log.log(
                logging.INFO if quorum else logging.WARNING,
                "quorum_changed peer=%s quorum=%s", peer, quorum,
            )  # fmt: skip
        case ClusterFormed(cluster_id, voters):
            _log.info("cluster_formed peer=%s cluster=%s voters=%s", peer, cluster_id, voters)
        case VotersChanged(index, voters, added, removed):
            _log.info(
                "voters_changed peer=%s index=%d voters=%s added=%s removed=%s",
                peer, index, voters, added, removed,
            )  # fmt: skip
        case HandOverBegan(target, name, term, reason):
            _log.info(
                "hand_over_began peer=%s term=%d target=%s name=%s reason=%s",
                peer, term, target, name, reason,
            )  # fmt: skip
        case Ready():
            _log.info("ready peer=%s", peer)
        case Refused(by, reason, detail):
            _log.warning("refused peer=%s by=%s reason=%s detail=%r", peer, by, reason, detail)
        case Dropped(source, reason, detail, count):
            _log.warning(
                "dropped peer=%s source=%s reason=%s count=%d detail=%r",
                peer, source, reason, count, detail,
            )  # fmt: skip
        case _:
            pass


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
