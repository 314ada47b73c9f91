"""The first words that come to several peers of one process, each on a thread of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from mabeam_p2p.config import Limits
from mabeam_p2p.wire import bulk, cbor, codec, joining, local
from tests.hostile import archive

sys.setswitchinterval(1e-6)
FILES = archive.read()
READERS = {
    "frame": codec.CborCodec(Limits()).decode_frame,
    "command": lambda data: codec.CborCodec(Limits()).decode_commands(1, data),
    "joining": joining.JoinCodec().decode,
    "bulk": bulk.BulkCodec(Limits()).decode,
    "local": lambda data: tuple(
        local.client_messages(Limits()).feed(len(data).to_bytes(4, "big") + data)
    ),
}
for way_in, read in READERS.items():
    data = next(data for name, data in FILES.items() if name.startswith(way_in + "/"))
    gate = threading.Barrier(8)

    def first() -> None:
        gate.wait()
        try:
            read(data)
        except Exception:
            pass

    threads = [threading.Thread(target=first) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
"""


@pytest.mark.slow
def test_threads_that_read_at_once_do_not_end_the_process() -> None:
    for _ in range(3):
        ended = subprocess.run(
            [sys.executable, "-B", "-c", PROGRAM], capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
