"""Workers, or the daemons that they are attached to, killed with kill -9 while they work."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mabeam_p2p import TaskCancelled, connect
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import house
from tests.in_loop import in_loop
from tools.children import free_ports

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("ant", "bee", "cow")


@pytest.mark.fault("U2")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_tasks_have_one_result_each_whatever_is_killed(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    flags = ("--tasks", "200", "--workers", "5", "--slots", "4", "--seconds", "0.8", "--seed", "11")
    done = subprocess.run(
        [sys.executable, "-m", "tools.soak_tasks", *flags, "--json", str(report)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(report.read_text())
    assert facts["results"] == 200
    assert facts["violations"] == []
    assert facts["kills"] >= 3
    assert facts["leases_lost"] > 0
    assert facts["attempts_begun"] >= 200
    assert [*tmp_path.iterdir()] == [report]


@pytest.mark.slow
@in_loop
async def test_task_outlives_the_daemon_that_its_worker_is_attached_to() -> None:
    ports = dict(zip(NAMES, free_ports(3), strict=True))
    seeds = [word for port in ports.values() for word in ("--seed", f"127.0.0.1:{port}")]
    with house() as place:

        def flags(name: str) -> tuple[str, ...]:
            return ("--expect", "3", "--listen", f"127.0.0.1:{ports[name]}", *seeds)

        daemons = {name: place.start(*flags(name), name=name) for name in NAMES}
        for daemon in daemons.values():
            assert [daemon.line()["event"] for _ in range(2)] == ["listening", "ready"]
        async with connect("asks", addr="ant") as asks, connect("works", addr="bee") as works:
            begun, release = asyncio.Event(), asyncio.Event()

            @works.task(name="wait")
            async def wait(text: str) -> str:
                begun.set()
                await release.wait()
                return text.upper()

            await works.work()
            handle = await asks.submit_task("wait", "done")
            await begun.wait()
            daemons["bee"].signal(signal.SIGKILL)
            daemons["bee"].wait()
            again = await asyncio.to_thread(place.start, *flags("bee"), name="bee")
            told = await asyncio.to_thread(lambda: [again.line()["event"] for _ in range(2)])
            assert told == ["listening", "ready"]
            release.set()
            result = await handle.result(60)
            assert (result.value, result.agent) == ("DONE", "works@bee")


@pytest.mark.slow
@in_loop
async def test_worker_goes_on_working_when_its_daemon_was_stopped_and_started_again() -> None:
    with house(is_patient=True) as place:
        fleet = Fleet(place, *NAMES)
        await asyncio.to_thread(fleet.start, *NAMES)
        async with connect("asks", addr="ant") as asks, connect("works", addr="bee") as works:

            @works.task(name="double")
            async def double(number: int) -> int:
                return 2 * number

            await works.work()
            assert await asks.submit("double", 1) == 2
            # Nobody can do it: who waits for its end waits while its daemon is away.
            never = await asks.submit_task("double", 2, requires=["nothing"], wait=True)
            waiting = asyncio.create_task(works.task_handle(never.id).result(60))
            assert await asyncio.to_thread(fleet.stop, "bee") == 0
            handle = await asks.submit_task("double", 4, wait=True)
            await asyncio.to_thread(fleet.start, "bee")
            result = await handle.result(60)
            assert (result.value, result.agent) == (8, "works@bee")
            await never.cancel()
            with pytest.raises(TaskCancelled):
                await waiting
