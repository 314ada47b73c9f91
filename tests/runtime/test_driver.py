import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mabeam_p2p.effects import Connect, Effects, Notify, Persist, Resolve, Send
from mabeam_p2p.errors import Closed, PeerRefused, StorageError
from mabeam_p2p.events import Dropped, Event, Ready, Refused
from mabeam_p2p.ids import ClusterId
from mabeam_p2p.records import Status
from mabeam_p2p.requests import (
    Done,
    Failed,
    Leave,
    ReadMembers,
    ReadStatus,
    Request,
    StatusAnswer,
    Suggest,
)
from mabeam_p2p.runtime import driver as driver_module
from mabeam_p2p.runtime.backend import LoopBackend
from mabeam_p2p.runtime.driver import Driver, Reply
from tests.eventually import eventually
from tests.runtime.fakes import (
    OTHER,
    PEER,
    FakeDisk,
    FakeNode,
    make_driver,
    probe,
    record,
)
from tests.transport.memory import MemoryTransport, Wire


def answer_at_once(token: int, request: Request) -> Effects:
    return (Resolve(token, Done()),)


def with_driver(
    node: FakeNode, story: Callable[[Driver], Awaitable[None]], disk: FakeDisk | None = None
) -> None:
    async def run() -> None:
        driver = make_driver(node, storage=disk or FakeDisk())
        await driver.start()
        try:
            await story(driver)
        finally:
            await driver.close()

    asyncio.run(run())


def test_all_that_arrives_in_one_turn_is_flushed_once() -> None:
    node = FakeNode()
    node.on_request = answer_at_once

    async def story(driver: Driver) -> None:
        await eventually(lambda: node.flush_count == 1)  # The turn of the start.
        replies: list[Reply] = []
        for _ in range(100):
            driver.ask(ReadMembers(), replies.append)
        assert replies == [], "an answer in the asker's own turn"
        await eventually(lambda: len(replies) == 100)
        assert node.flush_count == 2

    with_driver(node, story)


def test_messages_of_one_turn_travel_as_one_frame() -> None:
    wire = Wire()
    source_node, target_node = FakeNode(), FakeNode()
    source_node.on_request = lambda token, request: (
        Send(OTHER, probe(token)), Resolve(token, Done())
    )  # fmt: skip

    async def run() -> None:
        target = make_driver(target_node, transport=MemoryTransport(wire))
        source = make_driver(source_node, transport=MemoryTransport(wire))
        source_node.on_start = lambda: (Connect(OTHER, target.address),)
        await target.start()
        await source.start()
        backend = LoopBackend(source)
        await asyncio.gather(*(backend.ask(ReadMembers()) for _ in range(10)))
        await eventually(lambda: any(kind == "receive" for kind, _ in target_node.told))
        frames = [frame for kind, frame in target_node.told if kind == "receive"]
        assert len(frames) == 1
        await source.close()
        await target.close()

    asyncio.run(run())


def test_the_node_is_ticked_at_its_deadline() -> None:
    node = FakeNode()
    node.deadline = 0.0

    async def story(driver: Driver) -> None:
        await eventually(lambda: ("tick", None) in node.told)

    with_driver(node, story)


def test_an_earlier_deadline_replaces_a_later_one() -> None:
    node = FakeNode()
    node.deadline = 1e12

    async def story(driver: Driver) -> None:
        await eventually(lambda: node.flush_count == 1)
        node.deadline = 0.0
        driver.ask(ReadMembers(), lambda reply: None)
        await eventually(lambda: ("tick", None) in node.told)

    with_driver(node, story)


def test_an_assertion_in_the_node_stops_the_peer_and_is_told() -> None:
    node = FakeNode()

    def break_down(token: int, request: Request) -> Effects:
        raise AssertionError("invariant broken")

    async def run() -> None:
        disk, wire = FakeDisk(), Wire()
        driver = make_driver(node, storage=disk, transport=MemoryTransport(wire))
        await driver.start()
        backend = LoopBackend(driver)
        waiting = backend.ask(ReadMembers())
        node.on_request = break_down
        broken = backend.ask(ReadStatus())
        for asked in (waiting, broken):
            with pytest.raises(Closed, match="invariant broken"):
                await asked
        with pytest.raises(AssertionError, match="invariant broken"):
            await driver.wait_stopped()
        with pytest.raises(Closed):
            await backend.ask(ReadMembers())
        assert disk.is_closed
        assert wire.bound == {}
        await driver.close()

    asyncio.run(run())


@pytest.mark.parametrize("verb", ["on_start", "on_flush", "on_tick", "on_receive"])
def test_an_error_in_any_verb_stops_the_peer(verb: str) -> None:
    node = FakeNode()

    def break_down(*_: object) -> Effects:
        raise AssertionError(verb)

    async def run() -> None:
        wire = Wire()
        driver = make_driver(node, transport=MemoryTransport(wire))
        setattr(node, verb, break_down)
        node.deadline = 0.0
        await driver.start()
        transport = wire.bound.get(driver.address)
        if transport is not None:
            transport.deliver(b"[1]")
        with pytest.raises(AssertionError, match=verb):
            await driver.wait_stopped()
        await driver.close()

    asyncio.run(run())


