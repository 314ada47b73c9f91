"""Queues, priorities, capacities, and what one agent takes over from another."""

from mabeam_p2p.config import Limits
from mabeam_p2p.events import TaskRevoked, WorkerChanged
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.machine.tasks.schedule import FIRST_LOOK, HUNG_FACTOR, OVERDUE_FLOOR
from mabeam_p2p.machine.tasks.tasks import ERROR_BYTES_MAX
from mabeam_p2p.machine.tasks.workers import log_of
from mabeam_p2p.records import Strategy, TaskError
from tests.machine.tasks.task_log import LEASE, TaskLog
from tests.machine.written_log import SECOND, reason

# ---- queues ----------------------------------------------------------------------------------


def test_the_greater_priority_goes_first_and_equals_in_order_of_submission() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("running", "low", "first", "second")
    log.submitted("high", priority=5)
    log.submitted("last", priority=-5)
    done = []
    for _ in range(6):
        (task,) = log.leased(1)
        done.append(task)
        log.complete(one, task)
    assert done == ["running", "high", "low", "first", "second", "last"]


def test_priorities_hold_between_an_agents_queue_and_what_waits_for_any() -> None:
    log = TaskLog(Limits(task_backlog_max=1))
    one = log.worker(1)
    log.submitted("running", "queued", "waiting")
    log.submitted("urgent", priority=1)
    assert log.holders("queued", "waiting", "urgent") == ["a1", "", ""]
    log.complete(one, "running")
    assert log.leased(1) == ["urgent"]


def test_an_agent_holds_no_more_than_its_slots_and_its_capacities() -> None:
    log = TaskLog()
    one = log.worker(1, slots=3, gpu=4)
    log.submitted("a", "b", requires=[("gpu", 2)])
    log.submitted("c", requires=[("gpu", 1)])
    log.submitted("d", "e")
    assert log.leased(1) == ["a", "b", "d"]
    log.complete(one, "d")
    assert log.leased(1) == ["a", "b", "e"]
    log.complete(one, "a")
    assert log.leased(1) == ["b", "e", "c"]


def test_a_large_task_is_not_overtaken_by_small_ones_that_need_the_same() -> None:
    log = TaskLog()
    one = log.worker(1, slots=4, gpu=2)
    log.submitted("small", requires=[("gpu", 1)])
    log.submitted("large", requires=[("gpu", 2)])
    log.submitted("late", requires=[("gpu", 1)])
    log.submitted("other")
    assert log.leased(1) == ["small", "other"]
    log.complete(one, "small")
    assert log.leased(1) == ["other", "large"]


def test_a_large_task_that_waits_for_any_is_not_overtaken_either() -> None:
    log = TaskLog(Limits(task_backlog_max=1))
    one = log.worker(1, slots=4, gpu=2)
    log.submitted("small", requires=[("gpu", 1)])
    log.submitted("filler", requires=[("gpu", 2)])
    log.submitted("large", requires=[("gpu", 2)])
    log.submitted("late", requires=[("gpu", 1)])
    log.complete(one, "small")
    assert log.leased(1) == ["filler"]
    log.complete(one, "filler")
    assert log.leased(1) == ["large"]


def test_a_large_task_is_not_overtaken_by_small_ones_out_of_other_queues() -> None:
    log = TaskLog()
    one = log.worker(1, slots=4, gpu=2)
    log.submitted("small", requires=[("gpu", 1)])
    log.submitted("other")
    log.submitted("large", requires=[("gpu", 2)])
    log.worker(2, gpu=1)
    log.submitted("b0", "b1", "b2", requires=[("gpu", 1)], strategy=Strategy.LEAST_LOADED)
    assert log.holders("large", "b0", "b1", "b2") == ["a1", "a2", "a2", "a2"]
    log.submitted("plain", strategy=Strategy.LEAST_LOADED)
    log.complete(one, "other")
    # What needs no gpu may still be taken over.
    assert log.leased(1) == ["small", "plain"]
    log.complete(one, "small")
    assert log.leased(1) == ["plain", "large"]


