"""What a daemon of this host says of its cluster: whether it answers, agrees, and has the time."""

import asyncio
import contextlib
import socket
import statistics
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mabeam_p2p.addresses import is_loopback, split_address
from mabeam_p2p.api import sockets
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results import Member, PeerEvidence, PeerStatus
from mabeam_p2p.cli import output
from mabeam_p2p.cli.doctor import places
from mabeam_p2p.cli.doctor.finding import Finding, error, ok, skipped, warning
from mabeam_p2p.cli.target import Target
from mabeam_p2p.errors import DaemonNotRunning, MabeamError, Overloaded, Rejected

ANSWER_SECONDS = 5.0
CLOCK_SECONDS = 1.0
"""Clocks that agree to this are as good as any need."""
CLOCK_SECONDS_MAX = 86_400.0
"""Beyond a day writes of variables are refused (`protocol/hybrid_clock.py`)."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What one has told."""

    process: int | None
    status: PeerStatus
    members: tuple[Member, ...]
    unready: tuple[str, ...]
    """Why it is not ready yet."""
    clocks: Mapping[str, float]
    """By member's name: how far its clock is ahead of this host's, in seconds."""
    is_let_in: bool = True
    """Whether it is not waiting for the peer that gave out its code."""


async def ask(cluster: str, name: str) -> Daemon | Finding:
    """The daemon `name`, or why there is nothing that it says."""
    target = Target(cluster, name, None, False)
    process = process_of(cluster, name)
    try:
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(ANSWER_SECONDS):
                agent = await stack.enter_async_context(target.look())
                status, members = await agent.status(), agent.members()
                is_let_in = await _is_let_in(agent)
            told = await _told(agent, sorted(members, key=lambda one: one.id != status.peer))
    except Overloaded as fault:
        return error("daemon", str(fault), f"ss -xp | grep {name}.sock    # who they are")
    except (TimeoutError, MabeamError) as fault:
        if process is None and isinstance(fault, DaemonNotRunning):
            return skipped("daemon", f"no daemon {name!r} of cluster {cluster!r} runs here")
        who = f"the daemon {name!r}" + (f" (process {process})" if process else "")
        return error("daemon", f"{who} does not answer: it is stuck, or stopped",
                     f"mabeam dump --cluster {cluster} --addr {name}")  # fmt: skip
    unready = tuple(
        f"{reason.reason}: {reason.detail}" for one in told if one.is_self for reason in one.unready
    )
    return Daemon(process, status, members, unready, _clocks(told), is_let_in)


async def _is_let_in(agent: Agent) -> bool:
    try:
        return bool((await agent.keys.read()).secret)
    except Rejected:  # It has no keys, and needs none.
        return True


async def _told(agent: Agent, members: Sequence[Member]) -> list[PeerEvidence]:
    """Of as many as there is time for: a thousand members are not a daemon that is stuck."""
    found: list[PeerEvidence] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS):
            for member in members:
                found.append(await agent.why(member.id))  # noqa: PERF401  (what was told stays)
    return found


def process_of(cluster: str, name: str) -> int | None:
    """The process that listens at the daemon's socket, also if it answers nothing."""
    for path in sockets.candidates(cluster, name):
        found = _listener(path)
        if found is not None:
            return found
    return None


def _listener(path: Path) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            size = struct.calcsize("3i")
            told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except OSError:
            return None
    return int(struct.unpack("3i", told)[0]) or None


def _clocks(told: Sequence[PeerEvidence]) -> dict[str, float]:
    return {
        one.name: one.clock_ahead_seconds
        for one in told
        if one.clock_ahead_seconds is not None and one.state == "alive"
    }


def findings(daemon: Daemon, folder: Path | None) -> Iterator[Finding]:
    """What is wrong with its cluster, as it sees it. folder: of its data; None: it has none."""
    status = daemon.status
    yield ok("daemon", f"{status.name} answers, as {status.role} in term {status.term}")
    if daemon.unready:
        text = f"{status.name} is not ready: {'; '.join(daemon.unready)}"
        yield warning("ready", text, f"{_why(status)}    # again, as it goes on")
    if status.disk_full:
        yield disk(status, folder)
    yield quorum(status, daemon.members) if daemon.is_let_in else outside(status)
    yield from clocks(daemon.clocks)


def _why(status: PeerStatus) -> str:
    """The command that asks the daemon for what it knows of itself."""
    return f"mabeam why {status.name} --cluster {status.cluster} --addr {status.name}"


