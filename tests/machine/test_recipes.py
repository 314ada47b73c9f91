"""Locks and queues in one log, under whatever comes, judged by the rules of `testing.lines`."""

from collections.abc import Iterable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mabeam_p2p.commands import PutItem
from mabeam_p2p.config import Limits
from mabeam_p2p.events import ItemTaken, LockGranted
from mabeam_p2p.ids import SessionId
from mabeam_p2p.machine.core import Deadlines
from mabeam_p2p.machine.recipes import Recipes
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import CounterQuery, LockQuery, QueueQuery
from mabeam_p2p.testing.lines import LineJudge
from tests.machine.recipes_log import RecipesLog

STEP = st.tuples(
    st.sampled_from(
        ["lock", "lock", "try", "release", "renew", "put", "put", "take", "ack", "return", "close"]
    ),
    st.integers(1, 3),
    st.integers(0, 9),
)


class JudgedLog(RecipesLog):
    """Every batch is judged. `open`: numbers of the claims that were made, by session."""

    def __init__(self) -> None:
        super().__init__(Limits(claims_max=6, queue_items_max=4))
        self.judge = LineJudge()
        self.open: dict[SessionId, list[int]] = {}
        self._fresh = 0
        self._live: dict[int, SessionId] = {}

    def hear(self) -> None:
        for event in self.events:
            self.judge.happened(event)
        self.judge.batch_ended()

    def session(self, who: int) -> SessionId:
        """Of the agent of this number, which is there from then on."""
        if who not in self._live:
            self._fresh += 1
            self.attach(f"a{who}", session=self._fresh, peer=who, lease=25 * (self._fresh % 2))
            self.hear()
            self._live[who] = SessionId(self._fresh)
            self.open[self._live[who]] = []
        return self._live[who]

    def step(self, kind: str, who: int, amount: int) -> None:
        session = self.session(who)
        claims = self.open[session]
        claim = claims[amount % len(claims)] if claims else amount + 1
        name = "ab"[amount % 2]
        match kind:
            case "lock" | "try":
                wait = 0 if kind == "try" else 10 * amount + 1
                self.acquire(session, name, limit=3, permits=1 + amount % 3, timeout=wait, lease=12)
                claims.append(self.last)
            case "release":
                self.release(session, claim, name)
            case "renew":
                self.renew(session, claim, name)
            case "put":
                item = PutItem(session, self.next(session), name, b"%d" % amount)
                self.judge.took_effect(item, self.apply(item))
            case "take":
                self.take(session, name, timeout=10 * amount)
                claims.append(self.last)
            case "ack":
                self.acknowledge(session, claim, name)
            case "return":
                self.give_back(session, claim, name)
            case _:
                self.close(session)
                del self._live[who]
        self.hear()


def granted(claims: Iterable[Claim]) -> dict[int, Claim]:
    """By ticket, without what a renewal changes: nobody is told of one."""
    return {claim.ticket: replace(claim, deadline=0) for claim in claims if claim.token}


@settings(max_examples=150)
@given(st.lists(STEP, max_size=50))
@example([("lock", 1, 0), ("renew", 1, 0)])
def test_whatever_comes_in_whatever_order_the_rules_hold(
    steps: list[tuple[str, int, int]],
) -> None:
    log = JudgedLog()
    for kind, who, amount in steps:
        log.step(kind, who, amount)
        log.pass_time(1 + amount)
        log.hear()
        for name in "ab":
            found = log.machine.find(LockQuery(name)).locks
            held = granted(claim for lock in found for claim in lock.claims)
            assert held == granted(log.judge.held.get(name, {}).values())
            queues = log.machine.find(QueueQuery(name)).queues
            ready = sum(queue.ready_count for queue in queues)
            assert ready == len(log.judge.ready.get(name, {}))
            # Nobody waits while there is something to be had.
            assert all(not queue.waiting_count for queue in queues if queue.ready_count)


def test_the_tokens_of_locks_and_queues_grow_together() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.put(one, b"x")
    tokens = []
    for take in (log.take, log.acquire):
        take(one)
        tokens += [
            event.claim.token for event in log.events if isinstance(event, LockGranted | ItemTaken)
        ]
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 2


def test_a_machine_that_was_used_and_is_empty_again_remembers_the_last_token_alone() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.acquire(one)
    log.release(one, log.last)
    log.put(one, b"x")
    log.take(one)
    log.acknowledge(one, log.last)
    log.add(one, 1)
    log.add(one, -1)
    for query in (LockQuery(""), QueueQuery(""), CounterQuery("")):
        found = log.machine.find(query)
        assert (found.locks, found.queues, found.counters) == ((), (), ())
    fresh = Recipes(log.limits, Deadlines(), [])
    state = log.machine._parts.recipes.state()
    assert state.last_token > 0
    assert (state.locks, state.counters, state.queues) == ((), (), ())
    fresh.load(state)
    assert fresh.state() == state