def test_an_agent_whose_queue_is_held_back_takes_what_else_it_has_room_for() -> None:
    log = TaskLog(Limits(task_backlog_max=1))
    log.worker(1, slots=2, gpu=1)
    log.submitted("running", "queued", requires=[("gpu", 1)])
    # There is no place in its queue, but a free slot.
    log.submitted("other")
    assert log.leased(1) == ["running", "other"]


def test_a_task_begins_at_an_agent_with_room_though_another_one_was_chosen() -> None:
    log = TaskLog()
    log.worker(1, slots=2, gpu=1)
    log.submitted("running", "queued", requires=[("gpu", 1)])
    log.worker(2)
    log.submitted("first", "second", strategy=Strategy.LEAST_LOADED)
    assert log.leased(2) == ["first"]
    assert log.leased(1) == ["running", "second"]


def test_an_agent_that_withdraws_finishes_what_it_works_on_and_leaves_the_rest() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", "u", "v")
    log.offer(one, "work", slots=0)
    assert log.shown("t") == ("leased", "a1")
    assert log.holders("u", "v") == ["", ""]
    assert reason(log.submit("w")) == "no_worker"
    log.complete(one, "t")
    assert log.leased(1) == []
    log.offer(one, "work", slots=2)
    assert log.leased(1) == ["u", "v"]


def test_a_name_that_is_offered_no_more_leaves_the_queue() -> None:
    log = TaskLog()
    one = log.worker(1, names=("work", "play"))
    log.submitted("t")
    log.submitted("u", name="play")
    log.worker(2, names=("play",))
    log.submitted("v", "w")
    assert log.shown("u")[1] in ("a1", "a2")
    log.offer(one, "play")
    assert log.shown("t") == ("leased", "a1")
    assert log.holders("v", "w") == ["", ""]


# ---- taking over -----------------------------------------------------------------------------


def test_an_idle_agent_takes_queued_tasks_where_waiting_is_longest() -> None:
    log = TaskLog()
    log.worker(1)
    log.worker(2, names=("work", "solo"))
    log.submitted("solo", name="solo")
    log.submitted("t", "a", "b", "c")
    queues = log.worker_record(1).queued, log.worker_record(2).queued
    log.worker(3)
    assert (log.worker_record(1).queued, log.worker_record(2).queued) in (
        (queues[0] - 1, queues[1]),
        (queues[0], queues[1] - 1),
    )
    assert len(log.leased(3)) == 1


def test_an_agent_takes_from_a_queue_only_what_it_can_do() -> None:
    log = TaskLog()
    log.worker(1, slots=1, gpu=1)
    log.submitted("t")
    log.submitted("gpu", requires=[("gpu", 1)])
    log.submitted("any")
    log.worker(2)
    assert log.leased(2) == ["any"]
    assert log.shown("gpu") == ("queued", "a1")


def test_nothing_is_taken_where_taking_is_off() -> None:
    log = TaskLog(Limits(task_steals_max=0))
    log.worker(1)
    log.submitted("t", "u")
    log.worker(2)
    assert log.leased(2) == []


def test_what_belongs_to_one_agent_is_not_taken_from_it() -> None:
    log = TaskLog()
    log.worker(1)
    log.submitted("t", "u", strategy=Strategy.RENDEZVOUS)
    two = log.worker(2)
    assert log.leased(2) == []
    log.pass_time(LEASE - SECOND)
    log.renew(two)
    log.pass_time(2 * SECOND)
    assert log.leased(2) != []


