"""What one client of the local socket may ask for. Decides; does no I/O.

1. A client with a name commits commands of the session that it greeted with, and opens that
   session under that name. Where the agent lives is the daemon's word.
2. A client without a name has no session. Its proposals, votes, items, elections, counts, money,
   budgets, ratings, auctions and keys are those of the daemon's own agent: it marks them with
   session 0, and the daemon numbers them. What else needs a session is refused as `no_session`.
3. A client sends and takes the letters of its own agent alone.
4. What the leader alone writes, or a peer's own proof alone says, is refused to every client.
5. The host closes a session with CLOSING_SEQUENCE, behind which nothing can come: what the client
   had still under way is stale then.
"""

import msgspec

from mabeam_p2p.commands import (
    AddCounter,
    AnyAuctionCommand,
    AnyBudgetCommand,
    AnyKeyCommand,
    AnyLedgerCommand,
    AppendJournal,
    CastVote,
    CloseSession,
    ClusterCommand,
    Elect,
    OpenProposal,
    OpenSession,
    PutItem,
    Rate,
    SessionCommand,
    SetCounter,
)
from mabeam_p2p.ids import CLUSTER_SESSION, INTEGER_MAX, AgentId, PeerId, SessionId
from mabeam_p2p.key_requests import Introduced
from mabeam_p2p.requests import Refused, Request, SendMail, Submit, TakeMail

CLOSING_SEQUENCE = INTEGER_MAX
"""The last number that a session can use."""

OwnCommand = (
    OpenProposal
    | CastVote
    | AppendJournal
    | Elect
    | AddCounter
    | SetCounter
    | PutItem
    | AnyLedgerCommand
    | AnyBudgetCommand
    | Rate
    | AnyAuctionCommand
    | AnyKeyCommand
)
"""What a client without a name may say with the voice of the daemon's own agent."""


class Admission:
    """The rules for one connection. `agent` None and session 0: a client without a name."""

    def __init__(self, agent: AgentId | None, session: SessionId, peer: PeerId, epoch: int) -> None:
        assert (agent is None) == (session == CLUSTER_SESSION)
        self.agent = agent
        self.session = session
        self.is_open = False
        """Whether the session may stand in the log."""
        self._peer = peer
        self._epoch = epoch

    def admit(self, request: Request) -> Request | OwnCommand | Refused:
        """The request to pass on, the command to give to the daemon's own agent, or why not."""
        match request:
            case Submit(command=OpenSession() as command):
                return self._opened(request, command)
            case Submit(command=command) if isinstance(command, OwnCommand):
                if self.agent is None and command.session == CLUSTER_SESSION:
                    return command
                return self._mine(request)
            case Submit(command=SessionCommand()):
                return self._mine(request)
            case SendMail(sender=agent) | TakeMail(agent=agent) if agent != self.agent:
                return Refused("invalid", f"this connection greeted as {self.agent or 'nobody'}")
            case Introduced():
                return Refused("invalid", "a peer is introduced by its own proof")
            case Submit(command=ClusterCommand() as command):
                return Refused("invalid", f"{type(command).__name__} is written by leaders only")
            case _:
                return request

    def closing(self) -> Submit | None:
        """What ends the session that this client leaves behind, if it may stand in the log."""
        if not self.is_open:
            return None
        return Submit(CloseSession(self.session, CLOSING_SEQUENCE, "disconnected"))

    def _mine(self, request: Submit) -> Submit | Refused:
        if request.command.session == self.session != CLUSTER_SESSION:
            return request
        if self.agent is None:
            return Refused("no_session", "the daemon's own agent does not do this")
        return Refused("unknown_session", "this connection greeted with another session")

    def _opened(self, request: Submit, command: OpenSession) -> Submit | Refused:
        if isinstance(refusal := self._mine(request), Refused):
            return refusal
        if command.agent != self.agent:
            return Refused("name_taken", f"this connection greeted as {self.agent}")
        self.is_open = True
        truth = msgspec.structs.replace(command, peer=self._peer, epoch=self._epoch)
        return msgspec.structs.replace(request, command=truth)
