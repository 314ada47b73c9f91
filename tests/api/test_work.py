"""The worker's side of tasks, against a peer that answers as told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.work import Work
from mabeam_p2p.commands import AnyCommand, CompleteTask, FailTask, OfferTasks, RenewTasks
from mabeam_p2p.errors import Closed, InvalidValue, NoQuorum, Overloaded
from mabeam_p2p.ids import AgentId, TaskId
from mabeam_p2p.records import Strategy, Task, TaskOrder, TaskStatus, TaskWorker
from mabeam_p2p.requests import Await, Committed, Failed, Found, Refused, Request, Submit, WorkQuery
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import FakePeer, Reply, attachment, usual
from tests.eventually import eventually
from tests.in_loop import in_loop

AGENT = AgentId("a@ant")


def leased(task: str, token: int, *arguments: object, name: str = "work") -> Task:
    argument = encode_value([list(arguments), {}], 1_000)
    order = TaskOrder(name, argument, Strategy.RESOURCE_AWARE, (), 0, 0, 1, 0, 0, "")
    return Task(TaskId(task), order, AGENT, 1, 1, TaskStatus.LEASED, AGENT, token)


class Bench:
    """A worker and the peer that it asks."""

    def __init__(self, **limits: int) -> None:
        self.peer = FakePeer()
        tie = attachment(self.peer, **limits)

        async def renewed() -> None:
            """Nothing else is to be done anew."""

        self.session = Session(tie, Profile("a"), renewed)
        self.work = Work(tie, self.session, lambda: AGENT)
        self._index = 0

    async def shown(self, *tasks: Task, is_silent: bool = False) -> None:
        """The log's state changes: these are the leases of the agent now."""
        await eventually(lambda: self.asks())
        self._index += 10
        worker = TaskWorker(AGENT, ("work",), 4, len(tasks), 0, 0, 1000, is_silent, self._index)
        asked = self.peer.waiting.pop()
        asked.set_result(Found(self._index, 0.0, False, tasks=tasks, workers=(worker,)))
        await eventually(lambda: self.asks())

    def asks(self) -> list[WorkQuery]:
        """The question for work that waits."""
        if not self.peer.waiting:
            return []
        last = [request for request in self.peer.asked if isinstance(request, Await)][-1:]
        return [one.query for one in last if isinstance(one.query, WorkQuery)]

    def said(self, kind: type[AnyCommand]) -> list[AnyCommand]:
        return [command for command in self.peer.commands() if isinstance(command, kind)]


@asynccontextmanager
async def bench(**limits: int) -> AsyncIterator[Bench]:
    one = Bench(**limits)
    await one.session.open()
    try:
        yield one
    finally:
        await one.work.close()
        await one.session.close()


@in_loop
async def test_what_is_declared_together_is_offered_together() -> None:
    async with bench() as one:
        one.work.declare("b", print, None)
        one.work.declare("a", print, None)
        one.work.set_slots(7)
        await one.work.offered()
        (offer,) = one.said(OfferTasks)
        assert isinstance(offer, OfferTasks)
        assert (offer.names, offer.slots, offer.lease) == (("a", "b"), 7, 6_000_000)
        one.work.withdraw("a")
        await one.work.offered()
        assert len(one.said(OfferTasks)) == 2
        one.work.withdraw("a")
        one.work.set_slots(7)
        await one.work.offered()
        assert len(one.said(OfferTasks)) == 2


@in_loop
async def test_who_waits_for_an_offer_that_is_under_way_waits_for_its_answer() -> None:
    async with bench() as one:
        one.peer.reply = lambda request: None
        one.work.declare("a", print, None)
        await eventually(lambda: len(one.said(OfferTasks)) == 1)
        waiting = asyncio.create_task(one.work.offered())
        one.work.declare("b", print, None)
        await settled()
        assert not waiting.done()
        one.peer.waiting.pop().set_result(Committed(2, 1, 1))
        await eventually(lambda: len(one.said(OfferTasks)) == 2)
        await settled()
        assert not waiting.done(), "the second one is under way"
        one.peer.reply = usual
        one.peer.waiting.pop().set_result(Committed(3, 1, 1))
        await waiting


async def settled() -> None:
    """Whatever is ready to go on does."""
    for _ in range(10):
        await asyncio.sleep(0)


@in_loop
async def test_offer_of_unknown_fate_is_made_again_and_a_refused_one_is_told() -> None:
    async with bench() as one:
        replies: list[Reply] = [Failed("no_quorum", ""), Refused("limit", "too many")]

        def reply(request: Request) -> Reply:
            return replies.pop(0) if replies else usual(request)

        one.peer.reply = reply
        one.work.declare("work", print, None)
        with pytest.raises(Overloaded, match="too many"):
            await one.work.offered()
        one.work.declare("other", print, None)
        await one.work.offered()
        assert len(one.said(OfferTasks)) == 3


@in_loop
async def test_more_than_an_agent_may_offer_is_refused_at_once() -> None:
    async with bench(offers_per_agent_max=1, task_slots_max=2) as one:
        one.work.declare("a", print, None)
        one.work.declare("a", max, None)
        with pytest.raises(InvalidValue, match="at most 1"):
            one.work.declare("b", print, None)
        with pytest.raises(InvalidValue, match="0 to 2"):
            one.work.set_slots(3)


