"""elect, lead and leader ROLE, at three daemons."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from tests.cli.daemons import SECONDS, House, environment, house, mabeam, told, until

NAMES = ("ant", "bee", "cow")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


@pytest.fixture(scope="module")
def place() -> Iterator[House]:
    """Three daemons of one cluster."""
    with house(is_patient=True) as place:
        place.started(*NAMES)
        yield place


class Lead:
    """`mabeam lead` as a process."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mabeam_p2p", "lead", "--json", *arguments],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        self._buffer = b""

    def line(self) -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                assert selector.select(deadline - time.monotonic()), "it printed no line in time"
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, "it ended"
                self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\n")
        return text.decode()

    def seat(self) -> dict[str, object]:
        return msgspec.json.decode(self.line(), type=dict[str, object])

    @property
    def thread_count(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def wait(self) -> int:
        return self.process.wait(SECONDS)


@contextmanager
def leading(*arguments: str) -> Iterator[Lead]:
    lead = Lead(*arguments)
    try:
        yield lead
    finally:
        if lead.process.poll() is None:
            lead.process.kill()
        lead.process.wait()
        assert lead.process.stdout is not None
        lead.process.stdout.close()


STAYS = (
    "--",
    sys.executable,
    "-u",
    "-c",
    "import os, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('ended'), sys.exit(7)))\n"
    "print('began', os.environ['MABEAM_SEAT'], os.environ['MABEAM_TOKEN'])\n"
    "time.sleep(600)",
)


def stands(agents: list[str]) -> bool:
    """Whether all these agents are attached."""
    members = told("members", "--addr", "bee")["members"]
    assert isinstance(members, list)
    attached = [agent for member in members for agent in member["agents"]]
    return all(any(agent.startswith(name) for agent in attached) for name in agents)


def test_daemons_alone_elect_one_of_their_own_agents() -> None:
    seat = told("elect", "keeper")
    assert seat["holder"] in [f"{name}@{name}" for name in NAMES]
    again = told("elect", "keeper", "--addr", "cow")
    assert (again["holder"], again["token"]) == (seat["holder"], seat["token"])
    until(lambda: mabeam("leader", "keeper").exit_code == 0)
    known = told("leader", "keeper")
    assert (known["holder"], known["token"]) == (seat["holder"], seat["token"])
    assert f"token {seat['token']}" in mabeam("leader", "keeper").stdout


def test_of_a_seat_that_nobody_holds_leader_says_so() -> None:
    result = mabeam("leader", "unheard-of")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nobody holds unheard-of" in result.stderr


def test_a_group_that_nobody_is_in_has_no_candidates() -> None:
    result = mabeam("elect", "keeper", "--group", "nobody")
    assert result.exit_code == 1
    assert "no candidates" in result.stderr
    assert mabeam("elect", "keeper", "--group", "no group").exit_code == 2


def test_the_command_runs_under_the_seat_and_its_exit_code_comes_out() -> None:
    with leading("job", "--", sys.executable, "-c", "import sys; sys.exit(3)") as lead:
        seat = lead.seat()
        assert seat["is_me"] is True
        assert lead.wait() == 3
    until(lambda: mabeam("leader", "job").exit_code == 1)


def test_a_command_that_cannot_be_run_is_said() -> None:
    with leading("job", "--", "/no/such/program") as lead:
        assert lead.wait() == 127


def test_one_of_two_runs_and_the_other_follows_with_a_greater_token_after_kill_9() -> None:
    with leading("backup", "--addr", "ant", *STAYS) as one:
        first = one.seat()
        assert one.line() == f"began backup {first['token']}"
        # The command would be told of its end for each, and its own could be interrupted.
        assert one.thread_count == 1
        with leading("backup", "--addr", "bee", "--as", "two", *STAYS) as two:
            waits = [f"{first['holder']}", "two"]
            until(lambda: stands(waits))
            one.process.kill()
            assert one.line() == "ended", "the command does not outlive its leader"
            second = two.seat()
            assert int(str(second["token"])) > int(str(first["token"]))
            assert two.line() == f"began backup {second['token']}"
            two.process.send_signal(signal.SIGTERM)
            assert two.line() == "ended"
            assert two.wait() == 143


def test_a_command_whose_seat_is_lost_gets_sigterm() -> None:
    with leading("nightly", "--group", "jobs", "--addr", "ant", "--as", "one", *STAYS) as lead:
        first = lead.seat()
        assert lead.line().startswith("began nightly")
        assert first["holder"] == "one@ant"
        known = ("leader", "nightly", "--group", "jobs", "--addr", "bee")
        until(lambda: mabeam(*known).exit_code == 0)
        lead.process.send_signal(signal.SIGSTOP)
        # Its lease runs out while it is stopped.
        until(lambda: mabeam(*known).exit_code)
        lead.process.send_signal(signal.SIGCONT)
        assert lead.line() == "ended"
        assert "lost" in lead.seat()
        assert lead.wait() == 1
