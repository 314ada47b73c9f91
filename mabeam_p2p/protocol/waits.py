"""Requests that wait for the log to come to something: a read to be confirmed, or the subject of a
query to be settled, as a proposal that is decided. They wait on state, not on events, so that a
wait that begins too late ends at once. What settles what, the machine says.
"""

from collections.abc import Callable, Hashable

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.protocol.core import Outbox, numbers_before
from mabeam_p2p.protocol.deadlines import Deadlines
from mabeam_p2p.requests import Failed, Found, Query, Read

Subject = Hashable
"""What is waited for: waits of equal subjects are looked at together."""


class Wait:
    """One request that waits."""

    __slots__ = ("query", "subject")

    def __init__(self, query: Query, subject: Subject | None) -> None:
        self.query = query
        self.subject = subject


class Waits:
    """The waiting requests of one peer. `find` answers a query from the applied state; `is_settled`
    says whether an answer shows what was waited for."""

    def __init__(
        self,
        *,
        find: Callable[[Query, bool], Found],
        is_settled: Callable[[Query, Found], bool],
        timing: Timing,
        limits: Limits,
        outbox: Outbox,
        epoch: int = 0,
    ) -> None:
        self._find = find
        self._is_settled = is_settled
        self._timing = timing
        self._limits = limits
        self._outbox = outbox
        self._waits: dict[int, Wait] = {}
        self._subjects: dict[Subject, dict[int, None]] = {}
        self._deadlines: Deadlines[int] = Deadlines()
        self._unasked: list[int] = []
        self._asked: dict[int, tuple[float, list[int]]] = {}
        """For each number under way, oldest first: when it was asked, and for which tokens."""
        self._granted: list[tuple[int, list[int]]] = []
        self._number = numbers_before(epoch)
        self._ask_not_before = 0.0
        self._asked_of: PeerId | None = None
        self._leaderless_since: float | None = None

    def __len__(self) -> int:
        return len(self._waits)

    # ---- what the log comes to -----------------------------------------------------------------

    def wait(self, token: int, query: Query, subject: Subject, deadline: float) -> None:
        """Answer now if the query is settled; else when `subject` has changed and it is."""
        found = self._find(query, False)
        if self._is_settled(query, found):
            self._outbox.resolve(token, found)
        elif self._add(token, Wait(query, subject), deadline):
            self._subjects.setdefault(subject, {})[token] = None

    def changed(self, subject: Subject) -> None:
        """Look again at what waits for `subject`."""
        for token in tuple(self._subjects.get(subject, ())):
            query = self._waits[token].query
            found = self._find(query, False)
            if self._is_settled(query, found):
                self._end(token)
                self._outbox.resolve(token, found)

    def all_changed(self) -> None:
        """Look again at everything that is waited for."""
        for subject in tuple(self._subjects):
            self.changed(subject)

    # ---- linearizable reads ------------------------------------------------------------------

    def read(self, token: int, request: Read, deadline: float) -> None:
        if self._add(token, Wait(request.query, None), deadline):
            self._unasked.append(token)

    def flush(self, leader: PeerId | None, ask: Callable[[int], bool], now: float) -> None:
        """Ask `leader` for one read index for all reads that were gathered, and again if the
        answer does not come (Raft thesis §6.4)."""
        if leader is not None:
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._leaderless_since = now
        if self._asked:
            self._give_up(leader, now)
        if not self._unasked:
            return
        self._unasked = [token for token in self._unasked if token in self._waits]
        if not self._unasked or leader is None or now < self._ask_not_before:
            return
        self._number += 1
        if ask(self._number):
            self._asked[self._number] = now, self._unasked
            self._unasked = []
            self._asked_of = leader

    def _give_up(self, leader: PeerId | None, now: float) -> None:
        """On answers that another leader was to give, or that are late: ask again."""
        for number, (asked_at, tokens) in list(self._asked.items()):
            silence = now - asked_at
            if leader == self._asked_of and silence < self._timing.forward_timeout_seconds:
                break
            del self._asked[number]
            self._unasked.extend(tokens)

    def granted(self, number: int, index: int, now: float) -> None:
        """The leader's answer: reads of `number` may see the state at `index`; 0: refused."""
        if number not in self._asked:
            return
        _, tokens = self._asked.pop(number)
        if index:
            self._granted.append((index, tokens))
        else:
            self._unasked.extend(tokens)
            self._ask_not_before = now + self._timing.heartbeat_seconds

    def applied(self, applied_index: int) -> None:
        """Answer the reads that are confirmed and whose index has been applied."""
        if not self._granted:
            return
        later: list[tuple[int, list[int]]] = []
        for index, tokens in self._granted:
            if index > applied_index:
                later.append((index, tokens))
                continue
            for token in tokens:
                wait = self._end(token)
                if wait is not None:
                    self._outbox.resolve(token, self._find(wait.query, True))
        self._granted = later

    # ---- ends --------------------------------------------------------------------------------

    def cancel(self, token: int) -> None:
        self._end(token)

    def tick(self, now: float) -> None:
        for token in self._deadlines.take_due(now):
            is_read = self._waits[token].subject is None
            reason = "no_quorum" if is_read else "timeout"
            self._fail(token, reason, "no answer before the deadline")
        since = self._leaderless_since
        if since is not None and now - since >= self._timing.no_quorum_seconds:
            for token in [t for t, wait in self._waits.items() if wait.subject is None]:
                self._fail(token, "no_quorum", f"nobody has led for {now - since:.1f} s")

    def next_deadline(self) -> float:
        due = self._deadlines.next()
        if self._asked:
            oldest, _ = next(iter(self._asked.values()))
            due = min(due, oldest + self._timing.forward_timeout_seconds)
        if self._unasked and self._leaderless_since is None:
            due = min(due, self._ask_not_before)
        if self._leaderless_since is not None and self._unasked:
            due = min(due, self._leaderless_since + self._timing.no_quorum_seconds)
        return due

    def _add(self, token: int, wait: Wait, deadline: float) -> bool:
        """Whether there was room; else the request is answered."""
        if len(self._waits) >= self._limits.pending_requests_max:
            text = f"{len(self._waits)} requests wait on this peer: wait for some"
            self._outbox.resolve(token, Failed("overloaded", text))
            return False
        self._waits[token] = wait
        self._deadlines.set(token, deadline)
        return True

    def _fail(self, token: int, reason: str, detail: str) -> None:
        self._end(token)
        self._outbox.resolve(token, Failed(reason, detail))

    def _end(self, token: int) -> Wait | None:
        """Wait no more; None if it has ended before."""
        wait = self._waits.pop(token, None)
        if wait is None:
            return None
        self._deadlines.drop(token)
        if wait.subject is not None:
            tokens = self._subjects[wait.subject]
            del tokens[token]
            if not tokens:
                del self._subjects[wait.subject]
        return wait
