"""What floods cost: commits of three real peers on loopback, beside each flood and without it.

  half-open   500 connections to each peer that say nothing, opened anew when they are closed
  garbage     frames of the greatest size, of nothing that is understood, as fast as the line goes
  maximal     the same of a member: right frames of 4 MB, full of variables that the peers know
  mdns        2,000 multicast DNS packets a second, each announcing another peer

The line is one of a gigabit a second to all three. Each flood is a process of its own. Printed are
the median and the 99th percentile of commits, how many times that without a flood in the same run
the latter is, and how much resident memory a peer had at most. Called by tools/floods.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

from mabeam_p2p import MabeamError, connect
from mabeam_p2p.addresses import split_address
from mabeam_p2p.config import PROTOCOL_VERSION, SERVICE_TYPE, Limits
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Frame, Hello, VariablePush
from mabeam_p2p.records import Member, MemberState, Sibling, Variable
from mabeam_p2p.wire.codec import CborCodec

CLUSTER = "floods"
NAMES = ("ant", "bee", "cow")
HALF_OPEN_COUNT = 500
MDNS_PACKETS_PER_SECOND = 2_000
MDNS = ("224.0.0.251", 5353)
STRANGER = PeerId("f" * 16)
LINE_BYTES_PER_SECOND = 125_000_000
PAUSE_SECONDS = 0.002
"""Between two commits."""


class Peers:
    """Three daemons, ready."""

    def __init__(self, folder: Path, *, mdns: bool) -> None:
        os.environ["XDG_RUNTIME_DIR"] = str(folder)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        self.processes: list[subprocess.Popen[str]] = []
        self.addresses: list[str] = []
        for name in NAMES:
            command = [sys.executable, "-m", "mabeam_p2p", "up", "--json", "--name", name]
            command += ["--cluster", CLUSTER, "--data-dir", str(folder / name)]
            command += [] if mdns else ["--no-mdns"]
            command += [f"--seed={address}" for address in self.addresses]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self.processes.append(process)
            self.addresses.append(str(self._line(process)["address"]))
        for process in self.processes:
            self._line(process)

    def _line(self, process: "subprocess.Popen[str]") -> dict[str, object]:
        assert process.stdout is not None
        found: dict[str, object] = json.loads(process.stdout.readline())
        return found

    def resident_bytes(self) -> int:
        """Of the largest of them."""
        pages = [
            int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
            for process in self.processes
        ]
        return max(pages) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


# ---- floods -----------------------------------------------------------------------------------


def half_open(addresses: list[str]) -> None:
    def opened(address: str) -> socket.socket:
        host, port = split_address(address)
        found = socket.create_connection((host, port), timeout=5)
        found.setblocking(False)
        return found

    connections = [(a, opened(a)) for a in addresses for _ in range(HALF_OPEN_COUNT)]
    while True:
        time.sleep(0.2)
        for number, (address, connection) in enumerate(connections):
            with contextlib.suppress(BlockingIOError):
                while connection.recv(4096):
                    pass
                connection.close()
                connections[number] = address, opened(address)


def sent_forever(addresses: list[str], first: bytes, data: bytes) -> None:
    with zmq.Context() as context, contextlib.ExitStack() as stack:
        sockets = []
        for address in addresses:
            dealer = stack.enter_context(context.socket(zmq.DEALER))
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.setsockopt(zmq.SNDHWM, 4)
            dealer.connect(f"tcp://{address}")
            dealer.send(first)
            sockets.append(dealer)
        due = time.monotonic()
        while True:
            for dealer in sockets:
                with contextlib.suppress(zmq.Again):
                    dealer.send(data, zmq.NOBLOCK)
                due = max(due + len(data) / LINE_BYTES_PER_SECOND, time.monotonic() - 1.0)
                time.sleep(max(0.0, due - time.monotonic()))


def garbage(addresses: list[str]) -> None:
    size = Limits().frame_bytes_max - 16
    data = b"\x87\x01\x5a" + (size - 16).to_bytes(4, "big") + bytes(size - 16)
    sent_forever(addresses, b"\x80", data)


def maximal(addresses: list[str]) -> None:
    codec = CborCodec(Limits())
    member = Member(STRANGER, "stranger", "127.0.0.1:9", 1, 0, MemberState.ALIVE)
    cluster_id = ClusterId(_status()["cluster_id"])
    hello = Frame(
        PROTOCOL_VERSION,
        STRANGER,
        1,
        0,
        1,
        cluster_id,
        (Hello(CLUSTER, cluster_id, member, False),),
    )
    value = Sibling(STRANGER, (1 << 32) + 1, 1, bytes(60_000))
    variables = [
        Variable(f"flood/{n}", "lww", ((STRANGER, (1 << 32) + 1),), (value,)) for n in range(4)
    ]
    push = VariablePush((1 << 32) + 1, tuple(variables), 0)
    frame = Frame(PROTOCOL_VERSION, STRANGER, 1, 1, 2, cluster_id, (push,) * 16)
    data = codec.encode_frame(frame)
    assert codec.fits(data)
    sent_forever(addresses, codec.encode_frame(hello), data)


def _status() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mabeam_p2p", "status", "--json", "--cluster", CLUSTER],
        capture_output=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def mdns(addresses: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sender.bind(("127.0.0.1", 0))
        due = time.monotonic()
        while True:
            for _ in range(20):
                sender.sendto(_announcement(), MDNS)
            due += 20 / MDNS_PACKETS_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))


def _name(*labels: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\x00"


def _announcement() -> bytes:
    """One of a peer that is not there: PTR, SRV, TXT and A."""
    instance = secrets.token_hex(8)
    kind = SERVICE_TYPE.rstrip(".").split(".")
    host = _name(instance, "local")
    text = b"".join(
        bytes((len(entry),)) + entry.encode()
        for entry in ("v=1", f"id={instance}", f"cluster={'0' * 16}", "epoch=1")
    )
    records = (
        (_name(*kind), 12, _name(instance, *kind)),
        (_name(instance, *kind), 33, struct.pack(">HHH", 0, 0, 9) + host),
        (_name(instance, *kind), 16, text),
        (host, 1, socket.inet_aton("127.0.0.1")),
    )
    head = struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0)
    return head + b"".join(
        name + struct.pack(">HHIH", number, 1, 120, len(data)) + data
        for name, number, data in records
    )


FLOODS: dict[str, Callable[[list[str]], None]] = {
    "half-open": half_open,
    "garbage": garbage,
    "maximal": maximal,
    "mdns": mdns,
}


# ---- measuring --------------------------------------------------------------------------------


@contextlib.contextmanager
def flooded(name: str, peers: Peers) -> Iterator[None]:
    command = [sys.executable, "-m", "tools.floods", "--flood", name, *peers.addresses]
    with subprocess.Popen(command) as process:
        try:
            yield
            assert process.poll() is None, "the flood has ended by itself"
        finally:
            process.send_signal(signal.SIGKILL)


async def commits(seconds: float, peers: Peers) -> tuple[list[float], Counter[str], int]:
    """Latencies, in order of size; how many failed in which way; the most resident bytes."""
    latencies: list[float] = []
    failed: Counter[str] = Counter()
    resident = 0
    async with await connect("judge", cluster=CLUSTER, timeout=60) as agent:
        journal = agent.journal("floods")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                await journal.append(1)
            except MabeamError as error:
                failed[type(error).__name__] += 1
            latencies.append(time.perf_counter() - began)
            resident = max(resident, peers.resident_bytes())
            await asyncio.sleep(PAUSE_SECONDS)
    return sorted(latencies), failed, resident


def measured(name: str, seconds: float, peers: Peers) -> tuple[float, int]:
    """The 99th percentile in seconds, and the resident bytes."""
    latencies, failed, resident = asyncio.run(commits(seconds, peers))
    median, late = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    failures = ", ".join(f"{count} {kind}" for kind, count in failed.items())
    sys.stdout.write(
        f"{name:10} {len(latencies):6} commits, failed: {failures or 'none'}; "
        f"median {median * 1e3:6.1f} ms, p99 {late * 1e3:6.1f} ms; {resident / 1e6:5.0f} MB\n"
    )
    sys.stdout.flush()
    return late, resident


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/floods", description=__doc__)
    parser.add_argument("floods", nargs="*", metavar="FLOOD", help=", ".join(FLOODS))
    parser.add_argument("--flood", choices=FLOODS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each (default 20)")
    options = parser.parse_args()
    if options.flood:
        FLOODS[options.flood](options.floods)
        return
    floods = options.floods or list(FLOODS)
    if unknown := [flood for flood in floods if flood not in FLOODS]:
        parser.error(f"no such flood: {', '.join(unknown)}; there are {', '.join(FLOODS)}")
    for flood in floods:
        with tempfile.TemporaryDirectory(prefix="mb") as folder:
            peers = Peers(Path(folder), mdns=flood == "mdns")
            try:
                calm, before = measured("calm", options.seconds, peers)
                with flooded(flood, peers):
                    late, resident = measured(flood, options.seconds, peers)
                sys.stdout.write(
                    f"{flood:10} p99 is {late / calm:.1f} times that without it; "
                    f"{(resident - before) / 1e6:.0f} MB more\n"
                )
            finally:
                peers.close()


if __name__ == "__main__":
    main()
