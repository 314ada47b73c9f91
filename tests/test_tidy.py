"""The tree keeps its own habits: what no linter checks is checked here, file by file.

Each rule is a function from one file to the places that break it, so that a failure names
every place at once, and the rules themselves are tested on small planted texts below.
"""

import ast
import configparser
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
CODE_ROOTS = ("mabeam_p2p", "tests", "tools", "examples")
PRINTING = ("mabeam_p2p/cli/", "tools/", "examples/")
PURE = ("mabeam_p2p/protocol/", "mabeam_p2p/machine/")
CORE_TESTS = tuple(
    f"tests/{folder}/"
    for folder in ("machine", "paper", "protocol", "regress", "scenarios", "simulation", "wire")
)
UNSAFE_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
UNSAFE_CALLS = {"eval", "exec", "recv_pyobj", "send_pyobj", "decompress", "decompressobj"}
"""The last two make much of little: nothing that travels is compressed."""
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}


class Source:
    """One file, parsed once at most. path: relative to the checkout, with slashes."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))


Rule = Callable[[Source], Iterator[int]]
"""Gives the line of every place that breaks the rule."""


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows or would add; in a tree without git, all that is not hidden."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        found = [ROOT / name for name in done.stdout.splitlines()]
    else:
        found = [path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern)]
        found = [p for p in found if not any(q[0] == "." for q in p.relative_to(ROOT).parts)]
    return sorted(path for path in found if path.is_file())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources() -> Iterator[Source]:
    for path in tracked("*.py"):
        if relative(path).split("/")[0] in CODE_ROOTS:
            yield Source(relative(path), path.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, else an empty string."""
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def calls(source: Source) -> Iterator[tuple[int, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Call):
            yield node.lineno, dotted(node.func)


def long_file(source: Source) -> Iterator[int]:
    line_count = source.text.count("\n")
    if line_count > FILE_LINES_MAX:
        yield line_count


def long_function(source: Source) -> Iterator[int]:
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX:
                yield node.lineno


def missing_docstring(source: Source) -> Iterator[int]:
    is_test = source.path.startswith("tests/")
    if not is_test and not ast.get_docstring(source.tree):
        yield 1


def stray_print(source: Source) -> Iterator[int]:
    if not source.path.startswith(PRINTING):
        yield from (line for line, name in calls(source) if name == "print")


def unsafe_decoding(source: Source) -> Iterator[int]:
    for node in source.nodes:
        match node:
            case ast.Import(names=aliases):
                modules = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module)):
                modules = [module]
            case _:
                continue
        if any(module.split(".")[0] in UNSAFE_MODULES for module in modules):
            yield node.lineno
    yield from (line for line, name in calls(source) if name.split(".")[-1] in UNSAFE_CALLS)


def wall_clock_or_assert_in_wire(source: Source) -> Iterator[int]:
    if source.path.startswith("mabeam_p2p/wire/"):
        yield from (node.lineno for node in source.nodes if isinstance(node, ast.Assert))
        yield from (
            line for line, name in calls(source) if ".".join(name.split(".")[-2:]) in WALL_CLOCKS
        )


def impure_order(source: Source) -> Iterator[int]:
    """Sets have no order, hash() and id() differ from run to run, the global Random is shared."""
    if source.path.startswith(PURE):
        yield from (node.lineno for node in source.nodes if isinstance(node, ast.Set | ast.SetComp))
        for line, name in calls(source):
            is_global_draw = name.startswith("random.") and name != "random.Random"
            if name in {"set", "frozenset", "hash", "id"} or is_global_draw:
                yield line


def sleeping_core_test(source: Source) -> Iterator[int]:
    """The time of a core is what its test says it is: nothing has to be waited for."""
    if source.path.startswith(CORE_TESTS):
        yield from (line for line, name in calls(source) if name.split(".")[-1] == "sleep")


