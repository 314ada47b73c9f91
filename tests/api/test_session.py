"""Commands have their effect once, and the caller learns whether they had it."""

import asyncio
import gc

import pytest

from mabeam_p2p.api import session as session_module
from mabeam_p2p.api.profiles import Profile, profile_of
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import AppendJournal, CloseSession, Command, OpenSession
from mabeam_p2p.errors import (
    Closed,
    DaemonNotRunning,
    InvalidName,
    MabeamTimeout,
    NameTaken,
    NoQuorum,
    OutcomeUnknown,
    Overloaded,
    Rejected,
)
from mabeam_p2p.events import AgentLeft, LeaderChanged, QuorumChanged
from mabeam_p2p.ids import CLUSTER_SESSION, INTEGER_MAX, AgentId, PeerId, SessionId
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import Committed, Failed, Refused, Request, Submit
from tests.api.fakes import PEER, FakePeer, Reply, attachment, usual
from tests.eventually import eventually
from tests.virtual_time import in_virtual_time

ITEM = AppendJournal(CLUSTER_SESSION, 0, "run", b"\x01")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_SECONDS", "RETRY_SECONDS_MAX"):
        monkeypatch.setattr(session_module, name, 0.001)
    monkeypatch.setattr(session_module, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "NAME_GRACE_SECONDS", 0.01)


async def opened(peer: FakePeer, **limits: int) -> Session:
    async def renewed() -> None:
        peer.asked.append(Submit(ITEM))

    session = Session(attachment(peer, **limits), Profile("a", ("vision",)), renewed)
    await session.open()
    return session


def failing(peer: FakePeer, *replies: Reply) -> None:
    """Reply so to the next commands, then as usual."""
    pending = list(replies)

    def reply(request: Request) -> Reply:
        return pending.pop(0) if pending and isinstance(request, Submit) else usual(request)

    peer.reply = reply


@in_virtual_time
async def test_session_is_opened_with_number_one_under_a_drawn_id() -> None:
    peer = FakePeer()
    session = await opened(peer)
    [command] = peer.commands()
    assert isinstance(command, OpenSession)
    assert (command.session, command.sequence) == (session.id, 1)
    assert 0 < session.id <= INTEGER_MAX
    assert (command.agent, command.peer, command.epoch) == ("a@ant", PEER, 1)
    assert command.groups == ("vision",)


def test_one_text_is_no_list_of_groups() -> None:
    with pytest.raises(InvalidName, match=r"\['vision'\]"):
        profile_of("a", "vision", {}, True, True)


@in_virtual_time
async def test_numbers_count_up_in_the_session() -> None:
    peer = FakePeer()
    session = await opened(peer)
    await asyncio.gather(*(session.commit(ITEM, "item", 1) for _ in range(3)))
    assert [command.sequence for command in peer.commands()] == [1, 2, 3, 4]
    assert {command.session for command in peer.commands()} == {session.id}


@in_virtual_time
async def test_command_of_unknown_outcome_is_sent_again_under_its_number() -> None:
    peer = FakePeer()
    session = await opened(peer)
    failing(peer, Failed("unknown", ""), Failed("no_quorum", ""), Failed("overloaded", ""))
    assert await session.commit(ITEM, "item", 1) == Committed(1, 1, 1)
    assert [command.sequence for command in peer.commands()] == [1, 2, 2, 2, 2]


@in_virtual_time
async def test_outcome_is_unknown_only_when_the_time_is_up() -> None:
    peer = FakePeer()
    session = await opened(peer)
    peer.reply = lambda request: Failed("unknown", "the leader went away")
    with pytest.raises(OutcomeUnknown, match="may have been done"):
        await session.commit(ITEM, "item", 0.02)
    assert len(peer.commands()) > 2


@pytest.mark.parametrize(("reason", "error"), [("no_quorum", NoQuorum), ("overloaded", Overloaded)])
@in_virtual_time
async def test_what_was_certainly_not_done_is_said_at_once(
    reason: str, error: type[Exception]
) -> None:
    peer = FakePeer()
    session = await opened(peer)
    failing(peer, Failed(reason, ""))
    with pytest.raises(error, match="certainly not done"):
        await session.commit(ITEM, "item", 1)
    assert len(peer.commands()) == 2


