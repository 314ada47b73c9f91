"""Counts what a write of a variable costs, pushed to each member and down a tree, and what it takes
to find what differs among many names; in virtual time.

A message takes 0.5 to 0.75 ms on its way, and 20 microseconds of who sends it and of who receives
it: about what one costs on one core under CPython. Nothing is lost.
"""

import argparse
import sys
from collections import Counter
from math import log
from pathlib import Path
from typing import NamedTuple

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import (
    Frame,
    Message,
    SpreadAcks,
    VariableAck,
    VariablePush,
    VariableSpread,
)
from mabeam_p2p.requests import WAIT_ALL, VariableChange
from mabeam_p2p.testing.variable_cores import VariableCores
from mabeam_p2p.wire.codec import CborCodec

COST = 0.00002
DELAY = 0.0005
VALUE = bytes(100)
WRITES = 5
"""Of each kind: figures are means."""
COUNTED = (VariablePush, VariableSpread, VariableAck, SpreadAcks)


class Spread(NamedTuple):
    """What one write cost."""

    messages: float
    """All together, acknowledgements too."""
    at_writer: float
    """Sent and received by the writer."""
    bytes: float
    """Of all of them."""
    all_have: float
    """Milliseconds until the last member has it."""
    all_told: float
    """Milliseconds until the writer knows."""


