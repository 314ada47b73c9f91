"""Every metric of a peer: its name, its kind, what it means. The one place that says so.

The name of a metric is that of the figure behind `mabeam_`; durations are in seconds, sizes in
bytes, what counts up ends in `_total` (Prometheus, naming practices). A test compares this table
with what a peer tells: neither has more than the other.
"""

from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram"]


class Metric(NamedTuple):
    name: str
    """Of the figure; with `mabeam_` before it, of the metric."""
    kind: Kind
    text: str
    label: str = ""
    """What tells several of one name apart."""


_LOG = (
    Metric("ready", "gauge", "Whether it has a quorum at present, the log, and all variables."),
    Metric("quorum", "gauge", "Whether a leader with a majority is heard, or is this peer."),
    Metric("role", "gauge", "1 for the part that the peer plays in the log.", "role"),
    Metric("term", "gauge", "The term that the peer is in."),
    Metric("commit_index", "gauge", "Last entry of the log that the peer knows committed."),
    Metric("applied_index", "gauge", "Last entry that the peer has applied."),
    Metric("log_last_index", "gauge", "Last entry that the peer has."),
    Metric("log_entries", "gauge", "Entries of the log that the peer holds."),
    Metric("log_bytes", "gauge", "Bytes of those."),
    Metric("snapshot_index", "gauge", "Last entry in the snapshot; 0 without one."),
    Metric("snapshot_age_seconds", "gauge", "By the log's clock, since the snapshot's last entry."),
    Metric("snapshot_bytes", "gauge", "Size of the snapshot."),
    Metric("voters", "gauge", "Peers that vote in the log."),
    Metric("learners", "gauge", "Peers that learn the log."),
    Metric("score", "gauge", "How fit the peer is to lead, 0 to 100."),
    Metric("disk_used_bytes", "gauge", "What the data folder holds."),
    Metric("disk_limit_bytes", "gauge", "What it may hold."),
    Metric("disk_full", "gauge", "Whether nine tenths of that are used: no commands are taken."),
)

_LEADER = (
    Metric("uncommitted_bytes", "gauge", "Commands that wait to be committed, at the leader."),
    Metric("follower_match_index", "gauge", "Last entry that a follower has for certain.", "peer"),
    Metric("follower_lag_entries", "gauge", "Entries that it is behind, once it said so.", "peer"),
    Metric("follower_inflight_bytes", "gauge", "Entries that are under way to it.", "peer"),
    Metric("follower_contact_seconds", "gauge", "Since a heartbeat that it answered.", "peer"),
)

_MEMBERS = (
    Metric("members", "gauge", "Peers of the cluster that are known, by state.", "state"),
    Metric("members_unanswered", "gauge", "Members that owe an answer to a probe."),
    Metric("rumours", "gauge", "News of members that waits to be passed on."),
    Metric("health_score", "gauge", "0 is well; more: starved of time or answers."),
    Metric("links", "gauge", "Peers that this one has met."),
    Metric("links_open", "gauge", "Links that are open."),
    Metric("addresses_greeted", "gauge", "Addresses where nobody has answered yet."),
    Metric("messages_refused_total", "counter", "Messages that broke the protocol, or were stale."),
)

_QUEUES = (
    Metric("pending_commands", "gauge", "Commands of this peer's agents that are under way."),
    Metric("pending_waits", "gauge", "Reads and waits of this peer's agents that are under way."),
    Metric("requests_waiting", "gauge", "Requests that have had no answer yet."),
    Metric("records_waiting", "gauge", "Records that wait for the disk."),
    Metric("effects_held", "gauge", "Messages and answers that wait for the disk."),
    Metric("variables", "gauge", "Variables that are held, deleted ones included."),
    Metric("variable_pushes", "gauge", "Writes of variables that not all have acknowledged."),
    Metric("mail_refused_total", "counter", "Letters turned away for want of room."),
    Metric("overloaded_total", "counter", "Requests that found a queue full."),
)

