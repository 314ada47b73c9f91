"""A history of calls as a picture in text, for whoever has to see why no order explains it.

client          call                          result         0 ms        120 ms
agent-0@peer-a  put(b'x')                     3              |--|
agent-1@peer-b  take('b/7/1')                 (b'x', 4)        |-----|
agent-1@peer-b  lost('b/7/1')                 (may be)            |------------>
"""

from collections.abc import Iterable
from math import inf

from mabeam_p2p.testing.wing_gong import Call

WIDTH = 60
"""Columns for the time."""


def draw(calls: Iterable[Call]) -> str:
    """One line for each call, in order of invocation. `>`: it never returned. Times in
    microseconds, as the simulator has them."""
    rows = sorted(calls, key=lambda call: (call.invoked, call.returned))
    if not rows:
        return "no calls"
    begin = rows[0].invoked
    end = max(max(row.invoked for row in rows), *(r.returned for r in rows if r.returned < inf), 0)
    scale = (WIDTH - 1) / max(end - begin, 1)
    table = [("client", "call", "result", f"0 to {(end - begin) / 1000:.0f} ms")]
    for row in rows:
        first = int((row.invoked - begin) * scale)
        last = WIDTH if row.returned == inf else int((row.returned - begin) * scale)
        end_sign = ">" if row.returned == inf else "|"
        bar = (
            " " * first + "|" + "-" * max(0, last - first - 1) + (end_sign if last > first else "")
        )
        arguments = ", ".join(map(repr, row.arguments))
        result = "(may be)" if row.may else repr(row.result)
        table.append((row.client, f"{row.action}({arguments})", result, bar))
    widths = [max(len(line[column]) for line in table) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[3]])
        for line in table
    )
