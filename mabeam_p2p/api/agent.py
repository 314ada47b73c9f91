"""Agents: who votes, arrives, shares and listens. `Group` is an agent's voice in one group."""

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from mabeam_p2p.api.appliers import Appliers
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.ballots import cast, fault_of_proposal
from mabeam_p2p.api.bidders import Bidders
from mabeam_p2p.api.evaluators import Evaluator, Evaluators
from mabeam_p2p.api.fitness import transferred
from mabeam_p2p.api.grants import Grants
from mabeam_p2p.api.inquiries import evidence_of
from mabeam_p2p.api.keys import Keys
from mabeam_p2p.api.mail import Mail
from mabeam_p2p.api.market import Market
from mabeam_p2p.api.parameters import Parameters
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.rankings import Rankings
from mabeam_p2p.api.results import (
    Info,
    Leader,
    Member,
    PeerEvidence,
    PeerStatus,
    Proposal,
    Vote,
)
from mabeam_p2p.api.sayings import Sayings
from mabeam_p2p.api.scope import Scope
from mabeam_p2p.api.seats import Seats
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.streams import EventStream, Streams
from mabeam_p2p.api.values import shortened
from mabeam_p2p.api.variables import Variables
from mabeam_p2p.api.voice import Voice
from mabeam_p2p.api.work import Work
from mabeam_p2p.commands import ConfirmParameter, Describe, JoinGroup, LeaveGroup
from mabeam_p2p.errors import Closed, MabeamError, MabeamTimeout, Rejected
from mabeam_p2p.events import (
    AuctionClosed,
    AuctionOpened,
    AuctionRevealing,
    BidPlaced,
    ElectionEnded,
    ElectionOpened,
    Event,
    MailArrived,
    ParameterChanged,
    ProposalDecided,
    ProposalOpened,
)
from mabeam_p2p.ids import CLUSTER_SESSION, GROUP_ALL, agent_id, check_key, check_name
from mabeam_p2p.records import Auction, Election, Parameter
from mabeam_p2p.records import Proposal as ProposalRecord

_log = logging.getLogger(__name__)

E = TypeVar("E", bound=Evaluator)

SAY_AGAIN_SECONDS = 0.5
"""Pause before what a new session has to say is tried again."""


class Group(Scope):
    """The same primitives among the agents of one group."""

    parameters: Parameters
    """Agreed values of the group."""
    variables: Variables
    """Shared values of the group."""

    @property
    def name(self) -> str:
        return self._group


