"""Makes small changes to the cores, one at a time, and counts those that no test notices.

1. The tests are run once, to learn which of them runs which line.
2. Changes are drawn from all that can be made (`--sample`, `--seed`), or all are made (`--all`).
3. For each, a fork of this process changes one function and runs the tests that run the line, until
   one fails. A change that makes them late is noticed, too.
4. Those that an earlier run has missed can be tried again (`--again`), with other tests, or once
   there are more.
5. Survivors that no test can notice are named, with the reason, in tools/mutation/equivalent.toml.
"""

import argparse
import gc
import importlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings

from tools.mutation.coverage_map import CoverageMap, digest, measure
from tools.mutation.operators import Change, changes
from tools.mutation.report import MISSED, Report, Verdict, read_reasons, write_markdown
from tools.mutation.trial import Invalid, Watch, apply, in_child, module_name, run

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("mabeam_p2p/protocol", "mabeam_p2p/machine")
TESTS = (
    "tests/protocol", "tests/machine", "tests/paper", "tests/scenarios",
    "tests/upgrade/test_greetings.py", "tests/upgrade/test_states.py",
    "tests/upgrade/test_unable.py",
)  # fmt: skip
"""Those that state a rule of the cores. What simulates whole clusters finds more, and takes long:
`--tests` names it."""
DIGESTED = ("mabeam_p2p", "tests")
MAP = ROOT / "build" / "mutation" / "map.json"
PYTEST_OPTIONS = (
    "-q", "-p", "no:cacheprovider", "-p", "no:cov",
    # The settings of hypothesis are made before pytest looks at it.
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
TESTS_SECONDS_MAX = 20.0
"""Tests of one change, by what they took when nothing was changed; the rest is left out."""
LATE_FACTOR, LATE_SECONDS = 10.0, 30.0
"""A change is late after so many times as long and so many seconds more."""


class Mutation:
    """A pytest plugin that runs tests in its own way, once they are collected."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.report = Report(options.seed, [], 0)
        if options.again is not None:
            self.report = msgspec.json.decode(options.again.read_bytes(), type=Report)
        self._options = options
        self._watch = Watch()
        self._items: dict[str, pytest.Item] = {}
        self._map = CoverageMap("", {}, {})

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config.pluginmanager.register(self._watch)
        self._items = {item.nodeid: item for item in session.items}
        self._map = self._known_map() or self._measured()
        chosen = self._chosen()
        gc.freeze()
        print(f"\n{len(chosen)} of {self.report.possible} changes, seed {self._options.seed}")
        for number, change in enumerate(chosen, start=1):
            verdict = self._try(change)
            if self._options.again is None:
                self.report.verdicts.append(verdict)
            else:
                self.report.replace(verdict)
            if verdict.end in ("survived", "not run") or self._options.verbose:
                print(f"{number:5} {verdict.line()}", flush=True)
            if number % 25 == 0:
                print(f"{number:5} {self.report.score()}", flush=True)
        return True

    def _known_map(self) -> CoverageMap | None:
        if not MAP.exists():
            return None
        known = msgspec.json.decode(MAP.read_bytes(), type=CoverageMap)
        is_usable = self._options.keep_map or known.digest == digest(
            ROOT, DIGESTED, self._options.tests
        )
        return known if is_usable else None

    def _digest(self) -> str:
        return digest(ROOT, DIGESTED, self._options.tests)

    def _measured(self) -> CoverageMap:
        print(f"\n{len(self._items)} tests are measured", flush=True)
        items = list(self._items.values())
        measured = measure(items, self._watch, ROOT, SOURCES, self._digest())
        failed = [test for test in self._items if test not in measured.seconds]
        if failed:
            print(f"these fail as it is, and are left out: {failed}")
        MAP.write_bytes(msgspec.json.encode(measured))
        return measured

    def _chosen(self) -> list[Change]:
        possible = list(_possible(self._options.paths))
        if self._options.again is not None:
            missed = {v.key for v in self.report.verdicts if v.end in MISSED}
            return [change for change in possible if _key(change) in missed]
        self.report.possible = len(possible)
        if self._options.all:
            return possible
        size = min(self._options.sample, len(possible))
        return Random(self._options.seed).sample(possible, size)

    def _try(self, change: Change) -> Verdict:
        began = time.monotonic()
        text = (ROOT / change.path).read_bytes()
        tests, seconds = self._tests(change, text)
        if not tests:
            return Verdict.of(change, text, "not run", "", 0.0)

        def work() -> str:
            tests[0].config.pluginmanager.unregister(name="terminalreporter")
            try:
                apply(change, ROOT)
            except Invalid as invalid:
                return f"invalid {invalid}"
            failed = run(tests, self._watch)
            return f"killed {failed}" if failed else "survived "

        code, words = in_child(work, LATE_FACTOR * seconds + LATE_SECONDS)
        if code != 0:
            # Late, or it has ended the whole process: out of memory, for one.
            words = "timeout " if code == -9 else f"killed exit code {code}"
        end, _, test = words.partition(" ")
        return Verdict.of(change, text, end, test, time.monotonic() - began)

    def _tests(self, change: Change, text: bytes) -> tuple[list[pytest.Item], float]:
        found: list[pytest.Item] = []
        seconds = 0.0
        for test in self._map.tests(change.path, change.lines(text)):
            if test in self._items and seconds < TESTS_SECONDS_MAX:
                found.append(self._items[test])
                seconds += self._map.seconds[test]
        return found, seconds


def _possible(paths: Sequence[str]) -> Iterator[Change]:
    for path in paths:
        whole = ROOT / path
        files = sorted(whole.rglob("*.py")) if whole.is_dir() else [whole]
        for file in files:
            yield from changes(str(file.relative_to(ROOT)), file.read_bytes())


def _key(change: Change) -> tuple[str, str, str]:
    text = (ROOT / change.path).read_bytes()
    return Verdict.of(change, text, "", "", 0.0).key


def _import(paths: Sequence[str]) -> None:
    for path in paths:
        for file in sorted((ROOT / path).rglob("*.py")):
            importlib.import_module(module_name(str(file.relative_to(ROOT))))


def main() -> int:
    """Exit code 1 if a survivor has no reason."""
    parser = argparse.ArgumentParser(prog="tools/mutate", description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "paths", nargs="*", default=list(SOURCES), help=f"default: {' '.join(SOURCES)}"
    )
    parser.add_argument("--sample", type=int, default=400, help="changes to draw (default 400)")
    parser.add_argument("--all", action="store_true", help="make every change")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="those that the report of --json has missed"
    )
    parser.add_argument(
        "--tests", nargs="+", default=list(TESTS), help="where tests are taken from"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every verdict")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="survivors with diffs")
    parser.add_argument(
        "--keep-map", action="store_true", help="use the last measured coverage, whatever changed"
    )
    parser.add_argument("--verbose", action="store_true", help="one line for each change")
    options = parser.parse_args()
    settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")
    os.chdir(ROOT)
    _import(SOURCES)
    mutation = Mutation(options)
    code = pytest.main([*PYTEST_OPTIONS, *options.tests], plugins=[mutation])
    report = mutation.report
    # Ctrl-C ends a long run with what it has seen so far.
    ends = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.INTERRUPTED)
    if code not in ends or not report.verdicts:
        print(f"pytest ended with {code}")
        return 2
    reasons = read_reasons()
    print(report.summary(reasons))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    if options.markdown is not None:
        write_markdown(report, reasons, options.markdown)
    return 1 if report.unexplained(reasons) else 0


if __name__ == "__main__":
    sys.exit(main())
