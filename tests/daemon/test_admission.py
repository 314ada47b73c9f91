import pytest

from mabeam_p2p.commands import (
    AcquireLock,
    AddCounter,
    AnyCommand,
    AppendJournal,
    Arrive,
    CancelAuction,
    CastVote,
    CloseSession,
    Configure,
    DepartPeer,
    Elect,
    Mint,
    Noop,
    OpenSession,
    PlaceBid,
    PutItem,
    Rate,
    SetBudget,
    SetCounter,
    TakeItem,
    Tick,
)
from mabeam_p2p.daemon.admission import CLOSING_SEQUENCE, Admission
from mabeam_p2p.ids import AgentId, AuctionId, ClusterId, PeerId, ProposalId, SessionId
from mabeam_p2p.records import Choice, OnDeparture
from mabeam_p2p.requests import ReadStatus, Refused, Request, SendMail, Submit, TakeMail

MINE = SessionId(7)
OTHER = SessionId(8)
NOBODY = SessionId(0)
PEER = PeerId("00000000000000aa")


def named() -> Admission:
    return Admission(AgentId("ant@hill"), MINE, PEER, 3)


def nameless() -> Admission:
    return Admission(None, NOBODY, PEER, 3)


def opening(agent: str = "ant@hill", session: SessionId = MINE) -> OpenSession:
    return OpenSession(session, 1, AgentId(agent), PeerId("ff" * 8), 99, (), True, True)


def vote(session: SessionId) -> CastVote:
    return CastVote(session, 2, ProposalId("p"), Choice.ACCEPT, 1000, "")


def arrival(session: SessionId) -> Arrive:
    return Arrive(session, 2, "gate", 2, 1, OnDeparture.BREAK)


def reason(admission: Admission, command: AnyCommand) -> str:
    refused = admission.admit(Submit(command))
    assert isinstance(refused, Refused)
    return refused.reason


def test_questions_pass() -> None:
    assert named().admit(ReadStatus()) == ReadStatus()
    assert nameless().admit(ReadStatus()) == ReadStatus()


def test_daemon_says_where_an_agent_lives() -> None:
    admitted = named().admit(Submit(opening(), 5.0))
    assert isinstance(admitted, Submit)
    assert isinstance(admitted.command, OpenSession)
    assert (admitted.command.peer, admitted.command.epoch) == (PEER, 3)
    assert admitted.timeout == 5.0


def test_session_is_opened_under_the_greeted_name_only() -> None:
    assert reason(named(), opening("bee@hill")) == "name_taken"
    assert reason(named(), opening("ant@elsewhere")) == "name_taken"


def test_session_is_opened_under_the_greeted_id_only() -> None:
    assert reason(named(), opening(session=OTHER)) == "unknown_session"


def test_client_without_a_name_opens_no_session() -> None:
    assert reason(nameless(), opening(session=NOBODY)) == "no_session"


@pytest.mark.fault("U9")
@pytest.mark.parametrize("make", [vote, arrival, lambda s: CloseSession(s, 9, "bye")])
def test_commands_of_another_session_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    assert named().admit(Submit(make(MINE))) == Submit(make(MINE))
    assert reason(named(), make(OTHER)) == "unknown_session"
    assert reason(named(), make(NOBODY)) == "unknown_session"


def test_client_without_a_name_speaks_for_the_daemons_own_agent() -> None:
    assert nameless().admit(Submit(vote(NOBODY))) == vote(NOBODY)
    item = AppendJournal(NOBODY, 0, "notes", b"\x01")
    assert nameless().admit(Submit(item)) == item


def test_client_without_a_name_cannot_arrive_or_close() -> None:
    # Two such clients would be one and the same party.
    assert reason(nameless(), arrival(NOBODY)) == "no_session"
    assert reason(nameless(), CloseSession(NOBODY, 0, "bye")) == "no_session"


@pytest.mark.parametrize(
    "command",
    [
        Noop(MINE, 1),
        Tick(MINE, 1),
        Configure(MINE, 1, ClusterId(""), ()),
        DepartPeer(MINE, 1, PEER, 1, "gone"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_leaders_write_is_refused(command: AnyCommand) -> None:
    assert reason(named(), command) == "invalid"
    assert reason(nameless(), command) == "invalid"


def test_session_that_was_never_opened_needs_no_closing() -> None:
    assert named().closing() is None
    assert nameless().closing() is None


def test_host_closes_an_open_session_behind_everything_that_was_under_way() -> None:
    admission = named()
    admission.admit(Submit(opening()))
    assert admission.closing() == Submit(CloseSession(MINE, CLOSING_SEQUENCE, "disconnected"))


@pytest.mark.parametrize(
    "command",
    [
        Mint(NOBODY, 0, "m", "ant@hill", "gpu", 1),
        SetBudget(NOBODY, 0, "sweep", 1),
        Rate(NOBODY, 0, "hold/h", "speed", 1),
        PlaceBid(NOBODY, 0, AuctionId("a"), 1),
        CancelAuction(NOBODY, 0, AuctionId("a")),
    ],
    ids=lambda command: type(command).__name__,
)
def test_client_without_a_name_trades_for_the_daemons_own_agent(
    command: AnyCommand,
) -> None:
    assert nameless().admit(Submit(command)) == command
    assert reason(named(), command) == "unknown_session"


def sending(agent: str) -> SendMail:
    return SendMail(AgentId(agent), (), "all", "topic", b"", False, 1)


def test_a_client_sends_and_takes_the_letters_of_its_own_agent_alone() -> None:
    mine: tuple[Request, ...] = (sending("ant@hill"), TakeMail(AgentId("ant@hill"), 1))
    for request in mine:
        assert named().admit(request) is request
        assert isinstance(nameless().admit(request), Refused)
    others: tuple[Request, ...] = (sending("bee@hill"), TakeMail(AgentId("bee@hill"), 1))
    for request in others:
        assert isinstance(named().admit(request), Refused)


def test_without_a_name_one_has_seats_elected_with_the_daemons_own_voice() -> None:
    command = Elect(NOBODY, 0, "lead", "all", 1, False)
    assert nameless().admit(Submit(command)) == command
    theirs = Submit(Elect(OTHER, 0, "lead", "all", 1, False))
    assert isinstance(nameless().admit(theirs), Refused)


def test_nameless_client_counts_and_puts_with_the_daemons_voice_and_holds_nothing() -> None:
    for command in (AddCounter(NOBODY, 0, "c", 1), SetCounter(NOBODY, 0, "c", 1)):
        assert nameless().admit(Submit(command)) == command
    put = PutItem(NOBODY, 0, "q", b"\x01")
    assert nameless().admit(Submit(put)) == put
    for held in (AcquireLock(NOBODY, 0, "l", 1, 1, 1), TakeItem(NOBODY, 0, "q", 1)):
        assert reason(nameless(), held) == "no_session"
