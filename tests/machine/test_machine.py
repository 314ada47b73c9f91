import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mabeam_p2p.commands import (
    AnyCommand,
    AppendJournal,
    Arrive,
    CancelTask,
    CaptureHold,
    CastVote,
    CloseSession,
    Configure,
    DepartPeer,
    Mint,
    Noop,
    OfferTasks,
    OpenProposal,
    OpenSession,
    PlaceHold,
    Rate,
    Reserve,
    SetBudget,
    SpendReserved,
    SubmitTask,
    Tick,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import BarrierChanged, ProposalDecided
from mabeam_p2p.ids import (
    CLUSTER_SESSION,
    AgentId,
    ClusterId,
    PeerId,
    ProposalId,
    SessionId,
    TaskId,
)
from mabeam_p2p.machine.machine import Machine, digest_of
from mabeam_p2p.records import Batch, Choice, Journal, OnDeparture, Policy, Strategy, TaskOrder
from mabeam_p2p.requests import Committed, JournalQuery, Refused
from tests.machine.written_log import START, WrittenLog, peer_id, reason

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ClusterId("0" * 32)
ACCEPT = Choice.ACCEPT


def write(sequence: int) -> AppendJournal:
    return AppendJournal(SessionId(1), sequence, "j", b"x")


# ---- batches ---------------------------------------------------------------------------------


def test_each_command_of_a_batch_stands_at_its_own_index() -> None:
    log = WrittenLog()
    log.attached(1)
    log.term = 3
    outcomes = log.append(write(2), Noop(CLUSTER_SESSION, 0), write(3))
    assert outcomes == [Committed(2, 3, 1), Committed(3, 3), Committed(4, 3, 2)]
    assert (log.machine.applied_index, log.machine.applied_term) == (4, 3)
    assert log.machine.clock == log.clock


def test_batches_are_applied_in_order_and_whole() -> None:
    log = WrittenLog()
    log.attached(1)
    for index, count in ((1, 1), (3, 1), (2, 2), (2, 0)):
        with pytest.raises(AssertionError):
            log.machine.apply(Batch(index, count, 1, START, b""), (write(2),))
    with pytest.raises(AssertionError):
        log.machine.apply(Batch(2, 0, 1, START, b""), ())


def test_a_stamp_that_goes_back_does_not_move_the_clock() -> None:
    log = WrittenLog()
    log.apply(Noop(CLUSTER_SESSION, 0))
    clock = log.clock
    log.clock = 5
    log.apply(Noop(CLUSTER_SESSION, 0))
    assert log.machine.clock == clock


def test_events_are_given_once_in_the_order_of_the_log() -> None:
    machine = Machine(Limits())
    commands = tuple(
        OpenSession(SessionId(n), 1, AgentId(f"a{n}@p"), peer_id(1), 1, (), True, True)
        for n in (2, 1)
    )
    machine.apply(Batch(1, 2, 1, START, b""), commands)
    machine.apply(Batch(3, 1, 1, START, b""), (write(2),))
    assert [type(event).__name__ for event in machine.take_events()] == [
        "AgentJoined",
        "AgentJoined",
        "JournalAppended",
    ]
    assert len(machine.take_events()) == 0


# ---- deadlines -------------------------------------------------------------------------------


def test_deadlines_that_are_past_together_close_in_order_at_the_next_command() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    start = log.clock
    for offset, name in ((40, "late"), (20, "b"), (20, "a")):
        log.arrive(one, name, timeout=start + offset - log.clock - 1)
        log.propose(one, name, timeout=start + offset - log.clock - 1)
    assert log.machine.next_deadline() == start + 20
    log.clock = start + 29
    log.append(Tick(CLUSTER_SESSION, 0), Tick(CLUSTER_SESSION, 0))
    first = log.machine.applied_index - 1
    closed: list[tuple[str, str, int]] = []
    for event in log.events:
        match event:
            case ProposalDecided(proposal):
                closed.append(("proposal", proposal.id, proposal.closed_index))
            case BarrierChanged(generation):
                closed.append(("barrier", generation.barrier, generation.closed_index))
            case _:
                pytest.fail(f"{event}")
    assert closed == [
        ("proposal", "a", first),
        ("proposal", "b", first),
        ("barrier", "a", first),
        ("barrier", "b", first),
    ]
    assert log.machine.next_deadline() == start + 40


def test_any_command_gives_the_occasion_to_close() -> None:
    log = WrittenLog()
    one, *_ = log.attached(3)
    log.propose(one, timeout=10)
    log.clock += 10
    log.write(one, b"x")
    assert log.proposal().reason == "deadline"
    assert [type(event).__name__ for event in log.events] == ["ProposalDecided", "JournalAppended"]


# ---- the cluster's own commands --------------------------------------------------------------


def test_the_first_configuration_names_the_cluster_and_the_last_its_voters() -> None:
    log = WrittenLog()
    log.apply(Configure(CLUSTER_SESSION, 0, CLUSTER, (peer_id(2), peer_id(1))))
    assert log.machine.configuration.cluster_id == CLUSTER
    assert list(log.machine.configuration.voters) == [peer_id(1), peer_id(2)]
    log.apply(Configure(CLUSTER_SESSION, 0, CLUSTER, (peer_id(3),)))
    assert list(log.machine.configuration.voters) == [peer_id(3)]


@pytest.mark.parametrize(
    ("cluster", "voters"),
    [
        ("1" * 32, (peer_id(2),)),
        ("", (peer_id(2),)),
        (CLUSTER, ()),
        (CLUSTER, (PeerId("short"),)),
        (CLUSTER, (peer_id(2), peer_id(2))),
    ],
)
def test_a_configuration_of_another_cluster_or_of_no_voters_is_counted_and_ignored(
    cluster: str, voters: tuple[PeerId, ...]
) -> None:
    log = WrittenLog()
    log.apply(Configure(CLUSTER_SESSION, 0, CLUSTER, (peer_id(1),)))
    refused = log.apply(Configure(CLUSTER_SESSION, 0, ClusterId(cluster), voters))
    assert reason(refused) == "invalid"
    configuration = log.machine.configuration
    assert (configuration.cluster_id, configuration.voters) == (CLUSTER, (peer_id(1),))
    assert configuration.ignored_count == 1


@pytest.mark.parametrize(
    "command",
    [
        Noop(SessionId(1), 5),
        Tick(SessionId(1), 5),
        Configure(SessionId(1), 5, CLUSTER, (peer_id(1),)),
        DepartPeer(SessionId(1), 5, peer_id(1), 9, "dead"),
    ],
)
def test_an_agent_does_not_speak_for_the_cluster(command: AnyCommand) -> None:
    log = WrittenLog()
    log.attached(1)
    assert reason(log.apply(command)) == "invalid"
    assert log.machine.configuration.cluster_id == ""
    assert len(log.machine.agents_of(peer_id(1))) == 1


@pytest.mark.parametrize(
    "command",
    [
        CloseSession(CLUSTER_SESSION, 1, ""),
        OpenProposal(
            CLUSTER_SESSION, 1, ProposalId("p"), "x", b"", "", b"", "all", 9, None, Policy()
        ),
        CastVote(CLUSTER_SESSION, 1, ProposalId("p"), ACCEPT, 1, ""),
        Arrive(CLUSTER_SESSION, 1, "b", 1, 9, OnDeparture.BREAK),
        AppendJournal(CLUSTER_SESSION, 1, "j", b""),
    ],
)
def test_the_cluster_does_not_speak_for_an_agent(command: AnyCommand) -> None:
    log = WrittenLog()
    log.attached(3)
    assert reason(log.apply(command)) == "unknown_session"
    assert log.events == ()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (DepartPeer(CLUSTER_SESSION, 0, PeerId("short"), 1, ""), "invalid"),
        (DepartPeer(CLUSTER_SESSION, 0, peer_id(1), -1, ""), "invalid"),
        (DepartPeer(CLUSTER_SESSION, 0, peer_id(1), 2**53, ""), "invalid"),
        (DepartPeer(CLUSTER_SESSION, 0, peer_id(1), 1, "x" * 257), "too_large"),
    ],
)
def test_a_malformed_departure_ends_nothing(command: DepartPeer, why: str) -> None:
    log = WrittenLog()
    log.attached(1)
    assert reason(log.apply(command)) == why
    assert len(log.machine.agents_of(peer_id(1))) == 1


