"""The clients of a soak: they append unique items to lists, add to counters and compare and set
them, read both, and remember when.

1. A client has a session at one peer, its home, but asks any peer that runs. A command whose
   outcome is unknown is sent again under the same number, mostly to another peer.
2. Of what was never given to a leader the client says: not done. Once an attempt has ended as
   unknown, only an acknowledgement closes the command; otherwise it stays open for ever.
3. When the log has ended the session, as its home was killed, the client opens another one.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from mabeam_p2p.commands import AddCounter, AppendJournal, OpenSession, SetCounter
from mabeam_p2p.ids import GROUP_ALL, INTEGER_MAX, SessionId, agent_id
from mabeam_p2p.requests import (
    Answer,
    Committed,
    CounterQuery,
    Failed,
    Found,
    JournalQuery,
    Refused,
    Submit,
)
from mabeam_p2p.requests import Read as ReadRequest
from mabeam_p2p.testing.linearizability import Append, Operation, Read, Result
from mabeam_p2p.testing.wing_gong import Call
from tools.soak_cluster import Cluster, Gone, Process

LISTS = 4
LIST_ITEMS_MAX = 250
"""A list that is as long is left for a new one, so that reads stay small."""
READS_MAX = 15
ATTEMPT_SECONDS = 2.0
COMMAND_SECONDS = 20.0
"""How long one command is tried."""
RETRY_SECONDS = 0.03
COUNTERS = 2
COUNTER_CALLS_MAX = 60
"""A counter that was used as often is left for a new one: each is judged by a search."""
READ_SHARE = 0.25
COUNT_SHARE = 0.2
COUNTER_VALUES = 3
LOCAL_SHARE = 0.2
"""Of the reads: those that take what their peer has."""
NEVER_DONE = ("no_quorum", "overloaded", "disk_full", "closed")


class History:
    """What all clients saw. Times are nanoseconds of this host's monotonic clock."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        """Of counters. One that certainly was not done is taken out again."""
        self.acknowledged = 0
        self.newest_invoked = 0
        """When the newest append that was acknowledged had begun."""
        self.outcomes: Counter[str] = Counter()
        """How attempts ended."""
        self.on_acknowledged: Callable[[Committed], None] = lambda _: None
        self._items = itertools.count(1)
        self._appends = itertools.count()

    def next_append(self, client: str, random: Random) -> Append:
        generation = next(self._appends) // (LISTS * LIST_ITEMS_MAX)
        key = f"list-{generation}-{random.randrange(LISTS)}"
        append = Append(client, key, b"%d" % next(self._items), time.monotonic_ns())
        self.operations.append(append)
        return append

    def acknowledge(self, append: Append, committed: Committed) -> None:
        append.result, append.position = Result.DONE, committed.number
        append.returned = time.monotonic_ns()
        self.acknowledged += 1
        self.newest_invoked = max(self.newest_invoked, append.invoked)
        self.on_acknowledged(committed)

    @property
    def operation_count(self) -> int:
        return len(self.operations) + len(self.calls)

    def next_counter(self, random: Random) -> str:
        generation = len(self.calls) // (COUNTERS * COUNTER_CALLS_MAX)
        return f"counter-{generation}-{random.randrange(COUNTERS)}"

    def lists(self) -> list[str]:
        """In order of first use."""
        return list(dict.fromkeys(operation.key for operation in self.operations))


