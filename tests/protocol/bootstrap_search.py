"""Every way in which a few peers can come to a cluster, or not: a search through all orders of
messages, each lost, late or doubled at will, and crashes between any two records.

A message that was sent once may arrive at any later time, any number of times: that is loss,
delay, reordering and duplication in one. Disks are written in order; a crash keeps any prefix.
"""

from collections.abc import Callable, Iterator
from copy import copy
from random import Random
from typing import NamedTuple

from mabeam_p2p.config import Timing
from mabeam_p2p.effects import Effects, Persist, Send
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import BootstrapMessage, Form, Offer, Promise, Withdraw
from mabeam_p2p.protocol.bootstrap import Bootstrap
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import Batch, BootstrapState

NOW = 100.0
LATER = 200.0
"""When every pause is over and every offer too old."""

A, B, C, D = (PeerId(letter * 16) for letter in "abcd")
Parcel = tuple[PeerId, PeerId, BootstrapMessage]


def first_batch(voters: tuple[PeerId, ...]) -> Batch:
    return Batch(1, 1, 1, 0, b"", voters)


def new_peer(peer: PeerId, expect: int, state: BootstrapState | None = None) -> Bootstrap:
    return Bootstrap(
        peer,
        expect,
        state,
        timing=Timing(),
        random=Random(0),
        outbox=Outbox(),
        now=NOW,
    )


class Moment(NamedTuple):
    """A state of all peers; `cores` are never changed, but copied."""

    cores: tuple[Bootstrap, ...]
    sent: frozenset[Parcel]
    offers: int
    """Offers made so far."""

    def key(self) -> object:
        return tuple((core.state, tuple(core._promised)) for core in self.cores), self.sent


Step = tuple[str, Moment]


class Search:
    """All moments that `peers` can come to, with at most `offers_max` offers in all."""

    def __init__(self, peers: tuple[PeerId, ...], expect: int, offers_max: int) -> None:
        self.peers = peers
        self.expect = expect
        self.offers_max = offers_max

    def begin(self) -> Moment:
        return Moment(tuple(new_peer(peer, self.expect) for peer in self.peers), frozenset(), 0)

    def all_moments(self) -> Iterator[Moment]:
        """Every moment once. A contradiction fails, and says how it came about."""
        first = self.begin()
        ways: dict[object, tuple[object, str] | None] = {first.key(): None}
        frontier = [first]
        while frontier:
            moment = frontier.pop()
            yield moment
            for name, following in self.steps(moment):
                if following.key() in ways:
                    continue
                ways[following.key()] = moment.key(), name
                wrong = contradiction(following)
                assert not wrong, "\n".join([wrong, *_story(ways, following.key())])
                frontier.append(following)

    def steps(self, moment: Moment) -> Iterator[Step]:
        for place, peer in enumerate(self.peers):
            yield from self._own_steps(moment, place, peer)
        for source, target, message in moment.sent:
            place = self.peers.index(target)

            def hear(
                core: Bootstrap, source: PeerId = source, message: BootstrapMessage = message
            ) -> None:
                core.receive(source, message, LATER)

            name = f"{target[0]} hears {_word(message)} of {source[0]}"
            yield from self._act(moment, place, name, hear)

    def _own_steps(self, moment: Moment, place: int, peer: PeerId) -> Iterator[Step]:
        core = moment.cores[place]
        state = core.state
        yield f"{peer[0]} crashes", self._restarted(moment, place, state)
        if core.is_coordinator:

            def time_out(core: Bootstrap) -> None:
                core.tick(LATER)

            yield from self._act(moment, place, f"{peer[0]} waits too long", time_out)
        for other in moment.cores:
            if other.cluster_id and other is not core:
                cluster_id = other.cluster_id

                def hear(
                    core: Bootstrap,
                    source: PeerId = other._peer,
                    cluster_id: ClusterId = cluster_id,
                ) -> None:
                    core.heard(source, cluster_id, LATER)

                name = f"{peer[0]} hears {other._peer[0]} speak for {cluster_id[:4]}"
                yield from self._act(moment, place, name, hear)

                def adopt(core: Bootstrap, cluster_id: ClusterId = cluster_id) -> None:
                    core.adopt(cluster_id)

                yield from self._act(moment, place, f"{peer[0]} meets {cluster_id[:4]}", adopt)
        if moment.offers < self.offers_max and core.is_open(2 * LATER):
            yield from self._offers(moment, place, core)

    def _offers(self, moment: Moment, place: int, core: Bootstrap) -> Iterator[Step]:
        number = moment.offers + 1
        for other in range(place + 1, len(self.peers) - self.expect + 2):
            seen = (self.peers[place], *self.peers[other : other + self.expect - 1])
            voters = core.electorate(seen)
            if not voters:
                continue
            cluster_id = ClusterId(f"{number:04x}" + "0" * 28)

            def offer(
                core: Bootstrap,
                cluster_id: ClusterId = cluster_id,
                voters: tuple[PeerId, ...] = voters,
            ) -> None:
                core.offer(cluster_id, first_batch(voters), NOW)
                core.tick(NOW)

            moved = moment._replace(offers=number)
            who = "".join(voter[0] for voter in voters)
            yield from self._act(moved, place, f"{voters[0][0]} offers {number} to {who}", offer)

    def _act(
        self, moment: Moment, place: int, name: str, deed: Callable[[Bootstrap], None]
    ) -> Iterator[Step]:
        """What comes of it, and of a crash in the middle."""
        core, outbox = _fork(moment.cores[place])
        deed(core)
        effects = outbox.take()
        core.stored(outbox.persisted)
        cores = list(moment.cores)
        cores[place] = core
        sent = moment.sent | _sent(core, effects, outbox.persisted)
        yield name, moment._replace(cores=tuple(cores), sent=sent)
        records = [effect.record for effect in effects if isinstance(effect, Persist)]
        for kept in range(1, len(records)):
            record = records[kept - 1]
            assert isinstance(record, BootstrapState)
            early = moment._replace(sent=moment.sent | _sent(core, effects, kept))
            yield f"{name}, and crashes", self._restarted(early, place, record)

    def _restarted(self, moment: Moment, place: int, state: BootstrapState) -> Moment:
        cores = list(moment.cores)
        cores[place] = new_peer(self.peers[place], self.expect, state)
        return moment._replace(cores=tuple(cores))


