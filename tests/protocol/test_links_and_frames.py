"""Addresses become peers, and frames become messages of known peers; what comes from a process that
is gone, from strangers and from other clusters does not."""

from math import inf
from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import PROTOCOL_VERSION, Limits, Timing
from mabeam_p2p.effects import Connect, Effects, Notify, Send
from mabeam_p2p.events import Dropped, Refused
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Frame, Hello, Message, Probe, Refuse
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.links import REFUSAL_SECONDS, REFUSALS_MAX, UNMET, Links
from mabeam_p2p.records import Member, MemberState, Standing

ME, A, B = (PeerId(letter * 16) for letter in "0ab")
X, Y = ClusterId("1" * 32), ClusterId("2" * 32)
NO_CLUSTER = ClusterId("")
EPOCH = 7
TIMING = Timing(greet_interval_seconds=0.25, greet_interval_seconds_max=1.0)
PROBE = Probe(1, Standing(0, 0, 0, 0))


def member(peer: PeerId, epoch: int = 1, address: str = "", name: str = "") -> Member:
    address = address or f"host-{peer[0]}:1"
    return Member(peer, name or peer[0], address, epoch, epoch << 16, MemberState.ALIVE)


MINE = member(ME, EPOCH)


def hello_of(
    them: Member, *, answer: bool = False, cluster: str = "lab", cluster_id: ClusterId = NO_CLUSTER
) -> Hello:
    return Hello(cluster, cluster_id, them, answer)


def frame(
    source: PeerId,
    *messages: Message,
    epoch: int = 1,
    target_epoch: int = EPOCH,
    cluster: ClusterId = NO_CLUSTER,
    version: int = PROTOCOL_VERSION,
    target: PeerId = ME,
) -> Frame:
    return Frame(version, source, epoch, target_epoch, 1, cluster, messages, target)


