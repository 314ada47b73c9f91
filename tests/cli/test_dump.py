import asyncio
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mabeam_p2p import RemoteTaskError, connect
from mabeam_p2p.commands import Arrive
from mabeam_p2p.ids import CLUSTER_SESSION
from mabeam_p2p.records import OnDeparture
from tests.cli.daemons import SECONDS, House, environment, house, mabeam, until

pytestmark = pytest.mark.slow
CANARY = "canary-7d1f"


@pytest.fixture
def place() -> Iterator[House]:
    with house() as place:
        yield place


def test_a_dump_tells_every_core_and_machine_and_no_value(place: House) -> None:
    place.started("ant")
    assert mabeam("set", "temperature", CANARY).exit_code == 0
    assert mabeam("queue", "put", "jobs", CANARY).exit_code == 0
    result = mabeam("dump", "--addr", "ant")
    assert result.exit_code == 0
    text = result.stdout
    assert CANARY not in text
    assert "'temperature'" in text
    for part in (
        "links: Links", "membership: Membership", "bootstrap: Bootstrap", "election: Election",
        "replication: Replication", "variables: Variables", "pending: Pending", "waits: Waits",
        "mail: Mail", "_handover: Handover", "machine: Machine", "sessions: Sessions",
        "proposals: Proposals", "barriers: Barriers", "seats: Seats", "tasks: Tasks",
        "ledger: Ledger", "auctions: Auctions", "recipes: Recipes", "_lane: Lane",
        "_transport: ZeroMqTransport", "_storage: SqliteStorage", "server: Server",
    ):  # fmt: skip
        assert part in text, part
    assert "leader_changed peer=" in text, "the log's last lines, also those that are not printed"
    assert "cut here" not in text


async def filled(barriers: dict[str, int]) -> str:
    """A dump while an agent has said what it can in words of its own. barriers: their parties."""
    async with connect("teller", addr="ant") as agent:

        @agent.task(name="fails")
        def fails() -> None:
            raise ValueError(CANARY)

        await agent.describe("where", CANARY)
        await agent.ledger.mint("eur", 10, note=CANARY)
        await agent.ledger.hold("eur", 1, note=CANARY)
        for name, parties in barriers.items():
            arrival = Arrive(
                CLUSTER_SESSION, 0, name, parties, 10**9, OnDeparture.SHRINK, note=CANARY
            )
            await agent.session.commit(arrival, "arriving", SECONDS)
        with pytest.raises(RemoteTaskError, match=CANARY):
            await agent.submit("fails", timeout=SECONDS)
        return (await asyncio.to_thread(mabeam, "dump", "--addr", "ant")).stdout


def test_what_applications_say_in_their_own_words_is_not_in_a_dump(place: House) -> None:
    place.started("ant")
    text = asyncio.run(filled({"waiting": 2, "released": 1}))
    assert CANARY not in text
    length = f"<{len(CANARY)} characters>"
    for part in (
        f"message: {length}", "traceback: <", f"note: {length}", f"'teller@ant': {length}",
        "kind: 'ValueError'", "attributes: tuple of 1", "'released'",
    ):  # fmt: skip
        assert part in text, part


def test_a_dump_goes_to_a_file_of_this_user_alone(place: House) -> None:
    place.started("ant")
    file = place.folder / "ant.txt"
    file.write_text("before")
    file.chmod(0o644)
    result = mabeam("dump", "--output", str(file))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "read them before you pass them on" in result.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("==== this process")
    result = mabeam("dump", "--output", str(place.folder / "no" / "file"))
    assert result.exit_code == 78
    assert "cannot be written" in result.stderr


def test_a_daemon_that_is_stopped_is_told_as_such(place: House) -> None:
    [daemon] = place.started("ant")
    daemon.signal(signal.SIGSTOP)
    try:
        text = mabeam("dump", "--addr", "ant", "--timeout", "0.5").stdout
    finally:
        daemon.signal(signal.SIGCONT)
    assert f"process {daemon.process.pid} did not answer" in text
    assert f"kill -CONT {daemon.process.pid}" in text
    assert mabeam("status").exit_code == 0, "it was not killed by the signal for stacks"


HELD = """
import asyncio, sys
from mabeam_p2p.api import sockets
from mabeam_p2p.observe.dumping import Dumps

async def main():
    listener = sockets.listen("test", "held")
    dumps = Dumps(listener.getsockname(), dict)
    dumps.start()
    print("ready", flush=True)
    a_sum_that_never_ends()

def a_sum_that_never_ends():
    sum(range(10**15))  # C code that lets no other thread run.

asyncio.run(main())
"""


def test_of_an_interpreter_that_is_held_the_stacks_are_had(place: House) -> None:
    texts: list[str] = []

    def is_held() -> bool:
        texts.append(mabeam("dump", "--addr", "held", "--timeout", "1").stdout)
        return f"process {held.pid} did not answer" in texts[-1]

    with subprocess.Popen(
        [sys.executable, "-c", HELD], stdout=subprocess.PIPE, env=environment()
    ) as held:
        try:
            assert held.stdout is not None
            assert held.stdout.readline() == b"ready\n"
            until(is_held)
        finally:
            os.kill(held.pid, signal.SIGKILL)
    text = texts[-1]
    assert "==== threads, by faulthandler" in text
    assert "in a_sum_that_never_ends" in text


def test_a_process_that_ends_meanwhile_is_said_to_have_ended(place: House) -> None:
    [daemon] = place.started("ant")

    def has_ended(process: int, number: int) -> None:
        raise ProcessLookupError

    # The verb has the name of its module.
    module = importlib.import_module("mabeam_p2p.cli.dump")
    daemon.signal(signal.SIGSTOP)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "kill", has_ended)
            patch.setattr(module, "_state", lambda process: "")
            text = mabeam("dump", "--addr", "ant", "--timeout", "0.5").stdout
    finally:
        daemon.signal(signal.SIGCONT)
    assert "it has ended meanwhile" in text


def test_without_a_daemon_there_is_nothing_to_dump(place: House) -> None:
    result = mabeam("dump")
    assert result.exit_code == 69
    assert "mabeam up" in result.stderr


def test_a_daemon_leaves_none_of_its_files_behind(place: House) -> None:
    [daemon] = place.started("ant")
    folder = place.folder / "run" / "mabeam" / "test"
    made = {"ant.dump", "ant.sock", "ant.stacks"}
    assert {path.name for path in folder.iterdir()} >= made
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert not {path.name for path in folder.iterdir()} & made
