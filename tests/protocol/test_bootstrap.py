"""Forming a cluster: deadlines."""

from math import inf
from random import Random

from mabeam_p2p.config import Timing
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import Withdraw
from mabeam_p2p.protocol.bootstrap import Bootstrap
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.records import BootstrapState

A, B = PeerId("a" * 16), PeerId("b" * 16)
OFFERED = BootstrapState(ClusterId("1"), A, (A, B), (), False)


def bootstrap(state: BootstrapState | None) -> Bootstrap:
    return Bootstrap(B, 2, state, timing=Timing(), random=Random(1), outbox=Outbox(), now=10.0)


def test_a_peer_that_waits_for_others_has_no_deadline() -> None:
    assert bootstrap(None).next_deadline() == inf


def test_after_a_withdrawal_the_pause_ends_once() -> None:
    core = bootstrap(OFFERED)
    core.receive(A, Withdraw(OFFERED.cluster_id), 11.0)
    due = core.next_deadline()
    assert not core.is_open(11.0)
    assert 11.0 < due < inf
    core.tick(due)
    assert core.is_open(due)
    assert core.next_deadline() == inf
