"""Three real daemons are restarted one by one in a later release, while others write.

There is no package of an earlier release to install: the earlier one is this release that is told
to apply logs up to the first machine version alone. Its frames and greetings are today's, so that
these tests show how a cluster changes its machine version under way, and what becomes of who is too
late; that earlier frames, logs and folders are read is shown by the golden ones, and that earlier
greetings are understood by the simulator (`testing/releases.py`).
"""

import asyncio
from collections.abc import Iterator

import pytest

from mabeam_p2p import connect
from mabeam_p2p.config import MACHINE_VERSION
from tests.bad_days.fleet import Fleet
from tests.cli.daemons import House, house, mabeam, told, until
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow

HELD_BACK = "MABEAM_MACHINE_VERSION_MAX"


@pytest.fixture
def place() -> Iterator[House]:
    with house(is_patient=True) as place:
        yield place


def version_of(name: str) -> object:
    return told("status", "--addr", name)["machine_version"]


async def writes_until(done: asyncio.Event, addr: str, written: list[str]) -> None:
    """Append to a journal by way of another daemon; nothing of it may fail."""
    async with connect("writer", addr=addr) as agent:
        while not done.is_set():
            item = f"{addr}-{len(written)}"
            await agent.journal("run").append(item, timeout=60)
            written.append(item)


@in_loop
async def rolled(fleet: Fleet, written: list[str]) -> None:
    """Restart each daemon without the setting, as others are written to."""
    for number, name in enumerate(fleet.names):
        other = fleet.names[number - 1]
        done = asyncio.Event()
        writing = asyncio.create_task(writes_until(done, other, written))
        count = len(written)
        while len(written) <= count:
            assert not writing.done(), "the writer has ended"
            await asyncio.sleep(0.01)
        version = await asyncio.to_thread(version_of, other)
        assert version == 1, "raised before all can"
        assert await asyncio.to_thread(fleet.stop, name) == 0
        await asyncio.to_thread(fleet.start, name)
        done.set()
        await writing


@in_loop
async def read_back(addr: str, items: list[str]) -> None:
    async with connect("reader", addr=addr) as agent:
        items += [str(item.value) for item in await agent.journal("run").read()]


def test_a_rolling_upgrade_fails_no_write_and_raises_the_version_at_its_end(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HELD_BACK, "1")
    fleet = Fleet(place, "ant", "bee", "cow")
    fleet.start(*fleet.names)
    assert [version_of(name) for name in fleet.names] == [1, 1, 1]
    monkeypatch.delenv(HELD_BACK)
    written: list[str] = []
    rolled(fleet, written)
    until(lambda: [version_of(name) for name in fleet.names] == [MACHINE_VERSION] * 3)
    items: list[str] = []
    read_back("ant", items)
    assert items == written

    # Who comes with the earlier release from now on is told why it cannot take part.
    monkeypatch.setenv(HELD_BACK, "1")
    assert fleet.stop("cow") == 0
    code, said = fleet.refused("cow")
    assert code == 1
    assert "applies logs up to machine version 1, and this one is of version" in said
    assert "Traceback" not in said
    # Its folder is as it was.
    monkeypatch.delenv(HELD_BACK)
    fleet.start("cow")
    until(lambda: version_of("cow") == MACHINE_VERSION)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        (
            HELD_BACK,
            f"the log is of machine version {MACHINE_VERSION}, and this peer applies up to 1",
        ),
        ("MABEAM_LIMITS__SESSIONS_MAX", "the log is applied by other limits"),
    ],
)
def test_a_peer_that_cannot_go_on_with_its_own_log_ends_and_leaves_it_as_it_is(
    place: House, monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    fleet = Fleet(place, "ant")
    fleet.start("ant")
    assert mabeam("set", "rate", "0.5").exit_code == 0
    assert fleet.stop("ant") == 0
    monkeypatch.setenv(variable, "1")
    code, said = fleet.refused("ant")
    # Not 75: it would be so again, and nobody is to start it again for that.
    assert code == 1
    assert text in said
    assert "Traceback" not in said
    monkeypatch.delenv(variable)
    fleet.start("ant")
    assert told("get", "rate")["value"] == 0.5


def test_a_cluster_is_held_back_by_the_setting_and_says_for_whom(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(place, "ant", "bee")
    monkeypatch.setenv(HELD_BACK, "1")
    fleet.begin("ant")
    monkeypatch.delenv(HELD_BACK)
    fleet.begin("bee")
    until(lambda: len(list((place.folder / "run").rglob("*.sock"))) == 2)
    until(lambda: told("status", "--addr", "bee")["quorum"])
    ant = told("status", "--addr", "ant")
    assert (ant["machine_version"], ant["machine_version_max"]) == (1, 1)

    def says_for_whom(why: str, by_limits: list[object]) -> bool:
        bee = told("status", "--addr", "bee")
        if bee["role"] != "leader":
            mabeam("transfer", "bee", "--addr", "ant")
            return False
        said = mabeam("status", "--addr", "bee").stderr
        held = (bee["held_back_by"], bee["held_back_by_limits"])
        return held == ([ant["peer"]], by_limits) and f"the log waits for ant {why}" in said

    until(lambda: says_for_whom("to apply version 2\n", []))
    assert version_of("bee") == 1
    assert fleet.stop("ant") == 0
    monkeypatch.setenv("MABEAM_LIMITS__SESSIONS_MAX", "1000")
    fleet.start("ant")
    until(lambda: says_for_whom("to have the limits of bee", [ant["peer"]]))
    assert version_of("bee") == 1
