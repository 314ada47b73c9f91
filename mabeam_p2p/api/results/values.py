"""Agreed and shared values, and items."""

from dataclasses import dataclass

from mabeam_p2p.api.results.base import (
    Decoded,
    Level,
    Result,
    decoded,
)
from mabeam_p2p.records import Parameter
from mabeam_p2p.requests import Acknowledged


@dataclass(frozen=True, slots=True)
class Reading(Result):
    """A value and how far it can be trusted. `level` linearizable: nothing newer was committed
    before the question. `local`: this peer was up to date with a leader `age_seconds` ago, or, if
    it never was since it started, its state is at most as old by its wall clock."""

    name: str
    value: Decoded
    version: int | str
    """Of a parameter the log index of its decision; of a variable the dot `peer:counter` of its
    latest write."""
    level: Level
    index: int | None
    """Log index up to which the answering peer had applied the log; None for variables."""
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Change(Result):
    """What a watch yields. Changes that nobody took yet are coalesced by name."""

    name: str
    value: Decoded
    """None if the name was deleted."""
    version: int | str
    initial: bool
    """Whether this was so when the watch began."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledgement(Result):
    """Where a write of variables has come; names of peers."""

    applied: tuple[str, ...]
    superseded: tuple[str, ...]
    """Peers that already had something newer."""
    merged: tuple[str, ...]
    """Peers that had something concurrent: both are kept, the resolver decides."""
    missing: tuple[str, ...]
    left: tuple[str, ...]

    @staticmethod
    def of(answer: Acknowledged) -> "Acknowledgement":
        return Acknowledgement(
            answer.applied, answer.superseded, answer.merged, answer.missing, answer.left
        )


@dataclass(frozen=True, slots=True)
class JournalItem(Result):
    position: int
    """Counts from 1."""
    value: Decoded


def parameter_reading(record: Parameter, level: Level, index: int, age: float) -> Reading:
    return Reading(record.name, decoded(record.value), record.version, level, index, age)
