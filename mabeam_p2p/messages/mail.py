"""50..59: mail between agents."""

from msgspec import Struct

from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import MailAnswer


class Letter(Struct, frozen=True, gc=False, array_like=True, tag=50):
    """From one agent to others, all of whom live at the receiver. Sent once."""

    number: int
    """The sender's peer's own count of its letters: what is not greater than the last one heard is
    a copy, or late."""
    sender: AgentId
    targets: tuple[AgentId, ...]
    group: str
    topic: str
    value: bytes
    wants_answer: bool
    timeout: int
    """Microseconds for which the sender waits."""


class LetterReceipt(Struct, frozen=True, gc=False, array_like=True, tag=51):
    """What became of a letter's targets; those that are not named do not live here."""

    number: int
    delivered: tuple[AgentId, ...]
    full: tuple[AgentId, ...]
    """Their mailboxes have no room."""


class LetterAnswer(Struct, frozen=True, gc=False, array_like=True, tag=52):
    number: int
    """Of the letter."""
    answer: MailAnswer


MailMessage = Letter | LetterReceipt | LetterAnswer
