"""A process that holds a lock, and says what becomes of it when it is let.

Arguments: the daemon's name, the lease of its session in seconds, the guarded file and the
database. Its first line tells the token. After any line of its parent it tries to go on as if
nothing had happened, and tells how each attempt has ended.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing

import msgspec

from mabeam_p2p import Agent, Guard, LeaseLost, Rejected, StaleToken, connect
from mabeam_p2p.api.grants import Lease
from mabeam_p2p.commands import AddCounter
from mabeam_p2p.requests import Refused
from tools.children import hear, say


def tell(**facts: object) -> None:
    say(msgspec.json.encode(facts))


def ending(work: Callable[[], object]) -> str:
    try:
        work()
    except StaleToken as error:
        return error.reason
    return "done"


def change_row(path: str, token: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        Guard.sqlite(connection, "tokens", "best").check(token)
        connection.execute("UPDATE best SET score = ?", (token,))


async def go_on(agent: Agent, lease: Lease, file: str, database: str) -> None:
    session = lease.session
    was_lost = lease.is_lost
    file_ending = ending(lambda: Guard.file(file).write(f"{lease.token}", lease.token))
    row_ending = ending(lambda: change_row(database, lease.token))
    command = AddCounter(session, 0, "late", 1)
    answer = await agent.session.ask(command, 10.0, within=session)
    try:
        await lease.release()
        released = "done"
    except LeaseLost:
        released = "lost"
    try:
        tried = await agent.lock("x").try_acquire()
        again = "held" if tried is None else "free"
    except Rejected as error:
        again = error.reason
    tell(
        was_lost=was_lost,
        file=file_ending,
        row=row_ending,
        command=answer.reason if isinstance(answer, Refused) else "done",
        released=released,
        again=again,
    )


async def serve(daemon: str, seconds: float, file: str, database: str) -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    def take(line: bytes) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    hear(take)
    async with connect("holder", addr=daemon, lease=seconds) as agent:
        lease = await agent.lock("x").acquire()
        Guard.file(file).write(f"{lease.token}", lease.token)
        change_row(database, lease.token)
        tell(token=lease.token)
        await lines.get()
        await go_on(agent, lease, file, database)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4]))
