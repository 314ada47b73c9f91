"""What one peer has told its agents: a mirror kept from an initial reading and then from events.

Reads from here are local: they ask nobody and cost nothing, and they are as old as the last event.

1. Events are listened to before the first reading, so that nothing falls between.
2. Entries only grow: a parameter by version, a variable by what its context has seen.
3. After a lost connection everything is read anew. If the peer then has the log of another cluster,
   whose versions begin anew, what was known of the former one is forgotten first.
"""

import asyncio
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from msgspec import structs

from mabeam_p2p.api.results import AgentFacts, Leader, Member
from mabeam_p2p.events import (
    AgentChanged,
    AgentJoined,
    AgentLeft,
    AuctionClosed,
    AuctionOpened,
    AuctionRevealing,
    BidPlaced,
    ElectionEnded,
    ElectionOpened,
    Event,
    LeaderChanged,
    LedgerChanged,
    MemberChanged,
    ParameterChanged,
    ParameterDeclared,
    ProposalDecided,
    ProposalOpened,
    QuorumChanged,
    Ready,
    SeatChanged,
    VariableChanged,
    VoteRecorded,
)
from mabeam_p2p.ids import (
    AgentId,
    AuctionId,
    PeerId,
    ProposalId,
)
from mabeam_p2p.records import (
    Account,
    Agent,
    BidStatus,
    Election,
    MemberState,
    Parameter,
    ParameterSchema,
    ProposalStatus,
    Seat,
    Variable,
)
from mabeam_p2p.records import Auction as AuctionRecord
from mabeam_p2p.records import Member as MemberRecord
from mabeam_p2p.records import Proposal as ProposalRecord

GONE_MEMBERS_MAX = 256
"""Members that are dead or have left and are still shown."""

Entry = TypeVar("Entry")
Listener = Callable[[Event], None]


