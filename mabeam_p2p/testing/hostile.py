"""A member that says whatever the wire lets through, with wild numbers, beside what its own node
says. Only its identity is its own: that is proved to others before anything is heard.

What one that is no voter can do without breaking anything it ought not to is left out, and no
more. It can tell who knows no voters yet any log at all: a newcomer has nobody else to believe.
And it can lie about its own log, and about who is alive: no safety hangs on it (`Checkers.liars`).
A voter that lies can undo what was acknowledged; Raft holds among peers that follow it
(docs/guarantees.md). So it does not ask to become one, and where others make it one the run ends.
"""

from enum import Enum
from random import Random
from types import UnionType
from typing import cast, get_args, get_origin

from msgspec import Struct
from msgspec.structs import fields

from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.ids import INTEGER_MAX, ClusterId, PeerId
from mabeam_p2p.messages import (
    AppendEntries,
    ChangeVoter,
    CommitAdvance,
    Form,
    Frame,
    Heard,
    Heartbeat,
    Offer,
)
from mabeam_p2p.ports import Codec
from mabeam_p2p.protocol.node import Node

KINDS: tuple[type[Struct], ...] = tuple(kind for kind in get_args(Heard) if kind is not ChangeVoter)
"""All but the command to make itself a voter, or to take others out: it would be obeyed."""
CLAIMS = (AppendEntries, CommitAdvance, Form, Heartbeat, Offer)
"""What a newcomer believes."""

_INTEGERS = (*range(5), 10, 1_000, 2**32, 2**52, INTEGER_MAX - 1, INTEGER_MAX)
_WORDS = ("", "v", "all", "lww", "max", "overloaded", "10.0.0.1:7000")
_BYTES = (b"", b"\xf6", b"x" * 10, b"\x83\x01\x00\x00")
"""The last is a command: the no-op."""


class HostileMember:
    """Draws the messages of one run."""

    def __init__(self, codec: Codec, random: Random, peers: list[PeerId]) -> None:
        self.said = 0
        """Messages that the wire let through."""
        self._codec = codec
        self._random = random
        self._peers = peers

    def frame(self, node: Node, target: Node) -> Frame | None:
        """What `node` says to `target`, as it comes out at the other end; None: it was not let
        through."""
        kind = self._random.choice(KINDS)
        if kind in CLAIMS and not target.replication.voters:
            return None
        try:
            message = cast(Heard, self._struct(kind, target))
            data = self._codec.encode_frame(node.frame(target.peer, (message,)))
            frame = self._codec.decode_frame(data)
        except (InvalidValue, RemoteProtocolError):
            return None
        self.said += 1
        return frame

    def _struct(self, kind: type[Struct], target: Node) -> Struct:
        return kind(**{field.name: self._draw(field.type, target) for field in fields(kind)})

    def _draw(self, kind: object, target: Node) -> object:
        choose, parts = self._random.choice, get_args(kind)
        if get_origin(kind) is tuple and parts[-1] is ...:
            return tuple(self._draw(parts[0], target) for _ in range(choose((0, 1, 1, 2))))
        if get_origin(kind) is tuple:
            return tuple(self._draw(part, target) for part in parts)
        if isinstance(kind, UnionType):
            return self._draw(choose(parts), target)
        if kind is PeerId:
            return choose(self._peers)
        if kind is ClusterId:
            return choose((target.links.cluster_id, ClusterId("f" * 32)))
        plain = getattr(kind, "__supertype__", kind)
        if isinstance(plain, type) and issubclass(plain, Enum):
            return choose(list(plain))
        if isinstance(plain, type) and issubclass(plain, Struct):
            return self._struct(plain, target)
        if plain is int and self._random.random() < 0.7:
            log = target.replication.log
            edge = choose((target.replication.term, log.last_index, log.last_term))
            return max(0, edge + choose((-1, 0, 0, 1)))
        values: dict[object, tuple[object, ...]] = {
            int: _INTEGERS,
            str: _WORDS,
            bytes: _BYTES,
            bool: (False, True),
            float: (0.0, 1.0, 1e300),
        }
        return choose(values.get(plain, (None,)))
