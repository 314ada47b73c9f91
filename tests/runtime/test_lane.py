import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Connect, Notify, Persist, Resolve, Send
from mabeam_p2p.errors import StorageError
from mabeam_p2p.events import Event, Ready
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import DiskUsage
from mabeam_p2p.requests import Answer, Done
from mabeam_p2p.runtime.lane import Lane
from tests.eventually import eventually
from tests.runtime.fakes import OTHER, FakeCodec, FakeDisk, FakeNode, probe, record
from tests.transport.memory import MemoryTransport, Wire

THIRD = PeerId("00000000000000cc")


class Bench:
    """A lane with everything that left it, in order."""

    def __init__(self, disk: FakeDisk, limits: Limits) -> None:
        self.deeds: list[object] = []
        self.stored: list[int] = []
        self.usages: list[DiskUsage | None] = []
        self.failures: list[BaseException] = []
        self.disk = disk
        self.transport = RecordingTransport(self.deeds)
        self.lane = Lane(
            seal=FakeNode().frame,
            codec=FakeCodec(limits.frame_bytes_max),
            storage=disk,
            transport=self.transport,
            limits=limits,
            resolve=self.resolve,
            notify=self.notify,
            stored=self.was_stored,
            fail=self.failures.append,
        )

    def was_stored(self, number: int, usage: DiskUsage | None) -> None:
        self.stored.append(number)
        self.usages.append(usage)

    def resolve(self, token: int, answer: Answer) -> None:
        self.deeds.append(("resolve", token))

    def notify(self, event: Event) -> None:
        self.deeds.append(("notify", type(event).__name__))


class RecordingTransport(MemoryTransport):
    def __init__(self, deeds: list[object]) -> None:
        super().__init__(Wire())
        self.deeds = deeds
        self.frames: list[str] = []

    def connect(self, target: str, address: str) -> None:
        self.deeds.append(("connect", target))

    def blame(self) -> None:
        pass

    def disconnect(self, target: str) -> None:
        self.deeds.append(("disconnect", target))

    def send(self, target: str, data: bytes) -> bool:
        self.deeds.append((target, data.decode()))
        self.frames.append(data.decode())
        return target != THIRD


def on_bench(
    story: Callable[[Bench], Awaitable[None]],
    fails_at: int = 0,
    limits: Limits | None = None,
) -> None:
    async def run() -> None:
        bench = Bench(FakeDisk(fails_at), limits or Limits())
        try:
            await story(bench)
        finally:
            bench.disk.gate.set()
            await bench.lane.close()

    asyncio.run(run())


def test_effects_without_a_persist_happen_in_their_turn_and_order() -> None:
    async def story(bench: Bench) -> None:
        bench.lane.run(
            (Resolve(7, Done()), Notify(Ready()), Send(OTHER, probe(1)), Send(OTHER, probe(2)))
        )
        assert bench.deeds == [("resolve", 7), ("notify", "Ready"), (OTHER, "[1, 2]")]

    on_bench(story)


def test_an_effect_waits_for_the_persist_that_it_names() -> None:
    async def story(bench: Bench) -> None:
        bench.disk.gate.clear()
        bench.lane.run(
            (
                Send(OTHER, probe(1)),
                Persist(1, record(1)),
                Send(OTHER, probe(2), after=1),
                Resolve(7, Done(), after=1),
                Send(OTHER, probe(3)),
            )
        )
        assert bench.deeds == [(OTHER, "[1, 3]")]
        bench.disk.gate.set()
        await eventually(lambda: len(bench.deeds) == 3)
        assert bench.deeds[1:] == [("resolve", 7), (OTHER, "[2]")]
        assert bench.disk.writes == [(record(1),)]

    on_bench(story)


def test_held_effects_keep_their_order_over_several_writes() -> None:
    async def story(bench: Bench) -> None:
        bench.disk.gate.clear()
        bench.lane.run((Persist(1, record(1)), Resolve(1, Done(), after=1)))
        await eventually(lambda: bench.disk.started_count == 1)
        bench.lane.run(
            (
                Persist(2, record(2)),
                Resolve(2, Done(), after=2),
                Resolve(3, Done(), after=1),
                Persist(3, record(3)),
                Resolve(4, Done(), after=3),
            )
        )
        assert bench.deeds == []
        bench.disk.gate.set()
        await eventually(lambda: len(bench.deeds) == 4)
        # 3 names the first Persist, and need not wait for the second.
        assert bench.deeds == [("resolve", token) for token in (1, 3, 2, 4)]

    on_bench(story)