_MACHINES = (
    Metric("agents", "gauge", "Agents that live, on all peers."),
    Metric("parameters", "gauge", "Parameters that are agreed."),
    Metric("open_proposals", "gauge", "Proposals that are open."),
    Metric("open_barriers", "gauge", "Barriers that somebody waits at."),
    Metric("journals", "gauge", "Journals that are kept."),
    Metric("accounts", "gauge", "Accounts that have money."),
    Metric("budgets", "gauge", "Budgets that are set."),
    Metric("seats", "gauge", "Seats that are known."),
    Metric("locks", "gauge", "Locks that are held or waited for."),
    Metric("counters", "gauge", "Counters that are kept."),
    Metric("queues", "gauge", "Queues that are kept."),
    Metric("open_tasks", "gauge", "Tasks that are queued or worked on."),
    Metric("open_auctions", "gauge", "Auctions that are open."),
)

_SHELL = (
    Metric("frames_undecodable_total", "counter", "Frames that could not be decoded."),
    Metric("frames_misattributed_total", "counter", "Frames of another peer than they said."),
    Metric("transport_received_total", "counter", "Frames received."),
    Metric("transport_sent_total", "counter", "Frames sent."),
    Metric("transport_multipart_total", "counter", "Messages of several parts, dropped."),
    Metric("transport_muted_total", "counter", "Messages of connections that are muted."),
    Metric("transport_overrun_total", "counter", "Messages beyond one connection's room."),
    Metric("transport_refused_link_down_total", "counter", "Frames not sent: no link, or full."),
    Metric("transport_refused_too_large_total", "counter", "Frames not sent: too large."),
    Metric("transport_refused_address_total", "counter", "Addresses that were not dialled."),
    Metric("transport_refused_key_total", "counter", "Messages under a key that may not speak."),
    Metric("transport_unguarded_total", "counter", "Whether nobody checks keys any more."),
    Metric("transport_callers_cut_total", "counter", "Unproven connections that were ended."),
    Metric("transport_expired_total", "counter", "Frames that waited too long for a link."),
    Metric("lane_frames_total", "counter", "Frames made of messages, and sent."),
    Metric("lane_messages_total", "counter", "Messages sent in them."),
    Metric("lane_messages_dropped_total", "counter", "Messages that no link took."),
    Metric("lane_records_total", "counter", "Records written to the disk."),
    Metric("lane_writes_total", "counter", "Writes to the disk, each with an fsync."),
    Metric("daemon_clients", "gauge", "Connections of local clients."),
    Metric("daemon_clients_refused_total", "counter", "Connections that were refused."),
    Metric("daemon_events_dropped_total", "counter", "Events that slow clients have lost."),
    Metric("daemon_overloaded_total", "counter", "Questions beyond what one client may ask."),
    Metric("storage_write_seconds", "histogram", "Duration of a write, with its fsync."),
    Metric("commit_seconds", "histogram", "From a command of this peer's agents to its commit."),
    Metric("loop_lag_seconds", "histogram", "How late timers of the event loop are."),
)

_COUNTED = (
    Metric("elections_started_total", "counter", "Times it became a candidate, with pre-votes."),
    Metric("elections_won_total", "counter", "Times it became the leader."),
    Metric("leader_changes_total", "counter", "Leaders that this peer has come to hear."),
    Metric("quorum_losses_total", "counter", "How often the quorum was lost."),
    Metric("hand_overs_total", "counter", "Hand-overs of the lead begun by this peer.", "reason"),
    Metric("member_changes_total", "counter", "Changes of members, by what they became.", "state"),
    Metric("ballots_total", "counter", "Proposals that were decided, by how.", "status"),
    Metric("barriers_total", "counter", "Generations of barriers that ended, by how.", "status"),
    Metric("tasks_total", "counter", "Tasks that ended, by how.", "status"),
    Metric("auctions_total", "counter", "Auctions that were closed."),
    Metric("dropped_total", "counter", "What broke the protocol, by why, as the log has told it:"
           " of a burst the first, the rest with the next of its kind.", "reason"),
    Metric("refusals_total", "counter", "Refusals of this peer by others, by why.", "reason"),
)  # fmt: skip
"""Counted by `tally`, since the daemon has started."""

METRICS = {
    metric.name: metric
    for metric in (*_LOG, *_LEADER, *_MEMBERS, *_QUEUES, *_MACHINES, *_SHELL, *_COUNTED)
}
COUNTED = {metric.name: metric for metric in _COUNTED}