def test_the_node_is_told_what_has_become_durable() -> None:
    node = FakeNode()
    node.on_request = lambda token, request: (
        Persist(1, record(1)), Resolve(token, Done(), after=1)
    )  # fmt: skip

    async def story(driver: Driver) -> None:
        assert await LoopBackend(driver).ask(ReadMembers()) == Done()
        await eventually(lambda: ("stored", 1) in node.told)

    with_driver(node, story)


@pytest.mark.parametrize(
    ("event", "stops"),
    [
        (Refused(PEER, "machine", "it is too old", fatal=True), True),
        (Refused(PEER, "machine", "it is too old", fatal=False), False),
        (Refused(OTHER, "machine", "it is too old", fatal=True), False),
        # By a copy of this peer: both have one name.
        (Refused(PEER, "identity", "a copied data folder?", fatal=True), False),
    ],
)
def test_a_peer_that_cannot_go_on_with_its_log_stops_and_says_what_to_do(
    event: Refused, stops: bool, caplog: pytest.LogCaptureFixture
) -> None:
    node = FakeNode()
    node.on_request = lambda token, request: (Notify(event), Resolve(token, Done()))

    async def run() -> None:
        driver = make_driver(node)
        await driver.start()
        driver.ask(ReadMembers(), lambda reply: None)
        if not stops:
            await LoopBackend(driver).ask(ReadStatus())
            await driver.close()
            return
        with pytest.raises(PeerRefused, match="too old: install the release") as caught:
            async with asyncio.timeout(10):
                await driver.wait_stopped()
        assert caught.value.reason == "machine"

    asyncio.run(run())
    assert not any(record.exc_info for record in caplog.records)


def test_a_peer_that_cannot_go_on_tells_and_keeps_nothing_of_what_came_behind() -> None:
    node, disk = FakeNode(), FakeDisk()
    node.on_request = lambda token, request: (
        Notify(Refused(PEER, "machine", "it is too old", fatal=True)),
        Notify(Ready()),
        Persist(1, record(1)),
    )
    heard: list[Event] = []

    async def run() -> None:
        driver = make_driver(node, storage=disk)
        await driver.start()
        driver.listen(heard.append)
        driver.ask(ReadMembers(), lambda reply: None)
        with pytest.raises(PeerRefused):
            async with asyncio.timeout(10):
                await driver.wait_stopped()

    asyncio.run(run())
    assert [type(event) for event in heard] == [Refused]
    assert disk.writes == []


def test_a_disk_that_fails_stops_the_peer() -> None:
    node = FakeNode()
    node.on_request = lambda token, request: (
        Persist(1, record(1)), Resolve(token, Done(), after=1)
    )  # fmt: skip

    async def run() -> None:
        driver = make_driver(node, storage=FakeDisk(fails_at=1))
        await driver.start()
        with pytest.raises(Closed, match="planted failure"):
            await LoopBackend(driver).ask(ReadMembers())
        with pytest.raises(StorageError):
            await driver.wait_stopped()
        await driver.close()

    asyncio.run(run())


def test_garbage_is_counted_and_told_at_most_once_a_second() -> None:
    node = FakeNode()

    async def run() -> None:
        wire = Wire()
        driver = make_driver(node, transport=MemoryTransport(wire))
        await driver.start()
        events: list[Event] = []
        driver.listen(events.append)
        for _ in range(1000):
            wire.bound[driver.address].deliver(b"\xffgarbage")
        wire.bound[driver.address].deliver(b"[1]")
        assert len(events) <= 2
        assert isinstance(events[0], Dropped)
        assert events[0].reason == "garbage"
        assert driver.counters()["frames_undecodable"] == 1000
        assert [kind for kind, _ in node.told].count("receive") == 1
        await driver.close()

    asyncio.run(run())


def test_a_cancelled_request_is_taken_back_and_never_answered() -> None:
    node = FakeNode()

    async def story(driver: Driver) -> None:
        backend = LoopBackend(driver)
        asked = backend.ask(ReadMembers())
        asked.cancel()
        assert ("cancel", asked.token) in node.told
        node.on_request = lambda token, request: (
            Resolve(asked.token, Done()), Resolve(token, Done())
        )  # fmt: skip
        assert await backend.ask(ReadStatus()) == Done()
        assert asked.cancelled()

    with_driver(node, story)


def test_listeners_hear_events_in_order_until_they_end() -> None:
    node = FakeNode()
    node.on_request = lambda token, request: (Notify(Ready()), Resolve(token, Done()))

    async def story(driver: Driver) -> None:
        backend = LoopBackend(driver)
        heard: list[Event] = []

        def raise_always(event: Event) -> None:
            raise RuntimeError("a listener's own mistake")

        driver.listen(raise_always)
        end = backend.listen(heard.append)
        await backend.ask(ReadMembers())
        assert heard == [Ready()]
        end()
        end()
        await backend.ask(ReadMembers())
        assert heard == [Ready()]

    with_driver(node, story)


