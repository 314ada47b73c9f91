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
from mabeam_p2p.api.streams import Streams, Watch
from mabeam_p2p.api.values import encoded_metadata
from mabeam_p2p.commands import DeclareParameter
from mabeam_p2p.errors import MabeamTimeout, ParameterReverted, Rejected
from mabeam_p2p.ids import CLUSTER_SESSION, check_key
from mabeam_p2p.records import Parameter
from mabeam_p2p.requests import ParameterQuery


class Parameters(Mapping[str, Decoded]):
    """As a mapping it is local: what this agent's peer has told so far, without asking anybody.

    `read` says how far a value can be trusted. Values are set by proposals only.
    """

    def __init__(self, attachment: Attachment, session: Session, streams: Streams) -> None:
        self._attachment = attachment
        self._session = session
        self._streams = streams
        self._shelf = attachment.view.parameters

    def __getitem__(self, name: str) -> Decoded:
        return decoded(self._shelf.entries[name].value)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._shelf.entries))

    def __len__(self) -> int:
        return len(self._shelf.entries)

    async def read(
        self, name: str, *, level: Level = "linearizable", timeout: float | None = None
    ) -> Reading:
        """The value, its version, and how old it may be.

        linearizable: everything that was committed before the call is seen; raises NoQuorum if no
        majority confirms it. local: answered by this agent's peer alone. Raises KeyError if the
        name was never agreed.
        """
        check_key(name, "parameter")
        found = await self._attachment.find(
            ParameterQuery(name),
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
            record.name,
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
        command = DeclareParameter(CLUSTER_SESSION, 0, check_key(name, "parameter"), data)
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        await self._session.commit(command, f"declaring parameter {name!r}", seconds)
        return schema

    def schema(self, name: str) -> ValueSchema | None:
        """What the parameter's values may be, as far as this agent's peer has told."""
        record = self._attachment.view.schemas.entries.get(name)
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
            found = await self._attachment.find(ParameterQuery(name), what, linearizable=True)
            if not found.parameters:
                raise KeyError(name)
            version = found.parameters[0].version
        seconds = timing.request_timeout_seconds if timeout is None else timeout
        deadline = asyncio.get_running_loop().time() + seconds
        settled = await self._attachment.settled(ParameterQuery(name, version), what, deadline)
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
        watch = Watch(self._shelf, pattern, self._change)
        self._streams.add(watch)
        return watch

    def _change(self, name: str, initial: bool) -> Change | None:
        record = self._shelf.entries[name]
        return Change(name, decoded(record.value), record.version, initial)
