import asyncio
import gc
import os
import socket
from pathlib import Path

import pytest

from mabeam_p2p.api import attached
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.api.sockets import peer_user
from mabeam_p2p.commands import CastVote, CloseSession
from mabeam_p2p.daemon import client as client_module
from mabeam_p2p.daemon.admission import CLOSING_SEQUENCE
from mabeam_p2p.errors import Closed, OutcomeUnknown
from mabeam_p2p.events import Dropped, MailArrived, QuorumChanged
from mabeam_p2p.ids import AgentId, ProposalId, SessionId
from mabeam_p2p.records import Choice
from mabeam_p2p.requests import (
    Committed,
    Done,
    Failed,
    Leave,
    ReadMembers,
    ReadStatus,
    Refused,
    Submit,
)
from mabeam_p2p.wire.local import (
    LOCAL_VERSION,
    Answered,
    Ask,
    Cancel,
    Goodbye,
    Greet,
    Subscribe,
    Told,
    Welcome,
    encode,
)
from tests.daemon.served import PEER, SESSION, counters, daemon
from tests.eventually import eventually
from tests.in_loop import in_loop


@in_loop
async def test_client_is_told_whose_daemon_it_is(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        assert await connection.greet() == Welcome(LOCAL_VERSION, PEER, "hill", "default", 3)


@in_loop
async def test_questions_are_answered_by_number_in_any_order(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        connection.say(Ask(1, ReadStatus()), Ask(2, ReadMembers()))
        await eventually(lambda: len(d.peer.asked) == 2)
        d.peer.asked[1][1].set_result(Done())
        assert await connection.hear() == Answered(2, Done())
        d.peer.asked[0][1].set_result(Failed("no_quorum", ""))
        assert await connection.hear() == Answered(1, Failed("no_quorum", ""))


@in_loop
async def test_second_connection_with_a_name_is_refused_until_the_first_has_ended(
    tmp_path: Path,
) -> None:
    async with daemon(tmp_path) as d:
        first, second = await d.connect(), await d.connect()
        assert isinstance(await first.greet("ant", 7), Welcome)
        goodbye = await second.greet("ant", 8)
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "name"
        assert "'ant'" in goodbye.detail
        assert await second.hear() is None
        await first.close()
        third = await d.connect()
        while isinstance(await third.greet("ant", 9), Goodbye):
            third = await d.connect()


@pytest.fixture
def is_hung_up() -> list[bool]:
    """Of each connection that is over, while it holds the name of its agent."""
    return []


@pytest.fixture
def may_end(monkeypatch: pytest.MonkeyPatch, is_hung_up: list[bool]) -> asyncio.Event:
    """Until it is set, connections that are over hold the names of their agents."""
    event, run = asyncio.Event(), client_module.Client.run

    async def slow(client: client_module.Client) -> None:
        await run(client)
        is_hung_up.append(client._writer.transport.is_closing())
        await event.wait()

    monkeypatch.setattr(client_module.Client, "run", slow)
    return event


@in_loop
async def test_a_name_is_free_once_its_agent_has_closed(
    tmp_path: Path, may_end: asyncio.Event, is_hung_up: list[bool]
) -> None:
    async with daemon(tmp_path) as d:
        first, second = [AttachedBackend("ant", cluster="default", addr=d.path) for _ in range(2)]
        await first.open(SessionId(7))
        closing = asyncio.create_task(first.close())
        await eventually(lambda: is_hung_up)
        has_closed = closing.done()
        may_end.set()
        await closing
        assert (is_hung_up, has_closed) == ([False], False)
        await second.open(SessionId(8))
        await second.close()


@in_loop
async def test_a_daemon_that_hangs_keeps_no_agent_that_closes(
    tmp_path: Path, may_end: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "END_SECONDS", 0.001)
    async with daemon(tmp_path) as d:
        backend = AttachedBackend("ant", cluster="default", addr=d.path)
        await backend.open(SessionId(7))
        try:
            await asyncio.wait_for(backend.close(), 60)
        finally:
            may_end.set()


@in_loop
async def test_name_of_the_daemons_own_agent_is_taken(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        goodbye = await connection.greet("hill", 7)
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "name"


@in_loop
async def test_client_of_another_version_is_refused(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        connection.say(Greet(LOCAL_VERSION + 1, ""))
        goodbye = await connection.hear()
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "version"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff" * 64,
        b"\x00\x00\x00\x01\xff",
        encode(Ask(1, ReadStatus())),
        encode(Greet(LOCAL_VERSION, "ant")),
        encode(Greet(LOCAL_VERSION, "", SESSION)),
        encode(Greet(LOCAL_VERSION, "")) * 2,
        encode(Greet(LOCAL_VERSION, "")) + encode(Ask(1, ReadStatus())) * 2,
    ],
    ids=["size", "cbor", "no greeting", "no session", "no name", "greets twice", "same number"],
)
@in_loop
async def test_nonsense_ends_the_connection_and_nothing_else(
    tmp_path: Path, nonsense: bytes
) -> None:
    async with daemon(tmp_path) as d:
        other, connection = await d.connect(), await d.connect()
        await other.greet("bee", 5)
        connection.writer.write(nonsense)
        heard = await connection.hear()
        if isinstance(heard, Welcome):
            heard = await connection.hear()
        assert isinstance(heard, Goodbye)
        assert heard.reason == "protocol"
        assert await connection.hear() is None
        other.say(Ask(1, ReadMembers()))
        await eventually(lambda: ReadMembers() in d.peer.requests())


@in_loop
async def test_silent_connection_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "GREETING_SECONDS", 0.02)
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        goodbye = await connection.hear()
        assert isinstance(goodbye, Goodbye)
        assert "no greeting" in goodbye.detail


@in_loop
async def test_cancelled_question_is_cancelled_at_the_peer(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        connection.say(Ask(1, ReadStatus()))
        await eventually(lambda: len(d.peer.asked) == 1)
        connection.say(Cancel(1), Cancel(99))
        await eventually(lambda: d.peer.asked[0][1].cancelled())


@in_loop
async def test_questions_beyond_the_bound_are_overloaded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PENDING_MAX", 2)
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        connection.say(*(Ask(number, ReadStatus()) for number in (1, 2, 3)))
        answered = await connection.hear()
        assert isinstance(answered, Answered)
        assert answered.number == 3
        assert isinstance(answered.answer, Failed)
        assert answered.answer.reason == "overloaded"
        assert len(d.peer.asked) == 2
        assert await d.counters() == counters(daemon_clients=2, daemon_overloaded=1)


@in_loop
async def test_refused_command_does_not_reach_the_peer(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet("ant", SESSION)
        connection.say(Ask(1, Submit(CloseSession(SessionId(8), 1, "not mine"))))
        answered = await connection.hear()
        assert isinstance(answered, Answered)
        assert isinstance(answered.answer, Refused)
        assert d.peer.asked == []


@in_loop
async def test_client_without_a_name_votes_as_the_daemons_own_agent(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        vote = CastVote(SessionId(0), 0, ProposalId("p"), Choice.REJECT, 900, "too hot")
        connection.say(Ask(4, Submit(vote)))
        assert await connection.hear() == Answered(4, Committed(9, 1))
        assert d.said == [vote]
        assert d.peer.asked == []


@in_loop
async def test_events_reach_those_who_listen(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        listening, silent = await d.connect(), await d.connect()
        await listening.greet()
        await silent.greet()
        listening.say(Subscribe(True), Ask(1, ReadStatus()))
        await eventually(lambda: len(d.peer.asked) == 1)
        d.peer.tell(QuorumChanged(True))
        assert await listening.hear() == Told(QuorumChanged(True))
        silent.say(Ask(1, ReadMembers()))
        await eventually(lambda: len(d.peer.asked) == 2)
        d.peer.asked[1][1].set_result(Done())
        assert await silent.hear() == Answered(1, Done())


@in_loop
async def test_a_letter_is_told_to_those_alone_whom_it_is_for(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        one, other, nameless = [await d.connect() for _ in range(3)]
        await one.greet("one", 8)
        await other.greet("other", 9)
        await nameless.greet()
        for client in (one, other, nameless):
            client.say(Subscribe(True), Ask(77, ReadMembers()))
        await eventually(lambda: len(d.peer.asked) == 3)
        letter = MailArrived(1, AgentId("x@y"), (AgentId("one@hill"),), "all", "t", b"", True, 1)
        d.peer.tell(letter)
        d.peer.tell(QuorumChanged(True))
        assert [await one.hear() for _ in range(2)] == [Told(letter), Told(QuorumChanged(True))]
        assert await other.hear() == Told(QuorumChanged(True))
        assert await nameless.hear() == Told(QuorumChanged(True))


@in_loop
async def test_slow_client_loses_its_oldest_events_and_is_told_how_many(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        slow = await d.connect()
        await slow.greet()
        slow.say(Subscribe(True), Ask(1, ReadStatus()))
        await eventually(lambda: len(d.peer.asked) == 1)
        # All in one turn of the loop: nobody can have read in between.
        for number in range(10):
            d.peer.tell(QuorumChanged(number % 2 == 0))
        told = await slow.hear()
        assert isinstance(told, Told)
        assert isinstance(told.event, Dropped)
        assert (told.event.reason, told.event.count) == ("slow_listener", 6)
        assert [await slow.hear() for _ in range(4)] == [
            Told(QuorumChanged(number % 2 == 0)) for number in range(6, 10)
        ]
        assert await d.counters() == counters(daemon_clients=2, daemon_events_dropped=6)


@in_loop
async def test_session_of_a_client_that_has_gone_is_closed(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.attach("ant")
        d.peer.asked[0][1].set_result(Committed(5, 1))
        assert await connection.hear() == Answered(1, Committed(5, 1))
        connection.say(Ask(2, ReadMembers()))
        await eventually(lambda: len(d.peer.asked) == 2)
        await connection.close()
        await eventually(lambda: len(d.peer.asked) == 3)
        assert d.peer.asked[1][1].cancelled()
        closing = d.peer.asked[2][0]
        assert isinstance(closing, Submit)
        assert closing.command == CloseSession(SESSION, CLOSING_SEQUENCE, "disconnected")


@in_loop
async def test_closing_waits_for_the_opening_that_is_under_way(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.attach("ant")
        other = await d.connect()
        await connection.close()
        # A whole conversation with somebody else: the server has seen the end by then.
        await other.greet("bee", 8)
        assert len(d.peer.asked) == 1
        assert not d.peer.asked[0][1].cancelled()
        d.peer.asked[0][1].set_result(Committed(5, 1))
        await eventually(lambda: len(d.peer.asked) == 2)
        closing = d.peer.asked[1][0]
        assert isinstance(closing, Submit)
        assert isinstance(closing.command, CloseSession)


@in_loop
async def test_closing_is_tried_until_the_cluster_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mabeam_p2p.daemon.server.CLOSE_RETRY_SECONDS", 0.001)
    async with daemon(tmp_path) as d:
        connection = await d.attach("ant")
        d.peer.asked[0][1].set_result(Committed(5, 1))
        await connection.close()
        await eventually(lambda: len(d.peer.asked) == 2)
        d.peer.asked[1][1].set_result(Failed("no_quorum", ""))
        await eventually(lambda: len(d.peer.asked) == 3)
        assert d.peer.asked[2][0] == d.peer.asked[1][0]
        d.peer.asked[2][1].set_result(Committed(6, 1))


@pytest.mark.usefixtures("losses_are_told")
@in_loop
async def test_a_client_that_goes_before_it_is_answered_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.attach("ant")
        d.peer.asked[0][1].set_result(Committed(5, 1))
        connection.writer.transport.abort()
        await eventually(lambda: len(d.peer.asked) == 2)
        d.peer.asked[1][1].set_result(Committed(6, 1))
        await eventually(lambda: not d.server._closings)
        gc.collect()
    assert caplog.text == ""


@pytest.mark.parametrize("error", [Closed("it is closed"), OutcomeUnknown("it may be committed")])
@in_loop
async def test_a_peer_that_closes_meanwhile_ends_it_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.attach("ant")
        d.peer.asked[0][1].set_result(Committed(5, 1))
        await connection.close()
        await eventually(lambda: len(d.peer.asked) == 2)
        d.peer.asked[1][1].set_exception(error)
        await eventually(lambda: not d.server._closings)
        gc.collect()  # A task that nobody asks tells of its end then.
    assert caplog.text == ""


@in_loop
async def test_nobody_goes_on_with_a_session_that_is_being_closed(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.attach("ant")
        d.peer.asked[0][1].set_result(Committed(5, 1))
        assert await connection.hear() == Answered(1, Committed(5, 1))
        await connection.close()
        await eventually(lambda: len(d.peer.asked) == 2)
        again = await d.connect()
        goodbye = await again.greet("ant", SESSION)
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "name"
        assert "is being closed" in goodbye.detail
        d.peer.asked[1][1].set_result(Committed(6, 1))
        while isinstance(await again.greet("ant", SESSION), Goodbye):
            again = await d.connect()


@in_loop
async def test_client_that_greeted_and_opened_nothing_leaves_no_trace(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection, other = await d.connect(), await d.connect()
        await connection.greet("ant", SESSION)
        await connection.close()
        while isinstance(await other.greet("ant", 8), Goodbye):
            other = await d.connect()
        assert d.peer.asked == []


@in_loop
async def test_leave_is_answered_before_the_daemon_ends(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        connection.say(Ask(1, Leave()))
        await eventually(lambda: len(d.peer.asked) == 1)
        assert d.leaves == 0
        d.peer.asked[0][1].set_result(Done())
        assert await connection.hear() == Answered(1, Done())
        await eventually(lambda: d.leaves == 1)


@in_loop
async def test_closing_the_server_says_goodbye_and_removes_the_socket(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        await d.server.close()
        goodbye = await connection.hear()
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "closed"
        assert await connection.hear() is None
        with pytest.raises(FileNotFoundError):
            await d.connect()


@in_loop
async def test_a_client_that_reads_nothing_does_not_keep_a_server_that_closes(
    tmp_path: Path,
) -> None:
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        await connection.greet()
        connection.say(Subscribe(True), Ask(1, ReadStatus()))
        await eventually(lambda: len(d.peer.asked) == 1)
        # More than both ends of the socket hold: the last words cannot be written.
        text = "x" * 1_000_000
        for _ in range(20):
            d.peer.tell(Dropped("", "test", text, 1))
        async with asyncio.timeout(60):
            await d.server.close()


@in_loop
async def test_connections_of_other_users_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mabeam_p2p.daemon.server.peer_user", lambda _: os.getuid() + 1)
    async with daemon(tmp_path) as d:
        connection = await d.connect()
        connection.say(Greet(LOCAL_VERSION, ""))
        assert await connection.hear() is None
        monkeypatch.undo()
        assert await d.counters() == counters(daemon_clients=1, daemon_clients_refused=1)


def test_kernel_names_the_user_at_the_other_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_user(ours) in (None, os.getuid())
