import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.events import LeaderChanged, QuorumChanged
from mabeam_p2p.ids import ProposalId, SessionId
from mabeam_p2p.inquiries import EvidenceAnswer, Figures, ReadEvidence, ReadFigures
from mabeam_p2p.records import (
    Acquaintance,
    Doubt,
    Evidence,
    Figure,
    Follower,
    Hearing,
    Histogram,
    Member,
    MemberState,
    Obstacle,
    Standing,
)
from mabeam_p2p.requests import (
    WAIT_ALL,
    Await,
    Committed,
    Done,
    Failed,
    Found,
    Leave,
    ParameterQuery,
    ProposalQuery,
    Read,
    ReadVariables,
    SetVariables,
    Submit,
    Suggest,
    VariableChange,
)
from mabeam_p2p.wire import local
from mabeam_p2p.wire.local import (
    Answered,
    Ask,
    Cancel,
    ClientMessage,
    DaemonMessage,
    Goodbye,
    Greet,
    Subscribe,
    Told,
    Welcome,
)
from tests.wire.samples import COMMANDS, ONE, SECOND, TWO

EVIDENCE = Evidence(
    TWO,
    ONE,
    Member(TWO, "two", "127.0.0.1:7", 4, 4 << 16, MemberState.SUSPECT),
    refutation_count=2,
    hearing=Hearing(None, 3, 0.5, 1.2, (ONE,), ()),
    doubt=Doubt((ONE,), 0.25, 1.8),
    link=Acquaintance("127.0.0.1:7", 4, True, 0.5),
    part="voter",
    follower=Follower("probe", 4, 5, 1, 0.5, False),
    standing=Standing(2, 5, 5, 0),
    obstacles=(Obstacle("suspect"),),
    clock_ahead_seconds=-90.5,
    leader=ONE,
    unready=(Obstacle("variables", "it compares with two"),),
)
FROM_CLIENT: tuple[ClientMessage, ...] = (
    Greet(local.LOCAL_VERSION, "judge", SessionId(7)),
    Greet(local.LOCAL_VERSION, ""),
    *(Ask(number, Submit(command)) for number, command in enumerate(COMMANDS)),
    Ask(20, Submit(COMMANDS[0], timeout=1.5)),
    Ask(21, Read(ParameterQuery(""), linearizable=True, timeout=3)),
    Ask(22, Await(ProposalQuery(ProposalId("p")))),
    Ask(23, SetVariables((VariableChange("a", "lww", None, ((ONE, 2**60),)),), wait=WAIT_ALL)),
    Ask(24, ReadVariables("")),
    Ask(25, Suggest(("127.0.0.1:7946",))),
    Ask(26, Leave()),
    Ask(27, ReadEvidence(ONE)),
    Ask(28, ReadFigures()),
    Cancel(21),
    Subscribe(True),
)
FROM_DAEMON: tuple[DaemonMessage, ...] = (
    Welcome(local.LOCAL_VERSION, ONE, "one", "default", 4),
    Answered(1, Committed(5, 2)),
    Answered(2, Failed("no_quorum", "2 of 5 voters answer")),
    Answered(3, Found(5, 0.25, False, batches=(SECOND,))),
    Answered(4, Done()),
    Answered(5, EvidenceAnswer(EVIDENCE)),
    Answered(
        6,
        Figures(
            (Figure("members", 3, "alive"), Figure("snapshot_age_seconds", 0.5)),
            (Histogram("fsync_seconds", (0.001, 0.01), (4, 1, 0), 0.0125),),
        ),
    ),
    Told(LeaderChanged(None, "", 4, "silence")),
    Told(QuorumChanged(True)),
    Goodbye("closed"),
)


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(local.LENGTH_BYTES, "big") + data


@given(st.lists(st.integers(1, 700)))
def test_messages_come_back_however_the_stream_is_cut(sizes: list[int]) -> None:
    stream = b"".join(map(local.encode, FROM_CLIENT))
    reader = local.client_messages(Limits())
    received: list[ClientMessage] = []
    for size in sizes:
        received += reader.feed(stream[:size])
        stream = stream[size:]
    received += reader.feed(stream)
    assert tuple(received) == FROM_CLIENT


def test_what_the_daemon_says_comes_back() -> None:
    reader = local.daemon_messages()
    assert tuple(reader.feed(b"".join(map(local.encode, FROM_DAEMON)))) == FROM_DAEMON


def test_a_length_over_the_limit_is_refused_before_it_comes() -> None:
    reader = local.client_messages(Limits())
    with pytest.raises(RemoteProtocolError) as caught:
        reader.feed((local.CLIENT_BYTES_MAX + 1).to_bytes(4, "big"))
    assert caught.value.reason == "size"


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(InvalidValue, match="ask for less at once"):
        local.encode(Greet(1, "x" * local.CLIENT_BYTES_MAX))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\x80",
        b"\x82\x63\x01",
        local.encode(Welcome(1, ONE, "one", "default", 4))[4:],
        local.encode(Ask(-1, Leave()))[4:],
        local.encode(Ask(1, Read(ParameterQuery(""), timeout=-1.0)))[4:],
        local.encode(Ask(1, Read(ParameterQuery(""), timeout=float("nan"))))[4:],
        local.encode(Ask(1, Read(ParameterQuery("a\x00"))))[4:],
        local.encode(Ask(1, SetVariables((VariableChange("", "lww", b""),))))[4:],
        local.encode(Ask(1, SetVariables((), wait=-3)))[4:],
        local.encode(Ask(1, Suggest(("nowhere",))))[4:],
    ],
)
def test_what_breaks_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        local.client_messages(Limits()).feed(framed(data))
