"""Writes that are on their way to other members, and who has acknowledged them.

A push is sent to every member that was live at the write, and sent again, with doubling pauses,
to those that have not answered, until all have, or have gone, or its deadline has passed: what is
missing then comes by anti-entropy. A push carries its variables as they are when it is sent, so
that a later one of the same variables makes an earlier one needless.

Nothing is sent from here: the core asks what is due.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum

from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.requests import WAIT_ALL, WAIT_MAJORITY, Acknowledged


class Outcome(IntEnum):
    """What a push came to at its receiver, for one variable (`VariableAck.outcomes`)."""

    APPLIED = 0
    """The pushed siblings are what the receiver holds."""
    SUPERSEDED = 1
    """The receiver has seen later writes: none of the pushed siblings stands."""
    MERGED = 2
    """Pushed siblings stand beside others."""
    REFUSED = 3
    """The receiver's limits, or rules, do not admit the variable, or it has no room for the write,
    or for any of the pushed siblings; it will not change its mind."""


class Push:
    """One write under way. `missing`: who has yet to answer; peer to name, as all the others."""

    __slots__ = (
        "_acknowledged", "_left", "_refused", "_wait", "_wanted_count",
        "deadline", "missing", "names", "number", "pause", "resend_at", "token", "writes",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        token: int,
        writes: tuple[tuple[str, int], ...],
        members: Mapping[PeerId, str],
        wait: int,
        deadline: float,
    ) -> None:
        self.number = number
        self.token = token
        """0 when nobody waits, or no longer."""
        self.writes = writes
        """Name and counter of each variable's write."""
        self.names = tuple(name for name, _ in writes)
        self.missing = dict(members)
        self.deadline = deadline
        self.resend_at = deadline
        self.pause = 0.0
        self._wait = wait
        self._wanted_count = majority(len(members) + 1) - 1 if wait == WAIT_MAJORITY else wait
        self._acknowledged: dict[Outcome, list[str]] = {
            Outcome.APPLIED: [], Outcome.SUPERSEDED: [], Outcome.MERGED: []
        }  # fmt: skip
        self._refused: list[str] = []
        self._left: list[str] = []

    def acknowledge(self, source: PeerId, outcomes: tuple[int, ...]) -> None:
        """`source` is missing, and there is one outcome for each name."""
        name = self.missing.pop(source)
        if Outcome.REFUSED in outcomes:
            self._refused.append(name)
        elif all(outcome == outcomes[0] for outcome in outcomes):
            self._acknowledged[Outcome(outcomes[0])].append(name)
        else:
            self._acknowledged[Outcome.MERGED].append(name)

    def leave(self, peer: PeerId) -> None:
        """`peer` is missing, and will not answer any more."""
        self._left.append(self.missing.pop(peer))

    @property
    def is_reached(self) -> bool:
        """Whether as many have acknowledged as the writer wanted; those that left cannot."""
        if self._wait == WAIT_ALL:
            return not self.missing and not self._refused
        return self._count >= self._wanted_count

    @property
    def is_hopeless(self) -> bool:
        """Whether it can never be reached."""
        if self._wait == WAIT_ALL:
            return bool(self._refused)
        return self._count + len(self.missing) < self._wanted_count

    @property
    def _count(self) -> int:
        return sum(len(names) for names in self._acknowledged.values())

    def answer(self) -> Acknowledged:
        """How far the write has come by now."""
        return Acknowledged(
            applied=tuple(sorted(self._acknowledged[Outcome.APPLIED])),
            superseded=tuple(sorted(self._acknowledged[Outcome.SUPERSEDED])),
            merged=tuple(sorted(self._acknowledged[Outcome.MERGED])),
            missing=tuple(sorted([*self.missing.values(), *self._refused])),
            left=tuple(sorted(self._left)),
            reached=self.is_reached,
        )


class Pushes:
    """Every push under way, by number."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        """Seconds until the first repetition."""
        self._open: dict[int, Push] = {}
        self._latest: dict[str, int] = {}
        """Number of the newest open push of each name."""
        self._counts: dict[str, int] = {}
        """In how many open pushes each name is."""
        self._due = float("inf")
        """No open push is due earlier."""

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Push]:
        """All of them; they may be closed meanwhile."""
        return iter(tuple(self._open.values()))

    def get(self, number: int) -> Push | None:
        return self._open.get(number)

    def is_open(self, name: str) -> bool:
        """Whether a push of this variable is under way."""
        return name in self._counts

    def open(self, push: Push, now: float) -> None:
        """`push` is being sent for the first time; it goes to every live member."""
        push.pause = self._pause
        push.resend_at = now + push.pause
        self._due = min(self._due, push.resend_at, push.deadline)
        earlier = {self._latest.get(name, 0): None for name in push.names}
        self._open[push.number] = push
        self._latest.update((name, push.number) for name in push.names)
        for name in push.names:
            self._counts[name] = self._counts.get(name, 0) + 1
        for number in earlier:
            other = self._open.get(number)
            if other is not None and not other.token and self._is_covered(other, push.number):
                self.close(other)

    def _is_covered(self, push: Push, number: int) -> bool:
        """Whether the newer push `number` carries all that `push` does."""
        return all(self._latest.get(name) == number for name in push.names)

    def close(self, push: Push) -> None:
        del self._open[push.number]
        for name in push.names:
            if self._latest.get(name) == push.number:
                del self._latest[name]
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]

    def next_deadline(self) -> float:
        return self._due

    def take_due(self, now: float) -> list[Push]:
        """The pushes to send again, or past their deadline; each is counted as sent again."""
        if now < self._due:
            return []
        due = []
        self._due = float("inf")
        for push in self._open.values():
            if now >= min(push.resend_at, push.deadline):
                due.append(push)
                push.pause *= 2
                push.resend_at = now + push.pause
            if now < push.deadline:
                self._due = min(self._due, push.resend_at, push.deadline)
        return due

    def check(self) -> None:
        """Assert that nothing is remembered of pushes that are closed."""
        for name, number in self._latest.items():
            assert name in self._open[number].names
        names = [name for push in self._open.values() for name in push.names]
        assert self._counts == {name: names.count(name) for name in names}
