"""What a wait waits for: the subject of a query, whether it is settled, and which events settle it.

A wait looks at the state, never at an event: the event only says when to look again. A query that
has no subject never settles.
"""

from mabeam_p2p.events import (
    AuctionClosed,
    BarrierChanged,
    ItemTaken,
    LockEnded,
    LockGranted,
    MachineEvent,
    ParameterChanged,
    ParameterConfirmed,
    ProposalDecided,
    SeatChanged,
    TakeEnded,
    TaskChanged,
    TaskRevoked,
    WorkerChanged,
)
from mabeam_p2p.records import (
    AuctionStatus,
    BarrierStatus,
    ProposalStatus,
    TaskStatus,
)
from mabeam_p2p.requests import (
    AuctionQuery,
    ElectionQuery,
    Found,
    GenerationQuery,
    LockQuery,
    ParameterQuery,
    ProposalQuery,
    Query,
    QueueQuery,
    SeatQuery,
    TaskQuery,
    WorkQuery,
)

Subject = tuple[str, str, int]
"""Kind, name, number."""

_OPEN = (TaskStatus.QUEUED, TaskStatus.LEASED)


def subject_of(query: Query) -> Subject | None:
    """What must happen for `query` to be settled; None: it cannot be waited for."""
    match query:
        case ProposalQuery(proposal) if proposal:
            return "proposal", proposal, 0
        case ParameterQuery(name) if name:
            return "parameter", name, 0
        case GenerationQuery(barrier, generation) if barrier and generation:
            return "barrier", barrier, generation
        case AuctionQuery(auction) if auction:
            return "auction", auction, 0
        case SeatQuery(seat) | ElectionQuery(seat) if seat:
            return "seat", seat, 0
        case LockQuery(name, ticket) if name and ticket:
            return "lock", name, ticket
        case QueueQuery(name, ticket) if name and ticket:
            return "queue", name, ticket
        case TaskQuery(task) if task:
            return "task", task, 0
        case WorkQuery(agent) if agent:
            return "work", agent, 0
        case _:
            return None


def is_settled(query: Query, found: Found) -> bool:
    """Whether `found`, the answer to `query`, shows what was waited for."""
    match query:
        case ProposalQuery():
            return any(one.status is not ProposalStatus.OPEN for one in found.proposals)
        case ParameterQuery(version=version):
            return any(
                one.version > version or (one.version == version and not one.guard_deadline)
                for one in found.parameters
            )
        case GenerationQuery():
            return any(one.status is not BarrierStatus.WAITING for one in found.generations)
        case AuctionQuery():
            return any(one.status >= AuctionStatus.AWARDED for one in found.auctions)
        case SeatQuery(above=above):
            return any(one.holder and one.token > above for one in found.seats)
        case ElectionQuery(election=election):
            # None that runs has ended, unless the command that opens it was not applied yet.
            running = [one.election for one in found.seats if one.election is not None]
            return found.index >= election and all(one.opened_index > election for one in running)
        case LockQuery(_, ticket) | QueueQuery(_, ticket):
            # A claim that is not there has ended, unless its command was not applied yet.
            claims = [claim for lock in found.locks for claim in lock.claims]
            claims += [claim for queue in found.queues for claim in queue.claims]
            return found.index >= ticket and all(claim.token for claim in claims)
        case TaskQuery():
            return any(one.status not in _OPEN for one in found.tasks)
        case WorkQuery(seen_index=seen):
            return any(one.changed_index > seen for one in found.workers)
        case _:
            return False


def settled_by(event: MachineEvent) -> Subject | None:
    """The subject whose waits must look again."""
    match event:
        case ProposalDecided(proposal=proposal):
            return "proposal", proposal.id, 0
        case ParameterChanged(parameter=one) | ParameterConfirmed(parameter=one):
            return "parameter", one.name, 0
        case BarrierChanged(generation=one) if one.status is not BarrierStatus.WAITING:
            return "barrier", one.barrier, one.generation
        case AuctionClosed(auction=auction):
            return "auction", auction.id, 0
        case SeatChanged(seat=seat):
            return "seat", seat.name, 0
        case LockGranted(lock=name, claim=claim) | LockEnded(lock=name, claim=claim):
            return "lock", name, claim.ticket
        case ItemTaken(queue=name, claim=claim) | TakeEnded(queue=name, claim=claim):
            return "queue", name, claim.ticket
        case TaskChanged(task=task) if task.status not in _OPEN:
            return "task", task.id, 0
        case TaskChanged(task=task) if task.status is TaskStatus.LEASED:
            return "work", task.agent, 0
        case TaskRevoked(agent=agent):
            return "work", agent, 0
        case WorkerChanged(worker=worker):
            return "work", worker.agent, 0
        case _:
            return None
