"""The replicated state machine: what the committed log means.

It decides what every command comes to, and nothing else: it reads no clock but the log's and
tells no one anything but through outcomes and events. The Node applies every committed batch to
it, in order, on every peer; equal logs make equal machines (Schneider 1990, §2).

The rule of deadlines: a deadline d is past for the first command whose batch is stamped d or
later, and is processed before that command, at that command's index. Several that are past are
processed in order of (deadline, kind, name). A Tick only gives the occasion.

Session 0 is the cluster's: Noop, Tick, Configure, DepartPeer, Admit and RaiseVersion stand in it,
and nothing else. Everything else stands in an agent's session and takes effect once (sessions.py).
"""

import hashlib
from typing import assert_never

import msgspec
from msgspec import Struct

from mabeam_p2p.commands import (
    Admit,
    AnyClusterCommand,
    AnyCommand,
    AnySessionCommand,
    AnySessionsCommand,
    AppendJournal,
    Arrive,
    AuctionCommand,
    BudgetCommand,
    CloseSession,
    ClusterCommand,
    Configure,
    DepartPeer,
    Describe,
    EndClaim,
    JoinGroup,
    KeepAlive,
    KeyCommand,
    LeaveGroup,
    LedgerCommand,
    Noop,
    OpenSession,
    ParameterCommand,
    ProposalCommand,
    RaiseVersion,
    Rate,
    RecipeCommand,
    SeatCommand,
    SessionCommand,
    TaskCommand,
    Tick,
)
from mabeam_p2p.config import MACHINE_VERSION, Limits
from mabeam_p2p.events import MachineEvent
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    INTEGER_MAX,
    KEY_BYTES_MAX,
    AgentId,
    PeerId,
    SessionId,
    is_peer_id,
)
from mabeam_p2p.limits import rules_of
from mabeam_p2p.machine.admissions import Admissions
from mabeam_p2p.machine.configuration import Configuration, ConfigurationState
from mabeam_p2p.machine.core import Deadlines, Entry
from mabeam_p2p.machine.parts import Parts, PartsState
from mabeam_p2p.machine.questions import MachineQuery, answer
from mabeam_p2p.machine.sessions import Session
from mabeam_p2p.machine.versions import as_of
from mabeam_p2p.records import Agent, Batch, Credentials
from mabeam_p2p.requests import Found, Outcome, Refused


class MachineState(Struct, frozen=True, array_like=True):
    """A snapshot, typed."""

    applied_index: int
    applied_term: int
    clock: int
    configuration: ConfigurationState
    parts: PartsState


class KeyedState(MachineState, frozen=True, array_like=True):
    """The same, of a cluster whose peers have keys. One without is written as it ever was, so that
    what was stored before there were keys keeps its hash."""

    credentials: Credentials = Credentials()


class _Head(Struct, frozen=True, array_like=True):
    """How a snapshot of any version begins."""

    applied_index: int
    applied_term: int
    clock: int
    configuration: ConfigurationState


_encode = msgspec.msgpack.encode
_decoder = msgspec.msgpack.Decoder(KeyedState)
_head_decoder = msgspec.msgpack.Decoder(_Head)


def written_by(data: bytes) -> tuple[int, int]:
    """The machine version of an encoded snapshot, and the hash of its limits; of later versions
    too, whatever they hold. Raises msgspec.DecodeError, a ValueError."""
    configuration = _head_decoder.decode(data).configuration
    return configuration.version, configuration.rules


class Unable(Struct, frozen=True):
    """Why a peer cannot go on with its log, though others may."""

    reason: str
    """`machine`: it is of a later version. `limits`: it is applied by other limits."""
    detail: str


