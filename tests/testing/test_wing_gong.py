"""The search sees what no order explains, and finds an order where there is one."""

from itertools import permutations
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.testing.models import CounterModel, LockModel, QueueModel
from mabeam_p2p.testing.wing_gong import Call, Model, Verdict, anomalies, judge

OK, BAD, UNKNOWN = Verdict


def call(
    action: str,
    *arguments: object,
    at: tuple[int, float],
    result: object = None,
    may: bool = False,
    key: str = "k",
) -> Call:
    return Call("c", key, action, arguments, at[0], at[1], result, may)


def verdict(model: Model, *calls: Call) -> Verdict:
    return judge(model, list(calls))[0]


# ---- counters --------------------------------------------------------------------------------


def test_concurrent_calls_may_come_in_any_order_and_others_only_in_theirs() -> None:
    add = call("add", 1, at=(0, 10), result=1)
    seen = call("get", at=(5, 15), result=0)
    assert verdict(CounterModel(), add, seen) is OK
    stale = call("get", at=(11, 15), result=0)
    assert verdict(CounterModel(), add, stale) is BAD


def test_a_return_and_an_invocation_at_one_time_are_concurrent() -> None:
    add = call("add", 1, at=(0, 10), result=1)
    assert verdict(CounterModel(), add, call("get", at=(10, 15), result=0)) is OK


def test_two_that_swap_from_one_value_are_seen() -> None:
    swaps = [call("compare_and_set", 0, n, at=(0, 9), result=True) for n in (1, 2)]
    assert verdict(CounterModel(), *swaps) is BAD
    swaps[1].result = False
    assert verdict(CounterModel(), *swaps) is OK


def test_a_call_that_nobody_heard_of_explains_what_follows_but_only_within_its_time() -> None:
    add = call("add", 5, at=(0, inf), may=True)
    assert verdict(CounterModel(), add, call("get", at=(50, 60), result=5)) is OK
    assert verdict(CounterModel(), add, call("get", at=(50, 60), result=0)) is OK
    add.returned = 20
    late = [call("get", at=(50, 60), result=0), call("get", at=(70, 80), result=5)]
    assert verdict(CounterModel(), add, *late) is BAD


def test_an_effect_that_happens_twice_is_seen() -> None:
    adds = [call("add", 1, at=(n, n + 0.5), result=n + 1) for n in (0, 1)]
    assert verdict(CounterModel(), *adds, call("get", at=(5, 6), result=3)) is BAD


def test_what_is_not_decided_in_time_is_unknown() -> None:
    adds = [call("add", 2**n, at=(0, 10)) for n in range(14)]
    impossible = call("get", at=(0, 10), result=-1)
    assert judge(CounterModel(), [*adds, impossible], steps_max=500)[0] is UNKNOWN


def test_keys_are_judged_one_by_one_and_the_place_is_named() -> None:
    history = [
        call("get", at=(0, 1), result=0, key="good"),
        call("get", at=(0, 1), result=7, key="bad"),
    ]
    (found,) = anomalies(history, lambda key: CounterModel())
    assert (found.key, found.verdict) == ("bad", BAD)
    assert "get() -> 7" in found.detail


# ---- locks -----------------------------------------------------------------------------------


def test_a_lock_that_is_held_by_two_is_seen() -> None:
    one = call("acquire", "a", 1, at=(0, 1), result=3)
    other = call("acquire", "b", 1, at=(2, 3), result=4)
    released = call("release", "a", at=(4, 5), result=True)
    assert verdict(LockModel(1), one, other, released) is BAD
    assert verdict(LockModel(2), one, other, released) is OK
    lost = call("lost", "a", at=(0, 6))
    assert verdict(LockModel(1), one, other, lost) is OK


def test_a_holder_that_was_told_so_to_its_end_was_not_passed_over() -> None:
    one = call("acquire", "a", 1, at=(0, 1), result=3)
    lost = call("lost", "a", at=(0, inf), may=True)
    other = call("acquire", "b", 1, at=(2, 3), result=4)
    renewed = call("renew", "a", at=(4, 5), result=True)
    assert verdict(LockModel(1), one, lost, other) is OK
    assert verdict(LockModel(1), one, lost, other, renewed) is BAD


