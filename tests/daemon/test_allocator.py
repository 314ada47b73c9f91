"""What a daemon frees is there for what comes next."""

import os
import platform
import subprocess
import sys

import pytest

LIKE_A_FLOOD = """
import resource
from contextlib import nullcontext
from mabeam_p2p.cli.up import prepared

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def turn():
    frames = [b"x" * 4_000_000 for _ in range(6)]

with {within}:
    turn()
    turn()
    before = faults()
    for _ in range(10):
        turn()
    print(faults() - before)
"""
"""24 MB at a time, on pages of 4 kB that the system clears: some 5,900 a turn."""


def faults(within: str, **environment: str) -> int:
    """Pages that a process had to be given in ten turns."""
    told = ("MALLOC_", "GLIBC_TUNABLES")
    inherited = {key: word for key, word in os.environ.items() if not key.startswith(told)}
    done = subprocess.run(
        [sys.executable, "-c", LIKE_A_FLOOD.format(within=within)],
        env=inherited | environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's allocator")
def test_a_daemon_is_not_given_the_same_pages_again_and_again() -> None:
    prepared = "prepared('text', False)"
    assert faults("nullcontext()") > 10_000
    assert faults(prepared) < 1_000
    # Who has told the allocator what to keep is not contradicted.
    assert faults(prepared, MALLOC_TRIM_THRESHOLD_="1048576") > 10_000
    assert faults(prepared, GLIBC_TUNABLES="glibc.malloc.trim_threshold=1048576") > 10_000
