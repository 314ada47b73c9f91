"""When a peer stands, and when it takes an election over. Votes are no matter of this core."""

from math import inf
from random import Random

import pytest

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.election import Election
from mabeam_p2p.records import Standing

A, B, C, D = (PeerId(letter * 16) for letter in "abcd")
TIMING = Timing(election_timeout_seconds=0.5, candidacy_step_seconds=0.125)
SAME = Standing(1, 1, 5, 0)
BETTER = Standing(1, 1, 6, 0)
IDLE = Standing(1, 9, 9, 9, eligible=False)


def vacant(peer: PeerId = B, *, seed: int = 0) -> Election:
    """A peer that heard its leader for the last time at 0."""
    election = Election(peer, TIMING, Random(seed), 0.0)
    election.leader_heard(0.0)
    return election


def test_a_peer_that_starts_gives_a_leader_time_to_be_heard() -> None:
    dues = [Election(B, TIMING, Random(seed), 10.0).next_deadline() for seed in range(50)]
    assert all(10.5 <= due < 11.0 for due in dues)
    assert len(dict.fromkeys(dues)) > 40, "equal peers do not start together"


def test_equal_seeds_alone_do_not_make_equal_times() -> None:
    due = Election(B, TIMING, Random(7), 0.0).next_deadline()
    assert due == Election(B, TIMING, Random(7), 0.0).next_deadline(), "replay is exact"
    assert due != Election(B, TIMING, Random(8), 0.0).next_deadline()


def test_nobody_stands_before_the_leader_was_silent_for_the_election_timeout() -> None:
    election = vacant()
    for now in (0.25, 0.4375):
        assert not election.is_due(SAME, (), now)
    election.leader_heard(0.4375)
    assert not election.is_due(SAME, (), 0.5)
    assert not election.is_due(SAME, (), 0.875)
    assert election.is_due(SAME, (), 0.9375)


def test_the_highest_stands_at_once() -> None:
    assert vacant(A).is_due(SAME, ((B, SAME), (C, SAME)), 0.5)
    assert vacant(C).is_due(BETTER, ((A, SAME), (B, SAME)), 0.5)


def test_each_place_in_the_order_waits_a_step_longer() -> None:
    others = ((A, SAME), (B, BETTER), (D, SAME))
    election = vacant(C)
    assert not election.is_due(SAME, others, 0.5)
    assert election.next_deadline() == 0.75
    assert not election.is_due(SAME, others, 0.625)
    assert election.is_due(SAME, others, 0.75)


def test_nobody_waits_for_who_cannot_lead() -> None:
    assert vacant(B).is_due(SAME, ((A, IDLE),), 0.5)


def test_who_is_not_eligible_never_stands_and_looks_again() -> None:
    election = vacant(A)
    assert not election.is_due(IDLE, (), 0.5)
    assert election.next_deadline() == 1.0
    assert not election.answers_ok(IDLE, B, SAME, 0.5)
    assert election.is_due(SAME, (), 1.0), "eligible by then"


def test_who_may_not_lead_stands_where_its_log_is_wanted_again_and_again() -> None:
    """Else a majority of voters could be there, one of which may lead, and elect nobody: the votes
    of those that hold more are refused to it."""
    election = vacant(A)
    election.outran()
    assert not election.is_due(IDLE, (), 0.5), "the next candidate may be another"
    election.outran()
    assert not election.is_due(IDLE, (), 0.75)
    assert election.is_due(IDLE, ((B, SAME),), 1.0)
    assert not election.is_due(IDLE, (), 3.0), "and once, if it does not win"


def test_who_may_not_lead_stands_where_those_that_may_lack_its_log_and_never_stand() -> None:
    """One that has lost the entry by which it votes takes itself for a learner."""
    election = vacant(A)
    assert not election.is_due(IDLE, ((B, SAME),), 0.5)
    assert not election.is_due(IDLE, ((B, SAME),), 1.0), "it may stand yet"
    assert election.is_due(IDLE, ((B, SAME),), 1.5)


