"""What an agent thinks of proposals, and when it says so.

1. The evaluators of the proposal's group are asked first, then those for every group; among each,
   the most specific pattern speaks. Patterns are held against the name as the group has it.
2. A value that breaks what its parameter was declared to be is rejected, and no evaluator is asked.
   No evaluator: abstain. It raises, returns something else than a Vote, or overruns its time:
   abstain, with the error as rationale. Never a silent accept.
3. A plain function runs in a thread of its own, a coroutine function in the agent's loop.
4. Each proposal is evaluated once at a time; again if the vote did not get through, when the agent
   is attached anew.
5. An agent that votes manually says nothing by itself where it has no evaluator.
6. Nothing is said before `begin`: an agent is in the electorate as soon as the log has its session,
   but the program declares its evaluators only when joining has returned.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from mabeam_p2p.api.calls import Calls
from mabeam_p2p.api.patterns import Patterns
from mabeam_p2p.api.results import Proposal, Vote, seconds
from mabeam_p2p.api.values import text_of
from mabeam_p2p.errors import Closed
from mabeam_p2p.ids import ProposalId, unscoped
from mabeam_p2p.records import Proposal as ProposalRecord

Evaluator = Callable[[Proposal], Vote | Awaitable[Vote]]

TIME_SHARE = 0.8
"""Of what remains until the deadline, what an evaluator may take unless it was given less."""

SETTLING_SECONDS = 1.0
"""How long after `begin` a proposal without an evaluator waits for one to come."""

NO_EVALUATOR = "no evaluator for this parameter"

Cast = Callable[[Proposal, Vote, float], Awaitable[None]]
"""Commits a vote; the number is how many seconds are left. Raises nothing but Closed."""


@dataclass(frozen=True, slots=True)
class _Declared:
    evaluator: Evaluator
    timeout: float | None


class Evaluators:
    """See the module."""

    def __init__(
        self,
        cast: Cast,
        *,
        votes_manually: bool,
        fault_of: Callable[[ProposalRecord], str | None] = lambda record: None,
    ) -> None:
        """fault_of: what is wrong with the proposed value, by its parameter's declaration."""
        self._cast = cast
        self._fault_of = fault_of
        self._votes_manually = votes_manually
        self._by_group: dict[str | None, Patterns[_Declared]] = {}
        self._running: dict[ProposalId, asyncio.Task[None]] = {}
        self._settled_at: float | None = None
        self._calls = Calls("evaluators")

    def declare(
        self, pattern: str, group: str | None, evaluator: Evaluator, timeout: float | None
    ) -> None:
        """`group` None: for proposals of every group."""
        patterns = self._by_group.setdefault(group, Patterns())
        patterns.declare(pattern, _Declared(evaluator, timeout))

    def begin(self) -> None:
        """The program has its agent. Whoever calls this considers then what is open."""
        self._settled_at = asyncio.get_running_loop().time() + SETTLING_SECONDS

    def consider(self, record: ProposalRecord) -> None:
        """Evaluate an open proposal that the agent has not voted on, and vote."""
        if self._settled_at is None or record.id in self._running:
            return
        task = asyncio.create_task(self._evaluate(record), name=f"evaluate {record.id}")
        self._running[record.id] = task
        task.add_done_callback(lambda _: self._running.pop(record.id, None))

    def dismiss(self, proposal: ProposalId) -> None:
        """The proposal has been decided: nobody needs the opinion any more."""
        if (task := self._running.get(proposal)) is not None:
            task.cancel()

    async def close(self) -> None:
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _evaluate(self, record: ProposalRecord) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + _remaining(record)
        fault = self._fault_of(record)
        declared = self._find(record)
        assert self._settled_at is not None, "nothing is evaluated before begin"
        if declared is None and fault is None:
            # The program may be about to declare its evaluators.
            await asyncio.sleep(min(self._settled_at, ends) - loop.time())
            declared = self._find(record)
        if (declared is None or fault is not None) and self._votes_manually:
            return
        proposal = Proposal.of(record)
        vote = Vote.abstain(NO_EVALUATOR)
        if fault is not None:
            vote = Vote.reject(fault)
        elif declared is not None:
            allowed = TIME_SHARE * (ends - loop.time())
            if declared.timeout is not None:
                allowed = min(allowed, declared.timeout)
            vote = await self._opinion(declared.evaluator, proposal, allowed)
        try:
            await self._cast(proposal, vote, max(0.0, ends - loop.time()))
        except Closed:
            return

    def _find(self, record: ProposalRecord) -> _Declared | None:
        name = unscoped(record.group, record.parameter)
        for group in (record.group, None):
            patterns = self._by_group.get(group)
            if patterns is not None and (found := patterns.find(name)) is not None:
                return found
        return None

    async def _opinion(self, evaluator: Evaluator, proposal: Proposal, allowed: float) -> Vote:
        try:
            async with asyncio.timeout(allowed) as scope:
                vote = await self._calls.call(partial(evaluator, proposal))
        except TimeoutError as error:
            if scope.expired():
                return Vote.abstain(f"the evaluator took longer than {allowed:.3g} s")
            return Vote.abstain(_told(error))
        except Exception as error:
            return Vote.abstain(_told(error))
        if isinstance(vote, Vote):
            return vote
        return Vote.abstain(f"the evaluator returned {type(vote).__name__}, and no Vote")


def _remaining(record: ProposalRecord) -> float:
    """Seconds until the deadline, at most: the log's clock has gone on since the last vote."""
    latest = max(vote.clock for vote in record.votes) if record.votes else record.opened_clock
    return seconds(record.deadline - latest)


def _told(error: BaseException) -> str:
    return f"the evaluator raised {type(error).__name__}: {text_of(error)}"
