"""Fixed seeds, every invariant at every step: what a change must not break.

More of them: tools/simulate --seeds N --first S.
"""

from collections import Counter
from functools import cache
from random import Random
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from mabeam_p2p.records import ProposalStatus
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.trial import Report, Trial, judge, replay_command, run
from mabeam_p2p.testing.weather import SECOND, draw

STORM = 8.0
EXPECTED = (
    *(f"ballot {one.name}" for one in ProposalStatus if one is not ProposalStatus.OPEN),
    *("guarded value that stood", "guarded value that went back"),
    *("barrier RELEASED", "barrier BROKEN", "meeting RELEASED", "meeting BROKEN"),
    *("auction AWARDED", "auction UNSOLD", "auction CANCELLED"),
    *("task DONE", "task DEAD", "task CANCELLED", "task that requires something"),
    *("seat", "money", "budget"),
    *("counter add", "counter get", "counter set", "counter compare_and_set"),
    *("lock acquire", "lock release", "lock renew", "lock refused", "lock lost"),
    *("semaphore acquire", "table acquire"),
    *("queue put", "queue take", "queue acknowledge", "queue return", "queue empty"),
)
"""What some of the first seeds bring about."""

GROUPS = 28
"""All of them simulate clusters for half an hour of their own time."""
SEEDS_PER_GROUP = 4


class Judged(NamedTuple):
    """A seed's run, and how often each of EXPECTED came up in it."""

    report: Report
    came: Counter[str]


@cache
def judged(seed: int) -> Judged:
    trial = Trial(seed)
    return Judged(judge(trial, int(STORM * SECOND)), what_came(trial))


def what_came(trial: Trial) -> Counter[str]:
    outcomes = trial.outcomes
    came = Counter(f"ballot {one.status.name}" for one in outcomes.decided.values())
    came.update(f"auction {one.status.name}" for one in outcomes.auctions.closed.values())
    came.update(f"task {one.status.name}" for one in outcomes.tasks.tasks.values())
    came["task that requires something"] = sum(
        bool(one.order.requires and one.token) for one in outcomes.tasks.tasks.values()
    )
    came["guarded value that stood"] = outcomes.parameters.stood
    came["guarded value that went back"] = outcomes.parameters.went_back
    came["seat"] = outcomes.seats.elections
    came["money"] = sum(outcomes.audit.outstanding.values())
    came["budget"] = sum(outcomes.audit.spent_most.values())
    for generation in outcomes.generations.values():
        kind = "meeting" if generation.members else "barrier"
        came[f"{kind} {generation.status.name}"] += 1
    for call in trial.workload.calls.history:
        if not call.may:
            came[f"{call.key.partition('-')[0]} {call.action}"] += 1
    return came


@pytest.mark.fault("U10")
@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_no_rule_is_broken_and_every_run_settles(group: int) -> None:
    for seed in range(group * SEEDS_PER_GROUP, (group + 1) * SEEDS_PER_GROUP):
        violation = judged(seed).report.violation
        assert violation is None, f"{violation}\n{replay_command(seed, STORM)}"


@pytest.mark.slow
def test_the_runs_do_what_they_are_for() -> None:
    """A simulator whose clusters never work, or never fail, proves nothing."""
    reports = [judged(seed).report for seed in range(12)]
    assert sum(report.acknowledged for report in reports) > 300
    assert sum(report.crashes for report in reports) > 0
    assert sum(report.leaders for report in reports) > len(reports)
    assert len({report.peers for report in reports}) > 2


@pytest.mark.slow
def test_what_agents_do_comes_to_all_that_is_judged() -> None:
    """A rule proves nothing where its case never comes up: of ballots that none can win all are
    judged alike."""
    came = sum((judged(seed).came for seed in range(28)), Counter[str]())
    lacking = [what for what in EXPECTED if not came[what]]
    assert not lacking, f"{lacking} of {came}"


def test_a_failure_prints_the_command_that_replays_it() -> None:
    assert replay_command(7, 8.0) == "tools/simulate --seed 7 --seconds 8"


def test_a_report_knows_whether_rules_held() -> None:
    report = run("a short one", 0.5)
    assert isinstance(report, Report)
    assert report.violation is None


@pytest.mark.slow
def test_a_cluster_that_never_settles_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Trial("split for good", replace(draw(Random(1)), peers=2, expect=2))
    monkeypatch.setattr(made.simulator.links, "heal", lambda: None)
    made.simulator.links.cut(((0, 1), (1, 0)))
    with pytest.raises(Violation, match="liveness"):
        made.run(1.0)
