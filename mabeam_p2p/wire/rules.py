"""The rules of fields: ranges, names and counts. What they are for stands in `schema`.

A rule answers whether a value is acceptable. Every field has that of its type unless it is named in
`by_field`; `relations` hold what ties fields of one struct together.
"""

import math
import re
from collections.abc import Callable, Sequence
from operator import lt
from typing import Any

from mabeam_p2p import commands, key_requests, messages, records, requests
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import (
    INTEGER_MAX,
    AgentId,
    AuctionId,
    ClusterId,
    PeerId,
    ProposalId,
    SessionId,
    TaskId,
    is_account,
    is_agent_id,
    is_key,
    is_name,
    is_peer_id,
)

Rule = Callable[[Any], bool]

TEXT_LENGTH_MAX = 4_096
"""Reasons, details, rationales: characters."""

TUPLE_COUNT_MAX = 4_096
"""Elements of a tuple whose field has no bound of its own."""

ATTRIBUTE_COUNT_MAX = 256
"""Groups, and capabilities, that one agent can name; `Limits` says how many it may have."""

OFFER_COUNT_MAX = 1_024
"""Names of tasks that one command can offer; `Limits` says how many an agent may."""

COMMAND_ITEM_COUNT_MAX = 2_048
"""CBOR items of one command: more than the largest has, an OpenSession with all attributes."""

AUCTION_ITEM_COUNT_MAX = 256
"""Items that one auction, or one bundle of it, can name; `Limits` says how many it may have."""

BUNDLE_COUNT_MAX = 256
"""Bundles that one bidder can reveal: as many as COMMAND_ITEM_COUNT_MAX has room for."""

SEAL_LENGTH_MAX = 64
"""Bytes of a seal, or of its salt."""

TREE_CHILDREN = 16
"""Of one node of the hash tree over variables."""

