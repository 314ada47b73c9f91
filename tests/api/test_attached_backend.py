"""The client's end of the local socket, in front of a daemon that says what the test wants."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from mabeam_p2p.api import attached, sockets
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.connecting import connect
from mabeam_p2p.api.view import View
from mabeam_p2p.commands import KeepAlive
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import Closed, DaemonNotRunning, NameTaken, Overloaded, PeerRefused
from mabeam_p2p.events import Dropped, Event, QuorumChanged
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.requests import (
    Answer,
    Done,
    Failed,
    ReadMembers,
    ReadStatus,
    Request,
    StatusAnswer,
    Submit,
)
from mabeam_p2p.wire import cbor
from mabeam_p2p.wire.local import (
    LENGTH_BYTES,
    LOCAL_VERSION,
    UNKNOWN_EVENT,
    Answered,
    Ask,
    Cancel,
    ClientMessage,
    DaemonMessage,
    Goodbye,
    Greet,
    Subscribe,
    Told,
    Welcome,
    client_messages,
    encode,
)
from tests.api.fakes import status, usual
from tests.eventually import eventually
from tests.in_loop import in_loop

WELCOME = Welcome(LOCAL_VERSION, PeerId("00000000000000aa"), "ant", "test", 7)


@pytest.fixture(autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("s")))
    monkeypatch.delenv(sockets.ADDRESS_VARIABLE, raising=False)


class FakeDaemon:
    """Answers a greeting with `greeting` and hears the rest."""

    def __init__(self, greeting: DaemonMessage | bytes = WELCOME) -> None:
        self.greeting = greeting
        self.heard: list[ClientMessage] = []
        self.reply: Callable[[Request], object] = lambda request: None
        """What it answers by itself, if anything."""
        self.writer: asyncio.StreamWriter | None = None

    def say(self, message: DaemonMessage) -> None:
        assert self.writer is not None
        self.writer.write(encode(message))

    def say_unknown(self, plain: object) -> None:
        """What only a later release can read."""
        assert self.writer is not None
        data = cbor.encode(plain)
        self.writer.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)

    def asked(self) -> list[int]:
        return [message.number for message in self.heard if isinstance(message, Ask)]

    def hang_up(self) -> None:
        assert self.writer is not None
        self.writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        frames = client_messages(Limits())
        while data := await reader.read(65_536):
            for message in frames.feed(data):
                self.heard.append(message)
                if isinstance(message, Ask) and (answer := self.reply(message.request)) is not None:
                    writer.write(encode(Answered(message.number, cast(Answer, answer))))
                if isinstance(message, Greet):
                    is_raw = isinstance(self.greeting, bytes)
                    writer.write(self.greeting if is_raw else encode(self.greeting))  # type: ignore[arg-type]
        writer.close()


@asynccontextmanager
async def daemon(name: str = "ant", **options: DaemonMessage | bytes) -> AsyncIterator[FakeDaemon]:
    fake = FakeDaemon(**options)
    listener = sockets.listen("test", name)
    path = Path(listener.getsockname())
    server = await asyncio.start_unix_server(fake.serve, sock=listener)
    try:
        yield fake
    finally:
        server.close()
        if fake.writer is not None:
            fake.writer.transport.abort()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  # a folder of the test's own


@asynccontextmanager
async def attached_to(fake: FakeDaemon, **limits: int) -> AsyncIterator[AttachedBackend]:
    backend = AttachedBackend("a", cluster="test", limits=Limits(**limits))
    try:
        assert await backend.open(SessionId(5)) == 7
        yield backend
    finally:
        await backend.close()


def future(awaitable: Awaitable[object]) -> "asyncio.Future[object]":
    return asyncio.ensure_future(awaitable)


@in_loop
async def test_greeting_names_agent_and_session_and_events_are_asked_for() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        await eventually(lambda: len(fake.heard) == 2)
        assert fake.heard == [Greet(LOCAL_VERSION, "a", SessionId(5)), Subscribe(True)]
        assert (backend.peer, backend.peer_name) == (WELCOME.peer, "ant")


@in_loop
async def test_a_daemon_that_is_full_is_no_daemon_that_is_absent() -> None:
    full = Goodbye("full", "the daemon of peer ant has as many clients as it takes (2)")
    backend = AttachedBackend("a", cluster="test")
    async with daemon(greeting=full):
        with pytest.raises(Overloaded, match=r"as many clients as it takes \(2\)"):
            await backend.open(SessionId(5))
        async with daemon("bee"):
            assert await backend.open(SessionId(5)) == 7
            await backend.close()


@in_loop
async def test_answers_find_their_questions_in_any_order() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        asked = [future(backend.ask(ReadMembers())) for _ in range(3)]
        await eventually(lambda: len(fake.asked()) == 3)
        for number in reversed(fake.asked()):
            fake.say(Answered(number, Done()))
        assert await asyncio.gather(*asked) == [Done()] * 3


@in_loop
async def test_question_that_nobody_waits_for_is_taken_back() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        asked = future(backend.ask(ReadMembers()))
        await eventually(fake.asked)
        asked.cancel()
        await eventually(lambda: Cancel(fake.asked()[0]) in fake.heard)


@in_loop
async def test_questions_beyond_what_a_daemon_takes_wait_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attached, "PENDING_MAX", 2)
    async with daemon() as fake, attached_to(fake, pending_requests_max=1) as backend:
        asked = [future(backend.ask(ReadMembers())) for _ in range(3)]
        with pytest.raises(Overloaded, match="await some"):
            backend.ask(ReadMembers())
        await eventually(lambda: len(fake.asked()) == 2)
        fake.say(Answered(fake.asked()[0], Done()))
        await eventually(lambda: len(fake.asked()) == 3)
        for other in asked:
            other.cancel()


@in_loop
async def test_events_reach_listeners_in_order_before_younger_answers() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        told: list[Event] = []
        end = backend.listen(told.append)
        asked = future(backend.ask(ReadMembers()))
        await eventually(fake.asked)
        fake.say(Told(QuorumChanged(True)))
        fake.say(Told(QuorumChanged(False)))
        fake.say(Answered(fake.asked()[0], Done()))
        await asked
        assert told == [QuorumChanged(True), QuorumChanged(False)]
        end()
        fake.say(Told(QuorumChanged(True)))
        asked = future(backend.ask(ReadMembers()))
        await eventually(lambda: len(fake.asked()) == 2)
        fake.say(Answered(fake.asked()[1], Done()))
        await asked
        assert len(told) == 2


@pytest.mark.parametrize("end", [FakeDaemon.hang_up, lambda fake: fake.say(WELCOME)])
@in_loop
async def test_lost_connection_fails_what_was_asked_and_is_reported(
    end: Callable[[FakeDaemon], None],
) -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        lost = asyncio.Event()
        backend.on_lost = lost.set
        asked = future(backend.ask(ReadMembers()))
        await eventually(fake.asked)
        end(fake)
        with pytest.raises(DaemonNotRunning, match="attaches again by itself"):
            await asked
        await lost.wait()
        with pytest.raises(DaemonNotRunning):
            backend.ask(ReadMembers())
        assert await backend.open(SessionId(6)) == 7
        await eventually(lambda: Greet(LOCAL_VERSION, "a", SessionId(6)) in fake.heard)


@pytest.mark.parametrize(
    ("last_word", "has_left"),
    [
        (Goodbye("closed", "peer ant stops"), True),
        (Goodbye("slow", "read more"), False),
        (None, False),
    ],
)
@in_loop
async def test_a_daemon_whose_peer_has_left_is_told_from_one_that_is_gone(
    last_word: Goodbye | None, has_left: bool
) -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        lost: list[bool] = []
        backend.on_lost = lambda: lost.append(backend.has_left)
        await eventually(lambda: fake.writer)
        assert fake.writer is not None
        if last_word is not None:
            fake.say(last_word)
        fake.writer.close()
        await eventually(lambda: lost)
        assert lost == [has_left]


@in_loop
async def test_a_daemon_that_stops_fails_what_was_asked_as_one_that_has_gone() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        stopping = Failed("closed", "peer ant has been closed")
        asked = [future(backend.ask(ReadMembers())) for _ in range(2)]
        await eventually(lambda: len(fake.asked()) == 2)
        first, second = fake.asked()
        fake.say(Answered(first, stopping))
        with pytest.raises(DaemonNotRunning, match=r"peer ant .* attaches again by itself"):
            await asked[0]
        tie = Attachment(backend)
        command = future(tie.ask(Submit(KeepAlive(SessionId(5), 2), 60), 60))
        await eventually(lambda: len(fake.asked()) == 3)
        fake.say(Answered(fake.asked()[2], stopping))
        answer = await command
        assert isinstance(answer, Failed)
        assert answer.reason == "unknown"
        fake.say(Answered(second, Done()))
        assert await asked[1] == Done()


@in_loop
async def test_a_listener_that_raises_keeps_nobody_from_events_and_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("unheard of")

    async with daemon() as fake, attached_to(fake) as backend:
        backend.listen(broken)
        backend.listen(heard.append)
        question = future(backend.ask(ReadMembers()))
        await eventually(fake.asked)
        fake.say(Told(QuorumChanged(True)))
        fake.say(Answered(fake.asked()[0], Done()))
        assert await question == Done()
        assert heard == [QuorumChanged(True)]
    assert "a listener raised at QuorumChanged" in caplog.text


@in_loop
async def test_what_a_later_daemon_says_costs_an_agent_neither_connection_nor_session() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        told: list[Event] = []
        lost: list[None] = []
        backend.listen(told.append)
        backend.on_lost = lambda: lost.append(None)
        asked = [future(backend.ask(ReadMembers())) for _ in range(2)]
        await eventually(lambda: len(fake.asked()) == 2)
        first, second = fake.asked()
        fake.say_unknown([3, [199, "news"]])
        fake.say(Told(QuorumChanged(True)))
        fake.say_unknown([2, first, [199, "news"]])
        fake.say(Answered(second, Done()))
        unread, answer = await asyncio.gather(*asked)
        assert isinstance(unread, Failed)
        assert answer == Done()
        assert [type(event) for event in told] == [Dropped, QuorumChanged]
        assert isinstance(told[0], Dropped)
        assert told[0].reason == UNKNOWN_EVENT
        assert lost == []
        assert [type(message) for message in fake.heard].count(Greet) == 1


@in_loop
async def test_nothing_is_written_to_a_connection_that_is_broken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        fake.hang_up()
        # Its end is closed then, and this one has not read of it.
        await asyncio.sleep(0)
        questions = [future(backend.ask(ReadMembers())) for _ in range(20)]
        for question in questions[10:]:
            question.cancel()
        ends = await asyncio.gather(*questions, return_exceptions=True)
        assert [type(end) for end in ends[:10]] == [DaemonNotRunning] * 10
    assert not [record for record in caplog.records if record.name == "asyncio"]


@in_loop
async def test_agent_comes_back_to_its_own_daemon_only() -> None:
    async with daemon("bee") as fake, attached_to(fake) as backend:
        async with daemon("ant"):
            pass
        async with daemon("aaa") as other:
            fake.hang_up()
            await backend.open(SessionId(6))
            assert other.heard == []


@in_loop
async def test_name_in_use_is_refused() -> None:
    async with daemon(greeting=Goodbye("name", "an agent named 'a' is there")):
        with pytest.raises(NameTaken, match="'a' is there"):
            await AttachedBackend("a", cluster="test").open(SessionId(1))


@in_loop
async def test_daemon_of_another_release_is_told_apart_from_none() -> None:
    async with daemon(greeting=Goodbye("version", "the daemon speaks version 9")):
        with pytest.raises(PeerRefused, match="same release") as caught:
            await AttachedBackend("a", cluster="test").open(SessionId(1))
        assert caught.value.reason == "version"


@pytest.mark.parametrize(
    "greeting", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xff", encode(Goodbye("closed"))]
)
@in_loop
async def test_what_does_not_greet_back_is_passed_over(greeting: bytes) -> None:
    async with daemon("ant", greeting=greeting), daemon("bee") as healthy:
        backend = AttachedBackend("a", cluster="test")
        await backend.open(SessionId(1))
        assert Greet(LOCAL_VERSION, "a", SessionId(1)) in healthy.heard
        await backend.close()


@in_loop
async def test_daemon_that_is_lost_before_it_is_ready_is_greeted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = asyncio.Event()
    until = View.until

    async def seen(view: View, holds: Callable[[], bool]) -> None:
        waits.set()
        await until(view, holds)

    monkeypatch.setattr(View, "until", seen)
    is_ready = False

    def reply(request: Request) -> object:
        match request:
            case ReadStatus():
                return StatusAnswer(replace(status(), ready=is_ready))
            case _:
                return usual(request)

    async def join() -> Agent:
        return await connect("a", cluster="test", timeout=None)

    async with daemon() as fake:
        fake.reply = reply
        joining = asyncio.create_task(join())
        await waits.wait()
        is_ready = True
        fake.hang_up()
        agent = await asyncio.wait_for(joining, 30)
        greetings = [message for message in fake.heard if isinstance(message, Greet)]
        assert [one.session for one in greetings] == [agent.session.id] * 2
        await agent.close()


@in_loop
async def test_a_daemon_that_is_lost_at_the_first_reading_is_to_be_connected_to_again() -> None:
    async with daemon() as fake:

        def reply(request: Request) -> object:
            if isinstance(request, ReadMembers):
                fake.hang_up()
                return None
            return usual(request)

        fake.reply = reply
        with pytest.raises(DaemonNotRunning, match=r"anybody else has to connect again.*mabeam up"):
            await connect("a", cluster="test")


@in_loop
async def test_closed_backend_refuses_everything() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        await backend.close()
        await backend.close()
        with pytest.raises(Closed):
            backend.ask(ReadMembers())
        with pytest.raises(Closed):
            await backend.open(SessionId(2))


FORKS = """
import asyncio, os, sys
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.ids import SessionId