@in_virtual_time
async def test_certainly_not_is_never_said_after_maybe() -> None:
    peer = FakePeer()
    session = await opened(peer)
    failing(peer, Failed("unknown", ""), *[Failed("no_quorum", "")] * 10_000)
    with pytest.raises(OutcomeUnknown):
        await session.commit(ITEM, "item", 0.02)


@pytest.mark.parametrize(
    "closed", [Failed("closed", ""), Closed("the peer has stopped")], ids=["told", "found"]
)
@in_virtual_time
async def test_a_close_after_maybe_leaves_the_outcome_open(closed: Reply) -> None:
    peer = FakePeer()
    session = await opened(peer)
    failing(peer, Failed("unknown", "the leader went away"), closed)
    with pytest.raises(OutcomeUnknown, match="may have been done"):
        await session.commit(ITEM, "item", 1)
    assert len(peer.commands()) == 3, "there is nobody left to ask"
    failing(peer, closed)
    with pytest.raises(Closed):
        await session.commit(ITEM, "item", 1)


@in_virtual_time
async def test_no_number_is_drawn_beyond_the_window_of_the_oldest() -> None:
    peer = FakePeer()
    session = await opened(peer, session_window=4)
    peer.reply = lambda request: None
    tasks = [asyncio.create_task(session.ask(ITEM, 1)) for _ in range(6)]
    await eventually(lambda: len(peer.waiting) == 4)
    # All but the oldest are answered: it alone keeps the others back.
    for answered in peer.waiting[1:4]:
        answered.set_result(Committed(1, 1))
    await asyncio.gather(*tasks[1:4])
    assert [command.sequence for command in peer.commands()] == [1, 2, 3, 4, 5]
    peer.waiting[0].set_result(Committed(1, 1))
    await eventually(lambda: len(peer.commands()) == 7)
    for task in tasks:
        task.cancel()


@in_virtual_time
async def test_command_that_finds_no_number_in_time_was_certainly_not_done() -> None:
    peer = FakePeer()
    session = await opened(peer, session_window=1)
    peer.reply = lambda request: None
    first = asyncio.create_task(session.ask(ITEM, 1))
    await eventually(lambda: peer.waiting)
    answer = await session.ask(ITEM, 0.01)
    assert isinstance(answer, Failed)
    assert answer.reason == "overloaded"
    first.cancel()


@in_virtual_time
async def test_opening_waits_for_a_quorum_and_greets_once() -> None:
    peer = FakePeer()
    failing(peer, Failed("no_quorum", ""), Failed("no_quorum", ""))
    greeted: list[SessionId] = []

    async def begin(session: SessionId) -> int:
        # A daemon that has not noticed the end of the first connection holds the name.
        if greeted:
            raise NameTaken("a is attached already", reason="name_taken")
        greeted.append(session)
        return 1

    async def renewed() -> None:
        raise AssertionError("it was never open")

    tie = attachment(peer)
    tie.begin = begin
    session = Session(tie, Profile("a"), renewed)
    await session.open()
    assert [command.session for command in peer.commands()] == [session.id] * 3
    assert greeted == [session.id]


@in_virtual_time
async def test_opening_of_unknown_outcome_keeps_its_id() -> None:
    peer = FakePeer()
    failing(peer, Failed("unknown", ""), Failed("unknown", ""))
    await opened(peer)
    assert len({command.session for command in peer.commands()}) == 1


@in_virtual_time
async def test_held_name_is_waited_for_while_its_holder_may_be_dead() -> None:
    peer = FakePeer()
    failing(peer, Refused("name_taken", ""), Refused("name_taken", ""))
    await opened(peer)
    # The log remembers each session that it has refused, so each attempt is another one.
    assert len({command.session for command in peer.commands()}) == 3
    failing(peer, *[Refused("name_taken", "a@ant is there")] * 10_000)
    with pytest.raises(NameTaken, match="a@ant is there"):
        await opened(peer)


@in_virtual_time
async def test_session_that_the_log_has_ended_is_opened_again() -> None:
    peer = FakePeer()
    session = await opened(peer)
    first = session.id
    agent = Agent(AgentId("a@ant"), PEER, 1, first, (), True, True, (), 1)
    peer.tell(AgentLeft(agent, "departed"))
    await eventually(lambda: Submit(ITEM) in peer.asked)
    assert session.id != first
    await session.commit(ITEM, "item", 1)
    assert peer.commands()[-1].session == session.id


