"""Where bytes from elsewhere come in, and what becomes of them there."""

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.wire import cbor, local
from mabeam_p2p.wire.bulk import BulkCodec
from mabeam_p2p.wire.cbor import GROWTH_FREE_BYTES
from mabeam_p2p.wire.codec import CborCodec
from mabeam_p2p.wire.joining import JoinCodec

LIMITS = Limits()
CODEC = CborCodec(LIMITS)
BULK = BulkCodec(LIMITS)
JOINING = JoinCodec()

ADDITIONS_MAX = 1_000_000
"""Processor time that one input may take: that of a loop of so many additions, 40 to 62 ms in
seven of eight runs where this was written, and 113 in one. In seconds it would depend on what else
the machine does."""
SECONDS_FREE = 0.01
"""Within that on any machine."""
TRIES_MIN, TRIES_MAX = 5, 30
"""Of both. The dearest file takes six tenths of what it may, where nothing else runs."""
JUDGE = """
import sys
from tests.hostile.entrances import is_cheap_here
print(is_cheap_here(sys.argv[1], sys.stdin.buffer.read()))
"""
JUDGED_SECONDS = 120.0
DETAIL_LENGTH_MAX = 300
SIZE_FACTOR = 10
ROOM_BYTES = GROWTH_FREE_BYTES + 64 * 1024
"""Memory that one input may take: so many times its size, and this much besides. The decoder sets
64 kB aside for whatever length it is told."""
VALUE_SIZE_FACTOR = 80
"""Of a user's value, which has at most 64 kB, and may be a list of empty lists: nobody's memory is
at stake but that of the agents who asked for it."""


def read_local(data: bytes) -> tuple[local.ClientMessage, ...]:
    return tuple(local.client_messages(LIMITS).feed(len(data).to_bytes(4, "big") + data))


READERS: dict[str, Callable[[bytes], Any]] = {
    "frame": CODEC.decode_frame,
    "command": lambda data: CODEC.decode_commands(1, data),
    "bulk": BULK.decode,
    "joining": JOINING.decode,
    "local": read_local,
    "value": cbor.decode_value,
}
WRITERS: dict[str, Callable[[Any], bytes]] = {
    "frame": CODEC.encode_frame,
    "command": CODEC.encode_commands,
    "bulk": BULK.encode,
    "joining": JOINING.encode,
    "local": lambda messages: b"".join(map(local.encode, messages))[local.LENGTH_BYTES :],
    "value": lambda value: cbor.encode_value(value, 2**24),
}


def outcome(way_in: str, data: bytes) -> str:
    """Why it was refused; empty: it was read, and is what it says. Raises for anything else."""
    try:
        read = READERS[way_in](data)
    except RemoteProtocolError as error:
        return error.reason if len(error.detail) < DETAIL_LENGTH_MAX else "verbose"
    assert READERS[way_in](WRITERS[way_in](read)) == read
    return ""


def memory_allowed(way_in: str, data: bytes) -> int:
    factor = VALUE_SIZE_FACTOR if way_in == "value" else SIZE_FACTOR
    return factor * len(data) + ROOM_BYTES


def memory_taken(way_in: str, data: bytes) -> int:
    """Bytes at the worst moment of reading it."""
    tracemalloc.start()
    with suppress(RemoteProtocolError):
        READERS[way_in](data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def is_cheap(way_in: str, data: bytes) -> bool:
    """Whether reading it takes no more than it may, here or in a process of its own: in one that
    had run many tests the same reading took 1.2 times as long as additions, and 0.75 in a new one;
    perhaps as its memory lies in pieces."""
    return is_cheap_here(way_in, data) or is_cheap_elsewhere(way_in, data)


def is_cheap_elsewhere(way_in: str, data: bytes) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, way_in],
        input=data,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        timeout=JUDGED_SECONDS,
        check=True,
    )
    return done.stdout == b"True\n"


def is_cheap_here(way_in: str, data: bytes) -> bool:
    """Whether it does in most of some tries: others use the machine too, so each is held against
    additions of the same moment. What these tests hold in memory, which a collection of garbage
    would go through, is not the reader's."""

    def read() -> None:
        with suppress(RemoteProtocolError):
            READERS[way_in](data)

    shares: list[float] = []
    gc.freeze()
    try:
        while len(shares) < TRIES_MAX:
            taken = processor_time(read)
            if taken < SECONDS_FREE:
                return True
            shares.append(taken / processor_time(additions))
            if len(shares) >= TRIES_MIN and median(shares) < 1:
                return True
    finally:
        gc.unfreeze()
    return False


def additions() -> None:
    total = 0
    for number in range(ADDITIONS_MAX):
        total += number


def processor_time(work: Callable[[], None]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
