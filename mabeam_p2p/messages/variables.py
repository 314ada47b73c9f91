"""40..49: variables."""

from msgspec import Struct

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Variable


class VariablePush(Struct, frozen=True, gc=False, array_like=True, tag=40):
    """Variables as the speaker holds them; they become visible together."""

    number: int
    """0: wants no acknowledgement."""
    variables: tuple[Variable, ...]
    base: int = 0
    """Hash of what the contexts may lack (protocol/variables/marks.py); 0: nothing."""
    answers: int = 0
    """The number of the VariableWant that this answers; 0: it answers none."""


class VariableAck(Struct, frozen=True, gc=False, array_like=True, tag=41):
    number: int
    outcomes: tuple[int, ...]
    """For each variable of the push: 0 applied, 1 superseded, 2 merged, 3 refused."""


class Digest(Struct, frozen=True, gc=False, array_like=True, tag=42):
    """Was the first message of a comparison by buckets. Kept for its tag; nobody sends it, and it
    has no effect."""

    buckets: tuple[int, ...]
    newcomer: bool
    """The speaker has not yet been given everything once."""


class DigestEntries(Struct, frozen=True, gc=False, array_like=True, tag=43):
    """Was the answer to a Digest. Kept for its tag; nobody sends it, and it has no effect."""

    buckets: tuple[int, ...]
    entries: tuple[tuple[str, int], ...]
    last: bool
    """No more entries follow for this digest."""


class VariableWant(Struct, frozen=True, gc=False, array_like=True, tag=44):
    names: tuple[str, ...]
    base: int = 0
    """The speaker's, as in VariablePush."""
    number: int = 0
    """Comes back with the answer: one that comes twice does not answer the next question."""


class VariableSpread(Struct, frozen=True, gc=False, array_like=True, tag=45):
    """A write that travels down a tree: the receiver takes it in, and passes it on to the members
    from `first` to `last`, in the order of their ids."""

    number: int
    """Of the writer's push; 0: wants no acknowledgement."""
    writer: PeerId
    first: PeerId
    last: PeerId
    """Both are the receiver itself if nobody is below it."""
    variables: tuple[Variable, ...]
    base: int
    """As in VariablePush."""


class PeerAcks(Struct, frozen=True, gc=False, array_like=True):
    """Peers that acknowledge a write with the same outcomes."""

    outcomes: tuple[int, ...]
    """As in VariableAck."""
    peers: tuple[PeerId, ...]


class SpreadAcks(Struct, frozen=True, gc=False, array_like=True, tag=46):
    """What members below the speaker, and the speaker itself, acknowledge: on its way up."""

    number: int
    writer: PeerId
    acks: tuple[PeerAcks, ...]


class TreeAsk(Struct, frozen=True, gc=False, array_like=True, tag=47):
    """What is below these nodes of your hash tree, where it differs from mine?"""

    number: int
    """Of this question; greater than those before it."""
    nodes: tuple[tuple[int, int], ...]
    """(node, hash): at most as many as an answer lists."""
    known: int
    base: int
    """Hashes of the speaker's marks; 0 if empty."""
    clock: int
    """The speaker's time, microseconds since 1970."""
    newcomer: bool
    """The speaker has not yet been given everything once."""


class TreeAnswer(Struct, frozen=True, gc=False, array_like=True, tag=48):
    """Of the first `answered` nodes of a TreeAsk, those that differ: the hashes of their children,
    or all names below."""

    number: int
    answered: int
    nodes: tuple[tuple[int, tuple[int, ...]], ...]
    """(node, hash of each of its sixteen children)."""
    listed: tuple[int, ...]
    """Nodes whose names all stand in `entries`."""
    entries: tuple[tuple[str, int], ...]
    """(name, fingerprint)."""
    whole: bool
    """Whether every name of the listed nodes has found room."""
    same: bool
    """The speaker knows exactly what the asker's hash stands for, and `known` is left out."""
    known: tuple[tuple[PeerId, int], ...]
    base_hash: int
    base: tuple[tuple[PeerId, int], ...]
    """Left out, too, if the hashes are equal."""
    clock: int
    newcomer: bool = False
    """The speaker itself has not yet been given everything once."""


class TreeDone(Struct, frozen=True, gc=False, array_like=True, tag=49):
    """You hold now what I held when the comparison began whose last question was `number`; these
    are the marks that I had then."""

    number: int
    known: tuple[tuple[PeerId, int], ...]
    base: tuple[tuple[PeerId, int], ...]
    clock: int


VariableMessage = (
    VariablePush
    | VariableAck
    | VariableWant
    | VariableSpread
    | SpreadAcks
    | TreeAsk
    | TreeAnswer
    | TreeDone
)
FormerVariableMessage = Digest | DigestEntries
"""What was sent once, is still read, and has no effect."""
