"""Tasks among real peers in this process."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from mabeam_p2p import (
    Agent,
    InvalidName,
    InvalidValue,
    MabeamTimeout,
    NoWorker,
    Rejected,
    RemoteTaskError,
    TaskCancelled,
    TaskDead,
    Timing,
    UnknownTask,
)
from tests.api.clusters import agents, cluster
from tests.eventually import eventually, in_one_of
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


async def square(x: int) -> int:
    return x * x


def slow_square(x: int) -> int:
    time.sleep(0.01)
    return x * x


async def offered(*workers: Agent) -> None:
    for worker in workers:
        await worker.work()


@in_loop
async def test_task_is_done_elsewhere_by_its_qualified_name() -> None:
    async with agents(3) as (a, b, _):
        b.task(square)
        await b.work()
        assert await a.submit(square, 7) == 49
        assert await a.submit("tests.api.test_tasks.square", 8) == 64
        (facts,) = await a.tasks("done", limit=1, level="linearizable")
        assert (facts.name, facts.agent) == ("tests.api.test_tasks.square", b.id)
        assert facts.submitter == a.id


@in_loop
async def test_what_is_declared_here_can_be_submitted_at_once() -> None:
    async with agents(3) as (a, *_):

        @a.task
        def add(x: int, y: int, *, z: int = 0) -> dict[str, int]:
            return {"sum": x + y + z}

        assert await a.submit(add, 1, 2, kwargs={"z": 3}) == {"sum": 6}
        assert add(1, 2) == {"sum": 3}


@in_loop
async def test_declared_name_is_the_tasks_name_in_its_group() -> None:
    async with agents(3) as (a, b, _):
        lab = b.group("lab")

        @lab.task(name="double")
        async def twice(x: int) -> int:
            return 2 * x

        await lab.work()
        assert await a.group("lab").submit(twice, 4) == 8
        assert await a.group("lab").submit("double", 5) == 10
        with pytest.raises(NoWorker, match="no agent offers 'double'"):
            await a.submit("double", 5)
        assert {task.name for task in await a.group("lab").tasks(level="linearizable")} == {
            "lab:double"
        }
        assert [worker.agent for worker in await a.group("lab").workers(level="linearizable")] == [
            b.id
        ]
        assert await a.group("other").workers() == ()


@in_loop
async def test_unknown_name_is_refused_and_a_task_that_may_wait_is_done_later() -> None:
    async with agents(3) as (a, b, _):
        with pytest.raises(NoWorker, match=r"wait=True"):
            await a.submit("nobody.does")
        waiting = asyncio.create_task(a.submit(square, 3, wait=True))
        await eventually(lambda: not waiting.done())
        b.task(square)
        assert await waiting == 9


@in_loop
async def test_what_the_function_raises_comes_back_as_data() -> None:
    async with agents(3) as (a, b, _):

        @b.task(name="fail")
        def fail(text: str) -> None:
            raise ValueError(f"no {text}")

        @b.task(name="afail")
        async def afail() -> None:
            raise KeyError("x")

        await b.work()
        with pytest.raises(RemoteTaskError, match="raised ValueError at a1@p1: no luck") as caught:
            await a.submit("fail", "luck")
        raised = caught.value
        assert (raised.kind, raised.text, raised.agent) == ("ValueError", "no luck", b.id)
        assert "raise ValueError" in raised.traceback
        assert raised.failures == 1
        with pytest.raises(RemoteTaskError) as caught:
            await a.submit("afail")
        assert caught.value.kind == "KeyError"


@in_loop
async def test_failed_attempts_are_repeated_as_often_as_asked_for() -> None:
    async with agents(3) as (a, b, _):
        calls: list[int] = []

        @b.task(name="third")
        async def third() -> int:
            calls.append(1)
            if len(calls) < 3:
                raise RuntimeError("not yet")
            return len(calls)

        await b.work()
        assert await a.submit("third", retries=2) == 3
        calls.clear()
        with pytest.raises(RemoteTaskError) as caught:
            await a.submit("third", retries=1)
        assert caught.value.failures == 2
        handle = a.task_handle(caught.value.task)
        await handle.retry()
        assert (await handle.result()).value == 3


@in_loop
async def test_what_cannot_travel_is_refused_before_it_is_sent_or_fails_for_good() -> None:
    async with agents(3) as (a, b, _):

        @b.task(name="make")
        async def make(size: int) -> bytes:
            return bytes(size)

        @b.task(name="odd")
        async def odd() -> object:
            return object()

        await b.work()
        with pytest.raises(InvalidValue, match="set"):
            await a.submit("make", {1, 2})
        with pytest.raises(InvalidValue, match="65536 are allowed"):
            await a.submit("make", bytes(70_000))
        with pytest.raises(RemoteTaskError, match="65536 are allowed") as caught:
            await a.submit("make", 70_000, retries=5)
        assert caught.value.failures == 1
        with pytest.raises(RemoteTaskError, match="value is a object"):
            await a.submit("odd", retries=5)
        with pytest.raises(InvalidValue, match="take one of resource_aware"):
            await a.submit("make", 1, strategy="fastest")  # type: ignore[arg-type]
        with pytest.raises(InvalidValue, match="is one text"):
            await a.submit("make", 1, requires="gpu")
        with pytest.raises(InvalidValue, match="whole number"):
            await a.submit("make", 1, requires={"gpu": -1})
        with pytest.raises(InvalidName):
            await a.submit("", 1)
        with pytest.raises(Rejected, match="priority"):
            await a.submit("make", 1, priority=101)


@in_loop
async def test_cancelled_task_stops_where_it_runs() -> None:
    async with agents(3) as (a, b, c):
        begun, stopped = asyncio.Event(), asyncio.Event()

        @b.task(name="hang")
        async def hang() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        await b.work()
        handle = await a.submit_task("hang")
        await begun.wait()
        assert (await handle.status()).status == "leased"
        with pytest.raises(MabeamTimeout, match="it goes on"):
            await handle.result(0.01)
        await c.task_handle(handle.id).cancel()
        with pytest.raises(TaskCancelled, match="by a2@p2"):
            await handle.result()
        await asyncio.wait_for(stopped.wait(), 10)
        with pytest.raises(Rejected, match="cancelled"):
            await handle.retry()


@in_loop
async def test_who_stops_waiting_cancels_the_task() -> None:
    async with agents(3) as (a, b, _):
        begun, stopped = asyncio.Event(), asyncio.Event()

        @b.task(name="hang")
        async def hang() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        await b.work()
        waiting = asyncio.create_task(a.submit("hang"))
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(stopped.wait(), 10)


@in_loop
async def test_deadline_of_a_task_ends_it_wherever_it_is() -> None:
    async with agents(3) as (a, b, _):

        @b.task(name="hang")
        async def hang() -> None:
            await asyncio.Event().wait()

        await b.work()
        with pytest.raises(TaskDead, match="its time is over") as caught:
            await a.submit("hang", timeout=0.2)
        assert caught.value.reason == "timeout"
        with pytest.raises(TaskDead) as caught:
            await a.submit("hang", attempt_timeout=0.1, retries=1)
        assert (caught.value.reason, caught.value.failures) == ("timeout", 2)


@in_loop
async def test_map_gives_every_result_once_as_they_come() -> None:
    async with agents(3) as (a, b, c):
        for agent in (a, b, c):
            agent.task(slow_square)
        await offered(a, b, c)
        stream = a.map(slow_square, range(60), window=20)
        results = [result async for result in stream]
        assert sorted((result.index, result.value) for result in results) == [
            (n, n * n) for n in range(60)
        ]
        assert (stream.done, stream.total) == (60, 60)
        by_agent = Counter(result.agent for result in results)
        assert set(by_agent) == {a.id, b.id, c.id}
        assert all(result.seconds > 0 for result in results)
        assert results[0].to_dict()["error"] is None


@in_loop
async def test_map_ends_with_the_first_error_or_gives_it_as_a_result() -> None:
    async with agents(3) as (a, b, _):

        @b.task(name="odd")
        async def odd(x: int) -> int:
            if x == 3:
                raise ValueError("three")
            return x

        await b.work()
        results = [result async for result in a.map("odd", range(6), on_error="return")]
        assert len(results) == 6
        (failed,) = [result for result in results if result.error is not None]
        assert (failed.index, failed.value) == (3, None)
        assert isinstance(failed.error, RemoteTaskError)
        with pytest.raises(RemoteTaskError, match="three"):
            async for _ in a.map("odd", range(100), window=2):
                pass


@in_loop
async def test_closed_map_cancels_what_is_left() -> None:
    async with agents(3) as (a, b, _):
        release = asyncio.Event()

        @b.task(name="wait")
        async def wait(x: int) -> int:
            if x:
                await release.wait()
            return x

        await b.work(slots=2)
        async with a.map("wait", range(10), window=5) as stream:
            async for result in stream:
                assert result.index == 0
                break

        async def left() -> int:
            return len(await a.tasks("queued", "leased", level="linearizable"))

        count = await left()
        for _ in range(500):
            if not count:
                break
            await asyncio.sleep(0.01)
            count = await left()
        assert count == 0


@in_loop
async def test_map_raises_what_its_items_raise_behind_the_results() -> None:
    async with agents(3) as (a, *_):
        a.task(square)

        def items() -> Iterator[int]:
            yield 1
            raise OSError("no more")

        stream = a.map(square, items())
        assert (await anext(stream)).value == 1
        with pytest.raises(OSError, match="no more"):
            await anext(stream)


@in_loop
async def test_capacity_bounds_what_runs_at_a_time() -> None:
    async with cluster(3) as peers:
        a = await peers[0].agent("a")
        b = await peers[1].agent("b", capabilities={"gpu": 2, "linux": 1})
        running: list[int] = [0, 0]

        @b.task(name="train")
        async def train(x: int) -> int:
            running[0] += 1
            running[1] = max(running)
            await eventually(lambda: running[1] >= 2)
            await asyncio.sleep(0.01)
            running[0] -= 1
            return x

        await b.work(slots=8)
        results = a.map("train", range(12), requires={"gpu": 1})
        assert len([result async for result in results]) == 12
        assert running[1] == 2
        assert await a.submit("train", 1, requires=["linux"]) == 1
        with pytest.raises(NoWorker, match="gpu 3"):
            await a.submit("train", 1, requires={"gpu": 3})


@in_loop
async def test_tasks_of_an_agent_that_closes_are_done_by_another() -> None:
    async with agents(3) as (a, b, c):
        begun = asyncio.Event()

        async def work() -> str:
            return "c"

        async def hang() -> str:
            begun.set()
            await asyncio.Event().wait()
            return "b"

        b.task(name="work")(hang)
        await b.work()
        waiting = asyncio.create_task(a.submit("work"))
        await begun.wait()
        c.task(name="work")(work)
        await c.work()
        await b.close()
        assert await waiting == "c"


@in_loop
async def test_agent_that_withdraws_is_asked_no_more() -> None:
    async with agents(3) as (a, b, _):
        b.task(square)
        await b.work()
        assert [worker.names for worker in await a.workers(level="linearizable")] == [
            ("tests.api.test_tasks.square",)
        ]
        b.withdraw(square)
        await b.work()
        with pytest.raises(NoWorker):
            await a.submit(square, 1)


@in_loop
async def test_same_id_is_the_same_task() -> None:
    async with agents(3) as (a, b, c):
        calls: list[int] = []

        @b.task(name="count")
        async def count() -> int:
            calls.append(1)
            return len(calls)

        await b.work()
        assert await a.submit("count", id="mine") == 1
        assert await c.submit("count", id="mine") == 1
        with pytest.raises(Rejected, match="another id"):
            await c.submit("count", 5, id="mine")
        with pytest.raises(UnknownTask, match="never was"):
            await a.task_handle("other").status()
        with pytest.raises(UnknownTask):
            await a.task_handle("other").cancel()


@in_loop
async def test_plain_function_may_end_its_thread_but_not_the_program() -> None:
    async with agents(3) as (a, b, _):

        @b.task(name="quit")
        def leave() -> None:
            raise SystemExit(3)

        await b.work()
        with pytest.raises(RemoteTaskError, match="SystemExit: 3"):
            await a.submit("quit")


@in_loop
async def test_agent_that_was_paused_for_longer_than_its_lease_gives_its_result_in_vain() -> None:
    async with cluster(3, Timing(task_lease_seconds=0.4)) as peers:
        a, b = await peers[0].agent("a"), await peers[1].agent("b")
        calls: list[int] = []

        @b.task(name="block")
        async def block() -> int:
            calls.append(1)
            if len(calls) == 1:
                # Nothing of this agent runs meanwhile, as in a process that is stopped.
                time.sleep(1.5)  # noqa: ASYNC251
            return len(calls)

        await b.work()

        async def is_in_vain() -> bool:
            """Not where all peers stood still, too: then no time has passed for the log."""
            calls.clear()
            handle = await a.submit_task("block")
            result = await handle.result()
            assert (await handle.status()).losses == result.attempts - 1
            return bool(2 <= result.value <= result.attempts)

        await in_one_of(3, is_in_vain)


@in_loop
async def test_events_tell_the_way_of_a_task() -> None:
    async with agents(3) as (a, b, _):
        b.task(square)
        await b.work()
        events = a.events("task.leased", "task.done")
        await a.submit(square, 2)
        seen = [await anext(events), await anext(events)]
        assert [event.name for event in seen] == ["task.leased", "task.done"]
        assert seen[0].facts["agent"] == b.id
