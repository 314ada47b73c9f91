"""The committed log as people read it: one entry for each command."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from msgspec import Struct, structs

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import Decoded, Result, decoded, seconds
from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.records import Batch
from mabeam_p2p.requests import LogQuery
from mabeam_p2p.wire.codec import CborCodec

BATCHES_AT_ONCE = 64

_VALUES = ("value", "item", "metadata")
"""Fields that hold an encoded value."""


@dataclass(frozen=True, slots=True)
class Entry(Result):
    """A committed command. `when`: seconds since 1970 by the log's clock."""

    index: int
    term: int
    when: float
    command: str
    """Its kind, as `OpenProposal`."""
    facts: Mapping[str, Decoded]

    def to_dict(self) -> dict[str, object]:
        return {
            "index": self.index,
            "term": self.term,
            "when": self.when,
            "command": self.command,
            **self.facts,
        }


async def entries(attachment: Attachment, first: int) -> tuple[Entry, ...]:
    """Committed entries from index `first` on, some at a time; empty: there are none yet."""
    found = await attachment.find(LogQuery(first, BATCHES_AT_ONCE), "reading the log")
    codec = CborCodec(attachment.limits)
    read = [entry for batch in found.batches for entry in _of(batch, codec)]
    return tuple(entry for entry in read if entry.index >= first)


def _of(batch: Batch, codec: CborCodec) -> list[Entry]:
    commands = codec.decode_commands(batch.count, batch.blob)
    return [
        Entry(index, batch.term, seconds(batch.clock), type(command).__name__, _facts(command))
        for index, command in enumerate(commands, batch.index)
    ]


def _facts(command: AnyCommand) -> dict[str, Decoded]:
    return {name: _fact(name, value) for name, value in structs.asdict(command).items()}


def _fact(name: str, value: Decoded) -> Decoded:
    match value:
        case bytes():
            return decoded(value) if name in _VALUES and value else None
        case Enum():
            return value.name.lower()
        case tuple():
            return list(value)
        case Struct():
            return structs.asdict(value)
        case _:
            return value
