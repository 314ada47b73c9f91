"""How a cluster begins: all of its first voters agree on it, or it does not begin.

The lowest id of the peers that see each other offers a first batch of the log. Each peer promises
at most one offer at a time, durably. Only when every voter has promised does the coordinator
declare the cluster formed; that is irrevocable. It is two-phase commit (Gray 1978), chosen because
two clusters from one boot cannot be mended, and a boot that waits can.

Rules
1. A peer that belongs to a formed cluster, or has a log, neither offers nor promises.
2. A promise is durable before it is sent, and is given up only at the coordinator's word, or when
   it is certain that the offer can form nothing (7).
3. A coordinator gives an offer up, durably, before it may promise another or make a new one.
4. Of two coordinators the higher id gives way.
5. Whoever hears a peer of the cluster that it has promised knows that the cluster has formed.
6. While the disk does not have what was decided last, the words that wait for it are not said
   again, and no offer is given up or made: however long it hangs, they are few when it answers.
7. Whoever hears a voter of the offer that it has promised speak for another cluster knows that the
   offer was given up, or never will be promised by all (1, 2). The coordinator may have lost its
   disk, and then nobody else can say so. A cluster is spoken for when the disk says that it formed.
"""

from math import inf
from random import Random

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import NOBODY, ClusterId, PeerId
from mabeam_p2p.messages import BootstrapMessage, Form, Offer, Promise, Withdraw
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import Batch, BootstrapState

NO_CLUSTER = ClusterId("")
FIRST_TERM = 1
"""Of the first batch of every log."""
OFFER_SECONDS = 5.0
"""An offer that not everybody has promised in this time is withdrawn."""
WAITING_MAX = 64
"""Words that wait for the disk at a time."""


