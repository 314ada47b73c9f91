"""The names under which users hear of events, and the facts of each as plain data."""

from typing import assert_never

from mabeam_p2p.api.amounts import text, units
from mabeam_p2p.api.holdings import (
    CHANGES,
    BudgetFacts,
    Deal,
    Movement,
    Rating,
    Reputation,
)
from mabeam_p2p.api.lots import Auction, bid_facts
from mabeam_p2p.api.results import (
    AgentFacts,
    Event,
    Member,
    Proposal,
    RecordedVote,
    decoded,
    seconds,
)
from mabeam_p2p.api.results.mail import Message
from mabeam_p2p.api.results.seats import Election
from mabeam_p2p.api.results.tasks import TaskFacts, WorkerFacts
from mabeam_p2p.events import (
    AgentChanged,
    AgentJoined,
    AgentLeft,
    AuctionClosed,
    AuctionOpened,
    AuctionRevealing,
    BarrierChanged,
    BidPlaced,
    BudgetChanged,
    ClusterFormed,
    CounterChanged,
    DealSettled,
    Dropped,
    ElectionEnded,
    ElectionOpened,
    HandOverBegan,
    ItemTaken,
    JournalAppended,
    KeysChanged,
    LeaderChanged,
    LedgerChanged,
    LockEnded,
    LockGranted,
    MailArrived,
    MemberChanged,
    ParameterChanged,
    ParameterConfirmed,
    ParameterDeclared,
    ProposalDecided,
    ProposalOpened,
    QuorumChanged,
    Ready,
    Refused,
    ReputationChanged,
    RoleChanged,
    SeatChanged,
    TakeEnded,
    TaskChanged,
    TaskRevoked,
    VariableChanged,
    VersionRaised,
    VoteRecorded,
    VotersChanged,
    WorkerChanged,
)
from mabeam_p2p.events import Event as PeerEvent
from mabeam_p2p.ids import unscoped
from mabeam_p2p.records import BarrierStatus, Claim, Generation, MovementKind

EVENT_NAMES = (
    "agent.changed",
    "agent.joined",
    "agent.left",
    "auction.bid",
    "auction.ended",
    "auction.opened",
    "auction.revealing",
    "barrier.arrived",
    "barrier.broken",
    "barrier.released",
    "budget.changed",
    "cluster.formed",
    "counter.changed",
    "deal.settled",
    "frame.dropped",
    "handover.began",
    "journal.appended",
    "leader.elected",
    "leader.lost",
    "ledger.burned",
    "ledger.captured",
    "ledger.held",
    "ledger.minted",
    "ledger.released",
    "ledger.transferred",
    "lock.ended",
    "lock.granted",
    "mail.received",
    "member.alive",
    "member.dead",
    "member.left",
    "member.suspect",
    "parameter.changed",
    "parameter.confirmed",
    "parameter.declared",
    "peer.ready",
    "peer.refused",
    "proposal.decided",
    "proposal.opened",
    "proposal.voted",
    "queue.ended",
    "queue.taken",
    "quorum.gained",
    "quorum.lost",
    "reputation.changed",
    "role.changed",
    "seat.elected",
    "seat.election",
    "seat.filled",
    "seat.vacant",
    "task.cancelled",
    "task.dead",
    "task.done",
    "task.leased",
    "task.queued",
    "task.revoked",
    "task.worker",
    "variable.changed",
    "version.raised",
    "voters.changed",
    "keys.changed",
)

_BARRIER_NAMES = {
    BarrierStatus.WAITING: "barrier.arrived",
    BarrierStatus.RELEASED: "barrier.released",
    BarrierStatus.BROKEN: "barrier.broken",
}


_MOVEMENT_NAMES = {
    MovementKind.MINT: "ledger.minted",
    MovementKind.TRANSFER: "ledger.transferred",
    MovementKind.BURN: "ledger.burned",
    MovementKind.HOLD: "ledger.held",
    MovementKind.CAPTURE: "ledger.captured",
    MovementKind.RELEASE: "ledger.released",
}


