"""Hosts for tests, with the reason where there can be none, and what was measured.

With REQUIRE_NETWORK=1 a missing virtual network is a failure: where these tests are meant to
run, green means that they did.
"""

import os
from collections.abc import Callable, Generator, Iterator

import pytest

from tests.network.lan import FabricName, Lan
from tests.network.namespaces import why_no_taps, why_not

REQUIRED = "REQUIRE_NETWORK"
LOG_CHARACTERS = 4_000
REPORTED_PROCESSES = 8
"""The last of each host."""
"""Of what each program on each host has said, in the report of a failure."""

MakeLan = Callable[..., Lan]
Measure = Callable[[str, float], None]

_CALL = pytest.StashKey[pytest.TestReport]()


def unavailable(reason: str) -> None:
    """Skip the test, or fail where it is required."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but there is no virtual network: {reason}")
    pytest.skip(f"no virtual network: {reason}")


@pytest.fixture(scope="session")
def no_network() -> str | None:
    return why_not()


@pytest.fixture
def lan(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    no_network: str | None,
) -> Iterator[MakeLan]:
    """lan(hosts=5, fabric="bridge") makes a network; it is gone after the test."""
    made: list[Lan] = []

    def make(hosts: int = 5, fabric: FabricName = "bridge") -> Lan:
        reason = no_network or (why_no_taps() if fabric == "switch" else None)
        if reason is not None:
            unavailable(reason)
        # A short path: that of a local socket has room for about a hundred bytes.
        made.append(Lan(tmp_path_factory.mktemp("lan"), hosts, fabric=fabric))
        return made[-1]

    yield make
    call = request.node.stash.get(_CALL, None)
    for each in made:
        if call is not None and call.failed:
            _report(request.node, each)
        each.close()


def _report(item: pytest.Item, lan: Lan) -> None:
    """What was said on the hosts, behind the failure."""
    for host in lan.hosts:
        for process in host.processes[-REPORTED_PROCESSES:]:
            text = process.said()[-LOG_CHARACTERS:] + "\n".join(process.lines()[-10:])
            if text:
                title = f"{host.name} {host.address} pid {process.pid} exit {process.exit_code}"
                item.add_report_section("teardown", title, text)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measure:
    """measured(name, value): told at the end of the run. No test fails of it."""
    return lambda name, value: record_property(name, round(value, 3))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_CALL] = report
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests measured: nothing is asserted of it that a busy machine could break."""
    figures = [
        (report.nodeid.rpartition("::")[2], name, value)
        for report in terminalreporter.stats.get("passed", ())
        if "tests/network" in report.nodeid
        for name, value in report.user_properties
    ]
    if figures:
        terminalreporter.section("measured on the virtual network")
        for test, name, value in figures:
            terminalreporter.write_line(f"{test}: {name} {value}")
