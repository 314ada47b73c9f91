"""Real daemons as processes, and the command line in this process, in folders of the test's own."""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click.testing
import msgspec
import pytest

import mabeam_p2p
from mabeam_p2p.api import attached, keys
from mabeam_p2p.cli import main, output
from mabeam_p2p.cli.doctor import cluster as doctor
from tests.nursery import Running, nursery

SECONDS = 90.0
"""Deadline of every wait: reached by a failure only."""
CLUSTER = "test"
AS_A_PROGRAM = ("env",)
"""What a daemon is run under that is not to be forked: one that is told by the words that it was
started with, that is ended while it is loaded, or that is to hash text in its own way."""


class Daemon:
    """`mabeam up` as a process."""

    def __init__(
        self, *flags: str, folder: Path, under: Sequence[str] = (), stdin: int | None = None
    ) -> None:
        """under: the words of a program that runs it, or of none. stdin: as Popen takes it. With
        neither it is forked where that can be, and else a program."""
        self.errors = folder / f"errors-{os.urandom(4).hex()}"
        self.process: Running
        words = ["up", "--json", "--no-mdns", *flags]
        with self.errors.open("wb") as errors:
            if sys.platform == "linux" and not under and stdin is None:
                self.process = nursery().begin(
                    words, folder=folder, environment=environment(), errors=errors
                )
            else:
                self.process = subprocess.Popen(
                    [*under, sys.executable, "-m", "mabeam_p2p", *words],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=folder,
                    env=environment(),
                )
        self._buffer = b""

    def line(self) -> dict[str, object]:
        """The next line that it prints."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                is_told = selector.select(deadline - time.monotonic())
                assert is_told, f"it printed no line in time, but {self._buffer!r}: {self.said()}"
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, f"it ended: {self.said()}"
                self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\n")
        return msgspec.json.decode(text, type=dict[str, object])

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(SECONDS)

    def said(self) -> str:
        """Everything on its standard error."""
        return self.errors.read_text()

    def wait_until_it_says(self, text: str) -> None:
        """Return once `text` stands on its standard error."""
        until(lambda: text in self.said())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class House:
    """Where daemons live. `folder` is removed at the end, and all daemons are killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: list[Daemon] = []

    def start(
        self,
        *flags: str,
        name: str = "ant",
        cluster: str = CLUSTER,
        under: Sequence[str] = (),
        stdin: int | None = None,
    ) -> Daemon:
        flags = ("--name", name, "--cluster", cluster, *flags)
        daemon = Daemon(*flags, folder=self.folder, under=under, stdin=stdin)
        self._daemons.append(daemon)
        return daemon

    def started(self, *names: str) -> list[Daemon]:
        """Daemons of one new cluster, ready."""
        daemons: list[Daemon] = []
        seeds: list[str] = []
        for name in names:
            daemons.append(self.start("--expect", str(len(names)), *seeds, name=name))
            seeds = ["--seed", str(daemons[-1].line()["address"])]
        for daemon in daemons:
            assert daemon.line()["event"] == "ready"
        return daemons

    def close(self) -> None:
        for daemon in self._daemons:
            daemon.end()


@contextmanager
def house(*, is_patient: bool = False) -> Iterator[House]:
    """A short path: that of a socket has room for about a hundred bytes. is_patient: what daemons
    are asked for waits for a majority for as long as it may, so that one that stands still for a
    second or two, and so breaks it, fails nothing."""
    folder = Path(tempfile.mkdtemp(prefix="mb"))
    (folder / "run").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        for variable in tuple(os.environ):
            if variable.startswith("MABEAM_"):
                patch.delenv(variable)
        patch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("MABEAM_CLUSTER", CLUSTER)
        if is_patient:
            patch.setenv("MABEAM_TIMING__NO_QUORUM_SECONDS", str(SECONDS))
        # Of this process: of a daemon that gets no processor the next one is not asked instead.
        patch.setattr(attached, "GREETING_SECONDS", SECONDS)
        patch.setattr(doctor, "ANSWER_SECONDS", SECONDS)
        # Nor does a rotation of keys end without one.
        patch.setattr(keys, "KNOWN_SECONDS", SECONDS)
        patch.setattr(keys, "FOLLOWED_SECONDS", SECONDS)
        patch.chdir(folder)
        place = House(folder)
        try:
            yield place
        finally:
            place.close()
            shutil.rmtree(folder, ignore_errors=True)


def environment() -> dict[str, str]:
    """For processes that run this checkout."""
    return os.environ | {"PYTHONPATH": str(Path(mabeam_p2p.__file__).parent.parent)}


class NotNow(AssertionError):
    """A verb could not be done at present, as no daemon or no majority was there."""


def until(condition: Callable[[], object], but: type[AssertionError] = NotNow) -> None:
    """Return once `condition()` holds. but: what it may raise before that."""
    deadline = time.monotonic() + SECONDS
    while True:
        failure: AssertionError | None = None
        try:
            if condition():
                return
        except but as error:
            failure = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"never came true within {SECONDS} s") from failure
        time.sleep(0.01)


def in_one_of(tries: int, scene: Callable[[], bool]) -> None:
    """As of tests.eventually; one in which something could not be done at present is none."""

    def is_played() -> bool:
        with suppress(NotNow):
            return scene()
        return False

    assert any(is_played() for _ in range(tries)), f"not once in {tries} tries"


def mabeam(*arguments: str) -> click.testing.Result:
    """Run a verb in this process."""
    return click.testing.CliRunner().invoke(main, arguments, catch_exceptions=False)


def states(at: str) -> dict[str, str]:
    """Of each member's name its state, as that peer has it. A table of them may have the word for a
    state in the digits of an id."""
    found = told("members", "--addr", at)["members"]
    assert isinstance(found, list)
    return {one["name"]: one["state"] for one in found}


def leader() -> str:
    """Its name, as soon as there is one: a peer that stands still for a while leads no more."""
    answers: list[click.testing.Result] = []

    def is_known() -> bool:
        answers.append(mabeam("leader", "--json"))
        return answers[-1].exit_code == 0

    until(is_known)
    return str(msgspec.json.decode(answers[-1].stdout, type=dict[str, object])["name"])


def told(*arguments: str) -> dict[str, object]:
    """The object that a verb prints with --json. It must succeed, or raises NotNow where it says
    that it may be tried again."""
    result = mabeam(*arguments, "--json")
    if result.exit_code in (output.UNREACHABLE, output.TRY_AGAIN):
        raise NotNow(result.stderr)
    assert result.exit_code == 0, result.stderr
    return msgspec.json.decode(result.stdout, type=dict[str, object])
