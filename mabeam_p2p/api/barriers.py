"""Barriers: agents wait for each other, and all of a generation see the same end."""

import asyncio
import logging
from types import TracebackType
from typing import Literal

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import Release
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import microseconds, whole
from mabeam_p2p.commands import Arrive
from mabeam_p2p.errors import BarrierBroken, InvalidValue, MabeamTimeout, Rejected
from mabeam_p2p.ids import CLUSTER_SESSION, check_key
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import GenerationQuery

_log = logging.getLogger(__name__)

OnDepartureWord = Literal["break", "shrink", "wait"]

_ON_DEPARTURE: dict[OnDepartureWord, OnDeparture] = {
    "break": OnDeparture.BREAK,
    "shrink": OnDeparture.SHRINK,
    "wait": OnDeparture.WAIT,
}

END_GRACE_SECONDS = 5.0
"""How much later than its deadline the end of a generation may reach this agent: the log closes
it, and a change of leader may come between."""


class Barrier:
    """One name under which agents meet. Waits on `wait`; entered with `async with` it is double:
    all enter together and leave together."""

    def __init__(
        self,
        attachment: Attachment,
        session: Session,
        agent: str,
        name: str,
        *,
        parties: int,
        timeout: float | None,
        on_departure: OnDepartureWord,
    ) -> None:
        if whole(parties, "parties") < 1:
            raise InvalidValue(f"barrier {name!r} for {parties} parties: take 1 or more")
        if on_departure not in _ON_DEPARTURE:
            raise InvalidValue(f"on_departure {on_departure!r}: take break, shrink or wait")
        self.name = check_key(name, "barrier")
        self.parties = parties
        self.timeout = attachment.timing.barrier_timeout_seconds if timeout is None else timeout
        self.on_departure = on_departure
        self._attachment = attachment
        self._session = session
        self._agent = agent
        self._standing: dict[str, int] = {}
        """Generations at which this agent has arrived and whose end it has not heard: the next wait
        is for that end, and begins no other one."""

    async def wait(self, timeout: float | None = None) -> Release:
        """Arrive, and return when all parties have.

        timeout: seconds from the first arrival, decided in the log; every party must give the
        same. None takes the barrier's. Raises BarrierBroken if the generation ended otherwise,
        BarrierMismatch if it runs with other parameters, NoQuorum, and MabeamTimeout if its end
        did not reach this agent. After that, or a cancellation, waiting again waits for the end of
        the same generation.
        """
        return await self._pass(self.name, self.timeout if timeout is None else timeout)

    async def __aenter__(self) -> Release:
        return await self._pass(f"{self.name}/enter", self.timeout)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Who failed inside does not leave with the others: theirs breaks, and they know.
        if kind is None:
            await self._pass(f"{self.name}/leave", self.timeout)

    async def _pass(self, name: str, timeout: float) -> Release:
        loop = asyncio.get_running_loop()
        began = loop.time()
        there = len(self._attachment.view.agents())
        if self.parties > there:
            _log.warning(
                "barrier %r wants %d parties and %d agents are there: more must join before its "
                "timeout",
                name,
                self.parties,
                there,
            )
        command = Arrive(
            CLUSTER_SESSION,
            0,
            name,
            self.parties,
            microseconds(timeout),
            _ON_DEPARTURE[self.on_departure],
            generation=self._standing.get(name, 0),
        )
        try:
            arrived = await self._session.commit(command, f"arriving at barrier {name!r}", timeout)
        except Rejected:
            # It is too old to be remembered: the next wait is for another one.
            self._standing.pop(name, None)
            raise
        self._standing[name] = arrived.number
        deadline = loop.time() + timeout + END_GRACE_SECONDS
        generation = await self._end_of(name, arrived.number, deadline)
        del self._standing[name]
        # An agent whose session ended while it waited was let go without it.
        if generation.status is BarrierStatus.RELEASED and self._agent in generation.arrived:
            return Release.of(generation, self._agent, loop.time() - began)
        raise self._broken(generation)

    async def _end_of(self, name: str, number: int, deadline: float) -> Generation:
        """The finished generation."""
        found = await self._attachment.settled(
            GenerationQuery(name, number), f"waiting at barrier {name!r}", deadline
        )
        if found is None:
            raise MabeamTimeout(
                f"peer {self._attachment.peer_name} has not heard the end of generation "
                f"{number} of barrier {name!r}; the arrival stands: see `mabeam status` "
                "for a quorum, then wait again"
            )
        return found.generations[0]

    def _broken(self, generation: Generation) -> BarrierBroken:
        arrived = tuple(map(str, generation.arrived))
        is_released = generation.status is BarrierStatus.RELEASED
        reason = f"departed: {self._agent}" if is_released else generation.reason
        missing_count = max(0, generation.parties - len(arrived))
        return BarrierBroken(
            f"generation {generation.generation} of barrier {generation.barrier!r} broke at peer "
            f"{self._attachment.peer_name}: {reason}; {len(arrived)} of "
            f"{generation.parties} had arrived ({', '.join(arrived)}), {missing_count} missing; "
            "see `mabeam members` for who is there, and wait again",
            reason=reason,
            arrived=arrived,
            missing_count=missing_count,
        )
