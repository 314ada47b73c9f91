"""Agents in front of real daemons, over the local socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mabeam_p2p import (
    BarrierBroken,
    Config,
    DaemonNotRunning,
    MabeamError,
    NameTaken,
    Proposal,
    Rejected,
    Vote,
    connect,
)
from mabeam_p2p.api import sockets
from mabeam_p2p.daemon.host import Host
from tests.eventually import eventually
from tests.in_loop import in_loop


@pytest.fixture(autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the test's own, with short paths, and an environment without settings."""
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("s")))
    monkeypatch.delenv(sockets.ADDRESS_VARIABLE, raising=False)
    monkeypatch.setenv("MABEAM_CLUSTER", "test")
    return folder


@asynccontextmanager
async def daemons(count: int = 3) -> AsyncIterator[list[Host]]:
    """So many daemons of one cluster, ready, called d0, d1, ..."""
    async with AsyncExitStack() as stack:
        hosts: list[Host] = []
        seeds: tuple[str, ...] = ()
        for number in range(count):
            host = await stack.enter_async_context(Host(daemon_config(f"d{number}", seeds, count)))
            hosts.append(host)
            seeds = (*seeds, host.address)
        for host in hosts:
            assert await host.ready()
        yield hosts


def daemon_config(name: str, seeds: tuple[str, ...], expect: int = 3) -> Config:
    return Config(
        name=name,
        cluster="test",
        data_dir=":memory:",
        mdns=False,
        seeds=seeds,
        expect=expect,
        participates_in_consensus=False,
    )


@pytest.mark.slow
@in_loop
async def test_attached_agents_do_what_embedded_ones_do() -> None:
    async with (
        daemons(),
        connect("a", addr="d0") as a,
        connect("b", addr="d1") as b,
        connect("c", addr="d1", group="vision") as c,
    ):
        assert (a.id, b.id, c.id) == ("a@d0", "b@d1", "c@d1")
        for agent in (a, b, c):

            @agent.on_proposal("rate")
            def judge(proposal: Proposal) -> Vote:
                return Vote.accept("fine", confidence=0.5)

        decision = await a.propose("rate", 0.5)
        assert (decision.accepted, decision.electorate) == (True, ("a@d0", "b@d1", "c@d1"))
        assert a.parameters["rate"] == 0.5
        await a.variables.set("epsilon", 0.1, wait="all")
        assert (await c.variables.read("epsilon")).value == 0.1
        releases = await asyncio.gather(
            *(agent.barrier("epoch", parties=3).wait() for agent in (a, b, c))
        )
        assert {release.generation for release in releases} == {1}
        assert await c.journal("run").append(1) == 1
        await a.wait_for_members(3, timeout=10)


@pytest.mark.slow
@in_loop
async def test_connection_without_a_name_speaks_for_the_daemon() -> None:
    async with daemons(), connect(None, addr="d0") as person:
        assert (person.id, person.name) == ("d0@d0", "d0")
        await person.journal("run").append("by hand")
        async with connect("", addr="d1") as other:
            assert [item.value for item in await other.journal("run").read()] == ["by hand"]
        with pytest.raises(Rejected):
            await person.barrier("epoch", parties=1).wait()


@pytest.mark.slow
@in_loop
async def test_name_in_use_at_the_daemon_is_refused_and_free_after_the_end() -> None:
    async with daemons():
        async with connect("a", addr="d0") as first:
            with pytest.raises(NameTaken, match="'a'"):
                await connect("a", addr="d0")
            assert not first.is_closed
        async with connect("a", addr="d0") as again:
            assert again.id == "a@d0"


@pytest.mark.slow
@in_loop
async def test_lost_connection_is_made_again_and_open_proposals_are_judged() -> None:
    async with (
        daemons(),
        connect("a", addr="d0") as a,
        connect("b", addr="d1", vote_manually=True) as b,
        connect("c", addr="d2", vote_manually=True),
    ):
        opened = b.events("proposal.opened")
        a.on_proposal("rate")(lambda proposal: Vote.accept("mine"))
        asking = asyncio.create_task(a.propose("rate", 1, timeout=20))
        await anext(opened)
        cut(b)
        b.on_proposal("rate")(lambda proposal: Vote.accept("after all"))
        decision = await asking
        assert {vote.rationale for vote in decision.votes} == {"mine", "after all"}
        assert await b.journal("run").append(1) == 1


@pytest.mark.slow
@in_loop
async def test_who_holds_a_lock_at_a_daemon_that_leaves_is_told_at_once() -> None:
    async with (
        daemons() as hosts,
        connect("a", addr="d0", lease=None) as a,
        connect("b", addr="d1") as b,
    ):
        lease = await a.lock("x").acquire()
        lost: list[str] = []
        lease.on_lost(lost.append)
        waiting = asyncio.create_task(b.lock("x").acquire())
        await hosts[0].__aexit__(None, None, None)
        await eventually(lambda: lost)
        assert lost == ["its peer has left the cluster"]
        assert not a.info().quorum
        assert (await waiting).token > lease.token


@pytest.mark.slow
@in_loop
async def test_agent_that_goes_away_breaks_the_barrier_it_waits_at() -> None:
    async with daemons(), connect("a", addr="d0") as a:
        b = await connect("b", addr="d1")
        arrived = a.events("barrier.arrived")
        waiting = asyncio.create_task(a.barrier("epoch", parties=3).wait())
        leaving = asyncio.create_task(b.barrier("epoch", parties=3).wait())
        while len((await anext(arrived)).facts["arrived"]) < 2:
            pass
        await b.close()
        with pytest.raises(BarrierBroken, match="departed: b@d1"):
            await waiting
        with pytest.raises(MabeamError):
            await leaving


@in_loop
async def test_without_a_daemon_the_error_says_how_to_start_one() -> None:
    with pytest.raises(DaemonNotRunning, match="mabeam up --cluster test"):
        await connect("a")
    with pytest.raises(DaemonNotRunning, match="mabeam up --name nobody --cluster test"):
        await connect("a", addr="nobody")


@in_loop
async def test_stale_and_silent_sockets_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mabeam_p2p.api.attached.GREETING_SECONDS", 0.05)
    sockets.listen("test", "ant").close()
    with sockets.listen("test", "bee"), pytest.raises(DaemonNotRunning) as caught:
        await connect("a")
    assert "ant.sock" in str(caught.value)
    assert "bee.sock" in str(caught.value)


def cut(agent: object) -> None:
    """End the agent's connection under it."""
    connection = agent._attachment.backend._connection  # type: ignore[attr-defined]
    connection._writer.transport.abort()
