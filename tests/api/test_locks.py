"""Locks, counters and queues among agents of real peers."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mabeam_p2p import (
    Agent,
    InvalidValue,
    LeaseLost,
    LockFacts,
    LockMismatch,
    LockTimeout,
    MabeamTimeout,
    QueueFacts,
)
from tests.api.clusters import agents, cluster
from tests.eventually import in_one_of
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


async def until_waiting(
    facts: Callable[[], Awaitable[LockFacts | QueueFacts]], expected: bool = True
) -> None:
    """Return once the log has a claim that waits, or none."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10.0
    while bool((await facts()).waiting) is not expected:
        assert loop.time() < deadline, "nobody came to wait, or to an end"
        await asyncio.sleep(0.002)


@in_loop
async def test_a_lock_is_held_by_one_at_a_time_with_growing_tokens() -> None:
    async with agents() as three:
        inside = 0
        tokens: list[int] = []

        async def work(agent: Agent) -> None:
            nonlocal inside
            for _ in range(4):
                async with agent.lock("checkpoint") as lease:
                    inside += 1
                    assert inside == 1
                    assert not lease.is_lost
                    tokens.append(lease.token)
                    await asyncio.sleep(0)
                    inside -= 1

        await asyncio.gather(*(work(agent) for agent in three))
        assert len(tokens) == 12
        assert tokens == sorted(set(tokens))
        facts = await three[0].lock("checkpoint").facts()
        assert (facts.limit, facts.holders, facts.waiting) == (0, (), ())


@in_loop
async def test_tasks_of_one_agent_exclude_each_other_and_a_second_claim_waits() -> None:
    async with agents(1) as (one,):
        lock, impatient = one.lock("x"), one.lock("x", timeout=0.3)
        async with lock:
            assert await lock.try_acquire() is None
            with pytest.raises(LockTimeout, match=r"held by a0@p0.*not reentrant") as failed:
                await impatient.acquire()
            assert failed.value.holders == ("a0@p0",)
        lease = await lock.try_acquire()
        assert lease is not None
        await lease.release()
        await lease.release()


@in_loop
async def test_a_semaphore_lets_as_many_in_and_another_limit_is_refused() -> None:
    async with agents(1) as (one,):
        gpu = one.semaphore("gpu", 2)
        async with gpu, gpu:
            assert await gpu.try_acquire() is None
            with pytest.raises(LockMismatch, match="has 2 permits"):
                await one.semaphore("gpu", 3).acquire()
            facts = await gpu.facts()
            assert [holder.agent for holder in facts.holders] == ["a0@p0"] * 2
        async with one.semaphore("gpu", 3, permits=3):
            pass


@in_loop
async def test_readers_read_together_and_a_writer_writes_alone() -> None:
    async with agents() as three:
        table = [agent.read_write_lock("table") for agent in three]
        async with table[0].read(), table[1].read():
            assert await table[2].write().try_acquire() is None
            writing = asyncio.create_task(table[2].write().acquire())
            await until_waiting(table[0].read().facts)
            assert await table[0].read().try_acquire() is None
        writer = await writing
        assert await table[0].read().try_acquire() is None
        await writer.release()
        async with table[0].read():
            pass


@in_loop
async def test_a_lease_ends_by_itself_and_its_holder_is_told() -> None:
    async with agents(2) as (one, two):
        told: list[str] = []
        lease = await one.lease("seat", 0.5).acquire()
        lease.on_lost(told.append)
        next_one = await two.lease("seat", 30.0).acquire()
        assert next_one.token > lease.token
        assert lease.is_lost
        assert len(told) == 1
        lease.on_lost(told.append)
        with pytest.raises(LeaseLost):
            await lease.renew()
        with pytest.raises(LeaseLost, match="lease") as lost:
            await lease.__aexit__(None, None, None)
        assert (lost.value.name, lost.value.token) == ("seat", lease.token)
        assert told == [lost.value.reason] * 2
        await next_one.release()


@in_loop
async def test_a_lease_that_is_renewed_goes_on() -> None:
    async with agents(1) as (one,):

        async def goes_on() -> bool:
            try:
                async with one.lease("seat", 1.5) as lease:
                    for _ in range(6):
                        await asyncio.sleep(0.3)
                        await lease.renew()
                    lease.check()
            except LeaseLost:
                return False
            return True

        await in_one_of(5, goes_on)
        async with one.lock("plain") as plain:
            with pytest.raises(InvalidValue, match="without a lease"):
                await plain.renew()