@in_virtual_time
async def test_command_that_meets_an_ended_session_goes_under_the_next_one() -> None:
    peer = FakePeer()
    session = await opened(peer)
    first = session.id
    failing(peer, Refused("unknown_session", ""))
    await session.commit(ITEM, "item", 1)
    assert session.id != first


@in_virtual_time
async def test_command_that_may_have_been_done_is_not_sent_under_another_session() -> None:
    peer = FakePeer()
    session = await opened(peer)
    failing(peer, Failed("unknown", ""), Refused("unknown_session", ""))
    with pytest.raises(OutcomeUnknown):
        await session.commit(ITEM, "item", 1)
    items = [command for command in peer.commands() if isinstance(command, AppendJournal)]
    assert len(items) == 2


@in_virtual_time
@pytest.mark.parametrize("has_term", [True, False], ids=["another one", "the same one again"])
async def test_under_a_leader_that_comes_unseen_a_name_is_waited_for_anew(has_term: bool) -> None:
    """Another took over before anybody missed the one before: no attempt has failed for want of a
    quorum in between."""
    peer = FakePeer()
    failing(peer, *[Refused("name_taken", "a@ant is there")] * 10_000)
    tie = attachment(peer)

    async def renewed() -> None:
        raise AssertionError("it was never open")

    session = Session(tie, Profile("a"), renewed)
    patience = session._name_patience
    loop = asyncio.get_running_loop()
    for number in range(3):
        leader = PeerId(f"{number:016x}") if has_term else PEER
        change = LeaderChanged(leader, "bee", number + 1, "elected")
        loop.call_later(0.75 * patience * number, peer.tell, change)
    began = loop.time()
    with pytest.raises(NameTaken):
        await session.open()
    assert loop.time() - began >= 2.5 * patience


@in_virtual_time
async def test_while_no_session_can_be_opened_commands_fail_unsent() -> None:
    peer = FakePeer()
    session = await opened(peer)
    peer.reply = lambda request: (
        Failed("no_quorum", "") if isinstance(request, Submit) else usual(request)
    )
    session.renew()
    with pytest.raises(NoQuorum):
        await session.commit(ITEM, "item", 1)
    assert not any(isinstance(command, AppendJournal) for command in peer.commands())
    await session.close()


@in_virtual_time
async def test_daemon_that_is_away_leaves_the_outcome_open() -> None:
    peer = FakePeer()
    session = await opened(peer)
    failing(peer, DaemonNotRunning("gone"))
    await session.commit(ITEM, "item", 1)
    assert [command.sequence for command in peer.commands()] == [1, 2, 2]


@in_virtual_time
async def test_refusals_of_the_log_are_raised_with_their_reason() -> None:
    peer = FakePeer()
    session = await opened(peer)
    failing(peer, Refused("invalid", "malformed"))
    with pytest.raises(Rejected, match="malformed") as caught:
        await session.commit(ITEM, "item", 1)
    assert caught.value.reason == "invalid"


@in_virtual_time
async def test_closing_ends_the_session_in_the_log_once_and_refuses_what_comes_after() -> None:
    peer = FakePeer()
    session = await opened(peer)
    peer.tell(QuorumChanged(True))
    await session.close()
    await session.close()
    ends = [command for command in peer.commands() if isinstance(command, CloseSession)]
    assert [end.session for end in ends] == [session.id]
    with pytest.raises(Closed):
        await session.commit(ITEM, "item", 1)


@in_virtual_time
async def test_closing_at_a_peer_that_is_gone_raises_and_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = FakePeer()
    session = await opened(peer)
    peer.tell(QuorumChanged(True))
    peer.reply = lambda request: (
        OutcomeUnknown("the peer ended") if isinstance(request, Submit) else usual(request)
    )
    await session.close()
    gc.collect()
    assert caplog.text == ""