def test_a_token_that_does_not_grow_is_seen() -> None:
    one = call("acquire", "a", 1, at=(0, 1), result=4)
    released = call("release", "a", at=(2, 3), result=True)
    for token, expected in ((4, BAD), (3, BAD), (5, OK)):
        other = call("acquire", "b", 1, at=(4, 5), result=token)
        assert verdict(LockModel(1), one, released, other) is expected


def test_a_writer_beside_a_reader_is_seen() -> None:
    reads = [call("acquire", name, 1, at=(0, 1), result=n) for n, name in ((3, "a"), (4, "b"))]
    write = call("acquire", "w", 100, at=(2, 3), result=9)
    assert verdict(LockModel(100), *reads) is OK
    assert verdict(LockModel(100), *reads, write) is BAD


def test_a_free_lock_that_is_refused_is_seen() -> None:
    assert verdict(LockModel(1), call("refused", 1, at=(0, 1))) is BAD
    held = call("acquire", "a", 1, at=(0, 1), result=3)
    assert verdict(LockModel(1), held, call("refused", 1, at=(2, 3))) is OK


# ---- queues ----------------------------------------------------------------------------------

PUT_A = call("put", b"a", at=(0, 1), result=7)
PUT_B = call("put", b"b", at=(2, 3), result=8)


def take(claim: str, item: bytes, token: int, at: int) -> Call:
    return call("take", claim, at=(at, at + 1), result=(item, token))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([take("x", b"a", 1, 4), take("y", b"b", 2, 6)], OK),
        ([take("x", b"b", 1, 4)], BAD),
        ([take("x", b"a", 1, 4), take("y", b"a", 2, 6)], BAD),
        ([take("x", b"a", 2, 4), take("y", b"b", 2, 6)], BAD),
        ([take("x", b"a", 1, 4), call("lost", "x", at=(4, 9)), take("y", b"a", 2, 6)], OK),
        ([take("x", b"a", 1, 4), call("return", "x", at=(6, 7)), take("y", b"b", 2, 8)], BAD),
        ([take("x", b"a", 1, 4), call("acknowledge", "x", at=(6, 7)), take("y", b"a", 2, 8)], BAD),
        ([take("x", b"a", 1, 4), call("empty", at=(6, 7))], BAD),
        ([take("x", b"a", 1, 4), take("y", b"b", 2, 6), call("empty", at=(8, 9))], OK),
        ([call("acknowledge", "x", at=(4, 5))], BAD),
    ],
)
def test_queues_are_judged(calls: list[Call], expected: Verdict) -> None:
    assert verdict(QueueModel(), PUT_A, PUT_B, *calls) is expected


def test_a_position_that_does_not_grow_is_seen() -> None:
    assert verdict(QueueModel(), PUT_A, call("put", b"b", at=(2, 3), result=7)) is BAD
    put = call("put", b"b", at=(2, 3), may=True)
    assert verdict(QueueModel(), PUT_A, put, take("x", b"a", 1, 4), take("y", b"b", 2, 6)) is OK


# ---- by brute force --------------------------------------------------------------------------


def explained(model: Model, calls: list[Call]) -> bool:
    """By the definition: some subset in some order that respects real time."""
    for kept in range(1 << len(calls)):
        chosen = [one for n, one in enumerate(calls) if kept >> n & 1]
        if any(not one.may and not kept >> n & 1 for n, one in enumerate(calls)):
            continue
        if any(_fits(model, order) for order in permutations(chosen)):
            return True
    return False


def _fits(model: Model, order: tuple[Call, ...]) -> bool:
    state = model.initial()
    for place, one in enumerate(order):
        if any(later.returned < one.invoked for later in order[place + 1 :]):
            return False
        after = model.step(state, one)
        if after is None:
            return False
        state = after
    return True


