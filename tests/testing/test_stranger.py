"""Two clusters in one network stay two."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.stranger import PEER
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, fair


@pytest.fixture
def trial() -> Trial:
    """A cluster of three, which has a stranger among its neighbours."""
    made = Trial("stranger", replace(fair(3), stranger=True))
    made.storm(6 * SECOND)
    return made


def test_a_peer_of_another_cluster_is_met_and_refused_by_both_sides(trial: Trial) -> None:
    assert trial.stranger is not None
    assert trial.stranger.node.links.dropped_count > 0
    assert trial.stranger.node.bootstrap.state.formed
    trial.settle()
    trial.conclude()
    ids = {host.node.links.cluster_id for host in trial.simulator.hosts if host.node}
    assert len(ids) == 1
    assert trial.stranger.node.links.cluster_id not in ids


def test_a_stranger_that_was_taken_for_a_member_is_seen(trial: Trial) -> None:
    assert trial.stranger is not None
    node = trial.simulator.hosts[0].node
    assert node is not None
    trial.stranger.judge()
    node.membership.met(trial.stranger.node.membership.mine, 0.0)
    with pytest.raises(Violation, match=r"^clusters: "):
        trial.stranger.judge()
    assert node.membership.find(PEER) is not None
