"""Every exception that leaves the package, as one tree.

    MabeamError
    ├── ConfigError              a setting is wrong: which one, where it came from
    │   ├── InvalidName          a name that cannot be used
    │   └── InvalidJoinCode      a join code with a typing error, or of another release
    ├── InvalidValue             a value that cannot travel: not encodable, or too large
    ├── Rejected                 asked and refused: certainly not done
    │   ├── NameTaken  UnknownProposal  ProposalClosed  NotEligible  ConflictingVote
    │   ├── BarrierMismatch  NoElectorate  ParameterReverted  JournalFull  JournalMismatch
    │   ├── InsufficientFunds  NotOwner  ConflictingOperation
    │   ├── BudgetExceeded  UnknownBudget  NotParty
    │   ├── NoCandidates  UnknownSeat  NotHolder  NobodyThere  TransferFailed
    │   ├── LockMismatch  StaleToken
    │   ├── NoWorker  UnknownTask  BulkMismatch
    │   ├── UnknownAuction  AuctionEnded  Outbid
    │   └── UnknownPeer  VotersUnchanged
    ├── NoQuorum                 no majority can be reached: certainly not done
    ├── OutcomeUnknown           it may have been done, or may still be
    ├── Overloaded               a queue is full: certainly not done, try again later
    ├── MabeamTimeout            (also TimeoutError) a wait reached its deadline
    │   ├── BarrierBroken  BulkBroken  AckTimeout  ElectionTimeout  ProposalTimeout  LockTimeout
    │   └── AuctionTimeout
    ├── TaskDead                 a task was given up: it has no result
    │   └── RemoteTaskError      its function raised
    ├── TaskCancelled            a task was cancelled: it has no result
    ├── LeadershipLost           the scope that needed leadership has ended
    ├── LeaseLost                a lock, or an item of a queue, was taken away while it was held
    ├── StorageError             the data folder cannot be used
    │   └── DataFolderHeld  LogCorrupt  KeyFileError
    ├── DaemonNotRunning         (also ConnectionError) nobody answers on the local socket
    ├── AuthenticationError      the other side could not prove who it is
    ├── AddressError             an address cannot be listened on
    ├── PeerRefused              a cluster refused this peer: why
    └── Closed                   the peer or agent has been closed
    RemoteProtocolError          bytes from elsewhere that break the protocol; logged only

Two families must never be mixed. Of a command, Rejected, NoQuorum, Overloaded, InvalidValue,
DaemonNotRunning and Closed say "certainly not"; OutcomeUnknown says "maybe".
"""

import errno

NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
"""What the system says where a disk, or a user's share of it, is full."""
NOT_YET = frozenset((errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENODEV))
"""What the system says of an address that another program has, or that has not come up yet."""


class MabeamError(Exception):
    """Root of every error that the package raises."""


