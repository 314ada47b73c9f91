"""What floods cost: commits of three real peers on loopback, beside each flood and without it.

  half-open   500 connections to each port that say nothing, opened anew when they are closed
  garbage     a member's frames of the greatest size, of nothing that is understood
  maximal     a member's right frames of 4 MB, full of variables that the peers know
  crowded     the same of as many items as are read: what costs a peer most
  mdns        2,000 multicast DNS packets a second, each announcing another peer

A member floods as fast as a line of a gigabit a second goes, to all three together, over
connections of its own under its key. It is a peer that has no vote, and is there without the flood,
too. What it sends, and all must decrypt, takes the time of the machine that all of this runs on: so
another peer without a vote is flooded like that as well, and nobody else, for comparison.

Printed are the median and the 99th percentile of commits that were made, and how many times that
without a flood in the same run the latter is; below which time the peers' event loops were late in
99 of 100 cases; how much resident memory a peer had at most; and what the peers counted meanwhile.
The exit code is 1 if a flood was not heard, nothing was committed beside it, or a peer had more
resident memory than RESIDENT_MAX. Called by tools/floods.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mabeam_p2p import MabeamError, connect
from mabeam_p2p.api.attached import AttachedBackend
from mabeam_p2p.ids import SessionId
from mabeam_p2p.inquiries import Figures, ReadFigures
from tools.children import free_ports
from tools.flooders import CLUSTER, ELSEWHERE, FLOODS, MAX_VOTERS, PEERS

NAMES = ("ant", "bee", "cow")
OTHER = "elk"
"""The one without a vote."""
MEMBERS_FLOODS = ("garbage", "maximal", "crowded")
RESIDENT_MAX = 200 * 1024 * 1024
"""Bytes of one peer."""
PAUSE_SECONDS = 0.002
"""Between two commits."""
COUNTED = ("received", "muted", "overrun", "multipart", "refused_key", "callers_cut")
"""By the transport of each peer."""
LAGS = "loop_lag_seconds"


class Peers:
    """Four daemons; the last one is the one without a vote."""

    def __init__(self, folder: Path) -> None:
        os.environ["XDG_RUNTIME_DIR"] = str(folder)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        os.environ["MABEAM_MAX_VOTERS"] = str(MAX_VOTERS)
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.addresses = [f"127.0.0.1:{port}" for port in free_ports(len(NAMES) + 1)]

    def start(self, *, mdns: bool) -> None:
        """Return once all are ready."""
        for number, name in enumerate((*NAMES, OTHER)):
            command = [sys.executable, "-m", "mabeam_p2p", "up", "--json", "--name", name]
            command += ["--cluster", CLUSTER, "--data-dir", str(self.folder / name)]
            command += [] if mdns else ["--no-mdns"]
            command += ["--listen", self.addresses[number]]
            command += [f"--seed={address}" for address in self.addresses[:number]]
            if name == OTHER:
                for process in self.processes:  # It comes last, when the three vote already.
                    self._line(process)
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self.processes.append(process)
            self._line(process)
        self._line(process)

    def _line(self, process: "subprocess.Popen[str]") -> dict[str, object]:
        assert process.stdout is not None
        found: dict[str, object] = json.loads(process.stdout.readline())
        return found

    def resident_bytes(self) -> int:
        """Of the largest of the three."""
        pages = [
            int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
            for process in self.processes[: len(NAMES)]
        ]
        return max(pages) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


class Sent(NamedTuple):
    byte_count: int
    frame_count: int
    """Or of packets."""
    seconds: float


class Flood:
    """The process of one flood: ready, and under way once it is begun."""

    def __init__(self, name: str, peers: Peers) -> None:
        command = [sys.executable, "-m", "tools.flooders", name]
        self._process = subprocess.Popen(
            [*command, str(peers.folder), *peers.addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready":
            raise SystemExit(f"the flood {name} could not begin")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def begin(self, where: str) -> None:
        """Also after it was begun elsewhere."""
        assert self._process.stdin is not None
        self._process.stdin.write(where + "\n")
        self._process.stdin.flush()
        self._began_at = time.monotonic()

    def end(self) -> "Sent":
        """What it has sent since it was begun last."""
        assert self._process.poll() is None, "the flood has ended by itself"
        seconds = time.monotonic() - self._began_at
        self._process.terminate()
        byte_count, count = map(int, self._line().split())
        return Sent(byte_count, count, seconds)

    def close(self) -> None:
        self._process.kill()
        with self._process:  # Closes what it reads and writes, and waits for it.
            pass


@contextlib.contextmanager
def readied(name: str, peers: Peers) -> Iterator[Flood]:
    flood = Flood(name, peers)
    try:
        yield flood
    finally:
        flood.close()


class Counts(NamedTuple):
    """Of all peers together, since they began."""

    numbers: Counter[str]
    lags: Counter[float]
    """How many timers of the loops were late by how much at most, in seconds."""

    def since(self, earlier: "Counts") -> "Counts":
        return Counts(self.numbers - earlier.numbers, self.lags - earlier.lags)


async def counted() -> Counts:
    found = Counts(Counter(), Counter())
    for name in NAMES:
        backend = AttachedBackend("", cluster=CLUSTER, addr=name)
        await backend.open(SessionId(0))
        try:
            told = await backend.ask(ReadFigures())
        finally:
            await backend.close()
        assert isinstance(told, Figures)
        values = {figure.name: int(figure.value) for figure in told.figures}
        for counter in COUNTED:
            found.numbers[counter] += values[f"transport_{counter}_total"]
        found.numbers["undecodable"] += values["frames_undecodable_total"]
        found.numbers["refused"] += values["messages_refused_total"]
        found.numbers["misattributed"] += values["frames_misattributed_total"]
        for histogram in told.histograms:
            if histogram.name == LAGS:
                found.lags.update(
                    dict(zip((*histogram.bounds, float("inf")), histogram.counts, strict=True))
                )
    return found


class Measured(NamedTuple):
    late: float
    """The 99th percentile of commits, in seconds."""
    resident: int
    """Bytes, at most."""
    counts: Counts


async def commits(seconds: float, peers: Peers) -> tuple[list[float], Counter[str], int]:
    """Latencies of those made, by size; how many failed in which way; the most resident bytes."""
    latencies: list[float] = []
    failed: Counter[str] = Counter()
    resident = 0
    async with await connect("judge", cluster=CLUSTER, addr=NAMES[0], timeout=60) as agent:
        journal = agent.journal("floods")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                await journal.append(1)
            except MabeamError as error:
                failed[type(error).__name__] += 1
            else:
                latencies.append(time.perf_counter() - began)
            resident = max(resident, peers.resident_bytes())
            await asyncio.sleep(PAUSE_SECONDS)
    return sorted(latencies), failed, resident


def measured(name: str, seconds: float, peers: Peers) -> Measured:
    before = asyncio.run(counted())
    latencies, failed, resident = asyncio.run(commits(seconds, peers))
    counts = asyncio.run(counted()).since(before)
    if not latencies:
        raise SystemExit(f"{name}: nothing was committed")
    median, late = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    failures = ", ".join(f"{count} {kind}" for kind, count in failed.items())
    sys.stdout.write(
        f"{name:10} {len(latencies):6} commits, failed: {failures or 'none'}; "
        f"median {median * 1e3:6.1f} ms, p99 {late * 1e3:6.1f} ms; "
        f"loops late by {percentile(counts.lags, 0.99) * 1e3:.0f} ms at most; "
        f"{resident / 1e6:5.0f} MB\n"
    )
    sys.stdout.flush()
    return Measured(late, resident, counts)


def percentile(counts: Counter[float], share: float) -> float:
    """The least bound below which so large a share of what was counted lies."""
    rest = share * counts.total()
    for bound in sorted(counts):
        rest -= counts[bound]
        if rest <= 0:
            return bound
    return 0.0


def is_heard(flood: str, sent: Sent, counts: Counter[str]) -> bool:
    """Whether it has come as far as it was meant to."""
    if counts["refused_key"] or counts["misattributed"]:
        return False
    match flood:
        case "half-open":
            return True  # Who says nothing is not heard: its connections are.
        case "garbage":
            return sent.frame_count > 0 and counts["undecodable"] > 0
        case "maximal" | "crowded":
            # One word of each that is refused, as of who is a stranger, or of an earlier life.
            return sent.frame_count > 10 * counts["refused"] and counts["undecodable"] == 0
        case _:
            return sent.frame_count > 0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tools/floods",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("floods", nargs="*", metavar="FLOOD", help=", ".join(FLOODS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each (default 20)")
    options = parser.parse_args()
    floods = options.floods or list(FLOODS)
    if unknown := [flood for flood in floods if flood not in FLOODS]:
        parser.error(f"no such flood: {', '.join(unknown)}; there are {', '.join(FLOODS)}")
    faults = [fault for flood in floods if (fault := run(flood, options.seconds))]
    if faults:
        raise SystemExit("; ".join(faults))


def run(name: str, seconds: float) -> str:
    """Measure one flood, and say what is wrong; empty: nothing."""
    with tempfile.TemporaryDirectory(prefix="mb") as folder:
        peers = Peers(Path(folder))
        try:
            peers.start(mdns=name == "mdns")
            with readied(name, peers) as flood:
                calm = measured("calm", seconds, peers)
                beside = calm
                if name in MEMBERS_FLOODS:
                    flood.begin(ELSEWHERE)
                    beside = measured(ELSEWHERE, seconds, peers)
                flood.begin(PEERS)
                flooded = measured(name, seconds, peers)
                sent = flood.end()
        finally:
            peers.close()
    numbers = flooded.counts.numbers
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(numbers.items()))
    sys.stdout.write(
        f"{name:10} p99 is {flooded.late / calm.late:.1f} times that without it"
        + (f", {flooded.late / beside.late:.1f} times that elsewhere; " if beside != calm else "; ")
        + f"{(flooded.resident - beside.resident) / 1e6:.0f} MB more; "
        f"{sent.byte_count / sent.seconds / 1e6:.1f} MB a second were sent; counted: {counted}\n"
    )
    sys.stdout.flush()
    return fault_of(name, sent, flooded)


def fault_of(name: str, sent: Sent, flooded: Measured) -> str:
    if not is_heard(name, sent, flooded.counts.numbers):
        return f"{name}: not heard"
    if flooded.resident > RESIDENT_MAX:
        return f"{name}: {flooded.resident / 1e6:.0f} MB are resident"
    return ""


if __name__ == "__main__":
    main()
