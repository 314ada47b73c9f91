"""The states of a task, and what moves it from one to the next."""

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.events import TaskChanged
from mabeam_p2p.ids import INTEGER_MAX
from mabeam_p2p.records import Strategy, TaskError, TaskOrder, TaskStatus
from mabeam_p2p.requests import Committed, ReputationQuery, TasksQuery, WorkQuery
from tests.machine.tasks.task_log import DEAD, DONE, ERROR, LEASE, TaskLog, order
from tests.machine.written_log import SECOND, reason

# ---- one task --------------------------------------------------------------------------------


def test_a_task_is_leased_at_its_submission_and_done_with_its_result() -> None:
    log = TaskLog()
    one = log.worker(1)
    outcome = log.submit("t", order(argument=b"argument"))
    assert isinstance(outcome, Committed)
    task = log.task("t")
    assert log.shown("t") == ("leased", "a1")
    assert (task.token, task.submitted_index, task.submitter) == (
        outcome.index,
        outcome.number,
        "asker@p",
    )
    assert log.told() == [("t", "leased")]
    log.clock += SECOND
    done = log.complete(one, "t", result=b"42")
    assert isinstance(done, Committed)
    task = log.task("t")
    assert (task.status, task.result, task.agent) == (DONE, b"42", "a1@p")
    assert (task.finished_index, task.finished_clock) == (done.index, log.clock)
    assert task.order.argument == b""
    assert log.told() == [("t", "done")]
    assert log.worker_record(1).done == 1


def test_who_has_done_a_task_and_who_has_asked_for_it_may_rate_each_other_once() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", "u")
    log.complete(one, "t")
    log.fail(one, "u")
    (deal,) = log.machine.find(ReputationQuery("", "")).deals
    assert (deal.name, deal.one, deal.other) == ("task/t", "asker@p", "a1@p")


def test_events_carry_neither_arguments_nor_results() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submit("t", order(argument=b"secret"))
    assert "secret" not in str(log.events)
    log.complete(one, "t", result=b"hidden")
    assert "hidden" not in str(log.events)


def test_a_second_result_is_refused_whoever_gives_it() -> None:
    log = TaskLog()
    one, two = log.worker(1), log.worker(2)
    log.submitted("t")
    holder, other = (one, two) if log.shown("t")[1] == "a1" else (two, one)
    token = log.task("t").token
    assert reason(log.complete(other, "t")) == "stale_token"
    assert reason(log.complete(holder, "t", token=token - 1)) == "stale_token"
    assert reason(log.complete(holder, "t", token=token, result=b"first")) == ""
    assert reason(log.complete(holder, "t", token=token, result=b"second")) == "stale_token"
    assert reason(log.fail(holder, "t", token=token)) == "stale_token"
    assert log.task("t").result == b"first"


def test_a_task_that_nobody_offers_is_refused_unless_it_may_wait() -> None:
    log = TaskLog()
    assert reason(log.submit("t")) == "no_worker"
    assert log.find("t") is None
    assert reason(log.submit("t", wait=True)) == ""
    assert log.shown("t") == ("queued", "")
    assert [one.task.id for one in log.events if isinstance(one, TaskChanged)] == ["t"]
    log.worker(1, names=("other",))
    assert log.shown("t") == ("queued", "")
    log.worker(2)
    assert log.shown("t") == ("leased", "a2")


def test_the_same_id_is_the_same_task() -> None:
    log = TaskLog()
    one = log.worker(1)
    first = log.submit("t")
    again = log.submit("t")
    assert isinstance(first, Committed)
    assert isinstance(again, Committed)
    assert again.number == first.index
    assert log.events == ()
    assert reason(log.submit("t", order(argument=b"other"))) == "task_exists"
    log.complete(one, "t")
    assert reason(log.submit("t")) == ""
    assert log.task("t").status is DONE
    assert reason(log.submit("t", order("other"))) == "task_exists"
    assert reason(log.submit("t", order(argument=b"other"))) == "task_exists"


def test_what_was_submitted_outlives_its_submitter() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t")
    log.close(log.asker)
    assert reason(log.complete(one, "t")) == ""


# ---- failures --------------------------------------------------------------------------------


def test_a_failed_task_is_tried_again_after_pauses_that_double_and_then_given_up() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", retries=2, backoff=SECOND)
    for pause in (SECOND, 2 * SECOND):
        log.fail(one, "t")
        assert log.told() == [("t", "failed"), ("t", "queued")]
        assert log.shown("t") == ("queued", "")
        assert log.machine.next_deadline() == log.clock + pause
        log.pass_time(pause - 1)
        assert log.shown("t") == ("queued", "")
        log.pass_time(1)
        assert log.shown("t") == ("leased", "a1")
    log.fail(one, "t", error=ERROR)
    dead = log.task("t")
    assert (dead.status, dead.reason, dead.failures, dead.error) == (DEAD, "failed", 3, ERROR)
    assert dead.order.argument == b"a"
    log.pass_time(LEASE)
    assert log.machine.next_deadline() is None


