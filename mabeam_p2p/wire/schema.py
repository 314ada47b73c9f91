"""What may stand in a field beyond its type: ranges, names and counts, in one table.

A rule answers whether a value is acceptable. It comes from the field's type (`by_type`), unless
the field has its own (`by_field`). `relations` hold what ties fields of one message together. From
these, one check is made for each class when a Schema is built; a check calls no reflection.

Only what keeps the receiver safe stands here. What a sender may say depends on who it is and on
what is known, and is decided in the cores and machines.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from operator import attrgetter, lt
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from mabeam_p2p import commands, messages, records, requests
from mabeam_p2p.config import Limits
from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.ids import (
    INTEGER_MAX,
    AgentId,
    ClusterId,
    PeerId,
    ProposalId,
    SessionId,
    is_key,
    is_name,
    is_peer_id,
)

Rule = Callable[[Any], bool]
Check = Callable[[Any], None]
"""Raises RemoteProtocolError with reason `schema` and the field's name."""

TEXT_LENGTH_MAX = 4_096
"""Reasons, details, rationales: characters."""

TUPLE_COUNT_MAX = 4_096
"""Elements of a tuple whose field has no bound of its own."""

ATTRIBUTE_COUNT_MAX = 256
"""Groups, and capabilities, that one agent can name; `Limits` says how many it may have."""

COMMAND_ITEM_COUNT_MAX = 2_048
"""CBOR items of one command: more than the largest has, an OpenSession with all attributes."""

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


def is_agent_id(value: str) -> bool:
    name, _, peer_name = value.partition("@")
    return is_name(name) and is_name(peer_name)


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


def always(value: object) -> bool:
    return True


positive = between(1, INTEGER_MAX)
hash64 = between(0, 2**64 - 1)
dot_counter = between(0, 2**63 - 1)
"""(epoch << 32) + n."""


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
    }


def by_field(limits: Limits) -> dict[tuple[type, str], Rule]:
    context = pairs(is_peer_id, dot_counter, limits.members_max)
    batch_blob = shorter(limits.batch_bytes_max)
    command_count = between(1, limits.batch_commands_max)
    some_voters = each(is_peer_id, VOTER_COUNT_MAX, least=1)
    buckets = each(hash64, limits.digest_entries_max)
    return {
        # Records.
        (records.Batch, "index"): positive,
        (records.Batch, "count"): command_count,
        (records.Batch, "blob"): batch_blob,
        (records.Member, "name"): is_name,
        (records.Member, "address"): is_address,
        (records.Member, "score"): between(0, 100),
        (records.Standing, "score_bucket"): between(0, 100),
        (records.Variable, "name"): is_key,
        (records.Variable, "resolver"): is_key,
        (records.Variable, "context"): context,
        (records.Variable, "siblings"): shorter(limits.siblings_max),
        (records.Sibling, "counter"): dot_counter,
        (records.Sibling, "value"): shorter(limits.value_bytes_max),
        (records.Policy, "accept_denominator"): positive,
        (records.Policy, "reject_denominator"): positive,
        # Messages.
        (messages.Frame, "messages"): shorter(limits.frame_messages_max),
        (messages.Hello, "cluster"): is_name,
        (messages.Gossip, "members"): shorter(limits.members_max),
        (messages.Offer, "voters"): some_voters,
        (messages.AppendEntries, "batches"): shorter(limits.append_batches_max),
        (messages.Forward, "count"): command_count,
        (messages.Forward, "blob"): batch_blob,
        (messages.VariableAck, "outcomes"): each(between(0, 3), TUPLE_COUNT_MAX),
        (messages.Digest, "buckets"): buckets,
        (messages.DigestEntries, "buckets"): buckets,
        (messages.DigestEntries, "entries"): pairs(is_key, hash64, limits.digest_entries_max),
        (messages.VariableWant, "names"): each(is_key, limits.digest_entries_max),
        # Commands. How long a value may be, the machine decides, so that a refusal is an outcome.
        (commands.Configure, "voters"): some_voters,
        (commands.OpenSession, "groups"): each(is_name, ATTRIBUTE_COUNT_MAX),
        (commands.OpenSession, "capabilities"): pairs(is_key, is_integer, ATTRIBUTE_COUNT_MAX),
        (commands.OpenProposal, "parameter"): is_key,
        (commands.OpenProposal, "group"): is_name,
        (commands.CastVote, "confidence"): between(0, 1000),
        (commands.Arrive, "barrier"): is_key,
        (commands.Arrive, "parties"): positive,
        (commands.AppendJournal, "journal"): is_key,
        # Requests.
        (requests.ParameterQuery, "name"): or_empty(is_key),
        (requests.ProposalQuery, "proposal"): or_empty(is_key),
        (requests.GenerationQuery, "barrier"): or_empty(is_key),
        (requests.JournalQuery, "name"): is_key,
        (requests.AwaitGeneration, "barrier"): is_key,
        (requests.VariableChange, "name"): is_key,
        (requests.VariableChange, "resolver"): is_key,
        (requests.VariableChange, "value"): shorter(limits.value_bytes_max),
        (requests.VariableChange, "context"): context,
        (requests.SetVariables, "wait"): between(requests.WAIT_MAJORITY, limits.members_max),
        (requests.ReadVariables, "name"): or_empty(is_key),
        (requests.Suggest, "addresses"): each(is_address, limits.candidates_max),
    }


