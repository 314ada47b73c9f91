"""What came of the changes: a score with its interval, the survivors, and why some cannot die."""

import tomllib
from collections import Counter
from math import sqrt
from pathlib import Path

import msgspec

from tools.mutation.operators import Change, replaced

REASONS = Path(__file__).parent / "equivalent.toml"
NOTICED = ("killed", "timeout")
MISSED = ("survived", "not run")


class Verdict(msgspec.Struct, frozen=True):
    """`end`: killed, timeout: noticed. survived: every test passed. not run: no test runs it.
    invalid: it cannot be put into the running function, and does not count."""

    path: str
    first: int
    """Line."""
    scope: str
    operator: str
    diff: str
    end: str
    test: str
    """Which one failed first."""
    seconds: float

    @classmethod
    def of(cls, change: Change, text: bytes, end: str, test: str, seconds: float) -> "Verdict":
        return cls(
            change.path, change.line, change.scope, change.operator, replaced(text, change),
            end, test, round(seconds, 2),
        )  # fmt: skip

    @property
    def key(self) -> tuple[str, str, str]:
        """File, function and diff: what the change is, wherever it stands."""
        return self.path, self.scope, plain(self.diff)

    def line(self) -> str:
        place = f"{self.path}:{self.first} {self.scope}"
        return f"{self.end:9} {place} ({self.operator}) {self.test}\n{self.diff}"


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change that no test can notice. It is known by its file, function and diff, so that it
    outlives changes elsewhere."""

    path: str
    scope: str
    diff: str
    why: str


class Report(msgspec.Struct):
    seed: int
    verdicts: list[Verdict]
    possible: int
    """Changes that could have been drawn."""

    def replace(self, verdict: Verdict) -> None:
        """In place of an earlier one of the same change that was missed; if there is one."""
        for place, earlier in enumerate(self.verdicts):
            if earlier.end in MISSED and earlier.key == verdict.key:
                self.verdicts[place] = verdict
                return

    def counts(self) -> Counter[str]:
        return Counter(verdict.end for verdict in self.verdicts)

    def score(self) -> str:
        counts = self.counts()
        noticed = sum(counts[end] for end in NOTICED)
        return share(noticed, noticed + sum(counts[end] for end in MISSED))

    def explained(self, reasons: dict[tuple[str, str, str], str]) -> list[Verdict]:
        return [v for v in self.verdicts if v.end in MISSED and v.key in reasons]

    def unexplained(self, reasons: dict[tuple[str, str, str], str]) -> list[Verdict]:
        return [v for v in self.verdicts if v.end in MISSED and v.key not in reasons]

    def summary(self, reasons: dict[tuple[str, str, str], str]) -> str:
        counts = self.counts()
        noticed = sum(counts[end] for end in NOTICED)
        missed = len(self.unexplained(reasons))
        lines = [
            f"drawn {len(self.verdicts)} of {self.possible}, seed {self.seed}: {dict(counts)}",
            f"noticed: {self.score()}",
            f"noticed of those that can be: {share(noticed, noticed + missed)}",
            f"survivors with a reason: {len(self.explained(reasons))}, without: {missed}",
        ]
        return "\n".join(lines)


def plain(diff: str) -> str:
    """Without what moves when code is indented anew."""
    return "\n".join(line[:1] + line[1:].strip() for line in diff.strip().splitlines())


def share(part: int, whole: int) -> str:
    """With Wilson's interval of 95 %."""
    if not whole:
        return "0 of 0"
    z, p = 1.96, part / whole
    middle = (p + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z * sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return f"{part} of {whole}, {p:.1%} (95 %: {low:.1%} to {high:.1%})"


def read_reasons(path: Path = REASONS) -> dict[tuple[str, str, str], str]:
    """By file, function and diff."""
    found = tomllib.loads(path.read_text(encoding="utf-8")).get("change", [])
    reasons = msgspec.convert(found, list[Reason])
    return {(reason.path, reason.scope, plain(reason.diff)): reason.why for reason in reasons}


def write_markdown(report: Report, reasons: dict[tuple[str, str, str], str], path: Path) -> None:
    """The summary, then every survivor."""
    parts = ["# Changes that no test noticed", *report.summary(reasons).splitlines()]
    for verdict in sorted(
        report.unexplained(reasons) + report.explained(reasons), key=lambda v: (v.path, v.first)
    ):
        why = reasons.get(verdict.key, "")
        parts.append(f"## {verdict.path}:{verdict.first} {verdict.scope}")
        parts.append(f"{verdict.operator}, {verdict.end}{'; ' if why else ''}{why}")
        parts.append(f"```diff\n{verdict.diff}\n```")
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
