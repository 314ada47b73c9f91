"""What whoever waits is told when a peer ends: what has ended it is the cause of the error."""

from mabeam_p2p.errors import Closed, OutcomeUnknown
from mabeam_p2p.requests import EFFECTS, Request


def closed(name: str, failure: BaseException | None) -> Closed:
    """failure: what stopped the peer against its will; None: it was closed."""
    if failure is None:
        return Closed(f"peer {name} has been closed")
    error = Closed(f"peer {name} has stopped: {failure}; its log says more")
    error.__cause__ = failure
    return error


def under_way(request: Request, ended: Closed) -> Closed | OutcomeUnknown:
    """For a request that the peer had and has not answered."""
    if not isinstance(request, EFFECTS):
        return ended
    error = OutcomeUnknown(
        f"{ended}; it was under way and may have been done, or may be committed later"
    )
    error.__cause__ = ended.__cause__
    return error