def test_who_may_not_lead_leaves_it_to_one_whose_log_is_as_good() -> None:
    election = vacant(A)
    others = ((B, SAME), (C, Standing(1, 9, 0, 0)))
    assert not any(election.is_due(IDLE, others, now) for now in (0.5, 1.0, 1.5, 2.0, 2.5))


def test_refusals_of_an_earlier_vacancy_count_for_nothing() -> None:
    election = vacant(A)
    election.outran()
    election.leader_heard(1.0)
    election.outran()
    assert not election.is_due(IDLE, (), 2.0)


def test_who_did_not_win_stands_again_after_a_random_time() -> None:
    dues = []
    for seed in range(30):
        election = vacant(A, seed=seed)
        assert election.is_due(SAME, (), 0.5)
        dues.append(election.next_deadline())
        assert not election.is_due(SAME, (), 0.5)
        assert election.is_due(SAME, ((B, BETTER),), dues[-1]), "in no order any more"
    assert all(1.0 <= due < 1.5 for due in dues)
    assert len(dict.fromkeys(dues)) > 20


def test_a_vote_or_an_ok_gives_another_time_to_win() -> None:
    for notice in (Election.vote_given, Election.was_answered_ok):
        election = vacant()
        notice(election, 0.25)
        assert 0.75 <= election.next_deadline() < 1.25
        notice(election, 0.0)
        assert election.next_deadline() >= 0.75, "never earlier than it was"


def test_a_leader_does_not_stand() -> None:
    election = vacant()
    election.leading()
    assert election.next_deadline() == inf
    assert not election.is_due(SAME, (), 1e9)
    election.vote_given(0.0)
    assert election.next_deadline() == inf


def test_who_has_lost_leadership_waits_for_a_successor_first() -> None:
    election = vacant()
    election.leading()
    election.leader_lost(10.0)
    assert 10.5 <= election.next_deadline() < 11.0
    assert not election.is_due(SAME, ((A, SAME),), 11.0), "and takes its place in the order"
    assert election.is_due(SAME, ((A, SAME),), 11.125)


def test_a_leader_that_leaves_opens_the_election_in_its_order() -> None:
    first, second = vacant(A), vacant(B)
    for election in (first, second):
        election.leader_heard(9.0)
        election.stand_in_turn(9.125)
    assert first.is_due(SAME, ((B, SAME),), 9.125)
    assert not second.is_due(SAME, ((A, SAME),), 9.125)
    assert second.is_due(SAME, ((A, SAME),), 9.25)


def test_who_is_told_to_stand_now_waits_for_nobody() -> None:
    election = vacant(C)
    election.stand_now(0.125)
    assert election.is_due(SAME, ((A, SAME), (B, BETTER)), 0.125)


@pytest.mark.parametrize(
    ("mine", "candidate", "theirs", "ok"),
    [
        (SAME, C, SAME, True),
        (SAME, A, SAME, False),
        (BETTER, A, SAME, True),
        (SAME, C, BETTER, False),
        (BETTER, A, Standing(1, 2, 0, 0), False),
    ],
)
def test_the_higher_peer_answers_ok_and_the_lower_does_not(
    mine: Standing, candidate: PeerId, theirs: Standing, ok: bool
) -> None:
    assert vacant(B).answers_ok(mine, candidate, theirs, 0.5) is ok


def test_ok_is_answered_once_in_a_vacancy() -> None:
    election = vacant(A)
    assert election.answers_ok(SAME, C, SAME, 0.25)
    assert not election.answers_ok(SAME, C, SAME, 0.25), "a copy of the request"
    assert not election.answers_ok(SAME, B, SAME, 0.25)
    assert not election.is_due(SAME, (), 0.25), "it stands already"
    assert 0.75 <= election.next_deadline() < 1.25
    election.leader_heard(1.0)
    assert election.answers_ok(SAME, C, SAME, 2.0), "in the next vacancy again"


def test_who_has_stood_answers_no_ok() -> None:
    election = vacant(A)
    assert election.is_due(SAME, (), 0.5)
    assert not election.answers_ok(SAME, B, SAME, 0.5)
