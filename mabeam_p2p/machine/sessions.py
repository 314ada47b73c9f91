"""Sessions: who is there, and each command's effect exactly once (Raft thesis §6.3).

1. A session belongs to one agent, and an agent has at most one session.
2. The outcomes of a session's last `session_window` sequence numbers are kept; a command that
   comes again gets its recorded outcome. Numbers may have gaps and come late; at or below the
   window's floor it can no longer be known whether a command was applied: stale_sequence.
3. A session id is used once. Ids that have ended, or whose OpenSession was refused, are
   remembered, so that a late copy of an OpenSession leaves no agent that nobody hosts.
4. An agent's new session takes the place of an older one only if its peer has restarted since:
   same peer, higher epoch. Its own session it may take along instead: an OpenSession that comes
   again from a higher epoch moves the live one there, with all that it holds.
5. A number can be given up before its command comes; then it never has an effect.
6. A session with a lease ends when none of its commands has been applied for as long, by the log's
   clock (Gray and Cheriton 1989). Its deadline in the table is that of the last look: when it is
   due, the session ends or is looked at again.
"""

from collections import OrderedDict

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import (
    AnyCommand,
    CloseSession,
    Describe,
    JoinGroup,
    LeaveGroup,
    OpenSession,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import AgentChanged, AgentJoined, AgentLeft, MachineEvent
from mabeam_p2p.ids import (
    GROUP_ALL,
    INTEGER_MAX,
    KEY_BYTES_MAX,
    AgentId,
    PeerId,
    SessionId,
    is_key,
    is_name,
    is_peer_id,
)
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import Committed, Outcome, Refused


class SessionState(Struct, frozen=True, array_like=True):
    """A session in a snapshot. opening: the agent as it was opened. look_clock: its deadline."""

    agent: Agent
    opening: Agent
    opened: Committed
    last: int
    heard_clock: int
    look_clock: int
    outcomes: tuple[tuple[int, Outcome], ...]


class SessionsState(Struct, frozen=True, array_like=True):
    live: tuple[SessionState, ...]
    ended: tuple[tuple[SessionId, Outcome], ...]


class Session:
    """One live session, and what its recent commands came to."""

    __slots__ = (
        "_floor",
        "_last",
        "_outcomes",
        "_window",
        "agent",
        "heard_clock",
        "look_clock",
        "opened",
        "opening",
    )

    def __init__(self, agent: Agent, opened: Committed, heard_clock: int, window: int) -> None:
        self.agent = agent
        self.opening = agent
        """The agent as its OpenSession named it."""
        self.opened = opened
        """Outcome of its OpenSession."""
        self.heard_clock = heard_clock
        """Stamp of its last command."""
        self.look_clock = self.lease_end
        """When the lease is looked at, by the log's clock."""
        self._window = window
        self._last = 0
        self._floor = 0
        """Sequence numbers up to this one are forgotten."""
        self._outcomes: dict[int, Outcome] = {}
        """By sequence number; all of them above the floor."""

    def recorded(self, sequence: int) -> Outcome | None:
        """The outcome of a number that must not be applied (again); None: apply it."""
        if self._last < sequence <= INTEGER_MAX:
            return None
        known = self._outcomes.get(sequence)
        if known is None and sequence > INTEGER_MAX:
            return Refused("invalid", f"sequence numbers end at {INTEGER_MAX}")
        if known is None and sequence <= self._floor:
            return Refused("stale_sequence", f"outcomes up to {self._floor} are forgotten")
        return known

    def has_forgotten(self, sequence: int) -> bool:
        """Whether the number lies before the window."""
        return sequence <= self._floor and sequence not in self._outcomes

    def record(self, sequence: int, outcome: Outcome) -> None:
        self._outcomes[sequence] = outcome
        if sequence > self._last:
            self._last = sequence
            floor = sequence - self._window
            if floor > self._floor:
                self._forget(floor)

    def forgo(self, sequence: int) -> None:
        """A command of this number that has not come yet will have no effect."""
        if self.recorded(sequence) is None:
            self.record(sequence, Refused("stale_sequence", "it was given up before it came"))

    def _forget(self, floor: int) -> None:
        """Raise the floor. A leap of the sequence costs no more than the window is long."""
        outcomes = self._outcomes
        if floor - self._floor <= len(outcomes):
            for sequence in range(self._floor + 1, floor + 1):
                outcomes.pop(sequence, None)
        else:
            self._outcomes = {n: known for n, known in outcomes.items() if n > floor}
        self._floor = floor

    @property
    def lease_end(self) -> int:
        """By the log's clock."""
        return self.heard_clock + self.agent.lease

    def state(self) -> SessionState:
        return SessionState(
            self.agent,
            self.opening,
            self.opened,
            self._last,
            self.heard_clock,
            self.look_clock,
            tuple(self._outcomes.items()),
        )

    def load(self, state: SessionState) -> None:
        self.opening = state.opening
        self.look_clock = state.look_clock
        self._last = state.last
        self._floor = max(0, state.last - self._window)
        self._outcomes = dict(state.outcomes)


class Sessions:
    """Every live session, in the order of their opening."""

    def __init__(self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._events = events
        self._live: dict[SessionId, Session] = {}
        self._by_agent: dict[AgentId, Session] = {}
        self._by_peer: dict[PeerId, dict[SessionId, Session]] = {}
        self._ended: OrderedDict[SessionId, Outcome] = OrderedDict()
        """The last word about ids that are no more: Committed where it ended, or the refusal of
        its OpenSession. The newest `sessions_max` of them."""

    def get(self, session: SessionId) -> Session | None:
        return self._live.get(session)

    def joined_index(self, agent: AgentId) -> int:
        """Where the session that the agent has was opened; 0: it has none."""
        session = self._by_agent.get(agent)
        return 0 if session is None else session.agent.joined_index

    def agents(self) -> tuple[Agent, ...]:
        return tuple(session.agent for session in self._live.values())

    def in_group(self, group: str) -> tuple[Agent, ...]:
        if group == GROUP_ALL:
            return self.agents()
        return tuple(agent for agent in self.agents() if group in agent.groups)

    def of_peer(self, peer: PeerId) -> tuple[Session, ...]:
        return tuple(self._by_peer.get(peer, {}).values())

    def answer_missing(self, command: AnyCommand) -> Outcome:
        """The outcome of a command whose session is not live. Closing twice is closing."""
        ended = self._ended.get(command.session)
        if isinstance(ended, Committed):
            if isinstance(command, CloseSession):
                return ended
            return Refused("unknown_session", f"session {command.session} ended: open another one")
        return Refused("unknown_session", "there is no such session")

    def known_outcome(self, command: AnyCommand) -> Outcome | None:
        """See Machine.known_outcome. What lies before a window, or in a session that has ended, may
        have come to anything."""
        session = self._live.get(command.session)
        if session is None:
            return self._known_outcome_in_ended(command)
        if isinstance(command, OpenSession):
            if session.agent.epoch < command.epoch:
                raise LookupError(command.session)
            return session.opened
        known = session.recorded(command.sequence)
        if known is None:
            raise LookupError(command.sequence)
        return None if session.has_forgotten(command.sequence) else known

    def _known_outcome_in_ended(self, command: AnyCommand) -> Outcome | None:
        ended = self._ended.get(command.session)
        if isinstance(command, OpenSession):
            if ended is None:
                raise LookupError(command.session)
            return ended if isinstance(ended, Refused) else None
        if isinstance(ended, Refused) or isinstance(command, CloseSession):
            return self.answer_missing(command) if ended is not None else None
        return None

    def answer_open(self, entry: Entry, command: OpenSession) -> Outcome | None:
        """The outcome of an OpenSession that opens nothing; None: it opens.

        Refused: invalid, unknown_session (it has ended), name_taken, limit.
        """
        session = self._live.get(command.session)
        if session is not None:
            return self._open_again(entry, session, command)
        ended = self._ended.get(command.session)
        if ended is not None:
            return ended if isinstance(ended, Refused) else self.answer_missing(command)
        if not self._is_valid(entry, command):
            return Refused("invalid", "an agent with malformed fields")
        refusal = self._refusal(command)
        if refusal is not None:
            self._remember_ended(command.session, refusal)
        return refusal

    def is_here(self, agent: AgentId) -> bool:
        return agent in self._by_agent

    def of_agent(self, agent: AgentId) -> Session | None:
        """The session that the agent has; it must end before another one opens."""
        return self._by_agent.get(agent)

    def open(self, entry: Entry, command: OpenSession) -> Outcome:
        """Begin a session that `answer_open` let pass and that has no older one."""
        assert command.agent not in self._by_agent
        agent = _agent_of(command, entry.index)
        opened = entry.committed()
        session = Session(agent, opened, entry.clock, self._limits.session_window)
        session.record(command.sequence, opened)
        self._insert(session)
        self._events.append(AgentJoined(agent))
        return opened

    def join_group(self, entry: Entry, session: Session, command: JoinGroup) -> Outcome:
        """Refused: invalid, limit. Joining twice is joining."""
        agent, group = session.agent, command.group
        if not is_name(group):
            return Refused("invalid", "the group has no usable name")
        if group == GROUP_ALL or group in agent.groups:
            return entry.committed()
        if len(agent.groups) >= self._limits.groups_per_agent_max:
            return Refused("limit", f"an agent is in {self._limits.groups_per_agent_max} groups")
        self._change(session, replace(agent, groups=(*agent.groups, group)))
        return entry.committed()

    def leave_group(self, entry: Entry, session: Session, command: LeaveGroup) -> Outcome:
        """Refused: invalid. Leaving a group that one is not in is leaving."""
        agent, group = session.agent, command.group
        if group == GROUP_ALL:
            return Refused("invalid", f"every agent is in group {GROUP_ALL!r} until it closes")
        if group in agent.groups:
            rest = tuple(name for name in agent.groups if name != group)
            self._change(session, replace(agent, groups=rest))
        return entry.committed()

    def describe(self, entry: Entry, session: Session, command: Describe) -> Outcome:
        """Refused: invalid, too_large, limit."""
        key, text, most = command.key, command.text, self._limits.attributes_per_agent_max
        if not is_key(key):
            return Refused("invalid", "the attribute has no usable name")
        if len(text.encode()) > KEY_BYTES_MAX:
            return Refused("too_large", f"an attribute has at most {KEY_BYTES_MAX} bytes")
        attributes = dict(session.agent.attributes)
        if text:
            attributes[key] = text
        else:
            attributes.pop(key, None)
        if len(attributes) > most:
            return Refused("limit", f"an agent has at most {most} attributes")
        described = tuple(sorted(attributes.items()))
        if described != session.agent.attributes:
            self._change(session, replace(session.agent, attributes=described))
        return entry.committed()

    def lapsed(self, name: str) -> Session | None:
        """The session of the deadline `name` if its lease has run out there; else it gets its next
        one."""
        session = self._live[SessionId(int(name))]
        if session.lease_end <= session.look_clock:
            return session
        session.look_clock = session.lease_end
        self._deadlines.remove(DeadlineKind.SESSION, name)
        self._deadlines.add(DeadlineKind.SESSION, name, session.look_clock)
        return None

    def end(self, entry: Entry, session: Session, reason: str) -> None:
        agent = session.agent
        if agent.lease:
            self._deadlines.remove(DeadlineKind.SESSION, str(agent.session))
        del self._live[agent.session]
        del self._by_agent[agent.id]
        del self._by_peer[agent.peer][agent.session]
        if not self._by_peer[agent.peer]:
            del self._by_peer[agent.peer]
        self._remember_ended(agent.session, entry.committed())
        self._events.append(AgentLeft(agent, reason))

    @property
    def count(self) -> int:
        """Agents that live."""
        return len(self._live)

    def state(self) -> SessionsState:
        return SessionsState(
            tuple(session.state() for session in self._live.values()), tuple(self._ended.items())
        )

    def load(self, state: SessionsState) -> None:
        self._live, self._by_agent, self._by_peer = {}, {}, {}
        for stored in state.live:
            window = self._limits.session_window
            session = Session(stored.agent, stored.opened, stored.heard_clock, window)
            session.load(stored)
            self._insert(session)
        self._ended = OrderedDict(state.ended)

    def _insert(self, session: Session) -> None:
        agent = session.agent
        self._live[agent.session] = session
        self._by_agent[agent.id] = session
        self._by_peer.setdefault(agent.peer, {})[agent.session] = session
        if agent.lease:
            self._deadlines.add(DeadlineKind.SESSION, str(agent.session), session.look_clock)

    def _open_again(self, entry: Entry, session: Session, command: OpenSession) -> Outcome:
        """A copy of what opened the session, perhaps from a peer that has restarted since."""
        opening = session.opening
        if replace(_agent_of(command, opening.joined_index), epoch=opening.epoch) != opening:
            return Refused("invalid", f"session {command.session} is open as another agent")
        if command.epoch > session.agent.epoch:
            session.heard_clock = entry.clock
            self._change(session, replace(session.agent, epoch=command.epoch))
        return session.opened

    def _change(self, session: Session, agent: Agent) -> None:
        session.agent = agent
        self._events.append(AgentChanged(agent))

    def _remember_ended(self, session: SessionId, outcome: Outcome) -> None:
        self._ended[session] = outcome
        if len(self._ended) > self._limits.sessions_max:
            self._ended.popitem(last=False)

    def _is_valid(self, entry: Entry, command: OpenSession) -> bool:
        name, at, peer_name = command.agent.partition("@")
        groups = dict.fromkeys(command.groups)
        capabilities = dict(command.capabilities)
        return (
            1 <= command.session <= INTEGER_MAX
            and 1 <= command.sequence <= INTEGER_MAX
            and 0 <= command.epoch <= INTEGER_MAX
            and at == "@"
            and is_name(name)
            and is_name(peer_name)
            and is_peer_id(command.peer)
            and len(groups) == len(command.groups) <= self._limits.groups_per_agent_max
            and all(map(is_name, groups))
            and len(capabilities) == len(command.capabilities)
            and len(capabilities) <= self._limits.capabilities_per_agent_max
            and all(map(is_key, capabilities))
            and all(0 <= amount <= INTEGER_MAX for amount in capabilities.values())
            and (command.lease == 0 or entry.can_wait(command.lease))
        )

    def _refusal(self, command: OpenSession) -> Refused | None:
        older = self._by_agent.get(command.agent)
        if older is not None:
            held = older.agent
            if held.peer == command.peer and held.epoch < command.epoch:
                return None
            return Refused("name_taken", f"{held.id} is attached to peer {held.peer}")
        if len(self._live) >= self._limits.sessions_max:
            return Refused("limit", f"the cluster holds {self._limits.sessions_max} sessions")
        if len(self._by_peer.get(command.peer, ())) >= self._limits.agents_per_peer_max:
            return Refused("limit", f"a peer holds {self._limits.agents_per_peer_max} agents")
        return None


def _agent_of(command: OpenSession, joined_index: int) -> Agent:
    return Agent(
        id=command.agent,
        peer=command.peer,
        epoch=command.epoch,
        session=command.session,
        groups=command.groups,
        participates=command.participates,
        eligible=command.eligible,
        capabilities=command.capabilities,
        joined_index=joined_index,
        lease=command.lease,
        yields=command.yields,
    )
