"""A hostile process of the same user ends its own connection at most, and no daemon."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mabeam_p2p.config import Config
from mabeam_p2p.daemon.host import Host
from mabeam_p2p.requests import Leave, ReadStatus
from mabeam_p2p.wire.local import LENGTH_BYTES, Answered, Ask, Goodbye, Welcome
from tests.cli.daemons import House, house
from tests.daemon.served import Connection
from tests.hostile import archive
from tests.hostile.entrances import READERS
from tests.hostile.mutation import mutated
from tests.hostile.test_mutated import SPECIMENS
from tests.in_loop import in_loop

LAST = 2**40
"""Number of the question behind each file."""
AT_ONCE = 20
STEP = 4
"""Every so many files of the archive are tried; all of what codecs have failed at."""


@pytest.fixture
def place() -> Iterator[House]:
    with house() as found:
        yield found


@asynccontextmanager
async def serving(place: House) -> AsyncIterator[Host]:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    config = Config(
        name="hill", cluster="test", data_dir=str(place.folder / "data"), mdns=False, expect=1
    )
    async with Host(config) as host:
        assert await host.ready()
        yield host
        assert raised == []
        # One that behaves is served as before.
        connection = await connected(host)
        assert isinstance(await connection.greet(), Welcome)
        assert await behind(connection) is None
        await connection.close()


async def connected(host: Host) -> Connection:
    return Connection(*await asyncio.open_unix_connection(host.socket_path))


async def behind(connection: Connection) -> str | None:
    """None: a question behind all that was said before is answered. Else what the daemon said last:
    the reason of its goodbye, or nothing."""
    connection.say(Ask(LAST, ReadStatus()))
    last = ""
    while (heard := await connection.hear()) is not None:
        if isinstance(heard, Answered) and heard.number == LAST:
            return None
        last = heard.reason if isinstance(heard, Goodbye) else ""
    return last


async def attack(host: Host, data: bytes, *, greets: bool) -> str | None:
    connection = await connected(host)
    if greets:
        assert isinstance(await connection.greet(), Welcome)
    connection.writer.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    outcome = await behind(connection)
    await connection.close()
    return outcome


def ends_the_daemon(data: bytes) -> bool:
    """Whether it is a right request to do so, which any client may make."""
    try:
        return any(
            isinstance(message, Ask) and isinstance(message.request, Leave)
            for message in READERS["local"](data)
        )
    except Exception:
        return False


def chosen() -> list[bytes]:
    files = archive.files_of("local")
    names = sorted(files)
    faults = [name for name in names if "/faults/" in name or "/found/" in name]
    return [files[name] for name in (*faults, *names[::STEP]) if not ends_the_daemon(files[name])]


@pytest.mark.slow
@pytest.mark.parametrize("greets", [True, False])
@in_loop
async def test_corpus_at_the_local_socket_ends_connections_and_no_daemon(
    place: House, greets: bool, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[str | None] = []
    with caplog.at_level(logging.ERROR):
        async with serving(place) as host:
            files = chosen()[:: 1 if greets else 5]
            for start in range(0, len(files), AT_ONCE):
                attacks = (
                    attack(host, data, greets=greets) for data in files[start : start + AT_ONCE]
                )
                outcomes += await asyncio.gather(*attacks)
    assert outcomes.count("protocol") > len(outcomes) // 2
    assert caplog.records == []


@pytest.mark.slow
@in_loop
async def test_mutated_messages_at_the_local_socket_end_no_daemon(
    place: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with serving(place) as host:
            files = [d for d in mutated(SPECIMENS["local"], 1_000, 5) if not ends_the_daemon(d)]
            for start in range(0, len(files), AT_ONCE):
                await asyncio.gather(
                    *(attack(host, data, greets=True) for data in files[start : start + AT_ONCE])
                )
    assert caplog.records == []
