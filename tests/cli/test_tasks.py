"""`mabeam tasks` against real daemons; the work is done by programs that know nothing of us."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.daemons import SECONDS, House, environment, house, mabeam, told, until

NAMES = ("ant", "bee", "cow")
SUM = "import json, sys; print(sum(json.load(sys.stdin)['args']))"
FAIL = "import sys; sys.exit('no luck')"
ECHO = "import sys; print('hello'); sys.stderr.write('noise')"
HANG = "import time; time.sleep(600)"


@pytest.fixture(scope="module")
def place() -> Iterator[House]:
    with house(is_patient=True) as place:
        place.started(*NAMES)
        yield place


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


def rows(what: str, *verb: str) -> list[dict[str, object]]:
    """The list `what` that `mabeam tasks VERB` tells."""
    listed = told("tasks", *verb)[what]
    assert isinstance(listed, list)
    return listed


@contextmanager
def working(name: str, program: str, *flags: str) -> Iterator[str]:
    """A worker at `bee` that runs a Python program for each task; its agent's id."""
    command = [sys.executable, "-m", "mabeam_p2p", "tasks", "work", name, "--addr", "bee", "--json"]
    process = subprocess.Popen(
        [*command, *flags, "--", sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        # One that stands still for a while has its task no less.
        env=environment() | {"MABEAM_TIMING__TASK_LEASE_SECONDS": str(SECONDS)},
    )
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["agent"])
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        process.stdout.close()


def test_any_program_does_a_task_for_any_other() -> None:
    with working("sum", SUM) as agent:
        done = told("tasks", "submit", "sum", "1", "2", "3", "--addr", "cow")
        assert (done["value"], done["agent"], done["attempts"]) == (6, agent, 1)
        assert mabeam("tasks", "submit", "sum", "4").stdout == "4\n"
        shown = told("tasks", "show", str(done["id"]))
        assert (shown["status"], shown["value"], shown["name"]) == ("done", 6, "sum")
        assert done["id"] in [task["id"] for task in rows("tasks")]
        assert "sum" in mabeam("tasks").stdout
        assert "value" in mabeam("tasks", "show", str(done["id"])).stdout
        (worker,) = rows("workers", "workers")
        assert (worker["agent"], worker["names"], worker["slots"]) == (agent, ["sum"], 1)
        assert agent in mabeam("tasks", "workers").stdout


def test_what_is_no_json_is_text() -> None:
    with working("echo", ECHO, "--group", "lab"):
        assert mabeam("tasks", "submit", "echo", "--group", "lab").stdout == "hello\n"
        listed = rows("tasks", "list", "done", "--group", "lab")
        assert [task["name"] for task in listed] == ["lab:echo"]


def test_failed_program_is_an_error_and_a_dead_letter_that_can_be_retried() -> None:
    with working("fail", FAIL):
        failed = mabeam("tasks", "submit", "fail")
        assert failed.exit_code == 1
        assert "no luck" in failed.stderr
        (letter,) = rows("tasks", "dead")
        assert letter["failures"] == 1
    ident = str(letter["id"])
    assert "no luck" in mabeam("tasks", "show", ident).stdout
    assert told("tasks", "retry", ident) == {"id": ident, "status": "queued"}
    with working("fail", SUM):
        until(lambda: told("tasks", "show", ident)["status"] == "done")
    again = mabeam("tasks", "retry", ident)
    assert again.exit_code == 1
    assert "stays as it is" in again.stderr


def test_task_that_nobody_offers_is_refused_or_queued_and_cancelled() -> None:
    refused = mabeam("tasks", "submit", "nobody.does")
    assert refused.exit_code == 1
    assert "no agent offers 'nobody.does'" in refused.stderr
    ident = mabeam("tasks", "submit", "nobody.does", "--queue", "--detach").stdout.strip()
    assert told("tasks", "show", ident)["status"] == "queued"
    assert mabeam("tasks", "cancel", ident).exit_code == 0
    until(lambda: told("tasks", "show", ident)["status"] == "cancelled")
    assert mabeam("tasks", "cancel", "none").exit_code == 1
    assert mabeam("tasks", "show", "none").exit_code == 1


def test_timeout_of_a_task_is_kept_by_the_cluster() -> None:
    with working("hang", HANG):
        over = mabeam("tasks", "submit", "hang", "--timeout", "3")
        assert over.exit_code == 1
        assert "its time is over" in over.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "x", "--requires", "gpu=x"),
        ("submit", "x", "--strategy", "best"),
        ("submit", "x", "--priority", "101"),
        ("list", "gone"),
        ("work", "x"),
        ("other",),
    ],
)
def test_wrong_usage_is_told_before_anybody_is_asked(arguments: tuple[str, ...]) -> None:
    assert mabeam("tasks", *arguments).exit_code == 2