# ---- questions -------------------------------------------------------------------------------


def test_an_answer_names_the_index_that_it_is_as_of() -> None:
    log = WrittenLog()
    log.attached(1)
    before = log.machine.find(JournalQuery("j"))
    log.write(SessionId(1), b"x")
    after = log.machine.find(JournalQuery("j"))
    assert (before.index, after.index) == (1, 2)
    assert (before.journals, after.journals) == ((), (Journal("j", 1, (b"x",), last=1),))


# ---- snapshots -------------------------------------------------------------------------------


def busy_log() -> WrittenLog:
    """A log that has left something in every table."""
    log = WrittenLog()
    log.apply(Configure(CLUSTER_SESSION, 0, CLUSTER, (peer_id(1), peer_id(2))))
    one, two, three, four = log.attached(4)
    log.propose(one, "closed")
    for session in (one, two, three):
        log.vote(session, ACCEPT, "closed", rationale="é")
    log.propose(two, "open", base_version=3)
    log.vote(four, Choice.REJECT, "open")
    log.arrive(one, "done", parties=1)
    log.arrive(one, "running", parties=4, on_departure=OnDeparture.SHRINK)
    log.arrive(two, "running", parties=4, on_departure=OnDeparture.SHRINK)
    log.close(two)
    log.write(three, b"\x00\xff")
    log.write(three, b"", "")
    log.apply(OfferTasks(three, log.next(three), ("work",), 1, 9))
    for number in range(3):
        task = TaskOrder("work", b"a", Strategy.ROUND_ROBIN, (), number, 1, 1, 99, 9, "")
        log.apply(SubmitTask(one, log.next(one), TaskId(f"t{number}"), task, False))
    log.apply(CancelTask(one, log.next(one), TaskId("t1")))
    log.apply(Mint(one, log.next(one), "m", "a1@p", "gpu", 9, "é"))
    log.apply(PlaceHold(one, log.next(one), "h", "a1@p", "gpu", 5, "a3@p", 99))
    log.apply(CaptureHold(three, log.next(three), "c", "h", 2, "a3@p"))
    log.apply(Rate(one, log.next(one), "hold/h", "speed", 700))
    log.apply(SetBudget(one, log.next(one), "b", 9, "", 99))
    reserved = log.apply(Reserve(one, log.next(one), "b", 4, "r"))
    assert isinstance(reserved, Committed)
    log.apply(SpendReserved(one, log.next(one), "b", reserved.number, 3))
    log.apply(Reserve(four, log.next(four), "b", 4))
    return log


