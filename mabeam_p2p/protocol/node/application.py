"""Where the log meets the machine: what is committed is applied, once, in order; who asked for it
here is answered; questions are answered from what has been applied.
"""

from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, CommandCodec
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.events import AgentLeft
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.machine.subjects import settled_by
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.protocol.waits import Waits
from mabeam_p2p.records import Batch
from mabeam_p2p.requests import Found, LogQuery, Query

COMMANDS_PER_TURN = 20_000
"""What is applied in one turn, so that a long log does not keep heartbeats waiting."""


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
        outbox: Outbox,
    ) -> None:
        self._machine = machine
        self._replication = replication
        self._pending = pending
        self._waits = waits
        self._mail = mail
        self._codec = codec
        self._outbox = outbox
        self._recovered_index = replication.log.last_index
        """What came from the disk is applied without a word: it is no news."""

    def advance(self) -> None:
        """Apply what is committed and not yet applied; of a long log, a part in each turn."""
        machine, pending, log = self._machine, self._pending, self._replication.log
        applied_index, commit_index = machine.applied_index, self._replication.commit_index
        if applied_index == commit_index:
            return
        last_index = min(commit_index, applied_index + COMMANDS_PER_TURN)
        last_index = log.end_at_or_before(last_index)
        if last_index <= applied_index:
            last_index = log.holding(applied_index + 1, 1)[0].last_index
        for batch in log.between(applied_index, last_index):
            commands = self._decode(batch)
            outcomes = machine.apply(batch, commands)
            if len(pending):
                for command, outcome in zip(commands, outcomes, strict=True):
                    if command.session:
                        pending.committed((command.session, command.sequence), outcome)
            for event in machine.take_events():
                subject = settled_by(event)
                if subject is not None:
                    self._waits.changed(subject)
                if isinstance(event, AgentLeft):
                    self._mail.departed(event.agent.id)
                if batch.index > self._recovered_index:
                    self._outbox.notify(event)

    def find(self, query: Query, linearizable: bool, now: float) -> Found:
        """The answer to `query`, labelled with its index and its age."""
        replication, machine = self._replication, self._machine
        leads = replication.leadership is not None and replication.has_quorum(now)
        age = 0.0 if linearizable or leads else now - replication.heard_at
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
