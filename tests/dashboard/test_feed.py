"""What is made and sent when, in virtual time."""

import asyncio
from collections import Counter

import msgspec
import pytest

from mabeam_p2p.dashboard.board import SECTIONS
from mabeam_p2p.dashboard.feed import (
    PAUSE_SECONDS,
    POLLED,
    READERS_MAX,
    SLOW_SECONDS,
    Feed,
    Reader,
)
from mabeam_p2p.dashboard.fitting import Row
from mabeam_p2p.errors import Closed, MabeamTimeout
from tests.virtual_time import in_virtual_time


class Source:
    """Sections whose contents the test gives."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.value = 0
        self.fault: Exception | None = None
        self.feed = Feed(self.read)

    async def read(self, section: str) -> Row:
        self.made[section] += 1
        if self.fault is not None:
            raise self.fault
        return {"value": self.value}


def taken(reader: Reader) -> list[str]:
    """The sections that wait for the reader, without waiting."""
    found: list[str] = []
    while True:
        taking = reader.take()
        try:
            taking.send(None)
        except StopIteration as end:
            if end.value is None:
                return found
            found.append(end.value[0])
        else:
            taking.close()
            return found


@in_virtual_time
async def test_a_reader_gets_every_section_at_once() -> None:
    source = Source()
    source.feed.start()
    reader = source.feed.join()
    assert reader is not None
    await asyncio.sleep(0.1)
    assert sorted(taken(reader)) == sorted(SECTIONS)
    await source.feed.close()


@in_virtual_time
async def test_a_section_is_made_once_in_its_pause_however_often_it_changes() -> None:
    source = Source()
    source.feed.start()
    reader = source.feed.join()
    assert reader is not None
    await asyncio.sleep(0.1)
    source.made.clear()
    for _ in range(1_000):
        source.value += 1
        source.feed.on_changed("variables")
        source.feed.on_changed("ledger")
        await asyncio.sleep(0.01)
    assert source.made["variables"] == pytest.approx(10 / PAUSE_SECONDS, abs=1)
    assert source.made["ledger"] == pytest.approx(10 / SLOW_SECONDS, abs=1)
    await source.feed.close()


@in_virtual_time
async def test_for_who_reads_slowly_only_the_newest_version_waits() -> None:
    source = Source()
    source.feed.start()
    reader = source.feed.join()
    assert reader is not None
    for _ in range(20):
        source.value += 1
        source.feed.on_changed("variables")
        await asyncio.sleep(PAUSE_SECONDS)
    versions = {}
    for _ in SECTIONS:
        one = await reader.take()
        assert one is not None
        versions[one[0]] = msgspec.json.decode(one[1])
    assert versions["variables"] == {"value": 20}
    assert taken(reader) == []
    await source.feed.close()


@in_virtual_time
async def test_what_looks_as_before_is_not_sent_again() -> None:
    source = Source()
    source.feed.start()
    reader = source.feed.join()
    assert reader is not None
    await asyncio.sleep(0.1)
    taken(reader)
    source.feed.on_changed("variables")
    await asyncio.sleep(5)
    assert taken(reader) == []
    await source.feed.close()


@in_virtual_time
async def test_what_changes_without_an_event_is_looked_at_and_nothing_else_is() -> None:
    source = Source()
    source.feed.start()
    source.feed.join()
    await asyncio.sleep(0.1)
    source.made.clear()
    await asyncio.sleep(60)
    assert set(source.made) == set(POLLED) == {"peer", "members"}
    for section, pause in POLLED.items():
        assert source.made[section] == pytest.approx(60 / pause, abs=2)
    await source.feed.close()


@in_virtual_time
async def test_an_event_does_not_wait_for_the_next_look_without_one() -> None:
    source = Source()
    source.feed.start()
    source.feed.join()
    await asyncio.sleep(POLLED["members"] + 0.05)
    source.made.clear()
    await asyncio.sleep(SLOW_SECONDS)
    source.feed.on_changed("members")
    await asyncio.sleep(0.05)
    assert source.made["members"] == 1
    await source.feed.close()


@in_virtual_time
async def test_while_nobody_looks_nothing_is_made() -> None:
    source = Source()
    source.feed.start()
    reader = source.feed.join()
    assert reader is not None
    await asyncio.sleep(0.1)
    source.feed.leave(reader)
    source.made.clear()
    for section in SECTIONS:
        source.feed.on_changed(section)
    await asyncio.sleep(60)
    assert not source.made
    source.value = 9
    again = source.feed.join()
    assert again is not None
    await asyncio.sleep(2)
    one = await again.take()
    assert one is not None
    assert msgspec.json.decode(one[1]) == {"value": 9}
    await source.feed.close()


@in_virtual_time
async def test_who_comes_after_all_have_gone_gets_everything_although_nothing_has_changed() -> None:
    source = Source()
    source.feed.start()
    first = source.feed.join()
    assert first is not None
    await asyncio.sleep(0.1)
    source.feed.leave(first)
    second = source.feed.join()
    assert second is not None
    await asyncio.sleep(2)
    assert sorted(taken(second)) == sorted(SECTIONS)
    await source.feed.close()


@in_virtual_time
async def test_a_second_reader_gets_what_is_known_at_once() -> None:
    source = Source()
    source.feed.start()
    source.feed.join()
    await asyncio.sleep(0.1)
    made = source.made.total()
    second = source.feed.join()
    assert second is not None
    assert sorted(taken(second)) == sorted(SECTIONS)
    assert source.made.total() == made
    await source.feed.close()


@in_virtual_time
async def test_no_more_readers_join_than_there_is_room_for() -> None:
    source = Source()
    source.feed.start()
    readers = [source.feed.join() for _ in range(READERS_MAX)]
    assert None not in readers
    assert source.feed.join() is None
    first = readers[0]
    assert first is not None
    source.feed.leave(first)
    assert source.feed.join() is not None
    await source.feed.close()


@in_virtual_time
async def test_what_could_not_be_read_is_asked_for_again_although_nothing_changes() -> None:
    source = Source()
    source.fault = MabeamTimeout("too late")
    source.feed.start()
    first = source.feed.join()
    assert first is not None
    await asyncio.sleep(5 * SLOW_SECONDS + 0.1)
    # No more often than what is made of several questions.
    assert set(source.made) == set(SECTIONS)
    assert max(source.made.values()) <= 6
    assert taken(first) == []
    source.fault = None
    await asyncio.sleep(SLOW_SECONDS + 0.1)
    assert sorted(taken(first)) == sorted(SECTIONS)
    source.made.clear()
    await asyncio.sleep(60)
    assert set(source.made) == set(POLLED)
    await source.feed.close()


@in_virtual_time
async def test_who_comes_later_asks_for_what_could_not_be_read() -> None:
    source = Source()
    # Of which the next change would show whether it has passed.
    source.fault = ZeroDivisionError()
    source.feed.start()
    source.feed.join()
    await asyncio.sleep(0.1)
    source.fault = None
    second = source.feed.join()
    assert second is not None
    await asyncio.sleep(SLOW_SECONDS)
    assert sorted(taken(second)) == sorted(SECTIONS)
    await source.feed.close()


@in_virtual_time
async def test_a_change_does_not_wait_for_the_next_try_at_what_could_not_be_read() -> None:
    source = Source()
    source.fault = MabeamTimeout("too late")
    source.feed.start()
    source.feed.join()
    await asyncio.sleep(0.1)
    source.fault = None
    source.made.clear()
    source.feed.on_changed("variables")
    await asyncio.sleep(PAUSE_SECONDS)
    assert source.made["variables"] == 1
    await source.feed.close()


@pytest.mark.parametrize("fault", [MabeamTimeout("too late"), ZeroDivisionError()])
@in_virtual_time
async def test_a_section_that_cannot_be_read_does_not_end_the_others(fault: Exception) -> None:
    source = Source()
    source.fault = fault
    source.feed.start()
    reader = source.feed.join()
    assert reader is not None
    await asyncio.sleep(0.1)
    assert taken(reader) == []
    source.fault = None
    for section in SECTIONS:
        source.feed.on_changed(section)
    await asyncio.sleep(2)
    assert sorted(taken(reader)) == sorted(SECTIONS)
    await source.feed.close()


@in_virtual_time
async def test_without_a_peer_nothing_more_is_asked() -> None:
    source = Source()
    source.fault = Closed("it has been closed")
    source.feed.start()
    source.feed.join()
    await asyncio.sleep(60)
    assert source.made.total() == 1
    await source.feed.close()


@in_virtual_time
async def test_the_end_wakes_who_waits_and_nobody_joins_after_it() -> None:
    source = Source()
    source.feed.start()
    reader = source.feed.join()
    assert reader is not None
    await asyncio.sleep(0.1)
    taken(reader)
    waiting = asyncio.ensure_future(reader.take())
    await asyncio.sleep(0)
    await source.feed.close()
    assert await waiting is None
    assert source.feed.join() is None
    await source.feed.close()
