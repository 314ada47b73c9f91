"""What a refusal or a failure means to the caller: the one place where answers become exceptions.

Each message says which peer answered, what was asked, what is wrong, and what to do next.
"""

from collections.abc import Callable

from mabeam_p2p.errors import (
    AuctionEnded,
    BarrierMismatch,
    BudgetExceeded,
    Closed,
    ConflictingOperation,
    ConflictingVote,
    InsufficientFunds,
    InvalidValue,
    JournalFull,
    JournalMismatch,
    LockMismatch,
    MabeamError,
    MabeamTimeout,
    NameTaken,
    NobodyThere,
    NoCandidates,
    NoElectorate,
    NoQuorum,
    NotEligible,
    NotHolder,
    NotOwner,
    NotParty,
    NoWorker,
    Outbid,
    OutcomeUnknown,
    Overloaded,
    ProposalClosed,
    Rejected,
    TransferFailed,
    UnknownAuction,
    UnknownBudget,
    UnknownPeer,
    UnknownProposal,
    UnknownSeat,
    UnknownTask,
    VotersUnchanged,
)
from mabeam_p2p.requests import Answer, Failed, Refused

Refusal = tuple[Callable[[str], MabeamError], str]
"""What to raise, and what the caller can do."""


def _rejected(kind: type[Rejected], reason: str) -> Callable[[str], Rejected]:
    return lambda message: kind(message, reason=reason)


