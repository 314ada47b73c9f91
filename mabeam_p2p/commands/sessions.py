"""What begins, keeps, changes and ends an agent."""

from mabeam_p2p.commands.base import Command, SessionCommand
from mabeam_p2p.ids import AgentId, PeerId


class OpenSession(Command, frozen=True, gc=False, array_like=True, tag=4):
    """An agent begins. It may take over from its own older session, never from another peer. Sent
    again from the same peer with a higher epoch it moves the live session there."""

    agent: AgentId
    peer: PeerId
    epoch: int
    groups: tuple[str, ...]
    participates: bool
    eligible: bool
    capabilities: tuple[tuple[str, int], ...] = ()
    lease: int = 0
    """Microseconds of the log's clock that the session lives after its last command; 0: until it
    is closed or its peer departs."""
    yields: bool = False
    """It holds a seat only while no other agent can."""


class CloseSession(SessionCommand, frozen=True, gc=False, array_like=True, tag=5):
    """An agent ends; what it held is released here."""

    reason: str


class JoinGroup(SessionCommand, frozen=True, gc=False, array_like=True, tag=11):
    group: str


class LeaveGroup(SessionCommand, frozen=True, gc=False, array_like=True, tag=12):
    group: str


class Describe(SessionCommand, frozen=True, gc=False, array_like=True, tag=13):
    """Set one text of the agent's record; an empty text removes it."""

    key: str
    text: str


class KeepAlive(SessionCommand, frozen=True, gc=False, array_like=True, tag=14):
    """Renews the session's lease, as every command of the session does."""


AnySessionsCommand = CloseSession | JoinGroup | LeaveGroup | Describe | KeepAlive
"""OpenSession aside: it stands in no session yet."""
