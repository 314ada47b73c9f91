"""Commands from the asking to the outcome: sent again until it is known, honest when it is not."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import pytest

from mabeam_p2p.commands import AnyCommand, Arrive, SetKeys
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Resolve, Send
from mabeam_p2p.errors import InvalidValue
from mabeam_p2p.ids import PeerId, SessionId
from mabeam_p2p.messages import Forward, ForwardRefused, Relay
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.pending import CHUNK_COMMANDS, INTERVAL_GROWTH_MAX, Entry, Pending
from mabeam_p2p.records import OnDeparture
from mabeam_p2p.requests import Committed, Failed, Refused

ME, A, B = (PeerId(letter * 16) for letter in "0ab")
TIMING = Timing(forward_timeout_seconds=0.5, no_quorum_seconds=1.5)
DONE = Committed(5, 1)


def command(sequence: int, size: int = 1, session: int = 1) -> AnyCommand:
    return Arrive(SessionId(session), sequence, "b" * size, 1, 1, OnDeparture.WAIT)


def encode(commands: Sequence[AnyCommand]) -> bytes:
    """One byte for each unit of size; `x` cannot be encoded."""
    text = "".join(one.barrier for one in commands if isinstance(one, Arrive))
    if "x" in text:
        raise InvalidValue("not for others")
    return text.encode()


class Counter:
    """A Pending, the leader that this peer may be, and what came out."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.outbox = Outbox()
        self.is_full = False
        self.refusal = "overloaded"
        self.proposed: list[tuple[int, bytes]] = []
        self.gathered: list[tuple[int, int, bytes]] = []
        self.pending = Pending(
            ME,
            encode=encode,
            propose=self.propose,
            gather=lambda *report: self.gathered.append(report),
            timing=TIMING,
            limits=limits or Limits(),
            outbox=self.outbox,
            refusal=lambda: self.refusal,
        )

    def propose(self, count: int, blob: bytes) -> bool:
        if not self.is_full:
            self.proposed.append((count, blob))
        return not self.is_full

    def submit(self, *sequences: int, deadline: float = inf) -> None:
        for sequence in sequences:
            self.pending.submit(100 + sequence, command(sequence), deadline)

    def flush(self, leader: tuple[PeerId, int] | None, now: float) -> list[Forward]:
        self.pending.flush(leader, now)
        return self.sent()

    def sent(self) -> list[Forward]:
        effects = [e for e in self.outbox.take() if isinstance(e, Send | Resolve)]
        self.answers = [(e.token, e.answer) for e in effects if isinstance(e, Resolve)]
        return [
            e.message for e in effects if isinstance(e, Send) and isinstance(e.message, Forward)
        ]

    def reasons(self) -> list[tuple[int, str]]:
        self.sent()
        return [(t, a.reason) for t, a in self.answers if isinstance(a, Failed | Refused)]


# ---- to whoever leads ------------------------------------------------------------------------


def test_commands_of_a_turn_travel_together() -> None:
    counter = Counter()
    counter.submit(1, 2, 3)
    assert counter.flush((A, 1), 0.0) == [Forward(0, 1, 3, b"bbb")]
    assert counter.flush((A, 1), 0.0) == []


def test_a_leader_proposes_its_own() -> None:
    counter = Counter()
    counter.submit(1, 2)
    assert counter.flush((ME, 1), 0.0) == []
    assert counter.proposed == [(2, b"bb")]
    counter.pending.committed((1, 2), DONE)
    counter.sent()
    assert counter.answers == [(102, DONE)]
    assert len(counter.pending) == 1


def test_an_outcome_is_told_once_and_only_to_who_asked() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    counter.pending.committed((2, 1), DONE)
    counter.pending.committed((1, 1), DONE)
    counter.pending.committed((1, 1), DONE)
    counter.sent()
    assert counter.answers == [(101, DONE)]
    counter.pending.tick(100.0)
    assert counter.flush((B, 2), 100.0) == [], "what is done is not sent again"


@pytest.mark.parametrize("leader", [(B, 2), (A, 2), (ME, 2)])
def test_a_new_leader_or_term_is_given_everything(leader: tuple[PeerId, int]) -> None:
    counter = Counter()
    counter.submit(1, 2)
    counter.flush((A, 1), 0.0)
    counter.pending.committed((1, 1), DONE)
    forwards = counter.flush(leader, 0.0)
    assert [f.count for f in forwards] + [count for count, _ in counter.proposed] == [1]


def test_a_leader_that_comes_back_is_given_everything_again() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    counter.flush(None, 0.0)
    assert len(counter.flush((A, 1), 0.0)) == 1


