"""Every row of docs/faults.md has a test that fails on it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "faults.md"
ROW = re.compile(r"^\| ([A-Z]\d+) \|", re.MULTILINE)


def marked(path: Path) -> Iterator[str]:
    """The rows that the tests of a file are marked with."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(func=ast.Attribute(attr="fault"), args=[ast.Constant(str(row))]):
                    assert node.name.startswith("test_"), f"{node.name} is no test"
                    yield row
                case _:
                    pass


def test_every_row_has_a_test_and_every_mark_a_row() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(rows) == len(dict.fromkeys(rows)) > 90
    found = {row for path in TESTS.rglob("test_*.py") for row in marked(path)}
    assert sorted(found) == sorted(rows)
