"""What the cores of one peer can be measured by, gathered for monitors. Decides nothing.

Called by `desk` alone. What the names mean stands in `mabeam_p2p/observe/catalogue.py`.
"""

from collections.abc import Iterator

from mabeam_p2p.protocol.links import Links
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.node.report import Report
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.protocol.replication import Role
from mabeam_p2p.protocol.variables import Variables
from mabeam_p2p.protocol.waits import Waits
from mabeam_p2p.records import Figure, MemberState

MICROSECONDS = 1_000_000


class Gauges:
    """Knows the cores; remembers nothing."""

    def __init__(
        self,
        *,
        links: Links,
        membership: Membership,
        pending: Pending,
        waits: Waits,
        variables: Variables,
        mail: Mail,
        report: Report,
    ) -> None:
        self._links = links
        self._membership = membership
        self._pending = pending
        self._waits = waits
        self._variables = variables
        self._mail = mail
        self._report = report

    def figures(self, now: float) -> tuple[Figure, ...]:
        """All of them, as of now."""
        return (
            *self._of_log(now),
            *self._of_leadership(now),
            *self._of_members(),
            *self._of_agents(),
            *(Figure(name, count) for name, count in self._report.machine.counts()),
        )

    def _of_log(self, now: float) -> Iterator[Figure]:
        status, replication = self._report.status(now), self._report.replication
        log, latest = replication.log, replication.snapshots.latest
        yield Figure("ready", int(status.can_serve))
        yield Figure("quorum", int(status.quorum))
        for role in Role:
            if role is not Role.PRE_CANDIDATE:  # Shown as a candidate, as everywhere.
                yield Figure("role", int(status.role == role.value), role.value)
        yield Figure("term", status.term)
        yield Figure("commit_index", status.commit_index)
        yield Figure("applied_index", status.applied_index)
        yield Figure("log_last_index", status.last_index)
        yield Figure("log_entries", status.log_entries)
        yield Figure("log_bytes", log.byte_count)
        yield Figure("snapshot_index", status.snapshot_index)
        if latest is not None:
            age = max(0, self._report.machine.clock - latest.base.clock) / MICROSECONDS
            yield Figure("snapshot_age_seconds", age)
            yield Figure("snapshot_bytes", len(latest.data))
        yield Figure("voters", len(status.voters))
        yield Figure("learners", len(status.learners))
        yield Figure("score", status.score)
        if status.disk_bytes_max:
            yield Figure("disk_used_bytes", status.disk_used_bytes)
            yield Figure("disk_limit_bytes", status.disk_bytes_max)
        yield Figure("disk_full", int(status.disk_full))

    def _of_leadership(self, now: float) -> Iterator[Figure]:
        leadership = self._report.replication.leadership
        if leadership is None:
            return
        last_index = self._report.replication.log.last_index
        yield Figure("uncommitted_bytes", leadership.held_bytes)
        for peer, progress in leadership.progress.items():
            yield Figure("follower_match_index", progress.match_index, peer)
            yield Figure("follower_inflight_bytes", progress.inflight_bytes, peer)
            # What it has not said since the election is not known, and is left out.
            if progress.match_index:
                yield Figure("follower_lag_entries", last_index - progress.match_index, peer)
            if progress.round:
                yield Figure("follower_contact_seconds", now - progress.contact, peer)

    def _of_members(self) -> Iterator[Figure]:
        membership = self._membership
        counts = dict.fromkeys(MemberState, 0)
        for member in membership.view():
            counts[member.state] += 1
        for state, count in counts.items():
            yield Figure("members", count, state.name.lower())
        yield Figure("members_unanswered", membership.unanswered_count)
        yield Figure("rumours", membership.rumour_count)
        yield Figure("health_score", membership.health.score)
        known_count, open_count, greeted_count = self._links.counts()
        yield Figure("links", known_count)
        yield Figure("links_open", open_count)
        yield Figure("addresses_greeted", greeted_count)
        dropped_count = self._links.dropped_count + self._report.replication.dropped_count
        yield Figure("messages_refused_total", dropped_count)

    def _of_agents(self) -> Iterator[Figure]:
        yield Figure("pending_commands", len(self._pending))
        yield Figure("pending_waits", len(self._waits))
        variable_count, push_count = self._variables.counts()
        yield Figure("variables", variable_count)
        yield Figure("variable_pushes", push_count)
        yield Figure("mail_refused_total", self._mail.refused_count)
