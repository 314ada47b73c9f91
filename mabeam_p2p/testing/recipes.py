"""What simulated agents do with locks, counters and queues, and what they remember of it.

A call that was sent may have had its effect, until its outcome is heard. A claim that was not
released, as far as its agent knows, is lost some time between its beginning and the end of its
session, which the agent knows to be over when its next one has begun.
"""

from collections.abc import Callable
from math import inf
from random import Random
from typing import Protocol

from msgspec import Struct, structs

from mabeam_p2p.commands import (
    AcknowledgeItem,
    AcquireLock,
    AddCounter,
    AnyEndClaim,
    AnyRecipeCommand,
    PutItem,
    ReleaseLock,
    RenewLock,
    ReturnItem,
    SetCounter,
    TakeItem,
)
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import (
    Answer,
    Await,
    Committed,
    CounterQuery,
    Found,
    LockQuery,
    QueueQuery,
    Read,
    Refused,
)
from mabeam_p2p.testing.models import CounterModel, LockModel, QueueModel
from mabeam_p2p.testing.weather import SECOND
from mabeam_p2p.testing.wing_gong import Call, Model

READERS = 10
LIMITS = {"lock": 1, "semaphore": 2, "table": READERS}
"""Permits, by what the name of a lock begins with."""


ENDS: dict[type[AnyEndClaim], str] = {
    ReleaseLock: "release",
    AcknowledgeItem: "acknowledge",
    ReturnItem: "return",
}
"""Actions of the models."""


def model_of(key: str) -> Model:
    """What the key is, by what its name begins with."""
    kind = key.partition("-")[0]
    if kind == "counter":
        return CounterModel()
    return QueueModel() if kind == "queue" else LockModel(LIMITS[kind])


class Voice(Protocol):
    """The agent, as its recipes use it."""

    session: SessionId
    name: AgentId

    def number(self) -> int:
        """Of its next command."""
        ...

    def submit(self, command: AnyRecipeCommand, done: Callable[[Answer], None]) -> None:
        """`done` hears the outcome, or that it was certainly not done; or nothing."""
        ...

    def ask(self, request: Read | Await, answered: Callable[[Answer], None]) -> None: ...

    def wait(self) -> float:
        """Seconds to wait for an answer."""
        ...

    def later(self, action: Callable[[], None]) -> None: ...

    def think(self) -> None:
        """The operation has ended: the next one may begin."""
        ...


