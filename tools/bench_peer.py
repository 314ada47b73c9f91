"""A contender of the bench: one of our peers, loaded through its driver, by callbacks."""

import asyncio
import itertools
import secrets
import sys
from collections.abc import Callable
from functools import partial
from typing import assert_never

import msgspec

from mabeam_p2p import assembly
from mabeam_p2p.commands import AppendJournal, OpenSession
from mabeam_p2p.config import Config
from mabeam_p2p.ids import GROUP_ALL, SessionId, agent_id
from mabeam_p2p.requests import Committed, ReadStatus, StatusAnswer, Submit
from mabeam_p2p.runtime.driver import Driver, Reply
from tools.bench_load import (
    ITEM,
    Order,
    Processor,
    Recorder,
    Role,
    Run,
    drive,
    hear_orders,
    processor_seconds,
    reply,
)


class Contender:
    """Lives on the peer's loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._session = SessionId(secrets.randbelow(2**50) + 1)
        self._sequences = itertools.count(2)
        self._is_open = False

    def receive(self, order: Order) -> None:
        match order:
            case Role():
                self._driver.ask(ReadStatus(), _reply_role)
            case Processor():
                reply(processor_seconds())
            case Run():
                self._driver.ask(ReadStatus(), partial(self._open, order))
            case _:
                assert_never(order)

    def _open(self, run: Run, answer: Reply) -> None:
        """The session of this process, on its first run; then the load."""
        assert isinstance(answer, StatusAnswer), answer
        if self._is_open:
            self._run(run, None)
            return
        self._is_open = True
        status = answer.status
        agent = agent_id("bench", status.name)
        command = OpenSession(
            self._session, 1, agent, status.peer, status.epoch, (GROUP_ALL,), True, True
        )
        self._driver.ask(Submit(command), partial(self._run, run))

    def _run(self, run: Run, opened: Reply | None) -> None:
        assert opened is None or isinstance(opened, Committed), opened

        def submit(end: Callable[[bool], None]) -> None:
            command = AppendJournal(self._session, next(self._sequences), "bench", ITEM)
            self._driver.ask(Submit(command), lambda answer: end(type(answer) is Committed))

        drive(Recorder(run), submit, reply)


def _reply_role(answer: Reply) -> None:
    reply(answer.status.role if isinstance(answer, StatusAnswer) else "gone")


async def serve(config: Config) -> None:
    """Until the parent ends."""
    loop = asyncio.get_running_loop()
    driver = assembly.build(config)
    await driver.start()
    contender = Contender(driver)

    def receive(order: Order) -> None:
        loop.call_soon_threadsafe(contender.receive, order)

    hear_orders(receive)
    await driver.wait_stopped()


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Config)))
