"""Daemons of one cluster as processes, each at an address and on a folder that outlive it."""

import signal

from tests.cli.daemons import AS_A_PROGRAM, Daemon, House
from tools.children import free_ports


class Fleet:
    """Daemons of these names; `start` what shall run."""

    def __init__(self, place: House, *names: str) -> None:
        self.names = names
        self._place = place
        self._addresses = [f"127.0.0.1:{port}" for port in free_ports(len(names))]
        self._running: dict[str, Daemon] = {}

    def address(self, name: str) -> str:
        return self._addresses[self.names.index(name)]

    def start(self, *names: str) -> None:
        """Return once each of these is ready."""
        self.begin(*names)
        for name in names:
            told = [self._running[name].line()["event"] for _ in range(2)]
            assert told == ["listening", "ready"]

    def begin(self, *names: str) -> None:
        """Start these and wait for nothing."""
        seeds = [word for address in self._addresses for word in ("--seed", address)]
        for name in names:
            flags = ("--expect", str(len(self.names)), "--listen", self.address(name), *seeds)
            self._running[name] = self._place.start(*flags, name=name, under=AS_A_PROGRAM)

    def signal(self, name: str, number: signal.Signals) -> None:
        self._running[name].signal(number)

    def stop(self, name: str) -> int:
        """Have it leave; its exit code."""
        self._running[name].signal(signal.SIGTERM)
        return self._running.pop(name).wait()

    def refused(self, name: str) -> tuple[int, str]:
        """Start one that is to end by itself: its exit code, and what it said."""
        self.begin(name)
        daemon = self._running.pop(name)
        return daemon.wait(), daemon.said()

    def kill(self, *names: str) -> None:
        """With nothing between the first and the last but the system calls."""
        for name in names:
            self._running[name].signal(signal.SIGKILL)
        for name in names:
            self._running.pop(name).wait()
