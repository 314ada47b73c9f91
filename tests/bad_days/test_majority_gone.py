"""Three of five are gone: the other two say so, decide nothing, and go on once a third is back."""

import pytest

from mabeam_p2p.commands import AppendJournal
from mabeam_p2p.requests import Committed, Failed, Found, JournalQuery, Read, Submit
from mabeam_p2p.testing.host import Host
from tests.bad_days.stage import Client, Stage, Waiting

NO_QUORUM_SECONDS = 2.0
"""What docs/guarantees.md promises."""
JOURNAL = JournalQuery("trials")


class Minority:
    """Five peers, one item in a journal, and then three are killed."""

    def __init__(self, *, leader_is_killed: bool = True) -> None:
        self.stage = stage = Stage("minority")
        leader = stage.formed()
        others = [host for host in stage.hosts if host is not leader]
        self.killed = [leader, *others[:2]] if leader_is_killed else others[:3]
        self.left = [host for host in stage.hosts if host not in self.killed]
        self.client = Client(stage, self.left[1])
        self.client.open()
        stage.until(lambda: self.client.known)
        self.client.submit(self.item())
        stage.until(lambda: len(self.client.known) == 2 and stage.agree())
        self.term = stage.status(leader).term
        stage.kill(*self.killed)

    def item(self) -> AppendJournal:
        return AppendJournal(self.client.session, self.client.number(), JOURNAL.name, b"\x01")

    def local(self, host: Host) -> Found:
        answer = self.stage.answer(host, Read(JOURNAL))
        assert isinstance(answer, Found)
        return answer


@pytest.mark.parametrize("leader_is_killed", [True, False], ids=["leader gone", "leader left"])
def test_minority_says_no_quorum_within_two_seconds_of_any_question(leader_is_killed: bool) -> None:
    """A command that was given to a leader before its loss was noticed has an unknown outcome, and
    that is said as soon."""
    minority = Minority(leader_is_killed=leader_is_killed)
    stage = minority.stage
    commands: list[tuple[Waiting, bool]] = []
    reads: list[Waiting] = []
    for tenth in range(30):
        host = minority.left[tenth % 2]
        has_quorum = stage.status(host).quorum
        commands.append((stage.ask(host, Submit(minority.item(), timeout=20.0)), has_quorum))
        reads.append(stage.ask(host, Read(JOURNAL, linearizable=True, timeout=20.0)))
        stage.run(0.1)
    stage.run(NO_QUORUM_SECONDS)
    for waiting in (*reads, *(command for command, _ in commands)):
        assert waiting.answer is not None
        assert waiting.seconds <= NO_QUORUM_SECONDS
    for read in reads:
        assert isinstance(read.answer, Failed)
        assert read.answer.reason == "no_quorum"
    for command, had_quorum in commands:
        assert isinstance(command.answer, Failed)
        assert command.answer.reason == "no_quorum" or (
            had_quorum and command.answer.reason == "unknown"
        )
    assert [had_quorum for _, had_quorum in commands].count(False) > 20


@pytest.mark.fault("U7")
def test_minority_labels_its_local_reads_with_a_growing_age() -> None:
    minority = Minority()
    stage = minority.stage
    stage.run(1.0)
    for host in minority.left:
        first = minority.local(host)
        assert (first.journals[0].items, first.linearizable) == ((b"\x01",), False)
        assert first.age_seconds >= 1.0
        stage.run(5.0)
        later = minority.local(host)
        assert later.index == first.index
        assert later.age_seconds == pytest.approx(first.age_seconds + 5.0, abs=0.01)


@pytest.mark.fault("L10")
@pytest.mark.slow
@pytest.mark.parametrize("leader_is_killed", [True, False], ids=["leader gone", "leader left"])
def test_minority_never_elects_itself_and_leaves_the_term_alone(leader_is_killed: bool) -> None:
    minority = Minority(leader_is_killed=leader_is_killed)
    stage = minority.stage
    stage.run(2.0)
    for _ in range(60):
        for host in minority.left:
            status = stage.status(host)
            assert (status.role != "leader", status.leader, status.quorum) == (True, None, False)
            assert status.term == minority.term
        stage.run(1.0)


def test_third_peer_that_comes_back_makes_the_cluster_go_on() -> None:
    minority = Minority()
    stage = minority.stage
    stage.run(10.0)
    stage.start(minority.killed[0])
    seconds = stage.until(lambda: stage.leader() is not None)
    assert seconds < 5.0
    assert isinstance(stage.answer(minority.left[1], Submit(minority.item())), Committed)
    for host in (*minority.left, minority.killed[0]):
        found = stage.found(host, JOURNAL, linearizable=True)
        assert len(found.journals[0].items) == 2
