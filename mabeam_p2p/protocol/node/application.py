"""Where the log meets the machine: what is committed is applied, once, in order; who asked for it
here is answered; questions are answered from what has been applied.
"""

from collections.abc import Callable

from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, CommandCodec
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.events import EVENTS_LOST, AgentLeft, Dropped, Refused
from mabeam_p2p.ids import PeerId
from mabeam_p2p.machine.machine import Machine, MachineState, Unable, digest_of, written_by
from mabeam_p2p.machine.subjects import settled_by
from mabeam_p2p.messages import Refuse
from mabeam_p2p.protocol.admission import has_another_key
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.protocol.node.freshness import Freshness
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.protocol.waits import Waits
from mabeam_p2p.records import Able, Agent, Batch, Credentials, DiskUsage, Snapshot
from mabeam_p2p.requests import AgentQuery, Found, LogQuery, Query

OF_THE_LOG = "machine", "limits"
"""Why a peer is refused that could not apply what the others do."""

COMMANDS_PER_TURN = 20_000
"""What is applied in one turn, so that a long log does not keep heartbeats waiting."""

SNAPSHOT_SHARE = 4
"""A snapshot is worth its writing once the log behind the last one has come to this part of it."""
SNAPSHOT_PATIENCE = 8
"""A large one waits for so many times `snapshot_entries` at most: a start applies no more."""


