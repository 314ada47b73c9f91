"""Many clients that each keep to their own bounds do not fill the memory together."""

import gc
import math
import socket
from pathlib import Path

import pytest

from mabeam_p2p.daemon import client as client_module
from mabeam_p2p.daemon import server as server_module
from mabeam_p2p.daemon.room import Room
from mabeam_p2p.daemon.server import CLIENTS_REFUSED
from mabeam_p2p.requests import (
    Done,
    Failed,
    ParameterQuery,
    Read,
    ReadMembers,
    ReadStatus,
    SetVariables,
)
from mabeam_p2p.wire.local import (
    LENGTH_BYTES,
    Answered,
    Ask,
    Goodbye,
    Welcome,
)
from tests.daemon.served import counters, daemon
from tests.eventually import eventually
from tests.in_loop import in_loop


def test_room_counts_what_is_held_now() -> None:
    room: Room[str] = Room(10)
    room.hold("ant", 4)
    room.hold("bee", 5)
    room.hold("ant", 5)
    assert (room.held_bytes, room.greediest()) == (10, None)
    assert not room.has_room_for(1)
    room.hold("bee", 6)
    assert room.greediest() == "bee"
    room.hold("bee", 0)
    assert room.held_bytes == 5
    assert room.has_room_for(5)


def test_room_says_who_holds_most_of_those_that_may_give_way() -> None:
    room: Room[str] = Room(10)
    for name, count in (("ant", 2), ("bee", 5), ("cow", 3)):
        room.hold(name, count)
    assert room.greediest() is None
    assert room.greediest(1) == "bee"
    assert room.greediest(1, among=lambda name: name != "bee") == "cow"
    assert room.greediest(1, among=lambda name: name == "dog") is None
    room.hold("bee", 0)
    assert room.greediest(5) is None


@in_loop
async def test_of_unfinished_messages_the_greatest_goes_when_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "PART_BYTES_MAX", 300_000)
    async with daemon(tmp_path) as d:
        greedy, modest = await d.connect(), await d.connect()
        await greedy.greet()
        await modest.greet()
        head = (1_000_000).to_bytes(LENGTH_BYTES, "big")
        greedy.writer.write(head + bytes(250_000))
        await eventually(lambda: d.server.parts.held_bytes == 250_000 + LENGTH_BYTES)
        modest.writer.write(head + bytes(100_000))
        goodbye = await greedy.hear()
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "protocol"
        assert "300000 bytes" in goodbye.detail
        assert await greedy.hear() is None
        await eventually(lambda: d.server.parts.held_bytes == 100_000 + LENGTH_BYTES)
        await modest.close()
        await eventually(lambda: d.server.parts.held_bytes == 0)


@in_loop
async def test_large_answers_that_nobody_reads_are_refused_beyond_their_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "ANSWER_BYTES_MAX", 40_000_000)
    async with daemon(tmp_path) as d:
        idle, other = await d.connect(), await d.connect()
        await idle.greet()
        await other.greet()
        idle.say(*(Ask(number, Read(ParameterQuery(""))) for number in range(50)))
        await eventually(lambda: len(d.peer.asked) == 50)
        large = Failed("no_quorum", "y" * 2_000_000)
        for _, answer in d.peer.asked:
            answer.set_result(large)
        await eventually(lambda: d.server.counters["daemon_overloaded"] > 0)
        assert 0 < d.server.answers.held_bytes <= 40_000_000
        # What is small, or must not be said to be undone, comes all the same.
        other.say(Ask(1, ReadMembers()), Ask(2, SetVariables(())))
        await eventually(lambda: len(d.peer.asked) == 52)
        d.peer.asked[50][1].set_result(Done())
        huge = Failed("no_quorum", "z" * 30_000_000)
        d.peer.asked[51][1].set_result(huge)
        assert [await other.hear() for _ in range(2)] == [Answered(1, Done()), Answered(2, huge)]
        heard = [await idle.hear() for _ in range(50)]
        answers = [one.answer for one in heard if isinstance(one, Answered)]
        refused = [a for a in answers if isinstance(a, Failed) and a.reason == "overloaded"]
        assert len(answers) == 50
        assert 25 < len(refused) < 50
        await eventually(lambda: d.server.answers.held_bytes == 0)


@in_loop
async def test_who_has_stopped_reading_gives_way_to_a_large_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "ANSWER_BYTES_MAX", 40_000_000)
    monkeypatch.setattr(client_module, "UNREAD_SECONDS", 0.0)
    async with daemon(tmp_path) as d:
        idle, modest, other = [await d.connect() for _ in range(3)]
        for connection in (idle, modest, other):
            await connection.greet()
        idle_client, modest_client, _ = d.server._clients
        modest.say(Ask(1, Read(ParameterQuery(""))), Ask(2, Read(ParameterQuery(""))))
        await eventually(lambda: len(d.peer.asked) == 2)
        idle.say(*(Ask(number, Read(ParameterQuery(""))) for number in range(50)))
        await eventually(lambda: len(d.peer.asked) == 52)
        large = Failed("no_quorum", "y" * 2_000_000)
        for _, answer in d.peer.asked:
            answer.set_result(large)
        # It was given much at once, and had no time to read it: nobody is sent away for that.
        await eventually(lambda: d.server.counters["daemon_overloaded"] > 0)
        assert len(d.server._clients) == 3
        await eventually(lambda: idle_client.is_unread() and modest_client.is_unread())
        other.say(Ask(1, Read(ParameterQuery(""))))
        await eventually(lambda: len(d.peer.asked) == 53)
        huge = Failed("no_quorum", "z" * 30_000_000)
        d.peer.asked[52][1].set_result(huge)
        assert await other.hear() == Answered(1, huge)
        # Who holds less of it has nothing to do with that.
        assert [await modest.hear() for _ in range(2)] == [Answered(n, large) for n in (1, 2)]
        assert await idle.hear() is None
        await eventually(lambda: idle_client not in d.server._clients)
        assert d.server.answers.held_bytes == 0
        [line] = [record.getMessage() for record in caplog.records]
        assert line.startswith("client ended: has read nothing for 0 s")


