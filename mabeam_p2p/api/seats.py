"""The seats of one agent's groups: elections, scores, and what it holds."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.insisting import until_heard
from mabeam_p2p.api.results.seats import AMONG, AmongWord, Election, Seat, thousandths
from mabeam_p2p.api.sayings import Sayings
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.values import microseconds
from mabeam_p2p.commands import CastRanking, Elect, PublishScore, Resign, Stand
from mabeam_p2p.errors import ElectionTimeout, InvalidValue, NoCandidates
from mabeam_p2p.ids import CLUSTER_SESSION, GROUP_ALL, AgentId, check_key, scoped
from mabeam_p2p.records import Election as ElectionRecord
from mabeam_p2p.records import Seat as SeatRecord
from mabeam_p2p.requests import ElectionQuery, SeatQuery

END_GRACE_SECONDS = 5.0
"""How much later than its deadline the end of an election may reach this agent: the log ends it,
and a change of leader may come between."""

STAND_SECONDS = 12.0
"""How long what gives a seat up is waited for each time that it is said."""

RESIGN_SECONDS = 2.0
"""How long an agent that goes on waits for the log to hear what gives a seat up."""


class Seats:
    """What one agent asks of seats, in any of its groups."""

    def __init__(self, attachment: Attachment, session: Session, agent: Callable[[], str]) -> None:
        """agent: its id, as it is now."""
        self.attachment = attachment
        self.session = session
        self.farewells: dict[str, asyncio.Task[None]] = {}
        """By seat: what gives it up, or did last."""
        self._asking: Counter[str] = Counter()
        """By seat: how many of this agent ask for it now."""
        self._given: Counter[str] = Counter()
        """By seat: how often one of them was told who holds it."""
        self._owed: set[str] = set()
        """Seats of which something was cut off, or has to be said: that the agent gives them up."""
        self._agent = agent
        self._published: Sayings[tuple[tuple[str, int], ...]] = Sayings(())

    @property
    def agent(self) -> str:
        return self._agent()

    async def close(self) -> None:
        for farewell in self.farewells.values():
            farewell.cancel()
        await asyncio.gather(*self.farewells.values(), return_exceptions=True)

    def seat(self, group: str, name: str) -> Seat:
        """As this agent's peer has told."""
        record = self.record(_full_name(group, name))
        return Seat.vacant(name, group) if record is None else Seat.of(record, self.agent)

    def record(self, full_name: str) -> SeatRecord | None:
        """full_name: as the log has it."""
        return self.attachment.view.seats.entries.get(full_name)

    async def elect(
        self,
        group: str,
        name: str,
        *,
        timeout: float | None,
        challenge: bool,
        among: AmongWord,
        weights: Mapping[str, float] | None,
    ) -> Seat:
        """Raises NoCandidates, ElectionTimeout, NoQuorum, OutcomeUnknown."""
        seconds = self.attachment.timing.election_seconds if timeout is None else timeout
        command = self.command(
            group, name, seconds, self.can_hold(group), challenge, among, weights
        )
        full_name = command.seat
        sent: list[int] = []
        async with self.asking(group, name, RESIGN_SECONDS):
            was_held, given = self.seat(group, name).is_me, self._given[full_name]
            try:
                seat = await self._elected(command, group, name, seconds, sent.append)
            except asyncio.CancelledError:
                # What it has won by then nobody waits for, either.
                if command.stands and sent and not was_held and given == self._given[full_name]:
                    self._owed.add(full_name)
                raise
            except ElectionTimeout:
                # It stands, and the election goes on.
                self._heard(command, group, name)
                raise
            self._heard(command, group, name)
            return seat

    def _heard(self, command: Elect, group: str, name: str) -> None:
        if command.stands:
            self.given(group, name)

    async def _elected(
        self, command: Elect, group: str, name: str, seconds: float, on_sent: Callable[[int], None]
    ) -> Seat:
        """The holder. on_sent: hears the number of the command, before it is sent."""
        loop = asyncio.get_running_loop()
        full_name, what = command.seat, f"electing {name!r}"
        deadline = loop.time() + seconds + END_GRACE_SECONDS
        while True:
            committed = await self.session.commit(
                command, what, seconds, lambda session, number: on_sent(number)
            )
            number = committed.number
            while number:
                found = await self.attachment.settled(
                    ElectionQuery(full_name, number), what, deadline
                )
                if found is None:
                    raise self.late(name, group, seconds)
                if found.seats and found.seats[0].holder:
                    return Seat.of(found.seats[0], self.agent)
                running = found.seats[0].election if found.seats else None
                if running is None:
                    raise NoCandidates(
                        f"{what}: election {number} ended without a candidate in group {group!r}; "
                        "the seat goes to the next one that joins",
                        reason="no_candidates",
                    )
                number = running.opened_index
            held = await self.attachment.find(SeatQuery(full_name), what)
            if held.seats and held.seats[0].holder:
                return Seat.of(held.seats[0], self.agent)
            if loop.time() >= deadline:
                raise self.late(name, group, seconds)

    def command(
        self,
        group: str,
        name: str,
        seconds: float,
        stands: bool,
        challenge: bool,
        among: AmongWord,
        weights: Mapping[str, float] | None,
    ) -> Elect:
        if among not in AMONG:
            raise InvalidValue(f"among {among!r}: take eligible or standing")
        amounts = thousandths(weights or {}, "the weight of")
        if weights and not any(amount for _, amount in amounts):
            raise InvalidValue("all weights are 0: give one that is more")
        return Elect(
            CLUSTER_SESSION,
            0,
            _full_name(group, name),
            group,
            microseconds(seconds),
            stands,
            challenge,
            AMONG[among],
            amounts,
        )

    def can_hold(self, group: str) -> bool:
        """Whether this agent may hold a seat of the group."""
        profile = self.session.profile
        return profile is not None and profile.eligible and group in (GROUP_ALL, *profile.groups)

    def late(self, name: str, group: str, seconds: float) -> ElectionTimeout:
        return ElectionTimeout(
            f"peer {self.attachment.peer_name} has not heard within {seconds:g} s who holds seat "
            f"{name!r} of group {group!r}; the election goes on: see `mabeam status` for a "
            f"quorum, and `mabeam leader {name}`"
        )

    async def resign(self, group: str, name: str, token: int, seconds: float) -> None:
        """token 0: whichever grant the agent has. Raises NotHolder."""
        command = Resign(CLUSTER_SESSION, 0, _full_name(group, name), token)
        await self.session.commit(command, f"resigning from seat {name!r}", seconds)

    async def stand(self, group: str, name: str, stands: bool, seconds: float) -> None:
        """Raises UnknownSeat, NotEligible."""
        command = Stand(CLUSTER_SESSION, 0, _full_name(group, name), stands)
        await self.session.commit(command, f"standing for seat {name!r}", seconds)

    @contextlib.asynccontextmanager
    async def asking(self, group: str, name: str, timeout: float | None) -> AsyncIterator[None]:
        """While the seat is asked for. What gives it up must not come after what asks for it: its
        end is waited for first, or it is ended after so many seconds, and owed: it is said after
        all if nobody who asks meanwhile is `given` the seat's holder."""
        full_name = _full_name(group, name)
        self._asking[full_name] += 1
        try:
            farewell = self.farewells.get(full_name)
            if farewell is not None:
                await asyncio.wait({farewell}, timeout=timeout)
                if farewell.cancel():
                    self._owed.add(full_name)
            yield
        finally:
            self._asking[full_name] -= 1
            if full_name in self._owed:
                self.give_up(group, name)

    def given(self, group: str, name: str) -> None:
        """The agent stands for the seat by what it has asked last, and knows of it."""
        self._given[_full_name(group, name)] += 1
        self._owed.discard(_full_name(group, name))

    def give_up(self, group: str, name: str) -> asyncio.Task[None] | None:
        """Neither hold the seat nor want it any more. It is said until the log has heard it, while
        the agent has the session that it has; None: not before all who ask for it have ended, and
        not then if one of them is `given` it."""
        full_name = _full_name(group, name)
        if self._asking[full_name]:
            self._owed.add(full_name)
            return None
        self._owed.discard(full_name)
        if (former := self.farewells.get(full_name)) is not None:
            # It may be of a former session, and heard before what was asked since.
            former.cancel()
        session = self.session.id
        say = partial(self.stand, group, name, False, STAND_SECONDS)
        saying = asyncio.create_task(
            until_heard(say, lambda: self.session.id == session), name=f"leave seat {name}"
        )
        self.farewells[full_name] = saying
        return saying

    async def publish(
        self, group: str, seat: str | None, scores: Mapping[str, float], seconds: float
    ) -> None:
        """seat None: for every seat without a score of its own."""
        amounts = thousandths(scores, "the score")
        full_name = "" if seat is None else _full_name(group, seat)
        with self._published.saying(full_name, amounts):
            await self._publish(full_name, amounts, seconds)

    async def say_again(self) -> None:
        """The log has another session of this agent: say again what the old one said."""
        await self._published.say_again(self._publish)

    async def election(self, group: str, name: str) -> Election | None:
        """The running or last one, with every ballot."""
        full_name = _full_name(group, name)
        found = await self.attachment.find(ElectionQuery(full_name), f"reading seat {name!r}")
        one = (found.seats[0].election or found.seats[0].last) if found.seats else None
        return None if one is None else Election.of(one)

    async def cast(
        self, election: ElectionRecord, points: tuple[tuple[AgentId, int], ...], seconds: float
    ) -> None:
        command = CastRanking(CLUSTER_SESSION, 0, election.seat, election.opened_index, points)
        await self.session.commit(command, f"ranking for seat {election.seat!r}", seconds)

    async def _publish(
        self,
        full_name: str,
        amounts: tuple[tuple[str, int], ...],
        timeout: float | None = None,
    ) -> None:
        seconds = self.attachment.timing.request_timeout_seconds if timeout is None else timeout
        command = PublishScore(CLUSTER_SESSION, 0, full_name, amounts)
        await self.session.commit(command, "publishing scores", seconds)


def _full_name(group: str, name: str) -> str:
    """As the log has it. Raises InvalidName."""
    return check_key(scoped(group, check_key(name, "seat")), "seat")
