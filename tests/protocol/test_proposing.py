"""What a leader takes from others for its log. The others are played."""

import pytest

from mabeam_p2p.commands import (
    Admit,
    AnyCommand,
    AppendJournal,
    Configure,
    DepartPeer,
    Noop,
    OpenSession,
    RaiseVersion,
    SetKeys,
    Tick,
)
from mabeam_p2p.effects import Notify
from mabeam_p2p.events import Dropped
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, ClusterId, PeerId, SessionId
from mabeam_p2p.messages import Forward, ForwardRefused, Relay, Relayed, RelayRefused
from tests.protocol.test_handover import Play
from tests.protocol.test_node import A, B

STRANGER = PeerId("f" * 16)
KEYS = b"1" * 32, b"2" * 32
SESSION = SessionId(7)

OF_THE_CLUSTER: tuple[AnyCommand, ...] = (
    Admit(CLUSTER_SESSION, 0, STRANGER, KEYS[0]),
    Configure(CLUSTER_SESSION, 0, ClusterId("0" * 32), (B,)),
    DepartPeer(CLUSTER_SESSION, 0, B, 1, "died"),
    Noop(CLUSTER_SESSION, 0),
    RaiseVersion(CLUSTER_SESSION, 0, 2, 0),
    Tick(CLUSTER_SESSION, 0),
)


def opening(host: PeerId) -> OpenSession:
    return OpenSession(SESSION, 1, AgentId("bee@hill"), host, 1, (), False, False)


class Leader:
    """What it appended, and whom it dropped a word of."""

    def __init__(self) -> None:
        self.play = Play()
        self.play.lead()
        self._number = 0

    def takes(
        self, kind: type[Forward | Relay | Relayed], source: PeerId, *commands: AnyCommand
    ) -> bool:
        log, self._number = self.play.node.replication.log, self._number + 1
        before = log.last_index
        blob = self.play.desk.codec.encode_commands(commands)
        self.play.hear(source, kind(0, self._number, len(commands), blob))
        self.play.echo()
        return log.last_index > before

    def dropped(self) -> list[tuple[str, str]]:
        events = [e.event for e in self.play.desk.effects if isinstance(e, Notify)]
        return [(e.source, e.reason) for e in events if isinstance(e, Dropped)]


@pytest.mark.parametrize("kind", [Forward, Relay, Relayed])
@pytest.mark.parametrize("command", OF_THE_CLUSTER, ids=lambda command: type(command).__name__)
def test_what_the_log_says_of_the_cluster_is_the_leaders_to_propose(
    kind: type[Forward | Relay | Relayed], command: AnyCommand
) -> None:
    """It lets somebody in, or stops who cannot follow, and undoes itself for nobody."""
    leader = Leader()
    report = AppendJournal(SESSION, 2, "j", b"x")
    assert not leader.takes(kind, A, report, command)
    assert leader.dropped() == [(A, "impostor")]
    answers = leader.play.sent(ForwardRefused), leader.play.sent(RelayRefused)
    reasons = [one.reason for one in answers[kind is Relayed]]
    assert reasons == ["not_leader"], "certainly not done"
    assert leader.takes(kind, A, report)


def test_agents_are_opened_by_the_peer_that_hosts_them() -> None:
    leader = Leader()
    assert not leader.takes(Forward, A, opening(B))
    assert leader.dropped() == [(A, "impostor")]
    assert leader.takes(Forward, B, opening(B))
    assert leader.play.node.machine.agents_of(B)
    assert not Leader().takes(Relay, A, opening(B))
    assert Leader().takes(Relay, B, opening(B))
    assert Leader().takes(Relayed, A, opening(B)), "as a coordinator, for a member of its section"


def test_an_agent_is_spoken_for_by_the_peer_that_hosts_it() -> None:
    leader = Leader()
    leader.takes(Forward, B, opening(B))
    report = AppendJournal(SESSION, 2, "j", b"x")
    for kind in (Forward, Relay):
        assert not leader.takes(kind, A, report)
    assert leader.dropped() == [(A, "impostor")]
    refused = leader.play.sent(ForwardRefused)
    assert [answer.reason for answer in refused] == ["not_leader"] * 2, "certainly not done"
    assert not leader.takes(Forward, A, AppendJournal(SessionId(8), 1, "j", b"x"), report)
    assert leader.takes(Forward, A, AppendJournal(SessionId(8), 1, "j", b"x")), "of nobody yet"
    assert leader.takes(Relay, B, report)
    assert leader.takes(Relayed, A, report), "as a coordinator"
    assert leader.takes(Forward, B, AppendJournal(SESSION, 3, "j", b"x"))


def test_the_keys_of_a_peer_are_changed_by_itself_alone() -> None:
    """Whoever has two of them is that peer, and outlives its own revocation. Whose session it is
    does not count here: that may be another's by the time that this is applied."""
    leader = Leader()
    leader.takes(Forward, A, opening(A))
    assert not leader.takes(Forward, A, SetKeys(SESSION, 2, KEYS, B))
    assert leader.dropped() == [(A, "impostor")]
    assert not leader.takes(Forward, A, SetKeys(SESSION, 3, KEYS)), "of whoever has the session"
    for source in (A, B):
        for kind in (Relay, Relayed):
            assert not leader.takes(kind, source, SetKeys(SESSION, 2, KEYS, B))
    assert leader.takes(Forward, B, SetKeys(SESSION, 2, KEYS, B))
