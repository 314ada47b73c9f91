"""Reductions among real processes, some of which are killed or stopped while the data moves."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from mabeam_p2p import Config, Timing, connect
from mabeam_p2p.api import sockets
from mabeam_p2p.daemon.host import Host
from tests.in_loop import in_loop
from tools.children import Child, free_ports

pytest.importorskip("numpy")

from tests.collectives.member import Report, Setup, Step

pytestmark = pytest.mark.slow

SECONDS = 60.0
"""Deadline of every wait: reached by a failure only."""


@pytest.fixture(autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the test's own, with short paths, and an environment without settings."""
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("s")))
    monkeypatch.delenv(sockets.ADDRESS_VARIABLE, raising=False)
    monkeypatch.setenv("MABEAM_CLUSTER", "test")
    return folder


async def line(child: Child) -> bytes:
    async with asyncio.timeout(SECONDS):
        said = await child.receive()
    assert said, "the process has ended"
    return said


async def report(child: Child) -> Report:
    return msgspec.json.decode(await line(child), type=Report)


@asynccontextmanager
async def members(setups: Sequence[Setup], log: Path) -> AsyncIterator[list[Child]]:
    """A process for each, once all are ready."""
    children: list[Child] = []
    try:
        for setup in setups:
            argument = msgspec.json.encode(setup).decode()
            children.append(await Child.start("tests.collectives.member", argument, log=log))
        for child in children:
            assert await line(child) == b"ready"
        yield children
    finally:
        for child in children:
            child.strike()
        await asyncio.gather(*(child.gone() for child in children))


@asynccontextmanager
async def attached(count: int, log: Path) -> AsyncIterator[list[Child]]:
    """So many processes a0, a1, ..., attached to one daemon, which runs here."""
    config = Config(name="d", cluster="test", data_dir=":memory:", mdns=False, expect=1)
    async with Host(config) as host:
        assert await host.ready()
        setups = [Setup(f"a{number}", addr="d") for number in range(count)]
        async with members(setups, log) as children:
            yield children


def tell(children: Sequence[Child], step: Step) -> None:
    for child in children:
        child.send(msgspec.json.encode(step))


@pytest.mark.fault("U5")
@in_loop
async def test_whoever_is_killed_while_the_data_moves_is_left_out_by_all(tmp_path: Path) -> None:
    async with attached(4, tmp_path / "log") as children:
        *rest, victim = children
        for number, child in enumerate(rest):
            tell([child], Step("step", 4, float(number)))
        tell([victim], Step("step", 4, 1000.0, stall_after=2))
        assert await line(victim) == b"stalled"
        victim.strike()
        reports = [await report(child) for child in rest]
        assert reports == [reports[0]] * 3
        (one,) = {*reports}
        assert one.parties == ("a0@d", "a1@d", "a2@d")
        assert one.left_out == ("a3@d",)
        assert (one.least, one.most) == (1.0, 1.0)
        # And they go on, under the same name, with the number that is left.
        tell(rest, Step("step", 3, 5.0))
        assert {(await report(child)).parties for child in rest} == {one.parties}


@in_loop
async def test_two_killed_one_after_the_other_are_both_left_out(tmp_path: Path) -> None:
    async with attached(4, tmp_path / "log") as children:
        *rest, first, second = children
        tell(rest, Step("step", 4, 3.0))
        tell([first], Step("step", 4, 500.0, stall_after=1))
        tell([second], Step("step", 4, 700.0, stall_after=1))
        assert await line(first) == await line(second) == b"stalled"
        first.strike()
        await first.gone()
        second.strike()
        reports = [await report(child) for child in rest]
        assert reports == [reports[0]] * 2
        assert reports[0].parties == ("a0@d", "a1@d")
        assert reports[0].left_out == ("a2@d", "a3@d")
        assert (reports[0].least, reports[0].most) == (3.0, 3.0)


@in_loop
async def test_who_has_it_all_returns_nothing_that_another_could_not_get(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with attached(3, log) as children, connect("observer", addr="d") as observer:
        events = observer.events("barrier.*")
        complete, lacking, victim = children
        tell([complete, lacking], Step("step", 3, 2.0))
        # The first one gets everything; the second lacks the slice that the victim has combined.
        tell([victim], Step("step", 3, 8.0, withhold=1))
        async with asyncio.timeout(SECONDS):
            async for event in events:
                if event.facts["barrier"] == "bulk/step/1" and "a0@d" in event.facts["arrived"]:
                    break
        victim.strike()
        reports = [await report(child) for child in (complete, lacking)]
        assert reports == [reports[0]] * 2
        assert (reports[0].parties, reports[0].left_out) == (("a0@d", "a1@d"), ("a2@d",))
        assert (reports[0].least, reports[0].most) == (2.0, 2.0)


@in_loop
async def test_a_stopped_member_ends_it_by_timeout_and_is_named(tmp_path: Path) -> None:
    async with attached(3, tmp_path / "log") as children:
        *rest, victim = children
        tell(rest, Step("step", 3, 1.0, timeout=15.0))
        tell([victim], Step("step", 3, 1.0, timeout=15.0, stall_after=2))
        assert await line(victim) == b"stalled"
        os.kill(victim.pid, signal.SIGSTOP)
        reports = [await report(child) for child in rest]
        for one in reports:
            assert "timeout" in one.error
            assert one.missing == ("a2@d",)
        os.kill(victim.pid, signal.SIGCONT)
        assert "timeout" in (await report(victim)).error


@in_loop
async def test_a_leader_that_is_killed_is_left_out_under_the_next_one(tmp_path: Path) -> None:
    timing = Timing(suspect_seconds=1.2, dead_seconds=12.0, departure_grace_seconds=0.3)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(4)]
    setups = [
        Setup(
            f"a{number}",
            config=Config(
                name=f"p{number}",
                cluster="test",
                listen=address,
                data_dir=":memory:",
                mdns=False,
                seeds=tuple(other for other in addresses if other != address),
                expect=4,
                timing=timing,
            ),
        )
        for number, address in enumerate(addresses)
    ]
    async with members(setups, tmp_path / "log") as children:
        tell(children[:1], Step("who", 1, 1.0))
        leader = int((await report(children[0])).leader.removeprefix("p"))
        victim = children[leader]
        rest = [child for child in children if child is not victim]
        tell(rest, Step("step", 4, 2.0))
        tell([victim], Step("step", 4, 9.0, stall_after=3))
        assert await line(victim) == b"stalled"
        victim.strike()
        reports = [replace(await report(child), leader="") for child in rest]
        assert reports == [reports[0]] * 3
        names = tuple(f"a{number}@p{number}" for number in range(4))
        assert reports[0].left_out == (names[leader],)
        assert reports[0].parties == names[:leader] + names[leader + 1 :]
        assert (reports[0].least, reports[0].most) == (2.0, 2.0)
