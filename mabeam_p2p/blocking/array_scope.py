"""What agents do with arrays, without `await`."""

from mabeam_p2p.api import scope as scopes
from mabeam_p2p.api.arrays import Array
from mabeam_p2p.api.collectives import BulkResult
from mabeam_p2p.api.reductions import OpWord
from mabeam_p2p.blocking.loop import LOOP


class ArrayScope:
    """The part of a Scope that is about arrays."""

    _scope: scopes.Scope

    def all_reduce(
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
        return LOOP.run(
            self._scope.all_reduce(
                array,
                name=name,
                parties=parties,
                op=op,
                weight=weight,
                trim=trim,
                timeout=timeout,
            )
        )

    def broadcast(
        self, name: str, array: Array = None, *, parties: int, timeout: float | None = None
    ) -> BulkResult:
        return LOOP.run(self._scope.broadcast(name, array, parties=parties, timeout=timeout))

    def gather(
        self,
        name: str,
        array: Array,
        *,
        parties: int,
        to: str | None = None,
        timeout: float | None = None,
    ) -> BulkResult:
        return LOOP.run(self._scope.gather(name, array, parties=parties, to=to, timeout=timeout))
