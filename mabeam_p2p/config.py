"""What can be set, with every limit of the house. Values only: where they come from is read in
`mabeam_p2p.api.settings`."""

from msgspec import Struct

PROTOCOL_VERSION = 1
"""The latest version of frames between peers that this release speaks."""
PROTOCOL_VERSION_MIN = 1
"""The earliest. Two peers speak the latest that both do; without one they refuse each other."""

JOIN_VERSION = 1
"""Of introductions: one version, and no other. Two releases meet there before they can say which
frames they have in common, so that it is none of the frames' business."""

BULK_VERSION = 1
"""Of frames that carry arrays between processes: one version, and no other."""

MACHINE_VERSION = 2
"""What the log means: peers at one index of it are equal only if they apply it by the same version.
Whoever changes what a command comes to, or what a snapshot holds, raises it."""

SERVICE_TYPE = "_mabeam._tcp.local."
"""DNS-SD type that peers publish (RFC 6763)."""


class Timing(Struct, frozen=True, forbid_unknown_fields=True):
    """Durations in seconds. Raft's condition is broadcast time << election timeout (Raft §5.6)."""

    heartbeat_seconds: float = 0.1
    """Leader's heartbeat; at most half of the election timeout, better a third or less."""
    election_timeout_seconds: float = 0.4
    """Silence of the leader after which it counts as lost, and, without its quorum, steps down."""
    candidacy_step_seconds: float = 0.08
    """What each place in the bully order waits longer than the place before it."""
    preference_dwell_seconds: float = 10.0
    """How long another peer is above the leader by `preference_margin` before it is preferred."""
    preference_interval_seconds: float = 60.0
    """Leadership goes to a preferred peer at most once in this time."""
    score_interval_seconds: float = 1.0
    """A function that says how fit a peer is to lead is asked this often."""
    append_timeout_seconds: float = 0.5
    """Unacknowledged appends are sent again after this long."""
    forward_timeout_seconds: float = 0.5
    """A command that was forwarded and did not come back committed is sent again after this."""
    no_quorum_seconds: float = 1.0
    """A command that finds no leader for this long fails with NoQuorum. Two election timeouts may
    lie before: a leader's that has lost its quorum, and a follower's that has heard it until
    then. All three together stay within the two seconds that docs/guarantees.md promises."""
    probe_interval_seconds: float = 0.25
    """One member is probed in this time; by a voter, every other voter, too. What waits for an
    answer is asked again."""
    suspect_seconds: float = 1.2
    """A member that answered nothing, neither directly nor by way of others, for this long is
    suspect. A peer that is not well itself waits longer, up to nine times."""
    dead_seconds: float = 3.0
    """A member that is silent for this long is dead, in a cluster of ten or fewer, if the others
    suspect it, too. In a larger one the time after suspicion grows by log10 of the size."""
    voter_grace_seconds: float = 60.0
    """A voter that is dead and has answered its leader nothing for this long is replaced."""
    voter_change_seconds: float = 1.0
    """The leader changes the voters by itself no more often than once in this time."""
    dead_retention_seconds: float = 60.0
    """How long who is dead or has left stays in the table. Afterwards its identity is remembered,
    so that no old record brings it back, and its address, so that it is looked for."""
    sync_interval_seconds: float = 1.0
    """A part of the table is exchanged with one random member in this time."""
    link_idle_seconds: float = 15.0
    """A link over which nothing was sent for this long is closed, if more than a few are open."""
    departure_grace_seconds: float = 2.0
    """How long after its death the agents of a peer keep what they hold."""
    restart_grace_seconds: float = 5.0
    """How long after its peer has restarted an agent may come back to what it held. As good as
    every client of a daemon is back within a second; a busy machine takes longer."""
    relay_window_seconds: float = 0.01
    """A section's coordinator passes reports on no more often than this."""
    greet_interval_seconds: float = 0.3
    """An address that does not answer is greeted again after this, doubling up to the maximum."""
    greet_interval_seconds_max: float = 3.0
    gossip_interval_seconds: float = 1.0
    """Digests of variables are compared with one random member in this time."""
    push_timeout_seconds: float = 0.3
    """A variable update that was not acknowledged is sent again after this, doubling."""
    tombstone_seconds: float = 600.0
    """A deleted variable is remembered for this long at least, and so is a writer that has gone.
    Nothing that is right depends on it."""
    retire_seconds: float = 86_400.0
    """A writer that has been gone for this long is not waited for any more: what it wrote last,
    and has told nobody, is given up (docs/variables.md)."""
    request_timeout_seconds: float = 30.0
    """The deadline of a request that names none."""
    proposal_timeout_seconds: float = 30.0
    barrier_timeout_seconds: float = 30.0
    auction_timeout_seconds: float = 30.0
    reveal_timeout_seconds: float = 10.0
    """How long sealed bids can be revealed once bidding has ended."""
    mail_seconds: float = 5.0
    """How long the sender of a letter waits for receipts, or answers, unless it says."""
    election_seconds: float = 15.0
    """How long an election for a seat may take."""
    lock_timeout_seconds: float = 30.0
    """How long a lock, or an item of a queue, is waited for if nothing else is said."""
    task_lease_seconds: float = 6.0
    """A worker that says nothing for this long loses what it works on. It speaks three times as
    often."""
    task_backoff_seconds: float = 0.2
    """Pause before the first new attempt at a task that failed, doubling."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Every queue, frame, batch, name and table has its bound here. What the log comes to depends
    on them: all peers of a cluster need the same, from its first entry on."""

    value_bytes_max: int = 65_536
    """One parameter, variable or journal item, encoded."""
    rationale_bytes_max: int = 2_048
    metadata_bytes_max: int = 4_096
    frame_bytes_max: int = 4 * 1024 * 1024
    """One frame between peers (also ZMQ MAXMSGSIZE)."""
    frame_messages_max: int = 4_096
    batch_bytes_max: int = 1024 * 1024
    """One batch of the log; a single command may not exceed it either."""
    batch_commands_max: int = 8_192
    append_bytes_max: int = 2 * 1024 * 1024
    """Batches in one AppendEntries, together."""
    append_batches_max: int = 64
    """Batches in one AppendEntries."""
    inflight_appends_max: int = 64
    """AppendEntries on the way to one follower (Raft thesis §10.2.1)."""
    inflight_bytes_max: int = 8 * 1024 * 1024
    """Batches on the way to one follower, together; at least one AppendEntries is."""
    snapshot_entries: int = 50_000
    """A snapshot is taken once so many entries stand behind the last one. Of 100,000 objects one
    costs about 0.1 s. Where their commands take less than a quarter of that snapshot's size it
    waits until they do, up to eight times as many entries."""
    snapshot_bytes: int = 64 * 1024 * 1024
    """The same, in bytes of commands."""
    snapshot_bytes_max: int = 1024 * 1024 * 1024
    """A snapshot that another peer sends may not be larger."""
    snapshot_chunk_bytes: int = 256 * 1024
    """Snapshots travel in pieces of this size, one at a time to each follower."""
    data_bytes_max: int = 0
    """What the data folder may hold; 0: as much as the disk does. Of the leader's nine tenths
    full, nothing more is proposed but what keeps leases."""
    log_trailing_entries: int = 10_000
    """Entries before a snapshot that stay in the log, so that a follower which is as little behind
    needs no snapshot. Fewer, if they take more than a quarter of snapshot_bytes."""
    uncommitted_bytes_max: int = 64 * 1024 * 1024
    """What a leader holds uncommitted, or unwritten, before it answers Overloaded."""
    pending_requests_max: int = 65_536
    """Requests that one peer has under way."""
    relay_from_peers: int = 32
    """Live members from which on reports go by way of coordinators (docs/hierarchy.md)."""
    relay_bytes_max: int = 8 * 1024 * 1024
    """What a coordinator holds of its section's commands before it refuses more."""
    members_max: int = 1_024
    forgotten_max: int = 4_096
    """Members that the table has forgotten whose old records are still known for what they are."""
    rumours_max: int = 1_024
    """News of members that wait to be passed on."""
    rumours_per_message_max: int = 8
    """Passed on with one probe, request or answer: 0.6 kB at most."""
    rumours_per_interval_max: int = 64
    """Passed on in one probe interval, with all messages together: 20 kB a second at most."""
    sync_members_max: int = 16
    """Records of the table in one exchange; a newcomer is told all, in messages of so many."""
    indirect_probes: int = 3
    """Members that are asked to ask one that does not answer."""
    links_kept: int = 32
    """Links that stay open, however idle."""
    greet_at_once_max: int = 16
    """In a larger cluster addresses are greeted after a random time, for news travels by gossip."""
    candidates_max: int = 256
    """Addresses that discovery suggested and that are not members yet."""
    agents_per_peer_max: int = 1_024
    sessions_max: int = 16_384
    session_window: int = 4_096
    """Sequence numbers of one session whose outcomes are remembered."""
    open_proposals_max: int = 1_024
    closed_proposals_max: int = 1_024
    open_barriers_max: int = 4_096
    closed_generations_max: int = 64
    """Finished generations remembered for each barrier."""
    closed_barriers_max: int = 4_096
    barrier_parties_max: int = 4_096
    barrier_members_max: int = 1_024
    """Parties of one barrier that can be named."""
    barrier_note_bytes_max: int = 1_024
    """What one party tells the others by arriving."""
    journals_max: int = 4_096
    journal_items_max: int = 4_096
    """Items kept of one journal; older ones leave at the front, unless it holds them for good."""
    journal_page_bytes_max: int = 4 * 1024 * 1024
    """Items of a journal in one answer, together; at least one is given."""
    currencies_max: int = 1_024
    accounts_max: int = 65_536
    """Accounts that have money, of all currencies together."""
    holds_max: int = 16_384
    operations_max: int = 16_384
    """Operations of the ledger that are remembered: one that comes again after so many others is
    another one."""
    movements_max: int = 4_096
    """Movements of the ledger that can be looked up."""
    budgets_max: int = 4_096
    budget_depth_max: int = 8
    reservations_max: int = 16_384
    """Reservations that stand; and as many that were spent are remembered, for who asks again."""
    deals_max: int = 16_384
    """Deals that can be rated; older ones cannot."""
    reputations_max: int = 65_536
    locks_max: int = 16_384
    """Names that are held or waited for."""
    claims_max: int = 65_536
    """On all locks together, and on all queues together: held or waiting."""
    counters_max: int = 65_536
    queues_max: int = 4_096
    queue_items_max: int = 4_096
    """Items of one queue, taken ones included."""
    spread_from_peers: int = 32
    """Live members from which on a write of variables travels down a tree, and acknowledgements up
    (docs/variables.md)."""
    spread_fanout: int = 8
    """Members to which one peer passes such a write on."""
    variables_max: int = 100_000
    siblings_max: int = 64
    digest_entries_max: int = 4_096
    """Digest entries in one message."""
    push_bytes_max: int = 262_144
    """Variables in one message; a single variable with all its siblings may not exceed it."""
    pushes_pending_max: int = 4_096
    """Writes of variables that members have yet to acknowledge."""
    bulk_bytes_max: int = 4 * 1024 * 1024 * 1024
    """What one exchange of bulk data may move to one agent."""
    bulk_chunk_bytes: int = 1024 * 1024
    """Bulk data travels in pieces of this size. All parties need the same."""
    bulk_exchanges_max: int = 64
    """Exchanges of bulk data that one process has under way."""
    bulk_ranges_max: int = 1_024
    """Runs of chunks that one message asks for."""
    events_pending_max: int = 8_192
    """Events that wait for one slow listener before the oldest are dropped and counted."""
    open_tasks_max: int = 16_384
    """Tasks that are queued or worked on."""
    finished_tasks_max: int = 4_096
    """Finished tasks that are remembered with their results."""
    dead_tasks_max: int = 1_024
    """Tasks given up that are remembered with their arguments."""
    task_argument_bytes_max: int = 65_536
    task_result_bytes_max: int = 65_536
    tasks_bytes_max: int = 64 * 1024 * 1024
    """Arguments of all open tasks; results of all finished ones."""
    task_names_max: int = 4_096
    """Names of tasks whose durations are remembered."""
    offers_per_agent_max: int = 256
    """Names of tasks that one agent offers."""
    task_slots_max: int = 1_024
    """Tasks that one agent works on at a time."""
    task_requirements_max: int = 16
    task_retries_max: int = 1_000
    task_losses_max: int = 32
    """How often a task may lose its agent in the middle before it is given up: it may be what
    kills them."""
    task_backlog_max: int = 16
    """Tasks that wait for one agent; more wait for any that can do them."""
    task_steals_max: int = 2
    """How often one task is taken from an agent that works on it. 0: nothing is ever taken from
    an agent, nor from its queue."""
    voters_max: int = 7
    parameters_max: int = 65_536
    schemas_max: int = 4_096
    """Parameters whose values are declared."""
    guards_max: int = 1_024
    """Parameters whose last version waits to be confirmed."""
    open_auctions_max: int = 256
    closed_auctions_max: int = 256
    auction_bids_max: int = 1_024
    """Bids of one auction; for one of items together, bundles of all its bidders."""
    auction_items_max: int = 64
    groups_per_agent_max: int = 64
    capabilities_per_agent_max: int = 64
    attributes_per_agent_max: int = 16
    letters_pending_max: int = 4_096
    """Letters of one peer's agents whose senders wait."""
    mailbox_letters_max: int = 256
    """Letters that one agent has not yet taken; more are turned away, and their senders told."""
    mail_answers_bytes_max: int = 16 * 1024 * 1024
    """All answers to one letter, together."""
    seats_max: int = 1_024
    seat_candidates_max: int = 64
    """Candidates of one election; of more agents the best by the default ranking are taken."""
    seat_scores_max: int = 16
    """Scores that an agent publishes for one seat, and weights of one seat."""
    scored_seats_max: int = 16
    """Seats that one agent publishes scores of its own for."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """One peer. `listen` is HOST:PORT; port 0, or none, takes the one that the peer had last, if
    that is free, else any; empty: on the interface that leads to whose code let the peer in, also
    after a restart, and on loopback without one. `data_dir` None means the user's state folder,
    ":memory:" keeps nothing."""

    name: str = ""
    """Name of the peer and of its own agent; empty means the host's name."""
    cluster: str = "default"
    listen: str = ""
    data_dir: str | None = None
    seeds: tuple[str, ...] = ()
    mdns: bool = True
    expect: int = 3
    """Peers that must see each other before a new cluster forms; two at least where this one joins
    by a code, or has."""
    join_code: str = ""
    """By which this peer is let into a cluster on another host. Of no use once it was."""
    insecure_plaintext: bool = False
    """Speak without keys: whoever reaches the port can read and steer the peer, on loopback every
    user of this machine. All peers of a cluster do, or none."""
    max_voters: int = 5
    """Peers that vote in the log, if so many are there; the others learn it. Odd numbers count."""
    score: int = 50
    """Fitness for leadership, 0..100, compared in buckets of ten; as long as no other is given
    while the peer runs."""
    score_by: str = ""
    """What gives the score while the peer runs: load, uptime, latency; empty: it stays."""
    preference_margin: int = 20
    """Points by which another peer's score must be above the leader's for leadership to go there;
    1..101. With 101 it stays where it is."""
    eligible: bool = True
    """Whether this peer may lead."""
    participates_in_consensus: bool = True
    """Whether the peer's own agent votes."""
    dashboard: str = ""
    """HOST:PORT where a daemon serves its dashboard; empty: nowhere. An embedded peer has none."""
    dashboard_token: str = ""
    """File with the word that opens the dashboard, made if it is not there; empty: it serves this
    user alone, on this host alone."""
    machine_version_max: int = MACHINE_VERSION
    """The version of the log's meaning that this peer owns up to. Less than the latest keeps the
    cluster at that for as long, so that the earlier release can still be gone back to."""
    timing: Timing = Timing()
    limits: Limits = Limits()

    def __repr__(self) -> str:
        # A join code is a secret, and settings end up in logs.
        shown = (
            f"{name}={'(redacted)' if name == 'join_code' and value else repr(value)}"
            for name in self.__struct_fields__
            for value in (getattr(self, name),)
        )
        return f"Config({', '.join(shown)})"
