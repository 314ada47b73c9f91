"""Every script in this folder leads to exactly the trace that stands in it.

A line that moved is a change of the protocol: read the difference, and write the traces anew with
`python -m mabeam_p2p.testing.scenario FILE` only when you can say why.
"""

from pathlib import Path

import pytest

from mabeam_p2p.testing.scenario import play

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_leads_to_its_trace(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert play(text).splitlines() == text.splitlines()


def test_there_are_scripts() -> None:
    assert SCRIPTS


def test_unknown_command_is_named() -> None:
    with pytest.raises(ValueError, match="no such command: 'dance A'"):
        play("peers 1\ndance A\n")


def test_script_begins_with_its_peers() -> None:
    with pytest.raises(ValueError, match="begins with `peers N`"):
        play("wait 1.0\n")
