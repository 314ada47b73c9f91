"""What the machine makes of seats, judged from commands, outcomes and events alone.

one holder    a seat is given to the winner of an election that ended at that index, to nobody else
growing       the tokens of a seat grow strictly
alive         who gets a seat is live, eligible and in its group there, and has not stood down
recount       the winner is that of the ballots, counted anew; no early end that is not certain
no orphans    no seat is held by an agent that is gone, and no election outlives its deadline
"""

from mabeam_p2p.commands import AnyCommand, CastRanking, OpenSession, Resign, Stand
from mabeam_p2p.events import (
    AgentChanged,
    AgentJoined,
    AgentLeft,
    ElectionEnded,
    ElectionOpened,
    MachineEvent,
    SeatChanged,
)
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Agent, Election, Seat
from mabeam_p2p.requests import Committed, Outcome
from mabeam_p2p.testing.checkers import Violation

RULE = "seats"
BONUS = 100
FULL = 1000

Points = dict[AgentId, int]


class _Running:
    """An election that has not ended, and what was heard since it opened."""

    def __init__(self, opened: Election) -> None:
        self.opened = opened
        self.gone: dict[AgentId, None] = {}
        """Who has departed, or left the group, since."""


class SeatJudge:
    """Hears every applied batch: commands with outcomes first, then the events, then its clock."""

    def __init__(self) -> None:
        self.seats: dict[str, Seat] = {}
        """As last told."""
        self.elections = 0
        """Those that have ended with a winner."""
        self._live: dict[AgentId, Agent] = {}
        self._sessions: dict[SessionId, AgentId] = {}
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, Election] = {}
        self._tokens: dict[str, int] = {}
        self._ballots: dict[tuple[str, int], dict[AgentId, tuple[int, Points]]] = {}
        """By seat and election: the index and the points of each agent's first ballot."""
        self._stood_down: dict[tuple[str, AgentId], list[int]] = {}
        """Indices at which the agent has said that it does not want the seat."""

    # ---- what is heard -----------------------------------------------------------------------

    def took_effect(self, command: AnyCommand, outcome: Outcome) -> None:
        if not isinstance(outcome, Committed):
            return
        if isinstance(command, OpenSession):
            self._sessions[command.session] = command.agent
            return
        agent = self._sessions.get(command.session)
        if agent is None:
            return
        match command:
            case CastRanking(seat=seat, election=election, points=points):
                ballots = self._ballots.setdefault((seat, election), {})
                first = ballots.setdefault(agent, (outcome.index, dict(points)))
                if first[1] != dict(points):
                    raise Violation(RULE, f"{agent} has ranked {first[1]}, then {dict(points)}")
            case Stand(seat=seat, stands=False) | Resign(seat=seat):
                self._stood_down.setdefault((seat, agent), []).append(outcome.index)
            case _:
                pass

    def happened(self, event: MachineEvent) -> None:
        match event:
            case AgentJoined(agent=agent) | AgentChanged(agent=agent):
                self._live[agent.id] = agent
                for running in self._running.values():
                    if not _is_in(agent, running.opened.group):
                        running.gone[agent.id] = None
            case AgentLeft(agent=agent):
                if self._live.get(agent.id, agent).session == agent.session:
                    self._live.pop(agent.id, None)
                for running in self._running.values():
                    running.gone[agent.id] = None
            case ElectionOpened(election=election):
                self._opened(election)
            case ElectionEnded(election=election):
                self._on_end(election)
            case SeatChanged(seat=seat):
                self._changed(seat)
            case _:
                pass

    def passed(self, clock: int) -> None:
        """The batch has been heard; its stamp."""
        for name, seat in self.seats.items():
            if seat.holder and not self._can_hold(seat.holder, seat.group):
                raise Violation(RULE, f"{name} is held by {seat.holder}, which is gone: {seat}")
        for running in self._running.values():
            if running.opened.deadline <= clock and running.opened.opened_clock < clock:
                raise Violation(RULE, f"at {clock} an election has not ended: {running.opened}")

    # ---- the rules ---------------------------------------------------------------------------

    def _opened(self, election: Election) -> None:
        if election.seat in self._running:
            raise Violation(RULE, f"two elections at a time: {election}")
        if not election.candidates or not election.electorate:
            raise Violation(RULE, f"nobody can be elected, or elect: {election}")
        seat = self.seats.get(election.seat)
        if election.incumbent != ("" if seat is None else seat.holder):
            raise Violation(RULE, f"another one holds the seat: {election}, {seat}")
        for candidate in election.candidates:
            if not self._can_hold(candidate.agent, election.group):
                raise Violation(RULE, f"{candidate.agent} cannot be elected: {election}")
        for agent in election.electorate:
            if agent not in self._live or not _is_in(self._live[agent], election.group):
                raise Violation(RULE, f"{agent} is not there to rank: {election}")
        self._running[election.seat] = _Running(election)

    def _on_end(self, ended: Election) -> None:
        running = self._running.pop(ended.seat, None)
        if running is None or running.opened.opened_index != ended.opened_index:
            raise Violation(RULE, f"an election ends that was not running: {ended}")
        self._ended[ended.seat] = ended
        left = [one for one in ended.candidates if one.agent not in ended.struck]
        if not left:
            if ended.winner:
                raise Violation(RULE, f"a struck candidate wins: {ended}")
            return
        ballots = {
            agent: points
            for agent, (index, points) in self._ballots.get(
                (ended.seat, ended.opened_index), {}
            ).items()
            if index <= ended.closed_index
        }
        if any(agent not in running.opened.electorate for agent in ballots):
            raise Violation(RULE, f"somebody ranked who may not: {ended}")
        silent = [agent for agent in running.opened.electorate if agent not in ballots]
        winner, tally = recount(ended, ballots, len(silent))
        if ended.winner != winner or dict(ended.tally) != tally:
            raise Violation(RULE, f"{ballots} come to {winner} by {tally}: {ended}")
        self.elections += 1
        if ended.closed_clock < ended.deadline:
            missing = sum(agent not in running.gone for agent in silent)
            self._certain(ended, ballots, len(silent) - missing, missing)
        self._may_win(ended)

    def _certain(
        self, ended: Election, ballots: dict[AgentId, Points], empty: int, missing: int
    ) -> None:
        """No points of the missing ballots could have changed the winner."""
        for other in ended.candidates:
            if other.agent in ended.struck or other.agent == ended.winner:
                continue
            more = [{other.agent: FULL}] * missing
            extreme = {**ballots, **{AgentId(f"?{n}"): one for n, one in enumerate(more)}}
            winner, _ = recount(ended, extreme, empty)
            if winner != ended.winner:
                raise Violation(RULE, f"ended early, {missing} ballots could differ: {ended}")

    def _may_win(self, ended: Election) -> None:
        if not self._can_hold(ended.winner, ended.group):
            raise Violation(RULE, f"the winner is gone: {ended}")
        # Deadlines and leases are looked at before the command of the same index, which may be the
        # new holder's own.
        for index in self._stood_down.get((ended.seat, ended.winner), ()):
            if ended.opened_index < index < ended.closed_index:
                raise Violation(RULE, f"the winner had stood down at {index}: {ended}")

    def _changed(self, seat: Seat) -> None:
        before = self.seats.get(seat.name)
        self.seats[seat.name] = seat
        if not seat.holder:
            return
        if before is not None and (before.holder, before.token) == (seat.holder, seat.token):
            return
        ended = self._ended.get(seat.name)
        if ended is None or ended.winner != seat.holder or ended.closed_index != seat.token:
            raise Violation(RULE, f"given to nobody who was elected there: {seat}, {ended}")
        if seat.token <= self._tokens.get(seat.name, 0):
            raise Violation(RULE, f"its token does not grow: {seat}, before {before}")
        self._tokens[seat.name] = seat.token

    def _can_hold(self, agent: AgentId, group: str) -> bool:
        live = self._live.get(agent)
        return live is not None and live.eligible and _is_in(live, group)


def recount(
    election: Election, ballots: dict[AgentId, Points], empty_count: int
) -> tuple[AgentId, Points]:
    """Who wins, and the points of those that are left, by docs/protocol.md, Seats."""
    totals: Points = {}
    best: tuple[int, bool, int, AgentId] | None = None
    for one in election.candidates:
        is_incumbent = one.agent == election.incumbent
        default = min(FULL, one.score + BONUS) if is_incumbent else one.score
        total = empty_count * default
        for points in ballots.values():
            total += points.get(one.agent, 0) if points else default
        if one.agent in election.struck:
            continue
        totals[one.agent] = total
        place = (-total, not is_incumbent, one.joined_index, one.agent)
        best = place if best is None else min(best, place)
    assert best is not None, "somebody is left"
    return best[3], totals


def _is_in(agent: Agent, group: str) -> bool:
    return group == "all" or group in agent.groups
