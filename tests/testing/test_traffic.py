"""I16 and I17: broken by hand once each, and seen."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import AppendEntries, Forward, Frame, Heartbeat, Probe, TreeAsk
from mabeam_p2p.protocol.variables.tree import ROOT
from mabeam_p2p.records import Batch, Standing
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.traffic import CONFIGURATION_BYTES, Traffic, check_frame, check_memory
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, fair

A, B = PeerId("a"), PeerId("b")
PROBE = Probe(1, Standing(0, 0, 5, 0))


def broken(rule: str) -> "pytest.RaisesExc[Violation]":
    return pytest.raises(Violation, match=rf"^{rule}:")


def traffic(limits: Limits | None = None) -> Traffic:
    return Traffic(3, Timing(), limits or Limits())


def append(*sizes: int) -> AppendEntries:
    batches = tuple(Batch(n, 1, 1, 0, b"x" * size) for n, size in enumerate(sizes, 1))
    return AppendEntries(0, 1, 0, 0, 0, batches)


def test_i16_storm_of_messages_that_answer_nobody_is_seen() -> None:
    one = traffic()
    for _ in range(one.bound):
        one.sent(A, PROBE, 5 * SECOND)
    one.sent(B, PROBE, 5 * SECOND)
    one.sent(A, Heartbeat(0, 1, 0, 1), 5 * SECOND)
    with broken("I16"):
        one.sent(A, PROBE, 5 * SECOND + 1)


def test_i16_storm_of_exchanges_is_seen_and_a_long_one_is_none() -> None:
    one = traffic()
    for number in range(2 * one.bound):
        one.sent(A, TreeAsk(number, ((2 + number % 14, 1),), 0, 0, 0, False), 5 * SECOND)
    for number in range(one.bound):
        one.sent(A, TreeAsk(number, ((ROOT, 1),), 0, 0, 0, False), 5 * SECOND)
    with broken("I16"):
        one.sent(A, TreeAsk(1, ((ROOT, 1),), 0, 0, 0, False), 5 * SECOND)


def test_i16_as_many_in_another_second_are_lawful() -> None:
    one = traffic()
    for second in range(3):
        for _ in range(one.bound):
            one.sent(A, PROBE, second * SECOND)
    assert one.most == one.bound


def test_i16_append_beyond_its_sizes_is_seen() -> None:
    limits = Limits(append_batches_max=2, append_bytes_max=100, batch_bytes_max=150)
    one = traffic(limits)
    one.sent(A, append(50, 50), 0)
    one.sent(A, append(150), 0)
    for sizes in ((50, 51), (10, 10, 10), (151,)):
        with broken("I16"):
            one.sent(A, append(*sizes), 0)


def test_i16_commands_beyond_a_batch_and_frames_beyond_their_size_are_seen() -> None:
    limits = Limits(batch_bytes_max=10, frame_bytes_max=100, frame_messages_max=2)
    with broken("I16"):
        traffic(limits).sent(A, Forward(0, 1, 1, b"x" * 11), 0)
    frame = Frame(1, A, 1, 1, 1, ClusterId(""), (PROBE, PROBE))
    check_frame(A, frame, 100, limits)
    with broken("I16"):
        check_frame(A, frame, 101, limits)
    with broken("I16"):
        check_frame(A, replace(frame, messages=(PROBE,) * 3), 100, limits)


@pytest.fixture
def leader() -> Host:
    trial = Trial("memory", fair(3))
    trial.storm(4 * SECOND)
    for host in trial.simulator.hosts:
        if host.node is not None and host.node.replication.leadership is not None:
            return host
    raise AssertionError("nobody leads in fair weather")


def test_i17_queue_beyond_its_limit_is_seen(leader: Host) -> None:
    node, limits = leader.node, Limits()
    assert node is not None
    assert node.replication.leadership is not None
    check_memory(node, limits)
    node.replication.leadership.uncommitted_bytes = limits.uncommitted_bytes_max + 1
    with broken("I17"):
        check_memory(node, limits)
    node.replication.leadership.is_configuring = True
    check_memory(node, limits)
    node.replication.leadership.uncommitted_bytes += CONFIGURATION_BYTES
    with broken("I17"):
        check_memory(node, limits)
    node.replication.leadership.is_configuring = False
    node.replication.leadership.uncommitted_bytes = limits.uncommitted_bytes_max + 1
    stored = node.replication.leadership.durable_index
    node.replication.leadership.durable_index = node.replication.log.configuration_index - 1
    check_memory(node, limits)
    node.replication.leadership.durable_index = stored
    with broken("I17"):
        check_memory(node, limits)
    node.replication.leadership.uncommitted_bytes = 0
    node.relays.waiting_bytes = limits.relay_bytes_max + 1
    with broken("I17"):
        check_memory(node, limits)
    node.relays.waiting_bytes = 0
    with broken("I17"):
        check_memory(node, replace(limits, uncommitted_bytes_max=-1))
