"""Claims of locks and items, from the command that makes one to its place in the log."""

from collections.abc import Callable

from mabeam_p2p.commands import AnyEndClaim
from mabeam_p2p.ids import CLUSTER_SESSION, SessionId
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import Found, LockQuery, QueueQuery


class Claimed:
    """A claim as its command has made it. end: what ends it, by its number. query: what finds it,
    by its ticket."""

    def __init__(
        self,
        what: str,
        name: str,
        end: Callable[[int], AnyEndClaim],
        query: Callable[[int], LockQuery | QueueQuery],
    ) -> None:
        self.what = what
        self.name = name
        self.query = query
        self.session = CLUSTER_SESSION
        self.number = 0
        """0: nothing was sent."""
        self._end = end

    def stamped(self, session: SessionId, number: int) -> None:
        """The command is about to be sent under these numbers."""
        self.session, self.number = session, number

    def end(self) -> AnyEndClaim:
        return self._end(self.number)


def claims_in(found: Found) -> list[Claim]:
    """The claims that an answer to a LockQuery or QueueQuery holds."""
    claims = [claim for lock in found.locks for claim in lock.claims]
    return claims + [claim for queue in found.queues for claim in queue.claims]
