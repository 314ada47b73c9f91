"""The small changes that can be made to a file, found in its syntax tree and made in its text.

Only bodies of functions are changed, as a running function can be given other code. Left alone are
texts for people (strings and what is raised), assertions, annotations, defaults and decorators.
"""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    # The boundary, then the opposite.
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: (r"is\s+not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: (r"not\s+in", ("in",)),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
OPPOSITE_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Change(NamedTuple):
    """Bytes `start` to `end` of the file at `path` become `new`."""

    path: str
    scope: str
    """The function whose code changes, as Class.method; nested ones count to the outermost."""
    first_line: int
    """Where that function begins, its decorators included: its name alone may stand twice."""
    line: int
    operator: str
    start: int
    end: int
    new: str

    def lines(self, text: bytes) -> range:
        """Lines of the smallest statement that holds the change: coverage knows it by the first."""
        found = range(self.line, self.line + 1)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.stmt) and not hasattr(node, "body"):
                end = node.end_lineno or node.lineno
                if node.lineno <= self.line <= end:
                    found = range(node.lineno, end + 1)
        return found


def replaced(text: bytes, change: Change) -> str:
    """The lines that change, before and after."""
    first = text.rfind(b"\n", 0, change.start) + 1
    last = text.find(b"\n", change.end)
    before = text[first:last].decode()
    after = text[first : change.start].decode() + change.new + text[change.end : last].decode()
    lines = [f"-{line}" for line in before.splitlines()]
    return "\n".join(lines + [f"+{line}" for line in after.splitlines()])


def changed(text: bytes, change: Change) -> bytes:
    return text[: change.start] + change.new.encode() + text[change.end :]


def changes(path: str, text: bytes) -> Iterator[Change]:
    """Every change of one file, in order of the text. Few of them may not compile."""
    for scope, function in _functions(ast.parse(text), ""):
        first_line = min([function.lineno, *(d.lineno for d in function.decorator_list)])
        found = _Finder(text)
        for statement in function.body:
            found.visit(statement)
        for line, operator, start, end, new in sorted(found.changes):
            yield Change(path, scope, first_line, line, operator, start, end, new)


def _functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")


class _Finder(ast.NodeVisitor):
    """Gathers (line, operator, start, end, new)."""

    def __init__(self, text: bytes) -> None:
        self.changes: list[tuple[int, str, int, int, str]] = []
        self._text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    # ---- places --------------------------------------------------------------------------------

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset

    def _source(self, node: ast.expr) -> str:
        return self._text[self._start(node) : self._end(node)].decode()

    def _put(self, node: ast.expr | ast.stmt, operator: str, new: str) -> None:
        self.changes.append((node.lineno, operator, self._start(node), self._end(node), new))

    def _between(
        self, left: ast.expr, right: ast.expr, token: str, operator: str, *news: str
    ) -> None:
        """Change the word between two expressions; comments and brackets may stand there too."""
        start = self._end(left)
        gap = re.sub(
            rb"#[^\n]*", lambda m: b" " * len(m[0]), self._text[start : self._start(right)]
        )
        found = re.search(token.encode(), gap)
        if found is not None:
            line = self._text.count(b"\n", 0, start + found.start()) + 1
            place = start + found.start(), start + found.end()
            self.changes += [(line, operator, *place, new) for new in news]

    # ---- expressions ---------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for sign, right in zip(node.ops, node.comparators, strict=True):
            token, news = COMPARISONS[type(sign)]
            self._between(left, right, token, "comparison", *news)
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        token, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, token, "and/or", new)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._put(node, "drop not", f"({self._source(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        found = ARITHMETIC.get(type(node.op))
        if found is not None and not any(map(_is_text, (node.left, node.right))):
            self._between(node.left, node.right, re.escape(found[0]), "arithmetic", found[1])
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._put(node, "constant", str(not node.value))
        elif isinstance(node.value, int):
            self._put(node, "constant", str(node.value + 1))
            if node.value:
                self._put(node, "constant", f"({node.value - 1})")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in OPPOSITE_CALLS:
            self._put(node.func, "opposite call", OPPOSITE_CALLS[node.func.id])
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Texts are for people."""

    # ---- statements ----------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant) and not _is_unreachable(node.value):
            self._put(node, "drop statement", "pass")
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        # Without its first value a local name would only not be known.
        if not any(isinstance(target, ast.Name | ast.Tuple) for target in node.targets):
            self._put(node, "drop statement", "pass")
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._put(node, "drop statement", "pass")
        found = ARITHMETIC.get(type(node.op))
        if found is not None and not _is_text(node.value):
            token = re.escape(f"{found[0]}=")
            self._between(node.target, node.value, token, "arithmetic", f"{found[1]}=")
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._put(node, "drop statement", "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self._put(node, "drop statement", "pass")
            return
        if not _is_nothing(node.value):
            self._put(node.value, "return nothing", "None")
        self.visit(node.value)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._put(node, "leave loop", "break")

    def visit_Break(self, node: ast.Break) -> None:
        self._put(node, "leave loop", "continue")

    def visit_Raise(self, node: ast.Raise) -> None:
        self._put(node, "drop statement", "pass")

    def visit_Assert(self, node: ast.Assert) -> None:
        """A check, not what is checked."""

    def visit_match_case(self, node: ast.match_case) -> None:
        if node.guard is not None:
            self._negate(node.guard)
            self.visit(node.guard)
        for statement in node.body:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_arguments(self, node: ast.arguments) -> None:
        """Defaults are made once, before anything changes."""

    def _negate(self, test: ast.expr) -> None:
        """Unless another change comes to the same."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            return
        if not isinstance(test, ast.Compare) or isinstance(test.ops[0], ORDERS):
            self._put(test, "negate", f"(not ({self._source(test)}))")


def _is_nothing(node: ast.expr) -> bool:
    """What callers mostly take for the same as None."""
    match node:
        case ast.Constant(value=value):
            return not value
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return not elements
        case _:
            return False


def _is_unreachable(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "assert_never"


def _is_text(node: ast.expr) -> bool:
    is_string = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_string or isinstance(node, ast.JoinedStr)
