"""What is asked of the machines, and where the answer stands."""

from functools import partial
from typing import assert_never

from mabeam_p2p.machine.parts import Parts
from mabeam_p2p.requests import (
    AccountQuery,
    AgentQuery,
    AuctionQuery,
    BudgetQuery,
    CounterQuery,
    ElectionQuery,
    Found,
    GenerationQuery,
    HoldQuery,
    JournalQuery,
    LockQuery,
    MovementQuery,
    ParameterQuery,
    ProposalQuery,
    QueueQuery,
    ReputationQuery,
    SeatQuery,
    TaskQuery,
    TasksQuery,
    WorkersQuery,
    WorkQuery,
)

MachineQuery = (
    ParameterQuery
    | ProposalQuery
    | GenerationQuery
    | JournalQuery
    | AgentQuery
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
"""Every question but the one about the log itself."""


def answer(parts: Parts, query: MachineQuery, index: int, clock: int) -> Found:
    """As of `index`, when the log's clock shows `clock`. How fresh that is, only the asker can
    know."""
    found = partial(Found, index, 0.0, False)
    match query:
        case ParameterQuery(name):
            table = parts.parameters
            return found(parameters=table.parameters(name), schemas=table.schemas(name))
        case ProposalQuery(proposal):
            return found(proposals=parts.proposals.proposals(proposal))
        case GenerationQuery(barrier, generation):
            return found(generations=parts.barriers.generations(barrier, generation))
        case JournalQuery(name, first):
            return found(journals=parts.journals.journals(name, first))
        case AgentQuery():
            return found(agents=parts.sessions.agents())
        case AccountQuery(account, currency):
            return found(
                accounts=parts.ledger.accounts(account, currency),
                currencies=parts.ledger.currencies(currency),
            )
        case HoldQuery(hold, account):
            return found(holds=parts.ledger.holds(hold, account))
        case MovementQuery(first, limit):
            return found(movements=parts.ledger.movements(first, limit))
        case BudgetQuery(budget):
            return found(
                budgets=parts.budgets.budgets(budget),
                reservations=parts.budgets.reservations(budget),
            )
        case ReputationQuery(agent, skill):
            return found(
                reputations=parts.reputations.reputations(agent, skill, clock),
                deals=parts.reputations.deals(agent),
            )
        case SeatQuery(name):
            return found(seats=parts.seats.seats(name))
        case ElectionQuery(name):
            return found(seats=parts.seats.in_full(name))
        case LockQuery(name, ticket):
            return found(locks=parts.recipes.locks.locks(name, ticket))
        case CounterQuery(name):
            return found(counters=parts.recipes.counters.counters(name))
        case QueueQuery(name, ticket):
            return found(queues=parts.recipes.queues.queues(name, ticket))
        case TaskQuery(task):
            return found(tasks=parts.tasks.find(task))
        case TasksQuery(statuses, limit):
            listed = parts.tasks.tasks(statuses, limit)
            return found(tasks=listed, task_count=parts.tasks.remembered_count)
        case WorkQuery(agent, seen_index):
            work = parts.tasks.work(agent, seen_index)
            return found(tasks=work, workers=parts.tasks.worker(agent))
        case WorkersQuery():
            return found(workers=parts.tasks.workers())
        case AuctionQuery(auction, open_only):
            return found(auctions=parts.auctions.auctions(auction, open_only))
        case _:
            assert_never(query)
