"""Acquaintance: who is heard, who is refused, and what both are told."""

from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import PROTOCOL_VERSION, Limits, Timing
from mabeam_p2p.effects import Connect, Effect, Notify, Send
from mabeam_p2p.events import Dropped, Refused
from mabeam_p2p.ids import NOBODY, ClusterId, PeerId
from mabeam_p2p.messages import Frame, Hello, Message, Refuse
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.links import REFUSALS_MAX, Links
from mabeam_p2p.records import Member, MemberState

MINE, SMALL, LARGE = PeerId("5" * 16), PeerId("1" * 16), PeerId("9" * 16)
UNFORMED, FORMED, OTHER = ClusterId(""), ClusterId("f" * 32), ClusterId("e" * 32)


def member(peer: PeerId, name: str = "other", epoch: int = 1) -> Member:
    address = f"10.0.0.{peer[0]}:7000"
    return Member(
        peer, name, address, epoch, epoch << 16, MemberState.ALIVE, True, 50, PROTOCOL_VERSION
    )


class World:
    """One peer's links, and what they want of the world."""

    def __init__(self, cluster_id: ClusterId = UNFORMED) -> None:
        self.outbox = Outbox()
        self.mine = member(MINE, "mine")
        self.links = Links(
            MINE,
            1,
            "day",
            self.mine.address,
            timing=Timing(),
            limits=Limits(),
            outbox=self.outbox,
            random=Random(0),
        )
        self.links.cluster_id = cluster_id

    def hello(
        self,
        them: Member,
        *,
        cluster: str = "day",
        cluster_id: ClusterId = UNFORMED,
        version: int = PROTOCOL_VERSION,
        name_holder: tuple[PeerId, ClusterId] | None = None,
    ) -> tuple[bool, tuple[Effect, ...]]:
        """Whether they are met, and what is done about it."""
        hello = Hello(cluster, cluster_id, them, answer=False)
        sealed = frame(them, hello, cluster_id=cluster_id, version=version)
        met = self.links.receive_hello(sealed, hello, self.mine, name_holder, 10.0)
        return met, self.outbox.take()


def frame(
    them: Member,
    *messages: Message,
    cluster_id: ClusterId = UNFORMED,
    version: int = PROTOCOL_VERSION,
) -> Frame:
    return Frame(version, them.peer, them.epoch, 1, 1, cluster_id, messages)


def refusal(effects: tuple[Effect, ...]) -> Refuse:
    """What the other side is told, over a link that is opened for that."""
    (connect,) = [effect for effect in effects if isinstance(effect, Connect)]
    (send,) = [effect for effect in effects if isinstance(effect, Send)]
    assert send.target == connect.target
    assert isinstance(send.message, Refuse)
    assert (send.message.peer, send.message.epoch) != (NOBODY, 0)
    return replace(send.message, peer=NOBODY, epoch=0)


def drops(effects: tuple[Effect, ...]) -> list[str]:
    events = [effect.event for effect in effects if isinstance(effect, Notify)]
    return [event.reason for event in events if isinstance(event, Dropped)]


def test_peer_of_the_same_cluster_is_met_and_greeted_back() -> None:
    met, effects = World().hello(member(SMALL))
    assert met
    assert [type(effect) for effect in effects] == [Connect, Send]


def test_peer_of_another_cluster_name_is_refused_told_why_and_reported() -> None:
    world = World()
    met, effects = world.hello(member(SMALL), cluster="night")
    assert not met
    assert refusal(effects) == Refuse(
        "cluster", "belongs to cluster 'night', this peer to 'day'", final=False
    )
    assert drops(effects) == ["refused_cluster"]
    assert not world.links.is_linked(SMALL)


def test_peer_of_another_formed_cluster_of_the_same_name_is_refused() -> None:
    met, effects = World(FORMED).hello(member(SMALL), cluster_id=OTHER)
    assert not met
    assert refusal(effects).reason == "cluster"


def test_who_was_revoked_is_refused_for_good_and_its_link_is_closed() -> None:
    world = World(FORMED)
    assert world.hello(member(SMALL), cluster_id=FORMED)[0]
    world.links.revoke((SMALL,))
    assert [e.address for e in world.outbox.take() if isinstance(e, Connect)] == [None]
    assert not world.links.is_linked(SMALL)
    met, effects = world.hello(member(SMALL), cluster_id=FORMED)
    assert not met
    assert refusal(effects) == Refuse("revoked", "its key was revoked in this cluster", final=True)


def test_nothing_of_who_was_revoked_is_heard_and_nobody_looks_for_it() -> None:
    world = World(FORMED)
    world.links.revoke((SMALL,))
    assert not world.links.opens(frame(member(SMALL), cluster_id=FORMED), world.mine, 10.0)
    assert drops(world.outbox.take()) == ["revoked"]
    world.links.know(member(SMALL), 10.0)
    world.links.silent(member(SMALL), 10.0)
    world.links.tick(world.mine, 20.0)
    assert not world.links.is_linked(SMALL)
    assert world.outbox.take() == ()


