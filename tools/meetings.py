"""Runs simulated clusters whose agents meet at barriers and vote, until enough have met."""

import argparse
import sys
import time

from mabeam_p2p.testing.meetings import run


def main() -> int:
    """Exit code 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="tools/meetings", description=__doc__)
    parser.add_argument(
        "--generations", type=int, default=20_000, help="ended ones to reach (default 20000)"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each storm (default 10)")
    options = parser.parse_args()
    generations = released = decided = leaders = crashes = failures = 0
    seed = options.first
    started = time.process_time()
    while generations < options.generations:
        met = run(seed, options.seconds)
        if met.violation is not None:
            failures += 1
            print(f"seed {seed}: VIOLATION\n  {met.violation}", flush=True)
        generations += met.generations
        released += met.released
        decided += met.decided
        leaders += met.leaders
        crashes += met.crashes
        seed += 1
    print(
        f"{seed - options.first} runs, {generations} generations ended, {released} of them "
        f"released, {decided} ballots decided, {leaders} terms led, {crashes} crashes, "
        f"{failures} violations, {time.process_time() - started:.0f} s of processor"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
