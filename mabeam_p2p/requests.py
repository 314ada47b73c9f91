"""What an agent asks of its peer, and every answer. The same words cross the thread boundary of an
embedded peer and the local socket of a daemon. Tags are only ever appended.

A request that waits has a timeout in seconds; without one it gets the configured default. Each
request gets exactly one answer, unless it is cancelled.
"""

from msgspec import Struct

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.ids import AgentId, AuctionId, PeerId, ProposalId, TaskId
from mabeam_p2p.inquiries import EvidenceAnswer, Figures, ReadEvidence, ReadFigures
from mabeam_p2p.key_requests import GateAnswer, GateRequest, Introduced
from mabeam_p2p.records import (
    Account,
    Agent,
    Auction,
    Batch,
    Budget,
    Counter,
    Currency,
    Deal,
    Generation,
    Hold,
    Journal,
    Lock,
    MailAnswer,
    Member,
    Movement,
    Parameter,
    ParameterSchema,
    Proposal,
    Queue,
    Reputation,
    Reservation,
    Seat,
    Status,
    Task,
    TaskStatus,
    TaskWorker,
    Variable,
)

# ---- questions about what the log has made ----------------------------------------------------


class ParameterQuery(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """The parameter of this name, or, with an empty name, all of them, and their schemas. Settled
    once the guard of `version` has ended or another one has taken its place."""

    name: str
    version: int = 0


class ProposalQuery(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """The proposal of this id, or, with an empty id, all that are remembered."""

    proposal: ProposalId


class GenerationQuery(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """One generation of a barrier; 0 is the running or last one. Empty name: all running ones."""

    barrier: str
    generation: int


class JournalQuery(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """The items from position `first` on, as far as they fit into `journal_page_bytes_max`."""

    name: str
    first: int = 1


class AgentQuery(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Every live agent."""


class LogQuery(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Committed batches from the one that holds `first_index`, or the first one that is left if a
    snapshot has taken its place, up to `limit` of them."""

    first_index: int
    limit: int


class AccountQuery(Struct, frozen=True, gc=False, array_like=True, tag=25):
    """What this account has of this currency; empty: of all. Also the currencies."""

    account: str
    currency: str


class HoldQuery(Struct, frozen=True, gc=False, array_like=True, tag=26):
    """The hold of this name; without one, the holds of this account; without either, all."""

    hold: str
    account: str


class MovementQuery(Struct, frozen=True, gc=False, array_like=True, tag=27):
    """Movements of the ledger from number `first` on, up to `limit` of them; 0: the last ones."""

    first: int
    limit: int


class BudgetQuery(Struct, frozen=True, gc=False, array_like=True, tag=28):
    """The budget of this name and its reservations; empty: all."""

    budget: str


class ReputationQuery(Struct, frozen=True, gc=False, array_like=True, tag=29):
    """What is thought of this agent's skill; empty: of all. Also the agent's deals."""

    agent: str
    skill: str


class SeatQuery(Struct, frozen=True, gc=False, array_like=True, tag=15):
    """The seat of this name, without ballots, or, with an empty name, all of them. Settled when it
    is held under a token above `above`."""

    seat: str
    above: int = 0


class ElectionQuery(Struct, frozen=True, gc=False, array_like=True, tag=16):
    """The seat of this name with every ballot of its running and its last election. Settled when
    the election of that number, and every earlier one, has ended."""

    seat: str
    election: int = 0


class LockQuery(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """One lock, with the claim of this ticket or, if that is 0, with all. Empty name: all locks."""

    name: str
    ticket: int = 0


class CounterQuery(Struct, frozen=True, gc=False, array_like=True, tag=11):
    """The counter of this name or, with an empty name, all that are not 0."""

    name: str


class QueueQuery(Struct, frozen=True, gc=False, array_like=True, tag=12):
    """One queue, with the claim of this ticket if that is not 0. Empty name: all queues."""

    name: str
    ticket: int = 0


class TaskQuery(Struct, frozen=True, gc=False, array_like=True, tag=20):
    """The task of this id, with its argument and result. Settled once it is finished."""

    task: TaskId


class TasksQuery(Struct, frozen=True, gc=False, array_like=True, tag=21):
    """Tasks without arguments and results: open ones, then dead ones, then the finished, each the
    newest first; up to `limit` of all together. All that are remembered are counted."""

    statuses: tuple[TaskStatus, ...]
    limit: int


class WorkQuery(Struct, frozen=True, gc=False, array_like=True, tag=22):
    """What an agent works on: its record as a worker and its leased tasks, with the arguments of
    those leased behind `seen_index`. Settled once something has changed behind it."""

    agent: AgentId
    seen_index: int


class WorkersQuery(Struct, frozen=True, gc=False, array_like=True, tag=23):
    """Every agent that offers to work."""


class AuctionQuery(Struct, frozen=True, gc=False, array_like=True, tag=30):
    """The auction of this id, or, with an empty id, all that are remembered."""

    auction: AuctionId
    open_only: bool = False


Query = (
    ParameterQuery
    | ProposalQuery
    | GenerationQuery
    | JournalQuery
    | AgentQuery
    | LogQuery
    | AccountQuery
    | HoldQuery
    | MovementQuery
    | BudgetQuery
    | ReputationQuery
    | SeatQuery
    | ElectionQuery
    | LockQuery
    | CounterQuery
    | QueueQuery
    | TaskQuery
    | TasksQuery
    | WorkQuery
    | WorkersQuery
    | AuctionQuery
)

# ---- requests --------------------------------------------------------------------------------


class Submit(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Commit a command. Answer: Committed, Refused or Failed."""

    command: AnyCommand
    timeout: float | None = None


class Read(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Answer: Found, or Failed if `linearizable` and no quorum confirms."""

    query: Query
    linearizable: bool = False
    timeout: float | None = None


class Await(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Answer: Found once the query is settled, as machine/subjects.py says; Failed with reason
    timeout. LogQuery and queries about everything never settle."""

    query: Query
    timeout: float | None = None


class VariableChange(Struct, frozen=True, gc=False, array_like=True):
    name: str
    resolver: str
    value: bytes | None
    """None deletes."""
    context: tuple[tuple[PeerId, int], ...] | None = None
    """What the writer has seen; None: everything that its peer has."""


WAIT_ALL = -1
WAIT_MAJORITY = -2


class SetVariables(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Write variables, together. Answer: Acknowledged or Refused."""

    changes: tuple[VariableChange, ...]
    wait: int = 0
    """How many other members must acknowledge before the answer; WAIT_ALL, WAIT_MAJORITY."""
    timeout: float | None = None


class ReadVariables(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """The variable of this name, or, with an empty name, all. Answer: Variables."""

    name: str


class ReadStatus(Struct, frozen=True, gc=False, array_like=True, tag=7):
    """Answer: Status."""


class ReadMembers(Struct, frozen=True, gc=False, array_like=True, tag=8):
    """Answer: Members."""


class Suggest(Struct, frozen=True, gc=False, array_like=True, tag=9):
    """Addresses (HOST:PORT) where members might be. A hint. Answer: Done."""

    addresses: tuple[str, ...]


class Leave(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """Say goodbye; a leader hands over first, if there is somebody who can take over. Answer: Done,
    when every live member was told."""


class TransferLeadership(Struct, frozen=True, gc=False, array_like=True, tag=30):
    """Have another peer lead; empty: whoever stands highest. Answer: HandedOver once it leads,
    Refused or Failed."""

    target: PeerId
    timeout: float | None = None


class SetFitness(Struct, frozen=True, gc=False, array_like=True, tag=31):
    """How fit this peer is to lead from now on. Answer: Done."""

    score: int
    """0..100."""
    unfit: str | None = ""
    """Why it is not to lead at present, as `disk full`; it votes all the same. None: as before."""


class SendMail(Struct, frozen=True, gc=False, array_like=True, tag=12):
    """A letter of one of this peer's agents. Answer: MailSent, Refused or Failed."""

    sender: AgentId
    targets: tuple[AgentId, ...]
    """Empty: all other agents of `group`."""
    group: str
    topic: str
    value: bytes
    wants_answer: bool
    timeout: int
    """Microseconds to wait for receipts, and for answers."""


class TakeMail(Struct, frozen=True, gc=False, array_like=True, tag=13):
    """The agent has done with a letter that it got. Answer: Done."""

    agent: AgentId
    letter: int
    value: bytes = b""
    """The answer, if one was wanted."""
    error: str = ""
    """Why there is none."""


class ChangeVoters(Struct, frozen=True, gc=False, array_like=True, tag=14):
    """Let a peer vote in the log, or not. Answer: Committed with the configuration's index, Refused
    or Failed."""

    peer: PeerId
    votes: bool
    index: int = 0
    """Of the configuration that the change is made on; 0: of whichever is the latest."""
    timeout: float | None = None


NodeRequest = (
    Submit
    | Read
    | Await
    | SetVariables
    | ReadVariables
    | ReadStatus
    | ReadMembers
    | Suggest
    | SendMail
    | TakeMail
    | TransferLeadership
    | SetFitness
    | ChangeVoters
    | ReadEvidence
    | ReadFigures
    | Introduced
)
"""Whatever one of a node's cores answers."""

Request = NodeRequest | Leave | GateRequest

COMMANDS = (Submit, ChangeVoters, TransferLeadership)
"""For the log: without an answer in time they may be done, or may still be."""

EFFECTS = (*COMMANDS, SetVariables, SendMail)
"""What a peer may have done, though it has gone before it could say so."""

# ---- answers ---------------------------------------------------------------------------------


class Committed(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """The command is committed and has taken effect at `index`."""

    index: int
    term: int
    number: int = 0
    """What the machine says of the command, as the generation of an arrival, the position of an
    item, the token of a grant, the units that a bid has; else 0."""


class Refused(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Certainly not done. `reason` is a stable word; api/answers.py says what each means."""

    reason: str
    detail: str


class Failed(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """No answer from the cluster. `reason`: no_quorum, overloaded, disk_full, closed (certainly
    not done); unknown (maybe done); timeout (a wait that ended; what was waited for goes on)."""

    reason: str
    detail: str


class Found(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """What the log has made, as of `index`. Only what was asked for is filled."""

    index: int
    age_seconds: float
    """Since this peer last had all that a leader said was committed; 0 when linearizable. If it
    never had since it started: since its last entry, by the wall clock, rather more than less."""
    linearizable: bool
    parameters: tuple[Parameter, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    generations: tuple[Generation, ...] = ()
    journals: tuple[Journal, ...] = ()
    agents: tuple[Agent, ...] = ()
    batches: tuple[Batch, ...] = ()
    schemas: tuple[ParameterSchema, ...] = ()
    accounts: tuple[Account, ...] = ()
    currencies: tuple[Currency, ...] = ()
    holds: tuple[Hold, ...] = ()
    movements: tuple[Movement, ...] = ()
    budgets: tuple[Budget, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    reputations: tuple[Reputation, ...] = ()
    deals: tuple[Deal, ...] = ()
    seats: tuple[Seat, ...] = ()
    locks: tuple[Lock, ...] = ()
    counters: tuple[Counter, ...] = ()
    queues: tuple[Queue, ...] = ()
    tasks: tuple[Task, ...] = ()
    workers: tuple[TaskWorker, ...] = ()
    auctions: tuple[Auction, ...] = ()
    task_count: int = 0
    """Of tasks of every status, with those that were not asked for."""


class Acknowledged(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Where a write of variables has come: names of peers."""

    applied: tuple[str, ...]
    superseded: tuple[str, ...]
    merged: tuple[str, ...]
    missing: tuple[str, ...]
    """Members that did not answer before the deadline."""
    left: tuple[str, ...]
    """Members that left or died before they answered."""
    reached: bool
    """Whether as many as were waited for have acknowledged."""


class Variables(Struct, frozen=True, gc=False, array_like=True, tag=6):
    variables: tuple[Variable, ...]


class StatusAnswer(Struct, frozen=True, gc=False, array_like=True, tag=7):
    status: Status


class Members(Struct, frozen=True, gc=False, array_like=True, tag=8):
    members: tuple[Member, ...]
    agents: tuple[Agent, ...]


class Done(Struct, frozen=True, gc=False, array_like=True, tag=9):
    pass


class MailSent(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """What became of a letter, by target."""

    delivered: tuple[AgentId, ...]
    full: tuple[AgentId, ...]
    """Turned away: their mailboxes had no room."""
    unreachable: tuple[AgentId, ...]
    """Certainly not delivered: they do not live, or their peers could not be reached."""
    silent: tuple[AgentId, ...]
    """Nothing was heard of them in time, or before they were gone: neither a receipt, nor the
    answer that was asked for. They may have the letter."""
    answers: tuple[MailAnswer, ...]


class HandedOver(Struct, frozen=True, gc=False, array_like=True, tag=20):
    """Who leads now."""

    leader: PeerId
    term: int


Outcome = Committed | Refused
"""What a command can come to in the log."""

Answer = (
    Committed
    | Refused
    | Failed
    | Found
    | Acknowledged
    | Variables
    | StatusAnswer
    | Members
    | Done
    | MailSent
    | HandedOver
    | EvidenceAnswer
    | Figures
    | GateAnswer
)
