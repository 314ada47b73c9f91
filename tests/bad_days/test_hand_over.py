"""A leader that hands over, because it is asked to, leaves, or is not preferred any more: nothing
that was asked meanwhile is lost or done twice, and whoever cannot take over costs nothing."""

import itertools
from collections.abc import Iterator

import pytest

from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.config import Timing
from mabeam_p2p.events import Event, HandOverBegan
from mabeam_p2p.ids import PeerId
from mabeam_p2p.requests import (
    Answer,
    Committed,
    Done,
    Failed,
    HandedOver,
    JournalQuery,
    Leave,
    Refused,
    SetFitness,
    TransferLeadership,
)
from mabeam_p2p.testing.faults import Pause
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import Preferences
from tests.bad_days.stage import Client, Stage

ELECTION_TIMEOUT = Timing().election_timeout_seconds
ANYBODY = PeerId("")


class Crowd:
    """An agent at each peer, which appends one item after the other."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.clients = [Client(stage, host) for host in stage.hosts]
        for client in self.clients:
            client.open()
        stage.run(0.5)

    def write(self, seconds: float) -> None:
        """Each agent appends every 10 ms."""
        for _ in range(int(seconds * 100)):
            for client in self.clients:
                if client.host.node is not None:
                    number = client.number()
                    item = f"{client.host.letter}{number}".encode()
                    client.submit(AppendJournal(client.session, number, "list", item))
            self.stage.run(0.01)

    def settle(self) -> None:
        self.stage.until(lambda: not any(client.is_waiting for client in self.clients))
        self.stage.until(self.stage.agree)

    def acknowledged(self) -> Iterator[bytes]:
        for client in self.clients:
            for command, answer in client.known:
                if isinstance(command, AppendJournal):
                    assert isinstance(answer, Committed), answer
                    yield command.item


def handed(stage: Stage) -> list[tuple[str, HandOverBegan]]:
    """Every hand-over that begins from now on, with the letter of the leader."""
    seen: list[tuple[str, HandOverBegan]] = []

    def on_event(host: Host, event: Event) -> None:
        if isinstance(event, HandOverBegan):
            seen.append((host.letter, event))

    stage.simulator.on_event = on_event
    return seen


def other(stage: Stage, leader: Host) -> Host:
    return next(host for host in stage.hosts if host is not leader)


# ---- somebody asks ---------------------------------------------------------------------------


@pytest.mark.parametrize("asked_at", ["the leader", "the target", "another"])
def test_leadership_goes_where_it_is_asked_to_go_wherever_that_is_asked(asked_at: str) -> None:
    stage = Stage(f"asked at {asked_at}")
    leader = stage.formed()
    stage.run(1.0)
    target, third = [host for host in stage.hosts if host is not leader][:2]
    at = {"the leader": leader, "the target": target, "another": third}[asked_at]
    term = stage.status(leader).term
    answer = stage.answer(at, TransferLeadership(target.peer))
    assert answer == HandedOver(target.peer, term + 1)
    assert stage.status(target).leader == target.peer
    assert stage.status(target).term == term + 1, "by one election"
    stage.until(lambda: stage.leader() is target)


def test_without_a_name_it_goes_to_who_stands_highest() -> None:
    stage = Stage("anybody", preferences=Preferences(scores=(90, 20, 20, 80, 20)))
    leader = stage.formed()
    stage.run(1.0)
    assert leader.letter == "A"
    answer = stage.answer(leader, TransferLeadership(ANYBODY))
    assert answer == HandedOver(stage.hosts[3].peer, stage.status(leader).term)


def test_what_was_asked_during_hand_overs_is_done_once() -> None:
    stage = Stage("busy")
    stage.formed()
    crowd = Crowd(stage)
    for number in range(10):
        target = stage.hosts[number % 5]
        stage.ask(stage.hosts[0], TransferLeadership(target.peer))
        crowd.write(0.2)
    crowd.settle()
    acknowledged = sorted(crowd.acknowledged())
    assert len(acknowledged) == 10 * 20 * 5, "all of it, and nobody was told to come back"
    items = stage.found(stage.hosts[0], JournalQuery("list")).journals[0].items
    assert sorted(items) == acknowledged


def test_writes_go_on_within_a_fraction_of_an_election_timeout() -> None:
    stage = Stage("gap")
    leader = stage.formed()
    crowd = Crowd(stage)
    crowd.write(0.2)
    ends: list[int] = []
    stage.ask(leader, TransferLeadership(other(stage, leader).peer))
    for _ in range(50):
        known = sum(len(client.known) for client in crowd.clients)
        crowd.write(0.01)
        if sum(len(client.known) for client in crowd.clients) > known:
            ends.append(stage.now)
    gaps = [later - first for first, later in itertools.pairwise(ends)]
    assert max(gaps) < ELECTION_TIMEOUT * 1e6 / 2
    crowd.settle()


@pytest.mark.parametrize("what", ["dead", "no voter", "unfit", "unknown", "not eligible"])
def test_who_cannot_take_over_is_named_and_nothing_changes(what: str) -> None:
    preferences = Preferences(ineligible=(2,)) if what == "not eligible" else None
    stage = Stage(f"refused {what}", peers=6, expect=5, preferences=preferences)
    stage.formed()
    stage.run(2.0)
    leader = stage.leader()
    assert leader is not None
    learner = next(host for host in stage.hosts if host.peer not in stage.status(leader).voters)
    target = next(host for host in stage.hosts if host not in (leader, learner, stage.hosts[2]))
    peer, reason = target.peer, "unreachable"
    if what == "dead":
        stage.kill(target)
        stage.run(5.0)
    elif what == "no voter":
        peer, reason = learner.peer, "not_a_voter"
    elif what == "unfit":
        stage.answer(target, SetFitness(90, "disk full"))
        stage.run(1.0)
        reason = "unfit"
    elif what == "unknown":
        peer, reason = PeerId("f" * 16), "unknown_peer"
    else:
        peer, reason = stage.hosts[2].peer, "unfit"
    term = stage.status(leader).term
    answer = stage.answer(leader, TransferLeadership(peer))
    assert isinstance(answer, Refused)
    assert answer.reason == reason
    stage.run(2.0)
    assert stage.status(leader).term == term
    assert stage.leader() is leader


def test_a_target_that_dies_costs_an_election_timeout_and_no_leader() -> None:
    """It has not been missed yet when leadership is to go to it."""
    stage = Stage("dies")
    leader = stage.formed()
    crowd = Crowd(stage)
    target = other(stage, leader)
    term = stage.status(leader).term
    stage.kill(target)
    waiting = stage.ask(leader, TransferLeadership(target.peer))
    crowd.write(1.0)
    crowd.settle()
    assert isinstance(waiting.answer, Refused)
    assert waiting.answer.reason == "unanswered"
    assert ELECTION_TIMEOUT <= waiting.seconds < ELECTION_TIMEOUT + 0.01
    assert stage.status(leader).term == term
    assert stage.leader() is leader


def test_a_second_wish_joins_the_first_or_is_refused() -> None:
    stage = Stage("two wishes")
    leader = stage.formed()
    stage.run(1.0)
    first, second = [host for host in stage.hosts if host is not leader][:2]
    stage.simulator.apply(Pause(first.number, 300_000), stage.start)
    answers = [
        stage.ask(leader, TransferLeadership(peer))
        for peer in (first.peer, first.peer, second.peer, ANYBODY)
    ]
    stage.until(lambda: all(waiting.answer is not None for waiting in answers))
    assert [type(waiting.answer) for waiting in answers] == [
        HandedOver,
        HandedOver,
        Refused,
        HandedOver,
    ]
    assert isinstance(answers[2].answer, Refused)
    assert answers[2].answer.reason == "handing_over"


def test_a_peer_that_hears_no_leader_says_so() -> None:
    stage = Stage("nobody")
    leader = stage.formed()
    stage.run(1.0)
    stage.kill(*[host for host in stage.hosts if host is not leader][:3])
    stage.run(2.0)
    answer: Answer = stage.answer(leader, TransferLeadership(ANYBODY))
    assert answer == Failed("no_quorum", "nobody leads")


# ---- a leader leaves -------------------------------------------------------------------------


def write_gap(stage: Stage, crowd: Crowd, leader: Host) -> float:
    """Seconds without a committed write, at the agents of the others, around the leader's end."""
    ends = [stage.now]
    for _ in range(200):
        clients = [client for client in crowd.clients if client.host is not leader]
        known = sum(len(client.known) for client in clients)
        for client in clients:
            number = client.number()
            client.submit(AppendJournal(client.session, number, "list", b"%d" % number))
        stage.run(0.005)
        if sum(len(client.known) for client in clients) > known:
            ends.append(stage.now)
    return max(later - first for first, later in itertools.pairwise(ends)) / 1e6