def test_a_final_failure_is_not_tried_again() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", retries=5)
    log.fail(one, "t", is_final=True)
    assert log.task("t").status is DEAD


def test_the_pause_before_an_attempt_is_bounded() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", retries=100, backoff=200 * SECOND)
    for _ in range(60):
        log.fail(one, "t")
        due = log.task("t").due_clock
        assert 200 * SECOND <= due - log.clock <= 300 * SECOND
        log.renew(one)
        log.pass_time(due - log.clock)
        assert log.shown("t") == ("leased", "a1")


def test_an_attempt_that_overruns_its_time_has_failed() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", attempt_timeout=2 * SECOND, retries=1)
    token = log.task("t").token
    log.pass_time(2 * SECOND - 1)
    assert log.shown("t") == ("leased", "a1")
    log.pass_time(1)
    assert log.told() == [("t", "timeout"), ("t", "queued")]
    assert reason(log.complete(one, "t", token=token)) == "stale_token"
    log.pass_time(SECOND)
    log.renew(one)
    log.pass_time(2 * SECOND)
    dead = log.task("t")
    assert (dead.status, dead.reason) == (DEAD, "timeout")
    assert dead.error == TaskError("TimeoutError", "no result within 2 s", "")


@pytest.mark.parametrize("has_worker", [True, False])
def test_a_task_past_its_deadline_is_given_up_wherever_it_is(has_worker: bool) -> None:
    log = TaskLog()
    if has_worker:
        log.worker(1)
    log.submitted("t", timeout=2 * SECOND, wait=True)
    log.pass_time(2 * SECOND)
    dead = log.task("t")
    assert (dead.status, dead.reason) == (DEAD, "timeout")
    assert log.leased(1) == []


def test_a_dead_task_is_queued_anew_when_asked_for() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", timeout=SECOND)
    log.fail(one, "t")
    log.pass_time(10 * SECOND)
    assert reason(log.retry("t")) == ""
    task = log.task("t")
    assert (task.failures, task.error, task.reason) == (0, None, "")
    assert log.shown("t") == ("leased", "a1")
    assert reason(log.retry("t")) == ""
    assert reason(log.complete(one, "t")) == ""
    assert reason(log.retry("t")) == "task_finished"
    assert reason(log.retry("none")) == "unknown_task"


def test_a_dead_task_for_which_there_is_no_room_stays_dead() -> None:
    log = TaskLog(Limits(open_tasks_max=1))
    one = log.worker(1)
    log.submitted("t")
    log.fail(one, "t")
    log.submitted("u")
    assert reason(log.retry("t")) == "limit"
    assert log.task("t").status is TaskStatus.DEAD
    log.complete(one, "u")
    assert reason(log.retry("t")) == ""


# ---- leases ----------------------------------------------------------------------------------


def test_what_a_departed_agent_held_is_queued_again_at_that_index() -> None:
    log = TaskLog()
    one = log.worker(1, slots=2)
    log.submitted("t", "u", "v")
    old = log.task("t").token
    log.worker(2, slots=2)
    log.depart(1)
    assert log.told() == [
        ("t", "lost"),
        ("t", "leased"),
        ("u", "lost"),
        ("u", "queued"),
    ]
    assert log.holders("t", "u", "v") == ["a2", "a2", "a2"]
    assert log.task("t").token > old
    assert log.task("t").losses == 1
    assert reason(log.complete(one, "t", token=old)) == "unknown_session"


def test_an_agent_that_comes_back_cannot_complete_under_its_old_lease() -> None:
    log = TaskLog()
    log.worker(1)
    log.submitted("t")
    old = log.task("t").token
    back = log.worker(1, session=11, epoch=2)
    assert log.shown("t") == ("leased", "a1")
    assert reason(log.complete(back, "t", token=old)) == "stale_token"
    assert reason(log.complete(back, "t")) == ""


def test_an_agent_that_is_silent_for_its_lease_loses_what_it_holds_until_it_speaks() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", "u")
    log.pass_time(LEASE - 2)
    assert log.shown("t") == ("leased", "a1")
    log.pass_time(1)
    assert log.worker_record(1).is_silent
    assert log.holders("t", "u") == ["", ""]
    log.submitted("v")
    assert log.shown("v") == ("queued", "")
    log.renew(one)
    assert not log.worker_record(1).is_silent
    assert log.shown("t") == ("leased", "a1")


