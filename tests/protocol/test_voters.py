"""What a leader changes of the voters by itself: the rules of protocol/voters.py, one by one."""

from itertools import product
from math import inf

import pytest

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.voters import VOTERS_LEAST, Roll, VoterDuty
from mabeam_p2p.records import Member, MemberState
from tests.protocol.raft_world import A, B, C, D, E, F, G

TIMING = Timing(voter_grace_seconds=60.0, voter_change_seconds=1.0, election_timeout_seconds=0.5)
ALIVE, SUSPECT, DEAD, LEFT = MemberState


class Seen:
    """What the leader A knows; everybody is alive, near and heard until it is said otherwise."""

    def __init__(self, *voters: PeerId, learners: tuple[PeerId, ...] = ()) -> None:
        self.voters = voters
        self.states = dict.fromkeys((*voters, *learners), ALIVE)
        self.silence = dict.fromkeys(voters, 0.0)
        self.near = list(learners)
        self.unheard: tuple[PeerId, ...] = ()
        """Of whom this leader has heard nothing yet: it has not led for long."""
        self.barred: tuple[PeerId, ...] = ()
        self.ineligible: tuple[PeerId, ...] = ()

    def dead(self, peer: PeerId, silence: float = 60.0) -> None:
        self.states[peer] = DEAD
        self.silence[peer] = silence

    def roll(self) -> Roll:
        members = tuple(
            Member(peer, peer, "", 1, 1, state, peer not in self.ineligible)
            for peer, state in sorted(self.states.items())
        )
        voters = tuple(sorted(self.voters))
        return Roll(
            voters,
            members,
            lambda p: self.silence.get(p, inf),
            lambda p: p not in self.unheard and self.silence.get(p, inf) < 0.5,
            self.near.__contains__,
            self.barred,
        )

    def wanted(self, max_voters: int = 5) -> tuple[PeerId, ...]:
        return VoterDuty(A, max_voters, TIMING, 0.0).wanted(self.roll(), 0.0)


# ---- promotion -------------------------------------------------------------------------------


def test_an_odd_number_of_voters_stays_odd() -> None:
    assert Seen(A, B, C, learners=(D,)).wanted() == ()
    assert Seen(A, learners=(B,)).wanted() == ()
    assert Seen(A, B, C, learners=(D, E)).wanted() == (A, B, C, D)
    assert Seen(A, B, C, D, learners=(E,)).wanted() == (A, B, C, D, E)
    assert Seen(A, B, learners=(C,)).wanted() == (A, B, C)


def test_no_more_vote_than_max_voters() -> None:
    assert Seen(A, B, C, D, E, learners=(F, G)).wanted(5) == ()
    assert Seen(A, B, C, learners=(F, G)).wanted(4) == ()
    assert Seen(A, B, C, D, E, learners=(F, G)).wanted(7) == (A, B, C, D, E, F)
    assert Seen(A, B, C, D, learners=(F,)).wanted(3) == ()


def test_a_learner_that_has_not_caught_up_is_not_promoted() -> None:
    seen = Seen(A, B, learners=(C,))
    seen.near = []
    assert seen.wanted() == ()


def test_a_learner_that_is_suspect_or_barred_is_not_promoted() -> None:
    seen = Seen(A, B, learners=(C, D))
    seen.states[C] = SUSPECT
    assert seen.wanted() == (A, B, D)
    seen.barred = (D,)
    assert seen.wanted() == ()


def test_learners_that_may_lead_are_promoted_first_and_then_the_smaller_id() -> None:
    seen = Seen(A, B, learners=(C, D, E))
    assert seen.wanted() == (A, B, C)
    seen.ineligible = (C,)
    assert seen.wanted() == (A, B, D)


def test_the_voters_do_not_become_more_while_one_is_silent() -> None:
    seen = Seen(A, B, C, learners=(D, E))
    seen.silence[B] = TIMING.election_timeout_seconds
    assert seen.wanted() == ()


