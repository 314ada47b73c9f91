"""Links over ZeroMQ. One ROUTER is bound and only receives; one DEALER per target only sends.

One-way sockets cannot lose a wake-up: a ZeroMQ descriptor is edge-triggered, and on a socket that
does both, a send may eat the edge of an arrival.

Rules
1. What comes is delivered in turns, in which no peer takes the time of others (`reception`).
2. Nobody sets a ROUTING_ID: a fixed one can be stolen, and black-holes whoever reconnects early.
   Who speaks is known from the key of the connection, or, without keys, from the frame.
3. A link queues nothing for a peer that is down. Only while it opens, for the first time or where
   an introduction has led it anew, does it keep a few young messages, so that a greeting is not
   lost to the handshake.
4. Only IP addresses are dialled: a name that came from the network is never looked up.
5. Without keys nothing leaves the loopback interface, unless `insecure` was asked for. A peer that
   listens on loopback dials loopback only: from elsewhere nobody could answer.
6. With keys the address of a peer is that of its join port. A link begins with an introduction
   there, which tells where the data socket is and which key has to answer; a link that has gone
   down asks again. Every message is delivered only if the key of its connection may speak at that
   moment: one that was revoked is cut off although its connection lives.
7. When nobody guards the data socket any more, it is closed, and the links with it.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import zmq

from mabeam_p2p.addresses import (
    is_literal,
    is_loopback,
    join_address,
    split_address,
)
from mabeam_p2p.errors import AddressError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.ports import Gatekeeper, KeyPair
from mabeam_p2p.transport.callers import Callers
from mabeam_p2p.transport.curve import (
    Verdict,
    ZapHandler,
    answer_under,
    as_client,
    as_server,
)
from mabeam_p2p.transport.hosts import bind_error, listen_host, reachable_host
from mabeam_p2p.transport.introductions import TOLD, JoinPort
from mabeam_p2p.transport.link import Link
from mabeam_p2p.transport.options import (
    RECEIVED_MAX,
    context_options,
    dealer_options,
    router_options,
)
from mabeam_p2p.transport.reception import Reception
from mabeam_p2p.transport.rehearsal import Rehearsal

_log = logging.getLogger(__name__)

REFUSALS_TOLD_MAX = 64
FAREWELL_MILLISECONDS = 200
"""How long closing lets the last messages of a live link leave."""

_INSECURE_WARNING = (
    "INSECURE: %s is open to the network, and this peer has no keys. Anyone who can reach this "
    "port can read what agents agree on, vote in their name, and take the cluster over. "
    "Use it only on a network where you trust every machine and every user."
)
_MOVED_WARNING = (
    "listening at %s: port %d, where others have known this peer, cannot be had (%s). Those that "
    "are started anew, too, find it by multicast or seeds alone. A port that --listen names does "
    "not change"
)

DOMAIN = b"mabeam"
PLACES_MAX = 8_192
"""Addresses of which the last introduction is remembered."""
INTRODUCE_AGAIN_SECONDS = 1.0
"""A link that does not take messages asks so often where its target is."""
PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 2.0
"""Between an introduction that failed and the next; doubles from the first to the second."""


class ZeroMqTransport:
    """The Transport of `ports` over TCP. Binds when it is made."""

    address: str
    port: int
    """That of the address."""

    def __init__(
        self,
        listen: str,
        *,
        preferred_port: int = 0,
        frame_bytes_max: int,
        insecure: bool = False,
        keys: Gatekeeper | None = None,
    ) -> None:
        """listen: HOST:PORT, with port 0 the preferred one if that can be had, else a free one, as
        with 0 for both. keys: None speaks without. Raises AddressError."""
        host, port = listen_host(listen, insecure or keys is not None)
        self.counters = dict.fromkeys(
            (
                "received", "multipart", "muted", "overrun", "sent", "refused_link_down",
                "refused_too_large", "refused_address", "refused_key", "expired", "unguarded",
                "callers_cut",
            ),
            0,
        )  # fmt: skip
        self._frame_bytes_max = frame_bytes_max
        self._may_listen_anywhere = insecure or keys is not None
        self._may_leave_host = self._may_listen_anywhere and not is_loopback(host)
        self._keys = keys
        self.on_refusal: Callable[[str, str], None] = lambda address, reason: None
        """Told the address and the word if a peer does not let this one in."""
        self._links: dict[str, Link] = {}
        self._places: dict[str, tuple[bytes, str]] = {}
        """By address: key and data address, as of the last introduction there."""
        self._refused: dict[str, None] = {}
        """Addresses whose refusal the log has told."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fail: Callable[[BaseException], None] | None = None
        self._former_endpoint = ""
        """Where the data socket answers under the key before; empty: nowhere."""
        self._is_closed = False
        self._context = _new_context()
        # Before anything is bound: without it libzmq would have nobody to ask.
        self._zap = None if keys is None else ZapHandler(self._context, DOMAIN)
        self._join: JoinPort | None = None
        self._callers: Callers | None = None
        self._rehearsal: Rehearsal | None = None
        self._router = self._context.socket(zmq.ROUTER)
        self._reception = Reception(self._router, keys, self.counters)
        try:
            self.port = self._bind(host, port, preferred_port)
        except zmq.ZMQError as error:
            self.close()
            raise bind_error(listen, error) from error
        self._callers = Callers(
            self._router,
            self._bound_port(),
            RECEIVED_MAX * frame_bytes_max,
            on_cut=self._count_cut,
        )
        self._host = host
        self.address = join_address(reachable_host(host), self.port)
        if keys is None and not is_loopback(host):
            _log.warning(_INSECURE_WARNING, join_address(host, self.port))

    def _bind(self, host: str, port: int, preferred_port: int) -> int:
        """The port that others are told: without keys that of the data, else the join port."""
        for option in router_options(self._frame_bytes_max):
            self._router.setsockopt(option.name, option.value)
        if self._keys is not None:
            as_server(self._router, self._keys.pair, DOMAIN)
        try:
            told = self._bind_told(host, port or preferred_port)
        except zmq.ZMQError as error:
            if port or not preferred_port:
                raise
            told = self._bind_told(host, 0)
            _log.warning(_MOVED_WARNING, join_address(host, told), preferred_port, error.strerror)
        if self._keys is not None:
            self._bind_data(host, told)
        return told

    def _bind_told(self, host: str, port: int) -> int:
        if self._keys is None:
            self._router.bind(f"tcp://{join_address(host, port)}")
            return self._bound_port()
        self._join = JoinPort(host, port, self._keys, self._count_cut)
        return self._join.port

    def _bind_data(self, host: str, join_port: int) -> None:
        """At one of the next two above the join port, so that a firewall can be told of them: the
        other one may be that of the former key. Where neither can be had, at any."""
        for data_port in range(join_port + 1, min(join_port + 3, 65_536)):
            with suppress(zmq.ZMQError):
                self._router.bind(f"tcp://{join_address(host, data_port)}")
                return
        self._router.bind(f"tcp://{join_address(host, 0)}")
        _log.warning(
            "the data port is %d: neither of the two behind %s can be had; a firewall that lets "
            "those in stops it", self._bound_port(), join_address(host, join_port),
        )  # fmt: skip

    def _count_cut(self) -> None:
        self.counters["callers_cut"] += 1

    def _bound_port(self) -> int:
        endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://")
        return split_address(endpoint)[1]

    @property
    def speaker(self) -> PeerId | None:
        return self._reception.speaker

    def start(
        self,
        receive: Callable[[bytes], None],
        fail: Callable[[BaseException], None] | None = None,
    ) -> None:
        assert self._loop is None, "started twice"
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        if self._zap is not None and self._join is not None:
            self._zap.start(self._decide, self._lose_guard)
            self._join.start(self._bound_port(), self._lose_guard)
        assert self._callers is not None, "closed before it was started"
        self._callers.start()
        self._reception.start(receive, self._callers)

    def locate(self) -> str:
        found = reachable_host(self._host)
        # Without a way to the network nobody reaches it anywhere; it may soon be where it was.
        if not is_loopback(found) or is_loopback(self._host):
            self.address = join_address(found, self.port)
        return self.address

    def connect(self, target: str, address: str) -> None:
        assert self._loop is not None, "links are opened after start"
        self._drop_link(target, linger=0)
        refusal = self._why_not_dial(address)
        if refusal:
            self._refuse(address, refusal)
            return
        link = Link(address, self._loop, self.counters)
        if self._keys is None:
            if self._dial(link, None, address):
                self._links[target] = link
            return
        self._links[target] = link
        place = self._places.get(address)
        if place is not None and self._keys.speaker(place[0]) is not None:
            self._dial(link, *place)
        self._introduce(target, link)

    def _dial(self, link: Link, key: bytes | None, where: str) -> bool:
        """Whether there was a descriptor for it. key: that has to answer there; None: none has."""
        try:
            dealer = self._context.socket(zmq.DEALER)
        except zmq.ZMQError as error:  # No descriptors left: this link is down, others work.
            self._refuse(link.address, str(error))
            return False
        for option in dealer_options(self._frame_bytes_max):
            dealer.setsockopt(option.name, option.value)
        if key is not None:
            assert self._keys is not None
            as_client(dealer, self._keys.pair, key)
            link.place = key, where
        dealer.connect(f"tcp://{where}")
        link.dial(dealer, FAREWELL_MILLISECONDS)
        return True

    def disconnect(self, target: str) -> None:
        self._drop_link(target, linger=FAREWELL_MILLISECONDS)

    def send(self, target: str, data: bytes) -> bool:
        if len(data) > self._frame_bytes_max:
            # The receiver would cut the connection, and lose the next message too.
            self.counters["refused_too_large"] += 1
            return False
        link = self._links.get(target)
        is_taken = link is not None and link.send(data)
        if link is not None and self._keys is not None and not (is_taken and link.is_open):
            self._introduce_again(target, link)
        self.counters["sent" if is_taken else "refused_link_down"] += 1
        return is_taken

    def blame(self) -> None:
        self._reception.blame()

    def close(self) -> None:
        """Idempotent. Takes FAREWELL_MILLISECONDS at most."""
        if self._is_closed:
            return
        self._is_closed = True
        self._reception.close()
        self._end_rehearsal()
        if self._join is not None:
            self._join.close()
        for target in tuple(self._links):
            self.disconnect(target)
        if self._zap is not None:
            self._zap.close()
        if self._callers is not None:
            self._callers.close()
        self._router.close(linger=0)
        self._context.term()

    # ---- who is where --------------------------------------------------------------------------

    def _introduce(self, target: str, link: Link) -> None:
        assert self._join is not None

        def ended(found: tuple[bytes, int] | None, refusal: str) -> None:
            if self._links.get(target) is link:
                self._introduced(target, link, found, refusal)

        link.asks(self._join.visit(link.address, ended))

    def _introduce_again(self, target: str, link: Link) -> None:
        """It is down, or does not open: its target may be elsewhere, or have forgotten us."""
        assert self._loop is not None
        since = self._loop.time() - link.introduced_at
        if not link.is_asking and since >= INTRODUCE_AGAIN_SECONDS:
            self._introduce(target, link)

    def _introduced(
        self, target: str, link: Link, found: tuple[bytes, int] | None, refusal: str
    ) -> None:
        if found is None:
            self._ask_later(target, link)
            self.on_refusal(link.address, refusal)
            if refusal in TOLD:
                self._refuse(link.address, f"the peer there does not let this one in ({refusal})")
            return
        link.asked()
        key, port = found
        place = key, join_address(split_address(link.address)[0], port)
        self._places.pop(link.address, None)
        self._places[link.address] = place
        if len(self._places) > PLACES_MAX:
            del self._places[next(iter(self._places))]
        assert self._keys is not None, "an introduction is one of keys"
        is_open = link.place == place or self._dial(link, *place)
        if is_open and not self._keys.lacks_secret:
            link.pause = 0.0
        else:
            # Nothing else would ask again: whoever is there may have the new secret a moment later.
            self._ask_later(target, link)

    def _ask_later(self, target: str, link: Link) -> None:
        assert self._loop is not None
        link.pause = min(max(2 * link.pause, PAUSE_SECONDS), PAUSE_SECONDS_MAX)
        link.asked(self._loop.call_later(link.pause, self._introduce, target, link))

    def refresh(self) -> None:
        """Ask every target anew where it is, and under which key. Who may not speak any more is
        spoken to no more, either."""
        assert self._keys is not None, "asked by who keeps the keys"
        for target, link in tuple(self._links.items()):
            if link.place is not None and self._keys.speaker(link.place[0]) is None:
                link.hang_up()
            if not link.is_asking:
                self._introduce(target, link)

    def rehearse(self, pair: KeyPair, heard: Callable[[bytes], None]) -> None:
        """Until `rekey`, ask every target whether it lets this peer in under `pair`, too. heard:
        told the key of each that does."""
        if self._join is not None:
            self._end_rehearsal()
            self._rehearsal = Rehearsal(
                self._join,
                lambda: tuple(link.address for link in self._links.values()),
                pair,
                heard,
            )

    def _end_rehearsal(self) -> None:
        if self._rehearsal is not None:
            self._rehearsal.end()
            self._rehearsal = None

    def rekey(self) -> None:
        """Speak and listen under this peer's present key, too: a second port for that key, and
        links anew. Whoever knows the former one alone is still heard, at the former port."""
        self._end_rehearsal()
        if self._keys is None or self._join is None or self._former_endpoint:
            return
        self._former_endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        host = split_address(self._former_endpoint.removeprefix("tcp://"))[0]
        answer_under(self._router, self._keys.pair)
        self._bind_data(host, self.port)
        self._join.moved(self._bound_port())
        if self._callers is not None:
            self._callers.also_at(self._bound_port())
        for link in self._links.values():
            if link.place is not None:
                self._dial(link, *link.place)

    def retire(self) -> None:
        """Listen under the present key alone: connections to the former port end."""
        if self._former_endpoint:
            self._router.unbind(self._former_endpoint)
            self._former_endpoint = ""

    # ---- who speaks ----------------------------------------------------------------------------

    def _decide(self, address: str, key: bytes) -> Verdict:
        assert self._keys is not None
        if self._keys.is_revoked(key):
            return Verdict.REFUSE
        return Verdict.AGAIN if self._keys.speaker(key) is None else Verdict.ADMIT

    def _lose_guard(self, error: BaseException) -> None:
        """Nobody says any more who may come in: nobody may, and nothing is sent."""
        if self._is_closed:
            return
        self.counters["unguarded"] += 1
        _log.critical("the handler that checks keys has ended (%s): all sockets are closed", error)
        self.close()
        if self._fail is not None:
            failure = RuntimeError(f"nobody checks the keys of other peers: {error}")
            failure.__cause__ = error
            self._fail(failure)

    # ---- what is dialled -----------------------------------------------------------------------

    def _why_not_dial(self, address: str) -> str:
        """Empty if `address` may be dialled."""
        try:
            host, port = split_address(address)
        except AddressError as error:
            return str(error)
        if port == 0 or not is_literal(host):
            return "only IP addresses with a port are dialled"
        if self._may_leave_host or is_loopback(host):
            return ""
        if self._may_listen_anywhere:
            return "this peer listens on loopback, where nobody there could answer; see --listen"
        return "without keys a peer speaks to this machine only"

    def _refuse(self, address: str, why: str) -> None:
        self.counters["refused_address"] += 1
        # Told once for each: the core dials again and again, and others choose the addresses.
        if address not in self._refused and len(self._refused) < REFUSALS_TOLD_MAX:
            self._refused[address] = None
            _log.warning("will not dial %s: %s", address, why)

    def _drop_link(self, target: str, linger: int) -> None:
        link = self._links.pop(target, None)
        if link is not None:
            link.close(linger)


def _new_context() -> "zmq.Context[zmq.Socket[bytes]]":
    context = zmq.Context()
    for option in context_options():
        context.set(option.name, option.value)
    return context
