"""How the demo tells its story: steps with a time, claims with a check, all of it visible while it
happens.

A claim is a sentence that the demo has just tried. One that fails ends its step and the demo.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import click
import msgspec

from mabeam_p2p.errors import MabeamError

PROGRESS_SECONDS = 0.5
"""Least time between two lines of progress where lines stay."""


class ClaimFailed(Exception):
    """What the demo said is not so; its step ends here."""


@dataclass
class Step:
    """One step under way. `facts` go into its JSON object."""

    name: str
    title: str
    claims: list[tuple[str, bool]] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return bool(self.claims) and all(kept for _, kept in self.claims)


class Stage:
    """Where steps are shown, on standard output; as JSON one object per step."""

    def __init__(self, as_json: bool) -> None:
        self.steps: list[Step] = []
        self._as_json = as_json
        self._started = time.monotonic()
        self._is_terminal = sys.stdout.isatty() and not as_json
        self._has_progress = False
        self._progressed = 0.0

    @property
    def ok(self) -> bool:
        return bool(self.steps) and all(step.ok for step in self.steps)

    @asynccontextmanager
    async def step(self, name: str, title: str) -> AsyncIterator[Step]:
        """Run the body as a step. Its failures are shown and counted, and do not leave it."""
        step = Step(name, title)
        self.steps.append(step)
        begun = time.monotonic()
        if not self._as_json:
            number = click.style(f"{len(self.steps)}", bold=True)
            click.echo(f"\n{number} {click.style(title, bold=True)}")
        try:
            yield step
        except ClaimFailed as failed:
            if all(kept for _, kept in step.claims):
                self._claim(step, str(failed), False)
        except (MabeamError, TimeoutError, OSError) as error:
            self._claim(step, f"no failure: {type(error).__name__}: {error}", False)
        except asyncio.CancelledError:
            self._claim(step, "it is done in time", False)
            raise
        finally:
            step.seconds = round(time.monotonic() - begun, 3)
            self._end(step)

    def say(self, text: str) -> None:
        """A line of the story."""
        if not self._as_json:
            self._clear()
            click.echo(f"    {text}")

    def progress(self, text: str) -> None:
        """What is being waited for; overwritten on a terminal, elsewhere now and then a line."""
        if self._as_json:
            return
        now = time.monotonic()
        if self._is_terminal:
            self._clear()
            click.echo(click.style(f"    … {text}", dim=True), nl=False)
            self._has_progress = True
        elif now - self._progressed >= PROGRESS_SECONDS:
            self._progressed = now
            click.echo(f"    … {text}")

    def check(self, step: Step, claim: str, kept: bool) -> None:
        """State a claim with what came of it. Raises ClaimFailed if it did not hold."""
        self._claim(step, claim, kept)
        if not kept:
            raise ClaimFailed(claim)

    def summarise(self) -> None:
        seconds = round(time.monotonic() - self._started, 1)
        kept = sum(ok for step in self.steps for _, ok in step.claims)
        total = sum(len(step.claims) for step in self.steps)
        failed = [step.name for step in self.steps if not step.ok]
        if self._as_json:
            self._json(
                {
                    "step": "summary",
                    "ok": self.ok,
                    "seconds": seconds,
                    "claims": total,
                    "kept": kept,
                    "failed": failed,
                }
            )
            return
        if self.ok:
            verdict = click.style(f"All {total} claims held", fg="green", bold=True)
        else:
            verdict = click.style(f"{total - kept} of {total} claims failed", fg="red", bold=True)
        click.echo(f"\n{verdict} in {seconds:.1f} s.")

    def _claim(self, step: Step, claim: str, kept: bool) -> None:
        step.claims.append((claim, kept))
        if not self._as_json:
            self._clear()
            mark = click.style("✓", fg="green") if kept else click.style("✗", fg="red", bold=True)
            click.echo(f"  {mark} {claim}")

    def _end(self, step: Step) -> None:
        if self._as_json:
            claims = [{"claim": claim, "ok": kept} for claim, kept in step.claims]
            self._json(
                {
                    "step": step.name,
                    "ok": step.ok,
                    "seconds": step.seconds,
                    "claims": claims,
                }
                | step.facts
            )
        else:
            self._clear()
            click.echo(click.style(f"    {step.seconds:.1f} s", dim=True))

    def _json(self, value: dict[str, object]) -> None:
        click.echo(msgspec.json.encode(value))

    def _clear(self) -> None:
        if self._has_progress:
            click.echo("\r\033[K", nl=False)
            self._has_progress = False
