"""The real codec, with a memory: what one peer has decoded, the others need not decode again."""

from collections.abc import Sequence

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Frame
from mabeam_p2p.ports import Codec
from mabeam_p2p.testing.traffic import check_frame
from mabeam_p2p.testing.violation import Violation


def through(codec: Codec, peer: PeerId, frame: Frame, limits: Limits) -> Frame:
    """A frame of `peer` as it comes out at the other end of a wire: as it was."""
    data = codec.encode_frame(frame)
    check_frame(peer, frame, len(data), limits)
    decoded = codec.decode_frame(data)
    if decoded != frame:
        raise Violation("codec", f"{frame} comes back as {decoded}")
    return decoded


class RememberingCodec:
    """Satisfies ports.Codec. Forgets nothing while it lives: for one run."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._decoded: dict[tuple[int, bytes], tuple[AnyCommand, ...]] = {}

    def encode_frame(self, frame: Frame) -> bytes:
        return self._codec.encode_frame(frame)

    def fits(self, data: bytes) -> bool:
        return self._codec.fits(data)

    def decode_frame(self, data: bytes) -> Frame:
        return self._codec.decode_frame(data)

    def encode_commands(self, commands: Sequence[AnyCommand]) -> bytes:
        return self._codec.encode_commands(commands)

    def decode_commands(self, count: int, blob: bytes) -> tuple[AnyCommand, ...]:
        known = self._decoded.get((count, blob))
        if known is None:
            known = self._codec.decode_commands(count, blob)
            self._decoded[count, blob] = known
        return known
