"""Sessions: who is there, and each command's effect exactly once (Raft thesis §6.3).

1. A session belongs to one agent, and an agent has at most one session.
2. The outcomes of a session's last `session_window` sequence numbers are kept; a command that
   comes again gets its recorded outcome. Numbers may have gaps and come late; at or below the
   window's floor it can no longer be known whether a command was applied: stale_sequence.
3. A session id is used once. Ids that have ended, or whose OpenSession was refused, are
   remembered, so that a late copy of an OpenSession leaves no agent that nobody hosts.
4. An agent's new session takes the place of an older one only if its peer has restarted since:
   same peer, higher epoch.
"""

from collections import OrderedDict

from msgspec import Struct

from mabeam_p2p.commands import AnyCommand, CloseSession, OpenSession
from mabeam_p2p.config import Limits
from mabeam_p2p.events import AgentJoined, AgentLeft, MachineEvent
from mabeam_p2p.ids import (
    GROUP_ALL,
    INTEGER_MAX,
    AgentId,
    PeerId,
    SessionId,
    is_key,
    is_name,
    is_peer_id,
)
from mabeam_p2p.machine.core import Entry
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import Committed, Outcome, Refused


class SessionState(Struct, frozen=True, array_like=True):
    """A session in a snapshot."""

    agent: Agent
    opened: Committed
    last: int
    outcomes: tuple[tuple[int, Outcome], ...]


class SessionsState(Struct, frozen=True, array_like=True):
    live: tuple[SessionState, ...]
    ended: tuple[tuple[SessionId, Outcome], ...]


class Session:
    """One live session, and what its recent commands came to."""

    __slots__ = ("_floor", "_last", "_outcomes", "_window", "agent", "opened")

    def __init__(self, agent: Agent, opened: Committed, window: int) -> None:
        self.agent = agent
        self.opened = opened
        """Outcome of its OpenSession."""
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

    def record(self, sequence: int, outcome: Outcome) -> None:
        self._outcomes[sequence] = outcome
        if sequence > self._last:
            self._last = sequence
            floor = sequence - self._window
            if floor > self._floor:
                self._forget(floor)

    def _forget(self, floor: int) -> None:
        """Raise the floor. A leap of the sequence costs no more than the window is long."""
        outcomes = self._outcomes
        if floor - self._floor <= len(outcomes):
            for sequence in range(self._floor + 1, floor + 1):
                outcomes.pop(sequence, None)
        else:
            self._outcomes = {n: known for n, known in outcomes.items() if n > floor}
        self._floor = floor

    def state(self) -> SessionState:
        return SessionState(self.agent, self.opened, self._last, tuple(self._outcomes.items()))

    def load(self, state: SessionState) -> None:
        self._last = state.last
        self._floor = max(0, state.last - self._window)
        self._outcomes = dict(state.outcomes)


class Sessions:
    """Every live session, in the order of their opening."""

    def __init__(self, limits: Limits, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._events = events
        self._live: dict[SessionId, Session] = {}
        self._by_agent: dict[AgentId, Session] = {}
        self._by_peer: dict[PeerId, dict[SessionId, Session]] = {}
        self._ended: OrderedDict[SessionId, Outcome] = OrderedDict()
        """The last word about ids that are no more: Committed where it ended, or the refusal of
        its OpenSession. The newest `sessions_max` of them."""

    def get(self, session: SessionId) -> Session | None:
        return self._live.get(session)

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

    def answer_open(self, command: OpenSession) -> Outcome | None:
        """The outcome of an OpenSession that opens nothing; None: it opens.

        Refused: invalid, unknown_session (it has ended), name_taken, limit.
        """
        session = self._live.get(command.session)
        if session is not None:
            if _agent_of(command, session.agent.joined_index) == session.agent:
                return session.opened
            return Refused("invalid", f"session {command.session} is open as another agent")
        ended = self._ended.get(command.session)
        if ended is not None:
            return ended if isinstance(ended, Refused) else self.answer_missing(command)
        if not self._is_valid(command):
            return Refused("invalid", "an agent with malformed fields")
        refusal = self._refusal(command)
        if refusal is not None:
            self._remember_ended(command.session, refusal)
        return refusal

    def of_agent(self, agent: AgentId) -> Session | None:
        """The session that the agent has; it must end before another one opens."""
        return self._by_agent.get(agent)

    def open(self, entry: Entry, command: OpenSession) -> Outcome:
        """Begin a session that `answer_open` let pass and that has no older one."""
        assert command.agent not in self._by_agent
        agent = _agent_of(command, entry.index)
        opened = entry.committed()
        session = Session(agent, opened, self._limits.session_window)
        session.record(command.sequence, opened)
        self._insert(session)
        self._events.append(AgentJoined(agent))
        return opened

    def end(self, entry: Entry, session: Session, reason: str) -> None:
        agent = session.agent
        del self._live[agent.session]
        del self._by_agent[agent.id]
        del self._by_peer[agent.peer][agent.session]
        if not self._by_peer[agent.peer]:
            del self._by_peer[agent.peer]
        self._remember_ended(agent.session, entry.committed())
        self._events.append(AgentLeft(agent, reason))

    def state(self) -> SessionsState:
        return SessionsState(
            tuple(session.state() for session in self._live.values()), tuple(self._ended.items())
        )

    def load(self, state: SessionsState) -> None:
        self._live, self._by_agent, self._by_peer = {}, {}, {}
        for stored in state.live:
            session = Session(stored.agent, stored.opened, self._limits.session_window)
            session.load(stored)
            self._insert(session)
        self._ended = OrderedDict(state.ended)

    def _insert(self, session: Session) -> None:
        agent = session.agent
        self._live[agent.session] = session
        self._by_agent[agent.id] = session
        self._by_peer.setdefault(agent.peer, {})[agent.session] = session

    def _remember_ended(self, session: SessionId, outcome: Outcome) -> None:
        self._ended[session] = outcome
        if len(self._ended) > self._limits.sessions_max:
            self._ended.popitem(last=False)

    def _is_valid(self, command: OpenSession) -> bool:
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
    )
