"""What is said of proposals."""

from mabeam_p2p.commands.base import SessionCommand
from mabeam_p2p.ids import ProposalId
from mabeam_p2p.records import Choice, Policy


class ProposalCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what is said of proposals."""


class OpenProposal(ProposalCommand, frozen=True, gc=False, array_like=True, tag=7):
    proposal: ProposalId
    parameter: str
    value: bytes
    rationale: str
    metadata: bytes
    group: str
    timeout: int
    """Microseconds of the log's clock."""
    base_version: int | None
    policy: Policy
    guard: int = 0
    """Microseconds of the log's clock within which the electorate must confirm that it has put the
    accepted value into effect, else the one before returns; 0: nobody needs to."""


class CastVote(ProposalCommand, frozen=True, gc=False, array_like=True, tag=8):
    proposal: ProposalId
    choice: Choice
    confidence: int
    """Thousandths, 0..1000."""
    rationale: str


AnyProposalCommand = OpenProposal | CastVote
