import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import CloseSession, Tick
from mabeam_p2p.config import Limits
from mabeam_p2p.events import LockEnded, LockGranted
from mabeam_p2p.ids import CLUSTER_SESSION, INTEGER_MAX, SessionId
from mabeam_p2p.records import Claim
from mabeam_p2p.requests import Committed, LockQuery, Outcome
from tests.machine.recipes_log import RecipesLog
from tests.machine.written_log import SECOND, START, reason


def number(outcome: Outcome) -> int:
    assert isinstance(outcome, Committed), outcome
    return outcome.number


# ---- one permit ------------------------------------------------------------------------------


def test_a_free_lock_is_granted_at_once_and_its_token_is_the_index() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    outcome = log.acquire(one)
    assert outcome == Committed(2, 1, 2)
    claim = Claim(ticket=2, agent=log.claims()[0].agent, number=2, token=2)
    assert log.claims() == [claim]
    assert log.events == (LockGranted("l", 1, claim),)
    assert log.machine.next_deadline() is None


def test_a_held_lock_is_waited_for_in_the_order_of_the_log() -> None:
    log = RecipesLog()
    one, two, three = log.attached(3)
    first = log.acquire(one)
    held = log.last
    assert number(log.acquire(two)) == number(log.acquire(three)) == 0
    assert (log.holders(), log.waiting()) == (["a1@p"], ["a2@p", "a3@p"])
    assert number(log.release(one, held)) == 0
    ((agent, token),) = log.grants()
    assert agent == "a2@p"
    assert token == log.machine.applied_index > number(first)
    assert log.ends() == [("a1@p", "released")]
    assert (log.holders(), log.waiting()) == (["a2@p"], ["a3@p"])


def test_a_lock_is_not_reentrant_every_claim_stands_for_itself() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.acquire(one)
    outer = log.last
    assert number(log.acquire(one)) == 0
    inner = log.last
    log.release(one, outer)
    assert [claim.number for claim in log.claims()] == [inner]
    assert log.grants() == [("a1@p", log.machine.applied_index)]


def test_trying_takes_a_free_lock_and_is_refused_a_held_one() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    assert number(log.acquire(one, timeout=0)) > 0
    assert reason(log.acquire(two, timeout=0)) == "lock_held"
    assert log.waiting() == []


def test_nobody_who_tries_passes_those_who_wait() -> None:
    log = RecipesLog()
    one, two, three = log.attached(3)
    log.acquire(one, limit=4, permits=3)
    log.acquire(two, limit=4, permits=2)
    assert reason(log.acquire(three, limit=4, permits=1, timeout=0)) == "lock_held"


def test_a_lock_that_nobody_wants_is_forgotten() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    log.acquire(one)
    log.release(one, log.last)
    assert log.machine.find(LockQuery("")).locks == ()
    assert number(log.acquire(one, limit=5)) > 0


# ---- several permits -------------------------------------------------------------------------


def test_a_semaphore_has_exactly_as_many_holders_as_permits() -> None:
    log = RecipesLog()
    sessions = log.attached(4)
    tokens = [number(log.acquire(session, limit=3)) for session in sessions]
    assert [token > 0 for token in tokens] == [True, True, True, False]
    assert log.holders() == ["a1@p", "a2@p", "a3@p"]


def test_readers_share_and_a_writer_is_alone_and_not_passed_by_later_readers() -> None:
    log = RecipesLog()
    one, two, three, four = log.attached(4)
    log.acquire(one, limit=100)
    reader_one = log.last
    log.acquire(two, limit=100)
    reader_two = log.last
    log.acquire(three, limit=100, permits=100)
    writer = log.last
    log.acquire(four, limit=100)
    assert (log.holders(), log.waiting()) == (["a1@p", "a2@p"], ["a3@p", "a4@p"])
    log.release(one, reader_one)
    assert log.holders() == ["a2@p"]
    log.release(two, reader_two)
    assert (log.holders(), log.waiting()) == (["a3@p"], ["a4@p"])
    log.release(three, writer)
    assert log.holders() == ["a4@p"]


