"""Commands that verbs run, without a daemon."""

import asyncio
from pathlib import Path
from typing import cast

import click
import pytest

from mabeam_p2p.api.queues import Delivery
from mabeam_p2p.cli import recipes
from mabeam_p2p.cli.running import output_of
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