class Application:
    """The applied state of one peer."""

    def __init__(
        self,
        machine: Machine,
        replication: Replication,
        pending: Pending,
        waits: Waits,
        mail: Mail,
        codec: CommandCodec,
        limits: Limits,
        able_of: Callable[[PeerId], Able | None],
        wall: float,
        outbox: Outbox,
    ) -> None:
        """able_of: what a peer has said that its release can do; None: nothing. wall: seconds since
        1970 at the monotonic time 0."""
        self.freshness = Freshness(replication, machine, wall)
        self._machine = machine
        self._replication = replication
        self._pending = pending
        self._waits = waits
        self._mail = mail
        self._codec = codec
        self._limits = limits
        self._able_of = able_of
        self._bytes_since_snapshot = 0
        """Of the blobs that were applied since."""
        self._outbox = outbox
        self._wants_room = False
        """The disk is nearly full: whatever a snapshot can take the place of is to go."""
        self._has_made_room = False
        """Whether that was done since it has been so full."""
        self._leap: tuple[Snapshot, MachineState] | None = None
        """What is to take the place of the machine at the end of this turn."""
        self._refusing: dict[PeerId, None] = {}
        """Voters that have refused this peer for what it makes of the log."""
        self.unable: Unable | None = None
        """Why this peer cannot go on with its log. It applies nothing more, and is to end."""

    def restore(self, snapshot: Snapshot | None) -> None:
        """Begin with what the disk holds. Checked against the hash that was stored beside it: an
        index counts for nothing without the state that goes with it."""
        if snapshot is not None:
            state = self._state_in(snapshot, is_own=True)
            if self.unable is None:
                assert state is not None, "the snapshot in the data folder is not what was written"
                self._become(snapshot, state)

    def advance(self, now: float) -> None:
        """Apply what is committed and not yet applied; of a long log, a part in each turn."""
        if self.unable is not None:
            return
        self._carry_leap()
        self._make_room(now)
        self._apply(now)
        self.freshness.look(now)

    def _apply(self, now: float) -> None:
        machine, pending, log = self._machine, self._pending, self._replication.log
        applied_index, commit_index = machine.applied_index, self._replication.commit_index
        if applied_index == commit_index:
            return
        last_index = min(commit_index, applied_index + COMMANDS_PER_TURN)
        last_index = log.end_at_or_before(last_index)
        if last_index <= applied_index:
            last_index = log.holding(applied_index + 1, 1)[0].last_index
        recovered_index = min(last_index, log.first_held_index)
        if recovered_index > applied_index:
            self._tell_of_loss("applied from the disk", applied_index, recovered_index)
        for batch in log.between(applied_index, last_index):
            commands = self._decode(batch)
            unable = machine.objection(commands)
            if unable is not None:
                self._give_up(unable)
                return
            credentials = machine.admissions.credentials
            outcomes = machine.apply(batch, commands)
            events = machine.take_events()
            # What came from the disk is no news, which has been said. What took its place is.
            if batch.index > log.first_held_index:
                # Before the answers: who has one finds what led to it wherever events are kept.
                for event in events:
                    self._outbox.notify(event)
            if len(pending):
                for command, outcome in zip(commands, outcomes, strict=True):
                    if command.session:
                        pending.committed((command.session, command.sequence), outcome)
            for event in events:
                subject = settled_by(event)
                if subject is not None:
                    self._waits.changed(subject)
                if isinstance(event, AgentLeft):
                    self._mail.departed(event.agent.id)
            if not self._snapshot_for_keys(credentials, now):
                self._snapshot_if_due(batch, now)

    # ---- snapshots -------------------------------------------------------------------------------

    def _snapshot_if_due(self, applied: Batch, now: float) -> None:
        """Where a snapshot is taken depends on the log alone, so that peers take the same ones, and
        one can go on sending what another has begun. What all snapshots cost is in proportion to
        what is logged, however large the state has grown."""
        self._bytes_since_snapshot += len(applied.blob)
        entry_count = applied.last_index - self._replication.snapshots.index
        limits, latest = self._limits, self._replication.snapshots.latest
        if (
            entry_count < limits.snapshot_entries
            and self._bytes_since_snapshot < limits.snapshot_bytes
        ):
            return
        last_size = 0 if latest is None else len(latest.data)
        if (
            self._bytes_since_snapshot * SNAPSHOT_SHARE >= last_size
            or entry_count >= limits.snapshot_entries * SNAPSHOT_PATIENCE
        ):
            self.take_snapshot(now)

    def _snapshot_for_keys(self, before: Credentials, now: float) -> bool:
        """Take one if a peer has got another key. Who starts from an older one, or from none and is
        introduced, knows the former key alone, lets that peer in no more once it speaks under the
        other, and, if it leads, cannot be told the log by it."""
        after = self._machine.admissions.credentials
        is_due = after is not before and has_another_key(before, after)
        if is_due:
            self.take_snapshot(now)
        return is_due

    def disk_told(self, usage: DiskUsage) -> None:
        """How full the disk is."""
        self._wants_room = usage.is_nearly_full
        self._has_made_room = self._has_made_room and usage.is_nearly_full

    def _make_room(self, now: float) -> None:
        """When the disk gets nearly full; while it stays so, not before a snapshot takes the place
        of as much as has to be written for it."""
        if not self._wants_room:
            return
        self._wants_room = False
        log, latest = self._replication.log, self._replication.snapshots.latest
        if self._has_made_room and latest and log.byte_count < len(latest.data):
            return
        if self._machine.applied_index > log.base.index:
            self._has_made_room = True
            self.take_snapshot(now)

    def take_snapshot(self, now: float) -> None:
        """Of what has been applied; the log gives way to it."""
        base = self._replication.log.base_at(self._machine.applied_index)
        assert base is not None, "applied in the middle of a batch"
        self._bytes_since_snapshot = 0
        data = self._machine.encode()
        self._replication.store_snapshot(Snapshot(base, digest_of(data), data), now)

    def take_in(self, snapshot: Snapshot) -> bool:
        """Become the machine of a snapshot from elsewhere, at the end of the turn. False, and
        nothing changes: it is not whole, or no machine of this release, or not that of the index
        that it names, or not as any machine would have written it. Of a machine that this peer
        cannot be it gives up, unless a member alone says that others can."""
        state = self._state_in(snapshot)
        if state is None or not self._is_sound(state, snapshot.data):
            return False
        self._leap = snapshot, state
        return True

    def refused(self, source: PeerId, refuse: Refuse) -> None:
        """Another peer refuses this one for good. Who was cut off while the log was raised may be
        sent what it cannot read, and would never know: the voters' word counts."""
        if refuse.reason in OF_THE_LOG and source in self._replication.voters:
            self._refusing[source] = None
            if self._is_enough(len(self._refusing)):
                self._give_up(
                    Unable(refuse.reason, f"peer {source} refuses this one: {refuse.detail}")
                )

    def _give_up(self, unable: Unable) -> None:
        """Others can go on with the log, and this peer cannot: say so once."""
        if self.unable is None:
            self.unable = unable
            peer = self._replication.peer
            self._outbox.notify(Refused(peer, unable.reason, unable.detail, fatal=True))

    def _state_in(self, snapshot: Snapshot, *, is_own: bool = False) -> MachineState | None:
        if digest_of(snapshot.data) != snapshot.digest:
            return None
        try:
            version, rules = written_by(snapshot.data)
        except ValueError:
            return None
        # First: what a later version holds may be nothing that this one knows.
        unable = self._machine.unable(version, rules)
        if unable is not None:
            if is_own or self._is_vouched_for(version, rules):
                self._give_up(unable)
            return None
        try:
            state = self._machine.decode(snapshot.data)
        except ValueError:
            return None
        if (state.applied_index, state.applied_term) != (snapshot.base.index, snapshot.base.term):
            return None
        return state

    def _is_vouched_for(self, version: int, rules: int) -> bool:
        """Whether enough voters have said that they apply such a log."""
        known = [able for peer in self._other_voters() if (able := self._able_of(peer)) is not None]
        return self._is_enough(
            sum(one.machine >= version and rules in (0, one.rules) for one in known)
        )

    def _is_enough(self, voter_count: int) -> bool:
        """Two voters are believed, or all others if they are fewer: one might lie. Who knows no
        voters believes whoever it is."""
        return voter_count >= min(2, len(self._other_voters()))

    def _other_voters(self) -> list[PeerId]:
        replication = self._replication
        return [peer for peer in replication.voters if peer != replication.peer]

    def _is_sound(self, state: MachineState, data: bytes) -> bool:
        """Whether a machine takes it, and gives it back: what is stored here is loaded at every
        start, so that nobody else's fault may come to stand in this peer's folder."""
        trial = Machine(self._limits)
        try:
            trial.load(state)
            return trial.encode() == data
        except (AssertionError, LookupError, TypeError, ValueError):
            return False

    def _become(self, snapshot: Snapshot, state: MachineState) -> None:
        self._machine.load(state)
        is_equal = self._machine.digest() == snapshot.digest
        assert is_equal, "a machine differs from the state that it has loaded"
        self._bytes_since_snapshot = 0

    def _carry_leap(self) -> None:
        """What was taken in during the turn."""
        if self._leap is not None:
            before, index = self._machine.find(AgentQuery()).agents, self._machine.applied_index
            self._become(*self._leap)
            self._leap = None
            self._tell_of_leap(index, before)

    def _tell_of_leap(self, index: int, before: tuple[Agent, ...]) -> None:
        """Entries behind `index` were not applied one by one: say that nobody was told of them, and
        settle what waited for one of them."""
        machine = self._machine
        self._tell_of_loss("caught up by a snapshot", index, machine.applied_index)
        self._pending.caught_up(machine.known_outcome)
        self._waits.all_changed()
        for agent in before:
            present = machine.agent(agent.id)
            if present is None or present.session != agent.session:
                self._mail.departed(agent.id)

    def _tell_of_loss(self, how: str, index: int, last_index: int) -> None:
        """No events tell of what follows `index` up to `last_index`: whoever has read before reads
        anew. Said before anything is answered from there, and in the turn that applies it."""
        text = f"{how}: entries {index + 1} to {last_index}"
        event = Dropped(self._replication.peer, EVENTS_LOST, text, last_index - index)
        self._outbox.notify(event)

    # ---- questions -------------------------------------------------------------------------------

    def find(self, query: Query, linearizable: bool, now: float) -> Found:
        """The answer to `query`, labelled with its index and its age."""
        replication, machine = self._replication, self._machine
        age = 0.0 if linearizable else self.freshness.age(now)
        if isinstance(query, LogQuery):
            applied = machine.applied_index
            batches = replication.log.holding(query.first_index, query.limit)
            visible = tuple(batch for batch in batches if batch.index <= applied)
            return Found(applied, age, linearizable, batches=visible)
        return replace(machine.find(query), age_seconds=age, linearizable=linearizable)

    def _decode(self, batch: Batch) -> tuple[AnyCommand, ...]:
        """The batch's commands. Frames are checked at the door, so that what was appended can be
        read; a batch that cannot is a fault of ours, and the peer stops."""
        try:
            return self._codec.decode_commands(batch.count, batch.blob)
        except RemoteProtocolError as error:
            raise AssertionError(f"batch {batch.index} cannot be read: {error}") from error