@in_loop
async def test_who_reads_slowly_has_not_stopped(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        (client,) = d.server._clients
        assert client.handed_at == math.inf
        connection.say(Ask(1, ReadStatus()))
        await eventually(lambda: len(d.peer.asked) == 1)
        d.peer.asked[0][1].set_result(Failed("no_quorum", "y" * 20_000_000))
        await eventually(lambda: client.handed_at < math.inf)
        assert not client.is_unread()
        began = client.handed_at
        await connection.reader.readexactly(10_000_000)
        # One message still, but not for as long as it takes together.
        await eventually(lambda: began < client.handed_at < math.inf)
        await connection.reader.readexactly(10_000_000)
        await eventually(lambda: client.handed_at == math.inf)


@in_loop
async def test_what_a_client_leaves_unread_is_forgotten_with_it(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.attach("ant")
        connection.say(*(Ask(number, ReadStatus()) for number in range(2, 12)))
        await eventually(lambda: len(d.peer.asked) == 11)
        for _, answer in d.peer.asked[1:]:
            answer.set_result(Failed("no_quorum", "y" * 2_000_000))
        await eventually(lambda: d.server.answers.held_bytes > 1_000_000)
        connection.writer.transport.abort()
        await eventually(lambda: d.server.answers.held_bytes == 0)
        # The opening was not cancelled; its answer comes to nobody.
        d.peer.asked[0][1].set_result(Done())
        other = await d.connect()
        await other.greet()
        assert d.server.answers.held_bytes == 0


@pytest.mark.usefixtures("losses_are_told")
@in_loop
async def test_who_is_refused_and_has_gone_already_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLIENTS_SPARE", "CLIENTS_TOLD"):
        monkeypatch.setattr(server_module, name, 0)
    monkeypatch.setattr(server_module, "clients_max", lambda: 0)
    caplog.set_level("ERROR")
    async with daemon(tmp_path) as d:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(d.path)
        await eventually(lambda: d.server.counters[CLIENTS_REFUSED])
    gc.collect()
    assert caplog.text == ""


@in_loop
async def test_an_agent_beyond_what_is_served_is_told_so_and_others_may_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "clients_max", lambda: 2)
    monkeypatch.setattr(server_module, "CLIENTS_SPARE", 1)
    monkeypatch.setattr(server_module, "CLIENTS_TOLD", 1)
    async with daemon(tmp_path) as d:
        first, second = await d.connect(), await d.connect()
        assert isinstance(await first.greet("ant", 7), Welcome)
        assert isinstance(await second.greet("bee", 8), Welcome)
        late = await d.connect()
        told = await late.greet("cow", 9)
        assert isinstance(told, Goodbye)
        assert told.reason == "full"
        assert "the daemon of peer hill has as many clients as it takes (2)" in told.detail
        assert await late.hear() is None
        await eventually(lambda: len(d.server._clients) == 2)
        assert await d.counters() == counters(daemon_clients=3, daemon_clients_refused=1)
        # All three are there now: whoever comes is told, whatever it wants.
        told = await (await d.connect()).greet()
        assert isinstance(told, Goodbye)
        assert told.reason == "full"
        await eventually(lambda: len(d.server._clients) == 3)
        silent = await d.connect()
        await eventually(lambda: len(d.server._clients) == 4)
        told = await (await d.connect()).hear()
        assert isinstance(told, Goodbye)
        assert len(d.server._clients) == 4
        for connection in (silent, second):
            await connection.close()
        await eventually(lambda: len(d.server._clients) == 2)
        assert await d.counters() == counters(daemon_clients=3, daemon_clients_refused=3)


@in_loop
async def test_the_log_tells_of_many_refusals_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "clients_max", lambda: 0)
    monkeypatch.setattr(server_module, "REFUSAL_SECONDS", 1_000.0)
    async with daemon(tmp_path) as d:
        for session in range(1, 6):
            assert isinstance(await (await d.connect()).greet("ant", session), Goodbye)
        assert [record.getMessage() for record in caplog.records] == [
            "client refused: as many as there may be clients=1 refused=1"
        ]
        monkeypatch.setattr(server_module, "REFUSAL_SECONDS", 0.0)
        assert isinstance(await (await d.connect()).greet("ant", 6), Goodbye)
        assert len(caplog.records) == 2