def test_peer_of_the_cluster_that_was_repaired_is_refused_for_good() -> None:
    world = World(FORMED)
    world.links.ancestors = (OTHER,)
    met, effects = world.hello(member(SMALL), cluster_id=OTHER)
    assert not met
    assert (refusal(effects).reason, refusal(effects).final) == ("repaired", True)
    assert not world.links.is_linked(SMALL)


@pytest.mark.parametrize("has_quorum", [False, True])
def test_who_hears_of_a_repair_gives_way_unless_its_own_cluster_has_a_majority(
    has_quorum: bool,
) -> None:
    world = World(FORMED)
    refuse = Refuse("repaired", "", final=True)
    world.links.receive_refuse(frame(member(SMALL), refuse), refuse, has_quorum=has_quorum)
    (notify,) = world.outbox.take()
    assert isinstance(notify, Notify)
    assert isinstance(notify.event, Refused)
    assert notify.event.fatal is not has_quorum


def test_greeting_of_another_protocol_version_is_refused_for_good_with_both_versions() -> None:
    met, effects = World().hello(member(SMALL), version=PROTOCOL_VERSION + 1)
    assert not met
    assert refusal(effects) == Refuse("version", "speaks protocol 2, this peer 1", final=True)
    assert drops(effects) == ["refused_version"]


def test_frame_of_another_protocol_version_is_dropped_and_reported() -> None:
    world = World()
    world.hello(member(SMALL))
    assert world.links.opens(frame(member(SMALL)), world.mine, 10.0)
    assert not world.links.opens(frame(member(SMALL), version=2), world.mine, 10.0)
    assert drops(world.outbox.take()) == ["version"]
    assert world.links.dropped_count == 1


def test_copy_of_this_peers_own_folder_is_refused_for_good() -> None:
    copied = Member(MINE, "copy", "10.0.0.77:7000", 2, 2 << 16, MemberState.ALIVE, True, 50, 1)
    met, effects = World().hello(copied)
    assert not met
    assert refusal(effects).reason == "identity"
    assert refusal(effects).final


@pytest.mark.parametrize(
    ("them", "holder", "gives_way"),
    [
        ((SMALL, ""), (LARGE, ""), False),
        ((LARGE, ""), (SMALL, ""), True),
        ((SMALL, ""), (LARGE, FORMED), True),
        ((LARGE, FORMED), (SMALL, ""), False),
        # Whoever judges: one of the two, or somebody else who has met both.
        ((SMALL, ""), (MINE, ""), False),
        ((LARGE, ""), (MINE, ""), True),
    ],
)
def test_of_two_that_want_one_name_the_one_in_no_cluster_or_else_the_larger_id_gives_way(
    them: tuple[PeerId, ClusterId], holder: tuple[PeerId, ClusterId], gives_way: bool
) -> None:
    met, effects = World().hello(member(them[0]), cluster_id=them[1], name_holder=holder)
    assert not met
    assert refusal(effects).reason == "name"
    assert refusal(effects).final is gives_way


@pytest.mark.parametrize(
    ("refuse", "cluster_id", "fatal"),
    [
        (Refuse("name", "taken", final=True), ClusterId(""), True),
        (Refuse("name", "taken", final=True), FORMED, False),
        (Refuse("name", "taken"), ClusterId(""), False),
        (Refuse("version", "other", final=True), FORMED, True),
        (Refuse("cluster", "other"), ClusterId(""), False),
    ],
)
def test_refused_peer_gives_way_if_it_is_told_so_and_keeps_its_name_once_it_is_in_a_cluster(
    refuse: Refuse, cluster_id: ClusterId, fatal: bool
) -> None:
    world = World(cluster_id)
    world.links.receive_refuse(frame(member(SMALL), refuse), refuse, has_quorum=False)
    (notify,) = world.outbox.take()
    assert isinstance(notify, Notify)
    assert notify.event == Refused(SMALL, refuse.reason, refuse.detail, fatal)


@pytest.mark.parametrize(
    ("peer", "epoch", "is_heard"),
    [(MINE, 1, True), (MINE, 0, False), (LARGE, 1, False), (NOBODY, 0, True)],
)
def test_a_refusal_of_a_process_that_is_gone_concerns_nobody(
    peer: PeerId, epoch: int, is_heard: bool
) -> None:
    """It waited at the refusing peer; whoever listens there now may have come with another name."""
    world = World()
    refuse = Refuse("name", "taken", final=True, peer=peer, epoch=epoch)
    world.links.receive_refuse(frame(member(SMALL), refuse), refuse, has_quorum=False)
    (notify,) = world.outbox.take()
    assert isinstance(notify, Notify)
    assert isinstance(notify.event, Refused) is is_heard


