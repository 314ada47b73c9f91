"""A leader whose disk is nearly full keeps clock and leases going, and takes nothing else."""

from collections.abc import Sequence

import pytest

from mabeam_p2p.commands import (
    AnyCommand,
    AppendJournal,
    CloseSession,
    DepartPeer,
    KeepAlive,
    OpenSession,
    Tick,
)
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, PeerId, SessionId
from mabeam_p2p.messages import Forward, ForwardRefused
from mabeam_p2p.protocol.room import Room
from mabeam_p2p.records import DiskUsage
from mabeam_p2p.requests import AgentQuery, Committed, Failed, Submit
from tests.protocol.test_handover import Play
from tests.protocol.test_node import EPOCH, ME, A

ONE, TWO = SessionId(1), SessionId(2)
LEASE = 2_000_000
ROOMY, SHORT, FULL = DiskUsage(89, 100), DiskUsage(90, 100), DiskUsage(95, 100)

KEPT = (
    CloseSession(ONE, 2, "left"),
    DepartPeer(CLUSTER_SESSION, 0, A, 1, "dead"),
    KeepAlive(ONE, 2),
    Tick(CLUSTER_SESSION, 0),
)
ITEM = AppendJournal(ONE, 2, "j", b"x")


def room(usage: DiskUsage | None, *commands: AnyCommand) -> bool:
    """Whether there is room for these."""

    def decode(count: int, blob: bytes) -> Sequence[AnyCommand]:
        assert (count, blob) == (len(commands), b"blob")
        return commands

    found = Room(decode)
    found.usage = usage
    return found.takes(len(commands), b"blob")


@pytest.mark.parametrize("command", KEPT, ids=lambda command: type(command).__name__)
def test_what_keeps_the_log_going_has_room_until_nineteen_twentieths(command: AnyCommand) -> None:
    assert room(SHORT, command)
    assert room(DiskUsage(94, 100), command)
    assert not room(FULL, command)


def test_other_commands_have_room_until_nine_tenths() -> None:
    for usage in (None, ROOMY):
        assert room(usage, ITEM)
    for usage in (SHORT, FULL):
        assert not room(usage, ITEM)
        assert not room(usage, KEPT[2], ITEM), "they are taken together or not at all"


class Office(Play):
    """A leader with two agents that have leases."""

    def __init__(self, host: PeerId = ME) -> None:
        super().__init__()
        self.lead()
        self.used = {ONE: 1, TWO: 1}
        for session in (ONE, TWO):
            agent = AgentId(f"{session}@me")
            opening = OpenSession(session, 1, agent, host, EPOCH, (), True, True, (), LEASE)
            self.ask(Submit(opening, 30.0))
        self.wait(0.2)
        assert self.live() == [ONE, TWO]

    def live(self) -> list[SessionId]:
        found = self.node.machine.find(AgentQuery()).agents
        return [agent.session for agent in found]

    def renew(self, session: SessionId) -> int:
        self.used[session] += 1
        return self.ask(Submit(KeepAlive(session, self.used[session]), 30.0))


def test_leases_are_renewed_and_end_while_the_disk_is_nearly_full() -> None:
    office = Office()
    office.desk.stored(SHORT)
    for _ in range(10):
        token = office.renew(ONE)
        office.wait(0.5)
        assert isinstance(office.answer(token), Committed)
        office.forget()
    assert office.live() == [ONE]
    refused = office.answer(office.ask(Submit(AppendJournal(ONE, 99, "j", b"x"), 30.0)))
    assert isinstance(refused, Failed)
    assert refused.reason == "disk_full"


def test_no_lease_ends_while_none_can_be_renewed_for_want_of_room() -> None:
    office = Office()
    last_index = office.node.replication.log.last_index
    office.desk.stored(FULL)
    for _ in range(10):
        answer = office.answer(office.renew(ONE))
        assert isinstance(answer, Failed)
        assert answer.reason == "disk_full"
        office.wait(0.5)
        office.forget()
    assert office.live() == [ONE, TWO]
    assert office.node.replication.log.last_index == last_index


def test_leases_of_other_peers_agents_are_renewed_too() -> None:
    office = Office(A)
    office.desk.stored(SHORT)
    encode = office.desk.codec.encode_commands
    renewal, item = KeepAlive(ONE, 2), AppendJournal(TWO, 2, "j", b"x")
    last_index = office.node.replication.log.last_index
    office.hear(A, Forward(0, 1, 2, encode([renewal, item])))
    assert office.sent(ForwardRefused) == [ForwardRefused(0, 1, "disk_full")]
    assert office.node.replication.log.last_index == last_index
    office.hear(A, Forward(0, 2, 1, encode([renewal])))
    assert office.node.replication.log.last_index == last_index + 1
