"""Reports by way of a coordinator: gathered, passed on once, and refused to whom they concern."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    ForwardRefused,
    Message,
    Relay,
    Relayed,
    RelayRefused,
)
from mabeam_p2p.protocol import relay as relay_module
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.relay import Relays, coordinator, sections
from mabeam_p2p.records import Member, MemberState

ME, A, B, LEADER = (PeerId(letter * 16) for letter in "0abf")
WINDOW = 0.25


def member(peer: PeerId, state: MemberState = MemberState.ALIVE, **facts: int) -> Member:
    score, eligible = facts.get("score", 50), bool(facts.get("eligible", 1))
    return Member(peer, peer, "host:1", 1, 1 << 16, state, eligible, score)


def crowd(count: int) -> tuple[Member, ...]:
    return tuple(member(PeerId(f"{number:016x}")) for number in range(count))


# ---- sections --------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 299))
def test_everybody_but_the_leader_is_in_one_section_of_about_the_roots_size(
    count: int, leading: int
) -> None:
    members = crowd(count)
    leader = PeerId(f"{leading:016x}")
    made = sections(members, leader)
    assert [m for section in made for m in section] == [m for m in members if m.peer != leader]
    sizes = [len(section) for section in made]
    if sizes:
        assert max(sizes) - min(sizes) <= 1
        assert abs(max(sizes) - len(sizes)) <= 3


def test_only_the_living_have_a_section() -> None:
    states = (MemberState.ALIVE, MemberState.SUSPECT, MemberState.DEAD, MemberState.LEFT)
    members = tuple(member(PeerId(f"{n:016x}"), states[n % 4]) for n in range(16))
    assert sum(len(section) for section in sections(members, LEADER)) == 4


def test_the_coordinator_is_the_fittest_of_its_section_and_then_the_first() -> None:
    assert coordinator([member(A), member(B)]) == A
    assert coordinator([member(A), member(B, score=60)]) == B
    assert coordinator([member(A, score=90, eligible=0), member(B, score=10)]) == B


# ---- what a peer gathers ---------------------------------------------------------------------


class Post:
    """A peer that may be a coordinator, and what it said."""

    def __init__(self, **limits: int) -> None:
        self.outbox = Outbox()
        self.is_full = False
        self.proposed: list[tuple[int, bytes]] = []
        self.own_refusals: list[ForwardRefused] = []
        self.relays = Relays(
            ME,
            propose=self.propose,
            refuse_own=lambda source, refusal: self.own_refusals.append(refusal),
            timing=Timing(relay_window_seconds=WINDOW),
            limits=Limits(**limits),
            outbox=self.outbox,
        )

    def propose(self, count: int, blob: bytes) -> bool:
        if not self.is_full:
            self.proposed.append((count, blob))
        return not self.is_full

    def hear(self, source: PeerId, number: int, blob: bytes = b"x", count: int = 1) -> None:
        self.relays.receive(source, Relay(0, number, count, blob))

    def flush(self, now: float, leader: PeerId | None = LEADER) -> list[tuple[PeerId, Message]]:
        self.relays.flush(leader, now)
        return self.said()

    def said(self) -> list[tuple[PeerId, Message]]:
        return [(e.target, e.message) for e in self.outbox.take() if isinstance(e, Send)]


def test_the_first_report_is_passed_on_at_once_and_the_next_ones_together() -> None:
    post = Post()
    post.hear(A, 1, b"a")
    assert post.flush(10.0) == [(LEADER, Relayed(0, 1, 1, b"a"))]
    post.hear(A, 2, b"b")
    assert post.flush(10.0) == []
    post.hear(B, 1, b"cc", 2)
    post.relays.gather(7, 1, b"d")
    assert post.flush(10.125) == []
    assert post.relays.next_deadline() == 10.25
    assert post.flush(10.25) == [(LEADER, Relayed(0, 2, 4, b"bccd"))]
    assert post.relays.next_deadline() == float("inf")
    assert post.flush(20.0) == []


def test_a_report_is_heard_once() -> None:
    post = Post()
    for _ in range(2):
        post.hear(A, 5, b"a")
    post.hear(A, 4, b"late")
    assert post.flush(1.0) == [(LEADER, Relayed(0, 1, 1, b"a"))]
    post.hear(A, 5, b"a")
    assert post.flush(9.0) == []


def test_what_no_message_may_hold_travels_in_several() -> None:
    post = Post(batch_commands_max=4, batch_bytes_max=6)
    for number, (count, size) in enumerate([(2, 2), (2, 2), (1, 1), (1, 5), (1, 2)], 1):
        post.hear(A, number, bytes([96 + number]) * size, count)
    assert [message for _, message in post.flush(1.0)] == [
        Relayed(0, 1, 4, b"aabb"),
        Relayed(0, 2, 2, b"cddddd"),
        Relayed(0, 3, 1, b"ee"),
    ]


def test_a_refusal_is_passed_on_to_each_whose_report_it_was() -> None:
    post = Post()
    post.hear(A, 3)
    post.hear(B, 8)
    post.relays.gather(5, 1, b"x")
    post.flush(1.0)
    refusal = RelayRefused(0, 1, "overloaded")
    post.relays.receive_refused(A, refusal)
    assert post.said() == [], "the leader alone can say that"
    for _ in range(2):
        post.relays.receive_refused(LEADER, refusal)
    assert post.said() == [
        (A, ForwardRefused(0, 3, "overloaded")),
        (B, ForwardRefused(0, 8, "overloaded")),
    ]
    assert post.own_refusals == [ForwardRefused(0, 5, "overloaded")]


def test_without_a_leader_every_report_is_refused_at_once() -> None:
    post = Post()
    post.hear(A, 3)
    post.relays.gather(5, 1, b"x")
    assert post.flush(1.0, leader=None) == [(A, ForwardRefused(0, 3, "not_leader"))]
    assert post.own_refusals == [ForwardRefused(0, 5, "not_leader")]
    assert post.flush(9.0) == []


def test_a_coordinator_that_was_elected_meanwhile_appends_what_it_has_gathered() -> None:
    post = Post()
    post.hear(A, 1, b"a")
    post.hear(B, 1, b"b")
    assert post.flush(1.0, leader=ME) == []
    assert post.proposed == [(2, b"ab")]
    post.is_full = True
    post.hear(A, 2, b"c")
    assert post.flush(2.0, leader=ME) == [(A, ForwardRefused(0, 2, "overloaded"))]


def test_more_than_a_coordinator_may_hold_is_refused() -> None:
    post = Post(relay_bytes_max=10)
    post.hear(A, 1, b"x" * 8)
    post.hear(B, 1, b"x" * 3)
    assert post.said() == [(B, ForwardRefused(0, 1, "overloaded"))]
    post.flush(1.0)
    post.hear(B, 2, b"x" * 3)
    assert post.said() == []


def test_refusals_are_remembered_within_bounds() -> None:
    post = Post()
    for number in range(1, relay_module.REMEMBERED + 2):
        post.hear(A, number)
        assert len(post.flush(float(number))) == 1
    post.relays.receive_refused(LEADER, RelayRefused(0, 1, "overloaded"))
    assert post.said() == []
    post.relays.receive_refused(LEADER, RelayRefused(0, 2, "overloaded"))
    assert post.said() == [(A, ForwardRefused(0, 2, "overloaded"))]


def test_what_was_passed_on_is_kept_no_longer() -> None:
    """But for whose it was: a busy coordinator would hold hundreds of messages as large as any."""
    post = Post()
    tracemalloc.start()
    for number in range(1, 51):
        post.hear(A, number, bytes(100_000))
        post.flush(float(number))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 500_000
    post.relays.receive_refused(LEADER, RelayRefused(0, 50, "overloaded"))
    assert post.said() == [(A, ForwardRefused(0, 50, "overloaded"))]


# ---- to whom a peer reports ------------------------------------------------------------------


def route(me: PeerId, members: tuple[Member, ...], leader: PeerId, from_peers: int) -> str | None:
    post = Relays(
        me,
        propose=lambda count, blob: True,
        refuse_own=lambda source, refusal: None,
        timing=Timing(),
        limits=Limits(relay_from_peers=from_peers),
        outbox=Outbox(),
    )
    post.members(members)
    return post.route(leader)


def test_small_clusters_have_no_coordinators() -> None:
    members = crowd(16)
    last = members[-1].peer
    assert route(last, members, members[0].peer, 17) is None
    assert route(last, members, members[0].peer, 16) is not None
    half = tuple(
        Member(m.peer, m.name, m.address, 1, 1, MemberState.DEAD) if n % 2 else m
        for n, m in enumerate(members)
    )
    assert route(last, half, members[0].peer, 16) is None, "the dead do not count"


def test_a_leader_reports_to_nobody_and_a_coordinator_to_itself() -> None:
    members = crowd(10)
    leader = members[0].peer
    assert route(leader, members, leader, 2) is None
    ways = {m.peer: route(m.peer, members, leader, 2) for m in members[1:]}
    coordinators = sorted({way for way in ways.values() if way is not None})
    assert len(coordinators) == 3
    assert all(ways[PeerId(way)] == way for way in coordinators)


def test_the_way_changes_with_the_members_and_with_the_leader() -> None:
    members = crowd(10)
    relays = Relays(
        members[9].peer,
        propose=lambda count, blob: True,
        refuse_own=lambda source, refusal: None,
        timing=Timing(),
        limits=Limits(relay_from_peers=2),
        outbox=Outbox(),
    )
    assert relays.route(members[0].peer) is None, "it knows of nobody yet"
    relays.members(members)
    first = relays.route(members[0].peer)
    assert first is not None
    assert relays.route(PeerId(first)) not in (None, first), "a leader coordinates nothing"
    without = tuple(
        Member(m.peer, m.name, m.address, 1, 1, MemberState.SUSPECT) if m.peer == first else m
        for m in members
    )
    relays.members(without)
    assert relays.route(members[0].peer) not in (None, first)
