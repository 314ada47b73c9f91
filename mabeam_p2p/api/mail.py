"""Messages between agents: sent once, held by nobody, in no log.

1. The handlers of the message's group are asked first, then those for every group; among each, the
   most specific pattern of topics speaks.
2. What a handler returns is the answer to a query. It raises, returns what cannot travel, or
   overruns the time that the sender waits: the sender is told so as data.
3. Messages are handled side by side, and may overtake each other. So many of an agent's messages
   that were not handled yet wait at its peer; more are turned away, and their senders told.
4. Nothing is handled before `begin`; where there is no handler then, SETTLING_SECONDS after it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.calls import Calls
from mabeam_p2p.api.evaluators import SETTLING_SECONDS
from mabeam_p2p.api.patterns import Patterns
from mabeam_p2p.api.results.mail import Answers, Message, Receipts
from mabeam_p2p.api.values import encoded, microseconds, shortened, text_of
from mabeam_p2p.errors import InvalidValue, MabeamError, MabeamTimeout, NobodyThere, Overloaded
from mabeam_p2p.events import Event, MailArrived
from mabeam_p2p.ids import AgentId, check_key
from mabeam_p2p.requests import MailSent, SendMail, TakeMail

MessageHandler = Callable[[Message], Any | Awaitable[Any]]
"""Gets a Message; what it returns is the answer. Any: whatever can travel."""

NO_HANDLER = "the agent has no handler for this topic"

TAKE_SECONDS = 5.0
"""How long the peer may take to hear that a message was handled."""


class Mail:
    """The messages of one agent."""

    def __init__(self, attachment: Attachment, agent: Callable[[], str]) -> None:
        self._attachment = attachment
        self._agent = agent
        self._by_group: dict[str | None, Patterns[MessageHandler]] = {}
        self._calls = Calls("message handlers")
        self._running: dict[int, asyncio.Task[None]] = {}
        self._early: list[MailArrived] = []
        """What came before the program had its agent."""
        self._settled_at: float | None = None

    # ---- sending -----------------------------------------------------------------------------

    async def whisper(self, target: str, topic: str, value: object, timeout: float | None) -> None:
        """Raises NobodyThere, Overloaded, MabeamTimeout."""
        what = f"whisper {topic!r} to {target}"
        sent = await self._send((AgentId(target),), "all", topic, value, False, timeout, what)
        peer = self._attachment.peer_name
        if sent.unreachable:
            raise NobodyThere(
                f"{what} from peer {peer}: certainly not delivered, the agent or its peer is gone; "
                "see `mabeam members`",
                reason="nobody_there",
            )
        if sent.full:
            raise Overloaded(
                f"{what}: certainly not delivered, it has not yet handled as many messages as its "
                "mailbox holds: try again later"
            )
        if sent.silent:
            raise MabeamTimeout(
                f"{what} from peer {peer}: no receipt came in time, or before it was gone; it may "
                "have been delivered, and is not sent again: see `mabeam members`"
            )

    async def shout(self, group: str, topic: str, value: object, timeout: float | None) -> Receipts:
        """Raises NobodyThere."""
        what = f"shouting {topic!r} to group {group!r}"
        return Receipts.of(await self._send((), group, topic, value, False, timeout, what))

    async def query(self, group: str, topic: str, value: object, timeout: float | None) -> Answers:
        """Raises NobodyThere."""
        what = f"asking {topic!r} of group {group!r}"
        return Answers.of(await self._send((), group, topic, value, True, timeout, what))

    async def _send(
        self,
        targets: tuple[AgentId, ...],
        group: str,
        topic: str,
        value: object,
        wants_answer: bool,
        timeout: float | None,
        what: str,
    ) -> MailSent:
        timing, limits = self._attachment.timing, self._attachment.limits
        seconds = timing.mail_seconds if timeout is None else timeout
        request = SendMail(
            AgentId(self._agent()),
            targets,
            group,
            check_key(topic, "topic"),
            encoded(value, limits),
            wants_answer,
            microseconds(seconds),
        )
        answer = await self._attachment.ask(request, seconds)
        if isinstance(answer, MailSent):
            return answer
        raise self._attachment.error(answer, what)

    # ---- receiving ---------------------------------------------------------------------------

    def declare(self, pattern: str, group: str | None, handler: MessageHandler) -> None:
        """`group` None: for messages of every group."""
        self._by_group.setdefault(group, Patterns()).declare(pattern, handler)

    def concerns(self, event: Event) -> bool:
        """Whether this agent may hear of the event: its peer may host others."""
        return not isinstance(event, MailArrived) or self._agent() in event.targets

    def begin(self) -> None:
        """The program has its agent."""
        self._settled_at = asyncio.get_running_loop().time() + SETTLING_SECONDS
        for event in self._early:
            self.arrived(event)
        self._early.clear()

    def arrived(self, event: MailArrived) -> None:
        if not self.concerns(event):
            return
        if self._settled_at is None:
            self._early.append(event)
            return
        task = asyncio.create_task(self._handle(event), name=f"message {event.topic}")
        self._running[event.letter] = task
        task.add_done_callback(lambda _: self._running.pop(event.letter, None))

    async def close(self) -> None:
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle(self, event: MailArrived) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + event.timeout / 1_000_000
        assert self._settled_at is not None, "nothing is handled before begin"
        handler = self._find(event)
        if handler is None:
            await asyncio.sleep(min(self._settled_at, ends) - loop.time())
            handler = self._find(event)
        value, error = b"", NO_HANDLER
        if handler is not None:
            value, error = await self._call(handler, event, ends - loop.time())
        if not event.wants_answer:
            value, error = b"", ""
        taken = TakeMail(AgentId(self._agent()), event.letter, value, error)
        # Its time may be up, and its peer gone: nobody waits for it then.
        with contextlib.suppress(MabeamError):
            await self._attachment.ask(taken, TAKE_SECONDS)

    def _find(self, event: MailArrived) -> MessageHandler | None:
        for group in (event.group, None):
            patterns = self._by_group.get(group)
            if patterns is not None and (found := patterns.find(event.topic)) is not None:
                return found
        return None

    async def _call(
        self, handler: MessageHandler, event: MailArrived, allowed: float
    ) -> tuple[bytes, str]:
        """The answer, or why there is none."""
        limits = self._attachment.limits
        try:
            async with asyncio.timeout(allowed) as scope:
                value = await self._calls.call(partial(handler, Message.of(event)))
        except Exception as error:
            if isinstance(error, TimeoutError) and scope.expired():
                return b"", f"the handler took longer than {allowed:.3g} s"
            told = f"the handler raised {type(error).__name__}: {text_of(error)}"
            return b"", shortened(told, limits)
        try:
            return encoded(value, limits), ""
        except InvalidValue as error:
            return b"", shortened(f"the handler's answer cannot travel: {error}", limits)
