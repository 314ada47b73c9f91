"""What agents say to each other, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mabeam_p2p.api.results.base import Decoded, Result, decoded
from mabeam_p2p.events import MailArrived
from mabeam_p2p.requests import MailSent


@dataclass(frozen=True, slots=True)
class Message(Result):
    """What an agent was sent."""

    sender: str
    group: str
    """Whose agents were addressed; `all` also for a whisper."""
    topic: str
    value: Decoded
    wants_answer: bool

    @staticmethod
    def of(event: MailArrived) -> "Message":
        return Message(
            str(event.sender), event.group, event.topic, decoded(event.value), event.wants_answer
        )


@dataclass(frozen=True, slots=True)
class Receipts(Result):
    """What became of a message: ids of agents."""

    delivered: tuple[str, ...]
    """It lies in their mailboxes, or did."""
    overloaded: tuple[str, ...]
    """Certainly not delivered: their mailboxes are full."""
    unreachable: tuple[str, ...]
    """Certainly not delivered: they, or their peers, are gone."""
    silent: tuple[str, ...]
    """Nothing was heard of them in time, or before they were gone; it may have been delivered."""

    @staticmethod
    def of(sent: MailSent) -> "Receipts":
        return Receipts(
            tuple(map(str, sent.delivered)),
            tuple(map(str, sent.full)),
            tuple(map(str, sent.unreachable)),
            tuple(map(str, sent.silent)),
        )


@dataclass(frozen=True, slots=True)
class Answers(Result):
    """What the agents of a group say, by agent id."""

    values: Mapping[str, Decoded]
    errors: Mapping[str, str]
    """Why an agent that has the message gives no answer."""
    overloaded: tuple[str, ...]
    unreachable: tuple[str, ...]
    silent: tuple[str, ...]
    """They have not answered in time, or before they were gone."""

    @staticmethod
    def of(sent: MailSent) -> "Answers":
        return Answers(
            {str(one.agent): decoded(one.value) for one in sent.answers if not one.error},
            {str(one.agent): one.error for one in sent.answers if one.error},
            tuple(map(str, sent.full)),
            tuple(map(str, sent.unreachable)),
            tuple(map(str, sent.silent)),
        )

    @property
    def is_complete(self) -> bool:
        """Whether every agent of the group has answered with a value."""
        return not (self.errors or self.overloaded or self.unreachable or self.silent)
