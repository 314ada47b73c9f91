"""What there is to see, in sections: bounded plain data, made of what the peer tells its agents.

1. Nothing is asked of other peers: a board is as good as this peer's view, also without a quorum.
2. A section is made when somebody wants it, and costs what it shows, not what there is: of long
   lists the last ones that changed are shown, and all are counted.
3. What the view does not hold, as decisions that were made, is seeded once by a question and kept
   from events since; after lost events it is seeded anew.
"""

import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import chain, islice, zip_longest

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import Member, PeerStatus
from mabeam_p2p.api.variables import Variables, is_present
from mabeam_p2p.dashboard import rows as make
from mabeam_p2p.dashboard.fitting import Latest, Row, rows
from mabeam_p2p.dashboard.history import History
from mabeam_p2p.dashboard.links import LINKS_MAX, UNKNOWN, links
from mabeam_p2p.errors import Closed, DaemonNotRunning, MabeamError
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
    DealSettled,
    ElectionEnded,
    ElectionOpened,
    Event,
    LeaderChanged,
    LedgerChanged,
    MemberChanged,
    ParameterConfirmed,
    ProposalDecided,
    ProposalOpened,
    QuorumChanged,
    Ready,
    RoleChanged,
    SeatChanged,
    TaskChanged,
    TaskRevoked,
    VoteRecorded,
    VotersChanged,
    WorkerChanged,
)
from mabeam_p2p.ids import AuctionId, PeerId, ProposalId, agent_id
from mabeam_p2p.records import (
    Account,
    Auction,
    AuctionStatus,
    BarrierStatus,
    Generation,
    Parameter,
    Proposal,
    ProposalStatus,
    Task,
    TaskStatus,
    Variable,
)
from mabeam_p2p.requests import (
    AccountQuery,
    AuctionQuery,
    BudgetQuery,
    GenerationQuery,
    HoldQuery,
    MovementQuery,
    ProposalQuery,
    TasksQuery,
    WorkersQuery,
)

OPEN_MAX = 40
"""Open proposals, auctions and barriers shown; and as many seats."""
ENDED_MAX = 12
"""Of those that have ended."""
LIST_MAX = 100
"""Members, tasks, workers, accounts, holds, budgets, currencies."""
VALUES_MAX = 200
"""Parameters, and variables."""
MOVEMENTS_MAX = 30

TASK_KINDS = (
    (TaskStatus.LEASED,),
    (TaskStatus.QUEUED,),
    (TaskStatus.DEAD,),
    (TaskStatus.DONE, TaskStatus.CANCELLED),
)
"""In this order they are shown."""

SECTIONS = (
    "peer",
    "members",
    "elections",
    "seats",
    "proposals",
    "parameters",
    "variables",
    "barriers",
    "tasks",
    "ledger",
    "auctions",
)


