"""Links are opened when something is to be said, closed when nothing is, and a crowd does not greet
all at once."""

from random import Random

import pytest

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Connect, Effects, Send
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Hello, Probe
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.records import Member, MemberState, Standing
from tests.protocol.test_links_and_frames import (
    EPOCH,
    ME,
    MINE,
    NO_CLUSTER,
    A,
    B,
    frame,
    hello_of,
    member,
)

PROBE = Probe(1, Standing(0, 0, 0, 0))
GREETING = Hello("lab", NO_CLUSTER, MINE, answer=False)
TIMING = Timing(link_idle_seconds=10.0)


class Door:
    """One peer's Links behind its outbox, as a node has them."""

    def __init__(self, limits: Limits | None = None, seed: int = 0) -> None:
        self.outbox = Outbox()
        self.now = 100.0
        self.links = Links(
            ME,
            EPOCH,
            "lab",
            MINE.address,
            timing=TIMING,
            limits=limits or Limits(),
            outbox=self.outbox,
            random=Random(seed),
        )
        self.outbox.dial = self.links.dial
        self.pass_time(0.0)

    def pass_time(self, seconds: float) -> Effects:
        """In steps of a quarter of a second."""
        end = self.now + seconds
        effects: list[object] = []
        while True:
            self.now = min(end, self.now + 0.25)
            self.links.tick(MINE, self.now)
            effects += self.outbox.take()
            if self.now >= end:
                return tuple(effects)  # type: ignore[arg-type]

    def say(self, *peers: PeerId) -> Effects:
        for peer in peers:
            self.outbox.send(peer, PROBE)
        return self.outbox.take()

    def meet(self, them: Member) -> None:
        heard = frame(them.peer, hello_of(them), epoch=them.epoch, target_epoch=0)
        assert self.links.receive_hello(heard, hello_of(them), MINE, None, self.now)
        self.outbox.take()


def known(number: int) -> Member:
    return Member(
        PeerId(f"1{number:015x}"), f"m{number}", f"far:{number + 1}", 1, 1 << 16, MemberState.ALIVE
    )


def test_one_that_was_told_of_is_dialled_and_greeted_before_anything_is_said() -> None:
    door = Door()
    door.links.know(member(A), door.now)
    assert door.outbox.take() == ()
    assert door.say(A) == (Connect(A, "host-a:1"), Send(A, GREETING), Send(A, PROBE))
    assert door.say(A) == (Send(A, PROBE),)


def test_frames_of_one_that_was_told_of_are_opened() -> None:
    """Both have heard of each other: nobody need greet first."""
    door = Door()
    assert not door.links.opens(frame(A, PROBE), MINE, door.now)
    door.links.know(member(A), door.now)
    assert door.links.opens(frame(A, PROBE), MINE, door.now)
    assert door.links.seal(A, (PROBE,)).target_epoch == member(A).epoch


def test_one_that_was_told_of_is_greeted_until_it_says_what_it_is() -> None:
    """The first greeting may be lost: what its release can do, and with it the version of the
    cluster's log, would stay unknown while both go on talking."""
    door = Door()
    door.links.know(member(A), door.now)
    door.say(A)
    heard = frame(A, PROBE)
    assert door.links.opens(heard, MINE, door.now)
    assert door.outbox.take() == (), "once in an interval, and that was just now"
    door.pass_time(2 * TIMING.greet_interval_seconds)
    assert door.links.opens(heard, MINE, door.now)
    assert door.outbox.take() == (Send(A, GREETING),)
    door.meet(member(A))
    door.pass_time(2 * TIMING.greet_interval_seconds)
    assert door.links.opens(heard, MINE, door.now)
    assert door.outbox.take() == (), "it has"


def test_nothing_is_dialled_for_one_that_is_not_known() -> None:
    assert Door().say(A) == (Send(A, PROBE),)


def test_an_idle_link_is_closed_when_more_than_a_few_are_open_and_opened_again() -> None:
    door = Door(Limits(links_kept=1))
    door.meet(member(A))
    door.meet(member(B))
    door.pass_time(TIMING.link_idle_seconds / 2)
    door.say(B)
    door.pass_time(TIMING.link_idle_seconds - 2.0)
    closed = [*door.pass_time(3.0), *door.say(B)]
    assert Connect(A, None) in closed
    assert Connect(B, None) not in closed
    assert door.links.is_linked(A), "it is known"
    assert door.say(A)[0] == Connect(A, "host-a:1")