def test_those_behind_a_head_that_gives_up_are_served_at_once() -> None:
    log = RecipesLog()
    one, two, three, four = log.attached(4)
    log.acquire(one, limit=100)
    log.acquire(two, limit=100, permits=100)
    writer = log.last
    log.acquire(three, limit=100)
    log.acquire(four, limit=100)
    log.release(two, writer)
    index = log.machine.applied_index
    assert log.grants() == [("a3@p", index), ("a4@p", index + 1)]


def test_tokens_granted_at_one_index_differ_and_later_ones_are_greater_still() -> None:
    log = RecipesLog()
    sessions = log.attached(6)
    log.acquire(sessions[0], limit=9, permits=9)
    writer = log.last
    for session in sessions[1:]:
        log.acquire(session, limit=9)
    log.release(sessions[0], writer)
    tokens = [token for _, token in log.grants()]
    assert len(tokens) == 5
    assert number(log.acquire(sessions[0], "other")) > tokens[-1] > tokens[0]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_claim_that_thinks_of_other_permits_is_refused_and_both_are_named(limit: int) -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.acquire(one, limit=2)
    refused = log.acquire(two, limit=limit)
    assert reason(refused) == "lock_mismatch"
    assert "has 2 permits" in str(refused)
    assert f"not {limit}" in str(refused)
    assert log.waiting() == []


# ---- time ------------------------------------------------------------------------------------


def test_a_wait_ends_at_its_deadline_and_the_next_in_line_stays() -> None:
    log = RecipesLog()
    one, two, three = log.attached(3)
    log.acquire(one)
    log.acquire(two, timeout=10)
    assert log.machine.next_deadline() == log.clock + 10
    log.acquire(three, timeout=20)
    log.pass_time(8)
    assert log.waiting() == ["a2@p", "a3@p"]
    log.pass_time(1)
    assert log.ends() == [("a2@p", "timeout")]
    assert log.waiting() == ["a3@p"]


def test_a_granted_claim_without_a_lease_has_no_deadline() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.acquire(one)
    held = log.last
    log.acquire(two, timeout=10)
    log.release(one, held)
    assert log.machine.next_deadline() is None
    log.pass_time(SECOND)
    assert log.holders() == ["a2@p"]


def test_a_lease_ends_by_itself_and_the_next_is_granted_at_that_index() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    first = number(log.acquire(one, lease=10))
    held = log.last
    log.acquire(two)
    log.pass_time(9)
    assert log.ends() == [("a1@p", "lease expired")]
    assert log.grants() == [("a2@p", log.machine.applied_index)]
    assert log.machine.applied_index > first
    assert reason(log.release(one, held)) == reason(log.renew(one, held)) == "not_held"
    assert log.holders() == ["a2@p"]


def test_the_lease_of_a_claim_that_has_waited_begins_with_its_grant() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.acquire(one)
    held = log.last
    log.acquire(two, timeout=100, lease=10)
    log.pass_time(50)
    log.release(one, held)
    assert log.machine.next_deadline() == log.clock + 10


def test_renewing_begins_the_lease_anew_and_keeps_the_token() -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    token = number(log.acquire(one, lease=10))
    held = log.last
    log.pass_time(5)
    assert number(log.renew(one, held)) == token
    assert log.machine.next_deadline() == log.clock + 10
    log.pass_time(9)
    assert log.holders() == ["a1@p"]
    log.pass_time(1)
    assert log.holders() == []


def test_only_a_held_claim_with_a_lease_is_renewed() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.acquire(one)
    assert reason(log.renew(one, log.last)) == "invalid"
    log.acquire(two, lease=10)
    assert reason(log.renew(two, log.last)) == "not_held"


def test_an_expired_holder_that_releases_late_takes_nothing_from_the_next_one() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.acquire(one, lease=10)
    held = log.last
    log.acquire(two)
    log.clock += 20
    # The lease is past at the very index of the release.
    assert reason(log.release(one, held)) == "not_held"
    assert log.holders() == ["a2@p"]


