"""The planted bugs can be planted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import mutants
from tools.planted import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


def test_every_bug_has_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) > 100
    assert sorted(set(names)) == sorted(names)


def test_every_edit_finds_its_text_once() -> None:
    lost = [
        (mutant.name, edit.path, edit.old)
        for mutant in MUTANTS
        for edit in mutant.edits
        if (ROOT / edit.path).read_text(encoding="utf-8").count(edit.old) != 1
    ]
    assert lost == []


def test_every_bug_is_what_it_says_and_no_name_that_does_not_exist(tmp_path: Path) -> None:
    """Code that raises a NameError fails any test: it shows nothing of the rule."""
    for mutant in MUTANTS:
        for edit in mutant.edits:
            if edit.path.endswith(".py"):
                planted = tmp_path / mutant.name / edit.path
                source = planted if planted.exists() else ROOT / edit.path
                text = source.read_text(encoding="utf-8").replace(edit.old, edit.new)
                planted.parent.mkdir(parents=True, exist_ok=True)
                planted.write_text(text, encoding="utf-8")
    look = ["ruff", "check", "--isolated", "--no-cache", "--select", "F821", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", *look, "--output-format", "concise", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_test_that_a_bug_was_given_exists() -> None:
    paths = [path for mutant in MUTANTS for path in mutant.tests]
    assert [path for path in paths if not (ROOT / path.partition("::")[0]).exists()] == []


def test_a_bug_that_does_not_exist_is_not_hunted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tools/mutants", "M1", "--only", "M5", "M0", "nothing"])
    with pytest.raises(SystemExit):
        mutants.main()
    assert "M0, nothing" in capsys.readouterr().err
