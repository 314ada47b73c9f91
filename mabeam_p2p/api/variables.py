"""Variables: values that every peer may write at any time; concurrent writes are resolved.

Each name has one resolver, the same everywhere; what it is not declared for here is taken from what
the peer knows, else last-writer-wins.
"""

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Literal

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.patterns import Patterns
from mabeam_p2p.api.results import Acknowledgement, Change, Decoded, Reading, decoded
from mabeam_p2p.api.streams import Streams, Watch, names_in
from mabeam_p2p.api.values import encoded
from mabeam_p2p.errors import AckTimeout, InvalidValue
from mabeam_p2p.ids import GROUP_ALL, check_key, scoped, unscoped
from mabeam_p2p.protocol import resolvers
from mabeam_p2p.protocol.resolvers import ABSENT, Written
from mabeam_p2p.records import RESOLVERS, Sibling, Variable
from mabeam_p2p.requests import (
    WAIT_ALL,
    WAIT_MAJORITY,
    Acknowledged,
    ReadVariables,
    SetVariables,
    VariableChange,
)
from mabeam_p2p.requests import Variables as VariablesAnswer

Wait = Literal["all", "majority"] | int
"""Which members must have a write before it returns: all, a majority, or so many others."""

Merge = Callable[[Sequence[Decoded]], Decoded]
"""One value of concurrent ones: commutative, associative, idempotent and deterministic
(`mabeam_p2p.testing` has a test of these laws)."""

_BUILT_IN: tuple[tuple[object, str], ...] = (
    (builtins.max, "max"),
    (builtins.min, "min"),
    (builtins.set, "set"),
    (builtins.map, "map"),
)
"""Functions and types of Python that name a resolver."""

DEFAULT = "lww"