def leaves(plain: object) -> Iterator[object]:
    if isinstance(plain, list | tuple):
        for part in plain:
            yield from leaves(part)
    else:
        yield plain


def test_a_snapshot_is_plain_data() -> None:
    for leaf in leaves(busy_log().machine.snapshot()):
        assert leaf is None or type(leaf) in (int, bool, str, bytes)


def test_a_snapshot_survives_a_codec_that_knows_lists_only() -> None:
    machine = busy_log().machine
    travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(machine.snapshot()))
    replica = Machine(Limits())
    replica.restore(travelled)
    assert replica.digest() == machine.digest()
    assert replica.snapshot() == machine.snapshot()


def test_an_encoded_machine_comes_back_bit_by_bit() -> None:
    machine = busy_log().machine
    data = machine.encode()
    replica = Machine(Limits())
    replica.load(replica.decode(data))
    assert replica.encode() == data
    assert digest_of(data) == machine.digest() == replica.digest()
    assert replica.next_deadline() == machine.next_deadline()


@pytest.mark.parametrize("wrong", [b"", b"\x90", b"\xc1", b"text", b"\x97" + b"\x00" * 7])
def test_bytes_that_hold_no_machine_are_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Machine(Limits()).decode(wrong)


def test_restoring_replaces_everything() -> None:
    log, other = WrittenLog(), busy_log()
    other.machine.apply(
        Batch(other.machine.applied_index + 1, 1, 1, other.clock, b""), (Noop(CLUSTER_SESSION, 0),)
    )
    log.attached(1)
    log.write(SessionId(1), b"x")
    other.machine.restore(log.machine.snapshot())
    assert other.machine.snapshot() == log.machine.snapshot()
    assert other.machine.next_deadline() is None
    assert other.machine.take_events() == ()


@pytest.mark.parametrize("wrong", [None, [], [1, 2], "text", [[]] * 10])
def test_what_is_no_snapshot_changes_nothing(wrong: object) -> None:
    machine = busy_log().machine
    before = machine.digest()
    with pytest.raises(msgspec.ValidationError):
        machine.restore(wrong)
    assert machine.digest() == before


