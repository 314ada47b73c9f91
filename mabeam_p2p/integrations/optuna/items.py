"""What stands in the journal: Optuna's logs, packed into items, and taken out again.

1. Logs that are appended together are one text, in JSON as Optuna's own backends write it: that is
   the domain of its logs, not-a-number and wide integers included, which no value here can hold.
2. A text that is too long for one item is cut into parts. It counts where its last part stands; one
   whose last part never came does not count at all.
3. A writer numbers its texts and parts. What does not go on where this writer was is a copy of what
   stands before it, or the rest of something given up: all readers leave it out alike. So whoever
   does not know whether an item was appended can append it again.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from mabeam_p2p.errors import InvalidValue

Log: TypeAlias = dict[str, Any]
"""One log of Optuna. Any: what is in it, Optuna knows alone."""

FORMAT = 1
"""First field of every item."""

PART_BYTES = 60_000
"""Of text in one item: what is left of the limit of a value is for the other fields."""

PARTS_MAX = 64
"""Parts of one text: some 3.8 MB, which one slow reader holds in memory for each writer."""

Count = Annotated[int, Meta(ge=0)]


class Author(Struct, frozen=True):
    """An agent in one of its sessions."""

    agent: str
    joined_index: int


class Item(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One item of the journal. part: from 0; `part_count` of them make the text `number`."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    agent: str
    joined_index: Count
    writer: str
    number: Annotated[int, Meta(ge=1)]
    part: Count
    part_count: Annotated[int, Meta(ge=1, le=PARTS_MAX)]
    text: Annotated[str, Meta(max_length=PART_BYTES)]

    @property
    def author(self) -> Author:
        return Author(self.agent, self.joined_index)

    def value(self) -> list[object]:
        """As plain data, which can be appended to a journal."""
        return [getattr(self, field) for field in self.__struct_fields__]


def packed(author: Author, writer: str, number: int, logs: list[Log]) -> list[Item]:
    """The items of one text.

    Raises InvalidValue if it is too long, and what `json` raises for what is no JSON.
    """
    text = json.dumps(logs, separators=(",", ":"))
    parts = [text[at : at + PART_BYTES] for at in range(0, len(text), PART_BYTES)]
    if len(parts) > PARTS_MAX:
        raise InvalidValue(
            f"a log of {len(text)} bytes is too large for the journal, which takes "
            f"{PARTS_MAX * PART_BYTES}: keep what is large in a file, and its name in the attribute"
        )
    return [
        Item(FORMAT, author.agent, author.joined_index, writer, number, part, len(parts), text)
        for part, text in enumerate(parts)
    ]


class _Writer:
    """How far one writer has come: the place of the last part, and the text so far."""

    __slots__ = ("parts", "place")

    def __init__(self) -> None:
        self.place = 0, 0
        self.parts: list[str] = []


class Assembler:
    """Takes the items of a journal in order, and gives the logs that they complete."""

    def __init__(self) -> None:
        self._writers: dict[str, _Writer] = {}

    def take(self, value: object, where: str) -> Iterator[tuple[Author, Log]]:
        """The logs that count from this item on. Raises InvalidValue for what is none of ours.

        where: for the message.
        """
        try:
            item = msgspec.convert(value, Item)
        except msgspec.ValidationError as error:
            raise InvalidValue(
                f"{where} was not written by this storage ({error}): give the study another name"
            ) from None
        text = self._completed(item)
        if text is None:
            return iter(())
        try:
            logs = msgspec.convert(json.loads(text), list[Log])
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"{where} holds no logs of Optuna: {error}") from None
        return ((item.author, log) for log in logs)

    def _completed(self, item: Item) -> str | None:
        writer = self._writers.setdefault(item.writer, _Writer())
        place = item.number, item.part
        if place <= writer.place and writer.place != (0, 0):
            return None
        if item.part == 0:
            writer.parts = []
        elif place != (writer.place[0], writer.place[1] + 1):
            return None
        writer.place = place
        writer.parts.append(item.text)
        if item.part + 1 < item.part_count:
            return None
        text = "".join(writer.parts)
        writer.parts = []
        return text
