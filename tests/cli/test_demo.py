import asyncio
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mabeam_p2p.cli.demo import crew, trading, trials
from mabeam_p2p.cli.demo.stage import Stage, Step
from mabeam_p2p.errors import NoQuorum
from tests.cli.daemons import environment, until
from tests.in_loop import in_loop

STEPS = [
    "discovery",
    "election",
    "vote",
    "concurrent_write",
    "failover",
    "barrier",
    "lock",
    "auction",
    "all_reduce",
    "tasks",
    "seat",
    "restart",
    "search",
]


async def told(stage: Stage, step: str, **claims: bool) -> Step:
    async with stage.step(step, step) as current:
        for claim, kept in claims.items():
            stage.check(current, claim, kept)
    return current


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    text = capsys.readouterr().out
    return [msgspec.json.decode(line, type=dict[str, object]) for line in text.splitlines()]


@in_loop
async def test_demo_that_keeps_every_claim_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(as_json=True)
    await told(stage, "one", a=True, b=True)
    stage.summarise()
    step, summary = lines(capsys)
    assert (step["step"], step["ok"]) == ("one", True)
    assert (summary["step"], summary["ok"], summary["kept"]) == ("summary", True, 2)


@in_loop
async def test_claim_that_fails_ends_its_step_and_fails_the_demo(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage = Stage(as_json=True)
    await told(stage, "one", a=True)
    step = await told(stage, "two", b=False, c=True)
    stage.summarise()
    assert step.claims == [("b", False)]
    assert not stage.ok
    summary = lines(capsys)[-1]
    assert (summary["ok"], summary["failed"]) == (False, ["two"])


@in_loop
async def test_error_is_a_claim_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(as_json=False)
    async with stage.step("one", "One") as step:
        raise NoQuorum("nobody is there")
    assert not step.ok
    assert "nobody is there" in capsys.readouterr().out


@in_loop
async def test_step_that_is_ended_before_it_is_done_has_failed() -> None:
    stage = Stage(as_json=True)

    async def play() -> None:
        async with stage.step("one", "One") as step:
            stage.check(step, "begun", True)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(play(), 0.01)
    assert not stage.ok


@in_loop
async def test_step_without_a_claim_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(as_json=True)
    await told(stage, "one")
    assert not stage.ok
    assert lines(capsys)[0]["ok"] is False


def test_trial_is_the_same_each_time_and_rates_matter(tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    assert trials.write_data(data)
    part = trials.read_part(data, 0, 6)
    low, good = (trials.accuracy(part, rate, 4, 0) for rate in (0.0005, 0.1))
    assert good > low + 0.1
    assert trials.accuracy(part, 0.1, 4, 0) == good


def test_parts_of_the_data_do_not_overlap(tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    data.write_text(json.dumps([([1.0, float(n)], 0) for n in range(1, 13)]))
    parts = [{features[1][1] for features, _ in trials.read_part(data, n, 4)} for n in range(4)]
    assert sorted(value for part in parts for value in part) == list(range(1, 13))


def test_primes_of_all_blocks_are_those_of_the_sieve() -> None:
    blocks = [[first, first + 100] for first in range(0, 1_000, 100)]
    # There are 168 primes under a thousand.
    assert sum(map(crew.count_primes, blocks)) == trading.count_below(1_000) == 168


def test_what_was_exchanged_has_one_digest_however_it_is_ordered() -> None:
    one, other = crew.bytes_of(0), crew.bytes_of(1)
    assert one != other
    assert crew.digest_of({"a": one, "b": other}) == crew.digest_of({"b": other, "a": one})
    assert crew.digest_of({"a": one, "b": other}) != crew.digest_of({"a": other, "b": one})
    assert crew.digest_of(bytearray(one)) == crew.digest_of(one)


def demo(folder: Path) -> "subprocess.Popen[bytes]":
    """A demo whose temporary folders are in `folder`. Addresses, since not every host that runs
    tests has multicast."""
    return subprocess.Popen(
        [sys.executable, "-m", "mabeam_p2p", "demo", "--json", "--no-mdns"],
        stdout=subprocess.PIPE,
        env=environment() | {"TMPDIR": str(folder)},
    )


def children(folder: Path) -> list[int]:
    """Processes that work in a demo's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            workplace = (process / "cwd").readlink()
        except OSError:
            continue
        if workplace.is_relative_to(folder):
            found.append(int(process.name))
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: the demo's sockets are in it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("looks for processes in /proc")
    with tempfile.TemporaryDirectory(prefix="mb") as folder:
        yield Path(folder)


@pytest.mark.slow
def test_every_claim_of_the_demo_holds(folder: Path) -> None:
    running = demo(folder)
    output, _ = running.communicate(timeout=90)
    steps = [msgspec.json.decode(line) for line in output.splitlines()]
    # What failed says more than what did not come to its turn.
    assert [step for step in steps if not step["ok"]] == []
    assert [step["step"] for step in steps] == [*STEPS, "summary"]
    assert running.returncode == 0
    assert children(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_demo(folder: Path, number: signal.Signals) -> None:
    running = demo(folder)
    assert running.stdout is not None
    with running.stdout:
        # The first step has been told: all five peers run.
        assert msgspec.json.decode(running.stdout.readline())["ok"]
        assert len(children(folder)) >= 5
        running.send_signal(number)
        running.wait(timeout=90)
    assert running.returncode == (-number if number is signal.SIGKILL else 130)
    until(lambda: children(folder) == [])
    # Nobody can tidy up after kill -9.
    assert number is signal.SIGKILL or list(folder.iterdir()) == []
