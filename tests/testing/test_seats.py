"""The judge of seats: every rule is broken by hand once, and seen."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, CastRanking, OpenSession, Resign, Stand
from mabeam_p2p.events import (
    AgentChanged,
    AgentJoined,
    AgentLeft,
    ElectionEnded,
    ElectionOpened,
    SeatChanged,
)
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.records import Agent, Candidate, Election, ElectionStatus, Seat
from mabeam_p2p.requests import Committed, Refused
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.seats import SeatJudge

PEER = PeerId("a" * 16)
ONE, TWO, SIX = AgentId("one@a"), AgentId("two@a"), AgentId("six@a")
NOBODY = AgentId("")
OPENED = Election(
    seat="g:lead",
    group="g",
    opened_index=10,
    opened_clock=100,
    deadline=200,
    incumbent=NOBODY,
    candidates=(Candidate(ONE, 1, 300), Candidate(TWO, 2, 500)),
    electorate=(ONE, TWO),
)


def ended(winner: AgentId = TWO, **fields: object) -> Election:
    usual: dict[str, object] = {
        "status": ElectionStatus.ELECTED,
        "winner": winner,
        "tally": ((TWO, 1000), (ONE, 600)),
        "closed_index": 12,
        "closed_clock": 150,
        "reason": "decided",
    }
    return replace(OPENED, **(usual | fields))


def seat(holder: AgentId = TWO, token: int = 12) -> Seat:
    return Seat("g:lead", "g", holder, token, 150, token, "elected")


class Told:
    """A judge that has heard of two agents in group g, and of one elsewhere."""

    def __init__(self) -> None:
        self.judge = SeatJudge()
        self.agents: dict[AgentId, Agent] = {}
        for number, (name, groups) in enumerate(((ONE, ("g",)), (TWO, ("g",)), (SIX, ())), 1):
            session = SessionId(number)
            opening = OpenSession(session, 1, name, PEER, 1, groups, True, True)
            self.judge.took_effect(opening, Committed(number, 1))
            agent = Agent(name, PEER, 1, session, groups, True, True, (), number)
            self.agents[name] = agent
            self.judge.happened(AgentJoined(agent))

    def said(self, command: AnyCommand, index: int = 11) -> None:
        self.judge.took_effect(command, Committed(index, 1))

    def rank(self, session: int, points: dict[AgentId, int] | None = None, index: int = 11) -> None:
        given = tuple((points or {}).items())
        self.said(CastRanking(SessionId(session), 9, "g:lead", 10, given), index)

    def opened(self, election: Election = OPENED) -> "Told":
        self.judge.happened(ElectionOpened(election))
        return self

    def elected(self) -> "Told":
        self.opened()
        self.rank(1)
        self.rank(2)
        self.judge.happened(ElectionEnded(ended()))
        self.judge.happened(SeatChanged(seat()))
        self.judge.passed(150)
        return self


def broken(what: str) -> "pytest.RaisesExc[Violation]":
    return pytest.raises(Violation, match=f"^seats: .*{what}")


def test_what_keeps_the_rules_is_let_pass() -> None:
    told = Told().elected()
    assert told.judge.elections == 1
    assert told.judge.seats["g:lead"].holder == TWO


def test_a_refused_ballot_counts_for_nothing() -> None:
    told = Told().opened()
    told.judge.took_effect(
        CastRanking(SessionId(1), 9, "g:lead", 10, ((ONE, 1000),)), Refused("invalid", "")
    )
    told.rank(1)
    told.rank(2)
    told.judge.happened(ElectionEnded(ended()))


def test_a_wrong_winner_or_tally_is_seen() -> None:
    for wrong in (ended(ONE), ended(tally=((TWO, 1000), (ONE, 601)))):
        told = Told().opened()
        told.rank(1)
        told.rank(2)
        with broken("come to two@a"):
            told.judge.happened(ElectionEnded(wrong))


def test_a_ballot_that_came_behind_the_end_is_not_counted() -> None:
    told = Told().opened()
    told.rank(1)
    told.rank(2, {ONE: 1000}, index=13)
    with broken("could differ"):
        told.judge.happened(ElectionEnded(ended()))


def test_an_end_that_is_not_certain_is_seen_and_one_at_the_deadline_is_none() -> None:
    told = Told().opened()
    told.rank(1)
    with broken("ended early"):
        told.judge.happened(ElectionEnded(ended()))
    told = Told().opened()
    told.rank(1)
    told.judge.happened(ElectionEnded(ended(closed_clock=200)))


def test_who_departs_without_a_ballot_is_not_missing() -> None:
    told = Told().opened()
    told.rank(2)
    told.judge.happened(AgentLeft(told.agents[ONE], "closed"))
    only_two = ended(struck=(ONE,), tally=((TWO, 1000),))
    told.judge.happened(ElectionEnded(only_two))


def test_a_winner_that_is_gone_or_has_stood_down_is_seen() -> None:
    told = Told().opened()
    told.rank(1)
    told.rank(2)
    told.judge.happened(AgentLeft(told.agents[TWO], "closed"))
    with broken("the winner is gone"):
        told.judge.happened(ElectionEnded(ended()))
    for command in (Stand(SessionId(2), 8, "g:lead", False), Resign(SessionId(2), 8, "g:lead")):
        told = Told().opened()
        told.rank(1)
        told.rank(2)
        told.said(command, 11)
        with broken("had stood down"):
            told.judge.happened(ElectionEnded(ended()))


def test_a_winner_may_stand_down_in_the_batch_whose_stamp_ended_its_election() -> None:
    told = Told().opened()
    told.said(Stand(SessionId(2), 8, "g:lead", False), 12)
    late = ended(closed_clock=200, reason="deadline")
    told.judge.happened(ElectionEnded(late))
    told = Told().opened()
    told.said(Stand(SessionId(2), 8, "g:lead", False), 11)
    with broken("had stood down"):
        told.judge.happened(ElectionEnded(late))


def test_a_struck_candidate_that_wins_is_seen() -> None:
    told = Told().opened()
    with broken("a struck candidate wins"):
        told.judge.happened(ElectionEnded(ended(struck=(ONE, TWO))))


def test_two_elections_at_a_time_are_seen() -> None:
    with broken("two elections"):
        Told().opened().opened(replace(OPENED, opened_index=11))


def test_candidates_and_voters_from_elsewhere_are_seen() -> None:
    outsider = (*OPENED.candidates, Candidate(SIX, 3, 0))
    with broken("six@a cannot be elected"):
        Told().opened(replace(OPENED, candidates=outsider))
    with broken("six@a is not there to rank"):
        Told().opened(replace(OPENED, electorate=(ONE, SIX, TWO)))
    with broken("nobody can be elected"):
        Told().opened(replace(OPENED, candidates=()))
    with broken("another one holds"):
        Told().opened(replace(OPENED, incumbent=ONE))


def test_an_end_of_what_does_not_run_is_seen() -> None:
    with broken("not running"):
        Told().judge.happened(ElectionEnded(ended()))


def test_a_seat_given_without_an_election_is_seen() -> None:
    with broken("nobody who was elected"):
        Told().judge.happened(SeatChanged(seat()))
    for wrong in (seat(ONE), seat(TWO, 13)):
        told = Told().elected()
        with broken("nobody who was elected"):
            told.judge.happened(SeatChanged(wrong))


def test_a_token_that_does_not_grow_is_seen() -> None:
    told = Told().elected()
    told.judge.happened(SeatChanged(replace(seat(), holder=NOBODY)))
    with broken("does not grow"):
        told.judge.happened(SeatChanged(seat()))


def test_a_holder_that_is_gone_is_seen() -> None:
    for event in (
        lambda agent: AgentLeft(agent, "closed"),
        lambda agent: AgentChanged(replace(agent, groups=())),
    ):
        told = Told().elected()
        told.judge.happened(event(told.agents[TWO]))
        with broken("which is gone"):
            told.judge.passed(160)


def test_an_election_that_outlives_its_deadline_is_seen() -> None:
    told = Told().opened()
    told.judge.passed(199)
    with broken("has not ended"):
        told.judge.passed(200)


def test_two_ballots_of_one_agent_are_seen() -> None:
    told = Told().opened()
    told.rank(1, {ONE: 1})
    told.rank(1, {ONE: 1})
    with broken("has ranked"):
        told.rank(1, {ONE: 2})


def test_a_ballot_of_somebody_who_was_not_asked_is_seen() -> None:
    told = Told().opened()
    for session in (1, 2, 3):
        told.rank(session)
    with broken("who may not"):
        told.judge.happened(ElectionEnded(ended()))
