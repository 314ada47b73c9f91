import asyncio
import gc
import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# By default an example has 200 ms of everybody's clock, which a busy machine may well take.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", settings.get_profile("explore"), derandomize=True)
settings.load_profile("fixed")
"""What is tried is the same in each run, but for values that Hypothesis finds in whatever modules
are loaded by then. To look for more: --hypothesis-profile=explore."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-vectors",
        action="store_true",
        help="write a new file into tests/vectors for what has none",
    )


@pytest.fixture(autouse=True, scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Secrets that a user's peers share are kept there: never in the home of who runs the tests,
    nor where a file of tests would find those of whichever file ran before it."""
    folder = tmp_path_factory.mktemp("state")
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user has no home, as one of a container that is in no list of users."""

    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.fixture
def losses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio logs each time why a connection was lost, if nobody asked: by default it does so only
    where garbage is collected in a certain order."""
    gc.collect()  # What others have left is not what is looked for.
    monkeypatch.delattr(asyncio.StreamReaderProtocol, "__del__")


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A shell has what runs in its background ignore SIGINT, and nohup has it ignore SIGHUP: so
    would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
