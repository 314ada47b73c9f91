"""Whether what this package needs is there, and new enough.

Floors are read from the package's own metadata, so that there is one place for them (`setup.cfg`).
"""

import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from mabeam_p2p.cli.doctor.finding import Finding, error, ok, skipped, warning

PACKAGE = "mabeam-p2p"
PYTHON_FLOOR = (3, 11)
LIBZMQ_FLOOR = (4, 3, 3)
"""Older ones can be stopped by anybody who can connect (CVE-2020-15166)."""

VersionOf = Callable[[str], str | None]

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9][0-9.]*)\s*(?:;\s*extra\s*==\s*.*)?")


def installed(name: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements() -> Sequence[str]:
    """What this package says that it needs; nothing where it runs without being installed."""
    try:
        return importlib.metadata.requires(PACKAGE) or ()
    except importlib.metadata.PackageNotFoundError:
        return ()


def number_of(version: str) -> tuple[int, ...]:
    """The leading numbers: 26.0.3rc1 is (26, 0, 3)."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(map(int, found.group().split("."))) if found else ()


def versions(
    needed: Sequence[str] | None = None, version_of: VersionOf = installed
) -> Iterator[Finding]:
    """Every distribution against its floor. needed: requirements as of importlib.metadata."""
    needed = requirements() if needed is None else needed
    if sys.version_info < PYTHON_FLOOR:
        floor = ".".join(map(str, PYTHON_FLOOR))
        yield error("versions", f"Python is older than {floor}", "python3.11 -m venv .venv")
    if not needed:
        yield skipped("versions", f"{PACKAGE} is not installed, so its floors are not known")
        return
    fine: list[str] = []
    for requirement in needed:
        parsed = _REQUIREMENT.fullmatch(requirement.strip())
        if parsed is None:
            continue
        name, floor = parsed.group(1), parsed.group(2)
        is_extra = ";" in requirement
        version = version_of(name)
        mend = f"{sys.executable} -m pip install --upgrade '{name}>={floor}'"
        if version is None and not is_extra:
            yield error("versions", f"{name} is not installed, {floor} or newer is needed", mend)
        elif version is not None and number_of(version) < number_of(floor):
            say = warning if is_extra else error
            yield say("versions", f"{name} is {version}, older than {floor}", mend)
        elif version is not None and not is_extra:
            fine.append(f"{name} {version}")
    if fine:
        yield ok("versions", ", ".join(fine))


def curve(version: tuple[int, ...] | None = None, has_curve: bool | None = None) -> Finding:
    """What libzmq itself is, and whether it can encrypt."""
    import zmq

    version = zmq.zmq_version_info() if version is None else version
    has_curve = zmq.has("curve") if has_curve is None else has_curve
    text = ".".join(map(str, version))
    wheel = f"{sys.executable} -m pip install --force-reinstall --only-binary pyzmq pyzmq"
    if version < LIBZMQ_FLOOR:
        floor = ".".join(map(str, LIBZMQ_FLOOR))
        return error("libzmq", f"libzmq is {text}, older than {floor}", wheel)
    if not has_curve:
        return error("libzmq", f"libzmq {text} has no CURVE: peers have no keys", wheel)
    return ok("libzmq", f"libzmq {text} with CURVE")
