"""What joins the hosts of a virtual network, and lets frames vanish or come late.

Faults are made between the hosts, so that no host can see or undo them. Hosts are known by number.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from tests.network.namespaces import new_namespace, path_of

CARD = "eth0"
"""The network card of each host."""
SWITCH_SECONDS = 60.0

Pair = tuple[int, int]
"""Whoever sends, and whoever does not hear it."""


@dataclass(frozen=True)
class Faults:
    """All that is wrong at present."""

    cut: tuple[Pair, ...] = ()
    """No frame passes."""
    mute: tuple[Pair, ...] = ()
    """No IP packet passes. Neighbours still resolve each other's addresses: else the other
    direction would fail as well, once they have forgotten them."""
    multicast: bool = True
    """Whether multicast passes; the resolution of addresses always does."""
    loss: float = 0.0
    """The share of packets that vanish."""
    delay: float = 0.0
    jitter: float = 0.0
    """Seconds; each frame takes delay ± jitter, and frames of one pair stay in order."""


FAIR = Faults()


class Fabric(Protocol):
    def set_faults(self, faults: Faults) -> None:
        """These in place of those before."""
        ...

    def set_carrier(self, host: int, on: bool) -> None:
        """Plug in the host's cable, or pull it out: the host sees that."""
        ...

    def close(self) -> None: ...


def run(command: Sequence[str], text: str = "") -> str:
    """What the command prints. Raises RuntimeError with what it said if it fails."""
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise RuntimeError(f"{' '.join(command)}: {said}\n{text}")
    return done.stdout


def inside(namespace: int) -> list[str]:
    """What goes before a command to run it in a namespace."""
    return ["nsenter", f"--net={path_of(namespace)}"]


class Bridge:
    """The kernel's bridge, in a namespace of its own; nftables makes the faults. It has no delays:
    many kernels lack the queue that would."""

    def __init__(self, hosts: Mapping[int, int]) -> None:
        """hosts: the namespace of each."""
        self._namespace = new_namespace()
        lines = [
            "link add switch type bridge mcast_snooping 0 stp_state 0 forward_delay 0",
            "link set switch up",
        ]
        for number, namespace in hosts.items():
            # Neither end of the cable is ever in the namespace of the machine.
            there = path_of(namespace)
            lines += [
                f"link add {_port(number)} type veth peer name {CARD} netns {there}",
                f"link set {_port(number)} master switch up",
            ]
        try:
            run([*inside(self._namespace), "ip", "-batch", "-"], "\n".join(lines))
        except BaseException:
            self.close()
            raise

    def set_faults(self, faults: Faults) -> None:
        assert faults.delay == faults.jitter == 0, "delays need the switch in user space"
        # One transaction: no frame finds half of it.
        run([*inside(self._namespace), "nft", "-f", "-"], _rules(faults))

    def set_carrier(self, host: int, on: bool) -> None:
        words = ["ip", "link", "set", _port(host), "up" if on else "down"]
        run([*inside(self._namespace), *words])

    def close(self) -> None:
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1


def _port(number: int) -> str:
    return f"port{number}"


def _rules(faults: Faults) -> str:
    """Of nftables, for a bridge."""
    lines = ["iifname . oifname vmap @cut"]
    if not faults.multicast:
        lines += ["ip daddr 224.0.0.0/4 drop", "ip6 daddr ff02::fb drop"]
    lines += [
        "ether type arp accept",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "iifname . oifname vmap @mute",
    ]
    if faults.loss:
        lines.append(f"numgen random mod 10000 < {round(faults.loss * 10_000)} drop")
    chain = "\n    ".join(["type filter hook forward priority 0; policy accept;", *lines])
    return f"""
table bridge faults
delete table bridge faults
table bridge faults {{
  {_map("cut", faults.cut)}
  {_map("mute", faults.mute)}
  chain relay {{
    {chain}
  }}
}}
"""


def _map(name: str, pairs: Sequence[Pair]) -> str:
    drops = ", ".join(f'"{_port(a)}" . "{_port(b)}" : drop' for a, b in pairs)
    elements = f" elements = {{ {drops} }};" if drops else ""
    return f"map {name} {{ type ifname . ifname : verdict;{elements} }}"


class TapSwitch:
    """A switch in user space (tests/network/tap_switch.py): it has delays, too, and is slower."""

    def __init__(self, hosts: Mapping[int, int], seed: int) -> None:
        program = Path(__file__).with_name("tap_switch.py")
        words = [f"{number}={namespace}" for number, namespace in hosts.items()]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, str(program), str(seed), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=tuple(hosts.values()),
            text=True,
        )
        self._answer()

    def set_faults(self, faults: Faults) -> None:
        self._say({"faults": asdict(faults)})

    def set_carrier(self, host: int, on: bool) -> None:
        self._say({"carrier": [host, on]})

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(SWITCH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _say(self, word: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(word) + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != "done":
            raise RuntimeError(f"the switch says {line!r}, or has ended")
