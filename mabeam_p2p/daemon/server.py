"""The local socket of a running peer: one client or many, each an agent of its own.

The socket's folder is this user's alone, and the kernel names the user behind each connection:
nobody else is served. What a client may ask is decided in `admission`, what waits for it is
bounded in `outgoing`, and how long it is heard in `turns`; no client can stop the others, or the
peer.

1. A name belongs to one connection at a time; a second one that greets with it is refused. It is
   free when the daemon hangs up.
2. The session of a connection that has ended is closed in the log. That is tried until the cluster
   says yes or no; then the agent can open another one. It does not go on meanwhile: nobody greets
   with it. A daemon that has restarted knows of no connection before: there, sessions go on.
3. Who comes when there are as many clients as there may be is told so. Some more may look, without
   an agent.
4. `Leave` ends the daemon, after the peer has said goodbye to its cluster.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from mabeam_p2p.api.sockets import Listener, is_own, peer_user
from mabeam_p2p.config import Limits
from mabeam_p2p.daemon.admission import Admission, OwnCommand
from mabeam_p2p.daemon.client import EVENTS_DROPPED, OVERLOADED, Client
from mabeam_p2p.daemon.descriptors import CLIENTS_SPARE, CLIENTS_TOLD, clients_max
from mabeam_p2p.daemon.room import Room
from mabeam_p2p.daemon.turns import Turns
from mabeam_p2p.errors import Closed, OutcomeUnknown
from mabeam_p2p.events import Event, MailArrived
from mabeam_p2p.ids import CLUSTER_SESSION, agent_id
from mabeam_p2p.inquiries import Figures
from mabeam_p2p.ports import Backend
from mabeam_p2p.records import Figure
from mabeam_p2p.requests import Answer, Failed, Leave, Request, StatusAnswer, Submit
from mabeam_p2p.wire.local import CLOSED, FULL, LOCAL_VERSION, Goodbye, Greet, Told, Welcome, encode

PART_BYTES_MAX = 64 * 1024 * 1024
"""Messages of all clients that are not whole yet; the largest one has 8 MB."""
ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""Large answers to all clients that wait to be written; one alone may have 128 MB."""
TURN_SECONDS = 0.01
"""How long all clients together are heard in a turn of the loop, and one reading more: an election
begins when a leader is silent for 0.4 s."""
CLOSE_RETRY_SECONDS = 1.0
"""Pause between two attempts to close a session while the cluster does not answer."""
CLOSE_TIMEOUT_SECONDS = 10.0
"""One such attempt."""
REFUSAL_SECONDS = 1.0
"""Between two lines of the log about clients that were refused."""
CLIENTS_END_SECONDS = 0.3
"""How long a daemon that ends waits until its clients have read the last word."""

CLIENTS = "daemon_clients"
"""How many connections there are, greeted or not."""
CLIENTS_REFUSED = "daemon_clients_refused"
"""Counts connections of other users, and those beyond what the daemon serves at a time."""

_log = logging.getLogger(__name__)

Say = Callable[[OwnCommand, float | None], Awaitable[Answer]]


