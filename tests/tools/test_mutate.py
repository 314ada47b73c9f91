"""Small changes of code: which are made, that only a child gets them, and what is counted."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.machine.core import Deadlines
from mabeam_p2p.machine.recipes import Recipes
from tools.mutation.coverage_map import CoverageMap
from tools.mutation.operators import Change, changed, changes, replaced
from tools.mutation.report import Report, Verdict, plain, read_reasons, share
from tools.mutation.trial import Invalid, apply, in_child, module_name

ROOT = Path(__file__).resolve().parents[2]

SOURCE = b'''"""Module."""
LIMIT = 3


class Heap:
    """Class."""

    def __init__(self, size: int = 7) -> None:
        self.size = size

    @property
    def is_full(self) -> bool:
        return self.size >= LIMIT

    def grow(self, by: int) -> int:
        """Text: 1 < 2."""
        if by < 0 and not self.is_full:
            raise ValueError(f"{by} < 0 is not 1")
        for step in range(by):
            if step == 4:
                break
            self.size += step  # by < 0
        assert self.size >= 0
        return min(self.size, by)


def outer(x: int) -> int:
    def inner(y: int) -> int:
        return x * y

    return inner(2)
'''


def made(text: bytes) -> list[tuple[str, str, str]]:
    return [(c.scope, c.operator, replaced(text, c)) for c in changes("heap.py", text)]


def test_every_kind_of_change_is_made_where_it_can_be() -> None:
    found = [(operator, diff) for _, operator, diff in made(SOURCE)]
    full = "-        return self.size >= LIMIT\n+        return self.size "
    assert ("comparison", full + "> LIMIT") in found
    assert ("comparison", full + "< LIMIT") in found
    condition = "-        if by < 0 and not self.is_full:\n+        if "
    assert ("and/or", condition + "by < 0 or not self.is_full:") in found
    assert ("drop not", condition + "by < 0 and (self.is_full):") in found
    assert ("constant", condition + "by < 1 and not self.is_full:") in found
    assert ("negate", condition + "(not (by < 0 and not self.is_full)):") in found
    assert ("leave loop", "-                break\n+                continue") in found
    step = "-            self.size += step  # by < 0\n+            "
    assert ("drop statement", step + "pass  # by < 0") in found
    assert ("arithmetic", step + "self.size -= step  # by < 0") in found
    least = "-        return min(self.size, by)\n+        return "
    assert ("return nothing", least + "None") in found
    assert ("opposite call", least + "max(self.size, by)") in found


def test_what_is_as_good_as_none_is_not_made_none() -> None:
    text = b"""
def f(x: int) -> object:
    if x == 1:
        return False
    if x == 2:
        return ()
    if x == 3:
        return []
    if x == 4:
        return None
    return (x,)
