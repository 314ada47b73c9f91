"""Leadership from the command line: who leads, who is to lead, and how fit this host's peer is."""

import signal
import time
from collections.abc import Iterator
from functools import partial

import msgspec
import pytest

from tests.cli.daemons import House, house, mabeam, told, until

pytestmark = pytest.mark.slow

ELECTION_SECONDS = 15
"""Longer than any machine stands still, and than it takes to see who leads."""


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def is_given_away() -> bool:
    """Whether leadership could be given to nobody in particular, who is another peer then."""
    before = mabeam("leader").stdout.split()
    result = mabeam("transfer")
    if not before or result.exit_code:
        return False
    name, _, word, *_ = result.stdout.split()
    return name in {"ant", "bee", "cow"} - {before[0]} and word == "term"


def leads(name: str) -> bool:
    """Whether leadership could be given to it, and its daemon says the same."""
    if mabeam("transfer", name).exit_code:
        return False
    again = mabeam("transfer", name, "--json")
    leader = mabeam("leader", "--json", "--addr", name)
    if again.exit_code or leader.exit_code:
        return False
    seen = msgspec.json.decode(again.stdout)
    return bool(seen["name"] == name) and msgspec.json.decode(leader.stdout) == seen


def test_leadership_goes_to_the_named_peer_and_its_daemon_says_so(place: House) -> None:
    place.started("ant", "bee", "cow")
    for name in ("cow", "ant", "bee"):
        until(partial(leads, name))
    until(is_given_away)


def test_who_cannot_lead_is_refused_with_1_and_the_reason(place: House) -> None:
    place.started("ant", "bee")
    until(lambda: mabeam("transfer", "ant").exit_code == 0)
    assert mabeam("score", "95", "--unfit", "disk full", "--addr", "bee").exit_code == 0
    assert told("score", "--addr", "bee") == {"peer": "bee", "score": 95, "unfit": "disk full"}

    def refused() -> bool:
        result = mabeam("transfer", "bee", "--addr", "ant")
        if result.exit_code == 0:  # The leader had not heard of it.
            mabeam("transfer", "ant")
            return False
        why = "bee may not lead, or is not fit to at present"
        return result.exit_code == 1 and why in result.stderr

    until(refused)
    unknown = mabeam("transfer", "dog")
    assert unknown.exit_code == 1
    assert "knows no peer 'dog': take one of " in unknown.stderr
    assert mabeam("score", "101").exit_code == 2


def test_a_score_holds_until_the_next_word(place: House) -> None:
    place.start("--expect", "1", "--score", "70").line()
    assert mabeam("score").stdout == "70\n"
    assert mabeam("score", "80").stdout == "80\n"
    assert mabeam("score", "--unfit", "on battery").stdout == "80 unfit: on battery\n"
    assert told("status")["unfit"] == "on battery"
    assert mabeam("score", "80").stdout == "80\n"


def test_a_daemon_can_measure_its_score(place: House) -> None:
    place.start("--expect", "1", "--score-by", "uptime").line()
    until(lambda: told("score")["score"] == 0)


@pytest.mark.parametrize("how", ["down", "SIGTERM"])
def test_a_leader_that_is_stopped_hands_over_first(
    place: House, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("MABEAM_TIMING__ELECTION_TIMEOUT_SECONDS", str(ELECTION_SECONDS))
    names = ("ant", "bee", "cow")
    daemons = dict(zip(names, place.started(*names), strict=True))
    seen = told("leader")
    name = str(seen["name"])
    if how == "down":
        assert mabeam("down", "--addr", name).exit_code == 0
    else:
        daemons[name].signal(signal.SIGTERM)
    assert daemons[name].wait() == 0
    began = time.monotonic()
    others = [other for other in names if other != name]
    at = ("--addr", others[0])
    until(lambda: mabeam("leader", *at).exit_code == 0 and told("leader", *at)["name"] in others)
    after = told("leader", *at)
    assert time.monotonic() - began < ELECTION_SECONDS
    # One election, which nobody had to wait for.
    assert after["term"] == int(str(seen["term"])) + 1
