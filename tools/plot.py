"""A line plot as SVG: side by side, over one logarithmic axis. For the pages of `docs/`."""

from collections.abc import Sequence
from math import log10
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 34, 44
COLOURS = ("#1b6ca8", "#c8553d", "#3c7d4f", "#7a5195")
TICKS = 4
FONT = 'font-family="sans-serif" font-size="11"'


class Series(NamedTuple):
    """One line. values: as many as there are places on the axis."""

    name: str
    values: list[float]


def plot(places: Sequence[float], axis: str, panels: Sequence[tuple[str, Sequence[Series]]]) -> str:
    """places: along the logarithmic axis, all greater than 0. panels: title and lines of each."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(panels)}" '
        f'height="{HEIGHT}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}">',
        f'<rect width="{WIDTH * len(panels)}" height="{HEIGHT}" fill="white"/>',
    ]
    for number, (title, lines) in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += _panel(places, axis, title, lines)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(places: Sequence[float], axis: str, title: str, lines: Sequence[Series]) -> list[str]:
    top = _round_up(max(value for line in lines for value in line.values))
    first, last = log10(min(places)), log10(max(places))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(place: float) -> float:
        return LEFT + width * ((log10(place) - first) / (last - first) if last > first else 0.5)

    def up(value: float) -> float:
        return TOP + height * (1 - value / top)

    parts = [_text(LEFT, 16, title, weight="bold")]
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        parts.append(_line(LEFT, up(value), WIDTH - RIGHT, up(value), "#dddddd"))
        parts.append(_text(LEFT - 6, up(value) + 4, f"{value:g}", anchor="end"))
    for place in places:
        parts.append(_line(across(place), TOP, across(place), TOP + height, "#eeeeee"))
        parts.append(_text(across(place), TOP + height + 16, f"{place:,g}", anchor="middle"))
    parts.append(_text(LEFT + width / 2, HEIGHT - 10, axis, anchor="middle"))
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        points = [(across(p), up(v)) for p, v in zip(places, line.values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(LEFT + 8, TOP + 14 + 14 * number, line.name, colour=colour))
    return parts


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 8 and 12 times a power of ten."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** int(log10(value) // 1)
    return next(step * unit for step in (1, 2, 4, 8, 12) if step * unit >= value)


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = "#333333",
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {FONT} text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
