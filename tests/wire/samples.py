"""One right specimen of everything that travels: raw material of corpora and golden vectors."""

from typing import Any

from mabeam_p2p.commands import (
    AcknowledgeItem,
    AcquireLock,
    AddCounter,
    AnyCommand,
    AppendJournal,
    Arrive,
    Burn,
    CaptureHold,
    CastRanking,
    CastVote,
    CloseSession,
    Configure,
    ConfirmParameter,
    DeclareParameter,
    DepartPeer,
    Describe,
    Elect,
    JoinGroup,
    KeepAlive,
    LeaveGroup,
    Mint,
    Noop,
    OpenProposal,
    OpenSession,
    PlaceHold,
    PublishScore,
    PutItem,
    Rate,
    ReleaseHold,
    ReleaseLock,
    RenewLock,
    Reserve,
    Resign,
    ReturnItem,
    SetBudget,
    SetCounter,
    SpendReserved,
    Stand,
    TakeItem,
    Tick,
    Transfer,
)
from mabeam_p2p.config import PROTOCOL_VERSION
from mabeam_p2p.ids import AgentId, ClusterId, PeerId, ProposalId, SessionId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Digest,
    DigestEntries,
    Form,
    Forward,
    ForwardRefused,
    Frame,
    Gossip,
    Heartbeat,
    HeartbeatReply,
    Hello,
    Message,
    Offer,
    Probe,
    ProbeAck,
    Promise,
    ReadIndex,
    ReadIndexReply,
    Refuse,
    VariableAck,
    VariablePush,
    VariableWant,
    VoteReply,
    VoteRequest,
    Withdraw,
)
from mabeam_p2p.records import (
    Among,
    Batch,
    Choice,
    Member,
    MemberState,
    OnDeparture,
    Policy,
    Sibling,
    Standing,
    Variable,
)
from mabeam_p2p.wire.codec import to_plain

ONE, TWO = PeerId("0123456789abcdef"), PeerId("fedcba9876543210")
CLUSTER = ClusterId("00112233445566778899aabbccddeeff")
SESSION = SessionId(9_007_199_254_740_991)
STANDING = Standing(last_term=3, last_index=41, score_bucket=5, tenure=7)
MEMBER = Member(ONE, "one", "127.0.0.1:7946", 4, 2, MemberState.SUSPECT)
FIRST = Batch(1, 1, 1, 0, bytes.fromhex("83010000"), (ONE, TWO))
SECOND = Batch(2, 3, 1, 1_700_000_000_000_000, bytes.fromhex("830100008302000083010000"))
VARIABLE = Variable(
    "model/epsilon",
    "lww",
    ((ONE, (4 << 32) + 9), (TWO, 77)),
    (Sibling(ONE, (4 << 32) + 9, 1_700_000_000_000_001, b"\xf5"), Sibling(TWO, 77, 2, None)),
)

MESSAGES: tuple[Message, ...] = (
    Hello("default", CLUSTER, MEMBER, answer=False),
    Refuse("cluster", "this is cluster 'other'"),
    Probe(17, STANDING),
    ProbeAck(17, STANDING),
    Gossip((MEMBER,)),
    Offer(CLUSTER, (ONE, TWO), FIRST),
    Promise(CLUSTER, granted=True),
    Withdraw(CLUSTER),
    Form(CLUSTER),
    VoteRequest(0, 4, STANDING, pre=True, transfer=False),
    VoteReply(0, 4, granted=False, pre=True, higher=True),
    AppendEntries(0, 4, 0, 0, 0, (FIRST, SECOND)),
    AppendReply(0, 4, success=True, match_index=4, previous_index=0),
    Heartbeat(0, 4, 4, 1000),
    HeartbeatReply(0, 4, 1000),
    CommitAdvance(0, 4, 4),
    ReadIndex(0, 6),
    ReadIndexReply(0, 6, 4),
    Forward(0, 5, 2, bytes.fromhex("8302000083020000")),
    ForwardRefused(0, 5, "overloaded"),
    VariablePush(8, (VARIABLE,)),
    VariableAck(8, (0, 1, 2)),
    Digest((0, 2**64 - 1), newcomer=True),
    DigestEntries((1,), (("model/epsilon", 2**63),), last=True),
    VariableWant(("model/epsilon",)),
)

