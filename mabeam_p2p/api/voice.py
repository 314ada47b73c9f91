"""What one agent speaks and listens with, the same in every group."""

from collections.abc import Callable
from dataclasses import dataclass

from mabeam_p2p.api.appliers import Appliers
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.bidders import Bidders
from mabeam_p2p.api.evaluators import Evaluators
from mabeam_p2p.api.grants import Grants
from mabeam_p2p.api.mail import Mail
from mabeam_p2p.api.rankings import Rankings
from mabeam_p2p.api.scoring import Scoring
from mabeam_p2p.api.seats import Seats
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.work import Work


@dataclass(frozen=True, slots=True)
class Voice:
    """The parts of an agent that its groups share."""

    attachment: Attachment
    session: Session
    agent: Callable[[], str]
    """The agent's id, as it is now."""
    evaluators: Evaluators
    appliers: Appliers
    grants: Grants
    seats: Seats
    rankings: Rankings
    scorings: list[Scoring]
    work: Work
    bidders: Bidders
    mail: Mail
