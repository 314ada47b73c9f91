"""A cluster begins once, or not at all, whatever is lost, late, doubled or crashes."""

from math import inf
from random import Random

import pytest

from mabeam_p2p.config import Timing
from mabeam_p2p.effects import Effects, Persist, Send
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import BootstrapMessage, Form, Offer, Promise, Withdraw
from mabeam_p2p.protocol.bootstrap import OFFER_SECONDS, WAITING_MAX, Bootstrap
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import Batch, BootstrapState
from tests.protocol.bootstrap_search import A, B, C, D, Search, first_batch, heal

X, Y = ClusterId("1" * 32), ClusterId("2" * 32)
ABC = (A, B, C)
TIMING = Timing()


class Peer:
    """One Bootstrap and its outbox."""

    def __init__(self, peer: PeerId, state: BootstrapState | None = None, expect: int = 3) -> None:
        self.outbox = Outbox()
        self.core = Bootstrap(
            peer,
            expect,
            state,
            timing=TIMING,
            random=Random(1),
            outbox=self.outbox,
            now=0.0,
        )

    def hear(self, source: PeerId, message: BootstrapMessage, now: float = 1.0) -> Effects:
        self.core.receive(source, message, now)
        return self.outbox.take()

    def tick(self, now: float) -> Effects:
        self.core.tick(now)
        return self.outbox.take()

    def store(self) -> None:
        """The disk has everything."""
        self.core.stored(self.outbox.persisted)

    def offer(self, cluster_id: ClusterId = X, now: float = 1.0) -> Effects:
        self.core.offer(cluster_id, first_batch(ABC), now)
        self.core.tick(now)
        return self.outbox.take()


def bound(cluster_id: ClusterId, *, formed: bool = False) -> BootstrapState:
    return BootstrapState(cluster_id, A, ABC, (first_batch(ABC),), formed)


def offer_of(cluster_id: ClusterId, voters: tuple[PeerId, ...] = ABC) -> Offer:
    return Offer(cluster_id, voters, first_batch(voters))


FREE = BootstrapState(ClusterId(""), PeerId(""), (), (), False)

# ---- all orders ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peers", "expect", "offers"),
    [((A, B), 2, 4), ((A, B, C), 2, 3), ((A, B, C), 3, 3), ((A, B, C, D), 2, 2)],
)
def test_no_two_clusters_ever_share_a_voter(
    peers: tuple[PeerId, ...], expect: int, offers: int
) -> None:
    """Of all orders of messages, losses, copies and crashes between any two records."""
    formed_count = 0
    for moment in Search(peers, expect, offers).all_moments():
        formed_count += any(core.cluster_id for core in moment.cores)
    assert formed_count > 10, "the search finds ways to form"


@pytest.mark.slow
@pytest.mark.parametrize("expect", [2, 3])
def test_whatever_happened_a_network_that_heals_forms_one_cluster(expect: int) -> None:
    for moment in Search(ABC, expect, 2).all_moments():
        cores = heal(moment, rounds=12)
        ids = {core.cluster_id for core in cores}
        assert len(ids) == 1, [core.state for core in cores]
        assert ids != {""}, [core.state for core in cores]


# ---- offers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "seen", "voters"),
    [
        (A, (A, B), ()),
        (A, (C, A, B), (A, B, C)),
        (A, (D, C, B, A), (A, B, C)),
        (B, (A, B, C), ()),
        (B, (B, C, D), (B, C, D)),
    ],
)
def test_the_lowest_offers_to_as_many_as_are_expected(
    peer: PeerId, seen: tuple[PeerId, ...], voters: tuple[PeerId, ...]
) -> None:
    assert Peer(peer).core.electorate(seen) == voters


@pytest.mark.parametrize("state", [bound(X), bound(X, formed=True)])
def test_who_is_bound_or_formed_offers_nothing(state: BootstrapState) -> None:
    peer = Peer(A, state)
    assert peer.core.electorate(ABC) == ()
    assert not peer.core.is_open(inf)
    with pytest.raises(AssertionError, match="one offer"):
        peer.offer(Y)


def test_only_the_lowest_can_offer() -> None:
    with pytest.raises(AssertionError, match="lowest"):
        Peer(B).core.offer(X, first_batch(ABC), 0.0)


def test_an_offer_is_stored_before_it_is_made() -> None:
    assert Peer(A).offer() == (
        Persist(1, bound(X)),
        Send(B, offer_of(X), 1),
        Send(C, offer_of(X), 1),
    )


def test_an_offer_is_repeated_to_who_has_not_promised() -> None:
    peer = Peer(A)
    peer.offer()
    peer.store()
    peer.hear(B, Promise(X, True))
    assert peer.tick(1.1) == ()
    assert peer.core.next_deadline() == 1.0 + TIMING.greet_interval_seconds
    assert peer.tick(2.0) == (Send(C, offer_of(X), 1),)


