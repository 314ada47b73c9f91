"""The bully algorithm's claims (Garcia-Molina 1982), as far as they hold inside Raft's safety, and
the preference for stability that replaces the rest."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import ReplicationMessage, VoteReply, VoteRequest
from mabeam_p2p.protocol.election import Election, order_key
from mabeam_p2p.protocol.replication import Replication, Role
from mabeam_p2p.records import Standing
from tests.protocol.raft_world import A, B, C, D, World, written

STEP = 1 / 64
"""One hop, and the time between two looks at the clock."""


# ---- the order -------------------------------------------------------------------------------

peers = st.sampled_from([PeerId(f"{number:016x}") for number in range(5)])
small = st.integers(0, 2)
candidates = st.tuples(peers, st.builds(Standing, small, small, small, small, st.booleans()))
Candidate = tuple[PeerId, Standing]


def is_above(left: Candidate, right: Candidate) -> bool:
    return order_key(*left) < order_key(*right)


@pytest.mark.fault("L6")
@given(candidates, candidates, candidates)
def test_the_order_is_total(a: Candidate, b: Candidate, c: Candidate) -> None:
    """§4: processes are numbered: of any two exactly one is higher, and there is no cycle."""
    assert not is_above(a, a)
    if a[0] != b[0]:
        assert is_above(a, b) is not is_above(b, a)
    if is_above(a, b) and is_above(b, c):
        assert is_above(a, c)


@pytest.mark.fault("L1")
@given(candidates, candidates)
def test_the_log_outranks_every_preference(a: Candidate, b: Candidate) -> None:
    """Raft §5.4.1 comes first: who could not be elected is never preferred."""
    ours, theirs = ((s.last_term, s.last_index) for _, s in (a, b))
    if ours > theirs:
        assert is_above(a, b)


@pytest.mark.parametrize(
    "above",
    [
        Standing(2, 0, 0, 0),
        Standing(1, 2, 0, 0),
        Standing(1, 1, 2, 0),
        Standing(1, 1, 1, 2),
    ],
)
def test_the_order_compares_log_score_and_tenure_before_the_id(above: Standing) -> None:
    """§4, with what makes a good leader in place of the bare number."""
    assert is_above((B, above), (A, Standing(1, 1, 1, 1)))
    assert is_above((A, above), (B, above))


# ---- a small cluster in time -----------------------------------------------------------------


class Bullies:
    """A World whose peers stand by themselves, as a node makes them."""

    def __init__(self, world: World, scores: dict[PeerId, int], seed: int) -> None:
        self.world = world
        self.scores = scores
        random = Random(seed)
        self.elections = {
            actor.peer: Election(actor.peer, world.timing, Random(random.random()), world.now)
            for actor in world
        }
        self.heard = {actor.peer: actor.core.heard_at for actor in world}
        self.was_leading: dict[PeerId, bool] = {}
        self.stood: list[PeerId] = []
        self.oks: list[tuple[PeerId, PeerId]] = []

    def standing(self, peer: PeerId) -> Standing:
        log = self.world[peer].core.log
        return Standing(log.last_term, log.last_index, self.scores[peer], 0)

    def run(self, seconds: float) -> None:
        end = self.world.now + seconds
        while self.world.now < end and not self.leader():
            self.step()

    def elect(self, peer: PeerId) -> None:
        """Make `peer` the leader, out of all order."""
        self.world.elect(peer)
        for actor in self.world:
            if actor.is_up:
                self._carry(actor.peer)

    def leader(self) -> PeerId | None:
        """Who leads, and is heard by a majority of the voters."""
        heard = [
            actor.core.leader
            for actor in self.world
            if actor.is_up and actor.core.is_leader_heard(self.world.now)
        ]
        for peer in heard:
            if peer is None or heard.count(peer) <= len(self.world.voters) // 2:
                continue
            if self.world[peer].is_up and self.world[peer].core.role is Role.LEADER:
                return peer
        return None

    def step(self) -> None:
        world = self.world
        world.wait(STEP)
        parcels, world.flying = world.flying, []
        for source, target, message, _ in parcels:
            if world[target].is_up and (source, target) not in world.cuts:
                assert isinstance(message, ReplicationMessage)
                self._hear(source, target, message)
        for actor in world:
            if actor.is_up:
                self._tick(actor.peer)

    def _hear(self, source: PeerId, target: PeerId, message: ReplicationMessage) -> None:
        core, mine = self.world[target].core, self.standing(target)
        takes_over = (
            isinstance(message, VoteRequest)
            and message.pre
            and message.term > core.term
            and not core.is_leader_heard(self.world.now)
            and self.elections[target].answers_ok(mine, source, message.standing, self.world.now)
        )

        def deed(core: Replication) -> None:
            core.receive(source, message, mine, takes_over, self.world.now)
            if takes_over:
                self.oks.append((target, source))
                core.stand(mine)

        self.world.act(target, deed)
        self._carry(target)

    def _tick(self, peer: PeerId) -> None:
        self.world.tick(peer)
        others = tuple(
            (actor.peer, self.standing(actor.peer))
            for actor in self.world
            if actor.peer != peer and actor.is_up and actor.peer != self.world[peer].core.leader
        )
        if self.elections[peer].is_due(self.standing(peer), others, self.world.now):
            self.stood.append(peer)
            self.world.act(peer, lambda core: core.stand(self.standing(peer)))
        self._carry(peer)

    def _carry(self, peer: PeerId) -> None:
        core, election, now = self.world[peer].core, self.elections[peer], self.world.now
        was_leading = self.was_leading.get(peer, False)
        self.was_leading[peer] = core.leadership is not None
        if core.leadership is not None:
            election.leading()
            return
        if was_leading:
            election.leader_lost(now)
        if core.candidacy.answered_ok:
            core.candidacy.answered_ok = False
            election.was_answered_ok(now)
        if core.candidacy.vote_given:
            core.candidacy.vote_given = False
            election.vote_given(now)
        if core.leader is not None and core.heard_at != self.heard[peer]:
            self.heard[peer] = core.heard_at
            election.leader_heard(core.heard_at)


def bullies(count: int = 3, *, seed: int = 1, **scores: int) -> Bullies:
    """Peers whose scores are given by the letter of their id; others have 0."""
    world = World(count)
    points = {actor.peer: scores.get(actor.peer[0], 0) for actor in world}
    return Bullies(world, points, seed)


@pytest.mark.parametrize("seed", range(5))
def test_when_the_leader_is_lost_the_highest_that_lives_is_elected(seed: int) -> None:
    """§4: the coordinator is the process with the highest number that is up."""
    group = bullies(5, seed=seed, b=9, d=7, a=5)
    world = group.world
    group.elect(B)
    for _ in range(64):
        group.step()
    world.crash(B)
    group.run(10.0)
    assert group.leader() == D
    assert group.stood == [D], "and nobody else had to stand"


def test_a_lower_candidate_is_answered_ok_and_the_higher_stands_at_once() -> None:
    """§4: a process that receives ELECTION from a lower one answers, and stands itself."""
    group = bullies(3, a=1, c=9)
    group.world.crash(B)
    group.world.stand(A)
    group.step()
    assert group.oks == [(C, A)]
    assert group.world[C].core.role is Role.PRE_CANDIDATE
    group.run(3.0)
    assert group.leader() == C


@pytest.mark.fault("L7")
def test_nobody_stands_while_a_leader_is_heard() -> None:
    """Here the algorithm is not followed: a higher process that comes back does not bully."""
    group = bullies(3, c=9)
    group.elect(A)
    for _ in range(64 * 10):
        group.step()
    assert group.stood == []
    assert group.leader() == A


def test_a_higher_peer_that_returns_follows() -> None:
    """As above, after a crash: §4's recovered process would depose the leader."""
    group = bullies(3, c=9)
    group.world.crash(C)
    group.elect(A)
    group.world.start(C)
    group.elections[C] = Election(C, group.world.timing, Random(3), group.world.now)
    for _ in range(64 * 5):
        group.step()
    assert group.leader() == A
    assert group.world[C].core.leader == A