def named(event: PeerEvent) -> Event:
    """The event as users see it."""
    facts: dict[str, object]
    match event:
        case MemberChanged() | AgentJoined() | AgentLeft() | AgentChanged():
            return _about_members(event)
        case LockGranted() | LockEnded() | CounterChanged() | ItemTaken() | TakeEnded():
            return _about_recipes(event)
        case LeaderChanged(leader=leader, leader_name=name, term=term, reason=reason):
            facts = {"leader": leader, "name": name, "term": term, "reason": reason}
            return Event("leader.lost" if leader is None else "leader.elected", facts)
        case RoleChanged(role=role, term=term):
            return Event("role.changed", {"role": role, "term": term})
        case QuorumChanged(quorum=quorum):
            return Event("quorum.gained" if quorum else "quorum.lost", {})
        case ClusterFormed(cluster_id=cluster_id, voters=voters):
            return Event("cluster.formed", {"cluster_id": cluster_id, "voters": list(voters)})
        case VotersChanged(index=index, voters=voters, added=added, removed=removed):
            facts = {"index": index, "voters": list(voters)}
            return Event("voters.changed", facts | {"added": [*added], "removed": [*removed]})
        case VersionRaised(index=index, version=version):
            return Event("version.raised", {"index": index, "version": version})
        case KeysChanged(index=index, peer=peer, what=what):
            return Event("keys.changed", {"index": index, "peer": peer, "what": what})
        case Ready():
            return Event("peer.ready", {})
        case Refused(peer=peer, reason=reason, detail=detail, fatal=fatal):
            facts = {"peer": peer, "reason": reason, "detail": detail, "fatal": fatal}
            return Event("peer.refused", facts)
        case Dropped(source=source, reason=reason, detail=detail, count=count):
            facts = {"source": source, "reason": reason, "detail": detail, "count": count}
            return Event("frame.dropped", facts)
        case HandOverBegan(target=target, target_name=name, term=term, reason=reason):
            facts = {"target": target, "name": name, "term": term, "reason": reason}
            return Event("handover.began", facts)
        case LedgerChanged() | BudgetChanged() | DealSettled() | ReputationChanged():
            return _about_economics(event)
        case MailArrived():
            return Event("mail.received", Message.of(event).to_dict())
        case SeatChanged() | ElectionOpened() | ElectionEnded():
            return _about_seats(event)
        case TaskChanged() | TaskRevoked() | WorkerChanged():
            return _about_tasks(event)
        case AuctionOpened() | BidPlaced() | AuctionRevealing() | AuctionClosed():
            return _about_auctions(event)
        case _:
            return _about_the_log(event)


def _about_members(event: MemberChanged | AgentJoined | AgentLeft | AgentChanged) -> Event:
    match event:
        case MemberChanged(member=record):
            member = Member.of(record, ())
            facts = member.to_dict()
            del facts["agents"]
            return Event(f"member.{member.state}", facts)
        case AgentJoined(agent=agent):
            return Event("agent.joined", AgentFacts.of(agent).to_dict())
        case AgentChanged(agent=agent):
            return Event("agent.changed", AgentFacts.of(agent).to_dict())
        case AgentLeft(agent=agent, reason=reason):
            return Event("agent.left", AgentFacts.of(agent).to_dict() | {"reason": reason})
        case _:
            assert_never(event)


def _about_economics(
    event: LedgerChanged | BudgetChanged | DealSettled | ReputationChanged,
) -> Event:
    match event:
        case LedgerChanged(movement=movement):
            return Event(_MOVEMENT_NAMES[movement.kind], Movement.of(movement).to_dict())
        case BudgetChanged(budget=budget, change=change, amount=amount, agent=agent):
            facts = BudgetFacts.of(budget).to_dict()
            said = {"change": CHANGES[change], "amount": text(units(amount)), "agent": agent}
            return Event("budget.changed", facts | said)
        case DealSettled(deal=deal):
            return Event("deal.settled", Deal.of(deal).to_dict())
        case ReputationChanged(reputation=reputation, rating=rating):
            facts = Reputation.of(reputation).to_dict()
            return Event("reputation.changed", facts | {"rating": Rating.of(rating).to_dict()})
        case _:
            assert_never(event)


def _about_seats(event: SeatChanged | ElectionOpened | ElectionEnded) -> Event:
    match event:
        case SeatChanged(seat=seat):
            facts: dict[str, object] = {
                "seat": unscoped(seat.group, seat.name),
                "group": seat.group,
                "holder": str(seat.holder) or None,
                "token": seat.token,
                "reason": seat.reason,
            }
            return Event("seat.filled" if seat.holder else "seat.vacant", facts)
        case ElectionOpened(election=election):
            return Event("seat.election", Election.of(election).to_dict())
        case ElectionEnded(election=election):
            return Event("seat.elected", Election.of(election).to_dict())
        case _:
            assert_never(event)


