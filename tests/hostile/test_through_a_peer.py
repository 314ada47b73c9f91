"""Hostile bytes on their real way: sockets, loop, driver, node, lane. The peer goes on serving."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest
import zmq
from msgspec.structs import replace

from mabeam_p2p.addresses import split_address
from mabeam_p2p.security.keyring import new_key_pair
from tests.eventually import eventually
from tests.hostile import archive, spoiling
from tests.hostile.entrances import CODEC
from tests.hostile.mutation import mutated
from tests.hostile.victims import Victim, introduced, victim
from tests.in_loop import in_loop
from tests.transport.strangers import Prepare, Stranger, in_plain_text, under, with_a_password
from tests.wire.samples import MESSAGES, ONE

plain_and_with_keys = pytest.mark.parametrize("has_keys", [False, True], ids=["plain", "keys"])


@cache
def corpus() -> tuple[bytes, ...]:
    """Its files for frames."""
    return tuple(archive.files_of("frame").values())


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    records = caplog.get_records("call")
    assert [record for record in records if record.levelno >= logging.ERROR] == []


async def check_it_goes_on(v: Victim) -> None:
    await v.check_it_serves()
    v.check_it_has_counted()
    await v.check_it_serves_others()


@pytest.mark.slow
@plain_and_with_keys
@in_loop
async def test_corpus_from_whoever_is_heard_does_not_stop_a_peer(has_keys: bool) -> None:
    """In plain text a stranger is, and with keys a member alone."""
    async with victim(has_keys=has_keys) as v:
        if has_keys:
            await introduced(v)
        await v.send(corpus())
        assert v.driver.counters()["frames_undecodable"] > len(corpus()) // 2
        assert v.told[ONE]["stale_target" if has_keys else "stranger"] > 0
        await check_it_goes_on(v)


@pytest.mark.slow
@plain_and_with_keys
@in_loop
async def test_corpus_from_a_member_does_not_stop_a_peer(has_keys: bool) -> None:
    async with victim(has_keys=has_keys) as v:
        head = await introduced(v)
        await v.send(data for _, data in spoiling.frame_cases(like=head))
        assert v.told[ONE]["refused_cluster"] > 0
        await check_it_goes_on(v)


@pytest.mark.slow
@plain_and_with_keys
@in_loop
async def test_mutated_frames_from_a_member_do_not_stop_a_peer(has_keys: bool) -> None:
    async with victim(has_keys=has_keys) as v:
        head = await introduced(v)
        specimens = [CODEC.encode_frame(replace(head, messages=(m,))) for m in MESSAGES]
        await v.send(mutated(specimens, 10_000, seed=77))
        assert v.driver.counters()["frames_undecodable"] > 1_000
        assert (v.driver.counters()["frames_misattributed"] > 10) == has_keys
        await check_it_goes_on(v)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["NULL", "PLAIN", "CURVE"])
@in_loop
async def test_nothing_of_the_corpus_is_heard_of_who_has_no_key_that_is_let_in(way: str) -> None:
    async with victim(has_keys=True) as v:
        assert v.keys is not None
        ways: dict[str, Prepare] = {
            "NULL": in_plain_text,
            "PLAIN": with_a_password,
            "CURVE": under(new_key_pair(), v.keys.pair.public),
        }
        stranger = Stranger(v.data_address, ways[way], corpus())
        try:
            await stranger.ended()
            assert stranger.event != zmq.EVENT_HANDSHAKE_SUCCEEDED
            assert v.counter("received") == 0
            await check_it_goes_on(v)
        finally:
            stranger.close()


@in_loop
async def test_messages_of_many_parts_are_dropped_whole() -> None:
    async with victim() as v:
        with ExitStack() as stack:
            for parts in ([b"", b""], [b"", bytes(100_000)], [b"x"] * 200, [b"\xff", b"", b"\x80"]):
                # Each over its own: the connection of 200 parts is cut, and what follows lost.
                dealer = stack.enter_context(v.connection())
                dealer.send_multipart(parts)
            await eventually(lambda: v.counter("multipart") == 4)
        assert v.counter("callers_cut") == 1
        await v.check_it_serves()


# ---- floods ----------------------------------------------------------------------------------


@pytest.mark.slow
@in_loop
async def test_a_connection_that_talks_nonsense_at_length_is_not_read_for_a_while() -> None:
    async with victim() as v:
        with v.connection() as dealer:
            frame = b"\x5a\x00\x20\x00\x00" + bytes(2 * 1024 * 1024)
            for _ in range(40):
                dealer.send(frame)
            counted = ("received", "muted", "overrun")
            await eventually(lambda: sum(map(v.counter, counted)) == 40, 100.0)
        assert v.counter("muted") > v.counter("received")
        await v.check_it_serves()


@pytest.mark.slow
@in_loop
async def test_half_open_connections_are_ended_and_cost_nobody_else_anything() -> None:
    async with victim() as v:
        host, port = split_address(v.driver.address)
        with ExitStack() as stack:
            opened = [
                stack.enter_context(socket.create_connection((host, port), timeout=30))
                for _ in range(500)
            ]
            for half in opened[::2]:
                half.sendall(b"\xff\x00\x00")  # A greeting that stops in the middle.
            head = await introduced(v)
            await v.send([CODEC.encode_frame(replace(head, messages=(MESSAGES[0],)))])
            await v.check_it_serves()
            ended = await asyncio.gather(*(asyncio.to_thread(is_ended, half) for half in opened))
        assert all(ended)
        await v.check_it_serves()


def is_ended(connection: socket.socket) -> bool:
    """Read what the other end says until it hangs up."""
    try:
        while connection.recv(4_096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
