"""The parameters of the cluster: values that were put to the vote and accepted."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import (
    Applied,
    Change,
    Decoded,
    Level,
    Reading,
    TypeWord,
    ValueSchema,
    decoded,
)
from mabeam_p2p.api.schemas import from_encoded, schema_of, to_plain
from mabeam_p2p.api.session import Session
from mabeam_p2p.api.streams import Streams, Watch, names_in
from mabeam_p2p.api.values import encoded_metadata
from mabeam_p2p.commands import DeclareParameter
from mabeam_p2p.errors import MabeamTimeout, ParameterReverted, Rejected
from mabeam_p2p.ids import CLUSTER_SESSION, GROUP_ALL, check_key, scoped, unscoped
from mabeam_p2p.records import Parameter
from mabeam_p2p.requests import ParameterQuery


class Parameters(Mapping[str, Decoded]):
    """As a mapping it is local: what this agent's peer has told so far, without asking anybody.

    `read` says how far a value can be trusted. Values are set by proposals only. Those of a group
    are called `GROUP:NAME` elsewhere.
    """

    def __init__(
        self,
        attachment: Attachment,
        session: Session,
        streams: Streams,
        group: str = GROUP_ALL,
    ) -> None:
        self._group = group
        self._attachment = attachment
        self._session = session
        self._streams = streams
        self._shelf = attachment.view.parameters

    def within(self, group: str) -> "Parameters":
        """Not for users. Those of one group."""
        return Parameters(self._attachment, self._session, self._streams, group)

    def __getitem__(self, name: str) -> Decoded:
        return decoded(self._shelf.entries[self._full(name)].value)

    def __iter__(self) -> Iterator[str]:
        for name in sorted(names_in(self._group, self._shelf.entries)):
            yield unscoped(self._group, name)

    def __len__(self) -> int:
        return len(names_in(self._group, self._shelf.entries))

    async def read(
        self, name: str, *, level: Level = "linearizable", timeout: float | None = None
    ) -> Reading:
        """The value, its version, and how old it may be.

        linearizable: everything that was committed before the call is seen; raises NoQuorum if no
        majority confirms it. local: answered by this agent's peer alone. Raises KeyError if the
        name was never agreed.
        """
        found = await self._attachment.find(
            ParameterQuery(self._full(name)),
            f"reading parameter {name!r}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        if not found.parameters:
            raise KeyError(name)
        record = found.parameters[0]
        # A reading must not be newer than the mapping that the same program looks into.
        self._shelf.put(record.name, record)
        return Reading(
            name,
            decoded(record.value),
            record.version,
            level,
            found.index,
            found.age_seconds,
        )

    async def declare(
        self,
        name: str,
        type: TypeWord | type,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Sequence[object] | None = None,
        timeout: float | None = None,
    ) -> ValueSchema:
        """Say for good which values the parameter may have; proposals of others are refused here,
        and rejected by every voter. type: a type of Python or its word, as `float`.

        Raises InvalidValue, and Rejected (conflicting_schema) if it was declared otherwise.
        """
        limits, timing = self._attachment.limits, self._attachment.timing
        schema = schema_of(type, minimum, maximum, choices)
        data = encoded_metadata(to_plain(schema), limits)
        command = DeclareParameter(CLUSTER_SESSION, 0, self._full(name), data)
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        await self._session.commit(command, f"declaring parameter {name!r}", seconds)
        return schema

    def schema(self, name: str) -> ValueSchema | None:
        """What the parameter's values may be, as far as this agent's peer has told."""
        record = self._attachment.view.schemas.entries.get(self._full(name))
        return None if record is None else from_encoded(record.schema)

    async def wait_applied(
        self, name: str, version: int | None = None, *, timeout: float | None = None
    ) -> Applied:
        """Return when a guarded version (None: the present one) has been confirmed by everybody who
        had to and is still there; at once if it has no guard.

        Raises ParameterReverted if the value before it is back, Rejected (stale_version) if another
        decision has taken its place, MabeamTimeout, and KeyError for a name never agreed.
        """
        timing = self._attachment.timing
        what = f"waiting for parameter {name!r} to take hold"
        if version is None:
            found = await self._attachment.find(
                ParameterQuery(self._full(name)), what, linearizable=True
            )
            if not found.parameters:
                raise KeyError(name)
            version = found.parameters[0].version
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        deadline = asyncio.get_running_loop().time() + seconds
        settled = await self._attachment.settled(
            ParameterQuery(self._full(name), version), what, deadline
        )
        peer = self._attachment.peer_name
        if settled is None:
            raise MabeamTimeout(
                f"{what}: not confirmed by all within {seconds:g} s as far as peer {peer} knows; "
                "wait again, or longer"
            )
        record = settled.parameters[0]
        if record.version == version:
            return Applied(name, version, tuple(map(str, record.confirmed)))
        if record.reverted:
            raise ParameterReverted(
                f"version {version} of parameter {name!r} did not take hold ({record.reverted}): "
                f"the value before it is back as version {record.version}; mend the cause, then "
                "propose it again",
                reason="reverted",
            )
        raise Rejected(
            f"version {version} of parameter {name!r} was replaced by version {record.version} "
            "before all had confirmed it: look at that one",
            reason="stale_version",
        )

    def watch(self, pattern: str = "*") -> Watch[Parameter]:
        """Iterate over changes: first the present values (`change.initial`), then each newer one.

        Changes that were not taken yet are coalesced: only the last value of a name is told.
        """
        watch = Watch(self._shelf, scoped(self._group, pattern), self._change)
        self._streams.add(watch)
        return watch

    def _change(self, name: str, initial: bool) -> Change | None:
        record = self._shelf.entries[name]
        name = unscoped(self._group, name)
        return Change(name, decoded(record.value), record.version, initial)

    def _full(self, name: str) -> str:
        return check_key(scoped(self._group, name), "parameter")