def test_a_link_that_is_to_be_closed_and_is_needed_in_the_same_turn_stays() -> None:
    door = Door(Limits(links_kept=0))
    door.meet(member(A))
    door.now += TIMING.link_idle_seconds
    door.links.tick(MINE, door.now)
    assert door.say(A) == (Send(A, PROBE),)
    door.pass_time(2.0)
    assert door.say(B) == (Send(B, PROBE),)


def test_a_few_links_stay_open_however_idle() -> None:
    door = Door(Limits(links_kept=2))
    door.meet(member(A))
    door.meet(member(B))
    assert [*door.pass_time(100.0), *door.say(PeerId("f" * 16))] == [Send(PeerId("f" * 16), PROBE)]


def test_links_to_many_are_open_no_longer_than_they_are_used() -> None:
    """One is asked in each second: as many are open as there are seconds in the idle time."""
    door = Door(Limits(links_kept=4))
    opened: dict[PeerId, None] = {}
    most = 0
    for number in range(200):
        door.links.know(known(number), door.now)
    for number in range(200):
        for effect in (*door.pass_time(1.0), *door.say(known(number).peer)):
            if isinstance(effect, Connect):
                if effect.address is None:
                    opened.pop(effect.target)
                else:
                    opened[effect.target] = None
        most = max(most, len(opened))
    assert most <= TIMING.link_idle_seconds + 4


def test_news_of_a_new_life_moves_an_open_link_and_greets_there() -> None:
    door = Door()
    door.meet(member(A))
    moved = member(A, 2, "elsewhere:9")
    door.links.know(moved, door.now)
    assert door.outbox.take() == (Connect(A, "elsewhere:9"), Send(A, GREETING))
    door.links.know(member(A), door.now)
    assert door.outbox.take() == (), "older news moves nothing"
    assert door.links.seal(A, ()).target_epoch == 2


def test_news_of_a_member_ends_the_greeting_of_its_address() -> None:
    door = Door()
    door.links.suggest("host-a:1", door.now)
    door.outbox.take()
    door.links.know(member(A), door.now)
    assert door.outbox.take() == (Connect(PeerId("?host-a:1"), None),)
    assert door.pass_time(10.0) == ()


@pytest.mark.parametrize("crowd", [0, 64])
def test_a_member_that_comes_back_elsewhere_is_not_greeted_where_it_was(crowd: int) -> None:
    door = Door(seed=1)
    door.links.crowd = crowd
    door.meet(member(A))
    door.links.silent(member(A), door.now)
    door.links.know(member(A, 2, "elsewhere:9"), door.now)
    *_, last = [e for e in door.outbox.take() if isinstance(e, Connect)]
    assert last == Connect(A, "elsewhere:9")
    assert door.pass_time(60.0) == (), "the link stays where it is"


@pytest.mark.parametrize("how", ["itself", "news"])
def test_nor_is_one_that_was_forgotten_meanwhile(how: str) -> None:
    door = Door(Limits(links_kept=0, greet_at_once_max=1), seed=1)
    for number in range(3):
        door.links.silent(known(number), door.now)
    door.meet(member(A))
    door.links.silent(member(A), door.now)
    door.links.lose(A)
    door.pass_time(60.0)
    moved = member(A, 2, "elsewhere:9")
    if how == "itself":
        door.meet(moved)
    else:
        door.links.know(moved, door.now)
        door.say(A)
    assert Connect(A, "host-a:1") not in door.pass_time(60.0)


@pytest.mark.parametrize("how", ["another", "itself", "news"])
def test_the_link_to_one_that_is_forgotten_is_closed_when_its_address_answers(how: str) -> None:
    door = Door(Limits(links_kept=0))
    door.meet(member(A))
    door.links.silent(member(A), door.now)
    door.links.lose(A)
    door.pass_time(60.0)
    if how == "news":
        door.links.know(member(A), door.now)
    else:
        peer = B if how == "another" else A
        them = member(peer, address=member(A).address)
        heard = frame(peer, hello_of(them), epoch=them.epoch, target_epoch=0)
        assert door.links.receive_hello(heard, hello_of(them), MINE, None, door.now)
    connects = [e.address for e in door.outbox.take() if isinstance(e, Connect) and e.target == A]
    assert connects == ([None, "host-a:1"] if how == "itself" else [None])