def digest_of(data: bytes) -> int:
    """64 bits of a hash over an encoded snapshot."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


class Machine:
    """All that the log has made. Equal on all peers at equal `applied_index`.

    version_max: the machine version up to which this one applies.
    """

    def __init__(self, limits: Limits, version_max: int = MACHINE_VERSION) -> None:
        self.version_max = version_max
        self.rules = rules_of(limits)
        self._events: list[MachineEvent] = []
        self._deadlines = Deadlines()
        self._parts = Parts(limits, self._deadlines, self._events)
        self.applied_index = 0
        self.applied_term = 0
        self.clock = 0
        """The greatest stamp of an applied batch, microseconds."""
        self.configuration = Configuration(self._events)
        self.admissions = Admissions(self._events)
        self._batch_voters: tuple[PeerId, ...] = ()
        """Those of the batch that is being applied."""

    # ---- applying --------------------------------------------------------------------------

    def apply(self, batch: Batch, commands: tuple[AnyCommand, ...]) -> list[Outcome]:
        """Apply the batch behind the last one; commands: what its blob holds.

        One outcome for each command, in order. Events are left for `take_events`.
        """
        assert batch.index == self.applied_index + 1, (batch.index, self.applied_index)
        assert batch.count == len(commands) > 0, (batch.count, len(commands))
        term = batch.term
        # Leaders keep stamps from going back; the machine does not depend on it.
        clock = self.clock = max(self.clock, batch.clock)
        self._batch_voters = batch.voters
        self._close_due(Entry(batch.index, term, clock))
        outcomes = [
            self._outcome(Entry(index, term, clock), command)
            for index, command in enumerate(commands, batch.index)
        ]
        self.applied_index = batch.last_index
        self.applied_term = term
        return outcomes

    @property
    def version(self) -> int:
        """The machine version by which the log is applied."""
        return self.configuration.version

    def objection(self, commands: tuple[AnyCommand, ...]) -> Unable | None:
        """Why `apply` must not have these: they change by what the log is applied, to what this
        machine cannot do, or by limits that are not its own. To be asked before every `apply`."""
        for command in commands:
            if type(command) is RaiseVersion or (
                type(command) is Configure and not self.configuration.cluster_id
            ):
                unable = self.unable(command.version, command.rules)
                if unable is not None:
                    return unable
        return None

    def unable(self, version: int, rules: int) -> Unable | None:
        """Why this machine cannot go on with a log of that version, and of those limits."""
        if version > self.version_max:
            return Unable(
                "machine",
                f"the log is of machine version {version}, and this peer applies up to "
                f"{self.version_max}",
            )
        if rules not in (0, self.rules):
            return Unable("limits", "the log is applied by other limits than those of this peer")
        return None

    def take_events(self) -> tuple[MachineEvent, ...]:
        """What has happened since the last call, in order of the log."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def next_deadline(self) -> int | None:
        """The least open deadline by the log's clock: when a Tick is wanted."""
        first = self._deadlines.first()
        return None if first is None else first[0]

    def _close_due(self, entry: Entry) -> None:
        while (first := self._deadlines.first()) is not None and first[0] <= entry.clock:
            _, kind, name = first
            self._parts.expire(entry, kind, name)
            assert self._deadlines.first() != first

    def _outcome(self, entry: Entry, command: AnyCommand) -> Outcome:
        match command:
            case SessionCommand():
                session = self._parts.sessions.get(command.session)
                if session is None:
                    return self._parts.sessions.answer_missing(command)
                session.heard_clock = entry.clock
                recorded = session.recorded(command.sequence)
                if recorded is not None:
                    return recorded
                outcome = self._apply_in_session(entry, session, command)
                session.record(command.sequence, outcome)
                return outcome
            case OpenSession():
                return self._open_session(entry, command)
            case ClusterCommand():
                return self._apply_for_cluster(entry, command)
            case _:
                assert_never(command)

    def _apply_in_session(
        self, entry: Entry, session: Session, command: AnySessionCommand
    ) -> Outcome:
        agent = session.agent.id
        match command:
            case AppendJournal():
                return self._parts.journals.append(entry, command)
            case Arrive():
                return self._parts.barriers.arrive(entry, agent, command)
            case ParameterCommand():
                return self._parts.parameters.apply(entry, agent, command)
            case RecipeCommand():
                # What has no number before its own has made no claim, and would move the window.
                if isinstance(command, EndClaim) and command.claim < command.sequence:
                    session.forgo(command.claim)
                return self._parts.recipes.apply(entry, agent, command)
            case ProposalCommand():
                return self._parts.proposals.apply(
                    entry, agent, command, self._parts.sessions.in_group
                )
            case LedgerCommand():
                return self._parts.ledger.apply(entry, session.agent, command)
            case BudgetCommand():
                return self._parts.budgets.apply(entry, agent, command)
            case Rate():
                return self._parts.reputations.apply(entry, agent, command)
            case SeatCommand():
                return self._parts.seats.apply(entry, session.agent, command)
            case TaskCommand():
                return self._parts.tasks.apply(entry, session.agent, command)
            case KeyCommand():
                return self.admissions.apply(entry, session.agent, command)
            case AuctionCommand():
                return self._parts.auctions.apply(entry, session.agent, command)
            case _:
                return self._apply_to_session(entry, session, command)

    def _apply_to_session(
        self, entry: Entry, session: Session, command: AnySessionsCommand
    ) -> Outcome:
        match command:
            case KeepAlive():
                return entry.committed()
            case JoinGroup():
                return self._join_group(entry, session, command)
            case LeaveGroup():
                return self._leave_group(entry, session, command)
            case Describe():
                return self._parts.sessions.describe(entry, session, command)
            case CloseSession():
                if not _is_reason(command.reason):
                    return Refused("too_large", f"a reason has at most {KEY_BYTES_MAX} bytes")
                self._parts.end_session(entry, session, command.reason)
                return entry.committed()
            case _:
                assert_never(command)

    def _join_group(self, entry: Entry, session: Session, command: JoinGroup) -> Outcome:
        before = session.agent
        outcome = self._parts.sessions.join_group(entry, session, command)
        if session.agent is not before:
            self._parts.seats.arrived(entry, session.agent)
        return outcome

    def _leave_group(self, entry: Entry, session: Session, command: LeaveGroup) -> Outcome:
        before = session.agent
        outcome = self._parts.sessions.leave_group(entry, session, command)
        if session.agent is not before:
            self._parts.seats.left(entry, before.id, command.group)
        return outcome

    def _open_session(self, entry: Entry, command: OpenSession) -> Outcome:
        answer = self._parts.sessions.answer_open(entry, command)
        if answer is not None:
            return answer
        older = self._parts.sessions.of_agent(command.agent)
        if older is not None:
            self._parts.end_session(entry, older, "replaced")
        outcome = self._parts.sessions.open(entry, command)
        session = self._parts.sessions.get(command.session)
        assert session is not None
        self._parts.seats.arrived(entry, session.agent)
        return outcome

    # ---- the cluster's own commands --------------------------------------------------------

    def _apply_for_cluster(self, entry: Entry, command: AnyClusterCommand | Admit) -> Outcome:
        if command.session != CLUSTER_SESSION:
            return Refused("invalid", "a command of the cluster stands in session 0")
        match command:
            case Noop() | Tick():
                return entry.committed()
            case Configure():
                return self.configuration.apply(entry, command, self._batch_voters)
            case Admit(peer=peer, key=key):
                return self.admissions.admit(entry, peer, key)
            case DepartPeer():
                return self._depart_peer(entry, command)
            case RaiseVersion():
                return self.configuration.raise_version(entry, command)
            case _:
                assert_never(command)

    def _depart_peer(self, entry: Entry, command: DepartPeer) -> Outcome:
        if not is_peer_id(command.peer) or not 0 <= command.epoch <= INTEGER_MAX:
            return Refused("invalid", "the peer or its epoch is malformed")
        if not _is_reason(command.reason):
            return Refused("too_large", f"a reason has at most {KEY_BYTES_MAX} bytes")
        for session in self._parts.sessions.of_peer(command.peer):
            if session.agent.epoch <= command.epoch:
                self._parts.end_session(entry, session, command.reason)
        return entry.committed()

    def known_outcome(self, command: AnyCommand) -> Outcome | None:
        """What an agent's command has come to, if a snapshot took the place of its entry; None:
        that is not known here. Raises LookupError: it has not been applied."""
        return self._parts.sessions.known_outcome(command)

    # ---- queries ---------------------------------------------------------------------------

    def find(self, query: MachineQuery) -> Found:
        """The answer as of `applied_index`. How fresh that is, only the asker can know."""
        return answer(self._parts, query, self.applied_index, self.clock)

    def agents_in(self, group: str) -> tuple[Agent, ...]:
        """The live agents of a group, in order of their sessions' opening."""
        return self._parts.sessions.in_group(group)

    def agent(self, agent: AgentId) -> Agent | None:
        """The live agent of this id."""
        session = self._parts.sessions.of_agent(agent)
        return None if session is None else session.agent

    def agent_in(self, session: SessionId) -> Agent | None:
        """The live agent whose session it is."""
        found = self._parts.sessions.get(session)
        return None if found is None else found.agent

    def agents_of(self, peer: PeerId) -> tuple[Agent, ...]:
        """The live agents that `peer` hosts, in order of their sessions' opening."""
        return tuple(session.agent for session in self._parts.sessions.of_peer(peer))

    # ---- snapshots -------------------------------------------------------------------------

    def snapshot(self) -> object:
        """Everything that later outcomes depend on, as sequences, integers, text, bytes and None.
        Equal machines give equal snapshots. Untaken events are not in it."""
        return msgspec.to_builtins(self._state(), builtin_types=(bytes,))

    def restore(self, snapshot: object) -> None:
        """Become the machine that gave `snapshot`; untaken events are gone. Raises
        msgspec.ValidationError, a ValueError, and changes nothing, if it has another shape."""
        self.load(msgspec.convert(snapshot, KeyedState))

    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many things the machines hold open, by the things' name."""
        return self._parts.counts()

    def encode(self) -> bytes:
        """The snapshot as bytes, as any release writes them that knows the log's version: equal
        machines give equal bytes. Costs time in proportion to the state."""
        return _encode(as_of(self._state(), self.version))

    def decode(self, data: bytes) -> MachineState:
        """What `encode` has encoded, to be loaded. Raises msgspec.DecodeError, a ValueError, for
        anything of another shape."""
        return _decoder.decode(data)

    def load(self, state: MachineState) -> None:
        """Become the machine that `state` is of; untaken events are gone."""
        self._events.clear()
        self._deadlines.clear()
        self.applied_index = state.applied_index
        self.applied_term = state.applied_term
        self.clock = state.clock
        self.configuration.load(state.configuration)
        self._parts.load(state.parts)
        self.admissions.credentials = (
            state.credentials if isinstance(state, KeyedState) else Credentials()
        )

    def digest(self) -> int:
        """64 bits of a hash over the snapshot: equal on every peer, process and machine at equal
        `applied_index`. Costs time in proportion to the state."""
        return digest_of(self.encode())

    def _state(self) -> MachineState:
        parts = self._parts.state()
        configuration, credentials = self.configuration.state(), self.admissions.credentials
        index, term, clock = self.applied_index, self.applied_term, self.clock
        if credentials == Credentials():
            return MachineState(index, term, clock, configuration, parts)
        return KeyedState(index, term, clock, configuration, parts, credentials)


def _is_reason(text: str) -> bool:
    return len(text.encode()) <= KEY_BYTES_MAX
