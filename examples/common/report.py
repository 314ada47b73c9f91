"""How an example ends: a table, its claims, and the same as files."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from examples.common.options import Options
from examples.common.peers import PeerFailed


class Report:
    """What one run of the example `name` has shown."""

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._options = options
        self._claims: list[tuple[str, bool]] = []

    def claim(self, text: str, holds: bool) -> None:
        """A sentence, and whether this run has shown it."""
        self._claims.append((text, holds))

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print it with columns as wide as they need to be."""
        lines = [list(map(str, row)) for row in (header, *rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
            print("  ".join(cells).rstrip())

    def finish(self, facts: Mapping[str, object], picture: str) -> int:
        """Write the files, print the claims; the exit code of the program."""
        ok = all(holds for _, holds in self._claims)
        told = {
            "example": self._name,
            "peers": self._options.peers,
            "seed": self._options.seed,
            "quick": self._options.quick,
            "ok": ok,
            "claims": [{"claim": text, "holds": holds} for text, holds in self._claims],
            **facts,
        }
        out = self._options.out
        out.mkdir(parents=True, exist_ok=True)
        written = msgspec.json.format(msgspec.json.encode(told), indent=1)
        _write(out / f"{self._name}.json", written.decode() + "\n")
        _write(out / f"{self._name}.svg", picture)
        print()
        for text, holds in self._claims:
            print(f"{'ok    ' if holds else 'FAILED'}  {text}")
        print(f"see {out / self._name}.json and .svg")
        return 0 if ok else 1


def _write(path: Path, text: str) -> None:
    """By rename, so that nobody reads half of it."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def carried_out(main: Callable[[], Awaitable[int]], seconds: float) -> int:
    """Run an example to its end; its exit code, 1 if it failed or took more than `seconds`."""

    async def bounded() -> int:
        async with asyncio.timeout(seconds):
            return await main()

    try:
        return asyncio.run(bounded())
    except PeerFailed as error:
        print(error, file=sys.stderr)
    except TimeoutError:
        print(f"not done within {seconds:g} s", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1
