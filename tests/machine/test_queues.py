import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.events import ItemTaken
from mabeam_p2p.ids import INTEGER_MAX, SessionId
from mabeam_p2p.requests import Committed, Outcome, QueueQuery
from tests.machine.recipes_log import RecipesLog
from tests.machine.written_log import SECOND, START, reason


def number(outcome: Outcome) -> int:
    assert isinstance(outcome, Committed), outcome
    return outcome.number


def taken(log: RecipesLog) -> list[tuple[str, bytes, int]]:
    """Agent, item and delivery of what the last batch handed out."""
    return [
        (str(event.claim.agent), event.claim.item.value, event.claim.item.deliveries)
        for event in log.events
        if isinstance(event, ItemTaken) and event.claim.item is not None
    ]


def test_items_are_handed_out_in_the_order_in_which_they_were_put() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    assert [number(log.put(one, item)) for item in (b"a", b"b")] == [1, 2]
    first = log.take(two)
    assert taken(log) == [("a2@p", b"a", 1)]
    assert number(first) == log.machine.applied_index
    log.take(one)
    assert taken(log) == [("a1@p", b"b", 1)]


def test_takers_wait_in_turn_and_each_gets_one_item() -> None:
    log = RecipesLog()
    one, two, three = log.attached(3)
    assert number(log.take(two)) == number(log.take(three)) == 0
    log.put(one, b"a")
    assert taken(log) == [("a2@p", b"a", 1)]
    log.put(one, b"b")
    assert taken(log) == [("a3@p", b"b", 1)]


def test_what_is_acknowledged_is_gone() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.put(one, b"a")
    log.take(one)
    claim = log.last
    assert reason(log.acknowledge(one, claim)) == ""
    assert log.ends() == [("a1@p", "acknowledged")]
    assert log.queue() is None
    assert reason(log.acknowledge(one, claim)) == "not_held"


def test_what_is_returned_is_ready_before_all_that_came_later() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    for item in (b"a", b"b", b"c"):
        log.put(one, item)
    log.take(one)
    first = log.last
    log.take(one)
    second = log.last
    log.give_back(one, second)
    log.give_back(one, first)
    for item, delivery in ((b"a", 2), (b"b", 2), (b"c", 1)):
        log.take(two)
        assert taken(log) == [("a2@p", item, delivery)]


def test_a_returned_item_goes_to_the_first_who_waits() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.put(one, b"a")
    log.take(one)
    claim = log.last
    log.take(two)
    log.give_back(one, claim)
    assert taken(log) == [("a2@p", b"a", 2)]


def test_the_departure_of_a_taker_puts_its_items_back_in_their_order() -> None:
    log = RecipesLog()
    one, two, three = log.attached(3)
    for item in (b"a", b"b", b"c"):
        log.put(one, item)
    log.take(two)
    log.take(two)
    log.take(three, timeout=0)
    log.take(three)
    log.close(two)
    assert taken(log) == [("a3@p", b"a", 2)]
    queue = log.queue()
    assert queue is not None
    assert (queue.ready_count, queue.taken_count, queue.waiting_count) == (1, 2, 0)


def test_the_token_grows_with_each_delivery() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.put(one, b"a")
    first = number(log.take(one))
    log.close(one)
    assert number(log.take(two)) > first


def test_a_claim_that_has_lost_its_item_acknowledges_nothing() -> None:
    log = RecipesLog()
    log.attach("a", session=1, lease=10)
    log.attach("b", session=2, peer=2)
    log.put(SessionId(2), b"a")
    log.take(SessionId(1))
    claim = log.last
    log.pass_time(20)
    assert reason(log.acknowledge(SessionId(1), claim)) == "unknown_session"
    log.take(SessionId(2))
    assert taken(log) == [("b@p", b"a", 2)]


def test_a_wait_ends_at_its_deadline_or_when_it_is_given_up() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.take(one, timeout=10)
    log.take(two)
    claim = log.last
    log.pass_time(9)
    assert log.ends() == [("a1@p", "timeout")]
    log.give_back(two, claim)
    assert log.ends() == [("a2@p", "returned")]
    assert log.queue() is None
    log.put(one, b"a")
    assert taken(log) == []


def test_an_item_that_is_waited_for_cannot_be_acknowledged() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.take(one)
    assert reason(log.acknowledge(one, log.last)) == "not_held"


def test_trying_takes_what_is_ready_and_else_nothing() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    assert reason(log.take(one, timeout=0)) == "queue_empty"
    log.put(one, b"a")
    assert number(log.take(one, timeout=0)) > 0
    assert reason(log.take(one, timeout=0)) == "queue_empty"