def test_an_agent_that_renews_keeps_what_it_holds() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t")
    token = log.task("t").token
    for _ in range(5):
        log.pass_time(LEASE - 10)
        assert reason(log.renew(one)) == ""
    assert log.task("t").token == token
    log.pass_time(LEASE + 10)
    assert log.shown("t") == ("queued", "")


def test_a_shorter_lease_counts_from_its_offer() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t")
    log.offer(one, "work", lease=SECOND)
    log.pass_time(SECOND - 1)
    assert log.shown("t") == ("leased", "a1")
    log.pass_time(1)
    assert log.shown("t") == ("queued", "")


def test_an_agent_that_rests_is_not_silent() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t")
    log.complete(one, "t")
    log.pass_time(10 * LEASE)
    log.submitted("u")
    log.pass_time(LEASE // 2)
    assert log.shown("u") == ("leased", "a1")


def test_a_task_that_takes_its_agents_with_it_is_given_up() -> None:
    log = TaskLog(Limits(task_losses_max=2))
    log.submitted("t", wait=True)
    for life in range(1, 4):
        log.worker(1, session=life, epoch=life)
        assert log.shown("t") == ("leased", "a1")
        log.depart(1, epoch=life)
    dead = log.task("t")
    assert (dead.status, dead.reason, dead.losses) == (DEAD, "lost", 3)


def test_only_who_has_offered_can_renew() -> None:
    log = TaskLog()
    assert reason(log.renew(log.asker)) == "not_a_worker"


# ---- cancelling ------------------------------------------------------------------------------


def test_a_cancelled_task_leaves_its_queue_or_its_agent_and_counts_no_more() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", "u", "v")
    token = log.task("t").token
    assert reason(log.cancel("u")) == ""
    assert log.told() == [("u", "cancelled")]
    assert reason(log.cancel("t")) == ""
    assert log.told() == [("t", "cancelled"), ("t", "cancelled"), ("v", "leased")]
    assert reason(log.complete(one, "t", token=token)) == "stale_token"
    assert log.task("t").reason == "asker@p"
    assert reason(log.cancel("t")) == ""
    log.complete(one, "v")
    assert reason(log.cancel("v")) == "task_finished"
    assert reason(log.cancel("none")) == "unknown_task"
    assert log.worker_record(1).running == log.worker_record(1).queued == 0


def test_a_task_is_cancelled_while_it_pauses_and_while_nobody_can_do_it() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", retries=1)
    log.submitted("u", requires=[("gpu", 1)], wait=True)
    log.fail(one, "t")
    for task in ("t", "u"):
        assert reason(log.cancel(task)) == ""
        assert log.task(task).status is TaskStatus.CANCELLED
    log.pass_time(LEASE)
    assert log.machine.next_deadline() is None


# ---- what is asked ---------------------------------------------------------------------------


def test_work_is_told_with_the_arguments_that_were_not_told_before() -> None:
    log = TaskLog()
    one = log.worker(1, slots=2)
    log.submitted("t", argument=b"first")
    first = log.machine.find(WorkQuery(log.task("t").agent, 0))
    assert [task.order.argument for task in first.tasks] == [b"first"]
    seen = first.workers[0].changed_index
    log.submitted("u", argument=b"second")
    second = log.machine.find(WorkQuery(log.task("t").agent, seen))
    assert [task.order.argument for task in second.tasks] == [b"", b"second"]
    assert second.workers[0].changed_index > seen
    log.complete(one, "t")
    log.complete(one, "u")
    assert log.machine.find(WorkQuery(log.task("t").agent, seen)).tasks == ()


def test_tasks_are_listed_by_status_the_newest_first() -> None:
    log = TaskLog()
    one = log.worker(1)
    log.submitted("t", "u", "v", "w", argument=b"x")
    log.complete(one, "t")
    log.fail(one, "u")

    def listed(*statuses: TaskStatus, limit: int = 9) -> list[str]:
        found = log.machine.find(TasksQuery(statuses, limit))
        assert found.task_count == 4  # However few are asked for.
        return [task.id for task in found.tasks if task.order.argument == task.result == b""]

    assert listed(TaskStatus.QUEUED, TaskStatus.LEASED) == ["w", "v"]
    assert listed(*TaskStatus) == ["w", "v", "u", "t"]
    assert listed(*TaskStatus, limit=3) == ["w", "v", "u"]
    assert listed(DEAD) == ["u"]


# ---- limits and malformed commands -----------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (order(""), "invalid"),
        (order(argument=b"x" * 9), "too_large"),
        (order(requires=[("b", 1), ("a", 1)]), "invalid"),
        (order(requires=[("a", 1), ("a", 2)]), "invalid"),
        (order(requires=[("a", -1)]), "invalid"),
        (order(requires=[("a", 1), ("b", 1), ("c", 1)]), "invalid"),
        (order(priority=101), "invalid"),
        (order(priority=-101), "invalid"),
        (order(retries=-1), "invalid"),
        (order(retries=1001), "invalid"),
        (order(backoff=0), "invalid"),
        (order(backoff=10**12), "invalid"),
        (order(timeout=-1), "invalid"),
        (order(attempt_timeout=INTEGER_MAX), "invalid"),
        (order(key="\n", strategy=Strategy.RENDEZVOUS), "invalid"),
    ],
)
def test_a_malformed_order_is_refused(asked: TaskOrder, why: str) -> None:
    log = TaskLog(Limits(task_argument_bytes_max=8, task_requirements_max=2))
    log.worker(1, a=9, b=9, c=9)
    assert reason(log.submit("t", asked)) == why
    assert log.find("t") is None


