import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import click.testing
import msgspec
import pytest

from tests.cli.daemons import SECONDS, House, environment, house, mabeam, told, until

NAMES = ("ant", "bee", "cow")


@pytest.fixture(scope="module")
def place() -> Iterator[House]:
    """Three daemons of one cluster."""
    with house(is_patient=True) as place:
        place.started(*NAMES)
        yield place


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


def beside(*arguments: str) -> "Future[click.testing.Result]":
    """Run a verb while the test goes on: in a process, as its output is its own."""
    result: Future[click.testing.Result] = Future()

    def run() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "mabeam_p2p", *arguments],
            capture_output=True,
            check=False,
            env=environment(),
        )
        runner = click.testing.CliRunner()
        result.set_result(
            click.testing.Result(
                runner, done.stdout, done.stderr, done.stdout, None, done.returncode, None
            )
        )

    threading.Thread(target=run).start()
    return result


def proposals() -> list[dict[str, object]]:
    listed = told("proposals")["proposals"]
    assert isinstance(listed, list)
    return listed


def open_proposal(parameter: str) -> str:
    """Id of the open proposal for `parameter`, once there is one."""

    def is_it(proposal: dict[str, object]) -> bool:
        return (proposal["parameter"], proposal["status"]) == (parameter, "open")

    until(lambda: any(map(is_it, proposals())))
    return str(next(filter(is_it, proposals()))["id"])


def test_status_has_the_keys_that_scripts_rely_on() -> None:
    statuses: list[dict[str, object]] = []

    def is_one_view() -> bool:
        statuses[:] = [told("status", "--addr", name) for name in NAMES]
        roles = sorted(str(status["role"]) for status in statuses)
        leaders = {status["leader"] for status in statuses}
        return (roles, len(leaders)) == (["follower", "follower", "leader"], 1) and all(
            status["quorum"] for status in statuses
        )

    until(is_one_view)
    for status, name in zip(statuses, NAMES, strict=True):
        assert status["name"] == name
        assert status["cluster"] == "test"
        assert status["quorum"] is True
        assert sorted(map(str, status["voters"])) == status["voters"]  # type: ignore[call-overload]
        assert {"term", "commit_index", "applied_index", "learners"} <= set(status)
    text = mabeam("status").stdout
    assert "role" in text
    assert "quorum" in text


def test_members_are_listed_with_their_agents() -> None:
    members: list[dict[str, object]] = []

    def shown() -> list[tuple[object, ...]]:
        listed = told("members")["members"]
        assert isinstance(listed, list)
        members[:] = listed
        return [(m["name"], m["state"], m["agents"]) for m in members]

    until(lambda: shown() == [(name, "alive", [f"{name}@{name}"]) for name in NAMES])
    assert all({"id", "address", "incarnation"} <= set(member) for member in members)
    assert mabeam("members").stdout.startswith("NAME")


def test_info_and_leader_name_the_same_leader() -> None:
    def is_the_same() -> bool:
        leader = told("leader")
        known = told("info")["leader"]
        assert isinstance(known, dict)
        assert (known["id"], known["name"]) == (leader["leader"], leader["name"])
        return str(leader["leader"]) in mabeam("leader").stdout

    until(is_the_same, but=AssertionError)


def test_persons_at_their_hosts_decide_and_the_log_explains() -> None:
    proposing = beside("propose", "rate", "0.01", "--rationale", "flat", "--json")
    identity = open_proposal("rate")
    for name in NAMES[:2]:
        cast = mabeam("vote", identity, "accept", "--rationale", f"{name} agrees", "--addr", name)
        assert cast.exit_code == 0, cast.stderr
    result = proposing.result(SECONDS)
    assert result.exit_code == 0, result.stderr
    decision = msgspec.json.decode(result.stdout)
    assert (decision["id"], decision["status"], decision["accepted"]) == (
        identity,
        "accepted",
        True,
    )
    assert decision["accept_ratio"] == 1
    assert {"index", "term"} <= set(decision)
    assert [(v["agent"], v["choice"], v["rationale"]) for v in decision["votes"]] == [
        (f"{name}@{name}", "accept", f"{name} agrees") for name in NAMES[:2]
    ]
    assert told("explain", identity)["votes"] == decision["votes"]
    text = mabeam("explain", identity[:6]).stdout
    assert "“bee agrees”" in text
    assert "cow@cow  has not voted" in text
    agreed = told("get", "rate", "--linearizable", "--addr", "cow")
    assert (agreed["value"], agreed["level"], agreed["version"]) == (
        0.01,
        "linearizable",
        decision["index"],
    )
    assert mabeam("get", "rate", "--agreed").stdout == "0.01\n"
    late = mabeam("vote", identity, "reject", "--addr", "cow")
    assert late.exit_code == 1
    assert "closed" in late.stderr


def test_rejected_proposal_ends_with_1() -> None:
    proposing = beside("propose", "depth", "900")
    identity = open_proposal("depth")
    for name in NAMES[:2]:
        assert mabeam("vote", identity, "reject", "--addr", name).exit_code == 0
    result = proposing.result(SECONDS)
    assert result.exit_code == 1, result.stderr
    assert "rejected" in result.stdout
    assert mabeam("get", "depth", "--agreed").exit_code == 1


def test_proposal_that_nobody_votes_on_ends_with_75_at_its_deadline() -> None:
    said: list[str] = []

    def has_been_made() -> bool:
        result = mabeam("propose", "width", "3", "--timeout", "0.3", "--json")
        assert result.exit_code == 75
        said.append(result.stdout)
        return result.stdout != ""

    until(has_been_made)
    assert msgspec.json.decode(said[-1])["status"] == "no_quorum"


