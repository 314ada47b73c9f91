"""Replication under every weather that a seed can draw: the ghosts of the world judge each step.

Small numbers unmask more than long runs: one batch in a message, two in flight, slow disks.
"""

from random import Random

import pytest

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.replication import Role
from tests.protocol.raft_world import PEERS, Parcel, World

STEPS = 1500


class Storm:
    """Draws what happens next."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        limits = Limits(
            append_batches_max=random.choice((1, 2, 64)),
            inflight_appends_max=random.choice((1, 2, 64)),
            batch_commands_max=random.choice((1, 2, 8192)),
            inflight_bytes_max=random.choice((1, 3, 2**20)),
            snapshot_chunk_bytes=random.choice((7, 40, 2**20)),
        )
        count = random.choice((1, 2, 3, 3, 4, 5))
        learners = PEERS[count : count + random.choice((0, 0, 1))]
        self.world = World(count, limits=limits, learners=learners)
        self.loss = random.choice((0.0, 0.05, 0.2))
        self.copies = random.choice((0.0, 0.1, 0.3))
        self.order = random.choice((1, 3, 1000))
        self.crashes = random.choice((0.0, 0.02, 0.05))
        self.slow = random.choice((0.0, 0.3, 0.8))
        self.compacts = random.choice((0.0, 0.05, 0.2))
        self.trailing = random.choice((0, 0, 4))
        self.stands = random.choice((0.02, 0.1))
        self.late: list[Parcel] = []
        for actor in self.world:
            actor.is_slow = random.random() < self.slow

    def run(self) -> None:
        for _ in range(STEPS):
            self.step()

    def step(self) -> None:
        world, random = self.world, self.random
        peer = random.choice([actor.peer for actor in world])
        draw = random.random()
        if not world[peer].is_up:
            if draw < 0.2:
                world.restart(peer)
        elif draw < self.crashes:
            world.crash(peer, random.randint(0, len(world[peer].unwritten)))
        elif draw < self.crashes + self.stands:
            world.stand(peer)
        elif random.random() < self.compacts:
            self._compact(peer)
        elif draw < 0.3:
            self._live(peer)
        else:
            self._move()

    def _compact(self, peer: PeerId) -> None:
        core = self.world[peer].core
        if core.commit_index > core.snapshots.index:
            self.world.compact(peer, trailing=self.trailing)

    def _live(self, peer: PeerId) -> None:
        world, random = self.world, self.random
        world.wait(random.choice((0.0, 0.03125, 0.125, 0.5)))
        if random.random() < 0.5:
            world.write(peer)
        if world[peer].core.leadership is not None and random.random() < 0.7:
            world.propose(peer, *[random.randbytes(2)] * random.randint(1, 3))
        elif random.random() < 0.2:
            world.act(peer, lambda core: core.read(random.randint(1, 99)))
        else:
            world.tick(peer)

    def _move(self) -> None:
        """A message arrives: a new one, or a copy of an old one."""
        world, random = self.world, self.random
        if self.late and random.random() < self.copies / 4:
            self._arrive(random.choice(self.late))
        if not world.flying:
            return
        parcel = world.flying[random.randrange(min(self.order, len(world.flying)))]
        if random.random() < self.copies:
            self.late.append(parcel)
        if random.random() < self.loss:
            world.lose(parcel)
        else:
            self._arrive(parcel)

    def _arrive(self, parcel: Parcel) -> None:
        if self.world[parcel.target].is_up:
            self.world.arrive(parcel)
        elif parcel in self.world.flying:
            self.world.lose(parcel)


def calm_down(world: World) -> None:
    """Nothing fails any more: somebody is elected, and all have its log."""
    for actor in world:
        actor.is_slow = False
        if actor.is_up:
            world.write(actor.peer)
        else:
            world.restart(actor.peer)
    world.deliver()
    for round_number in range(40):
        leader = next((a.peer for a in world if a.core.role is Role.LEADER), None)
        if leader is None:
            world.wait(2 * world.timing.election_timeout_seconds)
            world.stand(world.voters[round_number % len(world.voters)])
            world.deliver()
        else:
            world.beat(leader)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(8))
def test_no_storm_breaks_a_rule_and_every_storm_ends(block: int) -> None:
    installed = 0
    for seed in range(25 * block, 25 * block + 25):
        storm = Storm(seed)
        try:
            storm.run()
            calm_down(storm.world)
            logs = [actor.core.log for actor in storm.world]
            ends = [(log.last_index, log.last_term) for log in logs]
            commits = [actor.core.commit_index for actor in storm.world]
            assert ends == ends[:1] * len(ends), "the logs are one again"
            assert commits == [end[0] for end in ends], "and committed"
            installed += sum(len(actor.taken_in) for actor in storm.world)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
    assert installed, "these storms are no test of snapshots"