class Counting:
    """Hears of every message."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.by_peer: Counter[PeerId] = Counter()
        self._codec = CborCodec(Limits())

    def __call__(self, source: PeerId, target: PeerId, message: Message) -> None:
        self.messages += 1
        self.by_peer[source] += 1
        self.by_peer[target] += 1
        frame = Frame(1, source, 1, 1, 1, ClusterId("0" * 32), (message,))
        self.bytes += len(self._codec.encode_frame(frame))


def spread(count: int, fanout: int) -> Spread:
    """fanout 0: to each member directly."""
    limits = Limits(spread_from_peers=2 if fanout else 1_000_000, spread_fanout=fanout or 1)
    # Nobody compares while a write is under way.
    timing = Timing(gossip_interval_seconds=10_000.0, push_timeout_seconds=60.0)
    counting = Counting()
    is_counting = [False]

    def hear(source: PeerId, target: PeerId, message: Message) -> None:
        if is_counting[0] and isinstance(message, COUNTED):
            counting(source, target, message)

    cores = VariableCores(
        count, timing=timing, limits=limits, seed=count, delay=DELAY, cost=COST, on_send=hear
    )
    cores.run(10.0)
    is_counting[0] = True
    writer = cores.peers[count // 2]
    have = told = 0.0
    for number in range(WRITES):
        began, name = cores.now, f"v{number}"
        token = cores.write(writer, VariableChange(name, "lww", VALUE), wait=WAIT_ALL)
        while token not in writer.answers:
            cores.run(0.00001)
        told += cores.now - began
        have += max(peer.changed_at[name] for peer in cores.peers) - began
    return Spread(
        counting.messages / WRITES,
        counting.by_peer[writer.peer] / WRITES,
        counting.bytes / WRITES,
        have / WRITES * 1_000,
        told / WRITES * 1_000,
    )


class Found(NamedTuple):
    """What one comparison cost."""

    messages: int
    bytes: int
    milliseconds: float


def find(names: int, differences: int) -> Found:
    """Of two peers that hold so many variables, one changes so many; then they compare."""
    limits = Limits(variables_max=2 * names)
    timing = Timing(gossip_interval_seconds=10_000.0, push_timeout_seconds=10_000.0)
    counting = Counting()
    is_counting = [False]

    def hear(source: PeerId, target: PeerId, message: Message) -> None:
        if is_counting[0]:
            counting(source, target, message)

    cores = VariableCores(2, timing=timing, limits=limits, delay=DELAY, cost=COST, on_send=hear)
    first, second = cores.peers
    for begin in range(0, names, 500):
        some = range(begin, min(names, begin + 500))
        cores.write(first, *(VariableChange(f"model/{n}", "lww", b"1") for n in some))
        cores.run(0.1)
    for _ in range(3):
        cores.compare(second, first)
        cores.run(5.0)
    assert cores.is_even()
    cores.part([[first], [second]])
    step = max(1, names // max(1, differences))
    for number in range(differences):
        cores.write(first, VariableChange(f"model/{number * step}", "lww", b"2"))
    cores.run(5.0)
    cores.heal()
    is_counting[0] = True
    began = cores.now
    cores.compare(second, first)
    cores.run(0.0001)
    while second.core.is_comparing(cores.now):
        cores.run(0.0001)
    ended = cores.now
    cores.run(1.0)
    assert cores.is_even()
    return Found(counting.messages, counting.bytes, (ended - began) * 1_000)


# ---- what is printed ---------------------------------------------------------------------------


def figure(rows: list[tuple[int, str, Spread]]) -> str:
    """Time until the writer knows over the number of peers, as SVG; both axes logarithmic."""
    width, height, margin = 640, 400, 60
    kinds = list(dict.fromkeys(kind for _, kind, _ in rows))
    peers = sorted(dict.fromkeys(count for count, _, _ in rows))
    times = [row.all_told for _, _, row in rows]

    def place(value: float, values: list[float], length: int) -> float:
        low, high = min(values), max(values)
        return 0.0 if low == high else length * log(value / low) / log(high / low)

    colours = ("#c0392b", "#2471a3", "#1e8449", "#7d3c98")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{margin}" y="24">milliseconds until the writer knows that all have it</text>',
        f'<text x="{width - margin - 40}" y="{height - 16}">peers</text>',
    ]
    inner_width, inner_height = width - 2 * margin - 60, height - 2 * margin
    for count in peers:
        x = margin + place(count, [float(p) for p in peers], inner_width)
        lines.append(f'<text x="{x:.0f}" y="{height - margin + 22}">{count}</text>')
    for place_of, kind in enumerate(kinds):
        points, colour = [], colours[place_of % len(colours)]
        for count, other, row in rows:
            if other == kind:
                x = margin + place(count, [float(p) for p in peers], inner_width)
                y = height - margin - place(row.all_told, times, inner_height)
                points.append((x, y))
                lines.append(f'<text x="{x + 4:.0f}" y="{y - 5:.0f}">{row.all_told:.1f}</text>')
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(
            f'<text x="{margin + 10}" y="{50 + 18 * place_of}" fill="{colour}">{kind}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/spread", description=__doc__)
    parser.add_argument("--peers", type=int, nargs="*", default=[16, 64, 256, 1_000])
    parser.add_argument("--fanout", type=int, nargs="*", default=[4, 8, 16])
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--differences", type=int, nargs="*", default=[0, 1, 10, 1_000])
    parser.add_argument("--figure", help="write the times as SVG into this file")
    options = parser.parse_args()
    rows: list[tuple[int, str, Spread]] = []
    if options.peers:
        print(
            "| peers | way | messages | at the writer | KB | all have it, ms | writer knows, ms |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in options.peers:
        for fanout in (0, *options.fanout):
            kind = f"tree of {fanout}" if fanout else "direct"
            row = spread(count, fanout)
            rows.append((count, kind, row))
            print(
                f"| {count:,} | {kind} | {row.messages:,.0f} | {row.at_writer:,.0f} "
                f"| {row.bytes / 1_000:,.0f} | {row.all_have:.1f} | {row.all_told:.1f} |",
                flush=True,
            )
    if options.figure:
        Path(options.figure).write_text(figure(rows), encoding="utf-8")
    if options.differences:
        print("\n| names | differ | messages | bytes | ms |\n| --- | --- | --- | --- | --- |")
    for differences in options.differences:
        found = find(options.names, differences)
        print(
            f"| {options.names:,} | {differences:,} | {found.messages} | {found.bytes:,} "
            f"| {found.milliseconds:.1f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
