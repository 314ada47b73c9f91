import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Effects, Notify, Resolve
from mabeam_p2p.errors import AddressError, Closed, OutcomeUnknown, Overloaded
from mabeam_p2p.events import Dropped, Event, LeaderChanged, Ready
from mabeam_p2p.requests import EFFECTS, Done, LogQuery, Read, ReadMembers, ReadStatus, Request
from mabeam_p2p.runtime.driver import Driver
from mabeam_p2p.runtime.thread import CROSSINGS_MAX, PeerThread
from tests.eventually import eventually
from tests.runtime.fakes import WITH_EFFECTS, FakeNode, make_driver


def answer_at_once(token: int, request: Request) -> Effects:
    return (Resolve(token, Done()),)


def with_thread(
    node: FakeNode,
    story: Callable[[PeerThread], Awaitable[None]],
    limits: Limits | None = None,
) -> None:
    async def run() -> None:
        thread = PeerThread(lambda: make_driver(node, limits=limits))
        await thread.start()
        try:
            await story(thread)
        finally:
            await thread.close()

    asyncio.run(run())


@pytest.mark.slow
def test_ten_thousand_questions_cross_and_come_back() -> None:
    node = FakeNode()
    node.on_request = answer_at_once

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        answers = await asyncio.gather(*(backend.ask(ReadMembers()) for _ in range(10_000)))
        assert answers == [Done()] * 10_000
        # Turns are shared: as many flushes as questions would be one wake-up for each.
        assert node.flush_count < 5_000

    with_thread(node, story)


def test_questions_keep_their_order() -> None:
    node = FakeNode()
    node.on_request = answer_at_once

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        questions = [Read(LogQuery(number, 1)) for number in range(500)]
        await asyncio.gather(*map(backend.ask, questions))
        assert [fact for kind, fact in node.told if kind == "request"] == questions

    with_thread(node, story)


def test_cancelling_takes_the_question_back() -> None:
    node = FakeNode()

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        task = asyncio.ensure_future(wait_for(backend.ask(ReadMembers())))
        await asyncio.sleep(0)  # One turn, so that the task waits.
        await eventually(lambda: any(kind == "request" for kind, _ in node.told))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: any(kind == "cancel" for kind, _ in node.told))

    with_thread(node, story)


async def wait_for(awaitable: Awaitable[object]) -> object:
    return await awaitable


def test_closing_answers_every_open_question_with_closed() -> None:
    node = FakeNode()

    async def run() -> None:
        thread = PeerThread(lambda: make_driver(node))
        await thread.start()
        backend = thread.backend()
        asked = [backend.ask(ReadMembers()) for _ in range(1_000)]
        await backend.close()
        replies = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(reply, Closed) for reply in replies)
        with pytest.raises(Closed):
            await backend.ask(ReadMembers())
        await backend.close()

    asyncio.run(run())


def test_of_each_kind_that_has_effects_there_is_one_here() -> None:
    assert {*map(type, WITH_EFFECTS)} == {*EFFECTS}


@pytest.mark.parametrize("given", WITH_EFFECTS, ids=lambda one: type(one).__name__)
def test_what_has_effects_and_is_under_way_at_the_end_is_never_denied(given: Request) -> None:
    node = FakeNode()

    async def run() -> None:
        thread = PeerThread(lambda: make_driver(node))
        await thread.start()
        backend = thread.backend()
        asked = backend.ask(given)
        await eventually(lambda: any(verb == "request" for verb, _ in node.told))
        await backend.close()
        with pytest.raises(OutcomeUnknown, match="may be committed"):
            await asked

    asyncio.run(run())


def test_questions_that_race_with_the_end_are_all_answered() -> None:
    node = FakeNode()
    node.on_request = answer_at_once

    async def run() -> None:
        thread = PeerThread(lambda: make_driver(node))
        await thread.start()
        backend = thread.backend()
        closing = asyncio.ensure_future(thread.close())
        asked = []
        while not closing.done():
            try:
                asked.append(backend.ask(ReadMembers()))
            except Closed:
                break
            await asyncio.sleep(0)
        replies = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(reply, Done | Closed) for reply in replies)
        await closing

    asyncio.run(run())