def test_what_stays_unanswered_is_sent_again_ever_more_slowly() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    sent_at, now = [0.0], 0.0
    while now < 20.0:
        now += 0.125
        counter.pending.tick(now)
        sent_at += [now] * len(counter.flush((A, 1), now))
    gaps = [later - earlier for earlier, later in pairwise(sent_at)]
    longest = INTERVAL_GROWTH_MAX * 0.5
    assert gaps == [0.5, 1.0, 2.0, longest, longest, longest, longest]
    assert counter.pending.next_deadline() == sent_at[-1] + longest


def test_many_commands_travel_in_several_messages() -> None:
    counter = Counter(Limits(batch_bytes_max=10**6))
    counter.submit(*range(1, 2 * CHUNK_COMMANDS + 2))
    counts = [forward.count for forward in counter.flush((A, 1), 0.0)]
    assert counts == [CHUNK_COMMANDS, CHUNK_COMMANDS, 1]
    few = Counter(Limits(batch_commands_max=2))
    few.submit(1, 2, 3)
    assert [forward.count for forward in few.flush((A, 1), 0.0)] == [2, 1]


def test_what_is_too_much_for_one_message_is_halved() -> None:
    counter = Counter(Limits(batch_bytes_max=10))
    for sequence, size in [(1, 6), (2, 3), (3, 5), (4, 5), (5, 1)]:
        counter.pending.submit(sequence, command(sequence, size), inf)
    forwards = counter.flush((A, 1), 0.0)
    assert [len(forward.blob) for forward in forwards] == [9, 5, 6]
    assert counter.answers == []


def test_a_command_that_is_too_large_is_refused_by_itself() -> None:
    counter = Counter(Limits(batch_bytes_max=10))
    for sequence, size in [(1, 6), (2, 11), (3, 5)]:
        counter.pending.submit(sequence, command(sequence, size), inf)
    assert sum(forward.count for forward in counter.flush((A, 1), 0.0)) == 2
    [(token, answer)] = counter.answers
    assert token == 2
    assert isinstance(answer, Refused)
    assert answer.reason == "too_large"


def test_a_command_that_nobody_would_read_is_refused_by_itself() -> None:
    counter = Counter()
    bad = Arrive(SessionId(1), 2, "x", 1, 1, OnDeparture.WAIT)
    counter.submit(1, 3)
    counter.pending.submit(102, bad, inf)
    assert sum(forward.count for forward in counter.flush((A, 1), 0.0)) == 2
    [(token, answer)] = counter.answers
    assert isinstance(answer, Refused)
    assert (token, answer.reason) == (102, "invalid")


# ---- asked twice, given up -------------------------------------------------------------------


def test_the_newer_asker_of_the_same_command_is_answered() -> None:
    counter = Counter()
    counter.pending.submit(1, command(7), 1.0)
    counter.flush((A, 1), 0.0)
    counter.pending.submit(2, command(7), 5.0)
    assert counter.reasons() == [(1, "unknown")], "it may yet be done"
    assert counter.flush((A, 1), 0.0) == []
    counter.pending.tick(1.0)
    assert counter.reasons() == []
    counter.pending.committed((1, 7), DONE)
    counter.sent()
    assert counter.answers == [(2, DONE)]


def test_a_command_that_is_given_up_and_asked_again_is_sent_once() -> None:
    """The same number twice in one turn, and too large: once a way to stop the peer."""
    counter = Counter(Limits(batch_bytes_max=10))
    for _ in range(3):
        counter.pending.submit(1, command(7, 11), inf)
        counter.pending.cancel(1)
    counter.pending.submit(2, command(7, 11), inf)
    assert counter.flush((A, 1), 0.0) == []
    assert [token for token, _ in counter.answers] == [2]
    counter.pending.submit(3, command(8), inf)
    counter.pending.cancel(3)
    counter.pending.submit(4, command(8), inf)
    assert [forward.count for forward in counter.flush((A, 1), 0.0)] == [1]


