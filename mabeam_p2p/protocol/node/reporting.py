"""How commands come to the leader: this peer's own, and those that it passes on for its section.

The two cores need each other: own commands are gathered with those of others, and may be refused.
"""

from collections.abc import Callable, Sequence

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.pending import Leader, Pending
from mabeam_p2p.protocol.relay import Relays


class Reporting:
    """Both, joined."""

    def __init__(
        self,
        peer: PeerId,
        *,
        encode: Callable[[Sequence[AnyCommand]], bytes],
        propose: Callable[[int, bytes], bool],
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        epoch: int,
        refusal: Callable[[], str],
    ) -> None:
        """refusal: why `propose` has just said no."""
        self.pending = Pending(
            peer,
            encode=encode,
            propose=propose,
            gather=self._gather,
            refusal=refusal,
            timing=timing,
            limits=limits,
            outbox=outbox,
            epoch=epoch,
        )
        self.relays = Relays(
            peer,
            propose=propose,
            refuse_own=self.pending.receive_refused,
            timing=timing,
            limits=limits,
            outbox=outbox,
            epoch=epoch,
        )

    def flush(self, leader: Leader | None, now: float) -> None:
        """Send what is due, by way of the coordinator of this peer's section if there is one."""
        leading = leader[0] if leader else None
        coordinator = self.relays.route(leading) if leading else None
        self.pending.flush(leader, now, coordinator)
        self.relays.flush(leading, now)

    def next_deadline(self) -> float:
        return min(self.pending.next_deadline(), self.relays.next_deadline())

    def _gather(self, number: int, count: int, blob: bytes) -> None:
        self.relays.gather(number, count, blob)
