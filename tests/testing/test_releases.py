"""I20, broken by hand, and what is lawful."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import Configure, RaiseVersion
from mabeam_p2p.config import MACHINE_VERSION
from mabeam_p2p.events import Refused
from mabeam_p2p.ids import CLUSTER_SESSION, NOBODY, ClusterId, PeerId
from mabeam_p2p.messages import AppendEntries, Frame, Hello, Message, Probe
from mabeam_p2p.records import Able, Batch, Standing
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.trial import Trial
from mabeam_p2p.testing.weather import SECOND, fair

PROBE = Probe(1, Standing(0, 0, 0, 0))
NEXT = Able(1, 2, MACHINE_VERSION, 7)


@pytest.fixture
def mixed() -> Trial:
    """A of the earlier release, B of the later one, and a cluster of both."""
    trial = Trial("mixed", replace(fair(2), earlier=(0,)))
    trial.storm(4 * SECOND)
    return trial


def heard(
    trial: Trial, host: Host, version: int, *messages: Message, target: PeerId = NOBODY
) -> Frame | None:
    source = trial.simulator.hosts[1].peer
    frame = Frame(version, source, 1, 1, 1, ClusterId(""), messages, target)
    return trial.simulator.releases.heard(host, frame)


def raised(trial: Trial) -> Batch:
    """A batch behind the committed log that raises the version."""
    command = RaiseVersion(CLUSTER_SESSION, 0, MACHINE_VERSION, 7)
    index = trial.simulator.checkers.committed.index + 1
    return Batch(index, 1, 9, 9, trial.simulator.codec.encode_commands([command]))


def test_a_cluster_of_two_releases_works_at_the_earlier_version(mixed: Trial) -> None:
    nodes = [host.node for host in mixed.simulator.hosts]
    assert [node.machine.version for node in nodes if node] == [1, 1]
    assert [node.machine.version_max for node in nodes if node] == [1, MACHINE_VERSION]


def test_i20_a_frame_that_the_earlier_release_does_not_speak_is_seen(mixed: Trial) -> None:
    earlier, later = mixed.simulator.hosts
    assert heard(mixed, later, 2, PROBE) is not None
    assert heard(mixed, earlier, 1, PROBE) is not None
    for target in (NOBODY, earlier.peer):
        with pytest.raises(Violation, match=r"I20: .* protocol 2"):
            heard(mixed, earlier, 2, PROBE, target=target)
    assert heard(mixed, earlier, 2, PROBE, target=later.peer) is None, "it went astray"


def test_i20_a_greeting_in_a_later_version_is_seen(mixed: Trial) -> None:
    later = mixed.simulator.hosts[1]
    assert later.node is not None
    hello = Hello("default", ClusterId(""), later.node.membership.mine, False, NEXT)
    with pytest.raises(Violation, match=r"I20: .* greets in protocol 2"):
        heard(mixed, later, 2, hello)


def test_the_earlier_release_passes_over_what_it_does_not_know(mixed: Trial) -> None:
    earlier, later = mixed.simulator.hosts
    assert later.node is not None
    hello = Hello("default", ClusterId(""), later.node.membership.mine, False, NEXT)
    read = heard(mixed, earlier, 1, hello)
    assert read is not None
    assert read.messages == (replace(hello, able=Able()),)
    unread = AppendEntries(0, 9, 0, 0, 0, (replace(raised(mixed), index=1),))
    assert heard(mixed, earlier, 1, unread) is None
    assert heard(mixed, later, 1, unread) is not None


def test_i20_a_version_that_is_raised_over_a_voter_is_seen(mixed: Trial) -> None:
    releases = mixed.simulator.releases
    with pytest.raises(Violation, match="I20: the log is raised"):
        releases.committed(raised(mixed))
    mixed.simulator.hosts[0].is_earlier = False
    releases.committed(raised(mixed))


def test_i20_a_log_that_begins_by_a_version_that_a_voter_has_not_is_seen(mixed: Trial) -> None:
    releases, peers = mixed.simulator.releases, [host.peer for host in mixed.simulator.hosts]
    first = Configure(CLUSTER_SESSION, 0, ClusterId("c" * 32), tuple(peers), version=1)
    later = replace(first, version=MACHINE_VERSION, rules=7)
    batches = [
        Batch(1, 1, 1, 9, mixed.simulator.codec.encode_commands([one]), tuple(peers))
        for one in (first, later)
    ]
    releases.committed(batches[0])
    with pytest.raises(Violation, match="I20: the log is raised at 1"):
        releases.committed(batches[1])
    assert releases.raised == []


def test_a_peer_that_is_too_old_is_replaced_once(mixed: Trial) -> None:
    releases, earlier = mixed.simulator.releases, mixed.simulator.hosts[0]
    for _ in range(3):
        releases.told(earlier, Refused(earlier.peer, "machine", "", fatal=True))
    assert releases.refused_count == 1
    mixed.simulator.run_until(mixed.simulator.now + SECOND)
    assert not earlier.is_earlier
    assert earlier.node is not None
    assert earlier.node.machine.version_max == MACHINE_VERSION


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["rolling 1", "rolling 2", "rolling 3"])
def test_a_storm_over_two_releases_ends_at_the_later_version(seed: str) -> None:
    weather = fair(3)
    faults = replace(weather.faults, kinds=("upgrade", "crash", "halves"), every=SECOND // 2)
    trial = Trial(seed, replace(weather, earlier=(0, 1, 2), faults=faults))
    trial.run(6)
    assert len(trial.simulator.releases.raised) == 1
    nodes = [host.node for host in trial.simulator.hosts]
    assert [node.machine.version for node in nodes if node] == [MACHINE_VERSION] * 3
