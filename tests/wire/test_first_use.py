"""The first words that come to several peers of one process, each on a thread of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, threading
from pathlib import Path
from mabeam_p2p.config import Limits
from mabeam_p2p.wire import bulk, codec, joining, local

sys.setswitchinterval(1e-6)


def sample(name: str) -> bytes:
    return bytes.fromhex(Path(f"tests/vectors/{name}.1.hex").read_text())


commands = codec.CborCodec(Limits()).decode_commands
greeting = local.encode(local.Greet(local.LOCAL_VERSION, ""))
READERS = (
    (codec.CborCodec(Limits()).decode_frame, sample("frame_Hello")),
    (lambda data: commands(1, data), sample("command_Tick")),
    (joining.JoinCodec().decode, sample("joining_JoinAsk")),
    (bulk.BulkCodec(Limits()).decode, sample("bulk_BulkWant")),
    (lambda data: tuple(local.client_messages(Limits()).feed(data)), greeting),
)
for read, data in READERS:
    gate = threading.Barrier(8)

    def first() -> None:
        gate.wait()
        read(data)

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
            [sys.executable, "-B", "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT
        )
        assert ended.returncode == 0, ended.stderr
