"""Drills of a size that fits every run of the tests; the whole figures come from
`tools/simulate --heals N`, `--healthy HOURS`, `--flapping HOURS` and `--boots N`."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.drills import BOUND_SECONDS, Drill, boot, flapping, heals, healthy
from mabeam_p2p.testing.faults import SHAPES
from mabeam_p2p.testing.links import Links
from mabeam_p2p.testing.weather import fair
from tools.drills import RESUME_SECONDS_MAX, percentile

BOOTS = 60


@pytest.mark.slow
def test_writes_resume_within_two_seconds_of_the_end_of_every_partition() -> None:
    found = [heal for seed in range(2) for heal in heals(seed)]
    assert {heal.shape for heal in found} == set(SHAPES)
    assert all(0 < heal.first <= heal.all for heal in found)
    assert percentile([heal.all for heal in found], 99) <= RESUME_SECONDS_MAX


@pytest.mark.slow
def test_a_partition_that_does_not_heal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Links, "heal", lambda links: None)
    monkeypatch.setattr(Links, "mend", lambda links, which: None)
    with pytest.raises(Violation, match=f"^liveness: not within {BOUND_SECONDS} s"):
        heals("never")


@pytest.mark.slow
def test_leaders_stay_while_nothing_is_wrong() -> None:
    assert healthy(0, hours=0.1) == 0


@pytest.mark.slow
def test_a_peer_that_flaps_costs_one_change_of_leader_at_most() -> None:
    for seed in range(3):
        flapped = flapping(seed, hours=0.05)
        assert flapped.heals > 20
        assert flapped.most <= 1


@pytest.mark.slow
def test_peers_that_start_together_form_one_cluster_whatever_is_lost() -> None:
    boots = [boot(seed) for seed in range(BOOTS)]
    assert {one.peers for one in boots} == {3, 4, 5, 6, 7}


@pytest.mark.slow
def test_a_peer_that_was_thought_dead_and_speaks_is_not_left_out_for_ever() -> None:
    """Of the first 2,000 boots the one where a peer stayed dead for one other, which waited for it:
    its greeting had ended when it was merely suspect."""
    assert boot(673).peers == 6


def test_two_clusters_from_one_boot_are_seen() -> None:
    """Where each peer may begin alone, each does."""
    drill = Drill("alone", replace(fair(3), expect=1), think=0)
    with pytest.raises(Violation, match=r"^I(5|11): "):
        drill.formed()


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0], 99) == 3.0
    assert percentile([], 50) == 0.0
