"""A search for hyper-parameters without a database: `python -m examples.hyperparameter_search`.

Several peers run trials of one study, which lives in their log. They elect a coordinator, who
proposes narrower ranges after each round; each peer votes by the trials that it ran itself. The
coordinator is killed in the middle: the others wait for it for some seconds, and go on. One peer
that does as many trials is the comparison; for the times, compare with --no-kill.
"""

import sys
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from examples.common.options import Options, parsed
from examples.common.peers import Peers
from examples.common.picture import Series, chart, stacked, staircase
from examples.common.report import Report, carried_out

NAME = "hyperparameter_search"
ROUNDS, TRIALS = 4, 6
ROUNDS_QUICK, TRIALS_QUICK = 3, 2
"""Trials are those of each peer in each round."""
KILL_ROUND = 2
GOOD = 0.96
"""Accuracy that a search must reach; the ranges are mostly much worse."""
SECONDS_MAX = 300.0

Facts = dict[str, Any]


class Search:
    """What so many peers have told."""

    def __init__(
        self, options: Options, count: int, trials: int, rounds: int, *, kills: bool = False
    ) -> None:
        """kills: the coordinator, within a trial of round KILL_ROUND."""
        self.count = count
        self.told: list[Facts] = []
        """Trials, as whoever ran them told when it had."""
        self.studies: dict[str, list[Facts]] = {}
        """The whole study, as each peer saw it at the end."""
        self.ballots: list[Facts] = []
        self.killed: str | None = None
        killed_in = KILL_ROUND if kills else None
        self._task = {
            "seed": options.seed,
            "trials": trials,
            "rounds": rounds,
            "killed_in": killed_in,
        }

    async def watch(self) -> None:
        module = "examples.hyperparameter_search.searcher"
        async with Peers(module, self.count, self._task) as peers:
            async for name, said in peers.told():
                match said["event"]:
                    case "trial":
                        self.told.append(said)
                    case "study":
                        self.studies[name] = said["trials"]  # type: ignore[assignment]
                    case "decided":
                        self.ballots.append(said)
                    case _:  # It hangs.
                        self.killed = name
                        await peers.kill(name)
                        print(f"killed {name}, the coordinator, in round {KILL_ROUND}")

    @property
    def study(self) -> list[Facts]:
        return next(iter(self.studies.values()))

    @property
    def completed(self) -> list[Facts]:
        """In the order in which they ended."""
        done = [trial for trial in self.study if trial["state"] == "COMPLETE"]
        return sorted(done, key=lambda trial: float(trial["ended"]))

    @property
    def seconds(self) -> float:
        """From the first trial's beginning to the last one's end."""
        return float(self.completed[-1]["ended"]) - self.began

    @property
    def began(self) -> float:
        return min(float(trial["began"]) for trial in self.study)

    @property
    def best(self) -> list[float]:
        """The best accuracy so far, after each trial."""
        return list(accumulate((float(trial["value"]) for trial in self.completed), max))


def claims(many: Search, one: Search, report: Report) -> None:
    kept = {trial["number"]: trial for trial in many.study}
    lost = [
        trial
        for trial in many.told
        if {key: trial[key] for key in kept[0]} != kept.get(trial["number"])
    ]
    report.claim(f"all {len(many.told)} trials that were told are in the study", not lost)
    alike = all(study == many.study for study in many.studies.values())
    expected = many.count - (many.killed is not None)
    report.claim(
        f"{len(many.studies)} peers have the same study, trial by trial",
        alike and len(many.studies) == expected,
    )
    agreed = [ballot for ballot in many.ballots if ballot["status"] == "accepted"]
    report.claim(
        f"{len(agreed)} of {len(many.ballots)} proposals to narrow the ranges were accepted",
        bool(agreed),
    )
    if many.killed is not None:
        theirs = [trial for trial in many.study if trial["peer"] == many.killed]
        report.claim(
            f"of {many.killed}, killed in the middle, {len(theirs)} trials are there, and none is "
            "left running",
            bool(theirs) and all(trial["state"] in ("COMPLETE", "FAIL") for trial in many.study),
        )
        later = {b["coordinator"] for b in many.ballots if int(b["round"]) >= KILL_ROUND}
        report.claim(
            f"another coordinator took over: {', '.join(sorted(later)) or 'nobody'}",
            bool(later) and many.killed not in later,
        )
    report.claim(
        f"{many.count} peers found {many.best[-1]:.3f}, one found {one.best[-1]:.3f} "
        f"(at least {GOOD:g})",
        min(many.best[-1], one.best[-1]) >= GOOD,
    )


def picture(searches: Iterable[Search]) -> str:
    by_trials, by_time = [], []
    for search in searches:
        label = "one peer" if search.count == 1 else f"{search.count} peers"
        best = search.best
        times = [float(trial["ended"]) - search.began for trial in search.completed]
        by_trials.append(Series(label, staircase(list(enumerate(best, 1)))))
        by_time.append(Series(label, staircase(list(zip(times, best, strict=True)))))
    return stacked(
        [
            chart("Best accuracy so far, by trials", "trials", "accuracy", by_trials),
            chart("Best accuracy so far, by time", "seconds", "accuracy", by_time),
        ]
    )


async def main(options: Options) -> int:
    rounds, trials = (ROUNDS_QUICK, TRIALS_QUICK) if options.quick else (ROUNDS, TRIALS)
    report = Report(NAME, options)
    many = Search(options, options.peers, trials, rounds, kills=options.kill)
    await many.watch()
    each = max(1, round(len(many.completed) / rounds))
    one = Search(options, 1, each, rounds)
    await one.watch()
    claims(many, one, report)
    searches = (many, one)
    report.table(
        ("peers", "trials", "seconds", "best accuracy"),
        [(s.count, len(s.completed), f"{s.seconds:.1f}", f"{s.best[-1]:.4f}") for s in searches],
    )
    facts = {
        "killed": many.killed,
        "ballots": many.ballots,
        "searches": [
            {"peers": s.count, "seconds": s.seconds, "best": s.best, "trials": s.study}
            for s in searches
        ],
    }
    return report.finish(facts, picture(searches))


if __name__ == "__main__":
    chosen = parsed(f"examples.{NAME}", __doc__.splitlines()[0], peers=4, peers_min=4)
    sys.exit(carried_out(lambda: main(chosen), SECONDS_MAX))