def test_a_leader_that_leaves_costs_writes_a_tenth_of_one_that_dies() -> None:
    gaps = {}
    for how in ("leaves", "dies"):
        stage = Stage(f"a leader {how}")
        leader = stage.formed()
        crowd = Crowd(stage)
        crowd.write(0.2)
        if how == "leaves":
            waiting = stage.ask(leader, Leave())
            gaps[how] = write_gap(stage, crowd, leader)
            assert waiting.answer == Done()
        else:
            stage.kill(leader)
            gaps[how] = write_gap(stage, crowd, leader)
    assert gaps["leaves"] <= 0.04
    assert gaps["dies"] >= ELECTION_TIMEOUT
    assert gaps["leaves"] * 10 < gaps["dies"]


def test_a_leader_of_two_leaves_when_the_other_one_leads_with_its_vote() -> None:
    stage = Stage("of two", peers=2)
    leader = stage.formed()
    stage.run(1.0)
    seen = handed(stage)
    waiting = stage.ask(leader, Leave())
    stage.until(lambda: waiting.answer is not None)
    assert [(letter, event.reason) for letter, event in seen] == [(leader.letter, "leaving")]
    successor = other(stage, leader)
    assert stage.status(successor).leader == successor.peer
    assert waiting.seconds < ELECTION_TIMEOUT / 4


