"""Measures the failure detector as the cluster grows, in virtual time: Membership cores alone, 1 %
of the messages lost. Prints a table; writes JSON and a plot (SVG) on request.

Of each size: what a member sends at rest, how long until everybody has heard one member's news,
until everybody knows that one has died, and until everybody knows a newcomer and is known to it. A
ratio within one run says more than a time: what is to stay flat is divided by that of the smallest.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from math import log10
from pathlib import Path
from typing import NamedTuple

from mabeam_p2p.config import PROTOCOL_VERSION, Limits
from mabeam_p2p.ids import ClusterId
from mabeam_p2p.messages import Frame, Message
from mabeam_p2p.records import Member, MemberState
from mabeam_p2p.testing.crowd import Conditions, Crowd, Seat
from mabeam_p2p.wire.codec import CborCodec
from tools.plot import Series, plot

SIZES = (64, 256, 1_000, 4_000)
VOTERS = 5
LOSS = 0.01
BOUND_SECONDS = 60.0
"""Nothing that is waited for takes longer."""


class Measured(NamedTuple):
    """Of one size. Seconds are virtual, but for the last."""

    peers: int
    messages: float
    """That one member sends in a second, at rest."""
    bytes: float
    """The same, as frames of one message."""
    false_suspicions: int
    """Of a member by a member that runs, in the time at rest."""
    false_deaths: int
    """The same, over the whole run."""
    news_seconds: float
    """From a change of one member's record until the last one has heard of it."""
    news_over_log: float
    """The same, by log10 of the size."""
    first_seconds: float
    """From a crash until the first one takes the member for dead."""
    dead_seconds: float
    """Until the last one does."""
    join_seconds: float
    """From a newcomer's greeting of one member until all know it and it knows all."""
    wall_seconds: float


class Witness:
    """Waits until every running member has seen what it is to see, and counts false verdicts."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.suspicions = self.deaths = 0
        self.seen: dict[int, float] = {}
        """By number of a member: when."""
        self._wanted: Callable[[Member], bool] = lambda member: False
        self._running = {seat.peer: seat for seat in crowd.seats}
        crowd.on_change = self._on_change

    def expect(self, wanted: Callable[[Member], bool]) -> None:
        self._wanted = wanted
        self.seen = {}
        self._running = {seat.peer: seat for seat in self.crowd.seats}

    def _on_change(self, now: float, seat: Seat, member: Member) -> None:
        if self._wanted(member):
            self.seen.setdefault(seat.number, now)
        about = self._running.get(member.peer)
        if about is not None and about.runs:
            self.suspicions += member.state is MemberState.SUSPECT
            self.deaths += member.state is MemberState.DEAD


def measure(peers: int, seconds: float = 10.0, seed: int | str = "scale") -> Measured:
    """seconds: of the time at rest."""
    began = time.perf_counter()
    limits = Limits(members_max=2 * peers + 16)
    codec = CborCodec(limits)
    crowd = Crowd(
        peers,
        seed=f"{seed}/{peers}",
        voters=VOTERS,
        conditions=Conditions(loss=LOSS),
        limits=limits,
        size_of=lambda message: len(codec.encode_frame(_frame(crowd, message))),
    )
    witness = Witness(crowd)
    crowd.run(seconds)
    rate = crowd.messages / peers / seconds
    size, suspicions = crowd.mean_bytes(), witness.suspicions
    news = _news(crowd, witness)
    first, dead = _death(crowd, witness)
    joined = _join(crowd, witness)
    return Measured(
        peers,
        rate,
        rate * size,
        suspicions,
        witness.deaths,
        news,
        news / log10(peers),
        first,
        dead,
        joined,
        time.perf_counter() - began,
    )


def _frame(crowd: Crowd, message: Message) -> Frame:
    source = crowd.seats[0].peer
    return Frame(PROTOCOL_VERSION, source, 1, 1, 1_000, ClusterId("0" * 32), (message,))


def _news(crowd: Crowd, witness: Witness) -> float:
    speaker = crowd.seats[len(crowd.seats) // 3]
    speaker.core.describe(score=77)
    witness.expect(lambda member: member.peer == speaker.peer and member.score == 77)
    others = len(crowd.seats) - 1
    return _until(crowd, lambda: len(witness.seen) >= others)


def _death(crowd: Crowd, witness: Witness) -> tuple[float, float]:
    victim = crowd.seats[len(crowd.seats) // 2]
    crowd.crash(victim)
    began = crowd.now
    gone = MemberState.DEAD
    witness.expect(lambda member: member.peer == victim.peer and member.state is gone)
    others = len(crowd.seats) - 1
    last = _until(crowd, lambda: len(witness.seen) >= others)
    return min(witness.seen.values()) - began, last


def _join(crowd: Crowd, witness: Witness) -> float:
    began = crowd.now
    newcomer = crowd.join(crowd.seats[0])
    others = len(crowd.running()) - 1
    witness.expect(lambda member: member.peer == newcomer.peer)
    witness.seen[0] = began  # Whom it greeted.

    def known() -> bool:
        return len(witness.seen) >= others and newcomer.core.here_count() > others

    return _until(crowd, known)


def _until(crowd: Crowd, holds: Callable[[], bool]) -> float:
    began = crowd.now
    if not crowd.run_until(holds, BOUND_SECONDS):
        raise AssertionError(f"not within {BOUND_SECONDS:g} s: {len(crowd.seats)} members")
    return crowd.now - began


def table(measured: list[Measured]) -> str:
    rows = [
        "| peers | messages/s | bytes/s | false suspicions | false deaths | news to all, s "
        "| by log10 | dead: first, s | dead: all, s | join, s | wall, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*rows, *map(_row, measured)])


def _row(one: Measured) -> str:
    return (
        f"| {one.peers:,} | {one.messages:.1f} | {one.bytes:.0f} | {one.false_suspicions} "
        f"| {one.false_deaths} | {one.news_seconds:.2f} | {one.news_over_log:.2f} "
        f"| {one.first_seconds:.2f} | {one.dead_seconds:.2f} | {one.join_seconds:.2f} "
        f"| {one.wall_seconds:.0f} |"
    )


def drawn(measured: list[Measured]) -> str:
    """The plot: seconds on the left, what one member sends on the right."""
    sizes = [float(one.peers) for one in measured]
    seconds = [
        Series("a death known to all", [one.dead_seconds for one in measured]),
        Series("a newcomer known to all", [one.join_seconds for one in measured]),
        Series("news known to all", [one.news_seconds for one in measured]),
    ]
    traffic = [
        Series("messages", [one.messages for one in measured]),
        Series("bytes / 100", [one.bytes / 100 for one in measured]),
    ]
    return plot(sizes, "members", [("seconds", seconds), ("each member, per second", traffic)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/scale", description=__doc__)
    parser.add_argument("--peers", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=10.0, help="at rest (default 10)")
    parser.add_argument("--seed", default="scale")
    parser.add_argument("--json", type=Path, help="write what was measured here")
    parser.add_argument("--svg", type=Path, help="write a plot here")
    options = parser.parse_args()
    measured = []
    for peers in options.peers:
        measured.append(measure(peers, options.seconds, options.seed))
        print(table(measured[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(measured))
    if options.json is not None:
        options.json.write_text(json.dumps([one._asdict() for one in measured], indent=2) + "\n")
    if options.svg is not None:
        options.svg.write_text(drawn(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
