"""What persons and scripts see when peers are gone."""

import signal
import threading
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from click.testing import Result

from mabeam_p2p.cli import output
from tests.cli.daemons import House, house, leader, mabeam, states, told, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def test_minority_refuses_to_decide_and_still_shows_what_it_knows(place: House) -> None:
    _, bee, cow = place.started("ant", "bee", "cow")
    assert mabeam("set", "rate", "0.5", "--wait", "all").exit_code == 0
    seed = str(told("status")["address"])
    for daemon in (bee, cow):
        daemon.signal(signal.SIGKILL)
        daemon.wait()
    until(lambda: told("status")["quorum"] is False)

    proposed = mabeam("propose", "depth", "1")
    assert proposed.exit_code == 75
    assert "certainly not done" in proposed.stderr
    assert mabeam("get", "depth", "--linearizable").exit_code == 75
    assert told("get", "rate")["value"] == 0.5
    unheard = mabeam("set", "rate", "0.6", "--wait", "2", "--timeout", "3", "--json")
    assert unheard.exit_code == 75
    assert told("get", "rate")["value"] == 0.6
    until(lambda: "dead" in states("ant").values())

    back = place.start("--seed", seed, name="bee")
    assert [back.line()["event"], back.line()["event"]] == ["listening", "ready"]
    until(lambda: told("status")["quorum"] is True)
    until(lambda: told("get", "rate", "--addr", "bee")["value"] == 0.6)


def test_where_nobody_that_is_there_may_lead_the_status_says_so(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MABEAM_ELIGIBLE", "false")
    place.start("--expect", "1").line()
    until(lambda: told("status")["nobody_eligible"] is True)
    assert told("status")["quorum"] is False
    shown = mabeam("status")
    assert "none of the voters that are there may" in shown.stderr


def test_who_waits_for_others_is_told_so_at_once_and_ends_with_75(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PATIENCE_SECONDS", 0.05)
    lonely = place.start("--expect", "2")
    lonely.line()
    lonely.wait_until_it_says("ant waits")
    for verb in (
        ("propose", "rate", "1"),
        ("vote", "12ab", "accept"),
        ("barrier", "gate", "--parties", "2"),
    ):
        result = mabeam(*verb, "--timeout", "0.5")
        assert result.exit_code == 75, result.stderr
        assert "waiting for cluster 'test'" in result.stderr
        assert "mabeam status" in result.stderr
        assert result.stdout == ""


def proposed_in_vain(*options: str) -> tuple[Result, list[Any]]:
    """A proposal that nobody decides, and all that are known. One that came too late to be made is
    made again."""
    where = options[: options.index("--timeout")]
    listed: list[Any] = []
    for _ in range(20):
        proposed = mabeam("propose", "rate", "1", *options)
        assert proposed.exit_code == 75, proposed.output
        listed = cast(list[Any], told("proposals", *where)["proposals"])
        if listed:
            break
    return proposed, listed


def test_who_waits_for_votes_parties_or_acknowledgements_is_told_what_for(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PATIENCE_SECONDS", 0.05)
    _, bee = place.started("ant", "bee")
    proposed, listed = proposed_in_vain("--timeout", "0.5")
    assert any(f"mabeam vote {one['id']} accept" in proposed.stderr for one in listed)
    met = mabeam("barrier", "gate", "--parties", "2", "--timeout", "8")
    assert "waiting at barrier 'gate' for 2 parties" in met.stderr
    bee.signal(signal.SIGSTOP)
    written = mabeam("set", "rate", "1", "--wait", "1", "--timeout", "3")
    assert "waiting for acknowledgements" in written.stderr


def test_others_explain_a_decision_when_its_leader_has_died(place: House) -> None:
    daemons = dict(zip(("ant", "bee", "cow"), place.started("ant", "bee", "cow"), strict=True))
    killed = leader()
    first, second = (name for name in daemons if name != killed)
    _, listed = proposed_in_vain("--addr", first, "--timeout", "0.2")
    daemons[killed].signal(signal.SIGKILL)
    until(lambda: told("status", "--addr", second)["leader_name"] in (first, second))

    def explained() -> dict[str, object]:
        return told("explain", listed[0]["id"], "--addr", second)

    until(lambda: explained()["status"] == "no_quorum")
    assert explained()["electorate"] == ["ant@ant", "bee@bee", "cow@cow"]


def test_leader_is_watched_over_a_change(place: House) -> None:
    daemons = dict(zip(("ant", "bee", "cow"), place.started("ant", "bee", "cow"), strict=True))
    killed = leader()
    other = next(name for name in daemons if name != killed)
    daemons[killed].signal(signal.SIGKILL)
    result = mabeam("leader", "--watch", "--json", "--addr", other, "--timeout", "15")
    assert result.exit_code == 75
    seen = [msgspec.json.decode(line)["name"] for line in result.stdout.splitlines()]
    assert seen[0] in (killed, None, *daemons)
    # Nobody leads where one of the two that are left stands still just then.
    last = [name for name in seen if name is not None][-1]
    assert last in daemons
    assert last != killed


def test_peer_without_a_cluster_says_what_it_waits_for(place: House) -> None:
    place.start("--expect", "3").line()
    assert told("status")["role"] == "none"
    assert "1 of the 3 peers" in mabeam("status").stdout
    assert mabeam("leader").exit_code == 1
    assert len(mabeam("members").stdout.splitlines()) == 2
    assert mabeam("get", "rate").exit_code == 1
    waiting = mabeam("propose", "rate", "1", "--timeout", "0.3")
    assert waiting.exit_code == 75


def test_restarted_peer_without_a_quorum_shows_what_it_had(place: House) -> None:
    daemons = place.started("ant", "bee", "cow")
    assert mabeam("set", "rate", "0.5", "--wait", "all").exit_code == 0
    for daemon in daemons:
        daemon.signal(signal.SIGKILL)
        daemon.wait()
    place.start("--expect", "3").line()
    assert told("get", "rate")["value"] == 0.5
    assert told("status")["quorum"] is False


def test_stream_ends_with_69_when_its_daemon_goes(place: House) -> None:
    (daemon,) = place.started("ant")
    daemon_gone = threading.Timer(0.3, daemon.signal, (signal.SIGKILL,))
    daemon_gone.start()
    assert mabeam("events", "--timeout", "20").exit_code == 69
    daemon_gone.join()
