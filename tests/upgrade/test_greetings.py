"""What two releases make of each other when they greet."""

from random import Random

import pytest

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Effect, Send
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Frame, Gossip, Hello, Message, Probe, Refuse
from mabeam_p2p.protocol import versions
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.records import Able, Member, MemberState, Standing

MINE, THEIRS = PeerId("5" * 16), PeerId("1" * 16)
UNFORMED, FORMED = ClusterId(""), ClusterId("f" * 32)
PROBE = Probe(1, Standing(0, 0, 0, 0))


def member(peer: PeerId, epoch: int = 1) -> Member:
    return Member(peer, f"m{peer[0]}", f"host:{peer[0]}", epoch, epoch << 16, MemberState.ALIVE)


class World:
    """One peer's links, of a release that can what `able` says."""

    def __init__(
        self, able: Able, *, cluster_id: ClusterId = UNFORMED, machine_version: int = 1
    ) -> None:
        self.outbox = Outbox()
        self.links = Links(
            MINE,
            1,
            "day",
            member(MINE).address,
            timing=Timing(),
            limits=Limits(),
            outbox=self.outbox,
            random=Random(0),
            able=able,
        )
        self.links.cluster_id = cluster_id
        self.links.machine_version = machine_version

    def hears(
        self, able: Able, *, version: int | None = None, epoch: int = 1, other: ClusterId = UNFORMED
    ) -> bool:
        """A greeting, in the earliest version that its release speaks. Whether it is met."""
        them = member(THEIRS, epoch)
        hello = Hello("day", other, them, answer=False, able=able)
        version = able.protocol_min if version is None else version
        frame = Frame(version, THEIRS, epoch, 0, 1, other, (hello,))
        return self.links.receive_hello(frame, hello, member(MINE), None, 10.0)

    def refusal(self) -> Refuse:
        effects: tuple[Effect, ...] = self.outbox.take()
        (refuse,) = [
            effect.message
            for effect in effects
            if isinstance(effect, Send) and isinstance(effect.message, Refuse)
        ]
        return refuse

    def sealed(self, *messages: Message) -> Frame:
        return self.links.seal(THEIRS, messages)

    def opens(self, version: int) -> bool:
        frame = Frame(version, THEIRS, 1, 1, 2, UNFORMED, (PROBE,))
        return self.links.opens(frame, member(MINE), 10.0)


@pytest.mark.parametrize(
    ("mine", "theirs", "common"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 4), 3), ((2, 4), (1, 3), 3), ((1, 2), (2, 5), 2)],
)
def test_two_peers_speak_the_latest_version_that_both_do(
    mine: tuple[int, int], theirs: tuple[int, int], common: int
) -> None:
    world = World(Able(*mine))
    assert world.hears(Able(*theirs))
    assert world.sealed(PROBE).version == common


@pytest.mark.parametrize(("mine", "theirs"), [((1, 2), (3, 4)), ((3, 4), (1, 2))])
def test_peers_without_a_common_version_refuse_each_other_for_good(
    mine: tuple[int, int], theirs: tuple[int, int]
) -> None:
    world = World(Able(*mine))
    assert not world.hears(Able(*theirs))
    refuse = world.refusal()
    assert (refuse.reason, refuse.final) == ("version", True)
    assert refuse.detail == f"speaks protocol {theirs[1]}, this peer {mine[1]}"


def test_a_release_that_says_nothing_speaks_the_version_of_its_greeting() -> None:
    assert World(Able(1, 2)).hears(Able())
    later = World(Able(2, 3))
    assert not later.hears(Able(), version=1)
    assert later.refusal().reason == "version"


def test_greetings_and_refusals_travel_in_the_earliest_version() -> None:
    world = World(Able(1, 3))
    world.hears(Able(1, 3))
    hello = Hello("day", UNFORMED, member(MINE), answer=False)
    assert world.sealed(hello, PROBE).version == 1
    assert world.sealed(Refuse("name", "")).version == 1
    assert world.sealed(PROBE).version == 3


def test_who_was_only_told_of_is_sent_the_earliest_version() -> None:
    world = World(Able(1, 3))
    world.links.know(member(THEIRS), 10.0)
    assert world.sealed(PROBE).version == 1
    assert world.links.able_of(THEIRS) is None


def test_frames_are_opened_in_every_version_that_this_release_speaks() -> None:
    world = World(Able(2, 3))
    world.hears(Able(2, 3))
    assert [version for version in range(6) if world.opens(version)] == [2, 3]


def test_a_peer_that_restarts_in_another_release_is_spoken_to_anew() -> None:
    world = World(Able(1, 3, 5))
    world.hears(Able(1, 1, 4))
    assert world.links.able_of(THEIRS) == Able(1, 1, 4)
    world.hears(Able(1, 2, 5), epoch=2)
    assert world.links.able_of(THEIRS) == Able(1, 2, 5)
    assert world.sealed(PROBE).version == 2


def test_a_peer_is_not_sent_a_message_that_its_release_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(versions.MESSAGES_SINCE, Gossip, 2)
    earlier, later = World(Able(1, 2)), World(Able(1, 2))
    earlier.hears(Able(1, 1))
    later.hears(Able(1, 2))
    assert earlier.sealed(Gossip(()), PROBE).messages == (PROBE,)
    assert later.sealed(Gossip(()), PROBE).messages == (Gossip(()), PROBE)


@pytest.mark.parametrize("other", [UNFORMED, FORMED])
def test_a_peer_that_cannot_apply_the_log_is_refused_for_good(other: ClusterId) -> None:
    world = World(Able(machine=3), cluster_id=FORMED, machine_version=3)
    assert not world.hears(Able(machine=2), other=other)
    refuse = world.refusal()
    assert (refuse.reason, refuse.final) == ("machine", True)
    assert "up to machine version 2" in refuse.detail
    assert "version 3" in refuse.detail
    assert world.hears(Able(machine=3), other=other)


def test_a_release_that_can_less_takes_part_while_the_log_is_of_a_version_that_it_can() -> None:
    assert World(Able(machine=3), cluster_id=FORMED, machine_version=2).hears(Able(machine=2))


@pytest.mark.parametrize(
    ("formed", "machine_version", "other", "met", "final"),
    [
        (FORMED, 2, UNFORMED, False, True),
        (FORMED, 2, FORMED, False, True),
        (FORMED, 1, UNFORMED, True, False),
        (FORMED, 1, FORMED, True, False),
        (UNFORMED, 1, UNFORMED, False, False),
        (UNFORMED, 1, FORMED, True, False),
    ],
)
def test_other_limits_are_refused_where_the_log_names_them_or_there_is_none_yet(
    formed: ClusterId, machine_version: int, other: ClusterId, met: bool, final: bool
) -> None:
    world = World(Able(machine=2, rules=7), cluster_id=formed, machine_version=machine_version)
    assert world.hears(Able(machine=2, rules=8), other=other) is met
    if not met:
        refuse = world.refusal()
        assert (refuse.reason, refuse.final) == ("limits", final)


def test_limits_that_are_not_said_are_nobodys_reason() -> None:
    assert World(Able(rules=7)).hears(Able())
    assert World(Able()).hears(Able(rules=7))
