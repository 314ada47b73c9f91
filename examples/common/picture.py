"""Line charts as SVG, written by hand."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 200, 48, 48
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#e3a018", "#6a4c93", "#5b5f66", "#00a6a6", "#a05c2c")
GREY = "#9aa0a6"
TICKS = 6


class Series(NamedTuple):
    """One line. is_faint: one of many that stand behind the others."""

    label: str
    points: Sequence[tuple[float, float]]
    is_faint: bool = False


def chart(title: str, x_label: str, y_label: str, lines: Sequence[Series]) -> str:
    """A whole SVG document. There must be a point."""
    points = [point for line in lines for point in line.points]
    x_ticks = _ticks([x for x, _ in points])
    y_ticks = _ticks([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return round(LEFT + across * plot_width, 1), round(HEIGHT - BOTTOM - up * plot_height, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="#202124">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
        f'<text x="{LEFT}" y="{TOP - 8}" text-anchor="middle">{escape(y_label)}</text>',
    ]
    for tick in x_ticks:
        x, y = place(tick, y_ticks[0])
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{tick:g}</text>')
    for tick in y_ticks:
        x, y = place(x_ticks[0], tick)
        parts.append(f'<line x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#e4e6e8"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    colours = iter(COLOURS * (1 + len(lines) // len(COLOURS)))
    labels = 0
    for line in sorted(lines, key=lambda line: not line.is_faint):
        colour = GREY if line.is_faint else next(colours)
        width = 1 if line.is_faint else 2
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in line.points))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )
        if line.label:
            y = TOP + 8 + 18 * labels
            labels += 1
            x = WIDTH - RIGHT + 16
            parts.append(f'<rect x="{x}" y="{y - 6}" width="14" height="4" fill="{colour}"/>')
            parts.append(f'<text x="{x + 20}" y="{y}">{escape(line.label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same with level steps: each value holds until the next one."""
    corners = list(points[:1])
    for before, after in pairwise(points):
        corners += [(after[0], before[1]), after]
    return corners


def stacked(charts: Sequence[str]) -> str:
    """One document with the charts below each other."""
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        chart.replace("<svg ", f'<svg y="{number * HEIGHT}" {size} ', 1)
        for number, chart in enumerate(charts)
    ]
    whole = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * len(charts)}">'
    return "\n".join([whole, *parts, "</svg>", ""])


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers from below the least to above the greatest."""
    low, high = min(values), max(values)
    if low == high:
        high = low + 1.0
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * n, 10) for n in range(first, last + 1)]
