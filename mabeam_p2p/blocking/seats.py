"""Work under a seat, without `await`."""

from types import TracebackType

from mabeam_p2p.api import leadership
from mabeam_p2p.api.results.seats import Seat
from mabeam_p2p.blocking.loop import LOOP


class Leadership:
    """A body without `await` cannot be cancelled: it looks at `is_lost`, and at its end
    LeadershipLost is raised if the seat was lost meanwhile."""

    def __init__(self, own: leadership.Leadership) -> None:
        self.name = own.name
        self._own = own

    @property
    def seat(self) -> Seat | None:
        return self._own.seat

    @property
    def lost(self) -> str:
        return self._own.lost

    @property
    def is_lost(self) -> bool:
        return self._own.is_lost

    def __enter__(self) -> Seat:
        return LOOP.run(self._own.begin(lambda: None))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOOP.run(self._own.end())
        if self.is_lost and kind is None:
            raise self._own.error()