def test_a_cancel_costs_the_same_however_much_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an application that gives up a full house keeps the peer from its heartbeats."""
    looks = 0

    class Looked(Entry):
        @property
        def token(self) -> int:
            nonlocal looks
            looks += 1
            return self.asker

        @token.setter
        def token(self, token: int) -> None:
            self.asker = token

    monkeypatch.setattr("mabeam_p2p.protocol.pending.Entry", Looked)
    counter = Counter()
    counter.submit(*range(1000))
    looks = 0
    for sequence in reversed(range(1000)):
        counter.pending.cancel(100 + sequence)
    assert len(counter.pending) == 0
    assert looks <= 2 * 1000


def test_nobody_is_answered_after_a_cancel() -> None:
    counter = Counter()
    counter.submit(1, deadline=9.0)
    counter.flush((A, 1), 0.0)
    counter.pending.cancel(101)
    counter.pending.cancel(999)
    counter.pending.committed((1, 1), DONE)
    counter.pending.tick(9.0)
    assert counter.flush((B, 2), 9.0) == []
    assert counter.answers == []


def test_a_peer_without_a_leader_keeps_nothing_of_what_has_failed() -> None:
    counter = Counter()
    counter.flush(None, 0.0)
    for sequence in range(1, 50):
        counter.submit(sequence)
        counter.flush(None, 10.0)
        counter.pending.tick(10.0)
    assert len(counter.pending) == 0
    assert not counter.pending._unsent


def test_no_more_is_taken_than_may_be_under_way() -> None:
    counter = Counter(Limits(pending_requests_max=2))
    counter.submit(1, 2, 3)
    assert counter.reasons() == [(103, "overloaded")]
    counter.pending.committed((1, 1), DONE)
    counter.submit(4)
    assert counter.reasons() == []


# ---- honest failure --------------------------------------------------------------------------


def test_what_was_never_given_to_a_leader_is_certainly_not_done() -> None:
    counter = Counter()
    counter.submit(1, deadline=1.0)
    counter.flush(None, 0.0)
    counter.pending.tick(1.0)
    assert counter.reasons() == [(101, "no_quorum")]


@pytest.mark.parametrize("leaders", [(A,), (ME,), (ME, A), (A, ME)])
def test_what_was_given_to_a_leader_may_be_done(leaders: tuple[PeerId, ...]) -> None:
    counter = Counter()
    counter.submit(1, deadline=1.0)
    for term, leader in enumerate(leaders, 1):
        counter.flush((leader, term), 0.0)
    counter.pending.tick(0.9375)
    assert counter.reasons() == []
    counter.pending.tick(1.0)
    assert counter.reasons() == [(101, "unknown")]


def test_commands_fail_when_nobody_leads_for_long() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    counter.submit(2)
    counter.pending.tick(10.0)
    counter.flush(None, 10.0)
    assert counter.pending.next_deadline() == 11.5
    counter.pending.tick(11.4375)
    counter.flush(None, 11.4375)
    assert counter.answers == []
    counter.pending.tick(11.5)
    assert counter.reasons() == [(101, "unknown"), (102, "no_quorum")]


def test_a_leader_in_time_saves_the_commands() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush(None, 10.0)
    counter.flush((A, 1), 11.0)
    counter.flush(None, 11.25)
    counter.pending.tick(12.0)
    assert counter.reasons() == []


# ---- overload --------------------------------------------------------------------------------


def test_a_full_leader_refuses_its_own() -> None:
    counter = Counter()
    counter.is_full = True
    counter.submit(1)
    counter.flush((ME, 1), 0.0)
    assert [(t, a.reason) for t, a in counter.answers if isinstance(a, Failed)] == [
        (101, "overloaded")
    ]


def test_a_full_leader_tries_again_what_another_may_have_taken() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    counter.is_full = True
    counter.flush((ME, 2), 0.0)
    assert counter.answers == []
    counter.is_full = False
    counter.pending.tick(0.5)
    counter.flush((ME, 2), 0.5)
    assert counter.proposed == [(1, b"b")]


def test_a_refusal_of_what_was_sent_once_is_certain() -> None:
    counter = Counter()
    counter.submit(1, 2)
    counter.flush((A, 1), 0.0)
    counter.pending.receive_refused(A, ForwardRefused(0, 1, "overloaded"))
    assert counter.reasons() == [(101, "overloaded"), (102, "overloaded")]
    counter.pending.receive_refused(A, ForwardRefused(0, 1, "overloaded"))
    assert counter.reasons() == []
    counter.pending.tick(100.0)
    assert counter.flush((B, 2), 100.0) == [], "what was certainly not done never will be"


@pytest.mark.parametrize(
    ("source", "number", "reason"),
    [(B, 1, "overloaded"), (A, 9, "overloaded"), (A, 1, "not_leader")],
)
def test_other_refusals_leave_the_command_under_way(
    source: PeerId, number: int, reason: str
) -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    counter.pending.receive_refused(source, ForwardRefused(0, number, reason))
    assert counter.reasons() == []
    assert len(counter.pending) == 1


def test_a_refusal_of_a_repetition_is_not_certain() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    counter.pending.tick(0.5)
    assert len(counter.flush((A, 1), 0.5)) == 1
    for number in (1, 2):
        counter.pending.receive_refused(A, ForwardRefused(0, number, "overloaded"))
    assert counter.reasons() == [], "the first copy may have been taken"


def test_a_refusal_is_not_certain_if_this_peer_led_before() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((ME, 1), 0.0)
    counter.flush((A, 2), 0.0)
    counter.pending.receive_refused(A, ForwardRefused(0, 1, "overloaded"))
    assert counter.reasons() == [], "the new leader may hold what this peer appended"


def test_refusals_of_a_leader_that_is_gone_are_not_heard() -> None:
    counter = Counter()
    counter.submit(1)
    counter.flush((A, 1), 0.0)
    counter.flush(None, 0.0)
    counter.pending.receive_refused(A, ForwardRefused(0, 1, "overloaded"))
    assert counter.reasons() == []


# ---- by way of a coordinator -----------------------------------------------------------------


def relayed(counter: Counter) -> tuple[list[tuple[PeerId, int]], list[tuple[PeerId, int]]]:
    """(target, count) of Relays and of Forwards since the last look."""
    ways: dict[type[object], list[tuple[PeerId, int]]] = {Relay: [], Forward: []}
    effects = [e for e in counter.outbox.take() if isinstance(e, Send | Resolve)]
    counter.answers = [(e.token, e.answer) for e in effects if isinstance(e, Resolve)]
    for effect in effects:
        if isinstance(effect, Send) and isinstance(effect.message, Relay | Forward):
            ways[type(effect.message)].append((effect.target, effect.message.count))
    return ways[Relay], ways[Forward]


def test_what_is_said_first_goes_by_way_of_the_coordinator() -> None:
    counter = Counter()
    counter.submit(1, 2)
    counter.pending.flush((A, 1), 0.0, B)
    assert relayed(counter) == ([(B, 2)], [])


def test_nobody_passes_on_what_a_peer_says_of_its_own_keys() -> None:
    counter = Counter()
    counter.submit(1)
    counter.pending.submit(200, SetKeys(SessionId(1), 2, (b"k" * 32,), ME), inf)
    counter.pending.flush((A, 1), 0.0, B)
    assert relayed(counter) == ([(B, 1)], [(A, 1)])


def test_what_is_said_again_goes_to_the_leader_itself() -> None:
    counter = Counter()
    counter.submit(1)
    counter.pending.flush((A, 1), 0.0, B)
    counter.pending.tick(0.5)
    counter.submit(2)
    relayed(counter)
    counter.pending.flush((A, 1), 0.5, B)
    assert relayed(counter) == ([(B, 1)], [(A, 1)])


def test_a_coordinator_gathers_its_own() -> None:
    counter = Counter()
    counter.submit(1, 2)
    counter.pending.flush((A, 1), 0.0, ME)
    assert counter.gathered == [(1, 2, b"bb")]
    assert relayed(counter) == ([], [])


def test_a_leader_needs_no_coordinator() -> None:
    counter = Counter()
    counter.submit(1)
    counter.pending.flush((ME, 1), 0.0, B)
    assert counter.proposed == [(1, b"b")]


def test_a_refusal_by_way_of_the_coordinator_is_as_certain_as_the_leaders() -> None:
    counter = Counter()
    counter.submit(1)
    counter.pending.flush((A, 1), 0.0, B)
    counter.pending.receive_refused(A, ForwardRefused(0, 1, "overloaded"))
    assert counter.reasons() == [], "the leader was not asked"
    counter.pending.receive_refused(B, ForwardRefused(0, 1, "overloaded"))
    assert counter.reasons() == [(101, "overloaded")]


def test_what_a_coordinator_cannot_pass_on_goes_to_the_leader_at_once() -> None:
    counter = Counter()
    counter.submit(1)
    counter.pending.flush((A, 1), 0.0, B)
    relayed(counter)
    counter.pending.receive_refused(B, ForwardRefused(0, 1, "not_leader"))
    counter.pending.flush((A, 1), 0.0, B)
    assert relayed(counter) == ([], [(A, 1)])
    counter.pending.receive_refused(A, ForwardRefused(0, 2, "overloaded"))
    assert counter.reasons() == [], "the coordinator may have passed a copy on"


def test_a_new_leader_is_given_what_went_by_the_coordinator() -> None:
    counter = Counter()
    counter.submit(1)
    counter.pending.flush((A, 1), 0.0, B)
    relayed(counter)
    counter.pending.flush((B, 2), 0.0, A)
    assert relayed(counter) == ([], [(B, 1)])


def test_what_went_by_a_coordinator_may_be_done() -> None:
    counter = Counter()
    counter.submit(1, deadline=1.0)
    counter.pending.flush((A, 1), 0.0, B)
    counter.pending.tick(1.0)
    assert counter.reasons() == [(101, "unknown")]
