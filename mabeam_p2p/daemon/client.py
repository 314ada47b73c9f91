"""One connection of the local socket, from its greeting to its farewell.

1. Its first message is a Greet. What breaks the protocol ends the connection, with a Goodbye that
   says why.
2. At most PENDING_MAX questions are under way; one more is answered `overloaded` at once. While as
   many answers wait to be read, nothing more is read.
3. What waits for all clients together is bounded, too: of a message that is not whole, whoever has
   sent most of one is sent away; a large answer to a question that changes nothing is `overloaded`,
   unless those make room for it who have stopped reading: they are cut off, the greatest first.
4. What clients say is heard a little at a time, and after so long the loop turns: whatever they
   say, the peer, which shares it, goes on.
5. At its end its questions are cancelled, except the opening of its session: whether the log has
   that one decides what there is to close.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable
from typing import Protocol, assert_never

from mabeam_p2p.commands import OpenSession
from mabeam_p2p.config import Limits
from mabeam_p2p.daemon.admission import Admission, OwnCommand
from mabeam_p2p.daemon.outgoing import WRITE_BYTES, Outgoing
from mabeam_p2p.daemon.room import Room
from mabeam_p2p.daemon.turns import Turns
from mabeam_p2p.errors import Closed, InvalidValue, MabeamError, RemoteProtocolError
from mabeam_p2p.events import Dropped
from mabeam_p2p.requests import (
    Answer,
    Failed,
    Refused,
    Request,
    SendMail,
    SetVariables,
    Submit,
    TakeMail,
)
from mabeam_p2p.wire.local import (
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

PENDING_MAX = 1_024
GREETING_SECONDS = 10.0
FAREWELL_SECONDS = 1.0
"""How long the last words may take to write."""
READ_BYTES = 4_096
"""What is heard at a time: of the shortest messages that takes about 7 ms."""

UNREAD_SECONDS = 20.0
"""Who has taken nothing for so long has stopped reading. To decode the greatest answer, of 128 MB,
takes a client about 9 s, in which it takes nothing either."""
LARGE_ANSWER_BYTES = 65_536
"""Larger ones are given only where there is room for them."""

SLOW_LISTENER = "slow_listener"
"""Reason of a Dropped event that tells a client of events that it did not get."""


EVENTS_DROPPED = "daemon_events_dropped"
"""Counts events that clients lost because they read too slowly."""
OVERLOADED = "daemon_overloaded"
"""Counts questions beyond what one client may have under way."""

_log = logging.getLogger(__name__)


class Host(Protocol):
    """What a client needs of the server."""

    limits: Limits
    counters: dict[str, int]
    parts: Room["Client"]
    """What was read of messages that are not whole yet."""
    answers: Room["Client"]
    """Answers that wait to be written."""
    turns: Turns
    """Of the loop, in which clients are heard."""

    def admit(self, client: "Client", greet: Greet) -> Welcome | Goodbye:
        """Welcome the client, whose `admission` is set then, or say why not."""
        ...

    def ask(self, request: Request) -> Awaitable[Answer]: ...

    def say(self, command: OwnCommand, timeout: float | None) -> Awaitable[Answer]:
        """Commit a command of the daemon's own agent."""
        ...