class Board:
    """on_changed: told the section that may look otherwise than when it was last read."""

    def __init__(
        self,
        attachment: Attachment,
        on_changed: Callable[[str], None],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._attachment = attachment
        self._view = view = attachment.view
        self._on_changed = on_changed
        self._variables = Variables(attachment, lambda: "", weakref.WeakSet())
        self._history = History(self._name_of, wall, own_name=attachment.peer_name)
        self._decided: deque[Proposal] = deque(maxlen=ENDED_MAX)
        self._met: deque[Generation] = deque(maxlen=ENDED_MAX)
        self._sold: deque[Auction] = deque(maxlen=ENDED_MAX)
        self._latest_parameters: Latest[str] = Latest(VALUES_MAX)
        self._latest_variables: Latest[str] = Latest(VALUES_MAX)
        self._latest_accounts: Latest[tuple[str, str]] = Latest(LIST_MAX)
        self._readers: dict[str, Callable[[], Awaitable[Row]]] = {
            "peer": self._peer,
            "members": self._members,
            "elections": self._elections,
            "seats": self._seats,
            "proposals": self._proposals,
            "parameters": self._parameters,
            "variables": self._shared,
            "barriers": self._barriers,
            "tasks": self._tasks,
            "ledger": self._ledger,
            "auctions": self._auctions,
        }
        self._end_listening = view.listen(self._on_event)
        self._end_mending = attachment.on_mended(self._on_mended)
        view.parameters.watch(self._on_parameter)
        view.variables.watch(self._on_variable)
        self._needs_seed = True

    async def read(self, section: str) -> Row:
        """One of SECTIONS as it is now. Raises Closed and DaemonNotRunning when the peer is."""
        if self._needs_seed:
            await self._seed()
        return await self._readers[section]()

    async def open(self) -> None:
        """Look at the peer for the first time."""
        await self._attachment.read_anew()
        status = await self._attachment.status()
        if status.leader is not None:
            self._history.note(
                "leader", f"{status.leader_name or status.leader} leads in term {status.term}"
            )

    def close(self) -> None:
        """Idempotent."""
        self._end_listening()
        self._end_mending()
        self._view.parameters.unwatch(self._on_parameter)
        self._view.variables.unwatch(self._on_variable)

    # ---- what changes it ---------------------------------------------------------------------

    async def _seed(self) -> None:
        """Take in what events do not tell again."""
        self._needs_seed = False
        # What ends meanwhile is told by events: it is kept behind what is found.
        self._decided.clear()
        self._sold.clear()
        find = self._attachment.find
        try:
            proposals = (await find(ProposalQuery(ProposalId("")), "proposals")).proposals
            auctions = (await find(AuctionQuery(AuctionId("")), "auctions")).auctions
        except BaseException:
            self._needs_seed = True
            raise
        closed = [one for one in proposals if one.status is not ProposalStatus.OPEN]
        over = [one for one in auctions if one.status >= AuctionStatus.AWARDED]
        decided = {one.id: one for one in (*closed, *self._decided)}
        sold = {one.id: one for one in (*over, *self._sold)}
        self._decided = deque(decided.values(), ENDED_MAX)
        self._sold = deque(sold.values(), ENDED_MAX)
        await self._latest_parameters.fill(self._view.parameters.entries, _version)
        await self._latest_variables.fill(self._view.variables.entries, _clock)
        await self._latest_accounts.fill(self._view.accounts, _amount)

    def _on_mended(self) -> None:
        self._needs_seed = True
        for section in SECTIONS:
            self._on_changed(section)

    def _on_parameter(self, name: str) -> None:
        self._latest_parameters.put(name)
        self._on_changed("parameters")

    def _on_variable(self, name: str) -> None:
        # The peer keeps deleted ones, so that older writes do not bring them back.
        if is_present(self._view.variables.entries[name]):
            self._latest_variables.put(name)
        else:
            self._latest_variables.drop(name)
        self._on_changed("variables")

    def _on_account(self, key: tuple[str, str]) -> None:
        if key in self._view.accounts:
            self._latest_accounts.put(key)
        else:
            self._latest_accounts.drop(key)

    def _on_event(self, event: Event) -> None:
        match event:
            case ProposalDecided(proposal=proposal):
                self._decided.append(proposal)
            case AuctionClosed(auction=auction):
                self._sold.append(auction)
            case BarrierChanged(generation=one) if one.status is not BarrierStatus.WAITING:
                self._met.append(one)
            case LedgerChanged(accounts=accounts):
                for account in accounts:
                    self._on_account((account.account, account.currency))
            case _:
                # Of everything else the view and the peer tell the present state.
                pass
        if self._history.on_event(event):
            self._on_changed("elections")
        for section in _sections_of(event):
            self._on_changed(section)

    # ---- who is there ------------------------------------------------------------------------

    async def _peer(self) -> Row:
        return make.peer(PeerStatus.of(await self._attachment.status()))

    async def _members(self) -> Row:
        status = PeerStatus.of(await self._attachment.status())
        members = sorted(self._view.members(), key=lambda one: _rank(one, status))
        others = (PeerId(one.id) for one in members if one.id != status.peer)
        names = {PeerId(one.id): one.name for one in members}
        known = await links(self._attachment, islice(others, LINKS_MAX), names)
        return rows(
            members,
            lambda one: make.member(one, status) | known.get(PeerId(one.id), UNKNOWN),
            len(members),
            rows_max=LIST_MAX,
        )

    async def _elections(self) -> Row:
        return self._history.entries()

    async def _seats(self) -> Row:
        entries = self._view.seats.entries
        return rows(
            (entries[name] for name in sorted(entries)),
            lambda seat: make.seat(seat, self._view.open_elections.get(seat.name)),
            len(entries),
            rows_max=OPEN_MAX,
        )

    def _name_of(self, peer: PeerId) -> str:
        return next((one.name for one in self._view.members() if one.id == peer), "")

    # ---- what is agreed and shared -----------------------------------------------------------

    async def _proposals(self) -> Row:
        running = self._view.open_proposals
        newest = sorted(running.values(), key=lambda one: one.opened_index, reverse=True)
        return {
            "open": rows(newest, make.proposal, len(running), rows_max=OPEN_MAX),
            "ended": rows(
                reversed(self._decided), make.proposal, len(self._decided), rows_max=ENDED_MAX
            ),
        }

    async def _parameters(self) -> Row:
        entries = self._view.parameters.entries
        return rows(
            (entries[name] for name in self._latest_parameters),
            make.parameter,
            len(entries),
            rows_max=VALUES_MAX,
        )

    async def _shared(self) -> Row:
        latest = self._latest_variables
        return rows(latest, self._variable, len(latest), rows_max=VALUES_MAX)

    def _variable(self, name: str) -> Row | None:
        record = self._view.variables.entries[name]
        try:
            value = self._variables[name]
        except KeyError:
            return None
        except MabeamError as error:
            # Only the program that declared its function knows what the value is.
            return make.variable(record, str(error))
        return make.variable(record, make.shown(value))

    async def _barriers(self) -> Row:
        found = await self._attachment.find(GenerationQuery("", 0), "barriers")
        running = found.generations
        return {
            "open": rows(running, make.generation, len(running), rows_max=OPEN_MAX),
            "ended": rows(reversed(self._met), make.generation, len(self._met), rows_max=ENDED_MAX),
        }

    # ---- work and money ----------------------------------------------------------------------

    async def _tasks(self) -> Row:
        find = self._attachment.find
        kinds = [await find(TasksQuery(kind, LIST_MAX), "tasks") for kind in TASK_KINDS]
        # The newest of each kind in turns: many of one kind do not hide the others. One that has
        # moved on between two questions is shown once.
        turns = chain.from_iterable(zip_longest(*(found.tasks for found in kinds)))
        newest = {task.id: task for task in turns if task is not None}
        tasks = sorted(islice(newest.values(), LIST_MAX), key=_kind)
        workers = (await find(WorkersQuery(), "workers")).workers
        return {
            "tasks": rows(tasks, make.task, kinds[-1].task_count, rows_max=LIST_MAX),
            "workers": rows(workers, make.worker, len(workers), rows_max=LIST_MAX),
        }

    async def _ledger(self) -> Row:
        find = self._attachment.find
        peer = self._attachment.peer_name
        currencies = (await find(AccountQuery(agent_id(peer, peer), ""), "currencies")).currencies
        holds = (await find(HoldQuery("", ""), "holds")).holds
        budgets = (await find(BudgetQuery(""), "budgets")).budgets
        movements = (await find(MovementQuery(0, MOVEMENTS_MAX), "movements")).movements
        accounts = self._view.accounts
        return {
            "currencies": rows(currencies, make.currency, len(currencies), rows_max=LIST_MAX),
            "accounts": rows(
                (accounts[key] for key in self._latest_accounts if key in accounts),
                make.account,
                len(accounts),
                rows_max=LIST_MAX,
            ),
            "holds": rows(holds, make.hold, len(holds), rows_max=LIST_MAX),
            "budgets": rows(budgets, make.budget, len(budgets), rows_max=LIST_MAX),
            "movements": rows(
                reversed(movements), make.movement, len(movements), rows_max=MOVEMENTS_MAX
            ),
        }

    async def _auctions(self) -> Row:
        running = self._view.open_auctions
        newest = sorted(running.values(), key=lambda one: one.opened_index, reverse=True)
        return {
            "open": rows(newest, make.auction, len(running), rows_max=OPEN_MAX),
            "ended": rows(reversed(self._sold), make.auction, len(self._sold), rows_max=ENDED_MAX),
        }


GONE = (Closed, DaemonNotRunning)
"""What `Board.read` raises when there is no peer any more."""


def _sections_of(event: Event) -> tuple[str, ...]:
    """What may look otherwise after the event, beside the log of elections."""
    match event:
        case LeaderChanged() | RoleChanged() | VotersChanged():
            return "peer", "members"
        case QuorumChanged() | Ready():
            return ("peer",)
        case MemberChanged() | AgentJoined() | AgentLeft() | AgentChanged():
            return ("members",)
        case SeatChanged() | ElectionOpened() | ElectionEnded():
            return ("seats",)
        case ProposalOpened() | VoteRecorded() | ProposalDecided():
            return ("proposals",)
        case ParameterConfirmed():
            return ("parameters",)
        case BarrierChanged():
            return ("barriers",)
        case TaskChanged() | TaskRevoked() | WorkerChanged():
            return ("tasks",)
        case LedgerChanged() | BudgetChanged() | DealSettled():
            return ("ledger",)
        case AuctionOpened() | BidPlaced() | AuctionRevealing() | AuctionClosed():
            return ("auctions",)
        case _:
            # Changed values are told by their shelves; the others change nothing that is shown.
            return ()


def _rank(member: Member, status: PeerStatus) -> tuple[bool, bool, bool, str, str]:
    """The leader first, then this peer, then who is here, by name."""
    is_here = member.state in ("alive", "suspect")
    is_other = member.id != status.peer
    return member.id != status.leader, is_other, not is_here, member.name, member.id


def _kind(task: Task) -> int:
    return next(index for index, kind in enumerate(TASK_KINDS) if task.status in kind)


def _version(parameter: Parameter) -> int:
    return parameter.version


def _clock(variable: Variable) -> int | None:
    """None: it is deleted."""
    return max(one.clock for one in variable.siblings) if is_present(variable) else None


def _amount(account: Account) -> int:
    return account.balance + account.held
