"""Peers that share variables end up equal, whatever the network and their disks did before."""

from math import ceil, log2
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.requests import WAIT_ALL, VariableChange
from tests.protocol.variables_network import Network, Site, change

NAMES = ["a", "b", "c"]


class Chaos:
    """Draws what happens next; the same draws make the same run."""

    def __init__(self, network: Network, draw: Random) -> None:
        self.network = network
        self.draw = draw

    def step(self) -> None:
        network, draw = self.network, self.draw
        site = draw.choice(network.sites)
        match draw.choice("wwwddddddduuplthkcsv"):
            case "w":
                self.write(site)
            case "d" | "u" as kind if network.queue:
                network.deliver(draw.randrange(len(network.queue)), keep=kind == "u")
            case "l" if network.queue:
                del network.queue[draw.randrange(len(network.queue))]
            case "p":
                network.part([site], [other for other in network.sites if other is not site])
            case "h":
                network.heal()
            case "t":
                network.tick(draw.choice([0.01, 0.4, 1.5]))
            case "k":
                network.lose_all()
            case "c":
                network.crash(site)
            case "s":
                site.is_disk_slow = not site.is_disk_slow
                site.settle()
            case "v":
                network.tell(site, draw.choice([network.members(), ()]))
            case _:
                pass  # Nothing was under way.
        network.check()

    def write(self, site: Site) -> None:
        draw = self.draw
        names = draw.sample(NAMES, draw.choice([1, 1, 2]))
        changes = []
        for name in names:
            held = site.held_here(name)
            value = draw.choice([None, draw.randbytes(2)])
            context = None
            if held is not None and draw.random() < 0.4:
                context = held.context[: draw.randrange(len(held.context) + 1)]
            changes.append(VariableChange(name, "lww", value, context))
        self.network.write(site, *changes, wait=draw.choice([0, 1, WAIT_ALL]))

    def settle_down(self) -> None:
        self.network.heal()
        for site in self.network.sites:
            site.is_disk_slow = False
            site.settle()
        self.network.tell_members()


@pytest.mark.slow
@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(3, 5), st.integers(5, 80))
def test_peers_become_equal_after_any_weather(draw: Random, count: int, steps: int) -> None:
    network = Network(count)
    chaos = Chaos(network, draw)
    for _ in range(steps):
        chaos.step()
    chaos.settle_down()
    network.run(60.0)
    assert network.is_even()
    assert all(site.core.ready for site in network.sites)
    network.check_promises()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_small_messages_and_tables_converge_too(seed: int) -> None:
    limits = Limits(digest_entries_max=4, push_bytes_max=400, pushes_pending_max=3)
    network = Network(4, seed=seed, limits=limits)
    chaos = Chaos(network, Random(seed))
    for _ in range(60):
        chaos.step()
        if chaos.draw.random() < 0.3:
            site = chaos.draw.choice(network.sites)
            network.write(site, change(f"v{chaos.draw.randrange(40)}", b"x"))
    chaos.settle_down()
    network.run(120.0)
    assert network.is_even()
    network.check_promises()


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5, 8])
def test_a_healed_partition_is_even_within_three_rounds_times_log_two(count: int) -> None:
    """Goal: at most 3 gossip rounds x log2(n), with pushes lost and gossip alone."""
    timing = Timing(push_timeout_seconds=1000.0)
    rounds_max = 3 * ceil(log2(count))
    for seed in range(10):
        network = Network(count, seed=seed, timing=timing)
        network.run(5.0)
        half = count // 2
        network.part(network.sites[:half], network.sites[half:])
        for site in network.sites:
            network.write(site, change("shared", site.name.encode()))
            network.write(site, change(f"own {site.name}", b"x"))
        network.lose_all()
        network.run(2.0)
        network.heal()
        network.run(rounds_max * timing.gossip_interval_seconds)
        assert network.is_even(), f"seed {seed}"
        assert len(network.sites[0].values("shared")) == count


@pytest.mark.slow
def test_the_same_draws_make_the_same_run() -> None:
    def trace() -> list[object]:
        network = Network(4, seed=3)
        chaos = Chaos(network, Random(3))
        for _ in range(150):
            chaos.step()
        return [*network.sent]

    assert trace() == trace()