def test_vote_on_an_unknown_proposal_is_refused() -> None:
    result = mabeam("vote", "nothing", "accept")
    assert result.exit_code == 1
    assert "mabeam proposals" in result.stderr
    assert mabeam("explain", "nothing").exit_code == 1


@pytest.mark.parametrize("value", ['{"a":[1,null]}', "0.5", "text with spaces"])
def test_variable_is_read_as_it_was_written(value: str) -> None:
    assert mabeam("set", "some/name", value, "--wait", "all").exit_code == 0
    for name in NAMES:
        assert mabeam("get", "some/name", "--addr", name).stdout == value + "\n"


def test_write_tells_who_acknowledged() -> None:
    acknowledged = told("set", "told", "1", "--wait", "all", "--addr", "ant")
    assert acknowledged["applied"] == ["bee", "cow"]
    assert acknowledged["missing"] == []


def test_reading_has_the_keys_that_scripts_rely_on() -> None:
    mabeam("set", "read", "7")
    reading = told("get", "read")
    assert (reading["name"], reading["value"], reading["level"]) == ("read", 7, "local")
    assert {"version", "index", "age_seconds"} <= set(reading)


def test_name_that_has_no_value_ends_with_1() -> None:
    result = mabeam("get", "nothing")
    assert result.exit_code == 1
    assert "no variable named 'nothing'" in result.stderr


def test_value_that_is_too_large_is_wrong_usage() -> None:
    result = mabeam("set", "large", "x" * 70_000)
    assert result.exit_code == 2
    assert "65536" in result.stderr


def test_watch_prints_present_values_first_and_ends_at_its_timeout() -> None:
    mabeam("set", "seen/a", "1")
    mabeam("set", "seen/b", "2")
    result = mabeam("watch", "seen/*", "--json", "--timeout", "8")
    assert result.exit_code == 75
    lines = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
    assert [(line["name"], line["value"], line["initial"]) for line in lines] == [
        ("seen/a", 1, True),
        ("seen/b", 2, True),
    ]


def test_barrier_releases_all_parties_and_runs_their_commands() -> None:
    other = beside("barrier", "gate", "--parties", "2", "--addr", "bee", "--", "echo", "through")
    result = mabeam("barrier", "gate", "--parties", "2", "--json", "--addr", "ant")
    assert result.exit_code == 0, result.stderr
    released = msgspec.json.decode(result.stdout)
    assert (released["released"], released["generation"]) == (True, 1)
    assert len(released["parties"]) == 2
    ended = other.result(SECONDS)
    assert (ended.exit_code, ended.stdout) == (0, "through\n")


def test_barrier_ends_as_its_command_does() -> None:
    arguments = ("barrier", "alone", "--parties", "1", "--", sys.executable, "-c", "exit(7)")
    assert mabeam(*arguments).exit_code == 7
    assert mabeam("barrier", "alone", "--parties", "1", "--", "no-such-command").exit_code == 127


def test_barrier_that_breaks_ends_with_75_and_names_who_came() -> None:
    result = mabeam(
        "barrier", "lonely", "--parties", "2", "--as", "one", "--timeout", "8", "--json"
    )
    assert result.exit_code == 75
    broken = msgspec.json.decode(result.stdout)
    assert (broken["released"], broken["reason"], broken["missing"]) == (False, "timeout", 1)
    assert [party.partition("@")[0] for party in broken["arrived"]] == ["one"]


def test_barrier_with_other_parameters_is_refused() -> None:
    waiting = beside("barrier", "strict", "--parties", "2", "--timeout", "60", "--addr", "bee")

    until(lambda: '"strict"' in mabeam("log", "--json").stdout)
    other = mabeam("barrier", "strict", "--parties", "3", "--timeout", "60", "--addr", "bee")
    assert other.exit_code == 1
    assert "same parameters" in other.stderr
    barrier = mabeam("barrier", "strict", "--parties", "2", "--timeout", "60")
    assert barrier.exit_code == 0
    assert waiting.result(SECONDS).exit_code == 0


def test_log_is_the_same_on_every_peer() -> None:
    def committed(name: str) -> list[dict[str, object]]:
        result = mabeam("log", "--json", "--addr", name)
        assert result.exit_code == 0, result.stderr
        return [msgspec.json.decode(line) for line in result.stdout.splitlines()]

    logs = [committed(name) for name in NAMES]
    shortest = min(map(len, logs))
    assert [entry["index"] for entry in logs[0]] == list(range(1, len(logs[0]) + 1))
    assert logs[0][0]["command"] == "Configure"
    assert logs[0][:shortest] == logs[1][:shortest] == logs[2][:shortest]


def test_events_are_told_as_they_happen() -> None:
    listening = beside("events", "variable.*", "--json", "--timeout", "10")

    while not listening.done():
        mabeam("set", "noise", "1")
    lines = [msgspec.json.decode(line) for line in listening.result().stdout.splitlines()]
    assert lines
    assert all(line["event"] == "variable.changed" for line in lines)
    assert ["noise"] in [line["names"] for line in lines]


def test_monitor_begins_with_the_present_state() -> None:
    result = mabeam("monitor", "--json", "--timeout", "8")
    first = msgspec.json.decode(result.stdout.splitlines()[0])
    assert (first["event"], first["name"]) == ("status", "ant")


def test_event_that_does_not_exist_is_wrong_usage() -> None:
    result = mabeam("events", "weather.*")
    assert result.exit_code == 2
    assert "member.alive" in result.stderr
