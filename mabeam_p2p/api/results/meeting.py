"""Barriers that were passed."""

from dataclasses import dataclass

from mabeam_p2p.api.results.base import (
    Result,
)
from mabeam_p2p.records import Generation as GenerationRecord


@dataclass(frozen=True, slots=True)
class Release(Result):
    """A generation of a barrier that was released."""

    barrier: str
    generation: int
    order: int
    """This agent's place among the arrivals, from 0."""
    parties: tuple[str, ...]
    """Who arrived, in this order."""
    seconds: float
    """How long this agent waited."""

    @staticmethod
    def of(record: GenerationRecord, agent: str, waited: float) -> "Release":
        arrived = tuple(map(str, record.arrived))
        return Release(
            record.barrier, record.generation, arrived.index(agent), arrived, round(waited, 6)
        )
