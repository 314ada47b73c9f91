"""What the processes of the bulk bench are told, and how they answer: one line of JSON each."""

import msgspec
from msgspec import Struct

from tools.children import hear, say


class Reduce(Struct, frozen=True, tag=True):
    """Make the mean of float32 arrays of so many bytes, so often. Answer: Times, in order."""

    name: str
    size: int
    repeat: int


class Commit(Struct, frozen=True, tag=True):
    """Append to a journal, one after another, for so long; without seconds, until `Enough`. Answer:
    Times of the appends."""

    seconds: float | None = None


class Enough(Struct, frozen=True, tag=True):
    """No answer."""


class Role(Struct, frozen=True, tag=True):
    """Answer: Word, its part in the log."""


Order = Reduce | Commit | Enough | Role


class Times(Struct, frozen=True, tag=True):
    """Seconds that each operation took."""

    taken: list[float]
    of: str
    """The kind of order that it answers."""


class Word(Struct, frozen=True, tag=True):
    word: str


Answer = Times | Word

decode_order = msgspec.json.Decoder(Order).decode
decode_answer = msgspec.json.Decoder(Answer).decode


def reply(answer: Answer) -> None:
    say(msgspec.json.encode(answer))


__all__ = [
    "Answer",
    "Commit",
    "Enough",
    "Order",
    "Reduce",
    "Role",
    "Times",
    "Word",
    "decode_answer",
    "decode_order",
    "hear",
    "reply",
]