def contradiction(moment: Moment) -> str:
    """What must never be, or nothing."""
    formed = [core.state for core in moment.cores if core.state.formed and core.state.voters]
    for state in formed:
        for core in moment.cores:
            is_voter = core._peer in state.voters
            if is_voter and core.state.cluster_id != state.cluster_id:
                return f"{core._peer} is a voter of {state.cluster_id[:4]}, and holds {core.state}"
            if is_voter and core.state.first != state.first:
                return f"{core._peer} does not hold the first batch"
    return ""


def _story(ways: dict[object, tuple[object, str] | None], key: object) -> list[str]:
    """The steps that led to `key`, the last first."""
    steps: list[str] = []
    while (way := ways[key]) is not None:
        key = way[0]
        steps.append(way[1])
    return steps


def heal(moment: Moment, rounds: int) -> tuple[Bootstrap, ...]:
    """What becomes of these peers when nothing is lost any more, round by round."""
    cores = [_fork(core)[0] for core in moment.cores]
    peers = [core._peer for core in cores]
    now = 2 * LATER
    for number in range(rounds):
        now += 10.0
        unformed = tuple(core._peer for core in cores if not core.cluster_id)
        for core in cores:
            formed = [other.cluster_id for other in cores if other.cluster_id]
            if formed and not core.cluster_id:
                core.adopt(formed[0])
            voters = core.electorate(unformed) if core.is_open(now) and not formed else ()
            if voters:
                core.offer(ClusterId(f"{number:032x}"), first_batch(voters), now)
            core.tick(now)
        parcels = [parcel for core in cores for parcel in _taken(core)]
        while parcels:
            source, target, message = parcels.pop(0)
            hearer = cores[peers.index(target)]
            hearer.receive(source, message, now)
            parcels += _taken(hearer)
    return tuple(cores)


def _taken(core: Bootstrap) -> list[Parcel]:
    core.stored(core._outbox.persisted)
    return list(_sent(core, core._outbox.take(), core._outbox.persisted))


def _fork(core: Bootstrap) -> tuple[Bootstrap, Outbox]:
    forked, outbox = copy(core), Outbox()
    forked._promised = list(core._promised)
    forked._outbox = outbox
    forked._persist = forked._durable = 0
    return forked, outbox


def _sent(core: Bootstrap, effects: Effects, durable: int) -> frozenset[Parcel]:
    return frozenset(
        (core._peer, effect.target, effect.message)
        for effect in effects
        if isinstance(effect, Send)
        and effect.after <= durable
        and isinstance(effect.message, Offer | Promise | Withdraw | Form)
    )


def _word(message: BootstrapMessage) -> str:
    granted = "" if not isinstance(message, Promise) or message.granted else "no "
    return f"{granted}{type(message).__name__} {message.cluster_id[:4]}"
