"""Lines of claims: who holds something of a name, and who waits for it, in order.

1. A claim is made once, waits in the order of tickets, is granted once and ends once.
2. A grant has a token: the log index, or one more than the last token of the machine if several
   are granted at one index. So tokens grow strictly, over all names and for ever.
3. Deadlines are those of waiting claims, and of granted ones with a lease.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.ids import INTEGER_MAX, AgentId
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import Claim, Item


class LineState(Struct, frozen=True, array_like=True):
    """A line in a snapshot."""

    name: str
    granted: tuple[Claim, ...]
    waiting: tuple[Claim, ...]


class Tokens:
    """The last token that was given."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def next(self, entry: Entry) -> int:
        self.last = max(entry.index, self.last + 1)
        return self.last


class Line:
    """The claims of one name by ticket: granted ones in the order of their grants."""

    __slots__ = ("granted", "name", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.granted: dict[int, Claim] = {}
        self.waiting: dict[int, Claim] = {}

    @property
    def head(self) -> Claim | None:
        """Whose turn is next."""
        return next(iter(self.waiting.values()), None)

    def claim(self, ticket: int) -> Claim | None:
        return self.granted.get(ticket) or self.waiting.get(ticket)

    def claims(self, ticket: int) -> tuple[Claim, ...]:
        """The one of this ticket, or none; ticket 0: all, holders first."""
        if ticket:
            one = self.claim(ticket)
            return () if one is None else (one,)
        return (*self.granted.values(), *self.waiting.values())

    def state(self) -> LineState:
        return LineState(self.name, tuple(self.granted.values()), tuple(self.waiting.values()))


class Claims:
    """The claims of many lines, by their owners."""

    def __init__(self, deadlines: Deadlines, tokens: Tokens) -> None:
        self._deadlines = deadlines
        self._tokens = tokens
        self._lines: dict[int, Line] = {}
        """Of each claim, by ticket."""
        self._by_agent: dict[AgentId, dict[int, int]] = {}
        """Tickets by the number of the command that made the claim."""

    def __len__(self) -> int:
        return len(self._lines)

    def line_of(self, ticket: int) -> Line | None:
        return self._lines.get(ticket)

    def find(self, agent: AgentId, number: int, name: str) -> tuple[Line, Claim] | None:
        """The agent's claim on `name` that its command `number` has made."""
        ticket = self._by_agent.get(agent, {}).get(number)
        if ticket is None:
            return None
        line = self._lines[ticket]
        claim = line.claim(ticket)
        assert claim is not None
        return (line, claim) if line.name == name else None

    def of_agent(self, agent: AgentId) -> Iterator[tuple[Line, Claim]]:
        """All its claims, in order of tickets."""
        for ticket in sorted(self._by_agent.get(agent, {}).values()):
            line = self._lines[ticket]
            claim = line.claim(ticket)
            assert claim is not None
            yield line, claim

    def wait(self, line: Line, claim: Claim) -> None:
        """The last of its line."""
        assert not claim.token
        line.waiting[claim.ticket] = claim
        self._enter(line, claim)

    def grant(self, entry: Entry, line: Line, ticket: int, item: Item | None = None) -> Claim:
        """Grant a claim that waits."""
        claim = line.waiting.pop(ticket)
        self._close_deadline(claim)
        granted = replace(
            claim,
            token=self._tokens.next(entry),
            deadline=min(entry.clock + claim.lease, INTEGER_MAX) if claim.lease else 0,
            item=item,
        )
        line.granted[ticket] = granted
        self._open_deadline(granted)
        return granted

    def renew(self, entry: Entry, line: Line, claim: Claim) -> None:
        """Begin the lease of a granted claim anew."""
        assert claim.token
        assert claim.lease
        self._close_deadline(claim)
        renewed = replace(claim, deadline=min(entry.clock + claim.lease, INTEGER_MAX))
        line.granted[claim.ticket] = renewed
        self._open_deadline(renewed)

    def end(self, line: Line, claim: Claim) -> None:
        (line.granted if claim.token else line.waiting).pop(claim.ticket)
        self._close_deadline(claim)
        del self._lines[claim.ticket]
        numbers = self._by_agent[claim.agent]
        del numbers[claim.number]
        if not numbers:
            del self._by_agent[claim.agent]

    def clear(self) -> None:
        self._lines.clear()
        self._by_agent.clear()

    def load(self, line: Line, state: LineState) -> None:
        """Fill an empty line."""
        for claim in state.granted:
            line.granted[claim.ticket] = claim
            self._enter(line, claim)
        for claim in state.waiting:
            line.waiting[claim.ticket] = claim
            self._enter(line, claim)

    def _enter(self, line: Line, claim: Claim) -> None:
        self._lines[claim.ticket] = line
        self._by_agent.setdefault(claim.agent, {})[claim.number] = claim.ticket
        self._open_deadline(claim)

    def _open_deadline(self, claim: Claim) -> None:
        if claim.deadline:
            self._deadlines.add(DeadlineKind.LOCK, str(claim.ticket), claim.deadline)

    def _close_deadline(self, claim: Claim) -> None:
        if claim.deadline:
            self._deadlines.remove(DeadlineKind.LOCK, str(claim.ticket))
