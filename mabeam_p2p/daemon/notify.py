"""What a daemon tells the service manager that has started it: sd_notify(3), in a datagram of
`NAME=value` lines to the socket that $NOTIFY_SOCKET names.

Rules
1. READY=1 is said once, when the peer can serve; STOPPING=1 once, when it has begun to leave.
2. Pings (WATCHDOG=1) come from the event loop itself, two in the time that the manager allows. A
   loop that is stuck sends none, and the manager ends the process and starts another.
3. Until READY=1 the same beat asks for more time to start: a peer that waits for its cluster is not
   late, however long that takes; one whose loop is stuck is.
4. Nothing of this can harm the daemon. Where no manager listens nothing is sent, and what cannot be
   sent is dropped.
5. The variables are taken out of the environment: a child must not speak in the daemon's name.
"""

import asyncio
import faulthandler
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from mabeam_p2p.events import Event, LeaderChanged, QuorumChanged

BEAT_SECONDS = 5.0
"""Between two beats where the manager has no watchdog."""
START_MORE_SECONDS = 30.0
"""What a beat asks for before the peer is ready: several beats, for one may be late."""

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class ServiceManager:
    """The other end of $NOTIFY_SOCKET, or nobody. `begin` needs a running loop."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.pop(_SOCKET, "")
        watchdog = environment.pop(_WATCHDOG, "")
        watched = environment.pop(_WATCHDOG_PID, str(os.getpid()))
        # A name that begins with @ is in the abstract namespace of Linux: unix(7).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_ready = False
        self._is_stopping = False
        self.watchdog_seconds = 0.0
        """Without a ping for so long the manager ends this process; 0: it does not watch."""
        if watchdog.isdecimal() and watched == str(os.getpid()):
            self.watchdog_seconds = int(watchdog) / 1_000_000
        self.beat_seconds = self.watchdog_seconds / 2 or BEAT_SECONDS

    @property
    def is_listening(self) -> bool:
        """Whether a manager wants to be told."""
        return bool(self._address)

    def begin(self) -> None:
        """Beat from now on until `close`."""
        if not self.is_listening:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        if self.watchdog_seconds:
            # The manager's SIGABRT then leaves in the journal where each thread stood.
            with suppress(OSError, RuntimeError):
                faulthandler.enable()
        self._beat()

    def close(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def status(self, text: str) -> None:
        """A line for people: what `systemctl status` shows."""
        self._send("STATUS", text.replace("\n", " "))

    def ready(self) -> None:
        if not self._is_ready and not self._is_stopping:
            self._is_ready = True
            self._send("READY", "1")

    def stopping(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._send("STOPPING", "1")

    def on_event(self, event: Event) -> None:
        """Keep the line for people true."""
        if self._is_stopping:
            return
        match event:
            case LeaderChanged(leader=leader, leader_name=name, term=term):
                led = f"{name or leader} leads in term {term}" if leader else "nobody leads"
                self.status(led)
            case QuorumChanged(quorum=False):
                self.status("no quorum: a majority of the voters does not answer")
            case _:
                pass

    def _beat(self) -> None:
        if self.watchdog_seconds:
            self._send("WATCHDOG", "1")
        if not self._is_ready and not self._is_stopping:
            self._send("EXTEND_TIMEOUT_USEC", str(int(START_MORE_SECONDS * 1_000_000)))
        self._timer = asyncio.get_running_loop().call_later(self.beat_seconds, self._beat)

    def _send(self, name: str, value: str) -> None:
        if self._socket is None:
            return
        with suppress(OSError):
            self._socket.sendto(f"{name}={value}".encode(errors="replace"), self._address)
