"""The parameters of the cluster: values that were put to the vote and accepted."""

from collections.abc import Iterator, Mapping

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import Change, Decoded, Level, Reading, decoded
from mabeam_p2p.api.streams import Streams, Watch
from mabeam_p2p.ids import check_key
from mabeam_p2p.records import Parameter
from mabeam_p2p.requests import ParameterQuery


class Parameters(Mapping[str, Decoded]):
    """As a mapping it is local: what this agent's peer has told so far, without asking anybody.

    `read` says how far a value can be trusted. Values are set by proposals only.
    """

    def __init__(self, attachment: Attachment, streams: Streams) -> None:
        self._attachment = attachment
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
