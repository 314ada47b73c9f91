"""What is said of seats."""

from mabeam_p2p.commands.base import SessionCommand
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Among


class SeatCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what is said of seats."""


class PublishScore(SeatCommand, frozen=True, gc=False, array_like=True, tag=30):
    """How fit the agent is, in place of what it said before; nothing at all takes it back."""

    seat: str
    """As the log has it; empty: for every seat that it publishes no score of its own for."""
    scores: tuple[tuple[str, int], ...]
    """Thousandths, 0..1000, by the name of what they measure."""


class Stand(SeatCommand, frozen=True, gc=False, array_like=True, tag=31):
    """The agent wants the seat, or does not. Who does not is no candidate until it says so."""

    seat: str
    stands: bool


class Elect(SeatCommand, frozen=True, gc=False, array_like=True, tag=32):
    """See to it that the seat is held."""

    seat: str
    group: str
    timeout: int
    """Microseconds of the log's clock that an election may take, this one and later ones."""
    stands: bool
    """The agent wants the seat itself."""
    challenge: bool = False
    """Open an election also over a seat that is held."""
    among: Among = Among.ELIGIBLE
    weights: tuple[tuple[str, int], ...] = ()
    """What each published score weighs in the default ranking; empty: all alike."""


class CastRanking(SeatCommand, frozen=True, gc=False, array_like=True, tag=33):
    seat: str
    election: int
    """Its number: the index at which it was opened."""
    points: tuple[tuple[AgentId, int], ...]
    """0..1000 by candidate; empty: by the published scores."""


class Resign(SeatCommand, frozen=True, gc=False, array_like=True, tag=34):
    """Give the seat up, and stand down."""

    seat: str
    token: int = 0
    """The grant that is given up; 0: whichever the agent has."""


AnySeatCommand = PublishScore | Stand | Elect | CastRanking | Resign
