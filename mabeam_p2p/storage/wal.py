"""Whether a write-ahead log of SQLite has lost more than its tail.

SQLite takes the first frame with a wrong checksum for the end of its log. After a crash that is
right: the last transaction was being written. After damage it is not: every transaction behind the
damage would be dropped without a word. Here the two are told apart.

A transaction is synced before the next one begins, so that a crash can tear the last one only,
whatever order the disk wrote its frames in. Frames behind the first bad one that belong to more
than one transaction are therefore proof of damage:

1. a transaction ends with the one frame in it that has a database size;
2. within a transaction page numbers grow, each page once, as nothing is spilled before its commit.

Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct
from itertools import pairwise
from typing import NamedTuple

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_MAGIC_LITTLE, _MAGIC_BIG = 0x377F0682, 0x377F0683
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_WORD = 0xFFFFFFFF


class _FrameHead(NamedTuple):
    page: int
    database_pages: int
    """Not 0: this frame ends a transaction."""


def find_damage(data: bytes, page_bytes: int) -> int | None:
    """Offset of a damaged frame that has later transactions behind it; None if there is none.

    data: the whole file, as a crash left it. page_bytes: of the database.
    """
    frame_bytes = FRAME_HEADER_BYTES + page_bytes
    if len(data) < HEADER_BYTES + frame_bytes:
        return None
    magic, _, header_page_bytes, _, salt, other_salt, *sums = _HEADER.unpack_from(data)
    words = "<" if magic == _MAGIC_LITTLE else ">"
    is_header_right = (
        magic in (_MAGIC_LITTLE, _MAGIC_BIG)
        and header_page_bytes == page_bytes
        and _checksum(words, data[: HEADER_BYTES - 8], (0, 0)) == tuple(sums)
    )
    # The header is synced before any frame, and in one sector: with a frame behind it, of its own
    # log or of the one before, a crash cannot have torn it.
    if not is_header_right:
        return 0
    bad = _first_bad_frame(data, frame_bytes, words, (salt, other_salt), (sums[0], sums[1]))
    later = _heads(data, bad, frame_bytes, (salt, other_salt))
    return bad if _is_more_than_one_transaction(later) else None


def _first_bad_frame(
    data: bytes, frame_bytes: int, words: str, salts: tuple[int, int], sums: tuple[int, int]
) -> int:
    """Its offset, or that of the first one which is not whole."""
    offset = HEADER_BYTES
    while offset + frame_bytes <= len(data):
        _, _, *rest = _FRAME.unpack_from(data, offset)
        body = offset + FRAME_HEADER_BYTES
        sums = _checksum(words, data[offset : offset + 8], sums)
        sums = _checksum(words, data[body : offset + frame_bytes], sums)
        if rest != [*salts, *sums]:
            break
        offset += frame_bytes
    return offset


def _heads(data: bytes, start: int, frame_bytes: int, salts: tuple[int, int]) -> list[_FrameHead]:
    """Frames from the first bad one on, without those that an older log left in the file.

    One salt is enough to know a frame by: a new log changes both, damage seldom hits both.
    """
    heads = []
    for offset in range(start, len(data) - FRAME_HEADER_BYTES + 1, frame_bytes):
        page, database_pages, salt, other_salt, _, _ = _FRAME.unpack_from(data, offset)
        if salt == salts[0] or other_salt == salts[1]:
            heads.append(_FrameHead(page, database_pages))
    return heads


def _is_more_than_one_transaction(heads: list[_FrameHead]) -> bool:
    return any(head.database_pages for head in heads[:-1]) or any(
        one.page >= other.page for one, other in pairwise(heads)
    )


def _checksum(words: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Of a multiple of eight bytes, going on from `sums`."""
    first, second = sums
    numbers = iter(struct.unpack(f"{words}{len(data) // 4}I", data))
    for even, odd in zip(numbers, numbers, strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
