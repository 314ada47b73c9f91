"""A holder that was paused for twice its lease: when it goes on, everything refuses it."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from mabeam_p2p import Guard, connect
from tests.bad_days.holder_process import change_row
from tests.cli.daemons import house
from tests.in_loop import in_loop
from tools.children import Child

pytestmark = pytest.mark.slow

LEASE_SECONDS = 2.0
SECONDS = 60.0
"""Deadline of every wait: reached by a failure only."""


async def told(holder: Child) -> dict[str, object]:
    """The next line that the holder says."""
    async with asyncio.timeout(SECONDS):
        text = await holder.receive()
    assert text, "the holder has ended"
    return msgspec.json.decode(text, type=dict[str, object])


@in_loop
async def test_a_holder_that_was_paused_for_twice_its_lease_is_refused_by_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    file, database = tmp_path / "model", tmp_path / "best.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        Guard.sqlite(connection, "tokens", "best").create()
        connection.execute("CREATE TABLE best (score INTEGER)")
        connection.execute("INSERT INTO best VALUES (0)")
    with house() as place:
        place.started("ant")
        arguments = ("ant", str(LEASE_SECONDS), str(file), str(database))
        holder = await Child.start(
            "tests.bad_days.holder_process", *arguments, log=tmp_path / "holder.log"
        )
        try:
            old = (await told(holder))["token"]
            assert isinstance(old, int)
            os.kill(holder.pid, signal.SIGSTOP)
            paused = asyncio.create_task(asyncio.sleep(2 * LEASE_SECONDS))
            async with connect("next", addr="ant") as agent:
                async with asyncio.timeout(SECONDS):
                    lease = await agent.lock("x", timeout=SECONDS).acquire()
                assert lease.token > old
                Guard.file(file).write(f"{lease.token}", lease.token)
                change_row(str(database), lease.token)
                await paused
                os.kill(holder.pid, signal.SIGCONT)
                holder.send(b"go on")
                assert await told(holder) == {
                    "was_lost": True,
                    "file": "stale_token",
                    "row": "stale_token",
                    "command": "unknown_session",
                    "released": "lost",
                    "again": "held",
                }
                assert not lease.is_lost
                assert await agent.counter("late").get() == 0
                await lease.release()
            assert file.read_text() == str(lease.token)
            with closing(sqlite3.connect(database)) as connection:
                assert connection.execute("SELECT score FROM best").fetchone() == (lease.token,)
        finally:
            holder.strike()
            await holder.gone()
