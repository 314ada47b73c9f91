"""Real hosts on one machine: each is a network namespace with a card of its own, on one network.

Nothing outside of these namespaces is touched. Whatever runs on a host ends with the process that
made the network, however that one ends.
"""

import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Literal

from tests.network.fabrics import CARD, FAIR, Bridge, Fabric, Faults, Pair, TapSwitch, inside, run
from tests.network.namespaces import new_namespace
from tests.nursery import Running, nursery

NETWORK = ipaddress.ip_network("10.77.0.0/24")
NETWORK_6 = ipaddress.ip_network("fd77::/64")
"""The same for every network: they do not know of each other."""
RUN_SECONDS = 30.0
END_SECONDS = 60.0

FabricName = Literal["bridge", "switch"]


class Process:
    """One program on a host. Its output is in files, and outlives it."""

    def __init__(self, process: Running, out: Path, errors: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._out = out
        self._errors = errors

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    @property
    def is_running(self) -> bool:
        return self.exit_code is None

    def lines(self) -> list[str]:
        """What it has printed so far, whole lines."""
        return self._out.read_text(errors="replace").split("\n")[:-1]

    def said(self) -> str:
        """Everything on its standard error."""
        return self._errors.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Idempotent."""
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float = RUN_SECONDS) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)


class Host:
    """One machine. `address` and `address_6` are those of its card."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.name = f"h{number}"
        self.address = str(NETWORK[number])
        self.address_6 = str(NETWORK_6[number])
        self.namespace = new_namespace()
        self.folder = folder / self.name
        self.folder.mkdir()
        self.processes: list[Process] = []

    def __repr__(self) -> str:
        return f"<{self.name} {self.address}>"

    def set_up(self) -> None:
        """Once its card is there."""
        self.ip(
            "link set lo up",
            f"link set {CARD} address 02:00:00:00:00:{self.number:02x}",
            f"addr add {self.address}/{NETWORK.prefixlen} dev {CARD}",
            # Nobody else has it: without the search for a double it can be used at once.
            f"addr add {self.address_6}/{NETWORK_6.prefixlen} dev {CARD} nodad",
            f"link set {CARD} up",
            f"route add default dev {CARD}",
            f"route add ::/0 dev {CARD}",
        )

    def ip(self, *lines: str) -> None:
        """Lines as `ip` takes them in a batch."""
        run([*inside(self.namespace), "ip", "-batch", "-"], "\n".join(lines))

    def move(self, address: str) -> None:
        """Another address in place of the one that it has, as when a lease is not renewed."""
        self.give_up_address()
        self.take_address(address)

    def give_up_address(self) -> None:
        """The IPv4 one. The route to the network goes with it."""
        self.ip(f"addr del {self.address}/{NETWORK.prefixlen} dev {CARD}")

    def take_address(self, address: str) -> None:
        self.address = address
        self.ip(
            f"addr add {address}/{NETWORK.prefixlen} dev {CARD}",
            f"route replace default dev {CARD}",
        )

    def wrapped(self, command: Sequence[str | Path]) -> list[str]:
        """The command as it runs here, under the name of the host. Each program gives way to the
        next, so that the process that is started is the command in the end; it ends with us."""
        return [
            *("setpriv", "--pdeathsig", "KILL"),
            *inside(self.namespace),
            *("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name),
            *map(str, command),
        ]

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Process:
        """Begin a program here. To be called by a thread that lives as long as the test: the
        program ends with it. environment: all of it; None: that of the tests."""

        def begin(output: IO[bytes], said: IO[bytes]) -> Running:
            return subprocess.Popen(
                self.wrapped(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=said,
                env=environment,
                cwd=folder or self.folder,
            )

        return self._begun(begin)

    def mabeam(self, *arguments: str, environment: Mapping[str, str]) -> Process:
        """Begin the command line of this package here, as spawn does with any program."""

        def begin(output: IO[bytes], said: IO[bytes]) -> Running:
            return nursery().begin(
                arguments,
                folder=self.folder,
                environment=environment,
                errors=said,
                out=output,
                host=(self.name, self.namespace),
            )

        return self._begun(begin)

    def _begun(self, begin: Callable[[IO[bytes], IO[bytes]], Running]) -> Process:
        number = len(self.processes)
        out, errors = (self.folder / f"{number}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as output, errors.open("wb") as said:
            self.processes.append(Process(begin(output, said), out, errors))
        return self.processes[-1]

    def python(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Process:
        return self.spawn([sys.executable, "-u", *arguments], environment=environment)

    def run(
        self, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here to its end, which may be any."""
        return subprocess.run(
            self.wrapped(command),
            text=True,
            capture_output=True,
            timeout=RUN_SECONDS,
            env=environment,
            cwd=self.folder,
        )

    def reaches(self, other: str) -> bool:
        """Whether an echo comes back from that address within two seconds. With a deadline it is
        asked for until one comes: the first may be lost while a neighbour is looked up."""
        ping = ["ping", "-q", "-c", "1", "-i", "0.3", "-w", "2", other]
        return self.run(ping).returncode == 0

    def has_carrier(self) -> bool:
        told = json.loads(run([*inside(self.namespace), "ip", "-json", "link", "show", CARD]))
        return "NO-CARRIER" not in told[0]["flags"]

    def pids(self) -> list[int]:
        """Every process in the namespace, whoever started it."""
        own = os.fstat(self.namespace)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    other = (entry / "ns/net").stat()
                except OSError:
                    continue
                if (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino):
                    found.append(int(entry.name))
        return found

    def power_off(self) -> None:
        """SIGKILL for everything that runs here, however it was started."""
        deadline = time.monotonic() + END_SECONDS
        for process in self.processes:
            process.kill()
        while pids := self.pids():
            assert time.monotonic() < deadline, f"{self}: {pids} do not end"
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.005)

    def close(self) -> None:
        self.power_off()
        os.close(self.namespace)


class Lan:
    """Hosts on one network. What goes wrong between them stays so until `heal`."""

    def __init__(
        self, folder: Path, hosts: int = 5, *, fabric: FabricName = "bridge", seed: int = 0
    ) -> None:
        """folder: for what programs print. The fabric `switch` has delays, drawn from the seed."""
        self.hosts: list[Host] = []
        self.faults = FAIR
        self._fabric: Fabric | None = None
        try:
            for number in range(1, hosts + 1):
                self.hosts.append(Host(number, folder))
            places = {host.number: host.namespace for host in self.hosts}
            self._fabric = Bridge(places) if fabric == "bridge" else TapSwitch(places, seed)
            for host in self.hosts:
                host.set_up()
        except BaseException:
            self.close()
            raise

    # ---- faults ------------------------------------------------------------------------------

    def partition(self, *groups: Iterable[Host]) -> None:
        """Two hosts hear each other if a group holds both. In place of the partition before.

        Groups may overlap: a host that is in two is a bridge between them, and pairs of neighbours
        make a ring. Who is in none is alone.
        """
        together = [{host.number for host in group} for group in groups]
        numbers = [host.number for host in self.hosts]
        cut = tuple(
            (a, b)
            for a in numbers
            for b in numbers
            if a != b and not any({a, b} <= group for group in together)
        )
        self._set(replace(self.faults, cut=cut))

    def isolate(self, *hosts: Host) -> None:
        """Each of these is alone; the others hear each other. In place of the partition before."""
        self.partition([host for host in self.hosts if host not in hosts])

    def one_way(self, source: Host, target: Host) -> None:
        """Nothing that `source` says reaches `target` any more. The other way is as it was."""
        pair: Pair = source.number, target.number
        self._set(replace(self.faults, mute=(*self.faults.mute, pair)))

    def drop_multicast(self) -> None:
        self._set(replace(self.faults, multicast=False))

    def worsen(self, *, loss: float = 0.0, delay: float = 0.0, jitter: float = 0.0) -> None:
        """Between all hosts. loss: a share; delay, jitter: seconds, of the fabric `switch`."""
        self._set(replace(self.faults, loss=loss, delay=delay, jitter=jitter))

    def unplug(self, host: Host) -> None:
        """Pull the cable out of the host: it sees that it has no carrier."""
        self._up.set_carrier(host.number, False)

    def plug(self, host: Host) -> None:
        self._up.set_carrier(host.number, True)

    def heal(self) -> None:
        """Everything passes again, at once. What was unplugged stays so."""
        self._set(FAIR)

    def _set(self, faults: Faults) -> None:
        self._up.set_faults(faults)
        self.faults = faults

    @property
    def _up(self) -> Fabric:
        assert self._fabric is not None
        return self._fabric

    # ---- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """End everything on the hosts, and the hosts. Idempotent."""
        while self.hosts:
            self.hosts.pop().close()
        if self._fabric is not None:
            self._fabric.close()
            self._fabric = None