def test_offers_are_bounded_and_well_formed() -> None:
    log = TaskLog(Limits(offers_per_agent_max=2, task_slots_max=8))
    one = log.worker(1)
    assert reason(log.offer(one, "a", "b", "c")) == "limit"
    assert reason(log.offer(one, "a", "a")) == "invalid"
    assert reason(log.offer(one, "")) == "invalid"
    assert reason(log.offer(one, "a", slots=9)) == "invalid"
    assert reason(log.offer(one, "a", slots=-1)) == "invalid"
    assert reason(log.offer(one, "a", lease=0)) == "invalid"
    assert log.worker_record(1).names == ("work",)
    assert reason(log.offer(one, "a", "b", slots=8)) == "", "as much as is allowed"


def test_open_tasks_are_bounded_in_number_and_bytes() -> None:
    log = TaskLog(Limits(open_tasks_max=2, tasks_bytes_max=10))
    one = log.worker(1)
    log.submitted("t", argument=b"123456")
    assert reason(log.submit("u", order(argument=b"12345"))) == "limit"
    log.submitted("u")
    assert reason(log.submit("v")) == "limit"
    log.complete(one, "t")
    log.submitted("v")


def test_finished_tasks_are_forgotten_oldest_first_and_dead_ones_apart() -> None:
    log = TaskLog(Limits(finished_tasks_max=2, dead_tasks_max=1, tasks_bytes_max=10))
    one = log.worker(1)
    log.submitted("bad")
    log.fail(one, "bad")
    for task in ("t", "u", "v"):
        log.submitted(task)
        log.complete(one, task)
    assert [log.find(task) is None for task in ("bad", "t", "u", "v")] == [
        False,
        True,
        False,
        False,
    ]
    log.submitted("large")
    log.complete(one, "large", result=b"123456789")
    assert [log.find(task) is None for task in ("u", "v", "large")] == [True, False, False]
    log.submitted("worse")
    log.fail(one, "worse")
    assert log.find("bad") is None


def test_results_and_errors_that_are_too_large_are_refused_and_the_lease_stands() -> None:
    log = TaskLog(Limits(task_result_bytes_max=3))
    one = log.worker(1)
    log.submitted("t")
    assert reason(log.complete(one, "t", result=b"1234")) == "too_large"
    assert reason(log.fail(one, "t", error=TaskError("E", "x" * 20_480, ""))) == "too_large"
    assert log.shown("t") == ("leased", "a1")
    assert reason(log.complete(one, "t", result=b"123")) == ""


def test_what_has_ended_in_any_way_makes_room_for_the_arguments_of_others() -> None:
    log = TaskLog(Limits(tasks_bytes_max=10))
    one = log.worker(1)
    for number in range(12):
        for end in ("complete", "fail", "cancel"):
            task = f"{end} {number}"
            assert reason(log.submit(task, order(argument=b"123456"))) == ""
            assert reason(log.submit("more", order(argument=b"12345"))) == "limit"
            if end == "complete":
                log.complete(one, task)
            elif end == "fail":
                log.fail(one, task)
            else:
                log.cancel(task)


def test_an_order_at_every_bound_is_taken() -> None:
    log = TaskLog(Limits(task_argument_bytes_max=8, task_requirements_max=2))
    log.worker(1, a=9, b=9)
    for number, asked in enumerate(
        (
            order(argument=b"x" * 8),
            order(requires=[("a", 0), ("b", 1)]),
            order(priority=100),
            order(priority=-100),
            order(retries=1000),
            order(backoff=1),
        )
    ):
        assert reason(log.submit(f"t{number}", asked)) == ""
