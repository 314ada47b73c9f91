"""What the soak of tasks does with its workers when it is stopped in the middle of a strike."""

import asyncio
from pathlib import Path

import pytest

from mabeam_p2p import Config
from tests.in_loop import in_loop
from tools import soak_tasks
from tools.children import Child


class Slow:
    """Stands in for a process: it is struck at once, and gone when the test says."""

    exit_code = -9

    def __init__(self) -> None:
        self.is_struck = asyncio.Event()
        self.ends = asyncio.Event()

    async def receive(self) -> bytes:
        await self.ends.wait()
        return b""

    def strike(self) -> None:
        self.is_struck.set()

    async def gone(self) -> None:
        pass


@in_loop
async def test_worker_whose_strike_was_called_off_can_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Slow()

    async def start(*_: object, **__: object) -> Slow:
        return child

    monkeypatch.setattr(Child, "start", start)
    worker = soak_tasks.Worker(Config(name="w0", cluster="soak"), 1, tmp_path / "log")
    await worker.start()
    strike = asyncio.create_task(worker.kill())
    await child.is_struck.wait()
    strike.cancel()
    await asyncio.wait((strike,))
    child.ends.set()
    await worker.kill()
    assert worker.failures == []