class ConfigError(MabeamError):
    """A setting is unknown or wrong. `path`: where it was read; `key`: its dotted name."""

    def __init__(self, message: str, *, path: str | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.key = key


class InvalidName(ConfigError, ValueError):
    """A name that breaks the rules of `ids`."""


class InvalidJoinCode(ConfigError, ValueError):
    """A join code has a typing error, or is of another release. Never holds the code itself."""


class InvalidValue(MabeamError, ValueError):
    """A value that cannot travel: a type outside null, bool, int64, float, text, bytes, list
    and map with text keys, or more bytes than the limit."""


class Rejected(MabeamError):
    """Asked and refused; nothing has changed. `reason` is a stable word for programs."""

    def __init__(self, message: str, *, reason: str = "rejected") -> None:
        super().__init__(message)
        self.reason = reason


class NameTaken(Rejected):
    """Another live peer or agent has the name."""


class UnknownPeer(Rejected):
    """No member has this name or id, or it is not there."""


class VotersUnchanged(Rejected):
    """The voters stay as they are. `reason`: voters_changed (they were changed meanwhile),
    not_caught_up, no_majority, last_voter, too_many_voters, or not_needed (of a repair)."""


class UnknownProposal(Rejected):
    """No proposal has this id."""


class ProposalClosed(Rejected):
    """The proposal was decided before this vote came."""


class NotEligible(Rejected):
    """The agent is not in the proposal's electorate."""


class ConflictingVote(Rejected):
    """The agent has voted otherwise already; the first vote binds."""


class NoElectorate(Rejected):
    """Fewer agents than the policy's minimum may vote."""


class ParameterReverted(Rejected):
    """Somebody who had to could not put an agreed value into effect: the one before is back."""


class BarrierMismatch(Rejected):
    """The running generation was created with other parameters."""


class JournalFull(Rejected):
    """The journal holds its items for good, and as many as it can."""


class JournalMismatch(Rejected):
    """The journal was begun with another capacity."""


class InsufficientFunds(Rejected):
    """The account, or the hold, has less than that."""


class NotOwner(Rejected):
    """It belongs to others: an account, a hold, a currency, a budget or a reservation."""


class ConflictingOperation(Rejected):
    """Another operation has taken effect under this id."""


class BudgetExceeded(Rejected):
    """Less than that is free, in the budget or in one that it is part of."""


class UnknownBudget(Rejected):
    """Nobody has set a budget of this name."""


class NotParty(Rejected):
    """The agent was no party of the deal."""


class NoCandidates(Rejected):
    """No agent of the group can be elected: nobody is in it, or nobody there wants the seat. An
    election may have been run that has ended without one."""


class UnknownSeat(Rejected):
    """Nobody has asked for an election to this seat."""


class NotHolder(Rejected):
    """The agent does not hold the seat, or not under this token."""


class LockMismatch(Rejected):
    """The lock is in use with another number of permits."""


class StaleToken(Rejected):
    """A guarded resource has seen a greater token: somebody else has held the lock since. `token`:
    what was shown; `highest`: the greatest that was seen."""

    def __init__(self, message: str, *, token: int, highest: int) -> None:
        super().__init__(message, reason="stale_token")
        self.token = token
        self.highest = highest


class NoWorker(Rejected):
    """No live agent offers the task with what it requires."""


class TransferFailed(Rejected):
    """Leadership did not go where it was to go. `reason` says why, as `unfit` or `unanswered`."""


class UnknownTask(Rejected):
    """No task of this id is remembered."""


class UnknownAuction(Rejected):
    """No auction has this id."""


class AuctionEnded(Rejected):
    """It was awarded, unsold or cancelled before."""


class Outbid(Rejected):
    """The price does not win a unit, or the price of a Dutch auction has not come to it."""


class NobodyThere(Rejected):
    """Nobody whom the message is for can be reached: no such agent lives, or nobody else is in the
    group."""


class BulkMismatch(Rejected):
    """The parties of a collective do not fit together; none of them got anything. `offers`: what
    each agent brought, in words."""

    def __init__(self, message: str, *, offers: dict[str, str]) -> None:
        super().__init__(message, reason="bulk_mismatch")
        self.offers = offers


class NoQuorum(MabeamError):
    """No majority of the voters can be reached; the command was certainly not committed."""


class OutcomeUnknown(MabeamError):
    """A command, a write or a message was given to a peer and no answer came; it may have been
    done."""


class Overloaded(MabeamError):
    """A bounded queue is full; nothing was done."""


class MabeamTimeout(MabeamError, TimeoutError):
    """A wait reached its deadline."""


class BarrierBroken(MabeamTimeout):
    """The generation ended without release. `arrived` and `missing_count` say how far it came."""

    def __init__(
        self, message: str, *, reason: str, arrived: tuple[str, ...] = (), missing_count: int = 0
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.arrived = arrived
        self.missing_count = missing_count


class BulkBroken(MabeamTimeout):
    """A collective ended without a result. `reason`: as of a barrier; `missing`: the agents that it
    waited for, as far as they are known here."""

    def __init__(self, message: str, *, reason: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.missing = missing


class AckTimeout(MabeamTimeout):
    """Not every receiver acknowledged in time. `missing` names the silent ones."""

    def __init__(self, message: str, *, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class ElectionTimeout(MabeamTimeout):
    """No seat was filled in time."""


class ProposalTimeout(MabeamTimeout):
    """The caller's own wait ended before the proposal was decided. `proposal` is its id."""

    def __init__(self, message: str, *, proposal: str = "") -> None:
        super().__init__(message)
        self.proposal = proposal


class LockTimeout(MabeamTimeout):
    """The lock was not granted in time. `holders`: the agents that held it then, as far as this
    peer knew."""

    def __init__(self, message: str, *, holders: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.holders = holders


class TaskDead(MabeamError):
    """A task was given up. `task`: its id; `reason`: a stable word: failed, timeout, lost;
    `failures`: how many attempts have failed. `mabeam tasks retry` queues it again."""

    def __init__(self, message: str, *, task: str, reason: str, failures: int = 0) -> None:
        super().__init__(message)
        self.task = task
        self.reason = reason
        self.failures = failures


class RemoteTaskError(TaskDead):
    """The function of a task raised in its last attempt. `kind`, `text` and `traceback` say what,
    as data; `agent`: where."""

    def __init__(
        self,
        message: str,
        *,
        task: str,
        reason: str,
        failures: int = 0,
        kind: str = "",
        text: str = "",
        traceback: str = "",
        agent: str = "",
    ) -> None:
        super().__init__(message, task=task, reason=reason, failures=failures)
        self.kind = kind
        self.text = text
        self.traceback = traceback
        self.agent = agent


class TaskCancelled(MabeamError):
    """A task was cancelled. `task`: its id; `by`: the agent that did."""

    def __init__(self, message: str, *, task: str, by: str) -> None:
        super().__init__(message)
        self.task = task
        self.by = by


class AuctionTimeout(MabeamTimeout):
    """The caller's own wait ended before the auction did. `auction` is its id."""

    def __init__(self, message: str, *, auction: str = "") -> None:
        super().__init__(message)
        self.auction = auction


class LeadershipLost(MabeamError):
    """Leadership ended while code depended on it."""


class LeaseLost(MabeamError):
    """A lock, or an item of a queue, was taken away while it was held: somebody else may hold it.
    `reason`: why, in words; `token`: of the grant that was lost."""

    def __init__(self, message: str, *, name: str, token: int, reason: str) -> None:
        super().__init__(message)
        self.name = name
        self.token = token
        self.reason = reason


class StorageError(MabeamError):
    """The data folder cannot be read or written. `path` names the file. `is_full`: nothing is wrong
    but that there is no room, so that it is worth another try later."""

    def __init__(self, message: str, *, path: str = "", is_full: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.is_full = is_full


class DataFolderHeld(StorageError):
    """Another process holds the data folder."""


class LogCorrupt(StorageError):
    """The log is damaged before its tail, or a part of it is gone. The files are left untouched."""

    def __init__(self, message: str, *, path: str = "", offset: int = 0) -> None:
        super().__init__(message, path=path)
        self.offset = offset


class KeyFileError(StorageError):
    """A file with secrets is damaged, cannot be used, or can be read by others."""


class DaemonNotRunning(MabeamError, ConnectionError):
    """Nobody answers on the local socket."""


class AuthenticationError(MabeamError):
    """The other side could not prove who it is, or does not let this peer in. `reason` is a stable
    word: used, expired, unknown_code, unknown_secret, rotated, revoked, other_key, identity,
    version."""

    def __init__(self, message: str, *, reason: str = "proof") -> None:
        super().__init__(message)
        self.reason = reason


class AddressError(MabeamError):
    """An address is taken, malformed, or not allowed without keys. `is_passing`: nothing is wrong
    with it but that another program has it, or that this machine does not have it yet, so that it
    is worth another try later."""

    def __init__(self, message: str, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class NoRoute(AddressError):
    """This machine has no way to the network that the peer is to listen on. It may have one soon:
    try again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_passing=True)


class PeerRefused(MabeamError):
    """A cluster refused this peer. `reason` is a stable word: cluster, version, name, identity,
    machine, limits, repaired, revoked."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Closed(MabeamError):
    """The peer or agent has been closed."""


class RemoteProtocolError(Exception):
    """Bytes from another peer or client that break the protocol. Counted, logged and dropped."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