@in_virtual_time
async def test_closing_a_session_that_never_was_open_opens_none() -> None:
    peer = FakePeer()
    session = await opened(peer)
    told = len(peer.commands())
    peer.reply = lambda request: (
        Refused("unknown_session", "") if isinstance(request, Submit) else usual(request)
    )
    # Only with a quorum is the log asked.
    peer.tell(QuorumChanged(True))
    await session.close()
    assert [type(command) for command in peer.commands()[told:]] == [CloseSession]


@in_virtual_time
async def test_the_word_of_its_own_end_makes_no_agent_open_another_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = FakePeer()
    session = await opened(peer)
    peer.tell(QuorumChanged(True))
    told = len(peer.commands())
    left = Agent(AgentId("a@ant"), PEER, 1, session.id, (), True, True, (), 1)

    def reply(request: Request) -> Reply:
        return None if isinstance(request, Submit) else usual(request)

    peer.reply = reply
    closing = asyncio.create_task(session.close())
    await eventually(lambda: peer.waiting)
    peer.tell(AgentLeft(left, "closed"))
    for _ in range(10):
        # As long as another one could have begun.
        await asyncio.sleep(0)
    peer.waiting[0].set_result(Committed(1, 1))
    await closing
    assert [type(command) for command in peer.commands()[told:]] == [CloseSession]
    assert not caplog.records


@pytest.mark.parametrize("quorum", [True, False])
@in_virtual_time
async def test_a_session_that_cannot_be_closed_now_is_closed_later(
    quorum: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CLOSE_SECONDS", 0.005)
    peer = FakePeer()
    session = await opened(peer)
    peer.tell(QuorumChanged(quorum))
    failing(peer, *[Failed("no_quorum", "")] * 10, Committed(1, 1))
    await session.close()
    await eventually(lambda: len(peer.commands()) == 12)
    ends = peer.commands()[1:]
    assert {(type(one), one.session, one.sequence) for one in ends} == {
        (CloseSession, session.id, 2)
    }


@in_virtual_time
async def test_what_an_agent_could_not_look_at_when_it_was_attached_anew_is_looked_at_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = FakePeer()
    troubles: list[Exception] = [MabeamTimeout("slow"), Overloaded("full")]
    looked: list[str] = []

    async def renewed() -> None:
        if troubles:
            raise troubles.pop(0)
        looked.append("all")

    session = Session(attachment(peer), Profile("a"), renewed)
    await session.open()
    await session.renew()
    assert looked == ["all"]
    openings = [command for command in peer.commands() if isinstance(command, OpenSession)]
    assert len(openings) == 2, "opened again once, and not for each trouble"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@in_virtual_time
async def test_session_zero_opens_numbers_and_repeats_nothing() -> None:
    peer = FakePeer()

    async def renewed() -> None:
        raise AssertionError("never lost")

    session = Session(attachment(peer), None, renewed)
    await session.open()
    assert peer.commands() == []
    failing(peer, Failed("unknown", ""))
    with pytest.raises(OutcomeUnknown):
        await session.commit(ITEM, "item", 1)
    command: Command = peer.commands()[0]
    assert (command.session, command.sequence) == (0, 0)


@in_virtual_time
async def test_a_command_that_waits_while_its_agent_is_closed_is_refused_and_not_sent() -> None:
    peer = FakePeer()
    session = await opened(peer, session_window=1)
    peer.reply = lambda request: None
    first = asyncio.create_task(session.ask(ITEM, 60))
    await eventually(lambda: peer.waiting)
    waits_for_room = asyncio.create_task(session.ask(ITEM, 60))
    await asyncio.sleep(0)
    await session.close()
    peer.waiting[0].set_result(Committed(2, 1))
    await first
    with pytest.raises(Closed):
        await asyncio.wait_for(waits_for_room, 10)
    assert [type(command) for command in peer.commands()].count(AppendJournal) == 1


@in_virtual_time
async def test_a_command_that_finds_its_session_closed_is_not_sent_again() -> None:
    peer = FakePeer()
    session = await opened(peer)
    peer.reply = lambda request: None
    asking = asyncio.create_task(session.ask(ITEM, 60))
    await eventually(lambda: peer.waiting)
    await session.close()
    peer.waiting[0].set_result(Refused("unknown_session", "closed"))
    with pytest.raises(Closed):
        await asyncio.wait_for(asking, 10)
    assert [type(command) for command in peer.commands()].count(AppendJournal) == 1