def test_persists_that_come_during_a_write_share_the_next() -> None:
    async def story(bench: Bench) -> None:
        bench.disk.gate.clear()
        bench.lane.run((Persist(1, record(1)),))
        await eventually(lambda: bench.disk.started_count == 1)
        for number in range(2, 50):
            bench.lane.run((Persist(number, record(number)),))
        bench.lane.run((Resolve(7, Done(), after=49),))
        bench.disk.gate.set()
        await eventually(lambda: len(bench.stored) == 2)
        assert bench.deeds == [("resolve", 7)]
        assert [len(write) for write in bench.disk.writes] == [1, 48]
        assert bench.stored == [1, 49]
        assert bench.usages == [DiskUsage(1, 10), DiskUsage(2, 10)]
        assert [r for write in bench.disk.writes for r in write] == [
            record(number) for number in range(1, 50)
        ]

    on_bench(story)


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_after_a_failed_write_nothing_happens_any_more(fails_at: int) -> None:
    async def story(bench: Bench) -> None:
        for number in range(1, fails_at):
            bench.lane.run((Persist(number, record(number)), Resolve(number, Done(), after=number)))
            await eventually(partial(bench.deeds.__contains__, ("resolve", number)))
        bench.lane.run((Persist(fails_at, record(0)), Resolve(99, Done(), after=fails_at)))
        await eventually(lambda: bench.failures)
        assert isinstance(bench.failures[0], StorageError)
        before = list(bench.deeds)
        assert ("resolve", 99) not in before
        bench.lane.run((Persist(fails_at + 1, record(0)), Send(OTHER, probe(1))))
        await eventually(lambda: bench.disk.is_closed)
        assert bench.deeds == before
        assert bench.disk.started_count == fails_at
        assert len(bench.failures) == 1

    on_bench(story, fails_at=fails_at)


def test_when_whoever_is_told_halts_the_lane_the_rest_of_the_turn_does_not_happen() -> None:
    async def story(bench: Bench) -> None:
        tell = bench.lane._notify

        def halting(event: Event) -> None:
            tell(event)
            bench.lane.halt()

        bench.lane._notify = halting
        bench.lane.run(
            (
                Send(OTHER, probe(1)), Persist(1, record(1)), Notify(Ready()),
                Connect(OTHER, None), Resolve(7, Done()), Notify(Ready()), Persist(2, record(2)),
            )
        )  # fmt: skip
        assert bench.deeds == [("notify", "Ready")]

    async def run() -> None:
        bench = Bench(FakeDisk(), Limits())
        await story(bench)
        await bench.lane.close()
        assert bench.disk.writes == []

    asyncio.run(run())


def test_when_whoever_is_told_after_a_write_halts_the_lane_nobody_hears_of_the_write() -> None:
    async def story(bench: Bench) -> None:
        bench.lane._notify = lambda event: bench.lane.halt()
        bench.lane.run((Persist(1, record(1)), Notify(Ready(), after=1), Resolve(7, Done(), 1)))
        await eventually(lambda: bench.lane._is_halted)
        assert bench.deeds == []
        assert bench.stored == []

    on_bench(story)


def test_messages_beyond_the_count_of_a_frame_take_another() -> None:
    async def story(bench: Bench) -> None:
        bench.lane.run(tuple(Send(OTHER, probe(number)) for number in range(7)))
        assert bench.deeds == [(OTHER, "[0, 1, 2]"), (OTHER, "[3, 4, 5]"), (OTHER, "[6]")]

    on_bench(story, limits=Limits(frame_messages_max=3))


def test_a_frame_that_is_too_large_is_sent_as_parts_in_order() -> None:
    async def story(bench: Bench) -> None:
        bench.lane.run(tuple(Send(OTHER, probe(number)) for number in range(10, 20)))
        frames = bench.transport.frames
        assert all(len(data) <= 12 for data in frames)
        assert [int(n) for data in frames for n in data.strip("[]").split(",")] == [*range(10, 20)]

    on_bench(story, limits=Limits(frame_bytes_max=12))


def test_frames_that_the_transport_refuses_are_counted() -> None:
    async def story(bench: Bench) -> None:
        bench.lane.run((Send(OTHER, probe(1)), Send(THIRD, probe(2)), Send(THIRD, probe(3))))
        assert bench.lane.counters["messages"] == 1
        assert bench.lane.counters["messages_dropped"] == 2

    on_bench(story)


def test_a_farewell_leaves_before_its_link_is_closed() -> None:
    async def story(bench: Bench) -> None:
        bench.lane.run(
            (
                Connect(OTHER, "127.0.0.1:1"),
                Send(OTHER, probe(1)),
                Connect(OTHER, None),
                Send(THIRD, probe(2)),
            )
        )
        assert bench.deeds == [
            ("connect", OTHER), (OTHER, "[1]"), ("disconnect", OTHER), (THIRD, "[2]")
        ]  # fmt: skip

    on_bench(story)


def test_closing_writes_what_waited_and_closes_the_storage() -> None:
    async def run() -> None:
        bench = Bench(FakeDisk(), Limits())
        bench.disk.gate.clear()
        bench.lane.run((Persist(1, record(1)),))
        await eventually(lambda: bench.disk.started_count == 1)
        bench.lane.run((Persist(2, record(2)), Resolve(7, Done(), after=2)))
        bench.disk.gate.set()
        await bench.lane.close()
        assert bench.disk.writes == [(record(1),), (record(2),)]
        assert bench.disk.is_closed
        assert bench.deeds == []

    asyncio.run(run())