# ---- departures ------------------------------------------------------------------------------


def test_the_departure_of_a_holder_grants_the_next_at_the_same_index() -> None:
    log = RecipesLog()
    one, two, _ = log.attached(3)
    first = number(log.acquire(one))
    log.acquire(two)
    log.depart(1)
    assert log.ends() == [("a1@p", "departed")]
    assert log.grants() == [("a2@p", log.machine.applied_index)]
    assert log.machine.applied_index > first


def test_the_departure_of_one_who_waits_leaves_the_line() -> None:
    log = RecipesLog()
    one, two, three = log.attached(3)
    log.acquire(one)
    held = log.last
    log.acquire(two)
    log.acquire(three)
    log.close(two)
    assert log.waiting() == ["a3@p"]
    log.release(one, held)
    assert log.holders() == ["a3@p"]


def test_an_agent_that_departs_is_not_granted_what_it_gives_back_itself() -> None:
    log = RecipesLog()
    one, two = log.attached(2)
    log.acquire(one)
    log.acquire(one)
    log.acquire(two)
    log.close(one)
    assert log.grants() == [("a2@p", log.machine.applied_index)]
    assert log.ends() == [("a1@p", "departed")] * 2


def test_a_session_whose_lease_runs_out_loses_its_locks() -> None:
    log = RecipesLog()
    log.attach("a", session=1, lease=10)
    log.attach("b", session=2, peer=2)
    log.acquire(SessionId(1))
    held = log.last
    log.acquire(SessionId(2))
    log.pass_time(20)
    assert log.holders() == ["b@p"]
    assert reason(log.release(SessionId(1), held)) == "unknown_session"


def test_an_agents_next_session_does_not_hold_what_the_one_before_held() -> None:
    log = RecipesLog()
    log.attach("a", session=1)
    log.acquire(SessionId(1))
    log.attach("a", session=2, epoch=2)
    assert log.holders() == []
    assert reason(log.release(SessionId(2), 2)) == "not_held"


# ---- limits ----------------------------------------------------------------------------------


def test_names_and_claims_are_bounded() -> None:
    log = RecipesLog(Limits(locks_max=2, claims_max=3))
    (one,) = log.attached(1)
    log.acquire(one, "a")
    log.acquire(one, "b")
    assert reason(log.acquire(one, "c")) == "limit"
    log.acquire(one, "a")
    assert reason(log.acquire(one, "a")) == "limit"
    log.release(one, 2, "a")
    assert reason(log.acquire(one, "a")) == ""


@pytest.mark.parametrize(
    ("lock", "limit", "permits", "timeout", "lease"),
    [
        ("", 1, 1, SECOND, 0),
        ("x" * 257, 1, 1, SECOND, 0),
        ("l", 0, 0, SECOND, 0),
        ("l", 1, 0, SECOND, 0),
        ("l", 1, 2, SECOND, 0),
        ("l", 1, 1, -1, 0),
        ("l", 1, 1, INTEGER_MAX - START, 0),
        ("l", 1, 1, 0, -1),
        ("l", 1, 1, 0, INTEGER_MAX - START),
    ],
)
def test_a_malformed_claim_is_refused(
    lock: str, limit: int, permits: int, timeout: int, lease: int
) -> None:
    log = RecipesLog()
    (one,) = log.attached(1)
    outcome = log.acquire(one, lock, limit=limit, permits=permits, timeout=timeout, lease=lease)
    assert reason(outcome) == "invalid"
    assert log.machine.find(LockQuery("")).locks == ()


# ---- in any order ----------------------------------------------------------------------------