def test_a_restarted_coordinator_repeats_its_offer() -> None:
    peer = Peer(A, bound(X))
    assert peer.core.is_coordinator
    assert peer.tick(0.0) == (Send(B, offer_of(X)), Send(C, offer_of(X)))


def test_an_offer_to_oneself_alone_forms_at_once() -> None:
    peer = Peer(A, expect=1)
    peer.core.offer(X, first_batch((A,)), 0.0)
    peer.core.tick(0.0)
    peer.store()
    assert peer.core.cluster_id == X


# ---- promises --------------------------------------------------------------------------------


def test_a_promise_is_stored_before_it_is_given() -> None:
    peer = Peer(B)
    assert peer.hear(A, offer_of(X)) == (Persist(1, bound(X)), Send(A, Promise(X, True), 1))
    assert peer.core.cluster_id == ""
    assert not peer.core.is_coordinator


def test_a_promise_given_again_waits_for_the_same_record() -> None:
    peer = Peer(B)
    peer.hear(A, offer_of(X))
    peer.store()
    assert peer.hear(A, offer_of(X)) == (Send(A, Promise(X, True), 1),)
    assert peer.tick(2.0) == (Send(A, Promise(X, True), 1),)


def test_a_promise_is_repeated_once_an_interval_has_passed_and_not_before() -> None:
    peer = Peer(B)
    peer.hear(A, offer_of(X), 1.0)
    peer.store()
    due = 1.0 + TIMING.greet_interval_seconds
    assert peer.core.next_deadline() == due
    assert peer.tick(due - 0.001) == ()
    (sent,) = peer.tick(due)
    assert isinstance(sent, Send)
    assert (sent.target, sent.message) == (A, Promise(X, granted=True))
    assert peer.core.next_deadline() == due + TIMING.greet_interval_seconds


def test_who_has_promised_refuses_others() -> None:
    peer = Peer(C)
    peer.hear(B, offer_of(Y, (B, C)))
    assert peer.hear(A, offer_of(X)) == (Send(A, Promise(X, False), 1),)
    assert peer.core.state.coordinator == B


def test_an_older_offer_of_the_same_coordinator_moves_no_promise() -> None:
    peer = Peer(B)
    peer.hear(A, offer_of(Y))
    peer.hear(A, Promise(Y, True))
    peer.store()
    assert peer.hear(A, offer_of(X)) == (Send(A, Promise(Y, True), 1),)
    assert peer.core.state == bound(Y)


def test_a_coordinator_withdraws_what_it_offers_no_more() -> None:
    peer = Peer(A, bound(Y))
    assert peer.hear(B, Promise(X, True)) == (Send(B, Withdraw(X)),)
    assert peer.hear(B, Promise(X, False)) == ()
    assert Peer(A).hear(B, Promise(X, True)) == (Send(B, Withdraw(X)),)


def test_a_formed_peer_refuses_other_offers_and_knows_its_own() -> None:
    peer = Peer(B, bound(X, formed=True))
    assert peer.hear(A, offer_of(Y)) == (Send(A, Promise(Y, False)),)
    assert peer.hear(A, offer_of(X)) == (Send(A, Promise(X, True)),)
    assert peer.core.state == bound(X, formed=True)


@pytest.mark.parametrize(
    ("source", "offer"),
    [
        (A, offer_of(X, (A, C, D))),
        (B, offer_of(X, (A, B, C))),
        (A, Offer(X, (A, B), first_batch(ABC))),
        (A, Offer(X, ABC, Batch(2, 1, 1, 0, b"", ABC))),
        (A, Offer(X, ABC, Batch(1, 1, 2**53 - 1, 0, b"", ABC))),
        (A, offer_of(ClusterId(""))),
    ],
    ids=[
        "not for us",
        "not of the lowest",
        "voters that differ",
        "not the first batch",
        "not of the first term",
        "no cluster",
    ],
)
def test_an_offer_that_cannot_be_is_dropped(source: PeerId, offer: Offer) -> None:
    peer = Peer(B)
    assert peer.hear(source, offer) == ()
    assert peer.core.state == FREE


def test_of_two_coordinators_the_higher_gives_way() -> None:
    peer = Peer(B)
    peer.core.offer(Y, first_batch((B, C, D)), 0.0)
    peer.outbox.take()
    effects = peer.hear(A, offer_of(X))
    assert effects == (
        Persist(2, FREE),
        Send(C, Withdraw(Y), 2),
        Send(D, Withdraw(Y), 2),
        Persist(3, bound(X)),
        Send(A, Promise(X, True), 3),
    )
    lower = Peer(A)
    lower.offer()
    assert lower.hear(B, Offer(Y, (B, C), first_batch((B, C)))) == ()
    assert lower.core.state == bound(X)


