"""One right specimen of everything that a client can say to its daemon."""

from mabeam_p2p.ids import AgentId, AuctionId, PeerId, ProposalId, SessionId, TaskId
from mabeam_p2p.inquiries import ReadEvidence, ReadFigures
from mabeam_p2p.key_requests import Introduced, Invite, ProposeSecret, ReadKeys, RenewKey
from mabeam_p2p.records import TaskStatus
from mabeam_p2p.requests import (
    AccountQuery,
    AgentQuery,
    AuctionQuery,
    Await,
    BudgetQuery,
    ChangeVoters,
    CounterQuery,
    ElectionQuery,
    GenerationQuery,
    HoldQuery,
    JournalQuery,
    Leave,
    LockQuery,
    LogQuery,
    MovementQuery,
    ParameterQuery,
    ProposalQuery,
    Query,
    QueueQuery,
    Read,
    ReadMembers,
    ReadStatus,
    ReadVariables,
    ReputationQuery,
    Request,
    SeatQuery,
    SendMail,
    SetFitness,
    SetVariables,
    Submit,
    Suggest,
    TakeMail,
    TaskQuery,
    TasksQuery,
    TransferLeadership,
    VariableChange,
    WorkersQuery,
    WorkQuery,
)
from mabeam_p2p.wire.local import LOCAL_VERSION, Ask, Cancel, ClientMessage, Greet, Subscribe
from tests.wire.samples import COMMANDS

PEER = PeerId("0123456789abcdef")
AGENT = AgentId("ant@hill")

QUERIES: tuple[Query, ...] = (
    ParameterQuery("rate", 3),
    ProposalQuery(ProposalId("p")),
    GenerationQuery("gate", 4),
    JournalQuery("trials", 2),
    AgentQuery(),
    LogQuery(1, 100),
    AccountQuery("ant@hill", "usd"),
    HoldQuery("h1", "ant@hill"),
    MovementQuery(1, 100),
    BudgetQuery("gpu"),
    ReputationQuery(AGENT, "plan"),
    SeatQuery("cook", 7),
    ElectionQuery("cook", 7),
    LockQuery("door", 5),
    CounterQuery("hits"),
    QueueQuery("jobs", 6),
    TaskQuery(TaskId("t-1")),
    TasksQuery((TaskStatus.QUEUED,), 100),
    WorkQuery(AGENT, 9),
    WorkersQuery(),
    AuctionQuery(AuctionId("a-1"), True),
)

REQUESTS: tuple[Request, ...] = (
    *(Read(query, True, 1.5) for query in QUERIES),
    Await(ParameterQuery("rate", 3), 1.5),
    Submit(COMMANDS[0], 2.5),
    SetVariables((VariableChange("eps", "lww", b"\x01", ((PEER, 4),)),), 1, 1.5),
    ReadVariables("eps"),
    ReadStatus(),
    ReadMembers(),
    Suggest(("127.0.0.1:7946",)),
    SendMail(AGENT, (AGENT,), "all", "news", b"\x01", True, 5_000_000),
    TakeMail(AGENT, 3, b"\x01", "no"),
    TransferLeadership(PEER, 1.5),
    SetFitness(50, "hot"),
    ChangeVoters(PEER, True, 4, 1.5),
    Leave(),
    ReadEvidence(PEER),
    ReadFigures(),
    Invite(60.0, True),
    ReadKeys(),
    RenewKey(),
    ProposeSecret(),
    Introduced(PEER, bytes(range(32))),
)

EACH_REQUEST: tuple[ClientMessage, ...] = (
    Greet(LOCAL_VERSION, "ant", SessionId(7)),
    *(Ask(number, request) for number, request in enumerate(REQUESTS, 1)),
    Cancel(21),
    Subscribe(True),
)
CLIENT_MESSAGES: tuple[ClientMessage, ...] = (
    *EACH_REQUEST,
    *(Ask(number, Submit(command)) for number, command in enumerate(COMMANDS, 100)),
)


def label_of(message: ClientMessage) -> str:
    """Its kind, and that of what it asks or submits, as `Ask-Read-LockQuery`."""
    request = getattr(message, "request", None)
    parts = (message, request, getattr(request, "query", getattr(request, "command", None)))
    return "-".join(type(part).__name__ for part in parts if part is not None)