def test_refusals_of_one_peer_are_told_once_a_second() -> None:
    """Whoever floods would have a line of the log for each."""
    world, heard = World(FORMED), []
    for now, source in ((0.0, SMALL), (0.5, SMALL), (0.5, LARGE), (0.9, SMALL), (1.0, SMALL)):
        world.links.tick(world.mine, now)
        world.outbox.take()
        refuse = Refuse("version", "other", final=True)
        world.links.receive_refuse(frame(member(source), refuse), refuse, has_quorum=False)
        events = [effect.event for effect in world.outbox.take() if isinstance(effect, Notify)]
        heard += [(now, event.peer) for event in events if isinstance(event, Refused)]
    assert heard == [(0.0, SMALL), (0.5, LARGE), (1.0, SMALL)]
    for number in range(10 * REFUSALS_MAX):
        source = PeerId(f"{number:016x}")
        world.links.receive_refuse(frame(member(source), refuse), refuse, has_quorum=False)
    assert len(world.links._refused_until) == REFUSALS_MAX


def test_who_is_refused_is_named_with_its_epoch() -> None:
    world = World()
    _, effects = world.hello(member(SMALL, epoch=7), cluster="night")
    (send,) = [effect for effect in effects if isinstance(effect, Send)]
    assert isinstance(send.message, Refuse)
    assert (send.message.peer, send.message.epoch) == (SMALL, 7)


@pytest.mark.parametrize("reason", ["machine", "limits", "version", "a word that nobody knows"])
def test_nobody_refuses_this_peer_in_its_own_name(reason: str) -> None:
    world, refuse = World(FORMED), Refuse(reason, "", final=True)
    world.links.receive_refuse(frame(world.mine, refuse), refuse, has_quorum=False)
    effects = world.outbox.take()
    assert len(effects) == 1
    assert drops(effects) == ["refuse"]


def test_a_copy_of_this_peer_is_told_that_it_is_one_in_its_own_name() -> None:
    world, refuse = World(FORMED), Refuse("identity", "", final=True)
    world.links.receive_refuse(frame(world.mine, refuse), refuse, has_quorum=False)
    assert world.outbox.take() == (Notify(Refused(MINE, "identity", "", fatal=True)),)


def met(world: World, *peers: PeerId) -> None:
    for peer in peers:
        world.hello(member(peer))


def test_a_peer_that_moves_introduces_itself_over_new_links_until_it_is_answered() -> None:
    world = World()
    met(world, SMALL, LARGE)
    moved = replace(world.mine, address="10.0.0.77:7000", incarnation=world.mine.incarnation + 1)
    world.links.moved(moved.address, 10.0)
    assert [e for e in world.outbox.take() if isinstance(e, Connect)] == [
        Connect(SMALL, "10.0.0.1:7000"),
        Connect(LARGE, "10.0.0.9:7000"),
    ]
    greeted = []
    for moment in (10.0, 11.0):
        world.links.tick(moved, moment)
        greeted += [
            (effect.target, effect.message.member.address)
            for effect in world.outbox.take()
            if isinstance(effect, Send) and isinstance(effect.message, Hello)
        ]
    here = moved.address
    assert greeted == [(SMALL, here), (LARGE, here), (SMALL, here), (LARGE, here)]
    for peer in (SMALL, LARGE):
        hello = Hello("day", UNFORMED, member(peer), answer=True)
        world.links.receive_hello(frame(member(peer), hello), hello, moved, None, 12.0)
    world.outbox.take()
    world.links.tick(moved, 60.0)
    assert world.outbox.take() == ()


def test_a_member_that_is_told_to_be_elsewhere_is_dialled_there() -> None:
    """In the same epoch: it runs on, under another address."""
    world = World()
    met(world, SMALL)
    elsewhere = replace(member(SMALL), address="10.0.0.77:7000")
    world.links.know(elsewhere, 10.0)
    assert [e for e in world.outbox.take() if isinstance(e, Connect)] == [
        Connect(SMALL, "10.0.0.77:7000")
    ]
    world.links.know(elsewhere, 11.0)
    assert world.outbox.take() == ()
    world.links.know(replace(member(SMALL), epoch=0), 12.0)
    assert world.outbox.take() == ()


def test_it_is_told_for_how_long_a_link_has_not_been_used() -> None:
    world = World()
    met(world, SMALL)
    for used_at in (20.0, 30.0):
        world.links.tick(world.mine, used_at)
        world.links.dial((SMALL,))
        told = world.links.acquaintance(SMALL, used_at + 5.0)
        assert told is not None
        assert (told.is_open, told.idle_seconds) == (True, 5.0)
    assert world.links.acquaintance(LARGE, 35.0) is None


def test_refusals_under_way_are_bounded() -> None:
    world = World()
    for number in range(100):
        peer = PeerId(f"{number + 1:016x}")
        them = Member(
            peer, "x", f"10.0.1.{number}:7000", 1, 1 << 16, MemberState.ALIVE, True, 50, 1
        )
        world.links.receive_hello(
            frame(them), Hello("night", ClusterId(""), them, False), world.mine, None, 10.0
        )
    opened = [effect for effect in world.outbox.take() if isinstance(effect, Connect)]
    assert len(opened) == 32
    world.links.tick(world.mine, 20.0)
    closed = [effect for effect in world.outbox.take() if isinstance(effect, Connect)]
    assert [effect.address for effect in closed] == [None] * 32
