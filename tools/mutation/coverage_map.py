"""Which tests run a line, and how long each of them takes."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import coverage
import msgspec
import pytest

from tools.mutation.trial import Watch, in_child, run

MEASURE_SECONDS_MAX = 3600.0


class CoverageMap(msgspec.Struct):
    """Of the tests that pass."""

    digest: str
    """Of all sources that it was made from."""
    seconds: dict[str, float]
    """Of processor time, by test: what else the machine does is no test's fault."""
    lines: dict[str, dict[int, list[str]]]
    """Tests by file and line."""

    def tests(self, path: str, lines: range) -> list[str]:
        """Who runs any of these lines: the file's own test module first, then the quick ones."""
        by_line = self.lines.get(path, {})
        found = {test: None for line in lines for test in by_line.get(line, ())}
        mirror = f"tests/{path.partition('/')[2].rpartition('/')[0]}/test_{Path(path).stem}.py"
        return sorted(found, key=lambda t: (not t.startswith(mirror), self.seconds[t], t))


def digest(root: Path, folders: Sequence[str], tests: Sequence[str]) -> str:
    """Of every Python file in these folders, and of the choice of tests."""
    made = hashlib.sha256("\0".join(tests).encode())
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        made.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return made.hexdigest()


def measure(
    items: Sequence[pytest.Item], watch: Watch, root: Path, sources: Sequence[str], made_of: str
) -> CoverageMap:
    """Run every test once, in a child: what they import and leave behind stays there."""
    file = root / "build" / "mutation" / "measured.json"

    def work() -> str:
        items[0].config.pluginmanager.unregister(name="terminalreporter")
        measured = CoverageMap(made_of, {}, {})
        tracer = coverage.Coverage(
            data_file=None, config_file=False, include=[f"{root}/{source}/*" for source in sources]
        )
        tracer.start()
        for item in items:
            tracer.switch_context(item.nodeid)
            began = time.process_time()
            if not run([item], watch):
                measured.seconds[item.nodeid] = round(time.process_time() - began, 4)
        tracer.stop()
        measured.lines = dict(_lines(tracer.get_data(), root, measured.seconds))
        file.write_bytes(msgspec.json.encode(measured))
        return "done"

    file.parent.mkdir(parents=True, exist_ok=True)
    code, words = in_child(work, MEASURE_SECONDS_MAX)
    if words != "done":
        raise SystemExit(f"the tests could not be measured: exit code {code}")
    return msgspec.json.decode(file.read_bytes(), type=CoverageMap)


def _lines(
    data: coverage.CoverageData, root: Path, passed: dict[str, float]
) -> Iterator[tuple[str, dict[int, list[str]]]]:
    for file in sorted(data.measured_files()):
        by_line = data.contexts_by_lineno(file)
        yield (
            str(Path(file).relative_to(root)),
            {
                line: kept
                for line, tests in by_line.items()
                if (kept := sorted(test for test in tests if test in passed))
            },
        )