CALL = st.tuples(
    st.sampled_from(["get", "add", "compare_and_set"]),
    st.integers(0, 6),
    st.integers(0, 5),
    st.integers(0, 2),
    st.integers(0, 2),
    st.booleans(),
)


def test_a_read_does_not_shut_out_an_uncertain_call_that_ended_before_it() -> None:
    """The read fits the first state as well as the last one: only the last explains the rest."""
    lost = call("add", -1, at=(0, 10), may=True)
    heard = call("add", 1, at=(20, 30), result=0)
    seen = call("get", at=(25, 40), result=0)
    assert verdict(CounterModel(), lost, heard, seen) is OK


@settings(max_examples=300)
@given(st.lists(CALL, max_size=5))
def test_the_search_agrees_with_the_definition(
    drawn: list[tuple[str, int, int, int, int, bool]],
) -> None:
    calls: list[Call] = []
    for action, invoked, length, one, other, may in drawn:
        arguments: tuple[object, ...] = ()
        result: object = one
        if action == "add":
            arguments = (one,)
            result = None if may else other
        elif action == "compare_and_set":
            arguments = (one, other)
            result = None if may else bool(length % 2)
        may = may and action != "get"
        calls.append(Call("c", "k", action, arguments, invoked, invoked + length, result, may))
    assert (verdict(CounterModel(), *calls) is OK) == explained(CounterModel(), calls)


def test_a_long_lawful_history_is_decided_quickly() -> None:
    random = Random(7)
    now, calls = 0, []
    for value in range(1, 2_001):
        now += random.randrange(3)
        calls.append(call("add", 1, at=(now - random.randrange(20), now + 4), result=value))
    assert judge(CounterModel(), calls, steps_max=60_000)[0] is OK


def test_many_claims_that_may_be_lost_do_not_hide_the_one_that_was() -> None:
    """Where each of twenty may have been lost at any time, most orders fail late: the usual one,
    which the log tells, is looked at first."""
    count = 20
    calls: list[Call] = []

    def add(action: str, *arguments: object, result: object, hint: int) -> None:
        at = 10 * len(calls)
        calls.append(Call("c", "queue-0", action, arguments, at, at + 5, result, hint=hint))

    for number in range(count):
        item, claim = bytes((number,)), f"claim-{number}"
        add("put", item, result=2 * number + 1, hint=2 * number + 1)
        add("take", claim, result=(item, 2 * number + 2), hint=2 * number + 2)
    calls += [
        Call("c", "queue-0", "lost", (f"claim-{number}",), 20 * number + 15, may=True)
        for number in range(count)
    ]
    index = 2 * count + 1
    for number in range(count, 2 * count):
        add("put", bytes((number,)), result=index, hint=index)
        index += 1
    add("take", "other", result=(bytes((count - 1,)), index), hint=index)
    assert judge(QueueModel(), calls, 500) == (Verdict.LINEARIZABLE, "")
    calls[-1].result = (bytes((count + 1,)), index)
    assert judge(QueueModel(), calls, 500)[0] is not Verdict.LINEARIZABLE, "not the first one there"


def test_calls_that_only_read_are_not_held_up_by_uncertain_ones_that_ended_before_them() -> None:
    """Else a claim that is known to end late ends early, and anything may come in its place."""
    calls = [
        Call("a", "lock-0", "acquire", ("a/1", 1), 0, 1, 1, hint=1),
        Call("a", "lock-0", "lost", ("a/1",), 2, 1_000, hint=2),
        Call("b", "lock-0", "acquire", ("b/1", 1), 1_001, 1_002, 2, hint=3),
    ]
    for number in range(40):
        at = 10 + 10 * number
        unheard = f"c/{number}", 1
        calls.append(Call("c", "lock-0", "acquire", unheard, at, at + 2, may=True))
        calls.append(Call("c", "lock-0", "lost", unheard[:1], at + 2, 900, hint=0))
        calls.append(Call("d", "lock-0", "refused", (1,), at + 4, at + 6))
    assert judge(LockModel(1), calls, 2_000) == (Verdict.LINEARIZABLE, "")