class Client:
    """One connection. When `run` returns it is over; `hang_up` tells the other end so."""

    def __init__(
        self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.admission: Admission | None = None
        """None until it has greeted."""
        self.is_listening = False
        self.handed_at = math.inf
        """When the socket was given what it has not taken yet; infinite if there is nothing."""
        self._host = host
        self._reader = reader
        self._writer = writer
        self._outgoing = Outgoing(host.limits.events_pending_max, _dropped)
        self._messages = client_messages(host.limits)
        self._asks: dict[int, asyncio.Future[Answer]] = {}
        self._opening: asyncio.Future[Answer] | None = None

    async def run(self) -> None:
        """Serve the client until either side ends the connection, which is to be hung up then."""
        writing = asyncio.create_task(self._write(), name="client writer")
        reading = asyncio.create_task(self._read(), name="client reader")
        try:
            # Either may end first: the reader when the client has gone, the writer at a farewell.
            await asyncio.wait((writing, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            for question in tuple(self._asks.values()):
                if question is not self._opening:
                    question.cancel()
            self._outgoing.close()
            await asyncio.wait((writing,), timeout=FAREWELL_SECONDS)
            writing.cancel()
            ends = await asyncio.gather(reading, writing, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def opened(self) -> None:
        """Wait until the opening of the session, if it is under way, has come to something."""
        if self._opening is not None:
            with contextlib.suppress(MabeamError, asyncio.CancelledError):
                await self._opening

    def tell(self, encoded: bytes) -> None:
        """Queue an event, if the client listens."""
        if self.is_listening:
            self._host.counters[EVENTS_DROPPED] += self._outgoing.put_event(encoded)

    def dismiss(self, goodbye: Goodbye) -> None:
        """Say the last word; `run` ends when it was written."""
        self._outgoing.put_answer(encode(goodbye))
        self._outgoing.close()

    def hang_up(self) -> None:
        """End the connection, and hold nothing for it, whatever is still to be written: `run` ends
        with it."""
        self._writer.transport.abort()
        self._outgoing.discard()
        self._host.parts.hold(self, 0)
        self._host.answers.hold(self, 0)

    def is_unread(self) -> bool:
        """Whether it has stopped reading while something is there to be read."""
        return asyncio.get_running_loop().time() >= self.handed_at + UNREAD_SECONDS

    # ---- what the client says ----------------------------------------------------------------

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(GREETING_SECONDS) as greeting:
                while data := await self._reader.read(READ_BYTES):
                    async with self._host.turns.hear():
                        for message in self._messages.feed(data):
                            self._receive(message)
                        self._keep_room()
                    if self.admission is not None:
                        greeting.reschedule(None)
                    await self._outgoing.wait_below(PENDING_MAX)
        except RemoteProtocolError as error:
            self.dismiss(Goodbye("protocol", str(error)))
        except TimeoutError:
            self.dismiss(Goodbye("protocol", f"no greeting within {GREETING_SECONDS:g} s"))
        except OSError:
            pass  # The client has gone; so have its questions.

    def _keep_room(self) -> None:
        parts = self._host.parts
        parts.hold(self, self._messages.held_bytes)
        while (greediest := parts.greediest()) is not None:
            parts.hold(greediest, 0)
            detail = f"unfinished messages of all clients take more than {parts.bytes_max} bytes"
            greediest.dismiss(Goodbye("protocol", detail))

    def _receive(self, message: ClientMessage) -> None:
        if self.admission is None:
            if not isinstance(message, Greet):
                raise RemoteProtocolError("greeting", "the first message is a Greet")
            self._greet(message)
            return
        match message:
            case Greet():
                raise RemoteProtocolError("greeting", "a connection greets once")
            case Ask(number=number, request=request):
                self._ask(number, request, self.admission)
            case Cancel(number=number):
                if (question := self._asks.pop(number, None)) is not None:
                    question.cancel()
            case Subscribe(on=on):
                self.is_listening = on
            case _:
                assert_never(message)

    def _greet(self, greet: Greet) -> None:
        reply = self._host.admit(self, greet)
        if isinstance(reply, Goodbye):
            self.dismiss(reply)
        else:
            self._put(reply)

    def _ask(self, number: int, request: Request, admission: Admission) -> None:
        if number in self._asks:
            raise RemoteProtocolError("number", f"question {number} is under way")
        if len(self._asks) >= PENDING_MAX:
            self._host.counters[OVERLOADED] += 1
            detail = f"{PENDING_MAX} questions of this client are under way"
            self._put(Answered(number, Failed("overloaded", detail)))
            return
        admitted = admission.admit(request)
        if isinstance(admitted, Refused):
            self._put(Answered(number, admitted))
            return
        if isinstance(admitted, OwnCommand):
            timeout = request.timeout if isinstance(request, Submit) else None
            question = asyncio.ensure_future(self._host.say(admitted, timeout))
        else:
            question = asyncio.ensure_future(self._host.ask(admitted))
        if isinstance(request, Submit) and isinstance(request.command, OpenSession):
            self._opening = question
        self._asks[number] = question
        is_read = not isinstance(request, Submit | SetVariables | SendMail | TakeMail)
        question.add_done_callback(lambda done: self._answer(number, done, is_read))

    # ---- what the client is told ---------------------------------------------------------------

    def _answer(self, number: int, question: asyncio.Future[Answer], is_read: bool) -> None:
        if question.cancelled():
            return
        error = question.exception()
        if self._asks.get(number) is not question:
            return
        del self._asks[number]
        if error is None:
            self._put(Answered(number, question.result()), may_refuse=is_read)
        else:
            reason = "closed" if isinstance(error, Closed) else "unknown"
            self._put(Answered(number, Failed(reason, str(error))))

    def _put(self, message: DaemonMessage, *, may_refuse: bool = False) -> None:
        """may_refuse: it answers a question that can be asked again."""
        try:
            encoded = encode(message)
        except InvalidValue as error:
            assert isinstance(message, Answered)
            encoded = encode(Answered(message.number, Refused("too_large", str(error))))
        is_large = len(encoded) > LARGE_ANSWER_BYTES
        if may_refuse and is_large and not self._make_room(len(encoded)):
            assert isinstance(message, Answered)
            self._host.counters[OVERLOADED] += 1
            detail = "answers of this daemon that nobody has read yet take all its room"
            encoded = encode(Answered(message.number, Failed("overloaded", detail)))
        self._outgoing.put_answer(encoded)
        self._host.answers.hold(self, self._outgoing.answer_bytes)

    def _make_room(self, count: int) -> bool:
        """Whether there is room for an answer of `count` bytes, when none is kept by who reads
        nothing."""
        answers = self._host.answers
        while (idle := answers.greediest(count, among=Client.is_unread)) is not None:
            agent = idle.admission.agent if idle.admission is not None else None
            seconds = f"{UNREAD_SECONDS:g}"
            _log.warning("client ended: has read nothing for %s s agent=%s", seconds, agent or "-")
            idle.hang_up()
        return answers.has_room_for(count)

    async def _write(self) -> None:
        now = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):
            while data := await self._outgoing.take():
                self._host.answers.hold(self, self._outgoing.answer_bytes)
                # In pieces: who reads one large message for long has not stopped.
                for start in range(0, len(data), WRITE_BYTES):
                    self.handed_at = now()
                    self._writer.write(data[start : start + WRITE_BYTES])
                    await self._writer.drain()
                    self.handed_at = math.inf


def _dropped(count: int) -> bytes:
    detail = "this client reads more slowly than things happen"
    return encode(Told(Dropped("daemon", SLOW_LISTENER, detail, count)))