class Bootstrap:
    """One peer's part in the forming of its cluster."""

    def __init__(
        self,
        peer: PeerId,
        expect: int,
        state: BootstrapState | None,
        *,
        timing: Timing,
        random: Random,
        outbox: Outbox,
        now: float,
    ) -> None:
        self.state = state or BootstrapState(NO_CLUSTER, NOBODY, (), (), False)
        self._peer = peer
        self._expect = expect
        self._timing = timing
        self._random = random
        self._outbox = outbox
        self._promised: list[PeerId] = [peer]
        self._persist = 0
        self._durable = 0
        self._waiting: tuple[tuple[PeerId, BootstrapMessage], ...] = ()
        """What was said since the last record, while the disk does not have it."""
        self._resend_due = now
        self._withdraw_due = now + OFFER_SECONDS
        self._not_before = now
        self._wake_due = inf
        """When an offer may be made again that could not be made before."""

    # ---- facts -------------------------------------------------------------------------------

    @property
    def cluster_id(self) -> ClusterId:
        """The formed cluster that this peer belongs to as its disk says; or empty."""
        return self.state.cluster_id if self.state.formed and self._is_stored else NO_CLUSTER

    @property
    def is_coordinator(self) -> bool:
        return self._is_bound and self.state.coordinator == self._peer

    @property
    def _is_bound(self) -> bool:
        """Whether an offer, possibly its own, holds this peer."""
        return bool(self.state.cluster_id) and not self.state.formed

    @property
    def _is_stored(self) -> bool:
        """Whether the disk has the state."""
        return self._durable >= self._persist

    def electorate(self, unformed: tuple[PeerId, ...]) -> tuple[PeerId, ...]:
        """The voters to offer a cluster to, if it is for this peer to do so now; else nothing.

        `unformed`: the peers that are here and belong to no cluster, this one included.
        """
        if self.state.cluster_id or len(unformed) < self._expect:
            return ()
        voters = tuple(sorted(unformed)[: self._expect])
        return voters if voters[0] == self._peer else ()

    def is_open(self, now: float) -> bool:
        """Whether this peer may make an offer now."""
        return not self.state.cluster_id and now >= self._not_before and self._is_stored

    def next_deadline(self) -> float:
        if self._is_bound:
            return self._resend_due
        return self._wake_due

    # ---- verbs -------------------------------------------------------------------------------

    def offer(self, cluster_id: ClusterId, first: Batch, now: float) -> None:
        """Offer a cluster to `first.voters`, of which this peer is the lowest."""
        assert not self.state.cluster_id, "one offer at a time"
        assert first.voters[0] == self._peer, "only the lowest id offers"
        self._store(BootstrapState(cluster_id, self._peer, first.voters, (first,), False))
        self._promised = [self._peer]
        self._withdraw_due = now + OFFER_SECONDS
        self._resend_due = now

    def adopt(self, cluster_id: ClusterId) -> bool:
        """A peer of the formed cluster `cluster_id` speaks to us. Whether we may listen."""
        if self.state.formed:
            return cluster_id == self.state.cluster_id
        if self._is_bound:
            if cluster_id != self.state.cluster_id:
                return False
            self._form()
            return True
        self._store(BootstrapState(cluster_id, NOBODY, (), (), True))
        return True

    def heard(self, source: PeerId, cluster_id: ClusterId, now: float) -> None:
        """A peer speaks for a formed cluster, or for none yet."""
        is_promised = self._is_bound and not self.is_coordinator and source in self.state.voters
        if is_promised and cluster_id not in (NO_CLUSTER, self.state.cluster_id):
            self._clear(now)

    def stored(self, number: int) -> None:
        """Persist `number`, and every one before it, is durable."""
        self._durable = number
        if self._is_stored:
            self._waiting = ()

    def tick(self, now: float) -> None:
        """Send again what was not answered; give up an offer that not everybody promises."""
        if now >= self._wake_due:
            self._wake_due = inf
        if not self._is_bound or now < self._resend_due:
            return
        self._resend_due = now + self._timing.greet_interval_seconds
        state = self.state
        if not self.is_coordinator:
            self._say(state.coordinator, Promise(state.cluster_id, granted=True))
        elif len(self._promised) == len(state.voters):
            self._form()
        elif now >= self._withdraw_due and self._is_stored:
            self._withdraw(now)
        else:
            for voter in state.voters:
                if voter not in self._promised:
                    self._say(voter, Offer(state.cluster_id, state.voters, state.first[0]))

    def receive(self, source: PeerId, message: BootstrapMessage, now: float) -> None:
        match message:
            case Offer():
                self._on_offer(source, message, now)
            case Promise():
                self._on_promise(source, message, now)
            case Withdraw():
                bound_to_it = self._is_bound and self.state.coordinator == source
                if bound_to_it and self.state.cluster_id == message.cluster_id:
                    self._clear(now)
            case Form():
                if self._is_bound and self.state.cluster_id == message.cluster_id:
                    self._form()

    # ---- reactions ---------------------------------------------------------------------------

    def _on_offer(self, source: PeerId, offer: Offer, now: float) -> None:
        if (
            not offer.cluster_id
            or self._peer not in offer.voters
            or source != min(offer.voters)
            or offer.first.voters != offer.voters
            or (offer.first.index, offer.first.term) != (1, FIRST_TERM)
        ):
            return
        if self.is_coordinator and source < self._peer:
            self._withdraw(now)
        if not self.state.cluster_id:
            self._store(
                BootstrapState(offer.cluster_id, source, offer.voters, (offer.first,), False)
            )
            self._resend_due = now + self._timing.greet_interval_seconds
        mine = self.state
        if self._is_bound and mine.coordinator == source:
            # Another offer than the promised one may be older than it, so it changes nothing: the
            # coordinator withdraws what it no longer offers.
            self._say(source, Promise(mine.cluster_id, granted=True))
        else:
            self._say(source, Promise(offer.cluster_id, mine.cluster_id == offer.cluster_id))

    def _on_promise(self, source: PeerId, promise: Promise, now: float) -> None:
        state = self.state
        if promise.cluster_id != state.cluster_id or state.coordinator != self._peer:
            if promise.granted:
                self._say(source, Withdraw(promise.cluster_id))
        elif state.formed:
            self._say(source, Form(state.cluster_id))
        elif source not in state.voters:
            return
        elif not promise.granted:
            self._withdraw(now)
        elif source not in self._promised:
            self._promised.append(source)
            if len(self._promised) == len(state.voters):
                self._form()

    # ---- transitions -------------------------------------------------------------------------

    def _form(self) -> None:
        state = self.state
        self._store(
            BootstrapState(state.cluster_id, state.coordinator, state.voters, state.first, True)
        )
        if state.coordinator == self._peer:
            for voter in state.voters:
                if voter != self._peer:
                    self._say(voter, Form(state.cluster_id))

    def _withdraw(self, now: float) -> None:
        state = self.state
        self._clear(now)
        for voter in state.voters:
            if voter != self._peer:
                self._say(voter, Withdraw(state.cluster_id))

    def _clear(self, now: float) -> None:
        self._store(BootstrapState(NO_CLUSTER, NOBODY, (), (), False))
        self._promised = [self._peer]
        pause = self._timing.greet_interval_seconds * (1 + self._random.random())
        self._not_before = self._wake_due = now + pause

    def _store(self, state: BootstrapState) -> None:
        self.state = state
        self._persist = self._outbox.persist(state)
        self._waiting = ()

    def _say(self, target: PeerId, message: BootstrapMessage) -> None:
        """Once the state is durable. Who asks meanwhile is answered by what waits; whatever is not
        said now, somebody asks for again, or `tick` repeats."""
        if not self._is_stored:
            if (target, message) in self._waiting or len(self._waiting) >= WAITING_MAX:
                return
            self._waiting = (*self._waiting, (target, message))
        self._outbox.send(target, message, self._persist)