# ---- replacement -----------------------------------------------------------------------------


def test_a_dead_verdict_alone_removes_nobody() -> None:
    seen = Seen(A, B, C, learners=(D,))
    seen.dead(B, silence=59.9)
    assert seen.wanted() == ()


def test_silence_alone_removes_nobody() -> None:
    seen = Seen(A, B, C, learners=(D,))
    for state in (ALIVE, SUSPECT):
        seen.states[B], seen.silence[B] = state, inf
        assert seen.wanted() == ()


def test_a_dead_voter_goes_and_a_learner_comes() -> None:
    seen = Seen(A, B, C, learners=(D,))
    seen.dead(B)
    assert seen.wanted() == (A, C)
    seen.voters = (A, C)
    assert seen.wanted() == (A, C, D)


def test_a_voter_that_this_process_never_met_is_replaced_after_the_grace_time() -> None:
    seen = Seen(A, B, C, learners=(D,))
    del seen.states[B]
    assert seen.wanted() == ()
    seen.silence[B] = 60.0
    assert seen.wanted() == (A, C)


def test_a_voter_that_has_left_is_replaced_at_once_and_first() -> None:
    seen = Seen(A, B, C, learners=(D,))
    seen.states[C] = LEFT
    assert seen.wanted() == (A, B)
    seen = Seen(A, B, C, D, E, learners=(F,))
    seen.states[C] = LEFT
    seen.dead(B)
    assert seen.wanted() == (A, B, D, E)


def test_nothing_is_proposed_that_those_who_are_there_cannot_commit() -> None:
    """Two of five are lost for good when a third says goodbye. Without it three of four would have
    to be there: its removal would stand in this log alone, which nobody without it can outrank."""
    seen = Seen(A, B, C, D, E, learners=(F, G))
    seen.dead(B)
    seen.dead(C)
    seen.states[D] = LEFT
    assert seen.wanted() == ()
    seen.states[D], seen.silence[D] = ALIVE, 0.0
    assert seen.wanted() == (A, C, D, E), "it is back"
    seen.states[D], seen.silence[D] = SUSPECT, 0.5
    assert seen.wanted() == (), "a verdict is not waited for"
    seen.states[D], seen.silence[D] = LEFT, 0.0
    seen.silence[B] = seen.silence[C] = 0.1
    seen.unheard = (B, C)
    assert seen.wanted() == (), "silence since it leads is no sign of life"
    seen = Seen(A, B, learners=(C,))
    seen.silence[B], seen.silence[C] = 0.5, 0.5
    assert seen.wanted() == ()
    seen.silence[C] = 0.0
    assert seen.wanted() == (A, B, C)


def test_who_is_there_says_an_answer_that_was_asked_for_after_the_change_was_wanted() -> None:
    """B was lost for good before. C dies just before D leaves for a moment, and answered so lately
    that nobody can know: four with two of them lost are no better than five with D away."""
    duty = VoterDuty(A, 5, TIMING, 0.0)
    seen = Seen(A, B, C, D, E, learners=(F, G))
    seen.dead(B)
    seen.states[D] = LEFT
    seen.silence[C], seen.silence[E] = 0.2, 0.01
    assert duty.wanted(seen.roll(), 10.0) == ()
    assert duty.next_deadline() == 10.0 + TIMING.heartbeat_seconds, "it looks again soon"
    seen.silence[C], seen.silence[E] = 0.3, 0.11
    assert duty.wanted(seen.roll(), 10.1) == (), "nobody has answered since"
    seen.silence[E] = 0.02
    assert duty.wanted(seen.roll(), 10.1) == (), "two of four, itself included"
    seen.silence[C] = 0.05
    assert duty.wanted(seen.roll(), 10.1) == (A, B, C, E)
    seen.silence[C], seen.silence[E] = 0.3, 0.3
    assert duty.wanted(seen.roll(), 10.3) == (), "the log did not take it: it is asked anew"
    seen.silence[C] = seen.silence[E] = 0.1
    assert duty.wanted(seen.roll(), 10.5) == (A, B, C, E)


