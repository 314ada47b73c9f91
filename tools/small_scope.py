"""Searches all that three voters can come to within small bounds, and says how much that was."""

import argparse
import sys
import time

from mabeam_p2p.testing.small_scope import NARROW, WIDE, Contradiction, Scope, SmallScope


def main() -> int:
    """Exit code 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tools.small_scope", description=__doc__)
    parser.add_argument("--wide", action="store_true", help="the wide scopes too: many minutes")
    options = parser.parse_args()
    scopes = (*NARROW, *WIDE) if options.wide else NARROW
    states = steps = 0
    started = time.process_time()
    for scope in scopes:
        search = SmallScope(scope)
        try:
            search.search()
        except Contradiction as contradiction:
            print(f"{scope}\n{contradiction}")
            return 1
        states += search.state_count
        steps += search.step_count
        if options.wide:
            print(f"{search.state_count:8} states  {words(scope)}", flush=True)
    elapsed = time.process_time() - started
    print(f"{len(scopes)} scopes, {states} states, {steps} steps, {elapsed:.1f} s of processor")
    return 0


def words(scope: Scope) -> str:
    """What differs from the defaults."""
    usual = Scope(scope.logs)
    changed = scope._replace(lost=usual.lost)
    parts = [
        f"{name} {value}"
        for name, value, default in zip(scope._fields, changed, usual, strict=True)
        if name == "logs" or value != default
    ]
    parts += [f"without {kind.__name__}" for kind in scope.lost]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