class Server:
    """Serves the agents of this host from `start` until `close`.

    backend: the running peer. epoch: the peer's. say: commits a command of the daemon's own agent.
    on_leave: called when a client has made the peer leave.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        epoch: int,
        limits: Limits,
        own_name: str,
        say: Say,
        on_leave: Callable[[], None],
    ) -> None:
        self.limits = limits
        self.say = say
        self.parts: Room[Client] = Room(PART_BYTES_MAX)
        self.answers: Room[Client] = Room(ANSWER_BYTES_MAX)
        self.turns = Turns(TURN_SECONDS)
        self.clients_max = clients_max()
        self.counters = dict.fromkeys((EVENTS_DROPPED, OVERLOADED, CLIENTS_REFUSED), 0)
        self._backend = backend
        self._epoch = epoch
        self._own_name = own_name
        self._on_leave = on_leave
        self._clients: dict[Client, asyncio.Task[None]] = {}
        self._closings: dict[int, asyncio.Task[None]] = {}
        self._going: set[asyncio.Task[None]] = set()
        """Connections of clients that were refused."""
        self._server: asyncio.Server | None = None
        self._listener: Listener | None = None
        self._stop_listening: Callable[[], None] | None = None
        self._refusal_told_at = -math.inf

    async def start(self, listener: Listener) -> None:
        """Serve on the socket, which belongs to the server from now on."""
        self._listener = listener
        self._stop_listening = self._backend.listen(self._tell)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener)

    def stop_accepting(self) -> None:
        """Remove the socket: who comes now shall find another daemon, or none, not a dying one."""
        if self._server is not None and self._listener is not None:
            # In this order: with the socket closed the name is free, and the next one's may stand
            # there.
            self._listener.remove()
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Say goodbye to every client. Idempotent."""
        self.stop_accepting()
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        clients = list(self._clients.values())
        for client in list(self._clients):
            client.dismiss(Goodbye(CLOSED, f"peer {self._backend.peer_name} stops"))
        if clients:
            # Who does not read must not keep the daemon.
            await asyncio.wait(clients, timeout=CLIENTS_END_SECONDS)
        for client in list(self._clients):
            client.hang_up()
        for closing in self._closings.values():
            closing.cancel()
        ending = (*clients, *self._closings.values(), *self._going)
        await asyncio.gather(*ending, return_exceptions=True)

    # ---- what clients need -------------------------------------------------------------------

    def admit(self, client: Client, greet: Greet) -> Welcome | Goodbye:
        """Welcome the client, whose `admission` is set then, or say why not."""
        backend = self._backend
        if greet.version != LOCAL_VERSION:
            return Goodbye("version", f"the daemon speaks version {LOCAL_VERSION}")
        if bool(greet.name) != (greet.session != CLUSTER_SESSION):
            return Goodbye("protocol", "an agent greets with a session, and only an agent does")
        if len(self._clients) > self.clients_max + (0 if greet.name else CLIENTS_SPARE):
            self._count_refusal()
            return self._full()
        agent = agent_id(greet.name, backend.peer_name) if greet.name else None
        if agent is not None and (
            greet.name == self._own_name or any(self._holds(c, agent) for c in self._clients)
        ):
            return Goodbye(
                "name",
                f"an agent named {greet.name!r} is attached to peer {backend.peer_name} already: "
                "take another name",
            )
        if greet.session in self._closings:
            return Goodbye("name", f"the session of {agent} is being closed: try again")
        client.admission = Admission(agent, greet.session, backend.peer, self._epoch)
        return Welcome(LOCAL_VERSION, backend.peer, backend.peer_name, backend.cluster, self._epoch)

    async def ask(self, request: Request) -> Answer:
        answer = await self._backend.ask(request)
        if isinstance(request, Leave):
            # In the next turn: the answer is on its way to the client before the daemon ends.
            asyncio.get_running_loop().call_soon(self._on_leave)
        if isinstance(answer, StatusAnswer):
            return self._counted(answer)
        if isinstance(answer, Figures):
            return self._figured(answer)
        return answer

    def _counted(self, answer: StatusAnswer) -> StatusAnswer:
        status = answer.status
        counters = (CLIENTS, len(self._clients)), *sorted(self.counters.items())
        return StatusAnswer(replace(status, counters=(*status.counters, *counters)))

    def _figured(self, answer: Figures) -> Figures:
        counts = [Figure(f"{name}_total", count) for name, count in sorted(self.counters.items())]
        own = (Figure(CLIENTS, len(self._clients)), *counts)
        return replace(answer, figures=(*answer.figures, *own))

    # ---- connections -------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = peer_user(writer.get_extra_info("socket"))
        if not is_own(user):
            self._count_refusal(user)
            writer.transport.abort()
            return
        if len(self._clients) >= self.clients_max + CLIENTS_SPARE + CLIENTS_TOLD:
            self._count_refusal()
            writer.write(encode(self._full()))
            writer.close()
            going = asyncio.create_task(_gone(writer), name="refused client")
            self._going.add(going)
            going.add_done_callback(self._going.discard)
            return
        client = Client(self, reader, writer)
        self._clients[client] = asyncio.create_task(self._serve(client, writer), name="client")

    def _count_refusal(self, user: int | None = None) -> None:
        """user: not this one."""
        self.counters[CLIENTS_REFUSED] += 1
        now = asyncio.get_running_loop().time()
        if now < self._refusal_told_at + REFUSAL_SECONDS:
            return
        self._refusal_told_at = now
        why = "as many as there may be" if user is None else f"of user {user}"
        count = self.counters[CLIENTS_REFUSED]
        _log.warning("client refused: %s clients=%d refused=%d", why, len(self._clients), count)

    def _full(self) -> Goodbye:
        return Goodbye(
            FULL,
            f"the daemon of peer {self._backend.peer_name} has as many clients as it takes "
            f"({self.clients_max}): close some, then try again",
        )

    async def _serve(self, client: Client, writer: asyncio.StreamWriter) -> None:
        try:
            await client.run()
        except Exception:
            _log.exception("a client's connection broke an invariant")
        finally:
            del self._clients[client]
            # Behind: who hears this end can have the name.
            client.hang_up()
        admission = client.admission
        if admission is not None and (closing := admission.closing()) is not None:
            task = asyncio.create_task(self._close_session(client, closing), name="close session")
            self._closings[admission.session] = task
            task.add_done_callback(lambda _: self._closings.pop(admission.session, None))
        await _gone(writer)

    async def _close_session(self, client: Client, closing: Submit) -> None:
        """Close what the client left open, until the cluster says yes or no."""
        await client.opened()
        request = Submit(closing.command, CLOSE_TIMEOUT_SECONDS)
        # The peer is closed, before it was asked or while it was: others depart the agent then.
        with contextlib.suppress(Closed, OutcomeUnknown):
            while True:
                if not isinstance(await self._backend.ask(request), Failed):
                    return
                await asyncio.sleep(CLOSE_RETRY_SECONDS)

    def _tell(self, event: Event) -> None:
        listening = [
            client
            for client in self._clients
            if client.is_listening and _concerns(event, client.admission)
        ]
        if listening:
            encoded = encode(Told(event))
            for client in listening:
                client.tell(encoded)

    def _holds(self, client: Client, agent: str) -> bool:
        return client.admission is not None and client.admission.agent == agent


def _concerns(event: Event, admission: Admission | None) -> bool:
    """Whether the client may hear of the event: letters are for those alone whom they address."""
    if not isinstance(event, MailArrived):
        return True
    return admission is not None and admission.agent in event.targets


async def _gone(writer: asyncio.StreamWriter) -> None:
    """Wait until a connection that was ended is no more. Nobody needs to know why, but asyncio
    would log it if nobody asked."""
    with contextlib.suppress(OSError):
        await writer.wait_closed()