def test_of_two_that_say_goodbye_at_once_the_other_does_not_count_as_there() -> None:
    """Though it answers until its process ends."""
    seen = Seen(A, B, C, D, E, learners=(F, G))
    seen.dead(B)
    seen.states[C] = seen.states[D] = LEFT
    assert seen.wanted() == (), "A and E are no majority of A, B, D and E"
    seen.states[D] = ALIVE
    assert seen.wanted() == (A, B, D, E)


def test_another_change_than_was_wanted_before_is_asked_for_anew() -> None:
    duty = VoterDuty(A, 5, TIMING, 0.0)
    seen = Seen(A, B, C, learners=(D, E))
    for peer in (B, C, D, E):
        seen.silence[peer] = 0.05
    assert duty.wanted(seen.roll(), 10.0) == ()
    seen.near.remove(D)
    seen.near.append(F)
    seen.states[F] = ALIVE
    seen.silence[F] = 0.05
    assert duty.wanted(seen.roll(), 10.1) == (), "E or F now, and of them nothing is known since"
    assert duty.wanted(seen.roll(), 10.2) == (A, B, C, E)


def test_three_voters_stay_three_without_a_learner() -> None:
    seen = Seen(A, B, C)
    seen.dead(B)
    assert seen.wanted() == ()
    seen.states[B] = LEFT
    assert seen.wanted() == ()


def test_five_voters_become_three_when_the_next_death_would_cost_the_majority() -> None:
    seen = Seen(A, B, C, D, E)
    seen.dead(B)
    assert seen.wanted() == (), "another one may die yet"
    seen.dead(C)
    assert seen.wanted() == (A, C, D, E)
    seen.voters = (A, C, D, E)
    assert seen.wanted() == (A, D, E)
    seen.voters = (A, D, E)
    assert seen.wanted() == ()


def test_the_leader_does_not_remove_itself() -> None:
    seen = Seen(A, B, C, learners=(D,))
    seen.states[A] = LEFT
    assert seen.wanted() == ()


@pytest.mark.parametrize("count", range(1, 8))
def test_no_change_removes_a_live_voter_or_costs_the_majority(count: int) -> None:
    """Every combination of voters that are there, dead or gone, with up to two learners."""
    peers = (A, B, C, D, E, F, G)[:count]
    for states in product((ALIVE, DEAD, LEFT), repeat=count - 1):
        for learners in ((), ("x" * 16,), ("x" * 16, "y" * 16)):
            seen = Seen(*peers, learners=tuple(map(PeerId, learners)))
            for peer, state in zip(peers[1:], states, strict=True):
                seen.states[peer] = state
                seen.silence[peer] = 0.0 if state is ALIVE else 99.0
            here = [peer for peer in peers if seen.states[peer] is ALIVE]
            if len(here) < majority(count):
                continue
            wanted = seen.wanted(7)
            if not wanted:
                continue
            removed = [peer for peer in peers if peer not in wanted]
            added = [peer for peer in wanted if peer not in peers]
            assert len(removed) + len(added) == 1
            assert not [peer for peer in removed if peer in here]
            assert len(here) + len(added) >= majority(len(wanted))
            spare = len(here) - majority(count)
            assert len(here) + len(added) - majority(len(wanted)) >= spare - len(added)
            if removed and not learners:
                assert len(wanted) >= VOTERS_LEAST


# ---- time ------------------------------------------------------------------------------------


def test_there_is_one_change_in_the_stated_time() -> None:
    duty = VoterDuty(A, 5, TIMING, 100.0)
    assert not duty.is_due(100.9)
    assert duty.is_due(101.0), "a new leader waits as long"
    duty.looked(101.0)
    assert duty.next_deadline() == 101.0 + TIMING.probe_interval_seconds
    duty.changed(101.5)
    assert not duty.is_due(102.4)
    assert duty.next_deadline() == 102.5