class Agent(Scope):
    """A participant. Made by `join`, `connect` and `Peer.agent`; ends with `close`."""

    def __init__(
        self,
        attachment: Attachment,
        profile: Profile | None,
        *,
        vote_manually: bool = False,
    ) -> None:
        """Not for users. profile None: the voice of a daemon's own agent."""
        self.capabilities = {} if profile is None else dict(profile.capabilities)
        self.vote_manually = vote_manually
        self.session = Session(attachment, profile, self._on_renewed)
        self._streams: Streams = weakref.WeakSet()
        self.parameters = Parameters(attachment, self.session, self._streams)
        """Agreed values."""
        self.variables = Variables(attachment, lambda: self.id, self._streams)
        """Shared values."""
        self._profile = profile
        evaluators = Evaluators(
            self._cast,
            votes_manually=vote_manually,
            fault_of=lambda record: fault_of_proposal(attachment.view, record),
        )
        appliers = Appliers(self._confirm, self._is_awaited)
        grants = Grants(attachment, self.session)
        seats = Seats(attachment, self.session, lambda: self.id)
        rankings = Rankings(seats.cast)
        work = Work(attachment, self.session, lambda: self.id)
        market = Market(GROUP_ALL, attachment, self.session, lambda: self.id)
        bidders = Bidders(attachment.view, market, lambda: self.id, self._may_bid)
        self._bidders = bidders
        voice = Voice(
            attachment,
            self.session,
            lambda: self.id,
            evaluators,
            appliers,
            grants,
            seats,
            rankings,
            [],
            work,
            bidders,
            Mail(attachment, lambda: self.id),
        )
        super().__init__(GROUP_ALL, voice)
        self.on_close: Callable[[], Awaitable[None]] | None = None
        """Awaited once the agent has ended."""
        self._closing: asyncio.Task[None] | None = None
        self._described = Sayings("")
        self._saying_again: asyncio.Task[None] | None = None
        self._end_listening = attachment.view.listen(self._on_event)
        self._end_mending = attachment.on_mended(self._look_anew)
        self._end_forgetting = attachment.on_other_log(self._forget)

    # ---- who and where -----------------------------------------------------------------------

    @property
    def keys(self) -> Keys:
        """Join codes, and whose keys are let in."""
        return Keys(self._attachment, self.session)

    @property
    def name(self) -> str:
        return self._attachment.peer_name if self._profile is None else self._profile.name

    @property
    def id(self) -> str:
        """`name@peer`."""
        return str(agent_id(self.name, self._attachment.peer_name))

    @property
    def peer(self) -> str:
        """Name of the peer that this agent lives on."""
        return self._attachment.peer_name

    @property
    def cluster(self) -> str:
        return self._attachment.backend.cluster

    @property
    def leader(self) -> Leader | None:
        """Who leads, as far as this agent's peer knows."""
        return self._attachment.view.leader

    def members(self) -> tuple[Member, ...]:
        """Every peer that this agent's peer knows, itself included."""
        return self._attachment.view.members()

    def info(self) -> Info:
        """This agent and its surroundings, as its peer has told so far."""
        view = self._attachment.view
        return Info(
            self.id,
            self.groups,
            self.capabilities,
            str(self._attachment.backend.peer),
            self.peer,
            self.cluster,
            view.leader,
            view.quorum,
            view.members(),
            view.agents(),
            len(self.parameters),
            len(self.variables),
        )

    async def status(self) -> PeerStatus:
        """The present state of this agent's peer in the log."""
        return PeerStatus.of(await self._attachment.status())

    async def why(self, peer: str) -> PeerEvidence:
        """What this agent's peer knows of another one, or of itself, and from what: why it is in
        the state in which it is seen, and why it does not lead. `peer`: an id, or a member's name.

        Raises UnknownPeer."""
        return await evidence_of(self._attachment, peer)

    async def promote_voter(
        self, peer: str, *, index: int = 0, timeout: float | None = None
    ) -> int:
        """Let a member that has the log vote in it; return the configuration's index once that is
        committed. `peer`: an id, or a member's name. `index`: of the configuration that was looked
        at, so that on another one nothing is done; 0: whichever it is.

        Raises UnknownPeer, VotersUnchanged, NoQuorum, OutcomeUnknown."""
        return await self._attachment.change_voters(peer, True, index, timeout)

    async def remove_voter(self, peer: str, *, index: int = 0, timeout: float | None = None) -> int:
        """Take a peer out of the voters, as `promote_voter`. If it is there it learns the log on,
        and votes again only when it is promoted."""
        return await self._attachment.change_voters(peer, False, index, timeout)

    async def transfer_leadership(
        self, peer: str | None = None, *, timeout: float | None = None
    ) -> Leader:
        """Have another peer lead the log, by name or id; None: whoever is fittest. Returns who
        leads then, at once if it does already.

        Raises TransferFailed with the reason (nothing has changed, or another one leads), NoQuorum,
        OutcomeUnknown (it may still come to it).
        """
        return await transferred(self._attachment, peer, timeout)

    async def wait_for_members(
        self, count: int, *, timeout: float | None = None
    ) -> tuple[Member, ...]:
        """Return the members once `count` of them are alive, this peer included. Members are
        peers: their agents may still be on their way, for whom a barrier waits."""
        view = self._attachment.view
        await self._until(
            lambda: view.alive_count() >= count,
            timeout,
            lambda: (
                f"{view.alive_count()} of {count} members are alive: "
                "start the others, or give their addresses as seeds; see `members()`"
            ),
        )
        return self.members()

    async def wait_for_leader(self, *, timeout: float | None = None) -> Leader:
        """Return the leader once there is one."""
        view = self._attachment.view
        await self._until(
            lambda: view.leader is not None,
            timeout,
            lambda: f"{view.alive_count()} members are alive and none leads: see `mabeam status`",
        )
        assert view.leader is not None
        return view.leader

    def events(self, *patterns: str) -> EventStream:
        """Iterate over what happens from now on, as `member.*`; without patterns, everything.

        Raises InvalidValue for a pattern that no event can match.
        """
        stream = EventStream(
            self._attachment.view,
            patterns,
            self._attachment.limits.events_pending_max,
            self._mail.concerns,
        )
        self._streams.add(stream)
        return stream

    async def whisper(
        self, agent: str, topic: str, value: object, *, timeout: float | None = None
    ) -> None:
        """Tell one agent, by its id; return once its peer has put it into the agent's mailbox.

        At most once, and in no log. Raises NobodyThere and Overloaded (its mailbox is full): both
        certainly not delivered; MabeamTimeout if no receipt comes within `timeout` seconds, and
        OutcomeUnknown if this agent's peer has gone meanwhile: maybe delivered; InvalidValue.
        """
        await self._mail.whisper(agent, topic, value, timeout)

    # ---- groups ------------------------------------------------------------------------------

    @property
    def groups(self) -> tuple[str, ...]:
        """Those that this agent is in, beside `all`."""
        profile = self.session.profile
        return () if profile is None else profile.groups

    async def join_group(self, name: str, *, timeout: float | None = None) -> Group:
        """Be in the group from now on, as the log has it; return it. Raises InvalidName, Overloaded
        (as many groups as one agent can be in)."""
        check_name(name, "group")
        command = JoinGroup(CLUSTER_SESSION, 0, name)
        await self.session.commit(command, f"joining group {name!r}", self._patience(timeout))
        if name != GROUP_ALL and name not in self.groups:
            self.session.in_groups((*self.groups, name))
        return self.group(name)

    async def leave_group(self, name: str, *, timeout: float | None = None) -> None:
        """Be in the group no longer: seats of it that this agent holds are given to others. Raises
        Rejected for the group `all`."""
        check_name(name, "group")
        command = LeaveGroup(CLUSTER_SESSION, 0, name)
        await self.session.commit(command, f"leaving group {name!r}", self._patience(timeout))
        self.session.in_groups(tuple(one for one in self.groups if one != name))

    async def describe(self, key: str, text: str, *, timeout: float | None = None) -> None:
        """Tell one thing about this agent, for all to read in `AgentFacts.attributes`; an empty
        text takes it back. Raises InvalidValue (too long), Overloaded (too many)."""
        check_key(key, "attribute")
        with self._described.saying(key, text):
            await self._describe(key, text, timeout)

    def group(self, name: str) -> Group:
        """The same primitives, among the agents of one group. Names in it are `GROUP:NAME`
        elsewhere."""
        check_name(name, "group")
        group = Group(name, self._voice)
        group.parameters = self.parameters.within(name)
        group.variables = self.variables.within(name)
        return group

    # ---- life --------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the end has begun."""
        return self._closing is not None

    async def close(self) -> None:
        """End: what the agent holds is released. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="close agent")
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> "Agent":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _close(self) -> None:
        self._end_listening()
        self._end_mending()
        self._end_forgetting()
        if self._saying_again is not None:
            self._saying_again.cancel()
        for stream in tuple(self._streams):
            stream.close()
        await self._work.close()
        await self._evaluators.close()
        await self._appliers.close()
        await self._bidders.close()
        await self._rankings.close()
        for scoring in self._voice.scorings:
            await scoring.close()
        await self._seats.close()
        self._grants.close()
        await self._mail.close()
        await self.session.close()
        if self.on_close is not None:
            await self.on_close()

    async def _until(
        self, holds: Callable[[], bool], timeout: float | None, lacking: Callable[[], str]
    ) -> None:
        seconds = self._attachment.timing.request_timeout_seconds if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                await self._attachment.view.until(holds)
        except TimeoutError:
            raise MabeamTimeout(f"peer {self.peer} waited {seconds:g} s: {lacking()}") from None

    # ---- proposals of others -----------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        match event:
            case ProposalOpened(proposal=proposal):
                self._consider(proposal)
            case ProposalDecided(proposal=proposal):
                self._evaluators.dismiss(proposal.id)
            case ParameterChanged(parameter=parameter):
                self._appliers.changed(parameter)
            case AuctionOpened(auction=auction):
                self._bidders.opened(auction)
            case AuctionRevealing(auction=auction) | AuctionClosed(auction=auction):
                self._bidders.changed(auction.id)
            case BidPlaced(auction=auction_id):
                self._bidders.changed(auction_id)
            case MailArrived():
                self._mail.arrived(event)
            case ElectionOpened(election=election):
                self._rank(election)
            case ElectionEnded(election=election):
                self._rankings.dismiss(election)
            case _:  # Nothing else asks for an opinion or an effect.
                pass

    def lost(self, *, has_left: bool) -> None:
        """The way to the peer is lost. has_left: it has said that it leaves. For the package."""
        self._attachment.lost()
        self.session.lost(has_left=has_left)
        self._grants.look()

    async def _on_renewed(self) -> None:
        self._work.offer_anew()
        await self._attachment.read_anew()
        await self._grants.look_again()
        self._look_anew()
        if self._saying_again is not None:
            self._saying_again.cancel()
        self._saying_again = asyncio.create_task(self._say_again(), name="say again")

    async def _say_again(self) -> None:
        """Tell the new session what the old one had said, once it has been opened."""
        while True:
            try:
                await self._described.say_again(self._describe)
                await self._seats.say_again()
            except (Closed, Rejected) as error:
                _log.warning("agent %s cannot say again what it had said: %s", self.id, error)
            except MabeamError:
                await asyncio.sleep(SAY_AGAIN_SECONDS)
                continue
            return

    async def _describe(self, key: str, text: str, timeout: float | None = None) -> None:
        command = Describe(CLUSTER_SESSION, 0, key, text)
        await self.session.commit(command, f"describing {key!r}", self._patience(timeout))

    def begin(self) -> None:
        """Joining is done: from now on the agent votes, on what is open already as well."""
        self._evaluators.begin()
        self._appliers.begin(self._attachment.view.parameters.entries.values())
        self._bidders.begin()
        self._rankings.begin()
        self._mail.begin()
        self._look_anew()

    def _look_anew(self) -> None:
        """The view was read anew: vote, rank, bid and put into effect what is still due."""
        for record in tuple(self._attachment.view.open_proposals.values()):
            self._consider(record)
        for parameter in tuple(self._attachment.view.parameters.entries.values()):
            self._appliers.changed(parameter)
        for election in tuple(self._attachment.view.open_elections.values()):
            self._rank(election)
        for auction in tuple(self._attachment.view.open_auctions.values()):
            self._bidders.consider(auction)
        self._bidders.look_again()

    def _forget(self) -> None:
        """The peer has another log, of which nothing is known but what the view holds."""
        self._appliers.forget()
        self._bidders.forget()
        self._grants.forget()
        self._work.forget()

    def _may_bid(self, auction: Auction) -> bool:
        """Whether the log would take a bid of this agent."""
        if self._profile is None or auction.auctioneer == self.id:
            return False
        here = (one for one in self._attachment.view.agents() if one.id == self.id)
        return auction.group == GROUP_ALL or any(auction.group in one.groups for one in here)

    def _rank(self, election: Election) -> None:
        if self._profile is not None and self.id in election.electorate:
            self._rankings.consider(election)

    def _consider(self, record: ProposalRecord) -> None:
        is_ours = self._profile is not None and self.id in record.electorate
        if is_ours and not any(vote.agent == self.id for vote in record.votes):
            self._evaluators.consider(record)

    def _is_awaited(self, parameter: Parameter) -> bool:
        known = self._attachment.view.parameters.entries.get(parameter.name, parameter)
        is_last = known.version == parameter.version
        return self._profile is not None and is_last and self.id in known.awaited

    async def _confirm(self, parameter: Parameter, applied: bool, detail: str) -> None:
        short = shortened(detail, self._attachment.limits)
        version = parameter.version
        command = ConfirmParameter(CLUSTER_SESSION, 0, parameter.name, version, applied, short)
        seconds = self._attachment.timing.request_timeout_seconds
        await self.session.commit(command, f"confirming {parameter.name!r}", seconds)

    async def _cast(self, proposal: Proposal, vote: Vote, seconds: float) -> None:
        try:
            fault = await cast(self._attachment, self.session, proposal, vote, seconds)
        except MabeamError as error:
            fault = str(error)
        if fault is not None:
            _log.info("vote of %s on %s not recorded: %s", self.id, proposal.id, fault)
