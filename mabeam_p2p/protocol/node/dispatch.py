"""The single table that says which core hears which message."""

from typing import assert_never

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AckRelay,
    AcksRelayed,
    AppendEntries,
    AppendReply,
    ChangeVoter,
    CommitAdvance,
    Digest,
    DigestEntries,
    Form,
    Forward,
    ForwardRefused,
    Gossip,
    Heard,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Letter,
    LetterAnswer,
    LetterReceipt,
    LogMessage,
    Offer,
    Probe,
    ProbeAck,
    ProbeReport,
    ProbeRequest,
    Promise,
    ReadIndex,
    ReadIndexReply,
    Relay,
    Relayed,
    RelayRefused,
    SnapshotReply,
    SpreadAcks,
    TimeoutNow,
    TransferReply,
    TransferRequest,
    TreeAnswer,
    TreeAsk,
    TreeDone,
    VariableAck,
    VariablePush,
    VariableSpread,
    VariableWant,
    VoterAnswer,
    VoteReply,
    VoteRequest,
    Withdraw,
)
from mabeam_p2p.protocol.bootstrap import Bootstrap
from mabeam_p2p.protocol.core import HeardNumbers, Outbox
from mabeam_p2p.protocol.election import Election
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.node.changes import VoterChanges
from mabeam_p2p.protocol.node.credentials import Keys
from mabeam_p2p.protocol.node.handover import Handover
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.protocol.relay import Relays
from mabeam_p2p.protocol.replication import Replication, Role
from mabeam_p2p.protocol.variables import Variables
from mabeam_p2p.records import Standing


class Dispatch:
    """Carries each message to its core. All come from a peer that has been met; messages of the log
    only from a peer of the same formed cluster."""

    def __init__(
        self,
        membership: Membership,
        bootstrap: Bootstrap,
        election: Election,
        replication: Replication,
        pending: Pending,
        relays: Relays,
        variables: Variables,
        mail: Mail,
        changes: VoterChanges,
        handover: Handover,
        keys: Keys,
        outbox: Outbox,
    ) -> None:
        self._membership = membership
        self._bootstrap = bootstrap
        self._election = election
        self._replication = replication
        self._pending = pending
        self._relays = relays
        self._variables = variables
        self._mail = mail
        self._changes = changes
        self._handover = handover
        self._keys = keys
        self._outbox = outbox
        self._forwards_heard = HeardNumbers()
        self._relayed_heard = HeardNumbers()

    def restarted(self, peer: PeerId) -> None:
        """The peer has forgotten what it had."""
        self._mail.restarted(peer)

    def forget(self, peers: list[PeerId]) -> None:
        """They are no members any more; takes and clears them. Who comes back is met anew."""
        for peer in peers:
            self.restarted(peer)
        peers.clear()

    def hear(self, source: PeerId, message: Heard, mine: Standing, now: float) -> None:
        """`mine`: where this peer stands in the bully order."""
        if isinstance(message, LogMessage):
            self._hear_of_log(source, message, mine, now)
            return
        match message:
            case Probe() | ProbeAck() | Gossip() | ProbeRequest() | ProbeReport():
                self._membership.receive(source, message, mine, now)
            case Offer() | Promise() | Withdraw() | Form():
                self._bootstrap.receive(source, message, now)
            case (
                VariablePush()
                | VariableAck()
                | VariableWant()
                | VariableSpread()
                | SpreadAcks()
                | TreeAsk()
                | TreeAnswer()
                | TreeDone()
            ):
                self._variables.receive(source, message, now)
            case Letter() | LetterReceipt() | LetterAnswer():
                self._mail.receive(source, message, now)
            case AckRelay() | AcksRelayed() | Digest() | DigestEntries():
                pass  # Nobody sends them any more.
            case _:
                assert_never(message)

    def _hear_of_log(self, source: PeerId, message: LogMessage, mine: Standing, now: float) -> None:
        match message:
            case (
                AppendEntries()
                | AppendReply()
                | Heartbeat()
                | HeartbeatReply()
                | CommitAdvance()
                | VoteReply()
                | ReadIndex()
                | ReadIndexReply()
                | InstallSnapshot()
                | SnapshotReply()
                | TimeoutNow()
            ):
                self._replication.receive(source, message, mine, False, now)
            case VoteRequest():
                takes_over = self._takes_over(source, message, mine, now)
                self._replication.receive(source, message, mine, takes_over, now)
                if takes_over and self._replication.role is not Role.PRE_CANDIDATE:
                    self._replication.stand(mine)
            case Forward():
                reason = self._append(source, message, self._forwards_heard, now)
                if reason:
                    refusal = ForwardRefused(message.log, message.number, reason)
                    self._outbox.send(source, refusal)
            case ForwardRefused():
                self._pending.receive_refused(source, message)
            case Relayed():
                reason = self._append(source, message, self._relayed_heard, now)
                if reason:
                    self._outbox.send(source, RelayRefused(message.log, message.number, reason))
            case Relay():
                if self._keys.may_propose(source, message, now):
                    self._relays.receive(source, message)
                else:
                    refusal = ForwardRefused(message.log, message.number, "not_leader")
                    self._outbox.send(source, refusal)
            case RelayRefused():
                self._relays.receive_refused(source, message)
            case TransferRequest() | TransferReply():
                self._handover.receive(source, message, now)
            case ChangeVoter():
                self._changes.receive(source, message, now)
            case VoterAnswer():
                self._changes.receive_answer(source, message)
            case _:
                assert_never(message)

    def _takes_over(self, source: PeerId, message: VoteRequest, mine: Standing, now: float) -> bool:
        """Whether to answer a lower candidate's election with OK, and stand instead."""
        replication = self._replication
        return (
            message.pre
            and message.term > replication.term
            and replication.may_stand
            and not replication.is_leader_heard(now)
            and self._election.answers_ok(mine, source, message.standing, now)
        )

    def _append(
        self, source: PeerId, message: Forward | Relayed, heard: HeardNumbers, now: float
    ) -> str:
        """Commands for the leader: append them, or say why it is certain they were not. For that
        a message is heard once: no copy of it may be taken before or after it was refused."""
        if not heard.is_new(source, message.number):
            return ""
        if self._replication.leadership and not self._keys.may_propose(source, message, now):
            return "not_leader"  # Of this, for this one.
        if self._replication.propose(message.count, message.blob):
            return ""
        return self._replication.refusal
