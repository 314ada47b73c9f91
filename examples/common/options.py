"""What every example can be told."""

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    peers: int
    seed: int
    kill: bool
    quick: bool
    out: Path


def parsed(program: str, description: str, *, peers: int, peers_min: int = 3) -> Options:
    """From the command line. peers: how many there are unless it says otherwise."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--peers", type=int, default=peers, help=f"processes (default {peers})")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument(
        "--kill",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="end a process with kill -9 in the middle (default: yes)",
    )
    parser.add_argument("--quick", action="store_true", help="less of everything; same claims")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), help="folder of the results (default out)"
    )
    told = parser.parse_args()
    if told.peers < peers_min:
        parser.error(f"--peers {told.peers}: take {peers_min} or more, for a majority without one")
    return Options(told.peers, told.seed, told.kill, told.quick, told.out)
