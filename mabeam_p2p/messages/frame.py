"""The frame that carries messages between peers, and what may be in it."""

from msgspec import Struct

from mabeam_p2p.ids import NOBODY, ClusterId, PeerId
from mabeam_p2p.messages.bootstrap import BootstrapMessage
from mabeam_p2p.messages.hierarchy import AckMessage, Relay, Relayed, RelayRefused
from mabeam_p2p.messages.log import (
    ChangeMessage,
    Forward,
    ForwardRefused,
    ReplicationMessage,
    TransferMessage,
)
from mabeam_p2p.messages.mail import MailMessage
from mabeam_p2p.messages.membership import Hello, MembershipMessage, Refuse
from mabeam_p2p.messages.variables import FormerVariableMessage, VariableMessage

LogMessage = (
    ReplicationMessage
    | Forward
    | ForwardRefused
    | Relay
    | Relayed
    | RelayRefused
    | TransferMessage
    | ChangeMessage
)
Heard = (
    MembershipMessage
    | BootstrapMessage
    | LogMessage
    | VariableMessage
    | FormerVariableMessage
    | AckMessage
    | MailMessage
)
"""What is heard only from a peer that has been met."""

Message = Hello | Refuse | Heard


class Frame(Struct, frozen=True, gc=False, array_like=True):
    """What travels in one ZeroMQ message: everything that was due to one peer in one turn."""

    version: int
    source: PeerId
    source_epoch: int
    """Opens of the source's data folder: an older one is a process that is gone."""
    target_epoch: int
    """Epoch of the receiver as the source knows it; 0 only in acquaintance. Another one means that
    the frame was queued for a process that is gone."""
    sequence: int
    """Grows within (source, source_epoch, target)."""
    cluster: ClusterId
    """The cluster that the source belongs to; empty while it belongs to none."""
    messages: tuple[Message, ...]
    target: PeerId = NOBODY
    """Whom the source means; empty when it greets an address. A folder that was lost and made anew
    is another peer at the same address, whose epochs begin again: what was queued for the one that
    is gone must not answer its questions, or elect it."""
