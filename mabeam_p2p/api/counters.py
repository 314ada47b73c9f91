"""Counters: whole numbers that all agents count with."""

from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.results import Level
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import AddCounter, SetCounter
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import CLUSTER_SESSION, INTEGER_MAX, check_key
from mabeam_p2p.requests import Committed, CounterQuery, Refused


class Counter:
    """A whole number within 2^53-1 of 0, which it is until somebody counts."""

    def __init__(self, attachment: Attachment, session: Session, name: str) -> None:
        """Not for users."""
        self.name = check_key(name, "counter")
        self._attachment = attachment
        self._session = session

    async def add(self, amount: int = 1, *, timeout: float | None = None) -> int:
        """Count by `amount`, which may be negative; what the counter is then.

        Raises InvalidValue out of range, NoQuorum, OutcomeUnknown.
        """
        command = AddCounter(CLUSTER_SESSION, 0, self.name, _whole(amount, self.name))
        committed = await self._session.commit(
            command, f"counting {self.name!r}", self._seconds(timeout)
        )
        return committed.number

    async def set(self, value: int, *, timeout: float | None = None) -> None:
        """Make it `value`, whatever it is. Raises as `add`."""
        command = SetCounter(CLUSTER_SESSION, 0, self.name, _whole(value, self.name))
        await self._session.commit(
            command, f"setting counter {self.name!r}", self._seconds(timeout)
        )

    async def compare_and_set(
        self, expected: int, value: int, *, timeout: float | None = None
    ) -> bool:
        """Make it `value` if it is `expected`; whether it was. Raises as `add`."""
        command = SetCounter(
            CLUSTER_SESSION, 0, self.name, _whole(value, self.name), _whole(expected, self.name)
        )
        answer = await self._session.ask(command, self._seconds(timeout))
        if isinstance(answer, Committed):
            return True
        if isinstance(answer, Refused) and answer.reason == "counter_changed":
            return False
        raise self._attachment.error(answer, f"setting counter {self.name!r}")

    async def get(self, *, level: Level = "linearizable", timeout: float | None = None) -> int:
        """What it is. Raises NoQuorum if `linearizable` cannot be had."""
        found = await self._attachment.find(
            CounterQuery(self.name),
            f"reading counter {self.name!r}",
            linearizable=level == "linearizable",
            timeout=timeout,
        )
        return sum(counter.value for counter in found.counters)

    def _seconds(self, timeout: float | None) -> float:
        return self._attachment.timing.request_timeout_seconds if timeout is None else timeout


def _whole(value: int, name: str) -> int:
    if type(value) is not int or abs(value) > INTEGER_MAX:
        raise InvalidValue(
            f"counter {name!r}: {value!r} is no whole number within {INTEGER_MAX} of 0"
        )
    return value
