"""40..49: variables."""

from msgspec import Struct

from mabeam_p2p.records import Variable


class VariablePush(Struct, frozen=True, gc=False, array_like=True, tag=40):
    """Variables as the speaker holds them; they become visible together."""

    number: int
    """0: wants no acknowledgement."""
    variables: tuple[Variable, ...]


class VariableAck(Struct, frozen=True, gc=False, array_like=True, tag=41):
    number: int
    outcomes: tuple[int, ...]
    """For each variable of the push: 0 applied, 1 superseded, 2 merged, 3 refused."""


class Digest(Struct, frozen=True, gc=False, array_like=True, tag=42):
    """Hash of each bucket of the speaker's variables; a bucket is the hash of a name."""

    buckets: tuple[int, ...]
    newcomer: bool
    """The speaker has not yet been given everything once."""


class DigestEntries(Struct, frozen=True, gc=False, array_like=True, tag=43):
    """(name, hash of context) of every variable in the buckets that differ."""

    buckets: tuple[int, ...]
    entries: tuple[tuple[str, int], ...]
    last: bool
    """No more entries follow for this digest."""


class VariableWant(Struct, frozen=True, gc=False, array_like=True, tag=44):
    names: tuple[str, ...]


VariableMessage = VariablePush | VariableAck | Digest | DigestEntries | VariableWant