def test_the_lower_of_two_coordinators_keeps_its_offer() -> None:
    lower = Peer(B)
    lower.core.offer(X, first_batch((B, C, D)), 0.0)
    higher_first = Offer(Y, (C, B), Batch(1, 1, 1, 0, b"", (C, B)))
    lower.outbox.take()
    assert lower.hear(C, higher_first) == (), "the lowest voter offers, not the sender"
    assert lower.core.is_coordinator


# ---- forming ---------------------------------------------------------------------------------


def test_a_cluster_forms_when_every_voter_has_promised_and_not_before() -> None:
    peer = Peer(A)
    peer.offer()
    for _ in range(2):
        assert peer.hear(B, Promise(X, True)) == (), "a voter counts once"
    assert peer.hear(D, Promise(X, True)) == (), "a stranger does not count"
    assert peer.hear(C, Promise(X, True)) == (
        Persist(2, bound(X, formed=True)),
        Send(B, Form(X), 2),
        Send(C, Form(X), 2),
    )
    peer.store()
    assert peer.core.cluster_id == X
    assert not peer.core.is_coordinator


def test_a_promise_that_comes_late_is_answered_with_the_word() -> None:
    peer = Peer(A, bound(X, formed=True))
    assert peer.hear(C, Promise(X, True)) == (Send(C, Form(X)),)


def test_the_word_forms_the_cluster_that_was_promised_and_no_other() -> None:
    peer = Peer(B, bound(X))
    assert peer.hear(A, Form(Y)) == ()
    assert peer.hear(A, Form(X)) == (Persist(1, bound(X, formed=True)),)
    assert peer.hear(A, Form(X)) == ()
    assert Peer(B).hear(A, Form(X)) == ()


def test_a_cluster_that_has_formed_cannot_be_withdrawn() -> None:
    peer = Peer(B, bound(X, formed=True))
    assert peer.hear(A, Withdraw(X)) == ()
    assert peer.core.cluster_id == X


@pytest.mark.parametrize(
    ("state", "heard", "may_listen", "after"),
    [
        (FREE, X, True, BootstrapState(X, PeerId(""), (), (), True)),
        (bound(X), X, True, bound(X, formed=True)),
        (bound(X), Y, False, bound(X)),
        (bound(X, formed=True), X, True, bound(X, formed=True)),
        (bound(X, formed=True), Y, False, bound(X, formed=True)),
    ],
)
def test_a_peer_of_a_formed_cluster_is_heard_unless_another_was_promised(
    state: BootstrapState, heard: ClusterId, may_listen: bool, after: BootstrapState
) -> None:
    peer = Peer(B, state)
    assert peer.core.adopt(heard) is may_listen
    assert peer.core.state == after
    records = [e.record for e in peer.outbox.take() if isinstance(e, Persist)]
    assert records == ([after] if after != state else [])


# ---- giving up -------------------------------------------------------------------------------


def test_an_offer_that_is_not_promised_in_time_is_withdrawn_first_on_disk() -> None:
    peer = Peer(A)
    peer.offer(now=1.0)
    peer.store()
    peer.hear(B, Promise(X, True))
    assert peer.tick(1.0 + OFFER_SECONDS) == (
        Persist(2, FREE),
        Send(B, Withdraw(X), 2),
        Send(C, Withdraw(X), 2),
    )


def test_only_a_voter_can_refuse_an_offer() -> None:
    peer = Peer(A)
    peer.offer()
    assert peer.hear(D, Promise(X, granted=False)) == ()
    assert peer.core.is_coordinator


def test_a_refused_offer_is_withdrawn() -> None:
    peer = Peer(A)
    peer.offer()
    assert peer.hear(C, Promise(X, False))[0] == Persist(2, FREE)
    assert peer.core.state == FREE


def test_after_a_withdrawal_a_peer_pauses_then_wakes() -> None:
    peer = Peer(A)
    peer.offer()
    peer.hear(C, Promise(X, False), 10.0)
    assert not peer.core.is_open(10.0 + TIMING.greet_interval_seconds)
    due = peer.core.next_deadline()
    assert 10.0 + TIMING.greet_interval_seconds <= due <= 10.0 + 2 * TIMING.greet_interval_seconds
    assert peer.tick(due) == ()
    peer.store()
    assert peer.core.is_open(due)
    assert peer.core.next_deadline() == inf