def test_a_member_that_is_forgotten_is_still_greeted_where_it_was() -> None:
    door = Door()
    door.meet(member(A))
    door.links.silent(member(A), door.now)
    door.links.lose(A)
    assert not door.links.is_linked(A)
    sent = door.pass_time(60.0)
    assert sent.count(Send(A, GREETING)) >= 15
    assert Connect(A, None) not in sent


@pytest.mark.parametrize("is_revoked", [True, False])
def test_one_that_is_forgotten_and_then_revoked_or_gone_is_greeted_no_more(
    is_revoked: bool,
) -> None:
    """A lost machine is dead for long, and no member, before anybody revokes its key."""
    door = Door()
    door.meet(member(A))
    door.links.silent(member(A), door.now)
    door.links.lose(A)
    assert Send(A, GREETING) in door.pass_time(10.0)
    if is_revoked:
        door.links.revoke((A,))
    else:
        door.links.forget(A)
    assert door.outbox.take() == (Connect(A, None),)
    assert door.pass_time(120.0) == ()
    assert door.links.counts() == (0, 0, 0)


def test_links_to_many_that_are_forgotten_are_open_in_turn_and_none_is_given_up() -> None:
    """Peers that crash and come under a new id and port each time leave addresses behind."""
    door = Door(seed=5)
    opened: dict[PeerId, None] = {}
    for number in range(400):
        door.links.know(known(number), door.now)
        door.links.silent(known(number), door.now)
        door.links.lose(known(number).peer)
    most = 0
    greeted: dict[PeerId, int] = {}
    for second in range(360):
        for effect in door.pass_time(1.0):
            if isinstance(effect, Connect) and effect.address is None:
                del opened[effect.target]
            elif isinstance(effect, Connect):
                opened[effect.target] = None
            elif isinstance(effect, Send) and second >= 60:
                assert effect.target in opened
                greeted[effect.target] = greeted.get(effect.target, 0) + 1
        if second >= 60:
            most = max(most, len(opened))
    assert most <= 3 * Limits().greet_at_once_max
    assert len(greeted) == 400
    assert sum(greeted.values()) / 300 <= Limits().greet_at_once_max


def test_of_a_crowd_only_some_greet_an_address_in_any_interval() -> None:
    """All 160 hear of it at one moment, and it does not answer."""
    crowd = 160
    firsts = []
    total = 0
    for seed in range(crowd):
        door = Door(seed=seed)
        door.links.crowd = crowd
        door.links.suggest("new:1", door.now)
        began = door.now
        times = []
        for _ in range(240):
            sent = door.pass_time(0.25)
            times += [door.now - began] * sum(isinstance(effect, Send) for effect in sent)
        firsts.append(times[0])
        total += sum(30.0 <= at < 60.0 for at in times)
    assert sum(first <= 0.3 for first in firsts) <= 2 * Limits().greet_at_once_max
    slots = 30.0 / TIMING.greet_interval_seconds_max
    assert total <= 2 * Limits().greet_at_once_max * slots


def test_a_greeting_in_a_crowd_is_not_sent_if_news_comes_first() -> None:
    door = Door(seed=3)
    door.links.crowd = 1_000
    door.links.suggest("host-a:1", door.now)
    assert door.outbox.take() == ()
    door.links.know(member(A), door.now)
    assert [e for e in door.pass_time(60.0) if isinstance(e, Send)] == []


def test_the_addresses_of_the_silent_are_bounded() -> None:
    door = Door(Limits(forgotten_max=8))
    for number in range(100):
        door.links.know(known(number), door.now)
        door.links.silent(known(number), door.now)
        door.links.lose(known(number).peer)
    assert len(door.links._greetings) <= 8


def test_links_to_nobody_of_the_members_make_room() -> None:
    door = Door(Limits(members_max=2, links_kept=0))
    for number in range(3):
        door.links.know(known(number), door.now)
    assert len(door.links._links) == 2
    assert door.links.is_linked(known(2).peer)


def test_an_unsure_holder_of_a_name_makes_nobody_give_way_for_good() -> None:
    door = Door()
    them = member(B, name="worker")
    heard = frame(B, hello_of(them), epoch=1, target_epoch=0)
    for is_sure in (False, True):
        holder = A, ClusterId("1" * 32)
        assert not door.links.receive_hello(
            heard, hello_of(them), MINE, holder, door.now, holder_is_sure=is_sure
        )
    refusals = [e.message for e in door.outbox.take() if isinstance(e, Send)]
    assert [getattr(refusal, "final", None) for refusal in refusals] == [False, True]
