"""What agents do with arrays, within one group."""

from collections.abc import Callable

from mabeam_p2p.api.arrays import Array
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.collectives import BulkResult, Collective, Participation
from mabeam_p2p.api.exchanges import AllReduce, Broadcast, Gather
from mabeam_p2p.api.reductions import OpWord
from mabeam_p2p.api.session import Session
from mabeam_p2p.ids import scoped


class ArrayScope:
    """The part of a Scope that is about arrays."""

    _group: str
    _attachment: Attachment
    _session: Session
    _agent: Callable[[], str]

    async def all_reduce(
        self,
        array: Array,
        *,
        name: str,
        parties: int,
        op: OpWord = "mean",
        weight: float | None = None,
        trim: float = 0.25,
        timeout: float | None = None,
    ) -> BulkResult:
        """One array made of those of all parties, the same bits for everybody.

        array: a numpy array, a torch tensor or an array.array, of one shape and dtype everywhere;
        the result is of the same kind. It must not change until then. op: sum, mean, weighted (by
        the `weight` of each), trimmed_mean (without the share `trim` of the parties at each end),
        median, min or max. timeout: seconds until all parties have come, and then until all have
        the result.

        Who departs meanwhile is left out, and the result says so. Raises BulkMismatch if the
        parties do not fit together, BulkBroken if it ended without a result, and InvalidValue.
        """
        kind = AllReduce(array, op, weight, trim)
        return await self._collect(name, kind, parties, timeout)

    async def broadcast(
        self, name: str, array: Array = None, *, parties: int, timeout: float | None = None
    ) -> BulkResult:
        """The array of the one party that gives it, for all parties. It may be bytes as well.

        Raises as `all_reduce`; BulkBroken, too, if that party departs.
        """
        return await self._collect(name, Broadcast(array), parties, timeout)

    async def gather(
        self,
        name: str,
        array: Array,
        *,
        parties: int,
        to: str | None = None,
        timeout: float | None = None,
    ) -> BulkResult:
        """The arrays of all parties, of whatever shapes, by agent. to: the id of the agent that
        gets them; the others get None. Without it everybody does. Raises as `broadcast`."""
        return await self._collect(name, Gather(array, to), parties, timeout)

    async def _collect(
        self, name: str, kind: Collective, parties: int, timeout: float | None
    ) -> BulkResult:
        call = Participation(
            self._attachment,
            self._session,
            self._agent(),
            scoped(self._group, name),
            kind,
            parties=parties,
            timeout=timeout,
        )
        return await call.run()
