"""What is measured of a peer while it runs, for monitors. Never stored, and nothing decides by it.

Names are those of `mabeam_p2p/observe/catalogue.py`, which says what each of them means.
"""

from msgspec import Struct


class Figure(Struct, frozen=True, gc=False, array_like=True):
    """One number. Of several with one name, `label` tells which: a member's state, or a peer."""

    name: str
    value: int | float
    label: str = ""


class Histogram(Struct, frozen=True, gc=False, array_like=True):
    """How often something took how long. Seconds."""

    name: str
    bounds: tuple[float, ...]
    """Upper bounds, ascending; beyond the last one there is one more count."""
    counts: tuple[int, ...]
    """One more than bounds; each is what lies between two of them."""
    total: float
    """Of all that was measured, together."""
