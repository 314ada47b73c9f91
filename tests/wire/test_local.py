import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.config import Limits
from mabeam_p2p.errors import InvalidValue, RemoteProtocolError
from mabeam_p2p.events import Dropped, LeaderChanged, QuorumChanged
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
from mabeam_p2p.wire import cbor, local
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
from tests.wire.daemon_samples import DAEMON_MESSAGES
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
    *DAEMON_MESSAGES,
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


def from_later_daemon(plain: object) -> bytes:
    return framed(cbor.encode(plain))


@pytest.mark.parametrize(
    "event",
    [
        pytest.param([199, "news", [1, None]], id="of a kind that is not known"),
        pytest.param([1, [ONE, "one", "127.0.0.1:7", 4, 2, 99]], id="of a state that is not known"),
    ],
)
def test_an_event_of_a_later_release_is_passed_over_and_told(event: object) -> None:
    reader = local.daemon_messages()
    known = Told(QuorumChanged(True))
    unread, after = reader.feed(from_later_daemon([3, event]) + local.encode(known))
    assert after == known
    assert isinstance(unread, Told)
    assert isinstance(unread.event, Dropped)
    told = unread.event
    assert (told.source, told.reason, told.count) == ("daemon", local.UNKNOWN_EVENT, 1)
    assert told.detail.startswith("type: ")


@pytest.mark.parametrize(
    "answer", [[199, "news"], [8, [[ONE, "one", "127.0.0.1:7", 4, 2, 99]], []]]
)
def test_an_answer_of_a_later_release_fails_its_question_alone(answer: object) -> None:
    reader = local.daemon_messages()
    known = Answered(8, Done())
    unread, after = reader.feed(from_later_daemon([2, 7, answer]) + local.encode(known))
    assert after == known
    assert isinstance(unread, Answered)
    assert isinstance(unread.answer, Failed)
    assert (unread.number, unread.answer.reason) == (7, "unknown")
    assert unread.answer.detail.startswith(f"{local.UNREAD_ANSWER}; type: ")


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param([9, [1]], id="a message that is not known"),
        pytest.param([1, "one"], id="a Welcome of other fields"),
        pytest.param([3], id="an event that is missing"),
        pytest.param([3, []], id="an event without a kind"),
        pytest.param([3, ["quorum", True]], id="an event of no kind"),
        pytest.param([2, [9]], id="an answer to no question"),
        pytest.param([2, "7", [9]], id="an answer to what is no question"),
        pytest.param([2, 7, "done"], id="an answer of no kind"),
        pytest.param([4, 7], id="a Goodbye of other fields"),
    ],
)
def test_whatever_else_a_daemon_says_that_is_not_known_is_refused(plain: object) -> None:
    with pytest.raises(RemoteProtocolError, match="type"):
        local.daemon_messages().feed(from_later_daemon(plain))