class Client:
    """One client; `run` works until it is cancelled."""

    def __init__(
        self, name: str, cluster: Cluster, history: History, random: Random, pause: float
    ) -> None:
        """pause: mean seconds between two operations."""
        self._name = name
        self._cluster = cluster
        self._history = history
        self._random = random
        self._pause = pause
        self._sessions = itertools.count(1)
        self._session: SessionId | None = None
        self._sequence = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / self._pause))
            if self._session is None:
                await self._open()
            elif self._random.random() < COUNT_SHARE:
                await self._count(self._session)
            elif self._random.random() < READ_SHARE:
                await self._read()
            else:
                await self._append(self._session)

    async def _open(self) -> None:
        home = self._any()
        status = None if home is None else await home.status()
        if home is None or status is None:
            return
        session = SessionId(self._random.randint(1, INTEGER_MAX))
        # Every session is another agent: the one before may not have departed yet.
        agent = agent_id(f"{self._name}.{next(self._sessions)}", home.name)
        command = OpenSession(
            session, 1, agent, status.peer, status.epoch, (GROUP_ALL,), True, True
        )
        for _ in range(5):
            answer = await self._ask(Submit(command, ATTEMPT_SECONDS))
            if isinstance(answer, Committed):
                self._session, self._sequence = session, 1
            if isinstance(answer, Committed | Refused):
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _append(self, session: SessionId) -> None:
        append = self._history.next_append(self._name, self._random)
        self._sequence += 1
        command = AppendJournal(session, self._sequence, append.key, append.item)
        end = await self._commit(command)
        if isinstance(end, Committed):
            self._history.acknowledge(append, end)
        elif end is Result.NOT_DONE:
            append.result = Result.NOT_DONE

    async def _commit(
        self, command: AppendJournal | AddCounter | SetCounter
    ) -> Committed | Refused | Result:
        """Submit until there is an outcome, or for COMMAND_SECONDS. OPEN: it may be done."""
        give_up = time.monotonic() + COMMAND_SECONDS
        is_undone = True
        while True:
            answer = await self._ask(Submit(command, ATTEMPT_SECONDS))
            match answer:
                case Committed():
                    return answer
                case Refused(reason="counter_changed"):
                    return answer
                case Refused():
                    self._session = None
                    break
                case Failed(reason=reason) if reason in NEVER_DONE:
                    pass
                case _:
                    is_undone = False
            if time.monotonic() > give_up:
                break
            await asyncio.sleep(RETRY_SECONDS)
        return Result.NOT_DONE if is_undone else Result.OPEN

    async def _count(self, session: SessionId) -> None:
        """Add to a counter, compare and set it, or read it."""
        random, history = self._random, self._history
        key = history.next_counter(random)
        draw = random.random()
        if draw < READ_SHARE:
            await self._read_counter(key)
            return
        self._sequence += 1
        command: AddCounter | SetCounter = AddCounter(session, self._sequence, key, 1)
        call = Call(self._name, key, "add", (1,), 0)
        if draw < 0.7:
            expected, value = (random.randrange(COUNTER_VALUES) for _ in range(2))
            command = SetCounter(session, self._sequence, key, value, expected)
            call = Call(self._name, key, "compare_and_set", (expected, value), 0)
        call.invoked, call.may = time.monotonic_ns(), True
        history.calls.append(call)
        end = await self._commit(command)
        if end is Result.OPEN:
            return
        if end is Result.NOT_DONE:
            history.calls.remove(call)
            return
        call.returned, call.may = time.monotonic_ns(), False
        if isinstance(end, Committed):
            call.result = end.number if call.action == "add" else True
            call.hint = end.index
        else:
            call.result = False

    async def _read_counter(self, key: str) -> None:
        invoked = time.monotonic_ns()
        answer = await self._ask(ReadRequest(CounterQuery(key), True, ATTEMPT_SECONDS))
        if isinstance(answer, Found):
            value = answer.counters[0].value
            returned = time.monotonic_ns()
            self._history.calls.append(
                Call(self._name, key, "get", (), invoked, returned, value, hint=answer.index)
            )

    async def _read(self) -> None:
        keys = self._history.lists()
        if keys:
            is_linearizable = self._random.random() >= LOCAL_SHARE
            await self.read(self._random.choice(keys[-LISTS:]), self._any(), is_linearizable)

    async def read(self, key: str, process: Process | None, is_linearizable: bool) -> bool:
        """Read one list whole and remember it. False: there was no answer."""
        invoked = time.monotonic_ns()
        request = ReadRequest(JournalQuery(key), is_linearizable, ATTEMPT_SECONDS)
        answer = await self._ask(request, process)
        if not isinstance(answer, Found):
            return False
        items = answer.journals[0].items if answer.journals else ()
        returned = time.monotonic_ns()
        self._history.operations.append(
            Read(self._name, key, items, invoked, returned, is_linearizable)
        )
        return True

    async def read_at_last(self, key: str, process: Process, is_linearizable: bool) -> bool:
        """The same, asked again where the machine stands still for longer than an answer takes."""
        for _ in range(READS_MAX):
            if await self.read(key, process, is_linearizable):
                return True
        return False

    async def _ask(
        self, request: Submit | ReadRequest, process: Process | None = None
    ) -> Answer | None:
        """Ask `process`, or any; None: nothing was heard, or nobody runs."""
        process = process or self._any()
        if process is None:
            await asyncio.sleep(RETRY_SECONDS)
            return Failed("closed", "nobody runs")
        try:
            answer: Answer | None = await process.ask(request, 2 * ATTEMPT_SECONDS)
        except (Gone, TimeoutError) as error:
            self._history.outcomes[type(error).__name__] += 1
            return None
        word = answer.reason if isinstance(answer, Refused | Failed) else type(answer).__name__
        self._history.outcomes[word] += 1
        return answer

    def _any(self) -> Process | None:
        running = self._cluster.running
        return self._random.choice(running) if running else None
