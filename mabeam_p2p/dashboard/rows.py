"""One thing as one row of the page: what of its facts is shown, made to fit. The facts are those of
the results that the API gives; nothing is decided here."""

from collections import Counter
from itertools import islice

from msgspec.structs import replace

from mabeam_p2p.api.amounts import text
from mabeam_p2p.api.holdings import Balance, BudgetFacts, Currency, Held, Movement
from mabeam_p2p.api.lots import Auction, Bid
from mabeam_p2p.api.results import Decision, Member, PeerStatus, Proposal, seconds
from mabeam_p2p.api.results.seats import Election
from mabeam_p2p.api.results.tasks import TaskFacts, WorkerFacts
from mabeam_p2p.dashboard.fitting import Row, cut, shown, some, stored
from mabeam_p2p.records import (
    Account,
    BarrierStatus,
    Generation,
    Parameter,
    Task,
    TaskWorker,
    Variable,
)
from mabeam_p2p.records import Auction as AuctionRecord
from mabeam_p2p.records import Budget as BudgetRecord
from mabeam_p2p.records import Currency as CurrencyRecord
from mabeam_p2p.records import Election as ElectionRecord
from mabeam_p2p.records import Hold as HoldRecord
from mabeam_p2p.records import Movement as MovementRecord
from mabeam_p2p.records import Proposal as ProposalRecord
from mabeam_p2p.records import Seat as SeatRecord

VOTES_MAX = 48
BIDS_MAX = 24

_NULL = b"\xf6"
"""The encoded value null."""

_STATUS_WORDS = {
    BarrierStatus.WAITING: "waiting",
    BarrierStatus.RELEASED: "released",
    BarrierStatus.BROKEN: "broken",
}

__all__ = [
    "account",
    "auction",
    "budget",
    "currency",
    "generation",
    "hold",
    "member",
    "movement",
    "parameter",
    "peer",
    "proposal",
    "seat",
    "shown",
    "task",
    "variable",
    "worker",
]


# ---- who is there --------------------------------------------------------------------------------


def peer(status: PeerStatus) -> Row:
    facts = status.to_dict()
    for name in ("voters", "learners", "barred", "ancestors", "counters"):
        del facts[name]
    return facts | {
        "voter_count": len(status.voters),
        "learner_count": len(status.learners),
        "counters": dict(status.counters),
    }


def member(one: Member, status: PeerStatus) -> Row:
    part = ""
    if one.id in status.voters:
        part = "voter"
    elif one.id in status.learners:
        part = "learner"
    facts = one.to_dict() | {"agents": some(one.agents, len(one.agents)), "part": part}
    return facts | {"is_leader": one.id == status.leader, "is_here": one.id == status.peer}


def seat(record: SeatRecord, running: ElectionRecord | None) -> Row:
    return {
        "id": record.name,
        "name": record.name,
        "holder": str(record.holder) or None,
        "token": record.token,
        "since": seconds(record.granted_clock),
        "reason": cut(record.reason),
        "election": None if running is None else _election(Election.of(running)),
    }


def _election(one: Election) -> Row:
    return {
        "candidates": some((c.agent for c in one.candidates), len(one.candidates)),
        "deadline": one.deadline,
    }


# ---- what is agreed and shared -------------------------------------------------------------------


def proposal(record: ProposalRecord) -> Row:
    # Metadata are not shown, and a value that cannot be decoded does not hide the votes.
    facts = Proposal.of(replace(record, value=_NULL, metadata=b""))
    voted = {vote.agent for vote in facts.votes}
    silent = [agent for agent in facts.electorate if agent not in voted]
    row: Row = {
        "id": facts.id,
        "parameter": facts.parameter,
        "value": stored(record.value),
        "proposer": facts.proposer,
        "rationale": cut(facts.rationale),
        "group": facts.group,
        "status": facts.status,
        "reason": cut(facts.reason),
        "when": facts.when,
        "deadline": facts.deadline,
        "electorate": len(facts.electorate),
        "accept_ratio": facts.accept_ratio,
        "votes": {
            "count": len(facts.votes),
            # Of all of them: those that are shown are no sample.
            "counts": Counter(vote.choice for vote in facts.votes),
            "shown": [
                {
                    "id": vote.agent,
                    "agent": vote.agent,
                    "choice": vote.choice,
                    "confidence": vote.confidence,
                    "rationale": cut(vote.rationale),
                }
                for vote in facts.votes[-VOTES_MAX:]
            ],
        },
        "silent": some(silent, len(silent)),
    }
    if isinstance(facts, Decision):
        row |= {"index": facts.index, "term": facts.term, "decided": facts.decided}
    return row