def test_what_comes_between_the_last_turn_and_the_end_is_refused() -> None:
    seen: list[Driver | None] = []

    class EndsLate(PeerThread):
        async def _serve(self) -> None:
            await super()._serve()
            self._is_woken = True  # As if the loop had ended before it was woken.
            self.cross(seen.append)

    async def run() -> None:
        thread = EndsLate(lambda: make_driver(FakeNode()))
        await thread.start()
        await thread.close()
        assert seen == [None]

    asyncio.run(run())


@pytest.mark.slow
def test_a_blocked_application_does_not_stop_the_peer() -> None:
    """The application's loop is stuck until the peer has turned a hundred times."""
    node = FakeNode()
    node.on_request = answer_at_once
    turned = threading.Event()
    ticks = 0

    def tick() -> Effects:
        nonlocal ticks
        ticks += 1
        node.deadline = 0.0
        if ticks >= 100:
            turned.set()
        return ()

    node.on_tick = tick

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        asked = backend.ask(ReadMembers())
        node.deadline = 0.0
        await backend.ask(ReadStatus())
        assert turned.wait(30)  # Blocking the loop is the point.
        assert await asked == Done()

    with_thread(node, story)


@pytest.mark.fault("U6")
def test_events_for_a_blocked_listener_are_bounded_and_the_loss_is_told() -> None:
    node = FakeNode()
    done = threading.Event()

    def many(token: int, request: Request) -> Effects:
        if isinstance(request, ReadStatus):
            node.deadline = 0.0  # Rings after this turn's effects.
            return (Resolve(token, Done()),)
        events = tuple(Notify(LeaderChanged(None, "", term, "")) for term in range(100))
        return (*events, Resolve(token, Done()))

    def tick() -> Effects:
        done.set()
        return ()

    node.on_request = many
    node.on_tick = tick

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        heard: list[Event] = []
        backend.listen(heard.append)
        first, second = backend.ask(ReadMembers()), backend.ask(ReadStatus())
        assert done.wait(30)
        await asyncio.gather(first, second)
        assert backend.events_dropped == 90
        assert isinstance(heard[0], Dropped)
        assert heard[0].count == 90
        terms = [event.term for event in heard[1:] if isinstance(event, LeaderChanged)]
        assert terms == [*range(90, 100)]

    with_thread(node, story, Limits(events_pending_max=10))


def test_who_has_the_answer_has_heard_what_led_to_it() -> None:
    node = FakeNode()
    node.on_request = lambda token, request: (Notify(Ready()), Resolve(token, Done()))

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        heard: list[Event] = []
        end = backend.listen(heard.append)
        for count in range(1, 200):
            await backend.ask(ReadMembers())
            assert len(heard) == count
        end()
        await backend.ask(ReadMembers())
        assert len(heard) == 199

    with_thread(node, story)


def test_several_loops_may_use_one_peer() -> None:
    node = FakeNode()
    node.on_request = answer_at_once

    async def story(thread: PeerThread) -> None:
        async def elsewhere() -> object:
            return await thread.backend().ask(ReadMembers())

        loops = [asyncio.to_thread(asyncio.run, elsewhere()) for _ in range(4)]
        assert await asyncio.gather(*loops) == [Done()] * 4
        assert await thread.backend().ask(ReadMembers()) == Done()

    with_thread(node, story)


def test_more_questions_than_the_limit_are_refused_at_once() -> None:
    node = FakeNode()

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        asked = [backend.ask(ReadMembers()) for _ in range(3)]
        with pytest.raises(Overloaded):
            backend.ask(ReadMembers())
        asked[0].cancel()
        node.on_request = answer_at_once
        assert await backend.ask(ReadMembers()) == Done()
        for each in asked:
            each.cancel()

    with_thread(node, story, Limits(pending_requests_max=3))


def test_what_cannot_be_built_is_told_to_who_starts_it() -> None:
    def build() -> Driver:
        raise AddressError("cannot listen")

    async def run() -> None:
        thread = PeerThread(build)
        with pytest.raises(AddressError):
            await thread.start()
        await thread.close()

    asyncio.run(run())