def test_queues_items_and_claims_are_bounded() -> None:
    log = RecipesLog(Limits(queues_max=1, queue_items_max=2, claims_max=3, value_bytes_max=3))
    (one,) = log.attached(1)
    assert reason(log.put(one, b"1234")) == "too_large"
    log.put(one, b"a")
    log.put(one, b"b")
    assert reason(log.put(one, b"c")) == "limit"
    assert reason(log.put(one, b"c", "other")) == "limit"
    assert reason(log.take(one, "other")) == "limit"
    log.take(one)
    claim = log.last
    # A taken item has its room until it is gone.
    assert reason(log.put(one, b"c")) == "limit"
    log.acknowledge(one, claim)
    assert reason(log.put(one, b"c")) == ""
    for _ in range(3):
        log.take(one)
    assert reason(log.take(one)) == "limit"


@pytest.mark.parametrize(("queue", "timeout"), [("", 1), ("q", -1), ("q", INTEGER_MAX - START)])
def test_a_malformed_take_is_refused(queue: str, timeout: int) -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    assert reason(log.take(one, queue, timeout=timeout)) == "invalid"
    assert reason(log.put(one, b"a", "\n")) == "invalid"
    assert log.machine.find(QueueQuery("")).queues == ()


STEP = st.tuples(
    st.sampled_from(["put", "put", "take", "try", "ack", "return", "close"]), st.integers(1, 3)
)


class Model:
    """The rules written anew: items in order, each with its taker or none, and a line of takers."""

    def __init__(self) -> None:
        self.items: list[tuple[bytes, tuple[str, int] | None]] = []
        self.line: list[tuple[str, int]] = []
        self.count = 0

    @property
    def has_ready(self) -> bool:
        return any(taker is None for _, taker in self.items)

    def of(self, agent: str) -> list[tuple[str, int]]:
        return [taker for _, taker in self.items if taker is not None and taker[0] == agent]

    def put(self) -> bytes:
        self.count += 1
        item = b"%d" % self.count
        self.items.append((item, None))
        return item

    def gone(self, taker: tuple[str, int]) -> None:
        self.items = [one for one in self.items if one[1] != taker]

    def back(self, takers: list[tuple[str, int]]) -> None:
        self.items = [(item, None if taker in takers else taker) for item, taker in self.items]

    def depart(self, agent: str) -> None:
        self.line = [one for one in self.line if one[0] != agent]
        self.back(self.of(agent))

    def settle(self) -> None:
        for place, (item, taker) in enumerate(self.items):
            if taker is None and self.line:
                self.items[place] = item, self.line.pop(0)


def step(log: RecipesLog, model: Model, kind: str, session: SessionId, agent: str) -> None:
    """One step of a live agent, in the log and in the model."""
    mine = model.of(agent)
    if kind == "put":
        log.put(session, model.put())
    elif kind == "take":
        log.take(session, timeout=1000 * SECOND)
        model.line.append((agent, log.last))
    elif kind == "try":
        outcome = log.take(session, timeout=0)
        assert (reason(outcome) == "") == model.has_ready
        if model.has_ready:
            model.line.append((agent, log.last))
    elif kind == "ack" and mine:
        assert reason(log.acknowledge(session, mine[-1][1])) == ""
        model.gone(mine[-1])
    elif kind == "return" and mine:
        assert reason(log.give_back(session, mine[-1][1])) == ""
        model.back(mine[-1:])


@settings(max_examples=120)
@given(st.lists(STEP, max_size=40))
def test_a_queue_does_what_two_lists_do(steps: list[tuple[str, int]]) -> None:
    log, model = RecipesLog(), Model()
    live = dict(zip(range(1, 4), log.attached(3), strict=True))
    fresh = 100
    for kind, who in steps:
        agent = f"a{who}@p"
        if who not in live:
            fresh += 1
            log.attach(f"a{who}", session=fresh, peer=who)
            live[who] = SessionId(fresh)
        elif kind == "close":
            log.close(live.pop(who))
            model.depart(agent)
        else:
            step(log, model, kind, live[who], agent)
        model.settle()
        queue = log.queue()
        found = queue and (queue.ready_count, queue.taken_count, queue.waiting_count)
        takers = [taker for _, taker in model.items]
        ready = takers.count(None)
        assert (found or (0, 0, 0)) == (ready, len(takers) - ready, len(model.line))
        held = {
            claim.item.value: (str(claim.agent), claim.number)
            for stored in log.machine._parts.recipes.queues.state()
            for claim in stored.line.granted
            if claim.item is not None
        }
        assert held == {item: taker for item, taker in model.items if taker is not None}