def _more_peers(status: PeerStatus) -> str:
    """The command that starts another one."""
    if is_loopback(split_address(status.address)[0]):
        name = " --name ANOTHER"
        more = "here; where others are to be on other hosts, start this one with --listen lan"
    else:
        name = ""
        more = "on other hosts; with keys also --join CODE, which `mabeam keys invite` prints here"
    return f"mabeam up --cluster {status.cluster}{name} --seed {status.address}    # {more}"


def outside(status: PeerStatus) -> Finding:
    """It has a code, and nobody has let it in by that."""
    text = "not let in yet: it waits for the peer that gave out its code, and for a way to it"
    mend = (
        f"mabeam keys invite --cluster {status.cluster}    # there, for another code, if this one "
        "is too old; and what `mabeam doctor` says there of its port and its firewall"
    )
    return warning("quorum", text, mend)


def disk(status: PeerStatus, folder: Path | None) -> Finding:
    """What a daemon has used up that takes no commands: its disk, or what it may have of that."""
    silent = "where it leads, it takes no commands"
    used = status.disk_used_bytes
    if folder is not None:
        with contextlib.suppress(OSError):
            free = places.free_bytes(folder)
            # Whatever it was allowed: more would not be there.
            if used * 10 >= (used + free) * 9:
                text = f"{output.size(free)} are free on the disk of {folder}"
                return places.no_room(folder, f"{text}: {silent}")
    text = f"its data folder uses nine tenths of its quota of {output.size(status.disk_bytes_max)}"
    mend = places.larger(status.disk_bytes_max, status.cluster, status.name)
    return error("disk", f"{text}: {silent}", mend)


def quorum(status: PeerStatus, members: Sequence[Member]) -> Finding:
    """Whether anything can be agreed on."""
    if not status.voters:
        text = f"no cluster yet: {status.alive_count} of {status.expect} peers see each other"
        return warning("quorum", text, _more_peers(status))
    known = {member.id: member for member in members}
    gone = [
        v for v in status.voters if v not in known or known[v].state not in ("alive", "suspect")
    ]
    need, here = len(status.voters) // 2 + 1, len(status.voters) - len(gone)
    missing = ", ".join(f"{_named(v, known)}" for v in gone)
    first = next((known[voter].name for voter in gone if voter in known), "NAME")
    lost = "if they are lost for ever: mabeam repair --help"
    start = f"mabeam up --name {first} --cluster {status.cluster}    # there; {lost}"
    if not status.quorum and here < need:
        text = f"{here} of {len(status.voters)} voters are here, {need} are needed: {missing}"
        return error("quorum", text, start)
    if not status.quorum:
        text = "the voters are here, but none leads: an election, or links that work one way only"
        return error("quorum", text, _why(status))
    if here == need and len(status.voters) > 1:
        who = f"; {missing}" if missing else ""
        text = f"{here} of {len(status.voters)} voters are here: with one less nothing is agreed"
        return warning("quorum", text + who, start if gone else "mabeam voters --help")
    return ok("quorum", f"{here} of {len(status.voters)} voters are here, {need} are needed")


def _named(voter: str, known: Mapping[str, Member]) -> str:
    member = known.get(voter)
    if member is None:
        return f"{voter} (unknown here)"
    return f"{member.name} at {member.address} ({member.state})"


def clocks(leads: Mapping[str, float]) -> Iterator[Finding]:
    """This host's clock against those of the members, and theirs against this one's."""
    if not leads:
        yield skipped("clocks", "no member has told the time yet")
        return
    middle = statistics.median([0.0, *leads.values()])
    is_ours = len(leads) > 1 and abs(middle) > CLOCK_SECONDS
    own = statistics.median(leads.values()) if is_ours else 0.0
    faults: list[Finding] = []
    if is_ours:
        faults.append(_wrong("this host's clock", -own, "timedatectl set-ntp true"))
    for name, lead in sorted(leads.items()):
        if abs(lead - own) > CLOCK_SECONDS:
            mend = f"timedatectl set-ntp true    # on the host of {name}"
            faults.append(_wrong(f"the clock of {name}", lead - own, mend))
    yield from faults
    if not faults:
        most = max(map(abs, leads.values()))
        yield ok("clocks", f"{len(leads)} members are within {most:.1f} s of this host's clock")


def _wrong(whose: str, seconds: float, mend: str) -> Finding:
    text = f"{whose} is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
    say = error if abs(seconds) >= CLOCK_SECONDS_MAX else warning
    return say("clocks", text, mend)