@in_loop
async def test_lease_is_begun_once_and_its_result_given_until_it_is_known() -> None:
    async with bench() as one:
        calls: list[int] = []

        async def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        one.work.declare("work", double, None)
        await one.work.offered()
        replies: list[Reply] = [Failed("unknown", ""), Failed("overloaded", "")]
        one.peer.reply = lambda request: (
            replies.pop(0)
            if replies and isinstance(getattr(request, "command", None), CompleteTask)
            else usual(request)
        )
        task = leased("t", 5, 21)
        await one.shown(task)
        await eventually(lambda: len(one.said(CompleteTask)) == 3)
        last = one.said(CompleteTask)[-1]
        assert isinstance(last, CompleteTask)
        assert (last.task, last.token, last.result) == ("t", 5, encode_value(42, 9))
        # An answer that was on its way may still show it.
        await one.shown(task)
        await one.shown()
        assert calls == [21]
        assert one.asks()[0].seen_index == 30


@in_loop
async def test_lease_that_is_no_longer_shown_is_stopped_and_nothing_is_said_of_it() -> None:
    async with bench() as one:
        begun, stopped = asyncio.Event(), asyncio.Event()

        async def hang() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        one.work.declare("work", hang, None)
        await one.work.offered()
        await one.shown(leased("t", 5))
        await begun.wait()
        await one.shown(leased("t", 9))
        await stopped.wait()
        assert one.said(CompleteTask) == one.said(FailTask) == []


@in_loop
async def test_who_offers_anew_asks_for_work_again() -> None:
    async with bench() as one:
        is_gone = True

        def reply(request: Request) -> Reply:
            return Closed("gone") if is_gone and isinstance(request, Await) else usual(request)

        one.peer.reply = reply
        one.work.declare("work", print, None)
        await one.work.offered()
        await eventually(lambda: isinstance(one.peer.asked[-1], Await))
        is_gone = False
        one.work.offer_anew()
        await one.work.offered()
        await eventually(one.asks)


@in_loop
async def test_silent_agent_speaks_up_though_it_holds_nothing() -> None:
    async with bench() as one:
        one.work.declare("work", print, None)
        await one.work.offered()
        await one.shown(is_silent=True)
        await eventually(lambda: len(one.said(RenewTasks)) == 1)
        await one.shown()
        assert len(one.said(RenewTasks)) == 1


@in_loop
async def test_task_that_is_offered_no_more_fails_here_and_may_be_tried_elsewhere() -> None:
    async with bench() as one:
        one.work.declare("work", print, None)
        await one.work.offered()
        await one.shown(leased("t", 5, name="other"))
        await eventually(lambda: one.said(FailTask))
        (failed,) = one.said(FailTask)
        assert isinstance(failed, FailTask)
        assert (failed.error.kind, failed.is_final) == ("LookupError", False)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("there are no words")


@in_loop
async def test_what_was_raised_is_reported_though_its_text_cannot_be_had() -> None:
    async with bench() as one:

        async def work() -> int:
            raise Unspeakable

        one.work.declare("work", work, None)
        await one.work.offered()
        await one.shown(leased("t", 5))
        # Unsaid, it would be leased for as long as the agent says that it works.
        await eventually(lambda: one.said(FailTask))
        (failed,) = one.said(FailTask)
        assert isinstance(failed, FailTask)
        assert (failed.task, failed.error.kind) == ("t", "Unspeakable")
        assert "Unspeakable" in failed.error.traceback


@in_loop
async def test_function_that_ends_as_cancelled_has_failed_as_that() -> None:
    async with bench() as one:

        async def work() -> int:
            raise asyncio.CancelledError

        one.work.declare("work", work, None)
        await one.work.offered()
        await one.shown(leased("t", 5))
        await eventually(lambda: one.said(FailTask))
        (failed,) = one.said(FailTask)
        assert isinstance(failed, FailTask)
        assert (failed.error.kind, failed.is_final) == ("CancelledError", False)


@in_loop
async def test_refused_result_is_dropped() -> None:
    async with bench() as one:

        async def work() -> int:
            return 1

        one.work.declare("work", work, None)
        await one.work.offered()
        one.peer.reply = lambda request: (
            Refused("stale_token", "gone")
            if isinstance(getattr(request, "command", None), CompleteTask)
            else usual(request)
        )
        await one.shown(leased("t", 5))
        await eventually(lambda: len(one.said(CompleteTask)) == 1)
        await one.shown()
        await one.shown(leased("t", 9))
        await eventually(lambda: len(one.said(CompleteTask)) == 2)


@in_loop
async def test_who_waits_for_an_offer_hears_of_a_lost_cluster_and_of_the_agents_end() -> None:
    async with bench() as one:
        one.peer.reply = lambda request: (
            Failed("no_quorum", "") if isinstance(request, Submit) else usual(request)
        )
        one.work.declare("work", print, None)
        with pytest.raises(NoQuorum, match="goes on being offered"):
            await one.work.offered()
        waiting = asyncio.create_task(one.work.offered())
        await asyncio.sleep(0)
        await one.work.close()
        with pytest.raises(Closed):
            await waiting