def test_preference_delays_an_election_at_most_once() -> None:
    """A higher peer that answers OK and cannot win, for it is heard by one peer alone, holds the
    others up for one round."""
    group = bullies(5, e=9)
    world = group.world
    highest = PeerId("e" * 16)
    for peer in (B, C, D):
        world.cut(highest, peer)
        world.cut(peer, highest)
    world.cut(highest, A)
    group.run(6.0)
    assert group.leader() in (A, B, C, D)
    oks = [ok for ok in group.oks if ok[0] == highest]
    assert len(oks) <= 1


@pytest.mark.fault("L5")
def test_an_election_goes_on_when_the_higher_one_dies_after_its_ok() -> None:
    """§4: who was answered waits for the coordinator, and starts again if none comes."""
    group = bullies(3, a=1, c=9)
    group.world.stand(A)
    group.step()
    group.world.crash(C)
    group.run(5.0)
    assert group.leader() in (A, B)


def test_the_highest_by_score_with_an_old_log_blocks_nobody() -> None:
    """A preferred peer that lags cannot be elected, so it is never above who can."""
    world = World(3, logs={A: written(1, 2), B: written(1, 2)}, terms={C: 2})
    group = Bullies(world, {A: 0, B: 0, C: 10}, seed=1)
    group.run(3.0)
    assert group.leader() in (A, B)
    assert [ok for ok in group.oks if ok[0] == C] == []


@pytest.mark.slow
@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    scores=st.lists(st.integers(0, 10), min_size=5, max_size=5),
    lagging=st.lists(st.booleans(), min_size=5, max_size=5),
    dead=st.sets(st.integers(0, 4), max_size=2),
    cuts=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=2),
)
def test_whatever_is_preferred_somebody_is_elected(
    seed: int,
    scores: list[int],
    lagging: list[bool],
    dead: set[int],
    cuts: set[tuple[int, int]],
) -> None:
    """Preference never blocks: with a connected majority there is a leader within ten timeouts for
    each peer, whatever scores, logs and lost links are."""
    voters = World(5).voters
    logs = {
        p: written(*(1,) * (3 - lag), voters=voters) for p, lag in zip(voters, lagging, strict=True)
    }
    world = World(5, logs=logs)
    group = Bullies(world, dict(zip(voters, scores, strict=True)), seed)
    for number in sorted(dead):
        world.crash(voters[number])
    if not dead:
        for source, target in sorted(cuts):
            world.cut(voters[source], voters[target])
    group.run(50 * world.timing.election_timeout_seconds)
    assert group.leader() is not None


def test_an_ok_is_no_vote() -> None:
    """What elects is a majority of votes in a term; an OK only says who stands."""
    group = bullies(3)
    group.world.stand(A)
    group.world.lose(*group.world.flying)
    for peer in (B, C):
        group.world.hear(peer, A, VoteReply(0, 1, False, True, True))
    assert group.world[A].core.role is Role.PRE_CANDIDATE
    assert group.world[A].core.term == 1
