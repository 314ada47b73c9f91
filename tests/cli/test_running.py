"""Commands that verbs run, without a daemon."""

import asyncio
from pathlib import Path
from typing import Any, cast

import click
import pytest

from mabeam_p2p.api.queues import Delivery
from mabeam_p2p.cli import recipes
from mabeam_p2p.cli.running import output_of, run_tethered
from mabeam_p2p.cli.target import Target
from tests.eventually import eventually
from tests.in_loop import in_loop


@in_loop
async def test_output_and_exit_code_of_a_command_come_back() -> None:
    code, printed, errors = await output_of(("sh", "-c", "cat; echo why >&2; exit 3"), b"said")
    assert (code, printed, errors) == (3, b"said", b"why\n")


@in_loop
async def test_command_whose_task_is_taken_away_may_end_in_order(tmp_path: Path) -> None:
    place = tmp_path / "said"
    script = (
        f"trap 'echo ended > {place}; exit 0' TERM; cat; echo begun > {place}; "
        "while :; do sleep 0.02; done"
    )
    running = asyncio.create_task(output_of(("sh", "-c", script), b""))
    await eventually(lambda: place.exists() and place.read_text() == "begun\n")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert place.read_text() == "ended\n"


@in_loop
async def test_command_that_is_taken_away_while_it_is_being_begun_may_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where this program was stopped just then, for longer than its lease."""
    place = tmp_path / "said"
    script = (
        f"trap 'echo ended > {place}; exit 0' TERM; echo begun > {place}; "
        "while :; do sleep 0.02; done"
    )
    begin, goes_on = asyncio.create_subprocess_exec, asyncio.Event()

    async def begin_slowly(*command: str, **options: Any) -> asyncio.subprocess.Process:
        process = await begin(*command, **options)
        try:
            await goes_on.wait()
        except asyncio.CancelledError:
            process.kill()  # As asyncio does.
            raise
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", begin_slowly)
    running = asyncio.create_task(run_tethered(("sh", "-c", script), {}))
    await eventually(lambda: place.exists() and place.read_text() == "begun\n")
    running.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert place.read_text() == "ended\n"


async def sh(script: str) -> tuple[int, bytes, bytes]:
    return await output_of(("sh", "-c", script), b"")


@in_loop
async def test_several_commands_at_a_time_each_end_by_themselves(tmp_path: Path) -> None:
    """As those of a worker with several slots."""
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    async with asyncio.timeout(60.0):
        first = asyncio.create_task(
            sh(f"touch {begun}; until [ -e {ended} ]; do sleep 0.02; done; exit 3")
        )
        await eventually(begun.exists)
        assert (await sh(f"touch {ended}; exit 4"))[0] == 4
        assert (await first)[0] == 3


def test_what_comes_after_in_this_process_can_begin_commands_of_its_own() -> None:
    async def begin() -> int:
        return await (await asyncio.create_subprocess_exec("true")).wait()

    assert asyncio.run(sh("exit 3"))[0] == 3
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(begin()) == 0
    finally:
        loop.close()


@in_loop
async def test_an_item_that_nobody_has_read_is_not_done_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acknowledged: list[str] = []

    class Item:
        name, value, token = "trials", 5, 7

        async def acknowledge(self) -> None:
            acknowledged.append(self.name)

    def broken(text: str) -> None:
        raise BrokenPipeError(text)

    target = Target("test", None, None, False)
    with monkeypatch.context() as patched:
        patched.setattr(click, "echo", broken)
        with pytest.raises(BrokenPipeError):
            await recipes._work(target, cast(Delivery, Item()), (), 1.0)
    assert not acknowledged
    assert await recipes._work(target, cast(Delivery, Item()), (), 1.0) == 0
    assert acknowledged == ["trials"]
