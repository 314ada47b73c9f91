"""Runs an example as a person would: as a program, from the checkout."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from tests.cli.daemons import environment

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 240.0
"""Deadline of a run: reached by a failure only."""


def run(name: str, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"examples.{name}", "--out", str(out), *flags]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=SECONDS
    )


def shown(name: str, out: Path, *flags: str) -> tuple[dict[str, Any], str]:
    """The facts and the text of a run that must have kept its claims, with a picture."""
    done = run(name, out, *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    root = ElementTree.parse(out / f"{name}.svg").getroot()
    assert root.tag.endswith("svg")
    assert root.findall(".//{*}polyline")
    facts: dict[str, Any] = json.loads((out / f"{name}.json").read_text())
    assert facts["ok"] is True
    assert all(claim["holds"] for claim in facts["claims"])
    return facts, done.stdout
