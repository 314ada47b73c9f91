"""What whoever waits is told when a peer ends: what has ended it is the cause of the error."""

from mabeam_p2p.errors import Closed, OutcomeUnknown


def closed(name: str, failure: BaseException | None) -> Closed:
    """failure: what stopped the peer against its will; None: it was closed."""
    if failure is None:
        return Closed(f"peer {name} has been closed")
    error = Closed(f"peer {name} has stopped: {failure}; its log says more")
    error.__cause__ = failure
    return error


def in_doubt(ended: Closed) -> OutcomeUnknown:
    """For a command that was under way."""
    error = OutcomeUnknown(f"{ended}; the command was under way and may be committed")
    error.__cause__ = ended.__cause__
    return error