class Model:
    """The rules written anew: one list of claims in order of tickets, searched from the front."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.line: list[tuple[str, int, int, bool]] = []
        """Agent, number, permits, whether it holds."""

    def settle(self) -> None:
        for place, (agent, claim, permits, holds) in enumerate(self.line):
            if holds:
                continue
            if sum(p for _, _, p, held in self.line if held) + permits > self.limit:
                return
            self.line[place] = agent, claim, permits, True

    def drop(self, agent: str, claim: int | None = None) -> None:
        self.line = [one for one in self.line if one[0] != agent or claim not in (None, one[1])]


STEP = st.tuples(
    st.sampled_from(["acquire", "try", "release", "close", "expire"]),
    st.integers(1, 4),
    st.integers(1, 3),
)


@settings(max_examples=120)
@given(st.lists(STEP, max_size=40), st.integers(1, 3))
def test_a_lock_does_what_one_list_of_claims_does(
    steps: list[tuple[str, int, int]], limit: int
) -> None:
    log, model = RecipesLog(), Model(limit)
    live = dict(zip(range(1, 5), log.attached(4), strict=True))
    last_token, fresh = 0, 100
    for kind, who, amount in steps:
        agent = f"a{who}@p"
        mine = [claim for owner, claim, _, _ in model.line if owner == agent]
        if who not in live:
            fresh += 1
            log.attach(f"a{who}", session=fresh, peer=who)
            live[who] = SessionId(fresh)
        elif kind in ("acquire", "try"):
            permits = min(amount, limit)
            held = sum(p for _, _, p, holds in model.line if holds)
            is_free = all(holds for *_, holds in model.line) and held + permits <= limit
            wait = 0 if kind == "try" else 1000 * SECOND
            outcome = log.acquire(live[who], limit=limit, permits=permits, timeout=wait)
            if is_free or kind == "acquire":
                model.line.append((agent, log.last, permits, False))
                assert (number(outcome) > 0) == is_free
            else:
                assert reason(outcome) == "lock_held"
        elif kind == "release" and mine:
            claim = mine[amount % len(mine)]
            assert reason(log.release(live[who], claim)) == ""
            model.drop(agent, claim)
        elif kind == "close":
            log.append(CloseSession(live[who], log.next(live[who]), ""))
            del live[who]
            model.drop(agent)
        else:
            log.append(Tick(CLUSTER_SESSION, 0))
        model.settle()
        assert [(str(c.agent), c.number, c.permits) for c in log.claims() if c.token] == sorted(
            [(a, n, p) for a, n, p, holds in model.line if holds],
            key=lambda one: [(str(c.agent), c.number) for c in log.claims()].index(one[:2]),
        )
        assert [(str(c.agent), c.number) for c in log.claims() if not c.token] == [
            (a, n) for a, n, _, holds in model.line if not holds
        ]
        for event in log.events:
            if isinstance(event, LockGranted):
                assert event.claim.token > last_token
                last_token = event.claim.token


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(0, 8)), max_size=25))
def test_no_two_hold_one_lock_whatever_expires_when(
    steps: list[tuple[int, int, int]],
) -> None:
    log = RecipesLog()
    log.attached(3)
    holder: tuple[str, int] | None = None
    for who, time, lease in steps:
        log.acquire(SessionId(who), timeout=time, lease=lease)
        for event in log.events:
            if isinstance(event, LockEnded) and event.claim.token:
                assert holder == (event.claim.agent, event.claim.token)
                holder = None
            elif isinstance(event, LockGranted):
                assert holder is None
                holder = event.claim.agent, event.claim.token
        log.pass_time(time)
        for event in log.events:
            if isinstance(event, LockEnded) and event.claim.token:
                holder = None
            elif isinstance(event, LockGranted):
                assert holder is None
                holder = event.claim.agent, event.claim.token


def test_departures_of_a_peer_release_the_locks_of_all_its_agents() -> None:
    log = RecipesLog()
    log.attach("a", session=1, peer=1)
    log.attach("b", session=2, peer=1)
    log.attach("c", session=3, peer=2)
    log.acquire(SessionId(1), "x")
    log.acquire(SessionId(2), "y")
    log.acquire(SessionId(3), "x")
    log.acquire(SessionId(3), "y")
    log.depart(1)
    assert log.holders("x") == log.holders("y") == ["c@p"]
