"""I16 and I17: what a peer sends of its own accord is bounded, and so is what it holds.

    I16 traffic    messages that answer nobody, of one peer in one second; no message beyond the
                   sizes that the limits promise
    I17 memory     what waits in a peer's queues, in bytes and in number

What is sent for the log is bounded by what agents ask; what answers, by what it answers. A storm
feeds on neither: greetings that lead to greetings, news that is told again for ever, elections
without end.
"""

from collections.abc import Callable
from typing import Any

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    Forward,
    Frame,
    Gossip,
    Hello,
    Message,
    Offer,
    Probe,
    Refuse,
    Relay,
    Relayed,
    TreeAsk,
    VoteRequest,
    Withdraw,
)
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.protocol.variables.tree import ROOT
from mabeam_p2p.testing.checkers import Violation

SECOND = 1_000_000
UNASKED = (Probe, Gossip, Hello, Refuse, VoteRequest, Offer, Withdraw)
"""What a peer says without being asked. And the first question of each exchange of variables: what
it asks then, an answer leads to."""

ROUNDS = 3
"""Of such messages to each other peer in the shortest interval that any of them is sent in."""

BURST = 30
"""And so many to each other peer besides: a start, and a cluster that heals."""

CONFIGURATION_BYTES = 2_048
"""What one change of the voters takes in the log, with all that it may name. It is taken when there
is no room for commands: what keeps them from being committed may be the voters."""


class Traffic:
    """I16, of all peers of one run."""

    def __init__(self, peers: int, timing: Timing, limits: Limits) -> None:
        shortest = min(
            timing.probe_interval_seconds,
            timing.greet_interval_seconds,
            timing.gossip_interval_seconds,
            timing.election_timeout_seconds,
        )
        self.bound = int(peers * (ROUNDS / shortest + BURST))
        """Messages of one peer in one second of virtual time."""
        self.most = 0
        """As many as any peer has sent so far."""
        self._limits = limits
        self._counts: dict[PeerId, tuple[int, int]] = {}
        """The second, and how many messages in it."""
        self._checks: dict[type[Any], Callable[[PeerId, Any, int], None]] = {
            **dict.fromkeys(UNASKED, self._unasked),
            TreeAsk: self._tree_ask,
            AppendEntries: self._append_entries,
            **dict.fromkeys((Forward, Relay, Relayed), self._commands),
        }

    def sent(self, peer: PeerId, message: Message, now: int) -> None:
        check = self._checks.get(type(message))
        if check is not None:
            check(peer, message, now)

    def _unasked(self, peer: PeerId, message: Message, now: int) -> None:
        second, count = self._counts.get(peer, (0, 0))
        count = count + 1 if second == now // SECOND else 1
        self._counts[peer] = now // SECOND, count
        self.most = max(self.most, count)
        if count > self.bound:
            raise Violation("I16", f"{peer} sends {count} messages unasked in a second: {message}")

    def _tree_ask(self, peer: PeerId, message: TreeAsk, now: int) -> None:
        if any(node == ROOT for node, _ in message.nodes):
            self._unasked(peer, message, now)

    def _append_entries(self, peer: PeerId, message: AppendEntries, now: int) -> None:
        limits = self._limits
        size = sum(len(batch.blob) for batch in message.batches)
        is_one = len(message.batches) == 1 and size <= limits.batch_bytes_max
        if len(message.batches) > limits.append_batches_max or (
            size > limits.append_bytes_max and not is_one
        ):
            count = len(message.batches)
            raise Violation("I16", f"{peer} appends {count} batches of {size} bytes at once")

    def _commands(self, peer: PeerId, message: Forward | Relay | Relayed, now: int) -> None:
        if len(message.blob) > self._limits.batch_bytes_max:
            raise Violation("I16", f"{peer} passes on {len(message.blob)} bytes of commands")


def check_frame(peer: PeerId, frame: Frame, size: int, limits: Limits) -> None:
    """I16 for a frame that was encoded. size: bytes."""
    if size > limits.frame_bytes_max or len(frame.messages) > limits.frame_messages_max:
        count = len(frame.messages)
        raise Violation("I16", f"{peer} sends a frame of {count} messages, {size} bytes")


def check_memory(node: Node, limits: Limits) -> int:
    """I17: the queues of one peer within their limits. Returns the bytes that they hold."""
    leadership = node.replication.leadership
    held = 0 if leadership is None else leadership.held_bytes
    relayed = node.relays.waiting_bytes
    for what, value, bound in (
        ("commands under way", len(node.pending), limits.pending_requests_max),
        ("requests that wait", len(node.waits), limits.pending_requests_max),
        ("bytes not yet committed", held, limits.uncommitted_bytes_max + _configuration(node)),
        ("bytes to pass on", relayed, limits.relay_bytes_max),
    ):
        if value > bound:
            raise Violation("I17", f"{node.peer} holds {value} {what}, more than {bound}")
    return held + relayed


def _configuration(node: Node) -> int:
    """Bytes beyond the limit that a change of the voters may take while it is under way."""
    replication = node.replication
    leadership = replication.leadership
    if leadership is None:
        return 0
    # The others may have committed it while this peer's own disk does not have it.
    is_stored = leadership.durable_index >= replication.log.configuration_index
    is_over = replication.log.is_configured and is_stored and not leadership.is_configuring
    return 0 if is_over else CONFIGURATION_BYTES