@pytest.mark.parametrize("peers", [1, 3])
def test_a_leader_that_nobody_can_follow_leaves_all_the_same(peers: int) -> None:
    stage = Stage(f"alone {peers}", peers=peers)
    leader = stage.formed()
    stage.run(1.0)
    stage.kill(*[host for host in stage.hosts if host is not leader])
    waiting = stage.ask(leader, Leave())
    stage.until(lambda: waiting.answer is not None)
    assert waiting.answer == Done()
    assert waiting.seconds <= 2 * ELECTION_TIMEOUT


def test_a_follower_that_leaves_is_waited_for_by_nobody() -> None:
    stage = Stage("follower")
    leader = stage.formed()
    stage.run(1.0)
    seen = handed(stage)
    waiting = stage.ask(other(stage, leader), Leave())
    stage.run(0.001)
    assert waiting.answer == Done()
    assert seen == []
    assert stage.status(leader).leader == leader.peer


def test_a_peer_that_leaves_does_not_take_the_lead_meanwhile() -> None:
    """It says goodbye only when its successor is heard, and stands no more from the beginning."""
    stage = Stage("both leave", peers=3)
    leader = stage.formed()
    stage.run(1.0)
    second = other(stage, leader)
    stage.ask(second, Leave())
    stage.ask(leader, Leave())
    stage.run(3.0)
    third = next(host for host in stage.hosts if host not in (leader, second))
    assert stage.status(third).leader is None, "one of three is no majority"
    assert stage.status(third).quorum is False