COMMANDS: tuple[AnyCommand, ...] = (
    Noop(SessionId(0), 0),
    Tick(SessionId(0), 0),
    Configure(SessionId(0), 0, CLUSTER, (ONE, TWO)),
    OpenSession(
        SESSION, 1, AgentId("judge@one"), ONE, 4, ("all", "vision"), True, False, (("gpu", 1),)
    ),
    CloseSession(SESSION, 2, "closed"),
    DepartPeer(SessionId(0), 0, ONE, 4, "dead"),
    OpenProposal(
        SESSION,
        3,
        ProposalId("p-1"),
        "learning_rate",
        bytes.fromhex("fb3f689374bc6a7efa"),
        "loss is flat",
        b"\xa0",
        "all",
        30_000_000,
        None,
        Policy(),
    ),
    CastVote(SESSION, 4, ProposalId("p-1"), Choice.REJECT, 900, "diverged at 0.1 in run 12"),
    Arrive(SESSION, 5, "epoch-9", 4, 30_000_000, OnDeparture.SHRINK),
    AppendJournal(SESSION, 6, "trials", b"\x01", 1_024),
    JoinGroup(SESSION, 7, "vision"),
    LeaveGroup(SESSION, 8, "vision"),
    Describe(SESSION, 9, "bulk", "127.0.0.1:7950"),
    KeepAlive(SESSION, 10),
    DeclareParameter(SESSION, 11, "learning_rate", b"\xa1dtypeefloat"),
    ConfirmParameter(SESSION, 12, "learning_rate", 41, False, "loss is NaN"),
    Mint(SESSION, 11, "m-1", "lab:purse", "lab:credit", 1_000_000_000, "for the week"),
    Transfer(SESSION, 12, "t-1", "lab:purse", "judge@one", "lab:credit", 2_500_000, "fee"),
    Burn(SESSION, 13, "b-1", "judge@one", "lab:credit", 1, ""),
    PlaceHold(SESSION, 14, "h-1", "judge@one", "lab:credit", 40, "ant@two", 30_000_000, "trial"),
    CaptureHold(SESSION, 15, "c-1", "h-1", 9_007_199_254_740_991, "ant@two", "done"),
    ReleaseHold(SESSION, 16, "r-1", "h-1", "not needed"),
    SetBudget(SESSION, 17, "lab:sweep", 1_000_000_000, "lab:week", 86_400_000_000),
    Reserve(SESSION, 18, "lab:sweep", 5_000_000),
    SpendReserved(SESSION, 19, "lab:sweep", 1_234, 3_200_000),
    Rate(SESSION, 20, "hold/h-1", "judging", 950),
    PublishScore(SESSION, 11, "vision:lead", (("performance", 900), ("reliability", 1000))),
    Stand(SESSION, 12, "vision:lead", stands=False),
    Elect(
        SESSION,
        13,
        "vision:lead",
        "vision",
        15_000_000,
        stands=True,
        challenge=True,
        among=Among.STANDING,
        weights=(("performance", 2), ("reliability", 1)),
    ),
    CastRanking(SESSION, 14, "vision:lead", 41, ((AgentId("judge@one"), 1000),)),
    Resign(SESSION, 15, "vision:lead", 44),
    AcquireLock(SESSION, 11, "checkpoint", 2, 1, 30_000_000, 5_000_000),
    ReleaseLock(SESSION, 12, 11, "checkpoint"),
    RenewLock(SESSION, 13, "checkpoint", 11),
    AddCounter(SESSION, 14, "rounds", -3),
    SetCounter(SESSION, 15, "rounds", 7, 4),
    PutItem(SESSION, 16, "trials", b"\x01"),
    TakeItem(SESSION, 17, "trials", 30_000_000),
    AcknowledgeItem(SESSION, 18, 17, "trials"),
    ReturnItem(SESSION, 19, 17, "trials"),
)


def frame_of(*messages: Message) -> Frame:
    return Frame(PROTOCOL_VERSION, ONE, 4, 5, 99, CLUSTER, messages)


def plain_lists(struct: object) -> Any:
    """What travels, as lists within lists that a test can spoil."""

    def thaw(data: Any) -> Any:
        return [thaw(part) for part in data] if isinstance(data, list | tuple) else data

    return thaw(to_plain(struct))
