"""Clocks that jump, stop and disagree change nothing that is decided; deadlines of the log are kept
by whoever leads."""

import time
from itertools import pairwise

import pytest

from mabeam_p2p.commands import AppendJournal, Arrive, OpenProposal
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import ProposalId
from mabeam_p2p.records import BarrierStatus, OnDeparture, Policy, ProposalStatus
from mabeam_p2p.requests import Committed, Found, GenerationQuery, JournalQuery, ProposalQuery, Read
from mabeam_p2p.runtime.clock import SystemClock
from mabeam_p2p.testing import simulator
from mabeam_p2p.testing.faults import Pause
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import SECOND
from tests.bad_days.stage import Client, Stage

DAY = 86_400.0
JOURNAL = "trials"
BALLOT = ProposalId("ballot")


def clients_of(stage: Stage, *hosts: Host) -> list[Client]:
    """One agent on each of these, with its session open."""
    clients = [Client(stage, host) for host in hosts]
    for client in clients:
        client.open()
    stage.until(lambda: all(client.known for client in clients))
    return clients


def append(stage: Stage, client: Client, item: bytes) -> None:
    """Commit one more item."""
    before = len(client.known)
    client.submit(AppendJournal(client.session, client.number(), JOURNAL, item))
    stage.until(lambda: len(client.known) > before)
    assert isinstance(client.known[-1][1], Committed)


def items(stage: Stage, host: Host) -> tuple[bytes, ...]:
    return stage.found(host, JournalQuery(JOURNAL), linearizable=True).journals[0].items


def stamps(host: Host) -> list[int]:
    """The log's clock at each batch that the peer holds."""
    assert host.node is not None
    log = host.node.replication.log
    return [batch.clock for batch in log.since(0, Limits().batch_commands_max, 2**40)]


def open_what_ends(stage: Stage, client: Client, timeout: int) -> None:
    """A proposal that nobody votes on, and a barrier that lacks a party."""
    ballot = OpenProposal(
        client.session, client.number(), BALLOT, "rate", b"\x01", "", b"", "all", timeout, None,
        Policy(min_voters=1),
    )  # fmt: skip
    arrival = Arrive(client.session, client.number(), "epoch", 2, timeout, OnDeparture.BREAK)
    for command in (ballot, arrival):
        client.submit(command)
    stage.until(lambda: len(client.known) == 3)


def ends(stage: Stage) -> list[tuple[ProposalStatus, BarrierStatus]]:
    """Of the proposal and the barrier, as each peer that runs has applied them."""
    found = []
    for node in stage.nodes:
        (ballot,) = node.machine.find(ProposalQuery(BALLOT)).proposals
        (generation,) = node.machine.find(GenerationQuery("epoch", 1)).generations
        found.append((ballot.status, generation.status))
    return found


def is_ascending(numbers: list[int]) -> bool:
    return all(earlier <= later for earlier, later in pairwise(numbers))


def test_wall_clock_that_is_set_is_not_seen_by_a_running_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SystemClock()
    before = clock.wall()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.wall() == before


@pytest.mark.fault("C21")
def test_wall_clocks_years_apart_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every life of a peer believes in an earlier year than the one before, and leads."""
    stage = Stage("calendars")
    stage.formed()
    (client,) = clients_of(stage, stage.lowest())
    written: tuple[bytes, ...] = ()
    for life in range(4):
        leader = stage.leader()
        assert leader is not None
        append(stage, client, bytes([life]))
        written = (*written, bytes([life]))
        stage.kill(leader)
        stage.until(lambda: stage.leader() is not None)
        monkeypatch.setattr(simulator, "WALL_START", 1.7e9 - (life + 1) * 400 * DAY)
        stage.start(leader)
        stage.until(lambda: stage.leader() is not None and stage.agree())
        assert items(stage, leader) == written
    assert all(is_ascending(stamps(host)) for host in stage.hosts)


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_monotonic_clock_that_leaps_an_hour_changes_nothing_that_was_decided(who: str) -> None:
    stage = Stage("leap")
    leader = stage.formed()
    others = [host for host in stage.hosts if host is not leader]
    (client,) = clients_of(stage, others[0])
    append(stage, client, b"before")
    leaper = leader if who == "leader" else others[1]
    leaper.clock_offset += 3_600.0
    stage.run(1.0)
    stage.until(lambda: stage.leader() is not None)
    append(stage, client, b"after")
    stage.until(stage.agree)
    for host in stage.hosts:
        assert items(stage, host) == (b"before", b"after")
        assert is_ascending(stamps(host))


def test_leader_that_was_stopped_and_goes_on_decides_nothing_in_the_meantime() -> None:
    """It leads by its own word when it wakes, and is asked before it has heard anybody."""
    stage = Stage("stopped")
    leader = stage.formed()
    others = [host for host in stage.hosts if host is not leader]
    client, sleeper = clients_of(stage, others[0], leader)
    append(stage, client, b"before")
    stage.simulator.apply(Pause(leader.number, 5 * SECOND), stage.start)
    waiting = stage.ask(leader, Read(JournalQuery(JOURNAL), linearizable=True))
    sleeper.submit(AppendJournal(sleeper.session, sleeper.number(), JOURNAL, b"asleep"))
    stage.run(2.0)
    append(stage, client, b"meanwhile")
    stage.until(lambda: waiting.answer is not None and stage.agree())
    if isinstance(waiting.answer, Found):
        assert waiting.answer.journals[0].items[:2] == (b"before", b"meanwhile")
    stage.until(lambda: len(sleeper.known) == 2 and stage.agree())
    for host in stage.hosts:
        assert items(stage, host) == (b"before", b"meanwhile", b"asleep")
        assert is_ascending(stamps(host))


@pytest.mark.fault("C4")
@pytest.mark.parametrize("spread", [0.0, 0.25], ids=["equal clocks", "clocks of unequal pace"])
def test_deadline_in_the_log_is_kept_by_the_third_leader(spread: float) -> None:
    stage = Stage("deadlines", clock_spread=spread)
    first = stage.formed()
    (client,) = clients_of(stage, stage.lowest())
    began = stage.now
    open_what_ends(stage, client, 3 * SECOND)
    killed = [first]
    stage.kill(first)
    stage.until(lambda: stage.leader() is not None)
    second = stage.leader()
    assert second is not None
    killed.append(second)
    stage.kill(second)
    stage.until(lambda: stage.leader() is not None)
    assert set(ends(stage)) == {(ProposalStatus.OPEN, BarrierStatus.WAITING)}
    stage.until(lambda: ProposalStatus.OPEN not in {status for status, _ in ends(stage)})
    stage.until(lambda: BarrierStatus.WAITING not in {status for _, status in ends(stage)})
    # Time without a leader does not count: a batch of the next one is stamped from the last.
    assert 3.0 * (1 - spread) <= (stage.now - began) / SECOND <= (3.0 + 2 * 1.0) / (1 - spread)
    stage.start(*killed)
    stage.until(lambda: stage.leader() is not None and stage.agree())
    assert set(ends(stage)) == {(ProposalStatus.NO_QUORUM, BarrierStatus.BROKEN)}
    ballot = stage.proposal(first, BALLOT)
    assert ballot is not None
    assert ballot.closed_clock >= ballot.deadline == ballot.opened_clock + 3 * SECOND
    assert all(is_ascending(stamps(host)) for host in stage.hosts)
