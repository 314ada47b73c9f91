"""Ports: what the shell needs from the world, as protocols that adapters satisfy."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from mabeam_p2p.commands import CommandCodec
from mabeam_p2p.events import Event
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Frame, JoinMessage
from mabeam_p2p.records import DiskUsage, Record, Recovered
from mabeam_p2p.requests import Answer, Request


class Codec(CommandCodec, Protocol):
    """Frames and commands to bytes and back. Decoding is total: a value or RemoteProtocolError."""

    def encode_frame(self, frame: Frame) -> bytes: ...

    def fits(self, data: bytes) -> bool:
        """Whether a peer of the same limits reads an encoded frame, as far as its size goes."""
        ...

    def decode_frame(self, data: bytes) -> Frame:
        """Raises RemoteProtocolError; never anything else, whatever the bytes."""
        ...


class Storage(Protocol):
    """One data folder. Used from one thread at a time."""

    path: str

    def recover(self) -> Recovered:
        """Called once, before any write. Raises StorageError."""
        ...

    def write(self, records: Sequence[Record]) -> None:
        """Apply in order, atomically; durable on return. After StorageError nothing may be
        written again: what is durable is unknown until the folder is opened anew."""
        ...

    def usage(self) -> DiskUsage | None:
        """How full it is, as of one of the last writes; None: nothing limits it."""
        ...

    def close(self) -> None: ...


class Transport(Protocol):
    """Links to peers. All methods are called from the loop's thread."""

    address: str
    """Where others reach this peer: HOST:PORT with the real port."""

    @property
    def speaker(self) -> PeerId | None:
        """While `receive` runs: whose key the message came under; None: there are no keys."""
        ...

    @property
    def counters(self) -> Mapping[str, int]:
        """What has happened so far, by name."""
        ...

    def start(
        self,
        receive: Callable[[bytes], None],
        fail: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Begin to deliver; `receive` gets each message of the wire, whatever it holds. `fail` is
        told once if the transport has closed itself, as nobody guards it any more."""
        ...

    def locate(self) -> str:
        """Look again where others reach this peer, as the addresses of a machine may change. The
        new `address`, or the same one."""
        ...

    def blame(self) -> None:
        """While `receive` runs: what it was given made no sense."""
        ...

    def connect(self, target: str, address: str) -> None:
        """Open a link, in place of any older one to `target`; nothing of the old one is sent."""
        ...

    def disconnect(self, target: str) -> None: ...

    def send(self, target: str, data: bytes) -> bool:
        """Whether the frame was taken. False, and nothing is queued, if the link is down or full.
        A link that opens for the first time may keep a few frames, for a second at most."""
        ...

    def close(self) -> None: ...


class JoinCodec(Protocol):
    """The words of introductions to bytes and back."""

    def encode(self, message: JoinMessage) -> bytes: ...

    def decode(self, data: bytes) -> JoinMessage:
        """Raises RemoteProtocolError; never anything else, whatever the bytes."""
        ...


class KeyPair(Protocol):
    """A CURVE key pair; 32 bytes each."""

    @property
    def public(self) -> bytes: ...

    def reveal(self) -> bytes:
        """The secret half."""
        ...


class Visit(Protocol):
    """One attempt to be introduced to whoever is at an address."""

    @property
    def first(self) -> bytes:
        """What to say first."""
        ...

    def receive(self, data: bytes) -> bytes | None:
        """What to say next, if anything. Never raises."""
        ...

    @property
    def has_ended(self) -> bool: ...

    @property
    def found(self) -> tuple[bytes, int] | None:
        """Key and port of the data socket of a peer that has proved itself, once it has."""
        ...

    @property
    def refusal(self) -> str:
        """Why there will be none, as a stable word; empty as long as there may be."""
        ...


class Gatekeeper(Protocol):
    """Whose keys are whose, and how they are proved. Used from the loop's thread alone."""

    @property
    def version(self) -> int:
        """Grows when somebody who might speak may do so no more."""
        ...

    @property
    def pair(self) -> KeyPair:
        """This peer's."""
        ...

    @property
    def lacks_secret(self) -> bool:
        """Whether the cluster has agreed on a join secret that this peer was not told yet."""
        ...

    def gate_pair(self) -> KeyPair:
        """Of the join ports of this peer's cluster."""
        ...

    def speaker(self, key: bytes) -> PeerId | None:
        """Whose key it is; None: nobody's who may speak."""
        ...

    def is_revoked(self, key: bytes) -> bool: ...

    def answer(self, connection: bytes, key: bytes, data: bytes, port: int, now: float) -> bytes:
        """To what came over a connection of the join port, whose other end has this key. port: of
        the data socket. Never raises, whatever the bytes."""
        ...

    def visits(self, pair: KeyPair | None = None) -> tuple[Visit, ...]:
        """Attempts at an introduction, the best first: one for each secret to prove. pair: one to
        come, which is only asked about; None: the present one, which this peer speaks under."""
        ...


class Announcements(Protocol):
    """What a peer with keys says of itself on the local network, and whom it believes there."""

    @property
    def instance(self) -> str:
        """Names the announcement: sixteen hexadecimal digits, which say nothing of the peer."""
        ...

    def facts(self, host: str, port: int) -> dict[str, str]:
        """What to publish for this address; empty: nothing yet."""
        ...

    def is_genuine(self, facts: Mapping[bytes, bytes | None], host: str, port: int) -> bool:
        """Whether a peer of this cluster has published these for that address. Never raises."""
        ...


class BulkTransport(Protocol):
    """Links between processes for much data. Made, used and closed on one thread, but for `wake`.

    Messages may be lost when a connection breaks; they are neither doubled nor garbled by it.
    """

    address: str
    """Where others reach this process: HOST:PORT with the real port."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What has happened so far, by name."""
        ...

    def send(self, address: str, header: bytes, payload: memoryview) -> bool:
        """Whether the message was taken; else its link is down, or has enough. The payload is not
        copied: it must not change until it has left. The first message to an address opens the
        link; a link that is not used for long closes."""
        ...

    def receive(self) -> tuple[bytes, memoryview] | None:
        """The next message, as header and payload. None: there is none now."""
        ...

    def wait(self, seconds: float | None, blocked: Iterable[str]) -> None:
        """Return when a message may be here, when a link to one of `blocked` takes more, after
        `wake`, or after so many seconds; also without a cause."""
        ...

    def wake(self) -> None:
        """End the present or the next `wait`. Callable from every thread, also after `close`."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class Discovery(Protocol):
    """A source of addresses where peers might be. Hints only, and never a sign of life."""

    async def start(self, suggest: Callable[[tuple[str, ...]], None]) -> None:
        """Begin to look, and to announce; `suggest` gets addresses as HOST:PORT."""
        ...

    def moved(self, address: str) -> None:
        """This peer is reached at another address from now on."""
        ...

    async def close(self) -> None: ...


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds; never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, read once at the start: for display and hybrid clocks."""
        ...


class Backend(Protocol):
    """A peer as its agents see it, near (a thread of this process) or far (a daemon's socket).

    All methods are called from the application's event loop, and answers and events arrive there.
    """

    peer: PeerId
    peer_name: str
    cluster: str

    def ask(self, request: Request) -> Awaitable[Answer]:
        """Send at once; await the answer. Cancelling it cancels the request. When the peer goes
        away meanwhile, a near one raises OutcomeUnknown for what it had that has effects
        (requests.EFFECTS), else Closed; a far one DaemonNotRunning."""
        ...

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on, in order; the result ends that. A listener
        must return soon and must not raise."""
        ...

    async def close(self) -> None:
        """Idempotent. A near peer leaves its cluster gracefully."""
        ...