def relations() -> dict[type, tuple[str, Rule]]:
    """What must hold between the fields of a class, once each of them is right."""
    return {
        messages.Offer: ("first is not the first of a log", lambda offer: offer.first.index == 1),
        messages.AppendEntries: ("batches are not contiguous", _is_contiguous),
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


# ---- from table to checks --------------------------------------------------------------------


class Schema:
    """The checks of `roots` and of every class within them, for given limits.

    Raises TypeError for a field that has no rule, so that none is forgotten.
    """

    def __init__(self, limits: Limits, roots: Iterable[type]) -> None:
        self._by_type = by_type()
        self._by_field = by_field(limits)
        self._relations = relations()
        self._checks: dict[type, Check] = {}
        for root in roots:
            self._check_of(root)

    def check(self, struct: msgspec.Struct) -> None:
        """Return, or raise RemoteProtocolError with reason `schema`. struct: of a root."""
        self._checks[type(struct)](struct)

    def _check_of(self, kind: type) -> Check:
        if kind not in self._checks:
            self._checks[kind] = self._make_check(kind)
        return self._checks[kind]

    def _make_check(self, kind: type) -> Check:
        name = kind.__name__
        integers: list[str] = []
        steps: list[Check] = []
        for field in msgspec.structs.fields(kind):
            rule = self._by_field.get((kind, field.name))
            if rule is None and field.type in (int, SessionId):
                integers.append(field.name)
                continue
            rule = rule or self._rule(field.type, f"{name}.{field.name}")
            if rule is not always:
                steps.append(_field_check(name, field.name, _optional(field.type, rule)))
            inner = self._inner_check(field.type)
            if inner is not None:
                steps.append(_at_field(field.name, inner))
        if integers:
            steps.insert(0, _integers_check(name, integers))
        if kind in self._relations:
            steps.append(_relation_check(name, *self._relations[kind]))
        return _all_of(steps)

    def _rule(self, annotation: Any, place: str) -> Rule:
        """The rule of a type. Structs have none: they have checks."""
        if annotation in self._by_type:
            return self._by_type[annotation]
        if isinstance(annotation, type) and issubclass(annotation, Enum | msgspec.Struct):
            return always
        arguments = _alternatives(annotation)
        if arguments and all(_is_struct(argument) for argument in arguments):
            return always
        if len(arguments) == 1:
            return self._rule(arguments[0], place)
        element = _element(annotation)
        if element is not None:
            rule = self._rule(element, place)
            return shorter(TUPLE_COUNT_MAX) if rule is always else each(rule, TUPLE_COUNT_MAX)
        raise TypeError(f"{place} needs a rule of its own: {annotation} has none")

    def _inner_check(self, annotation: Any) -> Check | None:
        """The check for a field that holds a struct, one of several, or a tuple of them."""
        if _is_struct(annotation):
            return self._check_of(annotation)
        structs = [kind for kind in _alternatives(annotation) if _is_struct(kind)]
        if structs:
            return _choice_check({kind: self._check_of(kind) for kind in structs})
        element = _element(annotation)
        inner = None if element is None else self._inner_check(element)
        return None if inner is None else _each_check(inner)


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _alternatives(annotation: Any) -> list[Any]:
    """What a union can be, besides None; nothing for other types."""
    if get_origin(annotation) not in (UnionType, Union):
        return []
    return [argument for argument in get_args(annotation) if argument is not type(None)]


def _element(annotation: Any) -> Any:
    """`X` of `tuple[X, ...]`, else None."""
    arguments = get_args(annotation)
    is_run = get_origin(annotation) is tuple and arguments[1:] == (...,)
    return arguments[0] if is_run else None


def _optional(annotation: Any, rule: Rule) -> Rule:
    if type(None) in get_args(annotation):
        return lambda value: value is None or rule(value)
    return rule


def _refuse(place: str) -> RemoteProtocolError:
    return RemoteProtocolError("schema", place)


def _integers_check(kind: str, names: list[str]) -> Check:
    """All plain integers of a class at once: the hot messages hold little else."""
    if len(names) == 1:
        return _field_check(kind, names[0], is_integer)
    get = attrgetter(*names)

    def check(struct: Any) -> None:
        values = get(struct)
        if min(values) < 0 or max(values) > INTEGER_MAX:
            wrong = [n for n, value in zip(names, values, strict=True) if not is_integer(value)]
            raise _refuse(f"{kind}.{wrong[0]}")

    return check


def _field_check(kind: str, name: str, rule: Rule) -> Check:
    get = attrgetter(name)

    def check(struct: Any) -> None:
        if not rule(get(struct)):
            raise _refuse(f"{kind}.{name}")

    return check


def _at_field(name: str, check: Check) -> Check:
    get = attrgetter(name)
    return lambda struct: check(get(struct))


def _each_check(check_one: Check) -> Check:
    def check(values: tuple[Any, ...]) -> None:
        for value in values:
            check_one(value)

    return check


def _choice_check(checks: dict[Any, Check]) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            checks[type(value)](value)

    return check


def _relation_check(kind: str, what: str, rule: Rule) -> Check:
    def check(struct: Any) -> None:
        if not rule(struct):
            raise _refuse(f"{kind}: {what}")

    return check


def _all_of(steps: list[Check]) -> Check:
    def check(struct: Any) -> None:
        for step in steps:
            step(struct)

    return steps[0] if len(steps) == 1 else check
