"""Storms of changes of the voters and of leaders: the ghosts of the world judge each step, and a
configuration never shares its time with one that it shares no majority with."""

from random import Random

import pytest
from msgspec.structs import replace

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Objection, Role
from tests.protocol.raft_world import PEERS, TIMING, World
from tests.protocol.test_replication_search import Storm

STEPS = 3000


class ChangingStorm(Storm):
    """A storm in which leaders change the voters whenever they can."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.random = random = Random(f"changes {seed}")
        count = random.choice((1, 2, 3, 3, 4))
        learners = PEERS[count : random.randint(count + 1, 6)]
        timing = replace(TIMING, election_timeout_seconds=random.choice((0.5, 4.0)))
        self.world = World(count, limits=self.world.limits, learners=learners, timing=timing)
        # Mild enough that leaders come to commit something, else nothing may change.
        self.loss, self.crashes = min(self.loss, 0.05), random.choice((0.0, 0.002, 0.01))
        self.slow, self.stands = random.choice((0.0, 0.3)), random.choice((0.005, 0.02))
        for actor in self.world:
            actor.is_slow = random.random() < self.slow
        self.changes = random.choice((0.1, 0.3))
        self.done = 0

    def step(self) -> None:
        leaders = [actor.peer for actor in self.world if actor.core.leadership is not None]
        leaders = [peer for peer in leaders if self.world[peer].is_up]
        if leaders and self.random.random() < self.changes:
            self._change(self.random.choice(leaders))
        else:
            super().step()

    def _change(self, leader: PeerId) -> None:
        world, random = self.world, self.random
        voters = list(world[leader].core.voters)
        everybody = [actor.peer for actor in world]
        peer = random.choice(everybody)
        if peer in voters and (len(voters) > 1):
            voters.remove(peer)
        elif peer not in voters:
            voters.append(peer)
        world.learners = tuple(everybody)
        if world.configure(leader, *voters) is Objection.NONE:
            self.done += 1


def calm_down(world: World) -> None:
    """Nothing fails any more: somebody is elected, and all have its log."""
    for actor in world:
        actor.is_slow = False
        if actor.is_up:
            world.write(actor.peer)
        else:
            world.restart(actor.peer)
    world.deliver()
    peers = [actor.peer for actor in world]
    for round_number in range(150):
        leader = next((a.peer for a in world if a.core.role is Role.LEADER), None)
        if leader is None:
            world.wait(2 * world.timing.election_timeout_seconds)
            world.stand(peers[round_number % len(peers)])
            world.deliver()
        else:
            _send_to_all(world, leader)
            world.beat(leader)


def _send_to_all(world: World, leader: PeerId) -> None:
    voters = world[leader].core.voters
    learners = tuple(actor.peer for actor in world if actor.peer not in voters)
    world.act(leader, lambda core: core.set_learners(learners, world.now))


def run(seed: int) -> int:
    """Returns how often the voters were changed, committed or not."""
    storm = ChangingStorm(seed)
    for _ in range(STEPS):
        storm.step()
    calm_down(storm.world)
    logs = [actor.core.log for actor in storm.world]
    ends = [(log.last_index, log.last_term, log.voters) for log in logs]
    assert ends == ends[:1] * len(ends), "the logs are one again"
    assert [log.commit_index for log in logs] == [end[0] for end in ends], "and committed"
    return storm.done


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
def test_no_storm_of_changes_breaks_a_rule_and_every_storm_ends(block: int) -> None:
    changes = 0
    for seed in range(20 * block, 20 * block + 20):
        try:
            changes += run(seed)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
    assert changes > 40, "else nothing was tried"


def test_the_majority_of_every_count_is_more_than_half() -> None:
    assert [majority(count) for count in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]
