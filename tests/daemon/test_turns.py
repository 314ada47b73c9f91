"""However much clients say at once, the loop that they share with the peer goes on."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from mabeam_p2p.daemon import client as client_module
from mabeam_p2p.daemon import server as server_module
from mabeam_p2p.daemon.turns import Turns
from mabeam_p2p.requests import ReadStatus
from mabeam_p2p.wire.local import Ask, encode
from tests.daemon.served import daemon
from tests.eventually import eventually
from tests.in_loop import in_loop


class Said:
    """What is heard of whom, each word in as many seconds as it says."""

    def __init__(self) -> None:
        self.turns = Turns(10.0, lambda: self.now)
        self.now = 100.0
        self.heard: list[str] = []

    async def say(self, name: str, *words: float) -> None:
        for seconds in words:
            async with self.turns.hear():
                self.heard.append(name)
                self.now += seconds

    async def babble(self, seconds: float) -> None:
        async with self.turns.hear():
            self.now += seconds
            raise ValueError("nonsense")

    def expect_peer(self) -> None:
        """The peer has something to do in the next turn of the loop."""
        asyncio.get_running_loop().call_soon(self.heard.append, "peer")


@in_loop
async def test_after_so_long_everything_else_has_its_turn() -> None:
    said = Said()
    said.expect_peer()
    await said.say("ant", 4, 5)
    await said.say("bee", 0.9)
    assert said.heard == ["ant", "ant", "bee"], "nobody waits for what takes no time"
    await said.say("bee", 0.2, 9)
    assert said.heard == ["ant", "ant", "bee", "bee", "peer", "bee"]
    said.expect_peer()
    await said.say("ant", 1)
    assert said.heard[-2:] == ["ant", "peer"]


@in_loop
async def test_clients_that_say_much_take_turns() -> None:
    said = Said()
    await asyncio.gather(*(said.say(name, 10, 10, 10) for name in ("ant", "bee", "cow")))
    assert said.heard == ["ant", "bee", "cow"] * 3


@in_loop
async def test_nonsense_takes_its_time_and_keeps_nobody_from_being_heard() -> None:
    said = Said()
    said.expect_peer()
    with pytest.raises(ValueError, match="nonsense"):
        await said.babble(20)
    await said.say("ant", 0)
    assert said.heard == ["ant", "peer"]


@in_loop
async def test_of_clients_that_say_very_much_little_is_heard_in_each_turn_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = [encode(Ask(number, ReadStatus())) for number in range(800)]
    monkeypatch.setattr(client_module, "READ_BYTES", 20 * len(asks[0]))
    monkeypatch.setattr(server_module, "TURN_SECONDS", 0.0)
    async with daemon(tmp_path) as d:
        clients = [await d.connect() for _ in range(8)]
        for client in clients:
            await client.greet()
        loop = asyncio.get_running_loop()
        counts: list[int] = []

        def look() -> None:
            counts.append(len(d.peer.asked))
            if counts[-1] < 8 * len(asks):
                loop.call_soon(look)

        look()
        for client in clients:
            client.writer.write(b"".join(asks))
        await eventually(lambda: counts[-1] == 8 * len(asks))
    # One reading is heard in a turn, and the peer is asked in the next one, which may be looked at
    # before or after that.
    assert max(after - before for before, after in pairwise(counts)) <= 2 * 20