def test_overdue_work_is_taken_from_a_slow_agent_and_its_old_token_is_refused() -> None:
    log = TaskLog()
    slow = log.worker(1)
    fast = log.worker(2)
    # Taught by turns on one name, so that their paces can be compared.
    for number in range(12):
        log.submitted(f"s{number}", f"f{number}", strategy=Strategy.ROUND_ROBIN)
        log.clock += SECOND // 10
        log.complete(fast, f"f{number}")
        log.clock += SECOND
        log.complete(slow, f"s{number}")
    assert log.worker_record(1).pace > 2 * log.worker_record(2).pace
    log.submitted("t", strategy=Strategy.ROUND_ROBIN)
    assert log.shown("t") == ("leased", "a1")
    old = log.task("t").token
    look = log.task("t").look_clock
    log.pass_time(look - log.clock - 1)
    assert log.shown("t") == ("leased", "a1")
    log.pass_time(1)
    assert log.told()[0] == ("t", "stolen")
    assert log.shown("t") == ("leased", "a2")
    assert log.task("t").steals == 1
    assert reason(log.complete(slow, "t", token=old)) == "stale_token"
    assert reason(log.complete(fast, "t")) == ""


def taught(log: TaskLog, one: SessionId, two: SessionId, seconds: int = 1) -> None:
    """Both have shown that tasks take so long."""
    for number in range(4):
        log.submitted(f"x{number}", f"y{number}", strategy=Strategy.ROUND_ROBIN)
        log.clock += seconds * SECOND
        for task in (f"x{number}", f"y{number}"):
            session = one if log.shown(task)[1] == "a1" else two
            log.complete(session, task)


def test_work_that_hangs_is_taken_from_an_agent_of_equal_pace_a_few_times_at_most() -> None:
    log = TaskLog()
    one, two = log.worker(1), log.worker(2)
    taught(log, one, two)
    log.submitted("t")
    holders = [log.shown("t")[1]]
    for _ in range(4 * HUNG_FACTOR):
        log.clock += SECOND
        log.renew(one)
        log.renew(two)
        if log.shown("t")[1] != holders[-1]:
            holders.append(log.shown("t")[1])
    assert len(holders) == 3
    assert log.task("t").steals == 2


def test_overdue_work_waits_for_an_agent_that_has_nothing_else_to_do() -> None:
    log = TaskLog()
    one, two = log.worker(1), log.worker(2)
    taught(log, one, two)
    log.submitted("t", "u", strategy=Strategy.ROUND_ROBIN)
    stuck, busy = ("t", "u") if log.shown("t")[1] == "a1" else ("u", "t")
    for _ in range(HUNG_FACTOR + 3):
        log.clock += SECOND
        log.renew(one)
        log.renew(two)
    # Both are overdue, and nobody is idle.
    assert log.task(stuck).steals == log.task(busy).steals == 0
    log.cancel(busy)
    assert log.shown(stuck) == ("leased", "a2")


def test_an_attempt_of_which_nothing_is_known_is_looked_at_until_something_is() -> None:
    log = TaskLog()
    one, two = log.worker(1), log.worker(2)
    log.submitted("t", "u", strategy=Strategy.ROUND_ROBIN)
    first = log.task("t").leased_clock
    assert log.task("t").look_clock == first + FIRST_LOOK
    log.clock += FIRST_LOOK
    log.renew(one)
    log.renew(two)
    assert not log.task("t").is_overdue
    assert log.task("t").look_clock > log.clock
    log.complete(two, "u")
    assert log.shown("t") == ("leased", "a1")
    mean = log.task("u").finished_clock - log.task("u").leased_clock
    while log.clock < first + HUNG_FACTOR * mean + OVERDUE_FLOOR - 2 * SECOND:
        log.clock += SECOND
        log.renew(one)
        assert log.shown("t") == ("leased", "a1")
    log.clock += 3 * SECOND
    log.renew(one)
    assert log.shown("t") == ("leased", "a2")