class Shelf(Generic[Entry]):
    """Named entries of which only newer ones replace older ones, and who watches them."""

    def __init__(self, is_newer: Callable[[Entry, Entry], bool]) -> None:
        self.entries: dict[str, Entry] = {}
        self._is_newer = is_newer
        self._watchers: list[weakref.WeakMethod[Callable[[str], None]]] = []

    def put(self, name: str, entry: Entry) -> None:
        """Keep `entry` unless what is here is as new; tell the watchers its name."""
        present = self.entries.get(name)
        if present is not None and not self._is_newer(entry, present):
            return
        self.entries[name] = entry
        for reference in tuple(self._watchers):
            if (watcher := reference()) is not None:
                watcher(name)

    def forget(self) -> None:
        """Hold nothing. Nobody is told: what is there instead comes at once."""
        self.entries.clear()

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Call the bound method `watcher` with each name whose entry changed, while its object
        lives."""
        self._watchers.append(weakref.WeakMethod(watcher, self._watchers.remove))

    def unwatch(self, watcher: Callable[[str], None]) -> None:
        self._watchers[:] = [known for known in self._watchers if known() != watcher]


class View:
    """See the module. Lives in the application's loop."""

    def __init__(self) -> None:
        self.parameters: Shelf[Parameter] = Shelf(lambda new, old: new.version > old.version)
        self.schemas: Shelf[ParameterSchema] = Shelf(lambda new, old: new.index > old.index)
        self.variables: Shelf[Variable] = Shelf(_has_seen_more)
        self.seats: Shelf[Seat] = Shelf(lambda new, old: new.changed_index >= old.changed_index)
        self.open_elections: dict[str, Election] = {}
        """By seat."""
        self.open_proposals: dict[ProposalId, ProposalRecord] = {}
        self.accounts: dict[tuple[str, str], Account] = {}
        """What has money, by (account, currency)."""
        self.open_auctions: dict[AuctionId, AuctionRecord] = {}
        self.leader: Leader | None = None
        self.quorum = False
        self.ready = False
        """Whether the peer follows the log and has been given all variables once."""
        self._members: dict[PeerId, MemberRecord] = {}
        self._agents: dict[AgentId, Agent] = {}
        self._listeners: list[Listener] = []
        self._readings: dict[object, list[Event]] = {}
        self._changed = asyncio.Event()

    # ---- what it holds ---------------------------------------------------------------------

    def members(self) -> tuple[Member, ...]:
        """Every peer that this one knows, itself included, by name."""
        hosted: dict[PeerId, list[str]] = {}
        for agent in self._agents.values():
            hosted.setdefault(agent.peer, []).append(str(agent.id))
        members = [
            Member.of(member, tuple(sorted(hosted.get(member.peer, ()))))
            for member in self._members.values()
        ]
        return tuple(sorted(members, key=lambda member: (member.name, member.id)))

    def address_of(self, peer: PeerId) -> str | None:
        """Where others reach it; None: it is not known."""
        member = self._members.get(peer)
        return None if member is None else member.address

    def agents(self) -> tuple[AgentFacts, ...]:
        """Every live agent, by id."""
        return tuple(AgentFacts.of(self._agents[name]) for name in sorted(self._agents))

    def alive_count(self) -> int:
        return sum(member.state is MemberState.ALIVE for member in self._members.values())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when `holds()`; it is asked again after every event."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    # ---- what changes it -------------------------------------------------------------------

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each event was taken in; the result ends that."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within, answers about the whole view are asked for and taken in.

        An event can be taken in before an older answer is. So what comes meanwhile is taken in once
        more at the end, in order: for each entry the last event, if there is one, is the newest.
        """
        meanwhile: list[Event] = []
        key = object()
        self._readings[key] = meanwhile
        try:
            yield
        finally:
            del self._readings[key]
        for event in meanwhile:
            self._mirror(event)
        self._changed.set()

    def on_event(self, event: Event) -> None:
        """Take in one event of the peer."""
        self._take_in(event)
        for listener in tuple(self._listeners):
            listener(event)

    def on_lost(self) -> None:
        """The way to the peer is lost: whether it has a quorum cannot be known."""
        self._take_in(QuorumChanged(False))

    def forget(self) -> None:
        """The peer has the log of another cluster: what only grows begins anew. What is there is
        taken in next, in place of the rest."""
        for shelf in (self.parameters, self.schemas, self.variables, self.seats):
            shelf.forget()

    def on_members(self, members: tuple[MemberRecord, ...], agents: tuple[Agent, ...]) -> None:
        """Take in who is there, in place of what was known."""
        self._members = {member.peer: member for member in members}
        self._agents = {agent.id: agent for agent in agents}
        self._changed.set()

    def on_status(self, leader: Leader | None, quorum: bool, ready: bool) -> None:
        self.leader = leader
        self.quorum = quorum
        self.ready = self.ready or ready
        self._changed.set()

    def on_proposals(self, proposals: tuple[ProposalRecord, ...]) -> None:
        """Take in all proposals that are remembered, in place of what was known."""
        self.open_proposals = {
            proposal.id: proposal
            for proposal in proposals
            if proposal.status is ProposalStatus.OPEN
        }

    def on_accounts(self, accounts: tuple[Account, ...]) -> None:
        """Take in who has what, in place of what was known."""
        self.accounts = {(one.account, one.currency): one for one in accounts}

    def on_seats(self, seats: tuple[Seat, ...]) -> None:
        """Take in all seats, in place of what was known."""
        for seat in seats:
            self.seats.put(seat.name, seat)
        self.open_elections = {
            seat.name: seat.election for seat in seats if seat.election is not None
        }
        self._changed.set()

    def on_auctions(self, auctions: tuple[AuctionRecord, ...]) -> None:
        """Take in all auctions that are open, in place of what was known."""
        self.open_auctions = {auction.id: auction for auction in auctions}

    def _take_in(self, event: Event) -> None:
        for meanwhile in self._readings.values():
            meanwhile.append(event)
        self._mirror(event)
        self._changed.set()

    def _mirror(self, event: Event) -> None:
        match event:
            case SeatChanged(seat=seat):
                self.seats.put(seat.name, seat)
            case ElectionOpened(election=election):
                self.open_elections[election.seat] = election
            case ElectionEnded(election=election):
                known = self.open_elections.get(election.seat)
                if known is not None and known.opened_index == election.opened_index:
                    del self.open_elections[election.seat]
            case MemberChanged(member=member):
                self._on_member(member)
            case LeaderChanged(leader=leader, leader_name=name, term=term):
                self.leader = None if leader is None else Leader(str(leader), name, term)
            case QuorumChanged(quorum=quorum):
                self.quorum = quorum
            case Ready():
                self.ready = True
            case AgentJoined(agent=agent) | AgentChanged(agent=agent):
                self._agents[agent.id] = agent
            case AgentLeft(agent=agent):
                self._on_agent_left(agent)
            case ProposalOpened(proposal=proposal):
                self.open_proposals[proposal.id] = proposal
            case VoteRecorded(proposal=proposal_id):
                self._on_vote(event, ProposalId(proposal_id))
            case ProposalDecided(proposal=proposal):
                self.open_proposals.pop(proposal.id, None)
            case AuctionOpened(auction=auction) | AuctionRevealing(auction=auction):
                self.open_auctions[auction.id] = auction
            case BidPlaced(auction=auction_id):
                self._on_bid(event, auction_id)
            case AuctionClosed(auction=auction):
                self.open_auctions.pop(auction.id, None)
            case ParameterChanged(parameter=parameter):
                self.parameters.put(parameter.name, parameter)
            case ParameterDeclared(schema=schema):
                self.schemas.put(schema.name, schema)
            case LedgerChanged(accounts=accounts):
                for one in accounts:
                    self._on_account(one)
            case VariableChanged(variables=variables):
                for variable in variables:
                    self.variables.put(variable.name, variable)
            case _:
                # The others carry nothing that is mirrored.
                pass

    def _on_member(self, member: MemberRecord) -> None:
        """Of those that are gone the last ones are kept."""
        self._members.pop(member.peer, None)
        self._members[member.peer] = member
        if len(self._members) > GONE_MEMBERS_MAX:
            gone = [p for p, m in self._members.items() if m.state >= MemberState.DEAD]
            for peer in gone[: max(0, len(gone) - GONE_MEMBERS_MAX)]:
                del self._members[peer]

    def _on_agent_left(self, agent: Agent) -> None:
        present = self._agents.get(agent.id)
        # A session may have been taken over by the same agent's next one.
        if present is not None and present.session == agent.session:
            del self._agents[agent.id]

    def _on_account(self, one: Account) -> None:
        if one.balance or one.held:
            self.accounts[one.account, one.currency] = one
        else:
            self.accounts.pop((one.account, one.currency), None)

    def _on_bid(self, event: BidPlaced, auction_id: AuctionId) -> None:
        auction = self.open_auctions.get(auction_id)
        if auction is not None:
            self.open_auctions[auction_id] = with_bid(auction, event)

    def _on_vote(self, event: VoteRecorded, proposal_id: ProposalId) -> None:
        proposal = self.open_proposals.get(proposal_id)
        if proposal is None or any(vote.agent == event.vote.agent for vote in proposal.votes):
            return
        self.open_proposals[proposal_id] = with_vote(proposal, event)


def with_bid(auction: AuctionRecord, event: BidPlaced) -> AuctionRecord:
    """A bid takes the place of its bidder's last one, unless that was a purchase, and an older
    event none of a newer one."""
    bid = event.bid
    kept = []
    for other in auction.bids:
        if other.bidder == bid.bidder and other.status is not BidStatus.WON:
            if other.index > bid.index:
                return auction
            continue
        if other.index != bid.index:
            kept.append(other)
    bids = tuple(sorted([*kept, bid], key=lambda one: one.index))
    return structs.replace(auction, bids=bids, deadline=max(auction.deadline, event.deadline))


def with_vote(proposal: ProposalRecord, event: VoteRecorded) -> ProposalRecord:
    return structs.replace(proposal, votes=(*proposal.votes, event.vote))


def _has_seen_more(new: Variable, old: Variable) -> bool:
    """Whether `new` is a later state of the same peer's variable: its context only grows."""
    seen = dict(old.context)
    return any(counter > seen.get(actor, 0) for actor, counter in new.context)
