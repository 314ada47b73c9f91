"""What the pages of docs/ say of files is so."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mabeam_p2p"
PAGES = [path.name for path in sorted((ROOT / "docs").glob("*.md"))]


def named_paths(text: str) -> Iterator[str]:
    """What stands in backticks and looks like a path of a file or a folder."""
    for words in re.findall(r"`([^`\n]+)`", text):
        yield from re.findall(r"(?:^|(?<=\s))([\w./]+(?:\.py|\.md|/))(?=$|[\s:])", words)


def exists(path: str) -> bool:
    """In the checkout, in the package, or among the tests."""
    return any((folder / path).exists() for folder in (ROOT, PACKAGE, ROOT / "tests"))


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def modules(folder: str) -> list[str]:
    """Names of the modules and packages of a folder of the package."""
    found = [path.stem for path in (PACKAGE / folder).iterdir() if path.suffix == ".py"]
    found += [path.parent.name for path in (PACKAGE / folder).glob("*/__init__.py")]
    return sorted(name for name in found if not name.startswith("_"))


@pytest.mark.parametrize("page", PAGES)
def test_every_path_of_the_page_exists(page: str) -> None:
    paths = list(named_paths(text_of(page)))
    assert [path for path in paths if not exists(path)] == []


@cache
def named_tests(path: str) -> frozenset[str]:
    """The tests of a file under tests/; none if it is not there."""
    file = ROOT / "tests" / path
    tree = ast.parse(file.read_text(encoding="utf-8") if file.exists() else "")
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_the_page_names_is_there(page: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", text_of(page))
    assert [name for path, name in named if name not in named_tests(path)] == []


def test_every_event_of_the_log_is_told_with_its_facts() -> None:
    """As docs/observing.md promises to who reads it with a program."""
    code = (PACKAGE / "runtime" / "trace.py").read_text(encoding="utf-8")
    told = re.findall(r'_tell\(\s*(?:logging\.\w+|level),\s*"(\w+)"', code)
    assert len(told) > 10
    rows = re.findall(r"^\| `(\w+)` \|", text_of("observing.md"), re.MULTILINE)
    assert [name for name in told if name not in rows] == []


def test_every_threat_has_a_test() -> None:
    rows = re.findall(r"^\| (T\d+) \|.*`[\w/]+\.py::\w+` \|$", text_of("security.md"), re.MULTILINE)
    assert rows == [f"T{number}" for number in range(1, 22)]


@pytest.mark.parametrize("folder", ["", "protocol", "machine", "integrations"])
def test_every_module_is_in_the_tree_or_the_tables(folder: str) -> None:
    words = re.findall(r"\w+", text_of("architecture.md"))
    assert [name for name in modules(folder) if name not in words] == []


def test_a_path_that_does_not_exist_is_seen() -> None:
    text = "`machine/parts.py` and `tests/wire/gone.py`, `commands/`, `tools/gone/`, `Agent._close`"
    paths = list(named_paths(text))
    assert paths == ["machine/parts.py", "tests/wire/gone.py", "commands/", "tools/gone/"]
    assert [path for path in paths if not exists(path)] == ["tests/wire/gone.py", "tools/gone/"]