def unfinished_word(source: Source) -> Iterator[int]:
    yield from _lines_with(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b", source)


def workplace_path(source: Source) -> Iterator[int]:
    yield from _lines_with(r"(?<![\w.])/(work|root|home|opt|Users|tmp/\w)/", source)


def _lines_with(pattern: str, source: Source) -> Iterator[int]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.search(pattern, line):
            yield number


CODE_RULES: list[Rule] = [
    long_file,
    long_function,
    missing_docstring,
    stray_print,
    unsafe_decoding,
    wall_clock_or_assert_in_wire,
    impure_order,
    sleeping_core_test,
]
TEXT_RULES: list[Rule] = [unfinished_word, workplace_path]


@cache
def breaches() -> dict[str, list[str]]:
    """By rule. One file at a time: the trees of all of them are large."""
    broken: dict[str, list[str]] = {rule.__name__: [] for rule in CODE_RULES}
    for source in sources():
        for rule in CODE_RULES:
            broken[rule.__name__] += [f"{source.path}:{line}" for line in rule(source)]
    return broken


@pytest.mark.parametrize("rule", CODE_RULES, ids=lambda rule: rule.__name__)
def test_code_keeps_the_rule(rule: Rule) -> None:
    assert breaches()[rule.__name__] == []


def test_there_is_code_to_look_at() -> None:
    paths = [source.path for source in sources()]
    assert {path.split("/")[0] for path in paths} == set(CODE_ROOTS)


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.__name__)
def test_every_text_keeps_the_rule(rule: Rule) -> None:
    broken = []
    for path in tracked():
        data = path.read_bytes()
        # What holds a zero is a picture or the like, and has words by chance alone.
        if path != Path(__file__).resolve() and b"\0" not in data:
            source = Source(relative(path), data.decode(errors="replace"))
            broken += [f"{source.path}:{line}" for line in rule(source)]
    assert broken == []


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (long_file, "tools/a.py", "\n" * 501),
        (long_function, "tools/a.py", "def f():\n" + "    1\n" * 60),
        (missing_docstring, "tools/a.py", "x = 1\n"),
        (stray_print, "mabeam_p2p/api/a.py", "print(1)\n"),
        (unsafe_decoding, "tools/a.py", "from pickle import loads\n"),
        (unsafe_decoding, "tools/a.py", "eval(x)\n"),
        (unsafe_decoding, "tools/a.py", "self.socket.recv_pyobj()\n"),
        (unsafe_decoding, "mabeam_p2p/wire/a.py", "zlib.decompress(frame)\n"),
        (wall_clock_or_assert_in_wire, "mabeam_p2p/wire/a.py", "assert x\n"),
        (wall_clock_or_assert_in_wire, "mabeam_p2p/wire/a.py", "datetime.datetime.now()\n"),
        (impure_order, "mabeam_p2p/protocol/a.py", "for x in {1, 2}: pass\n"),
        (impure_order, "mabeam_p2p/machine/a.py", "random.random()\n"),
        (sleeping_core_test, "tests/protocol/a.py", "await asyncio.sleep(0.1)\n"),
        (sleeping_core_test, "tests/machine/a.py", "time.sleep(1)\n"),
        (unfinished_word, "tools/a.py", "# TODO later\n"),
        (workplace_path, "tools/a.py", "open('/home/me/x')\n"),
    ],
)
def test_the_rule_sees_a_planted_breach(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text))) != []


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in tracked("mabeam_p2p/**.py")}
    assert [relative(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_the_package_ships_its_type_marker() -> None:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert "py.typed" in parser["options.package_data"]["mabeam_p2p"]
    assert (ROOT / "mabeam_p2p" / "py.typed").exists()


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]$", text, re.MULTILINE)


def anchors(text: str) -> list[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return [heading.replace(" ", "-") for heading in plain]


def broken_links(page: Path, text: str) -> Iterator[str]:
    """Links of a page to files or headings of this tree that do not exist."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        if not linked.exists():
            yield target
        elif anchor and linked.suffix == ".md":
            content = text if linked == page else linked.read_text(encoding="utf-8")
            if anchor not in anchors(content):
                yield target


def test_links_between_pages_resolve() -> None:
    broken = []
    for page in tracked("*.md"):
        text = page.read_text(encoding="utf-8")
        broken += [f"{relative(page)}: {target}" for target in broken_links(page, text)]
    assert broken == []


def test_a_link_to_a_missing_page_or_heading_is_seen() -> None:
    page = ROOT / "README.md"
    text = "# One heading\n[a](#one-heading) [b](#two) [c](setup.cfg) [d](gone.md) `[e](gone)`\n"
    assert list(broken_links(page, text)) == ["#two", "gone.md"]
