"""One member's part in one exchange: what it still lacks, what others want of it, and when it is
whole. It sees no byte of the data: its owner asks, moves, combines, and tells.

1. Nothing is sent that was not asked for. Each member asks each other for what it lacks from it; a
   request that comes again is for what got lost. So a message may be lost, late or doubled.
2. A chunk is taken once. One that is unknown, that comes from somebody who has no say in it, that
   has another size or is here already, is not expected.
3. A slice's chunk is combined by its owner when all contributions are there, and can be sent on
   from then on; slices do not wait for each other.
4. A member that has been told nothing for a while says again what it lacks, which may be nothing:
   so the others know that it is there.
"""

from typing import NamedTuple

from mabeam_p2p.messages import ChunkRange
from mabeam_p2p.protocol.bulk.plan import PART, WHOLE, Plan

ASK_SECONDS = 1.0
"""Silence after which a member is asked again."""

SILENT_SECONDS = 3.5
"""Who was not heard for so long, though it should have spoken each second, is silent."""


class Parcel(NamedTuple):
    """A chunk on its way."""

    stage: int
    slice: int
    chunk: int


class Exchange:
    """See the module. me: this member's place in the plan."""

    def __init__(self, plan: Plan, me: int, now: float) -> None:
        assert 0 <= me < plan.count
        self.plan = plan
        self.me = me
        others = [place for place in range(plan.count) if place != me]
        self._lacks: dict[int, dict[Parcel, None]] = {place: {} for place in others}
        """By who sends it."""
        self._wanted: dict[int, dict[Parcel, None]] = {place: {} for place in others}
        """By who has asked; what can be sent."""
        self._awaited: dict[Parcel, dict[int, None]] = {}
        """Asked for, and not yet combined; by whom."""
        self._outstanding: dict[Parcel, int] = {}
        """Contributions that my own chunks wait for."""
        self._uncombined: dict[Parcel, None] = {}
        """My own chunks that are not in the result."""
        self._heard_at = dict.fromkeys(others, now)
        self._ask_at = dict.fromkeys(others, now)
        """When a member is asked, unless it sends something before."""
        self._speak_at = dict.fromkeys(others, now)
        """When a member must hear something, if only a sign of life."""
        for number, one in enumerate(plan.slices):
            self._plan_slice(number, one.owner, one.sources, one.targets)

    def _plan_slice(
        self, number: int, owner: int, sources: tuple[int, ...], targets: tuple[int, ...]
    ) -> None:
        chunks = range(self.plan.chunk_count(number))
        if owner != self.me:
            if self.me in targets:
                self._lacks[owner].update((Parcel(WHOLE, number, chunk), None) for chunk in chunks)
            return
        senders = [source for source in sources if source != self.me]
        for chunk in chunks:
            parcel = Parcel(PART, number, chunk)
            self._uncombined[parcel] = None
            self._outstanding[parcel] = len(senders)
            for source in senders:
                self._lacks[source][parcel] = None

    # ---- what the owner does ---------------------------------------------------------------

    def ready(self) -> tuple[Parcel, ...]:
        """The own chunks that can be combined as soon as the exchange begins."""
        return tuple(parcel for parcel, count in self._outstanding.items() if not count)

    def expects(self, source: int, parcel: Parcel, size: int) -> bool:
        """Whether these bytes are wanted from this member."""
        lacks = self._lacks.get(source)
        return (
            lacks is not None
            and parcel in lacks
            and size == self.plan.chunk_size(parcel.slice, parcel.chunk)
        )

    def arrived(self, source: int, parcel: Parcel, now: float) -> bool:
        """An expected chunk is here. Whether it is the last contribution: combine it now."""
        del self._lacks[source][parcel]
        self._heard_at[source] = now
        self._ask_at[source] = now + ASK_SECONDS
        if parcel.stage == WHOLE:
            return False
        self._outstanding[parcel] -= 1
        return not self._outstanding[parcel]

    def combined(self, parcel: Parcel) -> None:
        """An own chunk stands in the result: whoever asked for it can have it."""
        assert not self._outstanding[parcel]
        del self._uncombined[parcel]
        whole = Parcel(WHOLE, parcel.slice, parcel.chunk)
        for place in self._awaited.pop(whole, {}):
            self._wanted[place][whole] = None

    def asked(self, source: int, wanted: tuple[ChunkRange, ...], now: float) -> bool:
        """Another member says what it lacks. False: it asks for what is not its business, and none
        of it is taken up."""
        if source not in self._wanted:
            return False
        if not all(self._is_answerable(source, one) for one in wanted):
            return False
        self._heard_at[source] = now
        for one in wanted:
            for chunk in range(one.first, one.first + one.count):
                self._want(source, Parcel(one.stage, one.slice, chunk))
        return True

    def next_parcel(self, target: int) -> Parcel | None:
        """What is to be sent to this member next."""
        return next(iter(self._wanted[target]), None)

    def sent(self, target: int, parcel: Parcel, now: float) -> None:
        """The parcel is on its way. If it gets lost it will be asked for again."""
        del self._wanted[target][parcel]
        self._speak_at[target] = now + ASK_SECONDS

    # ---- what time does --------------------------------------------------------------------

    def request(self, target: int, now: float, ranges_max: int) -> tuple[ChunkRange, ...] | None:
        """What to tell this member now, in so many runs at most; at the beginning what it shall
        send. Empty: a sign of life. None: nothing before `deadline`."""
        if now < self.deadline(target):
            return None
        is_time_to_ask = now >= self._ask_at[target]
        return _ranges(self._lacks[target], ranges_max) if is_time_to_ask else ()

    def told(self, target: int, now: float) -> None:
        """What `request` gave is on its way."""
        if now >= self._ask_at[target]:
            self._ask_at[target] = now + ASK_SECONDS
        self._speak_at[target] = now + ASK_SECONDS

    def deadline(self, target: int) -> float:
        """When there is something to tell this member."""
        speak_at, ask_at = self._speak_at[target], self._ask_at[target]
        return min(speak_at, ask_at) if self._lacks[target] else speak_at

    # ---- how far it is ---------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether the whole result is here."""
        return not self._uncombined and not any(self._lacks.values())

    def missing(self, now: float) -> tuple[int, ...]:
        """Whom this exchange waits for, as far as can be known from here: those who are silent;
        else those whose contributions lack; else those who owe what they have combined."""
        silent = [place for place, at in self._heard_at.items() if now - at >= SILENT_SECONDS]
        if silent:
            return tuple(silent)
        parts = [
            place
            for place, lacks in self._lacks.items()
            if any(parcel.stage == PART for parcel in lacks)
        ]
        return tuple(parts or (place for place, lacks in self._lacks.items() if lacks))

    # ---- rules -----------------------------------------------------------------------------

    def _is_answerable(self, source: int, wanted: ChunkRange) -> bool:
        if not 0 <= wanted.slice < len(self.plan.slices):
            return False
        if wanted.first + wanted.count > self.plan.chunk_count(wanted.slice):
            return False
        one = self.plan.slices[wanted.slice]
        if wanted.stage == PART:
            return one.owner == source and self.me in one.sources
        return one.owner == self.me and source in one.targets

    def _want(self, source: int, parcel: Parcel) -> None:
        own = Parcel(PART, parcel.slice, parcel.chunk)
        if parcel.stage == WHOLE and own in self._uncombined:
            self._awaited.setdefault(parcel, {})[source] = None
        else:
            self._wanted[source][parcel] = None


def _ranges(parcels: dict[Parcel, None], ranges_max: int) -> tuple[ChunkRange, ...]:
    """Runs of neighbours; parcels stand in order."""
    runs: list[ChunkRange] = []
    stage = number = first = count = -1
    for parcel in parcels:
        if (parcel.stage, parcel.slice, parcel.chunk) == (stage, number, first + count):
            count += 1
            continue
        if count > 0:
            runs.append(ChunkRange(stage, number, first, count))
        stage, number, first = parcel
        count = 1
    if count > 0:
        runs.append(ChunkRange(stage, number, first, count))
    return tuple(runs[:ranges_max])
