"""Adds to the corpus of hostile input what is missing in it. Called by tools/hostile_corpus.

What is kept is never changed or taken out: where a message has changed, its older spoiled forms
stay under their names, and the newer ones get a number behind it.
"""

import argparse
import sys

from tests.hostile import archive, spoiling


def grown(kept: dict[str, bytes]) -> dict[str, bytes]:
    """The corpus with all that is made today."""
    files = dict(kept)
    for name, data in spoiling.all_cases():
        number, free = 1, name
        while files.setdefault(free, data) != data:
            number += 1
            free = f"{name}.{number}"
    return files


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools/hostile_corpus", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    options = parser.parse_args()
    kept = archive.read() if archive.ARCHIVE.exists() else {}
    files = grown(kept)
    added = len(files) - len(kept)
    sys.stdout.write(f"{len(files)} files, {added} of them new\n")
    if options.check:
        sys.exit(1 if added else 0)
    if added:
        archive.write(files)


if __name__ == "__main__":
    main()