def test_work_that_is_overdue_no_more_is_not_taken_by_any_replica() -> None:
    log = TaskLog()
    slow, fast = log.worker(1), log.worker(2)
    for number in range(12):
        log.submitted(f"s{number}", f"f{number}", strategy=Strategy.ROUND_ROBIN)
        log.clock += SECOND // 10
        log.complete(fast, f"f{number}")
        log.clock += SECOND
        log.complete(slow, f"s{number}")
    many = log.worker(3, slots=0)
    for session, slots in ((slow, 1), (fast, 0), (many, 0)):
        log.offer(session, "work", slots=slots, lease=1_000 * SECOND)
    log.submitted("t")
    log.offer(many, "work", slots=40, lease=1_000 * SECOND)
    log.submitted(*(f"long{number}" for number in range(40)))
    log.offer(many, "work", slots=0, lease=1_000 * SECOND)
    while not log.task("t").is_overdue:
        log.pass_time(SECOND // 10)
    # Until the next look its name is found to take long.
    look = log.task("t").look_clock
    log.pass_time(look - log.clock - SECOND)
    for number in range(40):
        assert reason(log.complete(many, f"long{number}")) == ""
    log.pass_time(look - log.clock)
    assert not log.task("t").is_overdue
    # The test's replica, which is restored, would not take it.
    log.offer(fast, "work", slots=1, lease=1_000 * SECOND)
    assert log.shown("t") == ("leased", "a1")
    log.pass_time(log.task("t").look_clock - log.clock)
    assert log.shown("t") == ("leased", "a2")


def test_when_the_one_whose_turn_it_is_works_the_fastest_idle_one_gets_the_task() -> None:
    log = TaskLog()
    sessions = [log.worker(number) for number in (1, 2, 3)]
    turns = Strategy.ROUND_ROBIN
    log.submitted("one", "two", "three", strategy=turns)
    assert log.holders("one", "two", "three") == ["a1", "a2", "a3"]
    log.complete(sessions[1], "two")
    log.complete(sessions[2], "three")
    workers = log.machine._parts.tasks._schedule.workers
    for _ in range(20):
        workers[AgentId("a2@p")].paces.add(log_of(4))
    log.submitted("four", strategy=turns)
    assert log.shown("four") == ("leased", "a3"), "a1 works, and a2 is slow"


def test_a_task_that_moves_twice_at_one_index_has_a_token_for_each_lease() -> None:
    """It goes from an agent that was silent to another one, of which the same index says the
    same."""
    twice = 0
    for key in range(12):
        log = TaskLog(Limits(task_steals_max=0))
        sessions = {f"a{number}": log.worker(number, slots=9) for number in (1, 2, 3)}
        log.submitted("one", "two", "three", strategy=Strategy.ROUND_ROBIN)
        log.submitted("t", strategy=Strategy.RENDEZVOUS, key=f"key {key}")
        first = log.task("t").token
        (holder,) = log.holders("t")
        speaks = next(name for name in ("a3", "a2") if name != holder)
        log.pass_time(LEASE - 10)
        log.renew(sessions[speaks])
        log.pass_time(20)
        tokens = [
            event.token
            for event in log.events
            if isinstance(event, TaskRevoked) and event.task == "t"
        ]
        assert log.shown("t") == ("leased", speaks)
        assert tokens[0] == first
        assert [*tokens, log.task("t").token] == sorted({*tokens, log.task("t").token})
        twice += len(tokens) == 2
    assert twice > 0, "of some keys the second home was silent, too"


def test_an_agent_that_has_gone_is_told_to_offer_nothing() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.close(one)
    [gone] = [event.worker for event in log.events if isinstance(event, WorkerChanged)]
    assert (gone.agent, gone.names, gone.slots) == ("a1@p", (), 0)


def test_an_error_as_large_as_allowed_is_kept() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t")
    error = TaskError("", "x" * ERROR_BYTES_MAX, "")
    assert reason(log.fail(one, "t", error=error)) == ""
    assert log.task("t").error == error