class Calls:
    """The history of all agents of a run. now: the time, in microseconds."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self._calls: dict[int, Call] = {}
        self._seen: dict[object, int] = {}
        """Positions of items that somebody has got."""
        self._count = 0

    @property
    def history(self) -> list[Call]:
        """An item that somebody has got was put, whether its agent knows or not."""
        for call in self._calls.values():
            position = self._seen.get(call.arguments[0]) if call.action == "put" else None
            if position is not None:
                call.result, call.hint, call.may = position, position, False
        return list(self._calls.values())

    def seen(self, item: bytes, position: int) -> None:
        """Somebody has got it."""
        self._seen[item] = position

    def begin(
        self, client: str, key: str, action: str, *arguments: object, since: int | None = None
    ) -> int:
        """A call that may have its effect from now on, or since then. Returns its number."""
        self._count += 1
        invoked = self.now() if since is None else since
        self._calls[self._count] = Call(client, key, action, arguments, invoked, may=True)
        return self._count

    def finish(self, number: int, result: object, index: float = inf) -> None:
        """It has had its effect by now, with this result. index: where the log says it had."""
        call = self._calls[number]
        call.may, call.returned, call.result, call.hint = False, self.now(), result, index

    def expire(self, number: int) -> None:
        """If it has had no effect by now, it will have none."""
        call = self._calls[number]
        call.returned = min(call.returned, self.now())

    def drop(self, number: int) -> None:
        """It certainly had no effect."""
        del self._calls[number]

    def add(self, client: str, key: str, action: str, *arguments: object, since: int) -> None:
        """What has happened between then and now."""
        self.finish(self.begin(client, key, action, *arguments, since=since), None)


class _Claim(Struct):
    """One that may hold something."""

    key: str
    call: int
    """Number of the call that makes it."""
    since: int
    is_granted: bool = False
    """Whether its agent has heard so."""


Think = Callable[[], None]
"""The end of an operation."""


class RecipeClient:
    """One agent's."""

    def __init__(
        self, voice: Voice, calls: Calls, random: Random, item: Callable[[], bytes]
    ) -> None:
        self._voice = voice
        self._calls = calls
        self._random = random
        self._item = item
        self._open: dict[int, None] = {}
        """Calls of this session whose outcome is not known."""
        self._claims: dict[str, _Claim] = {}
        """Of this session, by name."""

    # ---- what happens to the agent -----------------------------------------------------------

    def session_began(self) -> None:
        """And so every earlier one has ended, with what it held and what was under way."""
        for number in self._open:
            self._calls.expire(number)
        self._open.clear()
        for claim in tuple(self._claims):
            self._lost(claim)

    def run_ended(self) -> None:
        """What is held now may have been lost without a word."""
        for name, claim in self._claims.items():
            self._calls.begin(self._voice.name, claim.key, "lost", name, since=claim.since)

    def act(self) -> None:
        """Begin one operation, after which the agent thinks again."""
        session = self._voice.session

        def think() -> None:
            # The next session thinks for itself.
            if session == self._voice.session:
                self._voice.think()

        draw = self._random.random()
        if draw < 0.35:
            self._count(think)
        elif draw < 0.7:
            self._acquire(think)
        elif draw < 0.85:
            self._put(think)
        else:
            self._take(think)

    # ---- counters ----------------------------------------------------------------------------

    def _count(self, think: Think) -> None:
        voice, random = self._voice, self._random
        key = f"counter-{random.randrange(2)}"
        draw = random.random()
        if draw < 0.3:
            self._get(key, think)
        elif draw < 0.7:
            amount = random.choice((-1, 1, 2))
            number = self._begin(key, "add", amount)
            adding = AddCounter(voice.session, voice.number(), key, amount)
            self._tell(number, adding, lambda made: made.number, think)
        elif draw < 0.8:
            value = random.randrange(3)
            number = self._begin(key, "set", value)
            setting = SetCounter(voice.session, voice.number(), key, value)
            self._tell(number, setting, lambda made: made.number, think)
        else:
            self._swap(key, random.randrange(3), random.randrange(3), think)

    def _get(self, key: str, think: Think) -> None:
        number = self._begin(key, "get")

        def answered(answer: Answer) -> None:
            if isinstance(answer, Found):
                self._finish(number, answer.counters[0].value, answer.index)
            else:
                self._drop(number)
            think()

        self._voice.ask(Read(CounterQuery(key), True, self._voice.wait()), answered)

    def _swap(self, key: str, expected: int, value: int, think: Think) -> None:
        voice = self._voice
        number = self._begin(key, "compare_and_set", expected, value)

        def done(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._finish(number, True, answer.index)
            elif isinstance(answer, Refused) and answer.reason == "counter_changed":
                self._finish(number, False)
            else:
                self._drop(number)
            think()

        voice.submit(SetCounter(voice.session, voice.number(), key, value, expected), done)

    # ---- locks -------------------------------------------------------------------------------

    def _acquire(self, think: Think) -> None:
        random, voice = self._random, self._voice
        kind = random.choice(tuple(LIMITS))
        key, limit = f"{kind}-{random.randrange(2)}", LIMITS[kind]
        permits = random.choice((1, limit)) if kind == "table" else 1
        timeout = random.choice((0, SECOND // 20, SECOND))
        lease = random.choice((0, 0, SECOND // 20, SECOND))
        command = AcquireLock(voice.session, voice.number(), key, limit, permits, timeout, lease)
        claim = self._claim(key, command.sequence, "acquire", permits)

        def release() -> None:
            self._end(ReleaseLock(command.session, 0, command.sequence, key), claim, think)

        def granted(found: Claim) -> None:
            self._granted(claim, found.token, found.token)
            renews = lease and random.random() < 0.5
            voice.later((lambda: self._renew(command, claim, release)) if renews else release)

        def done(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._await(LockQuery(key, answer.index), claim, granted, release, think)
                return
            since = self._undone(claim)
            is_held = isinstance(answer, Refused) and answer.reason == "lock_held"
            if is_held and since is not None:
                self._calls.add(voice.name, key, "refused", permits, since=since)
            think()

        voice.submit(command, done)

    def _renew(self, made: AcquireLock, claim: str, release: Callable[[], None]) -> None:
        voice = self._voice
        if not self._may_hold(claim, made.session):
            release()
            return
        number = self._begin(made.lock, "renew", claim)

        def done(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._finish(number, True, answer.index)
            else:
                self._drop(number)
            voice.later(release)

        command = RenewLock(made.session, voice.number(), made.lock, made.sequence)
        voice.submit(command, done)

    # ---- queues ------------------------------------------------------------------------------

    def _put(self, think: Think) -> None:
        voice, key, item = self._voice, f"queue-{self._random.randrange(2)}", self._item()
        number = self._begin(key, "put", item)
        command = PutItem(voice.session, voice.number(), key, item)
        self._tell(number, command, lambda made: made.index, think)

    def _take(self, think: Think) -> None:
        random, voice = self._random, self._voice
        key = f"queue-{random.randrange(2)}"
        timeout = random.choice((0, SECOND // 20, SECOND))
        command = TakeItem(voice.session, voice.number(), key, timeout)
        claim = self._claim(key, command.sequence, "take")
        is_done = random.random() < 0.6

        def give_back() -> None:
            self._end(ReturnItem(command.session, 0, command.sequence, key), claim, think)

        def acknowledge() -> None:
            self._end(AcknowledgeItem(command.session, 0, command.sequence, key), claim, think)

        def granted(found: Claim) -> None:
            assert found.item is not None
            self._granted(claim, found.token, (found.item.value, found.token))
            self._calls.seen(found.item.value, found.item.position)
            voice.later(acknowledge if is_done else give_back)

        def done(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._await(QueueQuery(key, answer.index), claim, granted, give_back, think)
                return
            since = self._undone(claim)
            is_empty = isinstance(answer, Refused) and answer.reason == "queue_empty"
            if is_empty and since is not None:
                self._calls.add(voice.name, key, "empty", since=since)
            think()

        voice.submit(command, done)

    # ---- claims ------------------------------------------------------------------------------

    def _claim(self, key: str, sequence: int, action: str, *arguments: object) -> str:
        """A claim that is about to be made; its name."""
        name = f"{self._voice.name}/{self._voice.session}/{sequence}"
        call = self._begin(key, action, name, *arguments)
        self._claims[name] = _Claim(key, call, self._calls.now())
        return name

    def _undone(self, claim: str) -> int | None:
        """It certainly was not made. When it was begun; None: its session has ended since."""
        made = self._claims.pop(claim, None)
        if made is None:
            return None
        self._drop(made.call)
        return made.since

    def _granted(self, claim: str, token: int, result: object) -> None:
        made = self._claims[claim]
        made.is_granted = True
        self._finish(made.call, result, token)

    def _await(
        self,
        query: LockQuery | QueueQuery,
        claim: str,
        granted: Callable[[Claim], None],
        give_up: Callable[[], None],
        think: Think,
    ) -> None:
        """Wait until the claim is granted or has ended; give it up if that takes too long."""

        def answered(answer: Answer) -> None:
            if not isinstance(answer, Found):
                self._voice.later(give_up)
                return
            claims = [one for lock in answer.locks for one in lock.claims]
            claims += [one for queue in answer.queues for one in queue.claims]
            if claims and claim in self._claims:
                granted(claims[0])
                return
            # It may have been granted before it ended.
            self._lost(claim)
            think()

        self._voice.ask(Await(query, self._voice.wait()), answered)

    def _may_hold(self, claim: str, session: SessionId) -> bool:
        """Whether it makes sense to speak of it: it may hold something, and its session goes on."""
        return claim in self._claims and session == self._voice.session

    def _end(self, command: AnyEndClaim, claim: str, think: Think) -> None:
        """End a claim that holds something, or may."""
        if not self._may_hold(claim, command.session):
            think()
            return
        made = self._claims[claim]
        number = self._begin(made.key, ENDS[type(command)], claim)

        def done(answer: Answer) -> None:
            if isinstance(answer, Committed) and made.is_granted:
                self._finish(number, True, answer.index)
                self._claims.pop(claim, None)
            else:
                self._drop(number)
                if isinstance(answer, Committed) or is_not_held(answer):
                    self._lost(claim)
            think()

        self._voice.submit(structs.replace(command, sequence=self._voice.number()), done)

    def _lost(self, claim: str) -> None:
        """It holds nothing now."""
        made = self._claims.pop(claim, None)
        if made is None:
            return
        if not made.is_granted:
            self._open.pop(made.call, None)
            self._calls.expire(made.call)
        self._calls.add(self._voice.name, made.key, "lost", claim, since=made.since)

    # ---- calls -------------------------------------------------------------------------------

    def _tell(
        self,
        number: int,
        command: AnyRecipeCommand,
        result: Callable[[Committed], object],
        think: Think,
    ) -> None:
        """Submit what is over with its outcome."""

        def done(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._finish(number, result(answer), answer.index)
            else:
                self._drop(number)
            think()

        self._voice.submit(command, done)

    def _begin(self, key: str, action: str, *arguments: object) -> int:
        number = self._calls.begin(self._voice.name, key, action, *arguments)
        self._open[number] = None
        return number

    def _finish(self, number: int, result: object, index: float = inf) -> None:
        self._open.pop(number, None)
        self._calls.finish(number, result, index)

    def _drop(self, number: int) -> None:
        self._open.pop(number, None)
        self._calls.drop(number)


def is_not_held(answer: Answer) -> bool:
    return isinstance(answer, Refused) and answer.reason == "not_held"
