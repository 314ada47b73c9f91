"""Journals of real peers in this process."""

import pytest

from mabeam_p2p import Config, InvalidValue, JournalFull, JournalMismatch, Limits, Peer
from tests.api.clusters import agents
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_journal_has_one_order_for_everybody() -> None:
    async with agents(3) as (a, b, c):
        positions = [await agent.journal("run").append(agent.name) for agent in (a, b, c)]
        assert positions == [1, 2, 3]
        items = await b.journal("run").read()
        assert [(item.position, item.value) for item in items] == [
            (1, "a0"),
            (2, "a1"),
            (3, "a2"),
        ]
        assert [item.position for item in await c.journal("run").read(3)] == [3]
        assert await c.journal("run").read(4) == ()


@in_loop
async def test_journal_with_a_capacity_is_full_for_everybody_alike() -> None:
    async with agents(3) as (a, b, c):
        for agent in (a, b):
            await agent.journal("run", capacity=2).append(agent.name)
        for agent in (a, c):
            with pytest.raises(JournalFull, match="another journal"):
                await agent.journal("run", capacity=2).append("late")
        with pytest.raises(JournalMismatch, match="capacity 2"):
            await c.journal("run").append("no capacity")
        items = await c.journal("run").read()
        assert [item.value for item in items] == ["a0", "a1"]
        for capacity in (0, -1, 4_097):
            with pytest.raises(InvalidValue, match="take 1 to 4096"):
                a.journal("run", capacity=capacity)
        with pytest.raises(InvalidValue, match="position 1"):
            await a.journal("run").read(0)


@in_loop
async def test_long_journal_is_read_page_by_page() -> None:
    limits = Limits(journal_page_bytes_max=10)
    async with Peer(
        Config(name="p", data_dir=":memory:", mdns=False, expect=1, limits=limits)
    ) as p:
        a = await p.agent("a")
        for number in range(7):
            await a.journal("run").append(f"item {number}")
        for first in (1, 4):
            items = await a.journal("run").read(first)
            expected = [(n, f"item {n - 1}") for n in range(first, 8)]
            assert [(item.position, item.value) for item in items] == expected
