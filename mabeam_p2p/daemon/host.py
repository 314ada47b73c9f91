"""A peer as a process: the shell in the main loop, the local socket, the daemon's own agent.

1. The socket is bound first: of two daemons with one name the second says so, and touches nothing.
2. The daemon's own agent has the peer's name. It votes only when somebody at this host says what
   (`mabeam vote`); until then its vote is outstanding.
3. Ready means: the peer follows the log, has been given all variables, and its agent has joined.
4. A peer that its cluster refuses for good stops, and says why.
5. At the end the cluster is told first, then the clients.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from types import TracebackType

from mabeam_p2p import assembly
from mabeam_p2p.api import sockets
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.fitness import ScoreWatch, ready
from mabeam_p2p.api.joining import joined
from mabeam_p2p.api.keys import invited
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.sockets import Listener
from mabeam_p2p.config import Config
from mabeam_p2p.daemon.admission import OwnCommand
from mabeam_p2p.daemon.server import Server
from mabeam_p2p.errors import Closed, MabeamError, Overloaded, Rejected
from mabeam_p2p.events import Event, Ready
from mabeam_p2p.ids import PeerId
from mabeam_p2p.key_requests import INVITE_SECONDS
from mabeam_p2p.requests import Answer, Failed, Request

_log = logging.getLogger(__name__)


class Host:
    """A daemon: enter it to start. Raises ConfigError, NameTaken, StorageError, AddressError."""

    def __init__(self, config: Config, listeners: Sequence[Callable[[Event], None]] = ()) -> None:
        """listeners: told every event, from the first one on."""
        self.config = config
        self._listeners = listeners
        self.peer = PeerId("")
        self.address = ""
        """Where other peers reach this one."""
        self.socket_path = ""
        self.expect = config.expect
        """Peers that must see each other before a new cluster forms: as of `assembly.build`."""
        self._own: Agent | None = None
        """The daemon's own agent, once it has joined."""
        self._follows = asyncio.Event()
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Host":
        config = self.config
        listener = sockets.listen(config.cluster, config.name)
        self.socket_path = str(listener.path)
        try:
            self._driver = assembly.build(config)
            await self._driver.start()
        except BaseException:
            listener.remove()
            listener.close()
            raise
        try:
            await self._begin(listener)
        except BaseException as error:
            listener.remove()
            listener.close()
            await self._driver.close()
            cause = self._cause_of(error) if isinstance(error, MabeamError) else error
            if cause is not error:
                raise cause from error
            raise
        return self

    async def _begin(self, listener: Listener) -> None:
        """Serve on the socket, once the peer runs."""
        config = self.config
        self.peer, self.address = self._driver.peer, self._driver.address
        backend = assembly.loop_backend(self._driver)
        for on_event in (self._on_event, *self._listeners):
            backend.listen(on_event)
        self._attachment = Attachment(backend, limits=config.limits, timing=config.timing)
        score = ready(config.score_by, self._attachment)
        self._score_watch = None if score is None else ScoreWatch(self._attachment, score)
        status = await self._attachment.status()
        self.expect = status.expect
        self._server = Server(
            backend,
            epoch=status.epoch,
            limits=config.limits,
            own_name=config.name,
            say=self._say,
            on_leave=self.stop,
        )
        await self._server.start(listener)
        if self._score_watch is not None:
            self._score_watch.begin()
        self._tasks = [
            asyncio.create_task(self._join(), name="own agent"),
            asyncio.create_task(self._watch(), name="watch driver"),
        ]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop_accepting()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._score_watch is not None:
            await self._score_watch.close()
        await self._driver.close()
        await self._server.close()

    async def invite(self) -> str:
        """A join code, that of the start before if half of its time is left; empty if this peer can
        let nobody in, as it has stopped perhaps: `stopped` says why. Empty also where as many codes
        are out as it keeps: none of those gives way to one that nobody has asked for."""
        try:
            return await invited(self._attachment, INVITE_SECONDS, False, again=True)
        except (Rejected, Closed):
            return ""
        except Overloaded as error:
            _log.warning("no join code was made at this start: %s", error)
            return ""

    def stop(self) -> None:
        """Let `stopped` return. Idempotent."""
        if not self._end.done():
            self._end.set_result(None)

    def parts(self) -> dict[str, object]:
        """What this daemon is made of, for a dump: read it, and change nothing."""
        return {"config": self.config, "driver": self._driver, "server": self._server}

    async def ask(self, request: Request) -> Answer:
        """As a client of the local socket without a name."""
        return await self._server.ask(request)

    @property
    def attachment(self) -> Attachment:
        """For what looks at the peer from within its process."""
        return self._attachment

    async def ready(self) -> bool:
        """Wait until the peer can serve. False: it is to stop before that."""
        joining = self._tasks[0]
        await asyncio.wait((joining, self._end), return_when=asyncio.FIRST_COMPLETED)
        return not self._end.done()

    async def stopped(self) -> None:
        """Wait until the daemon is to end. Raises PeerRefused, and what broke the peer."""
        await self._end

    async def _join(self) -> None:
        config = self.config
        profile = Profile(
            config.name,
            participates=config.participates_in_consensus,
            eligible=config.eligible,
            # It has no program of its own that would do anything with a seat.
            yields=True,
        )
        try:
            self._own = await joined(self._attachment, profile, timeout=None, vote_manually=True)
            await self._follows.wait()
        except Exception as error:
            self._fail(error)

    async def _watch(self) -> None:
        try:
            await self._driver.wait_stopped()
        except Exception as error:
            self._fail(error)
        else:
            self.stop()

    async def _say(self, command: OwnCommand, seconds: float | None) -> Answer:
        if self._own is None:
            return Failed("no_quorum", f"peer {self.config.name} has not joined its cluster yet")
        timing = self.config.timing
        return await self._own.session.ask(
            command, timing.request_timeout_seconds if seconds is None else seconds
        )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Ready):
            self._follows.set()

    def _fail(self, error: Exception) -> None:
        if not self._end.done():
            self._end.set_exception(self._cause_of(error))

    def _cause_of(self, error: Exception) -> Exception:
        """What stopped the peer says more than what that has done to a question, or to our own
        agent."""
        failure = self._driver.failure
        return failure if isinstance(failure, Exception) else error