VOTER_COUNT_MAX = 256
"""Voters that one message or command can name; `Limits.voters_max` says how many are wanted."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_CLUSTER_ID = re.compile(r"(?:[0-9a-f]{32})?")
_ADDRESS = re.compile(r"[!-~]{1,260}:[0-9]{1,5}")


# ---- rules -----------------------------------------------------------------------------------


def is_integer(value: int) -> bool:
    """Terms, indices, epochs, sequences, clocks: what a double holds, never negative."""
    return 0 <= value <= INTEGER_MAX


def between(lowest: int, highest: int) -> Rule:
    return lambda value: lowest <= value <= highest


def is_text(value: str) -> bool:
    """Short, and fit for UTF-8: what is decoded always is, what is to be encoded may not be."""
    return len(value) <= TEXT_LENGTH_MAX and (value.isascii() or _SURROGATE.search(value) is None)


def is_cluster_id(value: str) -> bool:
    return _CLUSTER_ID.fullmatch(value) is not None


def is_address(value: str) -> bool:
    return _ADDRESS.fullmatch(value) is not None


def is_duration(value: float) -> bool:
    """Seconds."""
    return math.isfinite(value) and value >= 0


def or_empty(rule: Rule) -> Rule:
    """Questions give an empty name to ask about all."""
    return lambda value: not value or rule(value)


def each(rule: Rule, most: int, least: int = 0) -> Rule:
    """Of a tuple: between `least` and `most` elements that keep `rule`."""
    return lambda values: least <= len(values) <= most and all(map(rule, values))


def pairs(first: Rule, second: Rule, most: int) -> Rule:
    return lambda values: (
        len(values) <= most and all(first(one) and second(other) for one, other in values)
    )


def shorter(most: int) -> Rule:
    """Of text or bytes: at most `most` long."""
    return lambda value: len(value) <= most


def exactly(size: int) -> Rule:
    """Of bytes."""
    return lambda value: len(value) == size


def always(value: object) -> bool:
    return True


is_curve_key = exactly(messages.CURVE_KEY_BYTES)
positive = between(1, INTEGER_MAX)
thousandths = between(0, 1000)
signed = between(-INTEGER_MAX, INTEGER_MAX)
hash64 = between(0, 2**64 - 1)
dot_counter = between(0, 2**63 - 1)
"""(epoch << 32) + n."""
tree_node = between(1, 2**17 - 1)
"""Of the hash tree over variables."""


# ---- the table -------------------------------------------------------------------------------


def by_type() -> dict[object, Rule]:
    return {
        int: is_integer,
        float: is_duration,
        bool: always,
        bytes: always,
        str: is_text,
        PeerId: is_peer_id,
        AgentId: is_agent_id,
        ClusterId: is_cluster_id,
        SessionId: is_integer,
        ProposalId: is_key,
        AuctionId: is_key,
        TaskId: is_key,
    }


Table = dict[tuple[type, str], Rule]


def by_field(limits: Limits) -> Table:
    return (
        _auctions()
        | _records(limits)
        | _messages(limits)
        | _introductions()
        | _variable_messages(limits)
        | _commands(limits)
        | _recipe_commands()
        | _key_commands()
        | _requests(limits)
    )


some_voters = each(is_peer_id, VOTER_COUNT_MAX, least=1)


def _context(limits: Limits) -> Rule:
    """A version vector."""
    return pairs(is_peer_id, dot_counter, limits.members_max)


def _command_count(limits: Limits) -> Rule:
    return between(1, limits.batch_commands_max)


def _auctions() -> Table:
    return {
        (records.AuctionTerms, "quantity"): positive,
        (records.AuctionTerms, "currency"): or_empty(is_key),
        (records.AuctionTerms, "items"): pairs(is_key, is_integer, AUCTION_ITEM_COUNT_MAX),
        (records.AuctionTerms, "bids_max"): positive,
        (records.Offer, "quantity"): positive,
        (records.Offer, "items"): each(is_integer, AUCTION_ITEM_COUNT_MAX),
        (commands.OpenAuction, "item"): is_key,
        (commands.OpenAuction, "group"): is_name,
        (commands.PlaceBid, "quantity"): positive,
        (commands.SealBid, "seal"): shorter(SEAL_LENGTH_MAX),
        (commands.SealBid, "count"): positive,
        (commands.RevealBid, "offers"): each(always, BUNDLE_COUNT_MAX, least=1),
        (commands.RevealBid, "salt"): shorter(SEAL_LENGTH_MAX),
        (requests.AuctionQuery, "auction"): or_empty(is_key),
    }


def _records(limits: Limits) -> Table:
    return {
        (records.Batch, "index"): positive,
        (records.Batch, "count"): _command_count(limits),
        (records.Batch, "blob"): shorter(limits.batch_bytes_max),
        (records.LogBase, "voters"): each(is_peer_id, VOTER_COUNT_MAX),
        (records.Member, "name"): is_name,
        (records.Member, "address"): is_address,
        (records.Member, "score"): between(0, 100),
        (records.Standing, "score_bucket"): between(0, 100),
        (records.Standing, "score"): between(0, 100),
        (records.Status, "score"): between(0, 100),
        (records.Variable, "name"): is_key,
        (records.Variable, "resolver"): is_key,
        (records.Variable, "context"): _context(limits),
        (records.Variable, "siblings"): shorter(limits.siblings_max),
        (records.Sibling, "counter"): dot_counter,
        (records.Sibling, "value"): shorter(limits.value_bytes_max),
        (records.TaskOrder, "name"): is_key,
        (records.TaskOrder, "requires"): pairs(is_key, is_integer, ATTRIBUTE_COUNT_MAX),
        (records.TaskOrder, "priority"): between(-INTEGER_MAX, INTEGER_MAX),
        (records.TaskOrder, "key"): or_empty(is_key),
        (records.MailAnswer, "value"): shorter(limits.value_bytes_max),
        (records.Policy, "accept_denominator"): positive,
        (records.Policy, "reject_denominator"): positive,
    }


def _messages(limits: Limits) -> Table:
    return {
        (messages.Frame, "messages"): shorter(limits.frame_messages_max),
        (messages.Hello, "cluster"): is_name,
        (messages.Gossip, "members"): shorter(limits.members_max),
        (messages.Probe, "rumours"): shorter(limits.rumours_per_message_max),
        (messages.ProbeAck, "rumours"): shorter(limits.rumours_per_message_max),
        (messages.ProbeRequest, "rumours"): shorter(limits.rumours_per_message_max),
        (messages.Offer, "voters"): some_voters,
        (messages.AppendEntries, "batches"): shorter(limits.append_batches_max),
        (messages.Forward, "count"): _command_count(limits),
        (messages.Forward, "blob"): shorter(limits.batch_bytes_max),
        (messages.InstallSnapshot, "digest"): hash64,
        (messages.SnapshotReply, "digest"): hash64,
        (messages.TransferRequest, "target"): or_empty(is_peer_id),
        (messages.Frame, "target"): or_empty(is_peer_id),
        (messages.Refuse, "peer"): or_empty(is_peer_id),
        (messages.Refuse, "reason"): is_name,
        (messages.TransferReply, "leader"): or_empty(is_peer_id),
        (messages.Relay, "count"): _command_count(limits),
        (messages.Relay, "blob"): shorter(limits.batch_bytes_max),
        (messages.Relayed, "count"): _command_count(limits),
        (messages.Relayed, "blob"): shorter(limits.batch_bytes_max),
        (messages.Letter, "number"): positive,
        (messages.Letter, "targets"): each(is_agent_id, limits.agents_per_peer_max, least=1),
        (messages.Letter, "group"): is_name,
        (messages.Letter, "topic"): is_key,
        (messages.Letter, "value"): shorter(limits.value_bytes_max),
        (messages.Letter, "timeout"): positive,
        (messages.LetterReceipt, "delivered"): each(is_agent_id, limits.agents_per_peer_max),
        (messages.LetterReceipt, "full"): each(is_agent_id, limits.agents_per_peer_max),
        (messages.ChunkRange, "stage"): between(0, 1),
        (messages.BulkChunk, "stage"): between(0, 1),
        (messages.BulkChunk, "checksum"): between(0, 2**32 - 1),
        (messages.BulkWant, "wanted"): shorter(limits.bulk_ranges_max),
        (messages.BulkHeader, "token"): lambda value: len(value) == messages.BULK_TOKEN_BYTES,
    }


def _introductions() -> Table:
    label = exactly(messages.LABEL_BYTES)
    return {
        (messages.JoinAsk, "label"): label,
        (messages.JoinAsk, "nonce"): exactly(messages.NONCE_BYTES),
        (messages.JoinChallenge, "key"): is_curve_key,
        (messages.JoinChallenge, "port"): between(1, 65_535),
        (messages.JoinChallenge, "nonce"): exactly(messages.NONCE_BYTES),
        (messages.JoinChallenge, "proof"): exactly(messages.PROOF_BYTES),
        (messages.JoinProof, "proof"): exactly(messages.PROOF_BYTES),
        (messages.JoinWelcome, "label"): or_empty(label),
        (messages.JoinWelcome, "masked"): or_empty(exactly(messages.PROOF_BYTES)),
        (messages.JoinRefusal, "reason"): shorter(64),
    }


def _variable_messages(limits: Limits) -> Table:
    buckets = each(hash64, limits.digest_entries_max)
    hashes = each(hash64, TREE_CHILDREN, least=TREE_CHILDREN)
    outcomes = each(between(0, 3), TUPLE_COUNT_MAX)
    return {
        (messages.VariableAck, "outcomes"): outcomes,
        (messages.AckRelay, "outcomes"): outcomes,
        (messages.RelayedAck, "outcomes"): outcomes,
        (messages.Digest, "buckets"): buckets,
        (messages.DigestEntries, "buckets"): buckets,
        (messages.DigestEntries, "entries"): pairs(is_key, hash64, limits.digest_entries_max),
        (messages.VariableWant, "names"): each(is_key, limits.digest_entries_max),
        (messages.VariablePush, "base"): hash64,
        (messages.VariableWant, "base"): hash64,
        (messages.VariableSpread, "base"): hash64,
        (messages.PeerAcks, "outcomes"): outcomes,
        (messages.PeerAcks, "peers"): each(is_peer_id, limits.members_max, least=1),
        (messages.SpreadAcks, "acks"): shorter(limits.members_max),
        (messages.TreeAsk, "nodes"): pairs(tree_node, hash64, limits.digest_entries_max),
        (messages.TreeAsk, "known"): hash64,
        (messages.TreeAsk, "base"): hash64,
        (messages.TreeAsk, "clock"): dot_counter,
        (messages.TreeAnswer, "answered"): between(0, limits.digest_entries_max),
        (messages.TreeAnswer, "nodes"): pairs(tree_node, hashes, limits.digest_entries_max),
        (messages.TreeAnswer, "listed"): each(tree_node, limits.digest_entries_max),
        (messages.TreeAnswer, "entries"): pairs(is_key, hash64, limits.digest_entries_max),
        (messages.TreeAnswer, "known"): _context(limits),
        (messages.TreeAnswer, "base_hash"): hash64,
        (messages.TreeAnswer, "base"): _context(limits),
        (messages.TreeAnswer, "clock"): dot_counter,
        (messages.TreeDone, "known"): _context(limits),
        (messages.TreeDone, "base"): _context(limits),
        (messages.TreeDone, "clock"): dot_counter,
    }


def _commands(limits: Limits) -> Table:
    """How long a value may be, the machine decides, so that a refusal is an outcome."""
    amounts = pairs(is_key, thousandths, limits.seat_scores_max)
    return {
        (commands.Configure, "voters"): some_voters,
        (commands.Configure, "barred"): each(is_peer_id, VOTER_COUNT_MAX),
        (commands.OpenSession, "groups"): each(is_name, ATTRIBUTE_COUNT_MAX),
        (commands.OpenSession, "capabilities"): pairs(is_key, is_integer, ATTRIBUTE_COUNT_MAX),
        (commands.JoinGroup, "group"): is_name,
        (commands.LeaveGroup, "group"): is_name,
        (commands.Describe, "key"): is_key,
        (commands.OpenProposal, "parameter"): is_key,
        (commands.DeclareParameter, "parameter"): is_key,
        (commands.ConfirmParameter, "parameter"): is_key,
        (commands.OpenProposal, "group"): is_name,
        (commands.CastVote, "confidence"): thousandths,
        (commands.Arrive, "barrier"): is_key,
        (commands.Arrive, "parties"): positive,
        (commands.AppendJournal, "journal"): is_key,
        (commands.Mint, "operation"): is_key,
        (commands.Mint, "account"): is_account,
        (commands.Mint, "currency"): is_key,
        (commands.Transfer, "operation"): is_key,
        (commands.Transfer, "source"): is_account,
        (commands.Transfer, "target"): is_account,
        (commands.Transfer, "currency"): is_key,
        (commands.Burn, "operation"): is_key,
        (commands.Burn, "account"): is_account,
        (commands.Burn, "currency"): is_key,
        (commands.PlaceHold, "operation"): is_key,
        (commands.PlaceHold, "account"): is_account,
        (commands.PlaceHold, "currency"): is_key,
        (commands.PlaceHold, "payee"): or_empty(is_account),
        (commands.CaptureHold, "operation"): is_key,
        (commands.CaptureHold, "hold"): is_key,
        (commands.CaptureHold, "account"): is_account,
        (commands.ReleaseHold, "operation"): is_key,
        (commands.ReleaseHold, "hold"): is_key,
        (commands.SetBudget, "budget"): is_key,
        (commands.SetBudget, "parent"): or_empty(is_key),
        (commands.Reserve, "budget"): is_key,
        (commands.Reserve, "operation"): or_empty(is_key),
        (commands.SpendReserved, "budget"): is_key,
        (commands.SpendReserved, "reservation"): positive,
        (commands.Rate, "skill"): is_key,
        (commands.Rate, "score"): between(0, 1000),
        (commands.PublishScore, "seat"): or_empty(is_key),
        (commands.PublishScore, "scores"): amounts,
        (commands.Stand, "seat"): is_key,
        (commands.Elect, "seat"): is_key,
        (commands.Elect, "group"): is_name,
        (commands.Elect, "weights"): amounts,
        (commands.CastRanking, "seat"): is_key,
        (commands.CastRanking, "points"): pairs(
            is_agent_id, thousandths, limits.seat_candidates_max
        ),
        (commands.Resign, "seat"): is_key,
    }


def _recipe_commands() -> Table:
    return {
        (commands.AcquireLock, "lock"): is_key,
        (commands.AcquireLock, "limit"): positive,
        (commands.AcquireLock, "permits"): positive,
        (commands.ReleaseLock, "lock"): is_key,
        (commands.ReleaseLock, "claim"): positive,
        (commands.RenewLock, "lock"): is_key,
        (commands.RenewLock, "claim"): positive,
        (commands.AddCounter, "counter"): is_key,
        (commands.AddCounter, "amount"): signed,
        (commands.SetCounter, "counter"): is_key,
        (commands.SetCounter, "value"): signed,
        (commands.SetCounter, "expected"): signed,
        (commands.PutItem, "queue"): is_key,
        (commands.TakeItem, "queue"): is_key,
        (commands.AcknowledgeItem, "queue"): is_key,
        (commands.AcknowledgeItem, "claim"): positive,
        (commands.ReturnItem, "queue"): is_key,
        (commands.ReturnItem, "claim"): positive,
        (commands.OfferTasks, "names"): each(is_key, OFFER_COUNT_MAX),
    }


def _key_commands() -> Table:
    return {
        (commands.Admit, "key"): is_curve_key,
        (commands.SetKeys, "keys"): each(is_curve_key, 2, least=1),
        (commands.SetKeys, "peer"): or_empty(is_peer_id),
        (commands.RotateSecret, "label"): exactly(messages.LABEL_BYTES),
    }


def _requests(limits: Limits) -> Table:
    return {
        (requests.ParameterQuery, "name"): or_empty(is_key),
        (requests.ProposalQuery, "proposal"): or_empty(is_key),
        (requests.GenerationQuery, "barrier"): or_empty(is_key),
        (requests.JournalQuery, "name"): is_key,
        (requests.AccountQuery, "account"): or_empty(is_account),
        (requests.AccountQuery, "currency"): or_empty(is_key),
        (requests.HoldQuery, "hold"): or_empty(is_key),
        (requests.HoldQuery, "account"): or_empty(is_account),
        (requests.BudgetQuery, "budget"): or_empty(is_key),
        (requests.ReputationQuery, "agent"): or_empty(is_agent_id),
        (requests.ReputationQuery, "skill"): or_empty(is_key),
        (requests.SeatQuery, "seat"): or_empty(is_key),
        (requests.ElectionQuery, "seat"): is_key,
        (requests.LockQuery, "name"): or_empty(is_key),
        (requests.CounterQuery, "name"): or_empty(is_key),
        (requests.QueueQuery, "name"): or_empty(is_key),
        (requests.TransferLeadership, "target"): or_empty(is_peer_id),
        (requests.SetFitness, "score"): between(0, 100),
        (requests.SendMail, "targets"): each(is_agent_id, limits.agents_per_peer_max),
        (requests.SendMail, "group"): is_name,
        (requests.SendMail, "topic"): is_key,
        (requests.SendMail, "value"): shorter(limits.value_bytes_max),
        (requests.SendMail, "timeout"): positive,
        (requests.TakeMail, "letter"): positive,
        (requests.TakeMail, "value"): shorter(limits.value_bytes_max),
        (requests.VariableChange, "name"): is_key,
        (requests.VariableChange, "resolver"): is_key,
        (requests.VariableChange, "value"): shorter(limits.value_bytes_max),
        (requests.VariableChange, "context"): _context(limits),
        (requests.SetVariables, "wait"): between(requests.WAIT_MAJORITY, limits.members_max),
        (requests.ReadVariables, "name"): or_empty(is_key),
        (key_requests.Introduced, "key"): is_curve_key,
        (requests.Suggest, "addresses"): each(is_address, limits.candidates_max),
    }


def relations() -> dict[type, tuple[str, Rule]]:
    """What must hold between the fields of a class, once each of them is right."""
    return {
        messages.Offer: ("first is not the first of a log", lambda offer: offer.first.index == 1),
        messages.AppendEntries: ("batches are not contiguous", _is_contiguous),
        records.Able: (
            "its versions are none",
            lambda able: 1 <= able.protocol_min <= able.protocol_max and able.machine >= 1,
        ),
        records.Batch: ("voters are not sorted", lambda batch: _is_ascending(batch.voters)),
        records.Variable: ("siblings and context are not sorted or disagree", _is_causal),
    }


def _is_contiguous(entries: messages.AppendEntries) -> bool:
    last_index = entries.previous_index
    for batch in entries.batches:
        if batch.index != last_index + 1:
            return False
        last_index = batch.last_index
    return last_index <= INTEGER_MAX


def _is_causal(variable: records.Variable) -> bool:
    """Both parts sorted, and every dot within the context."""
    dots = [(sibling.actor, sibling.counter) for sibling in variable.siblings]
    seen = dict(variable.context)
    return (
        _is_ascending(dots)
        and _is_ascending(variable.context)
        and len(seen) == len(variable.context)
        and all(counter <= seen.get(actor, -1) for actor, counter in dots)
    )


def _is_ascending(values: Sequence[Any]) -> bool:
    """Strictly, so that nothing stands twice."""
    return all(map(lt, values, values[1:]))
