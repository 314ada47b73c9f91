"""What a leader adds to the log by itself: ticks for deadlines, departures of peers that went."""

from mabeam_p2p.commands import AnyCommand, DepartPeer, Tick
from mabeam_p2p.config import Timing
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, PeerId, SessionId
from mabeam_p2p.protocol.duties import TICK_AGAIN, Duties
from mabeam_p2p.records import Agent, Member, MemberState

A, B, C = (PeerId(letter * 16) for letter in "abc")
TIMING = Timing(
    probe_interval_seconds=0.25,
    dead_seconds=3.0,
    departure_grace_seconds=2.0,
    restart_grace_seconds=4.0,
)
TICK = (Tick(CLUSTER_SESSION, 0),)


def agent(peer: PeerId, epoch: int = 1, name: str = "agent") -> Agent:
    return Agent(AgentId(f"{name}@p"), peer, epoch, SessionId(1), (), True, True, (), 1)


def member(peer: PeerId, state: MemberState = MemberState.ALIVE, epoch: int = 1) -> Member:
    return Member(peer, peer, "host:1", epoch, epoch << 16, state)


def gone(peer: PeerId, epoch: int, reason: str) -> AnyCommand:
    return DepartPeer(CLUSTER_SESSION, 0, peer, epoch, reason)


class Watch:
    """A leader's view, looked at in every interval; what it ordered, and when."""

    def __init__(self) -> None:
        self.duties = Duties(TIMING, 0.0)
        self.now = 0.0
        self.orders: list[tuple[float, AnyCommand]] = []

    def look(self, seconds: float, agents: tuple[Agent, ...], *members: Member) -> None:
        end = self.now + seconds
        while self.now < end:
            for command in self.duties.departures(agents, members, self.now):
                self.orders.append((self.now, command))
            self.now += TIMING.probe_interval_seconds


# ---- ticks -----------------------------------------------------------------------------------


def test_a_deadline_is_ticked_for_when_the_logs_clock_reaches_it() -> None:
    duties = Duties(TIMING, 0.0)
    assert duties.tick_command(None, 10**9) == ()
    assert duties.tick_command(500, 499) == ()
    assert duties.tick_command(500, 500) == TICK


def test_a_deadline_is_ticked_for_once_and_again_only_after_a_while() -> None:
    duties = Duties(TIMING, 0.0)
    assert duties.tick_command(500, 600) == TICK
    assert duties.tick_command(500, 600) == ()
    assert duties.tick_command(500, 600 + TICK_AGAIN - 1) == ()
    assert duties.tick_command(500, 600 + TICK_AGAIN) == TICK, "the first was not taken"
    assert duties.tick_command(501, 600 + TICK_AGAIN) == TICK, "another deadline waits for nothing"


def test_a_deadline_at_the_beginning_of_time_is_one() -> None:
    assert Duties(TIMING, 0.0).tick_command(0, 0) == TICK


def test_it_is_known_when_there_is_something_to_do() -> None:
    duties = Duties(TIMING, 10.0)
    assert duties.is_due(None, 0, 10.0)
    duties.departures((), (), 10.0)
    assert not duties.is_due(None, 0, 10.0)
    assert not duties.is_due(5_000_000, 4_900_000, 10.0)
    assert duties.is_due(5_000_000, 5_000_000, 10.0)
    assert duties.next_deadline(None, 0, 10.0) == 10.25
    assert duties.next_deadline(5_000_000, 4_900_000, 10.0) == 10.1
    assert duties.next_deadline(5_000_000, 6_000_000, 10.0) == 10.0
    duties.tick_command(5_000_000, 6_000_000)
    assert not duties.is_due(5_000_000, 6_000_000, 10.0)
    assert duties.next_deadline(5_000_000, 6_000_000, 10.0) == 10.25
    assert duties.is_due(None, 0, 10.25)


# ---- departures ------------------------------------------------------------------------------


def test_the_agents_of_a_peer_that_left_depart_at_once() -> None:
    watch = Watch()
    watch.look(0.25, (agent(A), agent(B)), member(A), member(B, MemberState.LEFT))
    assert watch.orders == [(0.0, gone(B, 1, "left"))]


def test_the_agents_of_a_dead_peer_depart_after_the_grace_time() -> None:
    watch = Watch()
    agents = agent(A), agent(B)
    watch.look(1.0, agents, member(A), member(B, MemberState.SUSPECT))
    watch.look(2.0, agents, member(A), member(B, MemberState.DEAD))
    assert watch.orders == []
    watch.look(0.25, agents, member(A), member(B, MemberState.DEAD))
    assert watch.orders == [(3.0, gone(B, 1, "dead"))]


def test_a_peer_that_comes_back_in_time_keeps_its_agents() -> None:
    watch = Watch()
    for _ in range(3):
        watch.look(1.75, (agent(B),), member(B, MemberState.DEAD))
        watch.look(0.25, (agent(B),), member(B))
    assert watch.orders == []


def test_the_agents_of_an_earlier_life_depart_after_a_grace_of_their_own() -> None:
    watch = Watch()
    watch.look(4.0, (agent(B, 1),), member(B, epoch=2))
    assert watch.orders == []
    watch.look(0.25, (agent(B, 1),), member(B, epoch=2))
    assert watch.orders == [(4.0, gone(B, 1, "restarted"))]


def test_an_agent_that_came_back_does_not_hide_those_that_did_not() -> None:
    """The restarted peer's own agent opens a new session at once; the others of its earlier life
    may never come."""
    watch = Watch()
    agents = agent(B, 2, "own"), agent(B, 1, "other")
    watch.look(4.25, agents, member(B, epoch=2))
    assert watch.orders == [(4.0, gone(B, 1, "restarted"))]


def test_who_was_never_seen_has_the_time_of_a_death_to_appear() -> None:
    watch = Watch()
    watch.look(3.0, (agent(C),))
    watch.look(2.0, (agent(C),))
    assert watch.orders == []
    watch.look(0.25, (agent(C),))
    assert watch.orders == [(5.0, gone(C, 1, "never seen"))]


def test_an_order_that_has_no_effect_is_repeated_after_the_grace_time_alone() -> None:
    watch = Watch()
    watch.look(6.5, (agent(B),), member(B, MemberState.DEAD))
    assert [when for when, _ in watch.orders] == [2.0, 4.0, 6.0]


def test_departures_are_looked_for_once_in_a_probe_interval() -> None:
    duties = Duties(TIMING, 0.0)
    left = (agent(B),), (member(B, MemberState.LEFT),)
    assert duties.departures((), (), 0.0) == ()
    assert duties.departures(*left, 0.125) == ()
    assert duties.departures(*left, 0.25) == (gone(B, 1, "left"),)


def test_departures_are_ordered_the_same_on_every_peer() -> None:
    watch = Watch()
    agents = agent(C, 2), agent(B, 1), agent(C, 1), agent(B, 1, "twin")
    members = member(B, MemberState.LEFT), member(C, MemberState.LEFT, 2)
    watch.look(0.25, agents, *members)
    assert [command for _, command in watch.orders] == [gone(B, 1, "left"), gone(C, 2, "left")]
