"""Every row of docs/regressions.md names tests that are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "regressions.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
NEEDED = [
    *(*range(1, 5), 18, 22, *range(25, 28), 31, 33, *range(40, 49)),
    *(53, 56, *range(59, 63), 73, 74, 76, 77, 79),
]
"""Rows without which no release is made."""
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))


@cache
def names(path: str) -> dict[str, None]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    functions = (
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return dict.fromkeys(function.name for function in functions)


@pytest.mark.parametrize(("row", "rule", "tests"), ROWS, ids=[row[0] for row in ROWS])
def test_row_names_a_rule_and_tests_that_are_there(row: str, rule: str, tests: str) -> None:
    found = TEST.findall(tests)
    assert rule.strip()
    assert found, f"row {row} names no test"
    assert [name for path, name in found if name not in names(path)] == []


def test_rows_stand_once_and_in_order() -> None:
    numbers = [int(row[0]) for row in ROWS]
    assert numbers == sorted(dict.fromkeys(numbers))
    assert [number for number in NEEDED if number not in numbers] == []
