"""Many agents of many processes on one daemon: each is one of its own, in life and in death."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mabeam_p2p import Agent, Policy, Vote, connect, join
from mabeam_p2p.api.joining import Joining
from mabeam_p2p.api.streams import EventStream
from tests.bad_days.crowd import Process, ask_all, crowd
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import house
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

ALL = Policy(accept_numerator=1, accept_denominator=1)
"""Accepted by everybody or not at all: no vote is left out because the result is known."""


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Three daemons whose own agents do not vote, and which have time to come back."""
    with house() as place:
        for name in ("DEAD", "RESTART_GRACE"):
            monkeypatch.setenv(f"MABEAM_TIMING__{name}_SECONDS", "60")
        monkeypatch.setenv("MABEAM_PARTICIPATES_IN_CONSENSUS", "false")
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        cluster = Fleet(place, "ant", "bee", "cow")
        cluster.start(*cluster.names)
        yield cluster


async def gate_with(events: EventStream, count: int) -> Mapping[str, object]:
    """The gate once so many stand at it."""
    async with asyncio.timeout(60):
        async for event in events:
            if len(event.facts["arrived"]) == count:
                break
    return event.facts


def embedding(name: str, seed: str) -> Joining:
    """An agent of this process on a peer of its own, which comes to the daemons' cluster."""
    return join(name, seeds=[seed], data_dir=":memory:", mdns=False, participates_in_consensus=True)


def ids(processes: list[Process]) -> list[str]:
    return [agent for process in processes for agent in process.agents]


def sessions(processes: list[Process]) -> list[int]:
    return [session for process in processes for session in process.sessions]


@in_loop
async def test_fifty_processes_on_one_daemon_vote_meet_die_and_outlive_it(fleet: Fleet) -> None:
    names = [[f"a{number}"] for number in range(50)]
    async with (
        crowd("ant", names) as processes,
        connect("eye", addr="bee", participates_in_consensus=False) as eye,
        connect(None, addr="ant") as person,
        embedding("own", fleet.address("bee")) as embedded,
    ):
        embedded.on_proposal("*")(lambda proposal: Vote.accept("as all do"))
        everybody = sorted([*ids(processes), embedded.id])
        assert len(set(ids(processes))) == len(set(sessions(processes))) == 50
        assert (await person.status()).counters["daemon_clients"] == 51

        decision = await eye.propose("rate", 0.5, policy=ALL, timeout=60)
        assert decision.accepted
        assert sorted(decision.electorate) == everybody
        assert sorted(vote.agent for vote in decision.votes) == everybody

        await they_meet_and_one_dies(processes, eye, embedded)
        await they_outlive_their_daemon(processes[1:], eye, fleet)


async def they_meet_and_one_dies(processes: list[Process], eye: Agent, embedded: Agent) -> None:
    """All but the eye arrive; the first dies; the others pass when the eye has come, too."""
    arrived, left = eye.events("barrier.*"), eye.events("agent.left")
    gate = {"name": "gate", "parties": 52, "seconds": 120}
    for process in processes:
        process.order("arrive", **gate)
    passing = asyncio.create_task(
        embedded.barrier("gate", parties=52, timeout=120, on_departure="shrink").wait()
    )
    await gate_with(arrived, 51)
    processes[0].kill()
    gone = await anext(left)
    assert (gone.facts["id"], gone.facts["reason"]) == (processes[0].agents[0], "disconnected")
    assert (await gate_with(arrived, 50))["parties"] == 51
    release = await eye.barrier("gate", parties=52, timeout=120, on_departure="shrink").wait()
    assert sorted(release.parties) == sorted([*ids(processes[1:]), embedded.id, eye.id])
    orders = [(await process.hear()).passed[0]["order"] for process in processes[1:]]
    assert {*orders, (await passing).order, release.order} == set(range(51))
    left.close()
    assert [event async for event in left] == [], "nobody else is gone"


async def they_outlive_their_daemon(processes: list[Process], eye: Agent, fleet: Fleet) -> None:
    """Their daemon is killed while they wait, and comes back; they pass, as who they were."""
    arrived, left = eye.events("barrier.*"), eye.events("agent.left")
    parties = len(processes) + 1
    for process in processes:
        process.order("arrive", name="second gate", parties=parties, seconds=120)
    await gate_with(arrived, parties - 1)
    fleet.kill("ant")
    await asyncio.to_thread(fleet.start, "ant")
    appended = 0
    for process in processes:
        process.order("append", name="after")
    gate = eye.barrier("second gate", parties=parties, timeout=120, on_departure="shrink")
    release = await gate.wait()
    assert sorted(release.parties) == sorted([*ids(processes), eye.id])
    for process in processes:
        for told in (await process.hear(), await process.hear()):
            appended += len(told.positions)
            assert [passed for passed in told.passed if "error" in passed] == []
    assert appended == len(processes)
    kept = await eye.journal("after").read()
    assert sorted(str(item.value) for item in kept) == sorted(ids(processes))
    asked = await ask_all(processes, "sessions")
    assert [one.sessions for one in asked] == [process.sessions for process in processes]
    left.close()
    assert [event.facts["id"] async for event in left] == ["ant@ant"], "replaced by itself"


@in_loop
async def test_an_agent_that_stands_still_slows_nobody_and_loses_nothing_within_its_lease(
    fleet: Fleet,
) -> None:
    names = [[f"a{number}"] for number in range(4)]
    async with (
        crowd("ant", names, lease=120.0) as processes,
        connect(None, addr="ant") as person,
    ):
        stopped, *others = processes
        stopped.order("append", name="run")
        await stopped.hear()
        stopped.stop()
        try:
            # More than its connection takes, and more than the daemon holds for it.
            for number in range(320):
                await person.variables.set(f"v{number % 3}", "x" * 60_000)
                if number % 20 == 0:
                    told = await ask_all(others, "append", name="run")
                    assert all(one.positions for one in told)
            assert (await person.status()).counters["daemon_events_dropped"] > 0
        finally:
            stopped.go_on()
        assert (await stopped.ask("append", name="run")).positions == [1 + 16 * 3 + 1]
        assert (await stopped.ask("sessions")).sessions == stopped.sessions


@in_loop
async def test_an_agent_whose_loop_is_blocked_for_longer_than_its_lease_is_given_up(
    fleet: Fleet,
) -> None:
    async with crowd("ant", [["a"]], lease=1.0) as [process], connect("eye", addr="bee") as eye:
        arrived, left = eye.events("barrier.*"), eye.events("agent.left")
        process.order("arrive", name="gate", parties=2, seconds=120)
        await gate_with(arrived, 1)
        process.order("block", seconds=5)
        gone = await anext(left)
        assert (gone.facts["id"], gone.facts["reason"]) == ("a@ant", "lease expired")
        assert (await gate_with(arrived, 0))["parties"] == 1
        # It wakes up, finds that it has been given up, and begins another session.
        assert (await process.ask("append", name="run")).positions == [1]
        assert (await process.ask("sessions")).sessions != process.sessions
