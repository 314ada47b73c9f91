"""One whole peer, as the shell drives it: what its cores tell each other within a turn."""

from collections.abc import Callable
from random import Random

import pytest

from mabeam_p2p.commands import AppendJournal, Arrive, Configure, OpenSession
from mabeam_p2p.config import PROTOCOL_VERSION, Config, Limits
from mabeam_p2p.effects import Effects, Notify, Persist, Resolve, Send
from mabeam_p2p.events import AgentJoined, BarrierChanged, QuorumChanged, RoleChanged
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    INTEGER_MAX,
    AgentId,
    ClusterId,
    PeerId,
    SessionId,
)
from mabeam_p2p.messages import (
    AppendEntries,
    Forward,
    ForwardRefused,
    Frame,
    Heartbeat,
    Hello,
    Message,
    PeerAcks,
    ReadIndex,
    Relay,
    Relayed,
    RelayRefused,
    SpreadAcks,
    VariablePush,
    VariableSpread,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.protocol.core import HEARD_PEERS_MAX, HeardNumbers, numbers_before
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.records import (
    Batch,
    BootstrapState,
    DiskUsage,
    HardState,
    Member,
    MemberState,
    OnDeparture,
    Recovered,
    Standing,
    Variable,
)
from mabeam_p2p.requests import (
    WAIT_ALL,
    Acknowledged,
    Await,
    GenerationQuery,
    JournalQuery,
    Leave,
    Read,
    ReadStatus,
    ReadVariables,
    SetVariables,
    StatusAnswer,
    Submit,
    VariableChange,
    Variables,
)
from mabeam_p2p.wire.codec import CborCodec

ME, A, B = VOTERS = tuple(PeerId(letter * 16) for letter in "0ab")
CLUSTER = ClusterId("c" * 32)
EPOCH = 5
REPORT = AppendJournal(SessionId(1), 1, "j", b"x")


class Desk:
    """A voter of three that was restarted, and the shell around it. The others are played."""

    def __init__(
        self,
        *,
        epoch: int = EPOCH,
        limits: Limits | None = None,
        recovered: Callable[[Recovered], Recovered] = lambda found: found,
    ) -> None:
        """recovered: what its disk holds, given what else it would."""
        self.codec = codec = CborCodec(Limits())
        self.blob = blob = codec.encode_commands([Configure(CLUSTER_SESSION, 0, CLUSTER, VOTERS)])
        self.epoch = epoch
        first = Batch(1, 1, 1, 10, blob, VOTERS)
        found = Recovered(
            ME,
            epoch,
            (HardState(0, 1, PeerId("")),),
            (first,),
            BootstrapState(CLUSTER, A, VOTERS, (first,), True),
        )
        self.now = 1000.0
        self.effects: list[object] = []
        config = Config(name="me", limits=limits or Limits())
        self.node = Node(config, recovered(found), "127.0.0.1:1", codec, Random(1), 1.7e9, self.now)
        self.did(self.node.start(self.now))
        self.greet(A)
        self.greet(B)
        self.end_turn()

    def greet(self, peer: PeerId) -> None:
        member = Member(peer, peer[0], f"127.0.0.1:{ord(peer[0])}", 1, 1, MemberState.ALIVE)
        self.hear(peer, Hello("default", CLUSTER, member, True))

    def wait(self, seconds: float) -> None:
        """Time passes, in steps that the node asks for."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, max(self.node.next_deadline(), self.now + 0.001))
            self.did(self.node.tick(self.now))
            self.end_turn()

    def did(self, effects: Effects) -> None:
        self.effects += effects

    def hear(self, source: PeerId, *messages: Message) -> None:
        frame = Frame(PROTOCOL_VERSION, source, 1, self.epoch, 1, CLUSTER, messages)
        self.did(self.node.receive(frame, self.now))

    def end_turn(self) -> None:
        self.did(self.node.flush(self.now))

    def append_committed(self, batches: tuple[Batch, ...]) -> None:
        """A leads in term 2 and appends what is committed already."""
        log = self.node.replication.log
        at = log.last_index, log.last_term
        last_index = batches[-1].last_index
        self.hear(A, AppendEntries(0, 2, at[0], at[1], last_index, batches))
        self.end_turn()

    def stored(self, usage: DiskUsage | None) -> None:
        """The disk has everything, and is so full."""
        self.did(self.node.stored(self.node.outbox.persisted, self.now, usage))
        self.end_turn()

    def sent(self, kind: type[Message]) -> list[Message]:
        return [
            effect.message
            for effect in self.effects
            if isinstance(effect, Send) and isinstance(effect.message, kind)
        ]


def test_a_leader_that_is_heard_in_the_turn_of_the_deadline_is_heard() -> None:
    """A loop that was blocked reads the heartbeats that waited before it looks at the time."""
    desk = Desk()
    desk.hear(A, Heartbeat(0, 2, 1, 1))
    desk.end_turn()
    desk.now += 0.9
    desk.hear(A, Heartbeat(0, 2, 1, 2))
    assert desk.node.next_deadline() <= desk.now
    desk.did(desk.node.tick(desk.now))
    desk.end_turn()
    assert desk.sent(VoteRequest) == []
    assert desk.node.replication.leader == A


def test_a_forward_is_heard_once_though_its_sender_was_thought_dead_meanwhile() -> None:
    """Its refusal said that it was certainly not appended."""
    desk = Desk()
    blob = CborCodec(Limits()).encode_commands([REPORT])
    desk.hear(A, Forward(0, 1, 1, blob))
    desk.wait(4.0)
    member = desk.node.membership.find(A)
    assert member is not None
    assert member.state is MemberState.DEAD
    desk.greet(A)
    desk.hear(A, Forward(0, 1, 1, blob))
    assert len(desk.sent(ForwardRefused)) == 1


def test_no_copy_is_heard_of_what_a_peer_asked_that_is_no_member_any_more() -> None:
    """Its folder was lost, and the peer of its address took its place: a copy may come yet, of what
    was refused as certainly not done, and one of its greeting before it."""
    desk = Desk()
    blob = CborCodec(Limits()).encode_commands([REPORT])
    gone = PeerId("c" * 16)
    for _ in range(2):
        desk.greet(gone)
        desk.hear(gone, Forward(0, 1, 1, blob), Relayed(0, 1, 1, blob), Relay(0, 1, 1, blob))
        desk.end_turn()
        desk.wait(80.0)
        assert desk.node.membership.find(gone) is None
    assert desk.sent(ForwardRefused) == [ForwardRefused(0, 1, "not_leader")] * 2
    assert desk.sent(RelayRefused) == [RelayRefused(0, 1, "not_leader")]


def test_of_peers_that_are_gone_so_many_are_remembered_as_may_be() -> None:
    """Peers without a folder come under a new id each time: there is no end of them."""
    heard = HeardNumbers()
    assert heard.is_new(A, 1)
    for number in range(HEARD_PEERS_MAX - 1):
        assert heard.is_new(PeerId(f"{number:016x}"), 1)
    assert not heard.is_new(A, 1), "heard last, from now on"
    assert heard.is_new(PeerId("f" * 16), 1)
    assert heard.is_new(PeerId(f"{0:016x}"), 1), "the one that was not heard for the longest"
    assert not heard.is_new(A, 1)


def test_what_a_coordinator_passes_on_is_heard_once_and_apart_from_its_own_forwards() -> None:
    desk = Desk()
    blob = CborCodec(Limits()).encode_commands([REPORT])
    for _ in range(2):
        desk.hear(A, Forward(0, 1, 1, blob), Relayed(0, 1, 1, blob))
    assert desk.sent(ForwardRefused) == [ForwardRefused(0, 1, "not_leader")]
    assert desk.sent(RelayRefused) == [RelayRefused(0, 1, "not_leader")]


def test_a_coordinator_that_knows_no_leader_sends_a_report_back() -> None:
    desk = Desk()
    blob = CborCodec(Limits()).encode_commands([REPORT])
    desk.hear(A, Relay(0, 7, 1, blob))
    desk.end_turn()
    assert desk.sent(ForwardRefused) == [ForwardRefused(0, 7, "not_leader")]
    desk.hear(B, Heartbeat(0, 2, 1, 1))
    desk.hear(A, Relay(0, 8, 1, blob))
    desk.end_turn()
    assert desk.sent(Relayed) == [Relayed(0, numbers_before(EPOCH) + 1, 1, blob)]


def test_acknowledgements_that_were_passed_on_count_for_members_that_are_here() -> None:
    desk = Desk(limits=Limits(spread_from_peers=2))
    change = VariableChange("epsilon", "lww", b"\x01")
    desk.did(desk.node.request(9, SetVariables((change,), WAIT_ALL, 9.0), desk.now))
    [push, _] = desk.sent(VariableSpread)
    assert isinstance(push, VariableSpread)
    acks = (PeerAcks((0,), (B, PeerId("f" * 16), A)),)
    desk.hear(A, SpreadAcks(push.number, push.writer, acks))
    [answer] = [e.answer for e in desk.effects if isinstance(e, Resolve) and e.token == 9]
    assert isinstance(answer, Acknowledged)
    assert answer.applied == ("a", "b")


def test_what_is_read_of_variables_is_durable_before_it_is_answered() -> None:
    """Who has read a value that a crash takes back would know more than its peer."""
    desk = Desk()
    desk.stored(None)
    change = VariableChange("epsilon", "lww", b"\x01")
    desk.did(desk.node.request(1, SetVariables((change,)), desk.now))
    desk.did(desk.node.request(2, ReadVariables("epsilon"), desk.now))
    [written] = [
        e for e in desk.effects if isinstance(e, Persist) and isinstance(e.record, Variable)
    ]
    [read] = [e for e in desk.effects if isinstance(e, Resolve) and e.token == 2]
    assert isinstance(read.answer, Variables)
    assert read.answer.variables == (written.record,)
    assert read.after >= written.number
    # Nothing else keeps it waiting: on a disk that hangs people want to see how things stand.
    desk.stored(None)
    desk.append_committed((Batch(2, 1, 2, 20, desk.codec.encode_commands([REPORT])),))
    desk.node.variables._table.settle()
    desk.did(desk.node.request(3, ReadVariables("epsilon"), desk.now))
    [again] = [e for e in desk.effects if isinstance(e, Resolve) and e.token == 3]
    assert again.after <= written.number < desk.node.outbox.persisted


@pytest.mark.parametrize("kind", [Forward, ReadIndex, Relayed, VariablePush])
def test_no_two_processes_of_a_peer_ask_under_one_number(kind: type[Message]) -> None:
    """An answer may come when who has asked is gone: a later process must not take it for its."""
    numbers: list[list[int]] = []
    for epoch in (EPOCH, EPOCH + 1):
        desk = Desk(epoch=epoch, limits=Limits(relay_from_peers=4 if kind is Forward else 2))
        desk.hear(A, Heartbeat(0, 2, 1, 1))
        desk.end_turn()
        for sequence in range(1, 4):
            change = VariableChange("x", "lww", b"\x01")
            desk.did(desk.node.request(sequence, SetVariables((change,)), desk.now))
            command = AppendJournal(SessionId(1), sequence, "j", b"\x01")
            desk.did(desk.node.request(10 + sequence, Submit(command), desk.now))
            read = Read(JournalQuery("j"), True)
            desk.did(desk.node.request(20 + sequence, read, desk.now))
            desk.hear(B, Relay(0, sequence, 1, desk.blob))
            desk.end_turn()
            desk.wait(0.02)
        numbers.append(
            [
                message.number
                for message in desk.sent(kind)
                if isinstance(message, Forward | ReadIndex | Relayed | VariablePush)
            ]
        )
    first, second = numbers
    assert first
    assert second
    assert not {*first} & {*second}


def test_what_commands_have_led_to_is_told_before_they_are_answered() -> None:
    """Who has the answer finds its own doing wherever events are kept."""
    desk = Desk()
    opened = OpenSession(SessionId(1), 1, AgentId("a@me"), ME, 5, (), True, True)
    arrived = Arrive(SessionId(1), 2, "b", 1, 1, OnDeparture.WAIT)
    desk.hear(A, Heartbeat(0, 2, 1, 1))
    desk.did(desk.node.request(1, Submit(opened, 30.0), desk.now))
    desk.did(desk.node.request(2, Submit(arrived, 30.0), desk.now))
    desk.did(desk.node.request(3, Await(GenerationQuery("b", 1), 30.0), desk.now))
    desk.end_turn()
    desk.effects.clear()
    desk.append_committed((Batch(2, 2, 2, 20, desk.codec.encode_commands([opened, arrived])),))
    order = [
        one.token if isinstance(one, Resolve) else type(one.event)
        for one in desk.effects
        if isinstance(one, Resolve | Notify)
    ]
    answers = [order.index(token) for token in (1, 2, 3)]
    assert max(order.index(AgentJoined), order.index(BarrierChanged)) < min(answers)


def test_who_has_left_takes_no_election_over() -> None:
    desk = Desk()
    desk.wait(0.3)
    desk.did(desk.node.request(1, Leave(), desk.now))
    desk.hear(B, VoteRequest(0, 2, Standing(1, 1, 0, 0), pre=True, transfer=False))
    desk.end_turn()
    assert [reply.higher for reply in desk.sent(VoteReply) if isinstance(reply, VoteReply)] == [
        False
    ]
    assert desk.sent(VoteRequest) == []


def test_the_logs_clock_begins_at_the_wall_clock_of_who_offers_the_cluster() -> None:
    """Microseconds since 1970: deadlines of the log are told to people as times of the day."""
    codec, wall = CborCodec(Limits()), 1.7e9
    config = Config(name="me", expect=1)
    node = Node(config, Recovered(ME, 1), "127.0.0.1:1", codec, Random(1), wall, 0.0)
    node.start(0.0)
    node.tick(1.0)
    node.flush(1.0)
    (first,) = node.replication.log.holding(1, 1)
    assert abs(first.clock - wall * 1_000_000) <= 1_000_000


def test_a_wall_clock_out_of_its_mind_leaves_the_logs_clock_room_to_grow() -> None:
    codec = CborCodec(Limits())
    for wall in (-1e12, 1e12):
        config = Config(name="me", expect=1)
        node = Node(config, Recovered(ME, 1), "127.0.0.1:1", codec, Random(1), wall, 0.0)
        node.start(0.0)
        node.tick(1.0)
        node.flush(1.0)
        assert node.replication.log.last_index, "it has formed its cluster"
        assert 0 <= node.replication.log.last_clock <= INTEGER_MAX // 2 + 2_000_000


def test_observers_are_told_each_part_that_a_peer_plays_in_the_log_once_and_in_order() -> None:
    desk = Desk()
    desk.wait(1.0)
    desk.hear(A, VoteReply(0, 2, True, True, False))
    desk.end_turn()
    desk.hear(A, VoteReply(0, 2, True, False, False))
    desk.end_turn()
    desk.hear(B, Heartbeat(0, 3, 1, 1))
    desk.end_turn()
    told = [e.event for e in desk.effects if isinstance(e, Notify)]
    roles = [(event.role, event.term) for event in told if isinstance(event, RoleChanged)]
    assert roles == [("follower", 1), ("candidate", 1), ("leader", 2), ("follower", 3)]


def test_it_is_told_once_that_a_quorum_is_there_and_once_that_it_is_lost() -> None:
    desk = Desk()
    for number in range(1, 6):
        desk.wait(0.05)
        desk.hear(A, Heartbeat(0, 2, 1, number))
        desk.end_turn()
    told = [e.event for e in desk.effects if isinstance(e, Notify)]
    assert [e for e in told if isinstance(e, QuorumChanged)] == [QuorumChanged(True)]
    desk.effects.clear()
    desk.wait(5.0)
    told = [e.event for e in desk.effects if isinstance(e, Notify)]
    assert [e for e in told if isinstance(e, QuorumChanged)] == [QuorumChanged(False)]


def test_a_peers_status_counts_the_members_that_are_here() -> None:
    desk = Desk()

    def count(token: int) -> int:
        desk.did(desk.node.request(token, ReadStatus(), desk.now))
        [told] = [e.answer for e in desk.effects if isinstance(e, Resolve) and e.token == token]
        assert isinstance(told, StatusAnswer)
        return told.status.alive_count

    assert count(1) == 3
    desk.wait(4.0)
    assert count(2) == 1, "both others are dead"


def test_who_is_in_no_cluster_takes_a_log_only_from_who_is_in_one() -> None:
    codec = CborCodec(Limits())
    node = Node(Config(name="me"), Recovered(ME, 1), "127.0.0.1:1", codec, Random(1), 1.7e9, 0.0)
    node.start(0.0)
    blob = codec.encode_commands([Configure(CLUSTER_SESSION, 0, CLUSTER, VOTERS)])
    first = Batch(1, 1, 1, 10, blob, VOTERS)
    member = Member(A, "a", "127.0.0.1:97", 1, 1, MemberState.ALIVE)
    for cluster, last_index in ((ClusterId(""), 0), (CLUSTER, 1)):
        for message in (
            Hello("default", cluster, member, True),
            AppendEntries(0, 1, 0, 0, 0, (first,)),
        ):
            node.receive(Frame(PROTOCOL_VERSION, A, 1, 1, 1, cluster, (message,)), 1.0)
        node.flush(1.0)
        assert node.replication.log.last_index == last_index