@in_loop
async def test_the_end_of_an_agent_passes_its_locks_on() -> None:
    async with cluster() as peers:
        one, two = await asyncio.gather(peers[0].agent("one"), peers[1].agent("two"))
        lease = await one.lock("x").acquire()
        told: list[str] = []
        lease.on_lost(told.append)
        waiting = asyncio.create_task(two.lock("x").acquire())
        await until_waiting(two.lock("x").facts)
        await one.close()
        taken = await waiting
        assert taken.token > lease.token
        assert told == ["the agent was closed"]
        with pytest.raises(LeaseLost):
            await lease.release()
        await taken.release()


@in_loop
async def test_a_wait_that_is_cancelled_leaves_the_line() -> None:
    async with agents(2) as (one, two), one.lock("x"):
        waiting = asyncio.create_task(two.lock("x").acquire())
        await until_waiting(one.lock("x").facts)
        waiting.cancel()
        await asyncio.wait([waiting])
        await until_waiting(one.lock("x").facts, False)


@in_loop
async def test_groups_have_locks_of_their_own() -> None:
    async with agents(1) as (one,), one.lock("x"), one.group("vision").lock("x") as inner:
        assert inner.name == "vision:x"


@in_loop
async def test_a_counter_counts_for_all_and_is_set_from_what_it_was() -> None:
    async with agents() as three:
        rounds = [agent.counter("rounds") for agent in three]
        await asyncio.gather(*(one.add() for one in rounds for _ in range(5)))
        assert [await one.get() for one in rounds] == [15] * 3
        won = await asyncio.gather(
            *(one.compare_and_set(15, 20 + n) for n, one in enumerate(rounds))
        )
        assert sum(won) == 1
        assert await rounds[0].get() == 20 + won.index(True)
        await rounds[1].set(-1)
        assert await rounds[2].add(-2) == -3
        with pytest.raises(InvalidValue, match="out of range"):
            await rounds[0].add(-(2**53 - 1))
        with pytest.raises(InvalidValue, match="no whole number"):
            await rounds[0].add(1.5)  # type: ignore[arg-type]


@in_loop
async def test_items_are_taken_once_returned_in_their_place_and_acknowledged() -> None:
    async with agents(2) as (one, two):
        ours, theirs = one.queue("trials"), two.queue("trials")
        assert [await ours.put({"lr": n}) for n in range(3)] == [1, 2, 3]
        first = await theirs.take()
        assert (first.value, first.deliveries) == ({"lr": 0}, 1)
        with pytest.raises(RuntimeError, match="bad"):
            async with first:
                raise RuntimeError("bad")
        async with await ours.take() as again:
            assert (again.value, again.deliveries) == ({"lr": 0}, 2)
            assert again.token > first.token
        with pytest.raises(RuntimeError, match="bad"):
            async with await ours.take():
                raise RuntimeError("bad")
        facts = await ours.facts()
        assert (facts.ready, facts.taken, facts.waiting) == (2, 0, 0)
        await (await theirs.take()).acknowledge()
        await (await theirs.take()).acknowledge()
        assert await theirs.try_take() is None
        with pytest.raises(MabeamTimeout, match="no item of queue 'trials'"):
            await theirs.take(timeout=0.2)


@in_loop
async def test_an_item_of_an_agent_that_ends_goes_to_the_next_that_waits() -> None:
    async with cluster() as peers:
        one, two = await asyncio.gather(peers[0].agent("one"), peers[1].agent("two"))
        await one.queue("q").put("x")
        lost = await one.queue("q").take()
        waiting = asyncio.create_task(two.queue("q").take())
        await until_waiting(two.queue("q").facts)
        await one.close()
        taken = await waiting
        assert (taken.value, taken.deliveries) == ("x", 2)
        assert taken.token > lost.token
        with pytest.raises(LeaseLost):
            await lost.acknowledge()
        await taken.acknowledge()


@in_loop
async def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    async with agents(1) as (one,):
        for limit, permits in ((0, 1), (2, 3), (1, 0)):
            with pytest.raises(InvalidValue, match="permits"):
                one.semaphore("x", limit, permits=permits)
        for make in (
            lambda: one.lock("x", timeout=0),
            lambda: one.lock("x", timeout=-1),
            lambda: one.lease("x", 0),
            lambda: one.lock(""),
            lambda: one.counter("\n"),
            lambda: one.queue(""),
        ):
            with pytest.raises(ValueError, match="take"):
                make()
        with pytest.raises(InvalidValue):
            await one.queue("q").put(object())