class Variables(Mapping[str, Decoded]):
    """As a mapping it is local: what this agent's peer holds, own writes included. A deleted name
    is absent. Those of a group are called `GROUP:NAME` elsewhere."""

    def __init__(
        self,
        attachment: Attachment,
        actor: Callable[[], str],
        streams: Streams,
        *,
        within: "tuple[str, Variables] | None" = None,
    ) -> None:
        """within: a group, and the agent's variables everywhere."""
        self._attachment = attachment
        self._streams = streams
        self._shelf = attachment.view.variables
        self._actor = actor
        self._group = GROUP_ALL
        self._declared: Patterns[tuple[str, Merge | None]] = Patterns()
        self._building = asyncio.Lock()
        if within is not None:
            self._group, everywhere = within
            self._declared, self._building = everywhere._declared, everywhere._building

    def within(self, group: str) -> "Variables":
        """Not for users. Those of one group."""
        return Variables(self._attachment, self._actor, self._streams, within=(group, self))

    # ---- reading ---------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Decoded:
        value = self._value(self._shelf.entries[scoped(self._group, name)])
        if value is ABSENT:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        for name in sorted(names_in(self._group, self._shelf.entries)):
            if is_present(self._shelf.entries[name]):
                yield unscoped(self._group, name)

    def __len__(self) -> int:
        entries = self._shelf.entries
        return sum(is_present(entries[name]) for name in names_in(self._group, entries))

    async def read(self, name: str, *, timeout: float | None = None) -> Reading:
        """The value with its version, as this agent's peer holds it. The level is local: other
        peers may hold newer ones. Raises KeyError if there is none."""
        seconds = self._attachment.timing.request_timeout_seconds if timeout is None else timeout
        full_name = scoped(self._group, check_key(name, "variable"))
        answer = await self._attachment.ask(ReadVariables(full_name), seconds)
        if not isinstance(answer, VariablesAnswer):
            raise self._attachment.error(answer, f"reading variable {name!r}")
        for record in answer.variables:
            self._shelf.put(record.name, record)
        value, version = self[name], _version(self._shelf.entries[full_name])
        return Reading(name, value, version, "local", None, 0.0)

    def watch(self, pattern: str = "*") -> Watch[Variable]:
        """Iterate over changes: first the present values (`change.initial`), then each newer one.

        Changes that were not taken yet are coalesced: only the last value of a name is told.
        """
        watch = Watch(self._shelf, scoped(self._group, pattern), self._change)
        self._streams.add(watch)
        return watch

    # ---- writing ---------------------------------------------------------------------------

    async def set(
        self, name: str, value: object, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        """Write; return when it is applied here and, with `wait`, acknowledged by other members.

        It supersedes everything that this peer has seen of the name. Raises InvalidValue, Rejected
        (resolver_mismatch), AckTimeout, whose `missing` names the silent ones; the write stands
        and still reaches them; and OutcomeUnknown if this peer has gone before it answered.
        """
        return await self._write((self._changed(name, value),), wait, timeout)

    async def delete(
        self, name: str, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        """Write that the name has no value. As `set`."""
        return await self._write((self._changed(name, ABSENT),), wait, timeout)

    async def add(
        self, name: str, amount: int = 1, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        """Add to a counter, declared so by `resolver`; concurrent additions all count, of up to 64
        peers that have not seen each other's (`limits.siblings_max`): of more the oldest are lost.
        For more, `Agent.counter` is exact."""
        return await self._build(
            name,
            "counter",
            lambda state: resolvers.counter_add(state, self._actor(), amount),
            wait,
            timeout,
        )

    async def put(
        self, name: str, key: str, item: object, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        """Set one key of a map, declared so by `resolver`; writes of other keys stand."""
        return await self._build(
            name,
            "map",
            lambda state: resolvers.map_put(state, self._actor(), key, item),
            wait,
            timeout,
        )

    async def discard(
        self, name: str, key: str, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        """Remove one key of a map, declared so by `resolver`."""
        return await self._build(
            name,
            "map",
            lambda state: resolvers.map_remove(state, self._actor(), key),
            wait,
            timeout,
        )

    def batch(self, *, wait: Wait = 0, timeout: float | None = None) -> "Batch":
        """Several writes that travel and become visible together: `async with v.batch() as b`."""
        return Batch(self._changed, lambda changes: self._write(changes, wait, timeout))

    def resolver(self, pattern: str, resolver: str | type | Merge) -> None:
        """Declare how concurrent writes of the matching names become one value.

        resolver: lww, max, min, counter, set, map or multi_value, as text; Python's max, min, set
        or map; or a function of the siblings' values. Every agent that uses a name must declare
        the same for it. Raises InvalidValue for an unknown word.
        """
        if isinstance(resolver, str):
            if resolver not in RESOLVERS or resolver == "function":
                words = ", ".join(word for word in RESOLVERS if word != "function")
                raise InvalidValue(f"no resolver is called {resolver!r}: take {words}")
            self._declared.declare(scoped(self._group, pattern), (resolver, None))
            return
        for meant, word in _BUILT_IN:
            if resolver is meant:
                self._declared.declare(scoped(self._group, pattern), (word, None))
                return
        self._declared.declare(scoped(self._group, pattern), ("function", resolver))

    # ---- how -------------------------------------------------------------------------------

    def _changed(self, name: str, value: object) -> VariableChange:
        """A write of `value`, made fit to travel; ABSENT deletes."""
        data = None if value is ABSENT else encoded(value, self._attachment.limits)
        full_name = check_key(scoped(self._group, name), "variable")
        return VariableChange(full_name, self._word(full_name), data)

    def _word(self, full_name: str) -> str:
        declared = self._declared.find(full_name)
        if declared is not None:
            return declared[0]
        record = self._shelf.entries.get(full_name)
        return DEFAULT if record is None else record.resolver

    def _value(self, record: Variable) -> Decoded:
        declared = self._declared.find(record.name)
        merge = None if declared is None else declared[1]
        return resolvers.resolve(record.resolver, _written(record.siblings), merge)

    async def _build(
        self,
        name: str,
        word: str,
        step: Callable[[object], object],
        wait: Wait,
        timeout: float | None,
    ) -> Acknowledgement:
        """Write what `step` makes of the present state. One at a time: the next one must see it."""
        full_name = check_key(scoped(self._group, name), "variable")
        if self._word(full_name) != word:
            raise InvalidValue(
                f"variable {name!r} is resolved by {self._word(full_name)}: declare it by "
                f"variables.resolver({name!r}, {word!r}) first"
            )
        async with self._building:
            record = self._shelf.entries.get(full_name)
            state: object = ABSENT
            if record is not None:
                state = resolvers.state(word, _written(record.siblings))
            change = VariableChange(
                full_name,
                word,
                encoded(step(state), self._attachment.limits),
                () if record is None else record.context,
            )
            return await self._write((change,), wait, timeout)

    async def _write(
        self, changes: tuple[VariableChange, ...], wait: Wait, timeout: float | None
    ) -> Acknowledgement:
        seconds = self._attachment.timing.request_timeout_seconds if timeout is None else timeout
        names = ", ".join(repr(change.name) for change in changes)
        what = f"writing {names}"
        answer = await self._attachment.ask(
            SetVariables(changes, _wait_count(wait), seconds), seconds
        )
        if not isinstance(answer, Acknowledged):
            raise self._attachment.error(answer, what)
        if not answer.reached:
            raise AckTimeout(
                f"{what} at peer {self._attachment.peer_name}: acknowledged by "
                f"{len(answer.applied) + len(answer.superseded) + len(answer.merged)}, "
                f"missing: {', '.join(answer.missing) or 'other members'}; the write "
                "stands and reaches them when they are back: see `mabeam members`",
                missing=answer.missing,
            )
        return Acknowledgement.of(answer)

    def _change(self, name: str, initial: bool) -> Change | None:
        record = self._shelf.entries[name]
        value = self._value(record)
        name = unscoped(self._group, name)
        if value is ABSENT:
            return Change(name, None, _version(record), initial, deleted=True)
        return Change(name, value, _version(record), initial)


class Batch:
    """Writes gathered by `batch[name] = value` and `del batch[name]`, sent when the block ends
    without an exception; `acknowledgement` is there after that."""

    def __init__(
        self,
        changed: Callable[[str, object], VariableChange],
        write: Callable[[tuple[VariableChange, ...]], Awaitable[Acknowledgement]],
    ) -> None:
        self._changed = changed
        self._write = write
        self._changes: dict[str, VariableChange] = {}
        self._acknowledgement: Acknowledgement | None = None

    @property
    def acknowledgement(self) -> Acknowledgement | None:
        return self._acknowledgement

    def __setitem__(self, name: str, value: object) -> None:
        self._changes[name] = self._changed(name, value)

    def __delitem__(self, name: str) -> None:
        self._changes[name] = self._changed(name, ABSENT)

    async def __aenter__(self) -> "Batch":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._changes:
            self._acknowledgement = await self._write(tuple(self._changes.values()))


def _wait_count(wait: Wait) -> int:
    match wait:
        case "all":
            return WAIT_ALL
        case "majority":
            return WAIT_MAJORITY
        case int() if wait >= 0 and not isinstance(wait, bool):
            return wait
        case _:
            raise InvalidValue(f"wait {wait!r}: take 'all', 'majority' or a count of members")


def _written(siblings: Iterable[Sibling]) -> list[Written]:
    return [
        Written(s.actor, s.counter, s.clock, ABSENT if s.value is None else decoded(s.value))
        for s in siblings
    ]


def is_present(record: Variable) -> bool:
    """Whether it has a value. A tombstone beside a value counts for last-writer-wins only."""
    if record.resolver == "lww" and record.siblings:
        return max(record.siblings, key=_age).value is not None
    return any(sibling.value is not None for sibling in record.siblings)


def _version(record: Variable) -> str:
    if not record.siblings:
        return ""
    latest = max(record.siblings, key=_age)
    return f"{latest.actor}:{latest.counter}"


def _age(sibling: Sibling) -> tuple[int, str, int]:
    return sibling.clock, sibling.actor, sibling.counter