def test_a_digest_tells_different_machines_apart() -> None:
    log = busy_log()
    before = log.machine.digest()
    log.apply(Noop(CLUSTER_SESSION, 0))
    assert log.machine.digest() != before


@pytest.mark.slow
def test_a_digest_does_not_depend_on_the_process() -> None:
    program = "from tests.machine.test_machine import busy_log; print(busy_log().machine.digest())"
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert digests == [f"{busy_log().machine.digest()}\n"] * 2


# ---- any log ---------------------------------------------------------------------------------

SMALL = Limits(
    session_window=3,
    sessions_max=4,
    agents_per_peer_max=2,
    open_proposals_max=2,
    closed_proposals_max=2,
    parameters_max=2,
    open_barriers_max=2,
    closed_generations_max=2,
    closed_barriers_max=2,
    journals_max=2,
    journal_items_max=3,
    value_bytes_max=4,
    rationale_bytes_max=4,
    metadata_bytes_max=4,
)
integers = st.one_of(st.integers(0, 6), st.integers(-(2**63), 2**63))
sessions = st.integers(0, 5).map(SessionId)
sequences = st.integers(0, 12)
peers = st.sampled_from([peer_id(1), peer_id(2), PeerId("?")])
agents = st.sampled_from([AgentId("a@p"), AgentId("b@p"), AgentId("c@p"), AgentId("")])
keys = st.one_of(st.sampled_from(["x", "y", "z"]), st.text(max_size=3))
small_bytes = st.binary(max_size=5)
policies = st.one_of(
    st.builds(Policy, min_voters=st.integers(0, 3)),
    st.builds(Policy, integers, integers, integers, integers, integers),
)
commands = st.one_of(
    st.builds(Noop, sessions, sequences),
    st.builds(Tick, sessions, sequences),
    st.builds(Configure, sessions, sequences, st.text(max_size=2), st.lists(peers).map(tuple)),
    st.builds(
        OpenSession,
        sessions,
        sequences,
        agents,
        peers,
        integers,
        st.lists(keys, max_size=2).map(tuple),
        st.booleans(),
        st.booleans(),
        st.lists(st.tuples(keys, integers), max_size=2).map(tuple),
    ),
    st.builds(CloseSession, sessions, sequences, st.text(max_size=3)),
    st.builds(DepartPeer, sessions, sequences, peers, integers, st.text(max_size=3)),
    st.builds(
        OpenProposal,
        sessions,
        sequences,
        keys.map(ProposalId),
        keys,
        small_bytes,
        st.text(max_size=3),
        small_bytes,
        st.one_of(st.just("all"), keys),
        integers,
        st.none() | integers,
        policies,
    ),
    st.builds(
        CastVote,
        sessions,
        sequences,
        keys.map(ProposalId),
        st.sampled_from(Choice),
        st.integers(-1, 1001),
        st.text(max_size=3),
    ),
    st.builds(
        Arrive,
        sessions,
        sequences,
        keys,
        integers,
        integers,
        st.sampled_from(OnDeparture),
        integers,
    ),
    st.builds(AppendJournal, sessions, sequences, keys, small_bytes),
    st.builds(AppendJournal, sessions, sequences, keys, small_bytes, st.integers(-1, 4)),
)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(1, 5), st.lists(commands, min_size=1, max_size=4))))
def test_any_log_makes_one_machine_with_an_outcome_for_every_command(
    batches: list[tuple[int, list[AnyCommand]]],
) -> None:
    # The written log applies each batch twice: to the machine and to one restored before it.
    log = WrittenLog(SMALL)
    for elapsed, batch in batches:
        log.clock += elapsed
        index = log.machine.applied_index
        outcomes = log.append(*batch)
        assert len(outcomes) == len(batch)
        for outcome in outcomes:
            index += 1
            assert isinstance(outcome, Refused) or 0 < outcome.index <= index
        deadline = log.machine.next_deadline()
        assert deadline is None or deadline > log.clock
    split = Machine(SMALL)
    clock = START
    for elapsed, batch in batches:
        clock += elapsed + 1
        for command in batch:
            split.apply(Batch(split.applied_index + 1, 1, 1, clock, b""), (command,))
    assert split.digest() == log.machine.digest()
