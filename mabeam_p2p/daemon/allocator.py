"""What a daemon frees it keeps for what comes next, up to a bound. glibc gives back what lies free
beyond twice the largest block, so that a peer that is told much is given the same pages again and
again; to have one cleared takes longer than to write into it.
"""

import ctypes
import os

MAPPED_BYTES_MIN = 32 * 1024 * 1024
"""Blocks from this size on are given back at once: several times the largest frame."""
KEPT_BYTES = 64 * 1024 * 1024
"""What may lie free at the end of each arena: more than the messages of a few turns."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
_TOLD_BY = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_what_is_freed() -> None:
    """Nothing where the environment tells the allocator otherwise, or where it is another one."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not any(name in os.environ for name in _TOLD_BY):
        mallopt(_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