def _about_recipes(
    event: LockGranted | LockEnded | CounterChanged | ItemTaken | TakeEnded,
) -> Event:
    match event:
        case LockGranted(lock=name, claim=claim):
            return Event("lock.granted", {"lock": name, **_claim(claim)})
        case LockEnded(lock=name, claim=claim, reason=reason):
            return Event("lock.ended", {"lock": name, **_claim(claim), "reason": reason})
        case CounterChanged(counter=counter):
            return Event("counter.changed", {"counter": counter.name, "value": counter.value})
        case ItemTaken(queue=name, claim=claim):
            return Event("queue.taken", {"queue": name, **_claim(claim)})
        case TakeEnded(queue=name, claim=claim, reason=reason):
            return Event("queue.ended", {"queue": name, **_claim(claim), "reason": reason})


def _about_tasks(event: TaskChanged | TaskRevoked | WorkerChanged) -> Event:
    match event:
        case TaskChanged(task=task):
            facts = TaskFacts.of(task)
            return Event(f"task.{facts.status}", facts.to_dict())
        case TaskRevoked(task=task_id, name=name, agent=agent, token=token, reason=reason):
            told = {"id": str(task_id), "name": name, "agent": str(agent)}
            return Event("task.revoked", {**told, "token": token, "reason": reason})
        case WorkerChanged(worker=worker):
            return Event("task.worker", WorkerFacts.of(worker).to_dict())
        case _:
            assert_never(event)


def _about_auctions(
    event: AuctionOpened | BidPlaced | AuctionRevealing | AuctionClosed,
) -> Event:
    match event:
        case AuctionOpened(auction=auction):
            return Event("auction.opened", Auction.of(auction).to_dict())
        case AuctionRevealing(auction=auction):
            return Event("auction.revealing", Auction.of(auction).to_dict())
        case AuctionClosed(auction=auction):
            return Event("auction.ended", Auction.of(auction).to_dict())
        case BidPlaced(auction=auction_id, bid=bid, deadline=deadline):
            facts = {"id": str(auction_id), "bid": bid_facts(bid), "deadline": seconds(deadline)}
            return Event("auction.bid", facts)
        case _:
            assert_never(event)


def _about_the_log(
    event: ProposalOpened
    | VoteRecorded
    | ProposalDecided
    | ParameterChanged
    | ParameterConfirmed
    | ParameterDeclared
    | BarrierChanged
    | JournalAppended
    | VariableChanged,
) -> Event:
    facts: dict[str, object]
    match event:
        case ProposalOpened(proposal=proposal):
            return Event("proposal.opened", Proposal.of(proposal).to_dict())
        case VoteRecorded(proposal=proposal_id, vote=vote):
            facts = {"id": proposal_id, "vote": RecordedVote.of(vote).to_dict()}
            return Event("proposal.voted", facts)
        case ProposalDecided(proposal=proposal):
            return Event("proposal.decided", Proposal.of(proposal).to_dict())
        case ParameterChanged() | ParameterConfirmed() | ParameterDeclared():
            return _about_parameters(event)
        case BarrierChanged(generation=generation):
            return Event(_BARRIER_NAMES[generation.status], _generation(generation))
        case JournalAppended(journal=journal):
            facts = {
                "journal": journal.name,
                "position": journal.first,
                "items": [decoded(item) for item in journal.items],
            }
            return Event("journal.appended", facts)
        case VariableChanged(variables=variables, source=source):
            names = [variable.name for variable in variables]
            return Event("variable.changed", {"names": names, "source": str(source)})
        case _:
            assert_never(event)


def _about_parameters(event: ParameterChanged | ParameterConfirmed | ParameterDeclared) -> Event:
    facts: dict[str, object]
    match event:
        case ParameterDeclared(schema=schema):
            facts = {"name": schema.name, "schema": decoded(schema.schema), "agent": schema.agent}
            return Event("parameter.declared", facts)
        case ParameterChanged(parameter=parameter) | ParameterConfirmed(parameter=parameter):
            facts = {
                "name": parameter.name,
                "value": decoded(parameter.value),
                "version": parameter.version,
                "proposal": str(parameter.proposal),
                "awaited": list(map(str, parameter.awaited)),
                "confirmed": list(map(str, parameter.confirmed)),
                "reverted": parameter.reverted,
            }
            name = "changed" if isinstance(event, ParameterChanged) else "confirmed"
            return Event(f"parameter.{name}", facts)
        case _:
            assert_never(event)


def _generation(record: Generation) -> dict[str, object]:
    return {
        "barrier": record.barrier,
        "generation": record.generation,
        "parties": record.parties,
        "arrived": list(map(str, record.arrived)),
        "reason": record.reason,
    }


def _claim(record: Claim) -> dict[str, object]:
    """token: 0 if it has never held anything."""
    facts: dict[str, object] = {
        "agent": str(record.agent),
        "token": record.token,
        "permits": record.permits,
    }
    if record.item is not None:
        facts["position"] = record.item.position
    return facts
