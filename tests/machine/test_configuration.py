"""What the machine keeps of who votes: only what a leader, or the repair, has put there."""

import pytest

from mabeam_p2p.commands import Configure
from mabeam_p2p.config import Limits
from mabeam_p2p.events import VotersChanged
from mabeam_p2p.ids import CLUSTER_SESSION, ClusterId, PeerId
from mabeam_p2p.machine.configuration import ANCESTORS_MAX, BARRED_MAX
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import Batch
from tests.machine.written_log import WrittenLog, peer_id, reason

CLUSTER, REPAIRED = ClusterId("a" * 32), ClusterId("b" * 32)
ONE, TWO, THREE = peer_id(1), peer_id(2), peer_id(3)


def configured(*voters: PeerId, barred: tuple[PeerId, ...] = ()) -> Configure:
    return Configure(CLUSTER_SESSION, 0, CLUSTER, voters, barred)


def test_a_change_of_the_voters_is_told_with_who_came_and_who_went() -> None:
    log = WrittenLog()
    log.apply(configured(ONE, TWO))
    assert log.events == (VotersChanged(1, (ONE, TWO), (ONE, TWO), ()),)
    log.apply(configured(ONE, THREE, barred=(TWO,)))
    assert log.events == (VotersChanged(2, (ONE, THREE), (THREE,), (TWO,)),)
    configuration = log.machine.configuration
    assert (configuration.index, configuration.barred) == (2, (TWO,))


@pytest.mark.parametrize("voters", [(), (TWO,), (ONE, TWO, THREE)])
def test_a_configuration_in_a_batch_that_names_other_voters_changes_nothing(
    voters: tuple[PeerId, ...],
) -> None:
    """It was put there by somebody who may not: Raft takes the voters from the batch."""
    machine = Machine(Limits())
    machine.apply(Batch(1, 1, 1, 1, b"", (ONE,)), (configured(ONE),))
    (outcome,) = machine.apply(Batch(2, 1, 1, 2, b"", voters), (configured(ONE, TWO),))
    assert reason(outcome) == "invalid"
    assert (machine.configuration.voters, machine.configuration.index) == ((ONE,), 1)
    assert machine.configuration.ignored_count == 1


def test_a_repaired_log_goes_on_under_another_id_and_knows_the_old_one() -> None:
    log = WrittenLog()
    log.apply(configured(ONE, TWO, THREE))
    log.apply(Configure(CLUSTER_SESSION, 0, REPAIRED, (ONE,), (), CLUSTER))
    configuration = log.machine.configuration
    assert (configuration.cluster_id, configuration.ancestors) == (REPAIRED, (CLUSTER,))
    refused = log.apply(configured(ONE, TWO))
    assert reason(refused) == "invalid", "nothing of the old cluster counts any more"


@pytest.mark.parametrize("repaired", ["", "c" * 32, "b" * 32])
def test_another_id_than_that_of_a_repair_of_this_very_log_is_refused(repaired: str) -> None:
    log = WrittenLog()
    log.apply(configured(ONE, TWO))
    command = Configure(CLUSTER_SESSION, 0, REPAIRED, (ONE,), (), ClusterId(repaired))
    assert reason(log.apply(command)) == "invalid"
    assert log.machine.configuration.cluster_id == CLUSTER


def test_what_is_remembered_of_barred_peers_and_repairs_is_bounded() -> None:
    log = WrittenLog()
    many = tuple(peer_id(100 + number) for number in range(BARRED_MAX + 3))
    log.apply(configured(ONE, barred=many))
    assert log.machine.configuration.barred == many[3:]
    known = CLUSTER
    for number in range(ANCESTORS_MAX + 2):
        cluster = ClusterId(f"{number:032x}")
        log.apply(Configure(CLUSTER_SESSION, 0, cluster, (ONE,), (), known))
        known = cluster
    ancestors = log.machine.configuration.ancestors
    assert (len(ancestors), log.machine.configuration.cluster_id) == (ANCESTORS_MAX, known)
    assert CLUSTER not in ancestors