class Door:
    """One peer's Links, at a time that the test sets."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.outbox = Outbox()
        self.now = 100.0
        self.core = Links(
            ME,
            EPOCH,
            "lab",
            MINE.address,
            timing=TIMING,
            limits=limits or Limits(),
            outbox=self.outbox,
            random=Random(0),
        )

    def hear_hello(self, them: Member, hello: Hello | None = None, **frame_facts: int) -> bool:
        hello = hello or hello_of(them)
        version = frame_facts.get("version", PROTOCOL_VERSION)
        heard = frame(them.peer, hello, epoch=them.epoch, target_epoch=0, version=version)
        return self.core.receive_hello(heard, hello, MINE, None, self.now)

    def meet(self, them: Member) -> None:
        assert self.hear_hello(them)
        self.outbox.take()

    def opens(self, heard: Frame) -> bool:
        return self.core.opens(heard, MINE, self.now)

    def tick(self, seconds: float) -> Effects:
        self.now += seconds
        self.core.tick(MINE, self.now)
        return self.outbox.take()

    def suggest(self, address: str) -> Effects:
        self.core.suggest(address, self.now)
        return self.outbox.take()

    def dropped(self) -> list[tuple[str, str, int]]:
        effects = [e.event for e in self.outbox.take() if isinstance(e, Notify)]
        return [(e.source, e.reason, e.count) for e in effects if isinstance(e, Dropped)]


# ---- acquaintance ----------------------------------------------------------------------------


def test_a_greeting_is_answered_over_a_link_of_its_own() -> None:
    door = Door()
    assert door.hear_hello(member(A))
    assert door.outbox.take() == (
        Connect(A, "host-a:1"),
        Send(A, Hello("lab", NO_CLUSTER, MINE, answer=True)),
    )
    assert door.core.is_linked(A)


def test_an_answer_ends_the_exchange() -> None:
    door = Door()
    door.suggest("host-a:1")
    answer = hello_of(member(A), answer=True)
    assert door.hear_hello(member(A), answer)
    door.outbox.take()
    assert door.hear_hello(member(A), answer)
    assert door.outbox.take() == (), "an answer to an answer would never end"


def test_a_copy_of_a_greeting_is_answered_and_opens_nothing() -> None:
    door = Door()
    door.meet(member(A))
    assert door.hear_hello(member(A))
    assert door.outbox.take() == (Send(A, Hello("lab", NO_CLUSTER, MINE, answer=True)),)


@pytest.mark.parametrize("again", [member(A, 2), member(A, 1, "elsewhere:9")])
def test_a_new_life_or_address_gets_a_new_link(again: Member) -> None:
    door = Door()
    door.meet(member(A))
    assert door.hear_hello(again, hello_of(again, answer=True))
    effects = door.outbox.take()
    assert effects[0] == Connect(A, again.address)
    assert isinstance(effects[1], Send), "it may not know us yet: it is greeted, too"
    assert door.core.seal(A, (PROBE,)).target_epoch == again.epoch


def test_a_greeting_of_an_older_life_is_dropped() -> None:
    door = Door()
    door.meet(member(A, 2))
    assert not door.hear_hello(member(A, 1))
    assert door.dropped() == [(A, "stale_source", 1)]
    assert door.core.seal(A, (PROBE,)).target_epoch == 2


@pytest.mark.parametrize(
    "lie", [frame(B, hello_of(member(A))), frame(A, hello_of(member(A)), epoch=9)]
)
def test_nobody_speaks_for_another(lie: Frame) -> None:
    door = Door()
    hello = lie.messages[0]
    assert isinstance(hello, Hello)
    assert not door.core.receive_hello(lie, hello, MINE, None, door.now)
    assert door.dropped() == [(lie.source, "hello", 1)]
    assert not door.core.is_linked(A)


def test_our_own_words_come_back_unheard() -> None:
    door = Door()
    assert not door.hear_hello(MINE)
    assert door.outbox.take() == ()
    assert not door.opens(frame(ME, PROBE, epoch=EPOCH))


def test_there_is_room_for_as_many_links_as_members() -> None:
    door = Door(Limits(members_max=1))
    door.meet(member(A))
    assert not door.hear_hello(member(B))
    assert door.dropped() == [(B, "full", 1)]
    assert not door.core.is_linked(B)
    door.meet(member(A, 2))
    door.core.forget(A)
    door.meet(member(B))


# ---- frames ----------------------------------------------------------------------------------


def test_a_frame_says_who_to_whom_in_which_lives() -> None:
    door = Door()
    door.meet(member(A, 3))
    door.core.cluster_id = X
    sealed = [door.core.seal(A, (PROBE,)) for _ in range(2)]
    assert replace(sealed[0], sequence=0) == Frame(
        PROTOCOL_VERSION, ME, EPOCH, 3, 0, X, (PROBE,), A
    )
    greeting = door.core.seal(PeerId(UNMET + "host-b:1"), ())
    assert (greeting.target_epoch, greeting.target) == (0, "")


def test_the_sequence_to_a_peer_grows_over_all_links_to_it() -> None:
    door = Door()
    sequences = []
    for again in (member(A), member(A, 1, "elsewhere:9"), member(A, 2), member(A, 2, "back:1")):
        door.meet(again)
        sequences += [door.core.seal(A, (PROBE,)).sequence for _ in range(2)]
    door.core.forget(A)
    door.meet(member(A, 3))
    sequences.append(door.core.seal(A, (PROBE,)).sequence)
    assert sequences == sorted(dict.fromkeys(sequences))


def test_a_frame_of_a_peer_in_its_present_life_is_opened() -> None:
    door = Door()
    door.meet(member(A))
    assert door.opens(frame(A, PROBE))
    assert door.opens(frame(A, PROBE, target=PeerId(""))), "a release that does not say for whom"
    assert door.outbox.take() == ()


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        (frame(B, PROBE), "stranger"),
        (frame(A, PROBE, epoch=1), "stale_source"),
        (frame(A, PROBE, epoch=2, target_epoch=EPOCH - 1), "stale_target"),
        (frame(A, PROBE, epoch=2, target_epoch=0), "stale_target"),
        (frame(A, PROBE, epoch=2, target=B), "stale_target"),
        (frame(A, PROBE, epoch=2, cluster=Y), "cluster"),
        (frame(A, PROBE, epoch=2, version=PROTOCOL_VERSION + 1), "version"),
    ],
)
def test_what_is_not_from_here_and_now_is_dropped_and_counted(heard: Frame, reason: str) -> None:
    door = Door()
    door.meet(member(A, 2))
    door.core.cluster_id = X
    assert not door.opens(heard)
    assert door.core.dropped_count == 1
    assert (heard.source, reason, 1) in door.dropped()


def test_peers_of_no_cluster_yet_are_heard() -> None:
    door = Door()
    door.meet(member(A))
    assert door.opens(frame(A, PROBE, cluster=Y)), "it may know the cluster that we are to join"
    door.core.cluster_id = X
    assert door.opens(frame(A, PROBE))


@pytest.mark.parametrize(
    ("heard", "times"),
    [
        (frame(A, PROBE, epoch=2), 1),
        (frame(A, PROBE, target_epoch=EPOCH - 1), 1),
        (frame(A, PROBE, epoch=0), 0),
    ],
)
def test_who_has_missed_a_restart_is_greeted_once_in_an_interval(heard: Frame, times: int) -> None:
    door = Door()
    door.meet(member(A))
    hello = Send(A, Hello("lab", NO_CLUSTER, MINE, answer=False))
    for _ in range(5):
        door.opens(heard)
    assert door.outbox.take().count(hello) == times
    door.now += TIMING.greet_interval_seconds
    door.opens(heard)
    assert door.outbox.take().count(hello) == times


def test_drops_of_a_kind_are_reported_once_a_second_with_their_number() -> None:
    door = Door()
    for _ in range(5):
        door.opens(frame(B, PROBE))
    assert door.dropped() == [(B, "stranger", 1)]
    door.now += 1.0
    door.opens(frame(B, PROBE))
    door.opens(frame(A, PROBE))
    assert door.dropped() == [(B, "stranger", 5), (A, "stranger", 1)]
    assert door.core.dropped_count == 7


def test_the_memory_of_drops_is_bounded() -> None:
    door = Door(Limits(candidates_max=4))
    for number in range(1, 101):
        door.opens(frame(PeerId(f"{number:016x}"), PROBE))
    assert len(door.core._drops._reports) <= 4
    assert door.core.dropped_count == 100


# ---- greetings -------------------------------------------------------------------------------


def test_a_suggested_address_is_greeted_ever_more_slowly_until_it_answers() -> None:
    door = Door()
    assert door.suggest("host-a:1") == (Connect(PeerId("?host-a:1"), "host-a:1"),)
    hello = Send(PeerId("?host-a:1"), Hello("lab", NO_CLUSTER, MINE, answer=False))
    times = [door.now - 100.0 for _ in range(40) if door.tick(0.125) == (hello,)]
    assert times[:6] == [0.125, 0.375, 0.875, 1.875, 2.875, 3.875]
    assert door.hear_hello(member(A), hello_of(member(A), answer=True))
    assert Connect(PeerId("?host-a:1"), None) in door.outbox.take()
    assert door.tick(10.0) == ()
    assert door.core.next_deadline() == inf


@pytest.mark.parametrize("address", ["host-a:1", "host-b:1", MINE.address])
def test_what_is_known_is_not_suggested_again(address: str) -> None:
    door = Door()
    door.meet(member(A))
    door.suggest("host-b:1")
    assert door.suggest(address) == ()


def test_a_flood_of_suggestions_fills_a_bounded_table() -> None:
    door = Door(Limits(candidates_max=3))
    for number in range(10):
        door.suggest(f"flood:{number + 1}")
    assert len(door.core._greetings) == 3


def test_addresses_that_never_answer_make_room_for_new_ones() -> None:
    door = Door(Limits(candidates_max=3))
    for number in range(3):
        door.suggest(f"dead:{number + 1}")
    for _ in range(8):
        door.tick(1.0)
    assert door.suggest("fresh:1") == (
        Connect(PeerId("?dead:1"), None),
        Connect(PeerId("?fresh:1"), "fresh:1"),
    )
    assert len(door.core._greetings) == 3


def test_a_silent_member_is_greeted_at_its_address_and_never_forgotten() -> None:
    door = Door(Limits(candidates_max=1))
    door.meet(member(A))
    door.core.silent(member(A), door.now)
    door.core.silent(member(A), door.now)
    assert door.outbox.take() == (Connect(A, "host-a:1"),)
    hello = Send(A, Hello("lab", NO_CLUSTER, MINE, answer=False))
    greeted = sum(door.tick(1.0).count(hello) for _ in range(100))
    assert greeted >= 50
    assert door.suggest("other:1") == (), "a member keeps its place"
    assert door.hear_hello(member(A), hello_of(member(A), answer=True))
    door.outbox.take()
    assert door.tick(100.0) == ()


def test_who_has_left_is_neither_greeted_nor_linked() -> None:
    door = Door()
    door.meet(member(A))
    door.core.silent(member(A), door.now)
    door.outbox.take()
    door.core.forget(A)
    assert door.outbox.take() == (Connect(A, None),)
    assert not door.core.is_linked(A)
    assert door.tick(100.0) == ()
    door.core.forget(A)
    assert door.outbox.take() == ()


# ---- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hello", "version", "reason"),
    [
        (hello_of(member(A), cluster="other"), PROTOCOL_VERSION, "cluster"),
        (hello_of(member(A), cluster_id=Y), PROTOCOL_VERSION, "cluster"),
        (hello_of(member(A)), PROTOCOL_VERSION + 1, "version"),
        (hello_of(member(ME, EPOCH, "copy:1")), PROTOCOL_VERSION, "identity"),
    ],
)
def test_who_does_not_belong_here_is_told_so(hello: Hello, version: int, reason: str) -> None:
    door = Door()
    door.core.cluster_id = X
    assert not door.hear_hello(hello.member, hello, version=version)
    effects = door.outbox.take()
    target = PeerId(UNMET + hello.member.address)
    assert Connect(target, hello.member.address) in effects
    [refuse] = [e.message for e in effects if isinstance(e, Send) and e.target == target]
    assert isinstance(refuse, Refuse)
    assert refuse.reason == reason
    assert not door.core.is_linked(hello.member.peer)
    assert door.core.dropped_count == 1


def test_two_clusters_of_one_name_never_merge_but_newcomers_are_welcome() -> None:
    door = Door()
    assert door.hear_hello(member(A), hello_of(member(A), cluster_id=Y))
    door.core.cluster_id = X
    assert door.hear_hello(member(B), hello_of(member(B)))
    assert not door.hear_hello(member(A, 2), hello_of(member(A, 2), cluster_id=Y))


def test_the_link_of_a_refusal_is_closed_after_a_while() -> None:
    door = Door()
    stranger = hello_of(member(A), cluster="other")
    for _ in range(3):
        door.hear_hello(member(A), stranger)
    target = PeerId("?host-a:1")
    assert door.outbox.take().count(Connect(target, "host-a:1")) == 1
    assert door.core.next_deadline() == door.now + REFUSAL_SECONDS
    assert door.tick(REFUSAL_SECONDS) == (Connect(target, None),)
    assert door.core.next_deadline() == inf


def test_the_link_of_a_refusal_stays_open_for_a_greeting() -> None:
    door = Door()
    door.suggest("host-a:1")
    door.hear_hello(member(A), hello_of(member(A), cluster="other"))
    effects = door.tick(REFUSAL_SECONDS)
    assert Connect(PeerId("?host-a:1"), None) not in effects
    assert any(isinstance(effect, Send) for effect in effects)


def test_a_refusal_reaches_who_has_the_address_of_a_silent_member() -> None:
    door = Door()
    door.meet(member(A))
    door.core.silent(member(A), door.now)
    door.outbox.take()
    squatter = member(B, 1, "host-a:1")
    door.hear_hello(squatter, hello_of(squatter, cluster="other"))
    effects = door.outbox.take()
    [send] = [e for e in effects if isinstance(e, Send) and isinstance(e.message, Refuse)]
    assert send.target == A or Connect(send.target, "host-a:1") in effects


def test_a_flood_of_strangers_gets_a_bounded_number_of_refusals() -> None:
    door = Door()
    for number in range(1, 3 * REFUSALS_MAX):
        stranger = member(PeerId(f"{number:016x}"), 1, f"flood:{number}")
        door.hear_hello(stranger, hello_of(stranger, cluster="other"))
    connects = [e for e in door.outbox.take() if isinstance(e, Connect)]
    assert len(connects) == REFUSALS_MAX


def test_a_refusal_that_is_heard_is_told() -> None:
    door = Door()
    refuse = Refuse("cluster", "belongs to another")
    door.core.receive_refuse(frame(A, refuse), refuse, has_quorum=False)
    assert door.outbox.take() == (Notify(Refused(A, "cluster", "belongs to another", False)),)