def test_a_peer_that_fails_ends_its_thread_and_says_why() -> None:
    node = FakeNode()

    def break_down(token: int, request: Request) -> Effects:
        raise AssertionError("invariant broken")

    node.on_request = break_down

    async def run() -> None:
        thread = PeerThread(lambda: make_driver(node))
        await thread.start()
        with pytest.raises(Closed, match="invariant broken"):
            await thread.backend().ask(ReadMembers())
        await eventually(lambda: thread.has_ended)
        assert isinstance(thread.failure, AssertionError)
        await thread.close()

    asyncio.run(run())


def test_a_forked_child_finds_the_peer_closed() -> None:
    node = FakeNode()
    node.on_request = answer_at_once

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        child = os.fork()
        if child == 0:
            try:
                backend.ask(ReadMembers())
            except Closed:
                os._exit(42)
            os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 42
        assert await backend.ask(ReadMembers()) == Done()

    with_thread(node, story)


def exit_code_of_a_child(act: Callable[[], int]) -> int:
    """Of a fork of this process that has done so. One that hangs is killed, which is no success."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            code = act()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_can_close_the_peer() -> None:
    async def story(thread: PeerThread) -> None:
        def close() -> int:
            asyncio.run(thread.close())
            thread.stop(0.0)
            return 42

        assert exit_code_of_a_child(close) == 42
        assert not thread.has_ended

    with_thread(FakeNode(), story)


def test_what_waits_in_a_forked_child_ends_and_in_its_parent_goes_on() -> None:
    node = FakeNode()
    tokens: list[int] = []

    def later(token: int, request: Request) -> Effects:
        tokens.append(token)
        is_last = isinstance(request, ReadStatus)
        return tuple(Resolve(each, Done()) for each in tokens) if is_last else ()

    node.on_request = later

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        effects = [backend.ask(one) for one in WITH_EFFECTS]
        question = backend.ask(ReadMembers())
        await eventually(lambda: len(tokens) == len(effects) + 1)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            replies = await asyncio.gather(*effects, question, return_exceptions=True)
            kinds = [*map(type, replies)]
            os._exit(42 if kinds == [*[OutcomeUnknown] * len(effects), Closed] else 1)
        status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status[1]) == 42
        assert await backend.ask(ReadStatus()) == Done()
        assert all(one.done() for one in (*effects, question))

    with_thread(node, story)


FORGETFUL = """
import asyncio
from tests.runtime.fakes import FakeNode, make_driver
from mabeam_p2p.runtime.thread import PeerThread

node = FakeNode()
thread = PeerThread(lambda: make_driver(node))
asyncio.run(thread.start())

import atexit
# Runs after the peer's own farewell: atexit calls the last first.
atexit._run_exitfuncs()
print([type(fact).__name__ for kind, fact in node.told if kind == "request"], thread.has_ended)
"""


@pytest.mark.slow
def test_a_program_that_forgets_to_close_still_says_goodbye() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['Leave'] True\n", "")


@pytest.mark.slow
def test_a_flood_of_questions_takes_more_than_one_turn() -> None:
    """Else timers and other peers would wait for all of them."""
    node = FakeNode()
    gate = threading.Event()
    # The peer's own count: the application may have all answers before the last flush.
    turns: Counter[int] = Counter()

    def wait(token: int, request: Request) -> Effects:
        gate.wait(30)
        turns[node.flush_count] += 1
        return answer_at_once(token, request)

    async def story(thread: PeerThread) -> None:
        backend = thread.backend()
        node.on_request = wait
        asked = [backend.ask(ReadMembers()) for _ in range(4 * CROSSINGS_MAX)]
        gate.set()
        await asyncio.gather(*asked)
        assert turns.total() == 4 * CROSSINGS_MAX
        # What arrives while a batch begins may wake a second one before the flush of the first.
        assert max(turns.values()) <= 2 * CROSSINGS_MAX

    with_thread(node, story)
