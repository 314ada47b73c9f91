"""A function gets other code in a child process, and the tests that run it must fail.

The parent has imported the package and collected the tests once; a child is a fork of it, so that
a trial costs little more than the tests that it runs.
"""

import importlib
import inspect
import os
import resource
import select
import signal
import sys
import types
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import pytest

from tools.mutation.operators import Change, changed

MEMORY_BYTES_MAX = 4 * 1024**3
"""A change may make a loop endless, and a list with it."""


class Invalid(Exception):
    """This change cannot be tried."""


def apply(change: Change, root: Path) -> None:
    """Give the changed code to the function of this process. Raises Invalid."""
    text = (root / change.path).read_bytes()
    try:
        compiled = compile(changed(text, change), str(root / change.path), "exec")
    except SyntaxError as error:
        raise Invalid(str(error)) from error
    module = importlib.import_module(module_name(change.path))
    function = _function(module, change)
    code: types.CodeType = compiled
    for name in change.scope.split("."):
        code = _nested(code, name, change.first_line)
    if code.co_freevars != function.__code__.co_freevars:
        raise Invalid("it closes over other variables")
    function.__code__ = code


def module_name(path: str) -> str:
    """As others import it: a package's own file under another name would be a second copy."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _nested(code: types.CodeType, name: str, first_line: int) -> types.CodeType:
    found = [c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == name]
    exact = [c for c in found if c.co_firstlineno == first_line]
    return (exact or found)[0]


def _function(module: types.ModuleType, change: Change) -> types.FunctionType:
    *owners, name = change.scope.split(".")
    owner: object = module
    for part in owners:
        owner = vars(owner)[part]
    found = vars(owner).get(name)
    candidates: list[object] = [found]
    if isinstance(found, property):
        candidates = [found.fget, found.fset]
    elif isinstance(found, cached_property):
        candidates = [found.func]
    for candidate in candidates:
        plain = getattr(candidate, "__func__", candidate)
        function = inspect.unwrap(plain) if callable(plain) else None
        if not isinstance(function, types.FunctionType):
            continue
        if function.__code__.co_firstlineno == change.first_line:
            return function
    raise Invalid(f"{change.scope} is no plain function")


# ---- children ----------------------------------------------------------------------------------


def in_child(work: Callable[[], str], seconds: float) -> tuple[int, str]:
    """Run `work` in a fork: its exit code, 0 if it returned, and what it returned. One that is
    late is killed, and its code is -9."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            _quiet()
            os.write(writer, work().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        try:
            # The pipe ends with the child, and not before.
            ready, _, _ = select.select([pipe], [], [], seconds)
        except KeyboardInterrupt:
            os.kill(child, signal.SIGKILL)
            raise
        if not ready:
            os.kill(child, signal.SIGKILL)
        words = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), words


def _quiet() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


# ---- tests -------------------------------------------------------------------------------------


class Watch:
    """A pytest plugin that remembers the first test that failed."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run(items: Sequence[pytest.Item], watch: Watch) -> str:
    """Run tests until one fails; its name, or nothing."""
    watch.failed = ""
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if watch.failed:
            break
    return watch.failed