"""
    nothing = [diff for _, operator, diff in made(text) if operator == "return nothing"]
    assert nothing == ["-    return (x,)\n+    return None"]


def test_texts_checks_and_what_runs_before_any_call_are_left_alone() -> None:
    for _, _, diff in made(SOURCE):
        before = diff.splitlines()[0]
        assert "assert" not in before
        assert "LIMIT = 3" not in before
        assert "= 7" not in before
        assert "Text" not in before
    raised = [diff for _, _, diff in made(SOURCE) if "raise" in diff.splitlines()[0]]
    assert len(raised) == 1
    assert raised[0].endswith("+            pass")


def test_a_nested_function_counts_to_the_outermost() -> None:
    scopes = {scope for scope, _, _ in made(SOURCE)}
    assert scopes == {"Heap.__init__", "Heap.is_full", "Heap.grow", "outer"}


def test_every_change_of_the_cores_compiles() -> None:
    path = "mabeam_p2p/protocol/quorum.py"
    text = (ROOT / path).read_bytes()
    found = list(changes(path, text))
    assert len(found) > 10
    for change in found:
        compile(changed(text, change), path, "exec")


@pytest.fixture
def heap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "heap_under_change.py").write_bytes(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("heap_under_change", None)


def pick(scope: str, operator: str, new: str) -> Change:
    found = changes("heap_under_change.py", SOURCE)
    return next(c for c in found if (c.scope, c.operator, c.new) == (scope, operator, new))


def test_a_change_is_put_into_methods_properties_and_closures(heap: Path) -> None:
    module = importlib.import_module("heap_under_change")

    def work() -> str:
        instance = module.Heap(3)
        apply(pick("Heap.is_full", "comparison", ">"), heap)
        apply(pick("Heap.grow", "opposite call", "max"), heap)
        apply(pick("outer", "arithmetic", "+"), heap)
        return f"{instance.is_full} {instance.grow(0)} {module.outer(5)}"

    assert in_child(work, 60) == (0, "False 3 7")
    assert (module.Heap(3).is_full, module.Heap(3).grow(0), module.outer(5)) == (True, 0, 10)


def test_a_change_of_a_packages_own_file_meets_the_package() -> None:
    path = "mabeam_p2p/machine/recipes/__init__.py"
    assert module_name(path) == "mabeam_p2p.machine.recipes"
    assert module_name("mabeam_p2p/machine/core.py") == "mabeam_p2p.machine.core"
    found = changes(path, (ROOT / path).read_bytes())
    change = next(c for c in found if c.scope == "Recipes.__init__" and c.new == "pass")

    def work() -> str:
        apply(change, ROOT)
        try:
            Recipes(Limits(), Deadlines(), [])
        except AttributeError as error:
            return str(error)
        return "nothing has changed"

    assert "_tokens" in in_child(work, 60)[1]


def test_a_change_of_what_is_no_plain_function_is_invalid(heap: Path) -> None:
    change = pick("Heap.is_full", "comparison", ">")._replace(first_line=1)
    with pytest.raises(Invalid, match=r"Heap\.is_full"):
        apply(change, heap)


def test_a_child_that_is_late_is_ended() -> None:
    def forever() -> str:
        while True:
            pass

    code, words = in_child(forever, 0.05)
    assert (code, words) == (-9, "")


def test_a_child_that_fails_or_leaves_says_nothing() -> None:
    def fail() -> str:
        raise RuntimeError("on purpose")

    def leave() -> str:
        os._exit(3)

    assert in_child(fail, 60) == (1, "")
    assert in_child(leave, 60) == (3, "")


def test_a_lines_tests_are_those_that_ran_it_its_own_test_file_first() -> None:
    known = CoverageMap(
        "", {"tests/x.py::a": 0.1, "tests/protocol/test_log.py::b": 5.0, "tests/x.py::c": 0.05},
        {"mabeam_p2p/protocol/log.py": {
            7: ["tests/x.py::a", "tests/protocol/test_log.py::b", "tests/x.py::c"], 8: []}},
    )  # fmt: skip
    path = "mabeam_p2p/protocol/log.py"
    expected = ["tests/protocol/test_log.py::b", "tests/x.py::c", "tests/x.py::a"]
    assert known.tests(path, range(7, 9)) == expected
    assert known.tests(path, range(8, 9)) == []
    assert known.tests("mabeam_p2p/protocol/other.py", range(7, 9)) == []


def verdict(end: str, diff: str = "-a\n+b") -> Verdict:
    return Verdict("a.py", 3, "f", "constant", diff, end, "", 0.0)


def test_a_late_change_counts_as_noticed_and_an_invalid_one_not_at_all() -> None:
    ends = ("killed", "timeout", "survived", "not run", "invalid")
    report = Report(1, [verdict(end) for end in ends], 10)
    assert report.score().startswith("2 of 4, 50.0%")


def test_a_survivor_with_a_reason_is_set_apart_wherever_it_stands() -> None:
    report = Report(1, [verdict("survived", "-    a\n+    b"), verdict("survived", "-a\n+c")], 10)
    reasons = {("a.py", "f", plain("-a\n+b")): "it cannot be seen"}
    assert [v.diff for v in report.explained(reasons)] == ["-    a\n+    b"]
    assert [v.diff for v in report.unexplained(reasons)] == ["-a\n+c"]


def test_who_is_tried_again_stands_in_the_place_of_the_missed_one() -> None:
    report = Report(1, [verdict("killed", "-a\n+c"), verdict("not run"), verdict("survived")], 10)
    moved = Verdict("a.py", 9, "f", "constant", "-    a\n+    b", "killed", "tests/x.py::t", 1.0)
    report.replace(moved)
    assert [v.end for v in report.verdicts] == ["killed", "killed", "survived"]
    report.replace(verdict("killed", "-x\n+y"))
    assert len(report.verdicts) == 3


def test_the_interval_is_wilsons() -> None:
    assert share(90, 100) == "90 of 100, 90.0% (95 %: 82.6% to 94.5%)"
    assert share(10, 10).endswith("(95 %: 72.2% to 100.0%)")
    assert share(0, 0) == "0 of 0"


def test_every_reason_stands_for_a_change_that_can_still_be_made() -> None:
    possible: dict[str, set[tuple[str, str]]] = {}
    for path, scope, diff in read_reasons():
        if path not in possible:
            text = (ROOT / path).read_bytes()
            possible[path] = {(c.scope, plain(replaced(text, c))) for c in changes(path, text)}
        assert (scope, diff) in possible[path], f"{path}, {scope}: no change is {diff}"
