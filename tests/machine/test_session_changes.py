"""What changes while a session lives: groups, attributes, its peer's epoch, its lease."""

from msgspec.structs import replace

from mabeam_p2p.commands import (
    Arrive,
    CloseSession,
    DepartPeer,
    Describe,
    JoinGroup,
    KeepAlive,
    LeaveGroup,
    OpenSession,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import AgentChanged, AgentLeft, BarrierChanged
from mabeam_p2p.ids import CLUSTER_SESSION, GROUP_ALL, AgentId, SessionId
from mabeam_p2p.records import Agent, OnDeparture
from mabeam_p2p.requests import AgentQuery, Refused
from tests.machine.written_log import SECOND, WrittenLog, peer_id, reason

ONE = SessionId(1)


def only(log: WrittenLog) -> Agent:
    (agent,) = log.machine.find(AgentQuery()).agents
    return agent


# ---- groups ----------------------------------------------------------------------------------


def test_an_agent_joins_and_leaves_groups_while_it_runs_and_everybody_is_told() -> None:
    log = WrittenLog()
    log.attach("a", session=1)
    log.apply(JoinGroup(ONE, log.next(ONE), "vision"))
    assert only(log).groups == ("vision",)
    assert log.events == (AgentChanged(only(log)),)
    log.apply(LeaveGroup(ONE, log.next(ONE), "vision"))
    assert only(log).groups == ()
    assert log.events == (AgentChanged(only(log)),)


def test_joining_twice_and_leaving_what_one_is_not_in_changes_nothing() -> None:
    log = WrittenLog()
    log.attach("a", session=1, groups=("vision",))
    for command in (
        JoinGroup(ONE, log.next(ONE), "vision"),
        JoinGroup(ONE, log.next(ONE), GROUP_ALL),
        LeaveGroup(ONE, log.next(ONE), "audio"),
    ):
        assert reason(log.apply(command)) == ""
        assert log.events == ()
    assert only(log).groups == ("vision",)


def test_groups_without_a_name_too_many_and_the_group_of_all_are_refused() -> None:
    log = WrittenLog(Limits(groups_per_agent_max=1))
    log.attach("a", session=1)
    assert reason(log.apply(JoinGroup(ONE, log.next(ONE), "no name"))) == "invalid"
    assert reason(log.apply(LeaveGroup(ONE, log.next(ONE), GROUP_ALL))) == "invalid"
    assert reason(log.apply(JoinGroup(ONE, log.next(ONE), "vision"))) == ""
    assert reason(log.apply(JoinGroup(ONE, log.next(ONE), "audio"))) == "limit"
    assert only(log).groups == ("vision",)


def test_who_joins_after_a_proposal_has_opened_is_not_in_its_electorate() -> None:
    log = WrittenLog()
    one, two = log.attached(2)
    log.apply(JoinGroup(one, log.next(one), "vision"))
    assert reason(log.propose(one, group="vision")) == ""
    assert reason(log.apply(JoinGroup(two, log.next(two), "vision"))) == ""
    assert log.proposal().electorate == ("a1@p",)


# ---- attributes ------------------------------------------------------------------------------


def test_an_agent_describes_itself_and_takes_it_back() -> None:
    log = WrittenLog()
    log.attach("a", session=1)
    log.apply(Describe(ONE, log.next(ONE), "bulk", "127.0.0.1:1"))
    log.apply(Describe(ONE, log.next(ONE), "accelerator", "none"))
    assert only(log).attributes == (("accelerator", "none"), ("bulk", "127.0.0.1:1"))
    log.apply(Describe(ONE, log.next(ONE), "bulk", ""))
    assert only(log).attributes == (("accelerator", "none"),)
    changed = log.events
    assert changed == (AgentChanged(only(log)),)
    log.apply(Describe(ONE, log.next(ONE), "bulk", ""))
    assert log.events == ()


def test_attributes_are_bounded_in_number_and_length() -> None:
    log = WrittenLog(Limits(attributes_per_agent_max=1))
    log.attach("a", session=1)
    assert reason(log.apply(Describe(ONE, log.next(ONE), "", "x"))) == "invalid"
    assert reason(log.apply(Describe(ONE, log.next(ONE), "a", "x" * 257))) == "too_large"
    assert reason(log.apply(Describe(ONE, log.next(ONE), "a", "x" * 256))) == ""
    assert reason(log.apply(Describe(ONE, log.next(ONE), "b", "x"))) == "limit"
    assert reason(log.apply(Describe(ONE, log.next(ONE), "a", "y"))) == ""


# ---- a peer that restarts ---------------------------------------------------------------------


def opening(log: WrittenLog, epoch: int) -> OpenSession:
    return OpenSession(ONE, 1, AgentId("a@p"), peer_id(1), epoch, (), True, True)


def test_a_session_moves_to_its_peers_next_epoch_with_what_it_holds() -> None:
    log = WrittenLog()
    first = log.apply(opening(log, 1))
    log.apply(Arrive(ONE, 2, "epoch", 2, SECOND, OnDeparture.BREAK))
    assert log.apply(opening(log, 2)) == first
    moved = log.events
    assert moved == (AgentChanged(only(log)),)
    assert only(log).epoch == 2
    log.apply(DepartPeer(CLUSTER_SESSION, 0, peer_id(1), 1, "restarted"))
    assert log.events == (), "the departure is that of the process before"
    assert reason(log.apply(KeepAlive(ONE, 3))) == ""


def test_a_late_copy_of_an_opening_moves_nothing_back() -> None:
    log = WrittenLog()
    first = log.apply(opening(log, 1))
    log.apply(opening(log, 2))
    assert log.apply(opening(log, 1)) == first
    assert log.events == ()
    assert only(log).epoch == 2


def test_a_session_that_has_changed_since_is_still_known_by_its_opening() -> None:
    log = WrittenLog()
    first = log.apply(opening(log, 1))
    log.apply(JoinGroup(ONE, 2, "vision"))
    assert log.apply(opening(log, 2)) == first
    assert only(log).groups == ("vision",)
    other = replace(opening(log, 2), participates=False)
    assert isinstance(log.apply(other), Refused)


def test_without_its_own_session_moved_the_departure_ends_it() -> None:
    log = WrittenLog()
    log.apply(opening(log, 1))
    log.apply(DepartPeer(CLUSTER_SESSION, 0, peer_id(1), 1, "restarted"))
    assert reason(log.apply(opening(log, 2))) == "unknown_session"


# ---- leases ----------------------------------------------------------------------------------


def test_a_session_that_says_nothing_for_its_lease_ends_with_what_it_holds() -> None:
    log = WrittenLog()
    log.attach("a", session=1, lease=10 * SECOND)
    log.apply(Arrive(ONE, log.next(ONE), "epoch", 2, 60 * SECOND, OnDeparture.BREAK))
    log.pass_time(10 * SECOND)
    left, broken = log.events
    assert isinstance(left, AgentLeft)
    assert left.reason == "lease expired"
    assert isinstance(broken, BarrierChanged)
    assert broken.generation.reason == "departed: a@p"
    assert reason(log.apply(KeepAlive(ONE, log.next(ONE)))) == "unknown_session"


def test_every_command_of_the_session_renews_its_lease() -> None:
    log = WrittenLog()
    log.attach("a", session=1, lease=10 * SECOND)
    for _ in range(3):
        log.pass_time(6 * SECOND)
        assert reason(log.apply(KeepAlive(ONE, log.next(ONE)))) == ""
    log.pass_time(9 * SECOND)
    assert only(log).id == "a@p"
    log.pass_time(2 * SECOND)
    assert log.machine.find(AgentQuery()).agents == ()


def test_a_repeated_command_renews_too_for_it_is_a_sign_of_life() -> None:
    log = WrittenLog()
    log.attach("a", session=1, lease=10 * SECOND)
    alive = KeepAlive(ONE, log.next(ONE))
    for _ in range(3):
        log.pass_time(6 * SECOND)
        assert reason(log.apply(alive)) == ""


def test_a_session_that_is_closed_leaves_no_deadline() -> None:
    log = WrittenLog()
    log.attach("a", session=1, lease=10 * SECOND)
    assert log.machine.next_deadline() is not None
    log.apply(CloseSession(ONE, log.next(ONE), "closed"))
    assert log.machine.next_deadline() is None


def test_a_lease_ends_in_its_turn_among_other_deadlines() -> None:
    log = WrittenLog()
    log.attach("a", session=1, lease=10 * SECOND)
    log.attach("b", session=2, peer=2)
    two = SessionId(2)
    log.apply(Arrive(ONE, log.next(ONE), "epoch", 3, 12 * SECOND, OnDeparture.WAIT))
    log.apply(Arrive(two, log.next(two), "epoch", 3, 12 * SECOND, OnDeparture.WAIT))
    log.pass_time(9 * SECOND)
    log.apply(KeepAlive(ONE, log.next(ONE)))
    log.pass_time(60 * SECOND)
    kinds = [type(event).__name__ for event in log.events]
    assert kinds == ["BarrierChanged", "AgentLeft"], "the barrier was due at 12 s, the lease at 19"
