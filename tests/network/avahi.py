"""Avahi on a host: what another implementation of mDNS hears of us, and tells us.

It runs as the only one on its host, with a message bus of its own and nothing in common with the
machine's.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.network.lan import Host, Process

PROGRAMS = ("avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon")
SECONDS = 30.0

CONFIGURATION = """
[server]
host-name={name}
use-ipv4=yes
use-ipv6=no
allow-interfaces=eth0
enable-dbus=yes
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
"""
BUS = """
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


def why_not() -> str | None:
    """Why there can be no Avahi on a host; None: there can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return (
            f"without {', '.join(missing)}; on Debian: apt-get install avahi-daemon avahi-utils "
            "dbus"
        )
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]:
        return "avahi-daemon needs root of the machine, not of a user namespace"
    return None


class Avahi:
    """Started when it is made; it answers afterwards."""

    def __init__(self, host: Host) -> None:
        self._host = host
        folder = host.folder / "avahi"
        folder.mkdir()
        bus, configuration, socket = (folder / name for name in ("bus.conf", "avahi.conf", "bus"))
        bus.write_text(BUS.format(socket=socket))
        configuration.write_text(CONFIGURATION.format(name=host.name))
        self._environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}"}
        host.spawn(["dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile"])
        self._until(socket.exists, "the bus")
        # A folder /run of its own: its files would be those of another host's Avahi.
        flags = "--no-drop-root --no-chroot --no-rlimits --no-proc-title"
        start = f'mount -t tmpfs tmpfs /run && exec avahi-daemon {flags} -f "$0"'
        host.spawn(
            ["unshare", "--mount", "sh", "-c", start, configuration], environment=self._environment
        )
        self._until(self._resolves_itself, "avahi-daemon")

    def services(self, kind: str) -> dict[str, tuple[str, int, dict[str, str]]]:
        """What `avahi-browse` shows of a type: name to address, port and TXT."""
        found = {}
        for line in self._run("avahi-browse", "-rtp", kind).splitlines():
            # =;card;protocol;name;type;domain;host;address;port;text
            fields = line.split(";", 9)
            if fields[0] == "=":
                words = (word.strip('"').split("=", 1) for word in fields[9].split('" "'))
                text = {word[0]: word[-1] for word in words}
                found[fields[3]] = fields[7], int(fields[8]), text
        return found

    def publish(self, name: str, kind: str, port: int, text: dict[str, str]) -> Process:
        """Announce a service until the process ends; it is announced now."""
        words = [f"{key}={value}" for key, value in text.items()]
        process = self._host.spawn(
            ["avahi-publish", "-s", name, kind, str(port), *words], environment=self._environment
        )
        self._until(lambda: "Established" in process.said(), f"the announcement of {name}")
        return process

    def _resolves_itself(self) -> bool:
        return self._host.address in self._run("avahi-resolve", "-4n", f"{self._host.name}.local")

    def _run(self, *command: str) -> str:
        return self._host.run(command, environment=self._environment).stdout

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            said = "\n".join(process.said() for process in self._host.processes)
            assert time.monotonic() < deadline, f"{what} does not come up: {said}"
            time.sleep(0.05)
