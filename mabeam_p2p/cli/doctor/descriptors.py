"""How many files and connections a process may have open.

Each link to a member takes a connection out, one in, and a descriptor to wake up by.
"""

import resource
from pathlib import Path

from mabeam_p2p.cli.doctor.finding import Finding, error, ok, warning

ENOUGH = 1024
"""Three for each of three hundred members, and some."""
LEAST = 256
"""Below that a peer of a small cluster runs out when it restarts its links."""
NEARLY_ALL = 0.8

UNLIMITED = (-1, resource.RLIM_INFINITY)

Range = tuple[int, int]
"""Soft and hard limit."""


def descriptors(process: int | None, limits: Range | None = None) -> Finding:
    """Of the daemon's process, if one runs, else of this shell, which would start one."""
    who = "this shell" if process is None else f"the daemon (process {process})"
    soft, hard = limits or (
        resource.getrlimit(resource.RLIMIT_NOFILE) if process is None else limits_of(process)
    )
    used = None if process is None else used_by(process)
    if soft in UNLIMITED:
        return ok("descriptors", f"{who} may open as many as it likes")
    if used is not None and used >= NEARLY_ALL * soft:
        mend = _raised(process, max(ENOUGH, 2 * soft), hard)
        return error("descriptors", f"{who} has {used} of {soft} descriptors open", mend)
    mend = _raised(process, ENOUGH, hard)
    text = f"{who} may open {soft} descriptors"
    if soft < LEAST:
        return error("descriptors", f"{text}; with less than {LEAST} links fail", mend)
    if soft < ENOUGH:
        return warning("descriptors", f"{text}; {ENOUGH} serve some hundred members", mend)
    return ok("descriptors", text if used is None else f"{text}, and has {used}")


def _raised(process: int | None, wanted: int, hard: int) -> str:
    """The command that lets the process, or this shell, open so many."""
    is_allowed = hard in UNLIMITED or hard >= wanted
    if process is None and is_allowed:
        return f"ulimit -n {wanted}"
    most = "unlimited" if hard in UNLIMITED else max(hard, wanted)
    who = "$$" if process is None else process
    return f"{'' if is_allowed else 'sudo '}prlimit --pid {who} --nofile={wanted}:{most}"


def limits_of(process: int) -> Range:
    """Of another process of this user; this one's own where the system does not tell."""
    try:
        return resource.prlimit(process, resource.RLIMIT_NOFILE)
    except (AttributeError, OSError):
        return resource.getrlimit(resource.RLIMIT_NOFILE)


def used_by(process: int) -> int | None:
    try:
        return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return None