def parameter(record: Parameter) -> Row:
    return {
        "id": record.name,
        "name": record.name,
        "value": stored(record.value),
        "version": record.version,
        "proposal": str(record.proposal),
        "when": seconds(record.clock),
        "awaited": some(record.awaited, len(record.awaited)),
        "reverted": cut(record.reverted),
    }


def variable(record: Variable, value: str) -> Row:
    """siblings: concurrent writes that the value is made of."""
    return {
        "id": record.name,
        "name": record.name,
        "value": cut(value),
        "resolver": record.resolver,
        "siblings": len(record.siblings),
        "when": max((one.clock for one in record.siblings), default=0) / 1_000_000,
    }


def generation(record: Generation) -> Row:
    return {
        "id": f"{record.barrier}#{record.generation}",
        "barrier": record.barrier,
        "generation": record.generation,
        "parties": record.parties,
        "arrived": some(record.arrived, len(record.arrived)),
        "departed": some(record.departed, len(record.departed)),
        "status": _STATUS_WORDS[record.status],
        "reason": cut(record.reason),
        "when": seconds(record.opened_clock),
        "deadline": seconds(record.opened_clock + record.timeout),
    }


# ---- work and money ------------------------------------------------------------------------------


def task(record: Task) -> Row:
    facts = TaskFacts.of(record)
    return {
        "id": facts.id,
        "name": facts.name,
        "status": facts.status,
        "agent": facts.agent,
        "submitter": facts.submitter,
        "priority": facts.priority,
        "attempts": facts.failures + facts.losses + facts.steals,
        "submitted": facts.submitted,
        "seconds": facts.seconds,
        "error": cut(facts.error or ""),
        "reason": cut(facts.reason),
    }


def worker(record: TaskWorker) -> Row:
    facts = WorkerFacts.of(record)
    return {
        "id": facts.agent,
        "agent": facts.agent,
        "names": some(facts.names, len(facts.names)),
        "slots": facts.slots,
        "running": facts.running,
        "queued": facts.queued,
        "done": facts.done,
        "pace": facts.pace,
        "silent": facts.silent,
    }


def currency(record: CurrencyRecord) -> Row:
    return {"id": record.name} | Currency.of(record).to_dict()


def account(record: Account) -> Row:
    return {"id": f"{record.account}\n{record.currency}"} | Balance.of(record).to_dict()


def hold(record: HoldRecord) -> Row:
    return Held.of(record).to_dict()


def budget(record: BudgetRecord) -> Row:
    return {"id": record.name} | BudgetFacts.of(record).to_dict()


def movement(record: MovementRecord) -> Row:
    facts = Movement.of(record).to_dict()
    return facts | {"id": record.number, "note": cut(record.note)}


def auction(record: AuctionRecord) -> Row:
    bids = record.bids
    # The limit of an English auction follows from all its bids; of more than are shown it is not
    # worked out.
    facts = Auction.of(replace(record, bids=bids[-BIDS_MAX:], metadata=b""))
    return {
        "id": facts.id,
        "item": facts.item,
        "auctioneer": facts.auctioneer,
        "rule": facts.rule,
        "side": facts.side,
        "quantity": facts.quantity,
        "reserve": text(facts.reserve),
        "currency": facts.currency,
        "status": facts.status,
        "reason": cut(facts.reason),
        "when": facts.when,
        "deadline": facts.deadline,
        "limit": None if facts.limit is None or len(bids) > BIDS_MAX else text(facts.limit),
        "bids": {
            "count": len(bids),
            "shown": [
                {
                    "id": placed.index,
                    "bidder": placed.bidder,
                    "status": placed.status,
                    "offers": "; ".join(map(_offer, placed.offers[:4])),
                }
                for placed in reversed(facts.bids)
            ],
        },
        "awards": {
            "count": len(facts.awards),
            "shown": [
                {
                    "id": number,
                    "bidder": award.bidder,
                    "quantity": award.quantity,
                    "payment": text(award.payment),
                    "items": cut(", ".join(award.items)),
                }
                for number, award in islice(enumerate(facts.awards), BIDS_MAX)
            ],
        },
    }


def _offer(offer: Bid) -> str:
    what = ", ".join(offer.items) or f"{offer.quantity} at"
    return cut(f"{what} {offer.price}")
