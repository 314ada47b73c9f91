"""Linearizability of anything that a model describes, by search.

The algorithm is that of Wing and Gong 1993 with the cache of Lowe 2017: take one call after the
other, each time one that no other call must precede, and go back where the model does not allow it;
never come twice to the same calls with the same state. A history is judged key by key, since it is
linearizable exactly when each of its objects is (Herlihy and Wing 1990, §3.3).

Two kinds of calls are told apart. One that must have had its effect between its invocation and its
return, and one that may have had it, then or never: its caller never heard.

A call that only reads is taken as soon as it can be: an order in which it stands later stays right
when it is moved to the front, for no other call is before it in time and no state is changed. But
where an uncertain call, which may have had its effect first, had returned before it began, it may
have to wait: that is looked at afterwards.

Many uncertain calls make a search long. So the usual orders are looked at first: those in which
calls stand as their hints say, and an uncertain one had its effect where something needs it.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from enum import Enum
from math import inf
from typing import Protocol

from msgspec import Struct

State = Hashable

STEPS_MAX = 300_000
"""States that are looked at for one key. What is not decided then counts as a failure."""


class Call(Struct):
    """One call of one client. Times in any unit that orders them."""

    client: str
    key: str
    action: str
    arguments: tuple[object, ...]
    invoked: int
    returned: float = inf
    """inf: it may take effect at any later time."""
    result: object = None
    """None: unknown, and whatever the model finds."""
    may: bool = False
    """Whether it need not have had an effect at all."""
    hint: float = inf
    """Calls with lower ones are tried first. It speeds a search up, and decides nothing."""


class Model(Protocol):
    """What one key is by itself."""

    def initial(self) -> State: ...

    def step(self, state: State, call: Call) -> State | None:
        """The state behind `call`; None: not possible with its result."""
        ...

    def reads(self, call: Call) -> bool:
        """Whether it changes no state in which it is possible."""
        ...


class Verdict(Enum):
    LINEARIZABLE = "linearizable"
    IMPOSSIBLE = "impossible"
    UNKNOWN = "unknown"
    """The search was given up."""


class Anomaly(Struct, frozen=True):
    key: str
    verdict: Verdict
    detail: str


def anomalies(
    history: Iterable[Call], model_of: Callable[[str], Model], steps_max: int = STEPS_MAX
) -> Iterator[Anomaly]:
    """Every key whose calls no order explains, in order of first use."""
    by_key: dict[str, list[Call]] = {}
    for call in history:
        by_key.setdefault(call.key, []).append(call)
    for key, calls in by_key.items():
        verdict, detail = judge(model_of(key), calls, steps_max)
        if verdict is not Verdict.LINEARIZABLE:
            yield Anomaly(key, verdict, detail)


def judge(model: Model, calls: list[Call], steps_max: int = STEPS_MAX) -> tuple[Verdict, str]:
    """Whether some order of the calls of one key explains them; if not, where every order ends."""
    # What is found is an order, however it was looked for. That there is none, all must say.
    verdict = _Search(model, calls, is_lazy=True).run(steps_max)
    if verdict is Verdict.LINEARIZABLE:
        return verdict, ""
    search = _Search(model, calls)
    verdict = search.run(steps_max)
    return verdict, "" if verdict is Verdict.LINEARIZABLE else search.detail()


class _Done(Struct, frozen=True):
    """Which calls have been taken: bits, those that must be taken and those that may."""

    must: int
    may: int
    latest: int
    """The latest invocation among them: what returned before it comes too late."""


class _Search:
    """is_lazy: look where an order is to be expected. Calls with hints stand in their order, the
    uncertain ones among them too; of those without, only where the next one does not fit."""

    def __init__(self, model: Model, calls: list[Call], *, is_lazy: bool = False) -> None:
        self._model = model
        self._is_lazy = is_lazy
        in_order = sorted(calls, key=lambda call: (call.invoked, call.returned))
        # Where the log says that an uncertain call had its effect, that is to be expected too.
        self._must = [call for call in in_order if _is_expected(call, is_lazy)]
        self._may = [call for call in in_order if not _is_expected(call, is_lazy)]
        self._farthest: tuple[int, State, list[Call]] = (-1, None, [])

    def run(self, steps_max: int) -> Verdict:
        if not self._must:
            return Verdict.LINEARIZABLE
        start = _Done(0, 0, -1)
        state = self._model.initial()
        seen: dict[tuple[int, int, State], None] = {(0, 0, state): None}
        path: list[Iterator[tuple[_Done, State]]] = [self._next(start, state)]
        for _ in range(steps_max):
            step = next(path[-1], None)
            if step is None:
                path.pop()
                if not path:
                    return Verdict.IMPOSSIBLE
                continue
            done, state = step
            if done.must == (1 << len(self._must)) - 1:
                return Verdict.LINEARIZABLE
            place = done.must, done.may, state
            if place not in seen:
                seen[place] = None
                path.append(self._next(done, state))
        return Verdict.UNKNOWN

    def _next(self, done: _Done, state: State) -> Iterator[tuple[_Done, State]]:
        """Each call that can be taken next, with what is done and the state then."""
        first, bound = self._candidates(done)
        count = done.must.bit_count()
        if count > self._farthest[0]:
            self._farthest = count, state, [self._must[number] for number in first]
        for number in first:
            call = self._must[number]
            latest = max(done.latest, call.invoked)
            if self._model.reads(call) and self._model.step(state, call) is not None:
                yield _Done(done.must | 1 << number, done.may, latest), state
                if not self._closes_out(done, latest):
                    return
        fits = False
        next_hint = self._must[first[0]].hint if first else inf
        if self._is_lazy:
            # In the order of the log, and between them those of which the log says nothing.
            first = [n for n in first if self._must[n].hint in (next_hint, inf)]
        for number in first:
            call = self._must[number]
            after = self._model.step(state, call)
            if after is not None:
                fits = fits or call.hint == next_hint
                latest = max(done.latest, call.invoked)
                yield _Done(done.must | 1 << number, done.may, latest), after
        if not self._is_lazy:
            yield from self._uncertain(done, state, bound)
        elif not fits:
            # Those first behind which the next one fits at once.
            found = list(self._uncertain(done, state, bound))
            found.sort(key=lambda step: not self._fits(step[1], first))
            yield from found

    def _uncertain(self, done: _Done, state: State, bound: float) -> Iterator[tuple[_Done, State]]:
        """Each call that may be taken next, and need not."""
        for number, call in enumerate(self._may):
            if call.invoked > bound:
                break
            if done.may >> number & 1 or call.returned < done.latest:
                continue
            after = self._model.step(state, call)
            if after is not None and after != state:
                latest = max(done.latest, call.invoked)
                yield _Done(done.must, done.may | 1 << number, latest), after

    def _closes_out(self, done: _Done, latest: int) -> bool:
        """Whether an uncertain call that can still be taken comes too late behind `latest`."""
        return latest > done.latest and any(
            done.latest <= call.returned < latest and not done.may >> number & 1
            for number, call in enumerate(self._may)
        )

    def _fits(self, state: State, calls: list[int]) -> bool:
        """Whether the first of these, or one of equal hint, is possible now."""
        hint = self._must[calls[0]].hint if calls else inf
        return any(
            self._model.step(state, self._must[number]) is not None
            for number in calls
            if self._must[number].hint == hint
        )

    def _candidates(self, done: _Done) -> tuple[list[int], float]:
        """Of the calls that must be taken, those that no other one precedes, by their hints and
        then by their returns; and the first return among those that are left."""
        calls = self._must
        number = (~done.must & (done.must + 1)).bit_length() - 1
        bound = inf
        found: list[int] = []
        while number < len(calls) and calls[number].invoked <= bound:
            if not done.must >> number & 1:
                found.append(number)
                bound = min(bound, calls[number].returned)
            number += 1
        found = [number for number in found if calls[number].invoked <= bound]
        found.sort(key=lambda number: (calls[number].hint, calls[number].returned))
        return found, bound

    def detail(self) -> str:
        count, state, calls = self._farthest
        said = "; ".join(
            f"{call.client} {call.action}{call.arguments} -> {call.result!r} "
            f"[{call.invoked}, {call.returned}]"
            for call in calls[:6]
        )
        return f"after {count} of {len(self._must)} calls, in state {state!r}, none fits of: {said}"


def _is_expected(call: Call, is_lazy: bool) -> bool:
    return not call.may or (is_lazy and call.hint < inf)