def test_what_discovery_finds_is_suggested_to_the_node() -> None:
    node = FakeNode()

    class Search:
        is_closed = False

        async def start(self, suggest: Callable[[tuple[str, ...]], None]) -> None:
            suggest(("127.0.0.1:1",))
            raise OSError("and then the network is gone")

        def moved(self, address: str) -> None:
            raise NotImplementedError

        async def close(self) -> None:
            self.is_closed = True

    async def run() -> None:
        search = Search()
        driver = make_driver(node, discoveries=(search,))
        await driver.start()
        await eventually(lambda: ("request", Suggest(("127.0.0.1:1",))) in node.told)
        node.on_request = answer_at_once
        assert await LoopBackend(driver).ask(ReadMembers()) == Done()
        await driver.close()
        assert search.is_closed

    asyncio.run(run())


def test_another_address_of_the_machine_is_told_to_the_node_and_to_discovery_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_module, "LOCATE_SECONDS", 0.0)
    node = FakeNode()
    looks = 0
    moves: list[str] = []

    class Travelling(MemoryTransport):
        def locate(self) -> str:
            nonlocal looks
            looks += 1
            return "192.0.2.9:7946" if looks > 2 else self.address

    class Search:
        async def start(self, suggest: Callable[[tuple[str, ...]], None]) -> None:
            pass

        def moved(self, address: str) -> None:
            moves.append(address)

        async def close(self) -> None:
            pass

    async def run() -> None:
        driver = make_driver(node, discoveries=(Search(),), transport=Travelling(Wire()))
        await driver.start()
        await eventually(lambda: looks > 10)
        assert driver.address == "192.0.2.9:7946"
        await driver.close()

    asyncio.run(run())
    assert [fact for fact in node.told if fact[0] == "moved"] == [("moved", "192.0.2.9:7946")]
    assert moves == ["192.0.2.9:7946"]


def test_a_status_carries_the_counters_of_the_shell() -> None:
    node = FakeNode()
    status = Status(
        PEER, "alpha", "tests", ClusterId(""), "none", None, "", 0, 0, 0, 0, False, (), (), 1,
        "127.0.0.1:1", 3, 1,
    )  # fmt: skip
    node.on_request = lambda token, request: (Resolve(token, StatusAnswer(status)),)

    async def story(driver: Driver) -> None:
        answer = await LoopBackend(driver).ask(ReadStatus())
        assert isinstance(answer, StatusAnswer)
        assert {"frames_undecodable", "lane_frames"} <= dict(answer.status.counters).keys()

    with_driver(node, story)


def test_what_found_a_queue_full_is_counted() -> None:
    node = FakeNode()
    replies = [Failed("overloaded", "full"), Failed("no_quorum", ""), Failed("overloaded", "full")]
    node.on_request = lambda token, request: (Resolve(token, replies.pop()),)

    async def story(driver: Driver) -> None:
        assert driver.counters()["overloaded"] == 0
        for _ in range(3):
            await LoopBackend(driver).ask(ReadMembers())
        assert driver.counters()["overloaded"] == 2

    with_driver(node, story)


def test_closing_says_goodbye_first_and_ends_all_waits() -> None:
    node = FakeNode()

    async def run() -> None:
        disk, wire = FakeDisk(), Wire()
        driver = make_driver(node, storage=disk, transport=MemoryTransport(wire))
        await driver.start()
        asked = LoopBackend(driver).ask(ReadMembers())
        await asyncio.gather(driver.close(), driver.close())
        await driver.close()
        assert [type(fact).__name__ for kind, fact in node.told].count("Leave") == 1
        with pytest.raises(Closed):
            await asked
        await driver.wait_stopped()
        assert disk.is_closed
        assert wire.bound == {}

    asyncio.run(run())


def test_closing_is_bounded_and_goes_on_without_its_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody answers the goodbye, and whoever closed has lost patience."""
    monkeypatch.setattr(driver_module, "LEAVE_SECONDS_MAX", 0.05)
    node = FakeNode()
    node.answers_leave = False

    async def run() -> None:
        disk = FakeDisk()
        driver = make_driver(node, storage=disk)
        await driver.start()
        closing = asyncio.create_task(driver.close())
        await eventually(lambda: ("request", Leave()) in node.told)
        closing.cancel()
        async with asyncio.timeout(20):
            await driver.wait_stopped()
        assert disk.is_closed

    asyncio.run(run())


def test_a_driver_that_never_started_gives_everything_back() -> None:
    async def run() -> None:
        disk, wire = FakeDisk(), Wire()
        driver = make_driver(FakeNode(), storage=disk, transport=MemoryTransport(wire))
        await driver.close()
        assert disk.is_closed
        assert wire.bound == {}

    asyncio.run(run())
