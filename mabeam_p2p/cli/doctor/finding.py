"""What the doctor says of one thing that it has looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "skipped", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is a stable word; `text` names what is wrong; `mend` is the command that mends it."""

    check: str
    level: Level
    text: str
    mend: str = ""

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def skipped(check: str, text: str) -> Finding:
    """It cannot be looked at here, or there is nothing to look at."""
    return Finding(check, "skipped", text)


def warning(check: str, text: str, mend: str) -> Finding:
    """A peer works, but less well than it could, or will not for long."""
    return Finding(check, "warning", text, mend)


def error(check: str, text: str, mend: str) -> Finding:
    """A peer does not work like this, or not safely."""
    return Finding(check, "error", text, mend)


def counts(findings: Iterable[Finding]) -> Mapping[str, int]:
    """How many of each level."""
    result = dict.fromkeys(("ok", "skipped", "warning", "error"), 0)
    for finding in findings:
        result[finding.level] += 1
    return result
