"""One thing, one row: what of it is shown, and that it is bounded."""

import msgspec
import pytest

from mabeam_p2p.dashboard import rows
from mabeam_p2p.dashboard.fitting import Row
from mabeam_p2p.ids import AgentId, TaskId
from mabeam_p2p.records import (
    Account,
    Budget,
    Candidate,
    Currency,
    Election,
    Hold,
    Movement,
    MovementKind,
    Seat,
    Strategy,
    Task,
    TaskError,
    TaskOrder,
    TaskStatus,
    TaskWorker,
)

ADA = AgentId("ada@ant")
LONG = "x" * 5_000
ROW_BYTES_MAX = 4_096


def election() -> Election:
    return Election(
        "trainer", "all", 5, 1, 9_000_000, AgentId(""), (Candidate(ADA, 1, 500),), (ADA,),
    )  # fmt: skip


def task(status: TaskStatus, error: TaskError | None = None) -> Task:
    order = TaskOrder("resize", b"canary", Strategy.LEAST_LOADED, (), 5, 1, 0, 0, 0, "")
    has_ended = status >= TaskStatus.DONE
    return Task(
        TaskId("t1"), order, ADA, 1, 1_000_000, status, ADA, 3, 1_000_000,
        failures=2, steals=1, error=error, finished_index=9 if has_ended else 0,
        finished_clock=1_500_000 if has_ended else 0, reason="failed" if error else "",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (
            rows.seat(Seat("g:trainer", "g", ADA, 7, 2_000_000, 7, "elected"), election()),
            {"name": "g:trainer", "holder": ADA, "token": 7, "since": 2.0, "reason": "elected"},
        ),
        (rows.seat(Seat("s", "all", AgentId(""), 7, 2, 7, "left"), None), {"holder": None}),
        (
            rows.task(task(TaskStatus.DONE)),
            {"status": "done", "seconds": 0.5, "attempts": 3, "error": "", "agent": ADA},
        ),
        (
            rows.task(task(TaskStatus.DEAD, TaskError("ValueError", LONG, LONG))),
            {"status": "dead", "reason": "failed"},
        ),
        (rows.task(task(TaskStatus.LEASED)), {"status": "leased", "seconds": None}),
        (
            rows.worker(TaskWorker(ADA, ("resize",), 4, 2, 1, 9, 1_250, True, 1)),
            {"running": 2, "slots": 4, "queued": 1, "done": 9, "pace": 1.25, "silent": True},
        ),
        (
            rows.currency(Currency("eur", ADA, 10_500_000, 500_000)),
            {"name": "eur", "issuer": ADA, "minted": "10.5", "burned": "0.5"},
        ),
        (
            rows.account(Account(ADA, "eur", 2**53 - 1, 1)),
            {"balance": "9007199254.740991", "held": "0.000001"},
        ),
        (
            rows.hold(Hold("h1", ADA, "eur", 1_000_000, "bo@bee", 9_000_000, 1, 1)),
            {"id": "h1", "amount": "1", "payee": "bo@bee", "deadline": 9.0, "escrow": False},
        ),
        (
            rows.budget(Budget("b", ADA, 5_000_000, 1_000_000, 500_000, "", 0, 0, 1, 1)),
            {"limit": "5", "spent": "1", "reserved": "0.5", "free": "3.5"},
        ),
        (
            rows.movement(
                Movement(3, MovementKind.MINT, "o", ADA, "", ADA, "eur", 1_000_000, "", 1, 1, LONG)
            ),
            {"id": 3, "kind": "mint", "source": "", "target": ADA, "amount": "1"},
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_a_row_tells_what_the_api_does_and_no_more_than_fits(row: Row, shown: Row) -> None:
    assert {name: row[name] for name in shown} == shown
    assert "id" in row
    encoded = msgspec.json.encode(row)
    assert len(encoded) < ROW_BYTES_MAX
    # Arguments and tracebacks are for those who ask for the task.
    assert b"canary" not in encoded


def test_an_election_that_runs_tells_who_stands() -> None:
    row = rows.seat(Seat("trainer", "all", AgentId(""), 0, 0, 5, ""), election())
    assert row["election"] == {"candidates": {"shown": [ADA], "count": 1}, "deadline": 9.0}
