"""The real codec, with a memory: what one peer has decoded, the others need not decode again."""

from collections.abc import Sequence

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.messages import Frame
from mabeam_p2p.ports import Codec


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