def test_promises_to_a_withdrawn_offer_do_not_count_for_the_next() -> None:
    peer = Peer(A)
    peer.offer()
    peer.store()
    peer.hear(B, Promise(X, True))
    peer.tick(100.0)
    peer.offer(Y, 200.0)
    peer.hear(B, Promise(X, True))
    peer.hear(C, Promise(Y, True))
    assert not peer.core.cluster_id


@pytest.mark.parametrize(("source", "cluster_id"), [(C, X), (A, Y)])
def test_a_promise_is_given_up_at_its_coordinators_word_alone(
    source: PeerId, cluster_id: ClusterId
) -> None:
    peer = Peer(B, bound(X))
    assert peer.hear(source, Withdraw(cluster_id)) == ()
    assert peer.core.state == bound(X)
    assert peer.hear(A, Withdraw(X)) == (Persist(1, FREE),)


def test_a_promise_is_given_up_when_a_voter_of_the_offer_speaks_for_another_cluster() -> None:
    """Its coordinator has lost its disk, and answers no more."""
    peer = Peer(B, bound(X))
    peer.core.heard(C, Y, 1.0)
    assert peer.outbox.take() == (Persist(1, FREE),)
    assert peer.core.adopt(Y)


@pytest.mark.parametrize(
    ("source", "cluster_id"), [(D, Y), (C, X), (C, ClusterId(""))], ids=["no voter", "it", "none"]
)
def test_who_is_no_voter_of_the_offer_or_speaks_for_no_other_frees_nobody(
    source: PeerId, cluster_id: ClusterId
) -> None:
    peer = Peer(B, bound(X))
    peer.core.heard(source, cluster_id, 1.0)
    assert peer.outbox.take() == ()
    assert peer.core.state == bound(X)


def test_a_coordinator_hears_of_its_offer_from_its_voters_alone() -> None:
    peer = Peer(A, bound(X))
    peer.core.heard(C, Y, 1.0)
    assert peer.core.state == bound(X)


def test_a_cluster_is_spoken_for_when_the_disk_says_that_it_has_formed() -> None:
    peer = Peer(B, bound(X))
    assert peer.core.adopt(X)
    assert not peer.core.cluster_id
    peer.store()
    assert peer.core.cluster_id == X


def test_a_promise_outlives_its_peer() -> None:
    peer = Peer(B, bound(X))
    assert peer.hear(C, offer_of(Y, (B, C))) == ()
    assert peer.tick(0.0) == (Send(A, Promise(X, True)),)


def test_a_peer_that_only_waits_has_no_deadline() -> None:
    assert Peer(B).core.next_deadline() == inf
    assert Peer(B, bound(X, formed=True)).core.next_deadline() == inf


# ---- a disk that hangs -----------------------------------------------------------------------


def test_what_waits_for_the_disk_is_said_once_however_often_it_is_asked() -> None:
    peer = Peer(A, bound(X))
    assert peer.tick(100.0)[1:] == (Send(B, Withdraw(X), 1), Send(C, Withdraw(X), 1))
    for _ in range(100):
        assert peer.hear(B, Promise(X, granted=True)) == ()
    assert peer.hear(D, Promise(X, granted=True)) == (Send(D, Withdraw(X), 1),)
    peer.store()
    assert peer.hear(B, Promise(X, granted=True)) == (Send(B, Withdraw(X), 1),)


def test_the_words_that_wait_for_the_disk_are_bounded_whoever_asks() -> None:
    peer = Peer(A, bound(X))
    said = [*peer.tick(100.0)[1:]]
    for number in range(10 * WAITING_MAX):
        said += peer.hear(D, Promise(ClusterId(f"{number:032x}"), granted=True))
    assert len(said) == WAITING_MAX
    peer.store()
    assert peer.hear(B, Promise(X, granted=True)) == (Send(B, Withdraw(X), 1),)


def test_an_offer_that_waits_for_the_disk_is_neither_repeated_nor_given_up() -> None:
    peer = Peer(A)
    peer.offer(now=1.0)
    for seconds in range(1, 100):
        assert peer.tick(1.0 + seconds) == ()
    peer.store()
    assert peer.tick(101.0)[0] == Persist(2, FREE)


def test_no_offer_is_made_before_the_disk_has_the_end_of_the_last() -> None:
    peer = Peer(A, bound(X))
    peer.hear(B, Promise(X, granted=False))
    assert not peer.core.is_open(100.0)
    peer.store()
    assert peer.core.is_open(100.0)


def test_a_promise_that_waits_for_the_disk_is_not_repeated() -> None:
    peer = Peer(B)
    assert len(peer.hear(A, offer_of(X))) == 2
    assert peer.hear(A, offer_of(X)) == ()
    assert peer.tick(100.0) == ()
    peer.store()
    assert peer.tick(200.0) == (Send(A, Promise(X, True), 1),)
