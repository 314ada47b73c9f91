"""How an agent ranks the candidates of an election, and when it says so.

1. The functions of the election's group are asked first, then those for every group; among each,
   the most specific pattern speaks. Patterns are held against the seat's name as the group has it.
2. No function: an empty ballot, by the published scores. It raises, returns something else than
   points of candidates, or overruns its time: likewise, and a warning in the log.
3. Nothing is said before `begin`, and SETTLING_SECONDS after it where there is no function: the
   program may be about to declare it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from mabeam_p2p.api.calls import Calls
from mabeam_p2p.api.evaluators import SETTLING_SECONDS, TIME_SHARE
from mabeam_p2p.api.patterns import Patterns
from mabeam_p2p.api.results import seconds
from mabeam_p2p.api.results.seats import Election, thousandths
from mabeam_p2p.api.values import text_of
from mabeam_p2p.errors import InvalidValue, MabeamError
from mabeam_p2p.ids import AgentId, unscoped
from mabeam_p2p.records import Election as ElectionRecord

_log = logging.getLogger(__name__)

Ranker = Callable[[Election], Mapping[str, float] | Awaitable[Mapping[str, float]]]
"""Gives each candidate, by agent id, points from 0 to 1; who is not named gets none."""

Points = tuple[tuple[AgentId, int], ...]

Cast = Callable[[ElectionRecord, Points, float], Awaitable[None]]
"""Commits a ballot; the number is how many seconds are left. May raise MabeamError."""


class Rankings:
    """The ballots of one agent."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._by_group: dict[str | None, Patterns[Ranker]] = {}
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._settled_at: float | None = None
        self._calls = Calls("ranking functions")

    def declare(self, pattern: str, group: str | None, ranker: Ranker) -> None:
        """`group` None: for the seats of every group."""
        self._by_group.setdefault(group, Patterns()).declare(pattern, ranker)

    def begin(self) -> None:
        """The program has its agent. Whoever calls this considers then what is open."""
        self._settled_at = asyncio.get_running_loop().time() + SETTLING_SECONDS

    def consider(self, record: ElectionRecord) -> None:
        """Cast a ballot in an election that the agent is asked in."""
        key = record.seat, record.opened_index
        if self._settled_at is None or key in self._running:
            return
        task = asyncio.create_task(self._rank(record), name=f"rank {record.seat}")
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))

    def dismiss(self, record: ElectionRecord) -> None:
        """The election has ended: nobody needs the ballot any more."""
        if (task := self._running.get((record.seat, record.opened_index))) is not None:
            task.cancel()

    async def close(self) -> None:
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _rank(self, record: ElectionRecord) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds(record.deadline - record.opened_clock)
        assert self._settled_at is not None, "nothing is ranked before begin"
        ranker = self._find(record)
        if ranker is None:
            await asyncio.sleep(min(self._settled_at, ends) - loop.time())
            ranker = self._find(record)
        points: Points = ()
        if ranker is not None:
            points = await self._points(ranker, record, TIME_SHARE * (ends - loop.time()))
        try:
            await self._cast(record, points, max(0.0, ends - loop.time()))
        except MabeamError as error:
            # It may have ended meanwhile, and a ballot that is missing is an empty one.
            _log.info("ballot on seat %s not recorded: %s", record.seat, error)

    def _find(self, record: ElectionRecord) -> Ranker | None:
        name = unscoped(record.group, record.seat)
        for group in (record.group, None):
            patterns = self._by_group.get(group)
            if patterns is not None and (found := patterns.find(name)) is not None:
                return found
        return None

    async def _points(self, ranker: Ranker, record: ElectionRecord, allowed: float) -> Points:
        try:
            async with asyncio.timeout(allowed):
                ranking = await self._calls.call(partial(ranker, Election.of(record)))
            return _checked(ranking, record)
        except Exception as error:
            told = f"{type(error).__name__}: {text_of(error)}"
            _log.warning("no ranking for seat %s, so the scores rank: %s", record.seat, told)
            return ()


def _checked(ranking: object, record: ElectionRecord) -> Points:
    """Raises InvalidValue."""
    if not isinstance(ranking, Mapping):
        raise InvalidValue(f"the function returned {type(ranking).__name__}, and no mapping")
    known = {str(one.agent) for one in record.candidates}
    strangers = [str(name) for name in ranking if name not in known]
    if strangers:
        raise InvalidValue(f"{', '.join(strangers)}: no candidates of this election")
    return tuple(
        (AgentId(name), given) for name, given in thousandths(ranking, "the points of candidate")
    )