_REFUSED: dict[str, Refusal] = {
    "name_taken": (_rejected(NameTaken, "name_taken"), "take another name, or close the other one"),
    "unknown_session": (
        _rejected(Rejected, "unknown_session"),
        "the agent's session has ended: join again",
    ),
    "no_session": (
        _rejected(Rejected, "no_session"),
        "nothing was done: connect under a name of your own",
    ),
    "limit": (Overloaded, "nothing was done: wait until others have finished, or raise the limit"),
    "invalid": (_rejected(Rejected, "invalid"), "correct the arguments"),
    "unknown_proposal": (
        _rejected(UnknownProposal, "unknown_proposal"),
        "see `mabeam proposals` for those that are remembered",
    ),
    "proposal_closed": (
        _rejected(ProposalClosed, "proposal_closed"),
        "see `mabeam explain` for its result",
    ),
    "not_eligible": (
        _rejected(NotEligible, "not_eligible"),
        "only agents that were there when it was opened may vote, those of the group may "
        "stand if they are eligible, and named members may meet",
    ),
    "conflicting_vote": (
        _rejected(ConflictingVote, "conflicting_vote"),
        "the first vote binds",
    ),
    "proposal_exists": (
        _rejected(Rejected, "proposal_exists"),
        "take another id, or propose the same content",
    ),
    "no_electorate": (
        _rejected(NoElectorate, "no_electorate"),
        "wait for more agents (`wait_for_members`), or give a policy with a lower min_voters",
    ),
    "no_member": (_rejected(UnknownPeer, "no_member"), "see `mabeam members`"),
    "not_caught_up": (
        _rejected(VotersUnchanged, "not_caught_up"),
        "wait until it has the log: see `mabeam status` there",
    ),
    "voters_changed": (
        _rejected(VotersUnchanged, "voters_changed"),
        "look at the voters with `mabeam voters list`, and decide again",
    ),
    "last_voter": (
        _rejected(VotersUnchanged, "last_voter"),
        "promote another one first",
    ),
    "too_many_voters": (
        _rejected(VotersUnchanged, "too_many_voters"),
        "remove another one first",
    ),
    "no_majority": (
        _rejected(VotersUnchanged, "no_majority"),
        "wait for the others, or remove those that are gone first",
    ),
    "barrier_mismatch": (
        _rejected(BarrierMismatch, "barrier_mismatch"),
        "all parties must give the same parameters",
    ),
    "unknown_generation": (
        _rejected(Rejected, "unknown_generation"),
        "it is too old to be remembered, or has not begun",
    ),
    "unknown_seat": (_rejected(UnknownSeat, "unknown_seat"), "have it elected first"),
    "no_candidates": (
        _rejected(NoCandidates, "no_candidates"),
        "have eligible agents join the group (see `mabeam members`), or stand for the seat",
    ),
    "election_closed": (
        _rejected(Rejected, "election_closed"),
        "it has ended, with an empty ballot in the place of one that was missing",
    ),
    "not_holder": (
        _rejected(NotHolder, "not_holder"),
        "only who holds it can give it up: see `seat`",
    ),
    "nobody_there": (
        _rejected(NobodyThere, "nobody_there"),
        "certainly not delivered: see `mabeam members` for who is there",
    ),
    "not_leader": (_rejected(TransferFailed, "not_leader"), "it has changed meanwhile: ask again"),
    "no_successor": (
        _rejected(TransferFailed, "no_successor"),
        "see `mabeam members` and `mabeam status`: another voter must be alive, and fit to lead",
    ),
    "unknown_peer": (
        _rejected(TransferFailed, "unknown_peer"),
        "see `mabeam members` for those that there are",
    ),
    "not_a_voter": (
        _rejected(TransferFailed, "not_a_voter"),
        "take a voter: see `mabeam status`",
    ),
    "unreachable": (
        _rejected(TransferFailed, "unreachable"),
        "nothing has changed: see `mabeam members`, and try when it is alive",
    ),
    "unfit": (
        _rejected(TransferFailed, "unfit"),
        "take another peer, or let this one lead (`eligible`, `mabeam score`)",
    ),
    "handing_over": (
        _rejected(TransferFailed, "handing_over"),
        "another hand-over is under way: ask again when it has ended",
    ),
    "too_often": (
        _rejected(TransferFailed, "too_often"),
        "the same peer leads on: ask again in some seconds",
    ),
    "behind": (
        _rejected(TransferFailed, "behind"),
        "the same peer leads on: the other one did not catch up with its log in time",
    ),
    "unanswered": (
        _rejected(TransferFailed, "unanswered"),
        "the same peer leads on: the other one was not elected in time",
    ),
    "another_leads": (
        _rejected(TransferFailed, "another_leads"),
        "see `mabeam leader`, and ask again if it matters",
    ),
    "stale_sequence": (OutcomeUnknown, "it may have been done: look before asking again"),
    "too_large": (InvalidValue, "make it smaller"),
    "lock_mismatch": (
        _rejected(LockMismatch, "lock_mismatch"),
        "all who use a name must take it for the same: a lock, a read-write lock, or a semaphore "
        "with one limit",
    ),
    "lock_held": (_rejected(Rejected, "lock_held"), "wait for it, or try later"),
    "not_held": (_rejected(Rejected, "not_held"), "it has ended: take it again"),
    "queue_empty": (_rejected(Rejected, "queue_empty"), "wait for an item, or try later"),
    "counter_changed": (_rejected(Rejected, "counter_changed"), "read it and decide anew"),
    "out_of_range": (InvalidValue, "count by less"),
    "unknown_parameter": (
        _rejected(Rejected, "unknown_parameter"),
        "no proposal on it was accepted yet",
    ),
    "stale_version": (
        _rejected(Rejected, "stale_version"),
        "another decision has taken its place: look at the present one",
    ),
    "conflicting_schema": (
        _rejected(Rejected, "conflicting_schema"),
        "the first declaration binds: declare the same, or take another name",
    ),
    "resolver_mismatch": (
        _rejected(Rejected, "resolver_mismatch"),
        "use the resolver that the variable was declared with",
    ),
    "journal_full": (
        _rejected(JournalFull, "journal_full"),
        "go on in another journal",
    ),
    "journal_mismatch": (
        _rejected(JournalMismatch, "journal_mismatch"),
        "give the capacity that the journal was begun with, or take another name",
    ),
    "insufficient_funds": (
        _rejected(InsufficientFunds, "insufficient_funds"),
        "nothing was moved: see `mabeam ledger balances`",
    ),
    "not_owner": (
        _rejected(NotOwner, "not_owner"),
        "ask the agent that it belongs to, or join the group",
    ),
    "not_issuer": (
        _rejected(NotOwner, "not_issuer"),
        "ask its issuer, or take another currency",
    ),
    "conflicting_operation": (
        _rejected(ConflictingOperation, "conflicting_operation"),
        "take another id: an operation takes effect once, as it was first",
    ),
    "unknown_currency": (
        _rejected(Rejected, "unknown_currency"),
        "mint it first: see `mabeam ledger currencies`",
    ),
    "unknown_hold": (
        _rejected(Rejected, "unknown_hold"),
        "see `mabeam ledger holds` for those that stand",
    ),
    "overflow": (_rejected(Rejected, "overflow"), "take another currency, or greater units"),
    "unknown_budget": (
        _rejected(UnknownBudget, "unknown_budget"),
        "set it first: see `mabeam ledger budgets`",
    ),
    "budget_exceeded": (
        _rejected(BudgetExceeded, "budget_exceeded"),
        "nothing was done: take less, wait until others have finished, or raise the limit",
    ),
    "budget_mismatch": (
        _rejected(Rejected, "budget_mismatch"),
        "give the same, or make another budget",
    ),
    "budget_in_use": (
        _rejected(Rejected, "budget_in_use"),
        "end what is reserved, and remove the budgets in it first",
    ),
    "unknown_reservation": (
        _rejected(Rejected, "unknown_reservation"),
        "it ends once, and with its agent's session: what was not spent until then is free again",
    ),
    "unknown_deal": (
        _rejected(Rejected, "unknown_deal"),
        "only what has been settled can be rated: see `mabeam ledger deals`",
    ),
    "not_party": (_rejected(NotParty, "not_party"), "only its two parties rate each other"),
    "conflicting_rating": (
        _rejected(Rejected, "conflicting_rating"),
        "the first rating binds",
    ),
    "earlier_version": (
        _rejected(Rejected, "earlier_version"),
        "upgrade all peers first: `mabeam status` names those for whose sake the log waits",
    ),
    "no_keys": (
        _rejected(Rejected, "no_keys"),
        "start it, and all others of its cluster, without --insecure-plaintext",
    ),
    "not_joined": (_rejected(Rejected, "not_joined"), "wait until it was let in"),
    "not_admitted": (
        _rejected(Rejected, "not_admitted"),
        "the leader admits members that have proved the join secret: try again",
    ),
    "other_key": (_rejected(Rejected, "other_key"), "a key is one peer's: see `mabeam keys list`"),
    "revoked": (
        _rejected(Rejected, "revoked"),
        "let it join as a new peer, with an empty data folder",
    ),
    "no_worker": (
        _rejected(NoWorker, "no_worker"),
        "declare it with `@agent.task` where it can be done, or submit it with wait=True; "
        "see `mabeam tasks workers`",
    ),
    "not_a_worker": (_rejected(Rejected, "not_a_worker"), "offer tasks first"),
    "unknown_task": (
        _rejected(UnknownTask, "unknown_task"),
        "it is too old to be remembered, or never was; see `mabeam tasks list`",
    ),
    "task_exists": (
        _rejected(Rejected, "task_exists"),
        "take another id, or ask for the same",
    ),
    "task_finished": (
        _rejected(Rejected, "task_finished"),
        "what has ended stays as it is; see `mabeam tasks show`",
    ),
    "stale_token": (
        _rejected(Rejected, "stale_token"),
        "drop the result: another agent may be at it, or the task has ended",
    ),
    "unknown_auction": (
        _rejected(UnknownAuction, "unknown_auction"),
        "see `mabeam auction list` for those that are remembered",
    ),
    "auction_exists": (
        _rejected(Rejected, "auction_exists"),
        "take another id, or open it with the same terms",
    ),
    "auction_closed": (
        _rejected(AuctionEnded, "auction_closed"),
        "see `mabeam auction show` for its end",
    ),
    "auction_has_bids": (
        _rejected(Rejected, "auction_has_bids"),
        "only an auction without bids is cancelled: wait for its end",
    ),
    "not_auctioneer": (_rejected(NotOwner, "not_auctioneer"), "ask its auctioneer"),
    "not_bidder": (
        _rejected(NotEligible, "not_bidder"),
        "the agents of its group bid, but not its auctioneer; who has sealed a bid reveals it",
    ),
    "wrong_phase": (
        _rejected(Rejected, "wrong_phase"),
        "see `mabeam auction show` for its rule and status",
    ),
    "wrong_seal": (
        _rejected(Rejected, "wrong_seal"),
        "reveal the very bid, with the salt that it was sealed with",
    ),
    "outbid": (
        _rejected(Outbid, "outbid"),
        "nothing was done: bid better, or wait for a Dutch price",
    ),
    "conflicting_bid": (
        _rejected(Rejected, "conflicting_bid"),
        "a sealed bid binds, and an English one is raised for no fewer units",
    ),
}

