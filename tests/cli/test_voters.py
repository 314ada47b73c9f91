"""Voters from the command line: who they are, what became of them, and what a change came to."""

import re
import shutil
import signal
from collections.abc import Iterator

import pytest

from tests.cli.daemons import House, house, mabeam, told, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house(is_patient=True) as place:
        yield place


def rows(at: str = "ant") -> list[dict[str, object]]:
    listed = told("voters", "list", "--addr", at)["peers"]
    assert isinstance(listed, list)
    return listed


def test_a_voter_that_is_no_member_is_told_from_those_that_are(place: House) -> None:
    _, bee, _ = place.started("ant", "bee", "cow")
    seed = ("--seed", str(told("status", "--addr", "ant")["address"]))
    until(lambda: [(row["part"], row["state"]) for row in rows()] == [("voter", "alive")] * 3)
    bee.signal(signal.SIGKILL)
    bee.wait()
    until(lambda: sorted(str(row["state"]) for row in rows()) == ["alive", "alive", "dead"])
    former = str(next(row["id"] for row in rows() if row["state"] == "dead"))

    shutil.rmtree(place.folder / "state" / "mabeam" / "test" / "bee")
    back = place.start("--expect", "3", *seed, name="bee")
    assert [back.line()["event"], back.line()["event"]] == ["listening", "ready"]
    # It has heard of none that died before it came.
    gone = {"id": former, "name": None, "part": "voter", "state": None}
    until(lambda: gone in rows("bee"))
    shown = mabeam("voters", "list", "--addr", "bee")
    assert "forgotten" in shown.stdout
    assert f"mabeam voters remove {former}" in shown.stderr

    # By the name it is the new one that is meant, and that has no vote.
    assert told("voters", "remove", "bee", "--addr", "ant")["changed"] is False
    idle = mabeam("voters", "remove", "bee", "--addr", "bee")
    assert "bee has no vote: nothing was changed" in idle.stderr
    done = told("voters", "remove", former, "--addr", "ant")
    assert (done["changed"], done["votes"]) == (True, False)


def test_without_a_majority_status_says_what_is_missing_and_where_to_read(place: House) -> None:
    _, bee, cow = place.started("ant", "bee", "cow")
    until(lambda: mabeam("status", "--addr", "ant").stderr == "")
    for daemon in (bee, cow):
        daemon.signal(signal.SIGKILL)
        daemon.wait()

    def dead() -> bool:
        return [row["state"] for row in rows()].count("dead") == 2

    until(dead)
    until(lambda: told("status", "--addr", "ant")["quorum"] is False)
    shown = mabeam("status", "--addr", "ant")
    assert shown.exit_code == 0
    assert "2 of the 3 voters must be there" in shown.stderr
    assert "mabeam repair --help" in shown.stderr
    assert re.search(r"^alive +1 peer$", shown.stdout, re.MULTILINE)
