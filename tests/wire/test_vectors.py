"""Golden vectors: what was written once is read for ever.

A file of `tests/vectors` holds one frame, one command of a batch, one bulk header, one word of an
introduction, or one message of the local socket with its length, in hexadecimal. It is never
edited. A new message, or a field that a message has gained, brings a new file beside the old:
`pytest tests/wire/test_vectors.py --write-vectors` writes those that are missing.
"""

from pathlib import Path
from typing import Any

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.wire import cbor, local
from mabeam_p2p.wire.bulk import BulkCodec
from mabeam_p2p.wire.codec import CborCodec
from mabeam_p2p.wire.joining import JoinCodec
from tests.hostile.local_samples import EACH_REQUEST
from tests.hostile.local_samples import label_of as client_label_of
from tests.wire.daemon_samples import DAEMON_MESSAGES
from tests.wire.daemon_samples import label_of as daemon_label_of
from tests.wire.samples import BULK, COMMANDS, JOINING, MESSAGES, frame_of, plain_lists

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
CODEC = CborCodec(Limits())
BULK_CODEC = BulkCodec(Limits())
JOIN_CODEC = JoinCodec()
LINE_DIGITS = 96

SPECIMENS = (
    {
        f"frame_{type(message).__name__}": CODEC.encode_frame(frame_of(message))
        for message in MESSAGES
    }
    | {f"bulk_{type(one.message).__name__}": BULK_CODEC.encode(one) for one in BULK}
    | {f"joining_{type(one).__name__}": JOIN_CODEC.encode(one) for one in JOINING}
    | {
        f"command_{type(command).__name__}": CODEC.encode_commands([command])
        for command in COMMANDS
    }
    | {
        f"local_client_{client_label_of(message)}": local.encode(message)
        for message in EACH_REQUEST
    }
    | {
        f"local_daemon_{daemon_label_of(message)}": local.encode(message)
        for message in DAEMON_MESSAGES
    }
)
"""What is written today."""


def versions(name: str) -> list[Path]:
    return sorted(FOLDER.glob(f"{name}.*.hex"))


def stored(path: Path) -> bytes:
    return bytes.fromhex(path.read_text(encoding="ascii"))


def store(path: Path, data: bytes) -> None:
    digits = data.hex()
    lines = [digits[at : at + LINE_DIGITS] for at in range(0, len(digits), LINE_DIGITS)]
    path.write_text("\n".join([*lines, ""]), encoding="ascii")


@pytest.mark.parametrize("name", SPECIMENS)
def test_what_is_written_today_has_a_vector(name: str, request: pytest.FixtureRequest) -> None:
    known = [stored(path) for path in versions(name)]
    if request.config.getoption("--write-vectors", default=False) and SPECIMENS[name] not in known:
        store(FOLDER / f"{name}.{len(known) + 1}.hex", SPECIMENS[name])
        known.append(SPECIMENS[name])
    assert SPECIMENS[name] in known, "the wire has changed: see --write-vectors"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.hex")), ids=lambda path: path.stem)
def test_what_was_written_once_means_the_same(path: Path) -> None:
    data = stored(path)
    if path.stem.startswith("frame_"):
        read = plain_lists(CODEC.decode_frame(data))
    elif path.stem.startswith("bulk_"):
        read = plain_lists(BULK_CODEC.decode(data))
    elif path.stem.startswith("joining_"):
        read = plain_lists(JOIN_CODEC.decode(data))
    elif path.stem.startswith("local_"):
        is_client = path.stem.startswith("local_client_")
        reader = local.client_messages(Limits()) if is_client else local.daemon_messages()
        (message,) = reader.feed(data)
        read, data = plain_lists(message), data[local.LENGTH_BYTES :]
    else:
        (command,) = CODEC.decode_commands(1, data)
        read = plain_lists(command)
    assert begins_with(read, cbor.decode(data, size_max=len(data)))


def begins_with(new: Any, old: Any) -> bool:
    """Whether both are the same but for fields that were appended since."""
    if not isinstance(old, tuple):
        return bool(new == old)
    return len(new) >= len(old) and all(
        begins_with(now, once) for now, once in zip(new, old, strict=False)
    )


def test_a_changed_meaning_would_be_seen() -> None:
    assert begins_with([1, [2, 3], 4], (1, (2,)))
    assert not begins_with([1, [3]], (1, (2,)))
    assert not begins_with([1], (1, 2))