_FAILED: dict[str, Refusal] = {
    "no_quorum": (
        NoQuorum,
        "it was certainly not done: no majority of the voters can be reached; see `mabeam status`",
    ),
    "overloaded": (Overloaded, "it was certainly not done: try again later"),
    "disk_full": (
        Overloaded,
        "it was certainly not done: free some space on the leader's disk, or give its data folder "
        "a larger limits.data_bytes_max; reads go on",
    ),
    "closed": (Closed, "the peer has been closed: join again"),
    "unknown": (
        OutcomeUnknown,
        "it may have been done, or may still be: look before asking again",
    ),
    "timeout": (MabeamTimeout, "what was waited for goes on: wait again, or longer"),
}


def error(answer: Answer, peer_name: str, what: str) -> MabeamError:
    """The exception for an answer that is not the one hoped for.

    what: what was asked, as `proposal 12ab on 'lr'`.
    """
    match answer:
        case Refused(reason=reason, detail=detail):
            unlisted = (_rejected(Rejected, reason), "see the reason")
            make, advice = _REFUSED.get(reason, unlisted)
            verb = "refused"
        case Failed(reason=reason, detail=detail):
            make, advice = _FAILED.get(reason, (OutcomeUnknown, "look before asking again"))
            verb = "failed"
        case _:
            # A peer of another release, or a fault: nothing can be said about the effect.
            return OutcomeUnknown(
                f"{what}: peer {peer_name} gave an answer of another kind "
                f"({type(answer).__name__}); see whether it runs the same release"
            )
    because = reason.replace("_", " ")
    if detail and detail != reason:
        because += f" ({detail})"
    return make(f"{what} {verb} at peer {peer_name}: {because}; {advice}")
