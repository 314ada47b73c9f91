"""Locks, counters and queues of the command line, at a real daemon."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from mabeam_p2p import connect
from mabeam_p2p.api.attached import PENDING_MAX
from tests.cli.daemons import SECONDS, House, environment, house, mabeam, told, until
from tests.in_loop import in_loop

SHOW_TOKEN = ("sh", "-c", 'echo "$MABEAM_LOCK $MABEAM_TOKEN"')


@pytest.fixture(scope="module")
def place() -> Iterator[House]:
    """A daemon of a cluster of one."""
    with house() as place:
        place.started("ant")
        yield place


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mabeam_p2p", *arguments],
        capture_output=True,
        check=False,
        text=True,
        env=environment(),
        timeout=SECONDS,
    )


@contextmanager
def holding(name: str, *options: str, command: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Within, `mabeam lock` holds the lock and runs the command of the shell."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mabeam_p2p", "lock", name, *options, "--", "sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        until(lambda: holders(name, *options))
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def holders(name: str, *options: str) -> list[str]:
    found = told("lock", name, *options)["holders"]
    assert isinstance(found, list)
    return [str(holder["agent"]) for holder in found]


# ---- locks -----------------------------------------------------------------------------------


def test_a_command_runs_under_a_lock_with_growing_tokens_and_its_own_exit_code() -> None:
    first = run("lock", "save", "--", *SHOW_TOKEN)
    second = run("lock", "save", "--", "sh", "-c", 'echo "x $MABEAM_TOKEN"; exit 7')
    assert (first.returncode, second.returncode) == (0, 7)
    name, token = first.stdout.split()
    assert name == "save"
    assert int(second.stdout.split()[1]) > int(token) > 0
    assert f"token {token}" in first.stderr
    assert run("lock", "save", "--", "no-such-program").returncode == 127


def test_a_command_may_be_one_of_ours() -> None:
    """What it is told stands in its environment, where it looks for settings."""
    ours = ("--", sys.executable, "-m", "mabeam_p2p", "counter", "ours", "--add", "1")
    assert told("queue", "put", "ours", "1")["items"] == 1
    for verb in (("lock", "ours"), ("queue", "take", "ours"), ("lead", "ours")):
        done = run(*verb, *ours)
        assert done.returncode == 0, done.stderr
    assert told("counter", "ours")["value"] == 3


def test_who_holds_and_who_waits_is_told(place: House) -> None:
    assert told("lock", "train")["holders"] == []
    assert "nobody holds train" in mabeam("lock", "train").stderr
    with holding("train", "--as", "first", command="read line"):
        assert holders("train") == ["first@ant"]
        text = mabeam("lock", "train").stdout
        assert "first@ant  holds" in text


def test_a_lock_that_is_held_is_waited_for_and_not_for_ever() -> None:
    with holding("busy", command="read line") as holder:
        late = run("lock", "busy", "--timeout", "3", "--", "echo", "no")
        assert (late.returncode, late.stdout) == (75, "")
        assert "held by" in late.stderr
        tried = run("lock", "busy", "--try", "--", "echo", "no")
        assert (tried.returncode, tried.stdout) == (75, "")
        holder.kill()
        holder.wait()
        # Its daemon ends the session with the connection.
        taken = run("lock", "busy", "--", "echo", "yes")
        assert (taken.returncode, taken.stdout) == (0, "yes\n")


def test_two_share_a_semaphore_and_readers_a_lock() -> None:
    with holding("gpu", "--semaphore", "2", command="read line"):
        assert run("lock", "gpu", "--semaphore", "2", "--try", "--", "true").returncode == 0
        wrong = run("lock", "gpu", "--semaphore", "3", "--", "true")
        assert wrong.returncode == 1
        assert "has 2 permits" in wrong.stderr
    with holding("table", "--read", command="read line"):
        assert run("lock", "table", "--read", "--try", "--", "true").returncode == 0
        assert run("lock", "table", "--write", "--try", "--", "true").returncode == 75
    assert mabeam("lock", "x", "--read", "--write", "--", "true").exit_code == 2


def test_a_terminated_holder_ends_its_command_and_gives_the_lock_back(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = (
        f"trap 'echo ended > {mark}; exit 3' TERM; echo here > {mark}; while :; do sleep 0.05; done"
    )
    with holding("t", command=command) as process:
        until(lambda: mark.exists() and mark.read_text() == "here\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert mark.read_text() == "ended\n"
    assert run("lock", "t", "--try", "--", "true").returncode == 0


def test_a_lost_lock_ends_the_command(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = (
        f"trap 'echo ended > {mark}; exit 0' TERM; echo $$ > {mark}; while :; do sleep 0.05; done"
    )
    with holding("l", "--as", "loser", command=command) as process:
        until(lambda: mark.exists() and mark.read_text().strip())
        # The lease of its session runs out.
        process.send_signal(signal.SIGSTOP)
        taken = run("lock", "l", "--timeout", "50", "--", "echo", "mine")
        assert (taken.returncode, taken.stdout) == (0, "mine\n")
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert b"was lost" in errors
    assert mark.read_text() == "ended\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_a_killed_holder_takes_its_command_along(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with holding("k", command=f"echo $$ > {mark}; exec sleep 1000") as process:
        until(lambda: mark.exists() and mark.read_text().strip())
        process.kill()
        process.wait()
    child = int(mark.read_text())

    def is_gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        # A zombie that nobody has waited for is as dead.
        status = Path(f"/proc/{child}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    until(is_gone)


@in_loop
async def test_more_wait_at_a_time_than_a_daemon_takes_questions() -> None:
    inside = most = 0
    async with connect("many", addr="ant") as agent:

        async def work() -> None:
            nonlocal inside, most
            async with agent.semaphore("s", 4, timeout=60):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(PENDING_MAX + 200)))
    assert 1 < most <= 4


# ---- counters --------------------------------------------------------------------------------


def test_counters_count_and_are_set_from_what_they_were() -> None:
    assert mabeam("counter", "rounds").stdout == "0\n"
    assert mabeam("counter", "rounds", "--add", "5").stdout == "5\n"
    assert told("counter", "rounds", "--add", "-2") == {
        "counter": "rounds",
        "value": 3,
        "changed": True,
    }
    refused = mabeam("counter", "rounds", "--set", "9", "--if", "4")
    assert (refused.exit_code, refused.stdout) == (1, "3\n")
    assert "is 3, not 4" in refused.stderr
    assert mabeam("counter", "rounds", "--set", "9", "--if", "3").stdout == "9\n"
    assert mabeam("counter", "rounds", "--set", "1").stdout == "1\n"
    for wrong in (("--add", "1", "--set", "2"), ("--if", "1")):
        assert mabeam("counter", "rounds", *wrong).exit_code == 2


# ---- queues ----------------------------------------------------------------------------------


def test_items_are_taken_in_order_and_only_done_with_by_a_command_that_succeeds() -> None:
    for item in ('{"lr": 1}', "two"):
        assert mabeam("queue", "put", "trials", item).exit_code == 0
    failed = run("queue", "take", "trials", "--", "sh", "-c", 'cat; echo " $MABEAM_TOKEN"; exit 3')
    assert failed.returncode == 3
    item, _, token = failed.stdout.strip().rpartition(" ")
    assert msgspec.json.decode(item) == {"lr": 1}
    done = run("queue", "take", "trials", "--", "sh", "-c", 'cat; echo " $MABEAM_TOKEN"')
    assert done.returncode == 0
    again, _, later = done.stdout.strip().rpartition(" ")
    assert again == item
    assert int(later) > int(token)
    assert told("queue", "show", "trials") == {
        "name": "trials",
        "ready": 1,
        "taken": 0,
        "waiting": 0,
    }
    assert mabeam("queue", "take", "trials").stdout == "two\n"
    assert mabeam("queue", "take", "trials", "--try").exit_code == 75
    assert mabeam("queue", "take", "trials", "--timeout", "0.2").exit_code == 75
    assert mabeam("queue", "show", "trials").exit_code == 0
