"""What a planted bug is."""

from typing import NamedTuple


class Edit(NamedTuple):
    """Replace `old`, which stands once in `path`."""

    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    name: str
    what: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...] = ()
    """Written for this bug: tried before the simulator."""
