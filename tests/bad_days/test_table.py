"""docs/testing.md says which test stands for which bad day."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "testing.md"
CITED = re.compile(r"`([a-z_/0-9]+\.py)::(test_\w+)`")


def functions_of(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, kinds)
    }


def test_every_test_that_the_page_cites_exists() -> None:
    cited = CITED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(cited) > 40
    assert [name for file, name in cited if name not in functions_of(TESTS / file)] == []


def test_every_bad_day_has_a_test_of_the_rule_and_one_where_a_user_meets_it() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Bad days")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 20
    assert all(CITED.search(rule) and CITED.search(met) for _, rule, met in rows)