async def main():
    backend = AttachedBackend("a", cluster="test")
    await backend.open(SessionId(5))
    os.fork()
    sys.stdout.write(f"{os.getpid()}\\n")
    sys.stdout.flush()
    sys.stdin.read()

asyncio.run(main())
"""


@in_loop
async def test_a_killed_process_hangs_up_though_its_forked_child_lives_on() -> None:
    async with daemon() as fake:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FORKS, stdin=PIPE, stdout=PIPE
        )
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            lines = [await program.stdout.readline() for _ in range(2)]
            assert str(program.pid) in [line.decode().strip() for line in lines]
            assert fake.writer is not None
            assert not fake.writer.transport.is_closing()
            program.kill()
            await eventually(fake.writer.transport.is_closing)
        finally:
            program.stdin.close()
            # Its end is that of the child, which was told to end just now.
            assert await program.stdout.read() == b""
            await program.wait()


@in_loop
async def test_a_forked_child_finds_the_connection_closed_and_leaves_it_to_its_parent() -> None:
    async with daemon() as fake, attached_to(fake) as backend:
        child = os.fork()
        if child == 0:
            try:
                backend.ask(ReadMembers())
            except Closed:
                os._exit(42)
            finally:
                os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 42
        asked = future(backend.ask(ReadMembers()))
        await eventually(lambda: fake.asked() == [1])
        fake.say(Answered(1, Done()))
        assert await asked == Done()
