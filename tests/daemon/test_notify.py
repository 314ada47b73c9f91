"""What a service manager is told: by a datagram socket of the test's own in its place."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mabeam_p2p.daemon.notify import ServiceManager
from mabeam_p2p.events import LeaderChanged, QuorumChanged, Ready
from mabeam_p2p.ids import PeerId
from tests.eventually import eventually
from tests.in_loop import in_loop

PEER = PeerId("00000000000000aa")


class Manager:
    """A socket as $NOTIFY_SOCKET names one."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.told: list[str] = []

    def hear(self) -> list[str]:
        """Everything so far."""
        while True:
            try:
                self.told.append(self.socket.recv(4_096).decode())
            except BlockingIOError:
                return self.told


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def told_to(manager: Manager, **more: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": str(manager.socket.getsockname()), **more})


@in_loop
async def test_a_peer_that_can_serve_says_so_once_and_that_it_stops_once(
    manager: Manager,
) -> None:
    daemon = told_to(manager)
    daemon.begin()
    for _ in range(2):
        daemon.ready()
    for _ in range(2):
        daemon.stopping()
    daemon.ready()
    daemon.close()
    assert [line for line in manager.hear() if "TIMEOUT" not in line] == ["READY=1", "STOPPING=1"]


@in_loop
async def test_a_peer_that_stops_before_it_was_ready_never_says_that_it_is(
    manager: Manager,
) -> None:
    daemon = told_to(manager)
    daemon.begin()
    daemon.stopping()
    daemon.ready()
    daemon.close()
    assert [line for line in manager.hear() if "TIMEOUT" not in line] == ["STOPPING=1"]


@in_loop
async def test_pings_come_twice_in_the_time_that_the_manager_allows(manager: Manager) -> None:
    daemon = told_to(manager, WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
    assert daemon.beat_seconds == 1.5


@in_loop
async def test_pings_end_while_the_loop_is_stuck_and_go_on_with_it(manager: Manager) -> None:
    daemon = told_to(manager, WATCHDOG_USEC="20000")
    daemon.begin()
    await eventually(lambda: manager.hear().count("WATCHDOG=1") >= 3)
    stuck = manager.hear().count("WATCHDOG=1")
    for _ in range(100_000):
        assert manager.hear().count("WATCHDOG=1") == stuck, "somebody else than the loop pings"
    await eventually(lambda: manager.hear().count("WATCHDOG=1") > stuck)
    daemon.close()


@in_loop
async def test_more_time_to_start_is_asked_for_until_the_peer_is_ready(manager: Manager) -> None:
    daemon = told_to(manager, WATCHDOG_USEC="20000")
    daemon.begin()
    await eventually(lambda: manager.hear().count("EXTEND_TIMEOUT_USEC=30000000") >= 3)
    daemon.ready()
    asked = manager.hear().count("EXTEND_TIMEOUT_USEC=30000000")
    pings = manager.hear().count("WATCHDOG=1")
    await eventually(lambda: manager.hear().count("WATCHDOG=1") > pings + 2)
    assert manager.hear().count("EXTEND_TIMEOUT_USEC=30000000") == asked
    daemon.close()


@in_loop
async def test_the_watchdog_of_another_process_is_not_ours(manager: Manager) -> None:
    daemon = told_to(manager, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid() + 1))
    daemon.begin()
    daemon.close()
    assert daemon.watchdog_seconds == 0
    assert "WATCHDOG=1" not in manager.hear()


def test_children_do_not_inherit_the_socket(manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager(environment)
    assert environment == {"HOME": "/"}


@in_loop
async def test_a_name_in_the_abstract_namespace_is_understood() -> None:
    name = f"mabeam-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    daemon = ServiceManager({"NOTIFY_SOCKET": f"@{name}"})
    daemon.begin()
    daemon.ready()
    daemon.close()
    assert "READY=1" in manager.hear()
    manager.socket.close()


@in_loop
async def test_without_a_manager_and_with_one_that_is_gone_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "nonsense"}):
        daemon = ServiceManager(environment)
        daemon.begin()
        daemon.status("well")
        daemon.ready()
        await asyncio.sleep(0)
        daemon.close()
        daemon.close()


@in_loop
async def test_the_line_for_people_says_who_leads_and_whether_there_is_a_quorum(
    manager: Manager,
) -> None:
    daemon = told_to(manager)
    daemon.begin()
    for event in (
        LeaderChanged(PEER, "hill", 4, "elected"),
        QuorumChanged(False),
        LeaderChanged(None, "", 5, "not heard"),
        Ready(),
    ):
        daemon.on_event(event)
    daemon.status("of two\nlines")
    daemon.stopping()
    daemon.on_event(QuorumChanged(False))
    daemon.close()
    assert [line for line in manager.hear() if line.startswith("STATUS")] == [
        "STATUS=hill leads in term 4",
        "STATUS=no quorum: a majority of the voters does not answer",
        "STATUS=nobody leads",
        "STATUS=of two lines",
    ]
