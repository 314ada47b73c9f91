"""What an agent holds: its loss is told, and no claim that nobody heard of stays behind."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from mabeam_p2p import (
    DaemonNotRunning,
    LeaseLost,
    LockTimeout,
    MabeamTimeout,
    NoQuorum,
    OutcomeUnknown,
    Rejected,
)
from mabeam_p2p.api import grants as grants_module
from mabeam_p2p.api import session as session_module
from mabeam_p2p.api.attachment import Attachment
from mabeam_p2p.api.claims import Claimed
from mabeam_p2p.api.grants import Grants, Lease
from mabeam_p2p.api.locks import Lock
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.queues import Queue
from mabeam_p2p.api.session import Session
from mabeam_p2p.commands import AcquireLock, ReleaseLock, RenewLock, ReturnItem, TakeItem
from mabeam_p2p.events import EVENTS_LOST, AgentLeft, Dropped, LockEnded, LockGranted, QuorumChanged
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Agent, Claim
from mabeam_p2p.records import Lock as LockRecord
from mabeam_p2p.requests import (
    Committed,
    Failed,
    Found,
    LockQuery,
    Read,
    Refused,
    Request,
    Submit,
)
from tests.api.fakes import PEER, FakePeer, Reply, attachment, usual
from tests.eventually import eventually
from tests.in_loop import in_loop
from tests.virtual_time import in_virtual_time

TOKEN = 7


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (session_module, grants_module):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
        monkeypatch.setattr(module, "RETRY_SECONDS_MAX", 0.001)
    monkeypatch.setattr(session_module, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr(grants_module, "END_GRACE_SECONDS", 0.01)


def claim(number: int = 2, token: int = TOKEN, lease: int = 0) -> Claim:
    return Claim(TOKEN, AgentId("a@ant"), number, 1, lease, token)


def found(*claims: Claim, index: int = 9) -> Found:
    locks = (LockRecord("x", 1, claims),) if claims else ()
    return Found(index, 0.0, True, locks=locks)


class House:
    """An agent at a peer that grants everything, unless told otherwise."""

    def __init__(self, peer: FakePeer, made: Attachment, session: Session) -> None:
        self.peer = peer
        self.attachment = made
        self.session = session
        self.grants = Grants(made, session)
        self.claims: tuple[Claim, ...] = (claim(),)
        self.outcome: Callable[[Submit], Reply] = lambda asked: Committed(TOKEN, 1, TOKEN)
        peer.reply = self._reply

    def lock(self, timeout: float = 5.0, lease: float | None = None) -> Lock:
        return Lock(self.grants, "x", limit=1, permits=1, timeout=timeout, lease=lease)

    def said(self, kind: type) -> list[tuple[int, int]]:
        """Session and claim of the commands of this kind."""
        return [
            (command.session, command.claim)
            for command in self.peer.commands()
            if isinstance(command, kind)
            and isinstance(command, ReleaseLock | RenewLock | ReturnItem)
        ]

    def _reply(self, request: Request) -> Reply:
        match request:
            case Submit(command=AcquireLock() | ReleaseLock() | RenewLock() | TakeItem()):
                return self.outcome(request)
            case Read(query=LockQuery()):
                return found(*self.claims)
            case _:
                return usual(request)


async def house() -> House:
    async def renewed() -> None:
        pass

    peer = FakePeer()
    made = attachment(peer)
    session = Session(made, Profile("a"), renewed)
    await session.open()
    return House(peer, made, session)


async def held(place: House, lease: float | None = None) -> tuple[Lease, list[str]]:
    told: list[str] = []
    if lease is not None:
        place.claims = (claim(lease=round(lease * 1_000_000)),)
    granted = await place.lock(lease=lease).acquire()
    granted.on_lost(told.append)
    return granted, told


# ---- loss ------------------------------------------------------------------------------------


@in_loop
async def test_a_grant_that_the_log_ends_is_told_once() -> None:
    place = await house()
    lease, told = await held(place)
    place.peer.tell(LockEnded("x", claim(), "departed"))
    place.peer.tell(LockEnded("x", claim(), "departed"))
    assert told == ["departed"]
    assert lease.is_lost
    with pytest.raises(LeaseLost, match="departed"):
        lease.check()


@in_loop
async def test_an_end_that_is_told_before_its_grant_is_known_is_not_missed() -> None:
    place = await house()
    place.peer.tell(LockEnded("x", claim(), "lease expired"))
    lease, told = await held(place)
    assert lease.is_lost
    assert told == ["lease expired"]


@in_loop
async def test_the_end_of_another_claim_is_none_of_ours() -> None:
    place = await house()
    lease, told = await held(place)
    other = Claim(TOKEN + 1, AgentId("b@bee"), 2, 1, 0, TOKEN + 1)
    place.peer.tell(LockEnded("x", other, "departed"))
    assert not lease.is_lost
    assert told == []


@in_loop
async def test_another_session_holds_nothing_of_the_one_before() -> None:
    place = await house()
    lease, _ = await held(place)
    record = Agent(AgentId("a@ant"), PEER, 1, place.session.id, (), True, True, (), 1)
    place.peer.tell(AgentLeft(record, "dead"))
    await eventually(lambda: place.session.id != record.session)
    assert lease.is_lost


@in_virtual_time
async def test_a_lease_is_over_by_our_own_clock_at_the_latest() -> None:
    place = await house()
    lease, told = await held(place, lease=0.05)
    assert not lease.is_lost
    await eventually(lambda: told)
    assert told == ["its lease is over"]


@in_loop
async def test_a_session_whose_lease_is_over_by_our_clock_holds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = await house()
    lease, told = await held(place)
    assert not lease.is_lost
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(Session, "lease_end", now)
    assert lease.is_lost
    assert told == ["the lease of the agent's session is over"]


@in_virtual_time
async def test_the_end_of_a_sessions_lease_is_told_unless_it_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    place = await house()
    monkeypatch.setattr(Session, "lease_end", loop.time() + 0.05)
    _, told = await held(place)
    kept_until = loop.time() + 0.2
    monkeypatch.setattr(Session, "lease_end", kept_until)
    await eventually(lambda: told)
    assert loop.time() >= kept_until


@in_loop
async def test_a_lease_that_is_lost_while_it_is_renewed_is_not_said_to_be_held() -> None:
    place = await house()
    lease, told = await held(place, lease=60.0)

    def lost(asked: Submit) -> Reply:
        if isinstance(asked.command, RenewLock):
            place.peer.tell(LockEnded("x", claim(), "lease expired"))
        return Committed(TOKEN, 1, TOKEN)

    place.outcome = lost
    with pytest.raises(LeaseLost, match="lease expired"):
        await lease.renew()
    assert told == ["lease expired"]


@in_loop
async def test_a_lease_that_was_waited_for_is_renewed_before_it_is_trusted() -> None:
    place = await house()
    place.outcome = lambda asked: Committed(TOKEN, 1, 0)
    await held(place, lease=5.0)
    assert place.said(RenewLock) == [(place.session.id, 2)]


@in_loop
async def test_a_peer_without_a_quorum_for_as_long_as_it_takes_to_count_as_dead_holds_nothing() -> (
    None
):
    place = await house()
    lease, told = await held(place)
    place.peer.tell(QuorumChanged(False))
    assert not lease.is_lost
    await eventually(lambda: told)
    assert "no quorum" in told[0]
    # The cluster may still think that it is held.
    await eventually(lambda: place.said(ReleaseLock) == [(place.session.id, 2)])


@in_virtual_time
async def test_a_quorum_that_comes_back_in_time_takes_nothing() -> None:
    place = await house()
    _, told = await held(place)
    place.peer.tell(QuorumChanged(False))
    place.peer.tell(QuorumChanged(True))
    await asyncio.sleep(2 * place.attachment.timing.dead_seconds)
    assert told == []


@pytest.mark.parametrize("quorum", [True, False])
@in_virtual_time
async def test_a_quorum_of_which_no_event_told_is_found_in_the_view(quorum: bool) -> None:
    place = await house()
    _, told = await held(place)
    place.peer.tell(QuorumChanged(not quorum))
    # As after a lost connection: the view was read anew.
    place.attachment.view.on_status(None, quorum, True)
    await place.grants.look_again()
    await asyncio.sleep(2 * place.attachment.timing.dead_seconds)
    assert bool(told) is not quorum


@in_loop
async def test_after_lost_events_every_grant_is_looked_up() -> None:
    place = await house()
    _, told = await held(place)
    place.claims = ()
    place.peer.tell(Dropped("p", EVENTS_LOST, "", 1))
    await eventually(lambda: told)


@in_loop
async def test_a_peer_that_has_not_come_so_far_yet_takes_nothing_away() -> None:
    place = await house()
    lease, _ = await held(place)
    place.peer.reply = lambda request: found(index=TOKEN - 1)
    await place.grants.look_again()
    assert not lease.is_lost
    place.peer.reply = lambda request: found(index=TOKEN)
    await place.grants.look_again()
    assert lease.is_lost


@in_loop
async def test_a_listener_that_fails_keeps_nobody_else_from_hearing() -> None:
    place = await house()
    lease, told = await held(place)

    def fail(reason: str) -> None:
        raise RuntimeError(reason)

    lease.on_lost(fail)
    last: list[str] = []
    lease.on_lost(last.append)
    place.peer.tell(LockEnded("x", claim(), "departed"))
    assert told == last == ["departed"]


# ---- ends ------------------------------------------------------------------------------------


@in_loop
async def test_releasing_names_the_claim_by_its_number_once() -> None:
    place = await house()
    lease, told = await held(place)
    await lease.release()
    await lease.release()
    assert place.said(ReleaseLock) == [(place.session.id, 2)]
    place.peer.tell(LockEnded("x", claim(), "released"))
    assert told == []
    assert not lease.is_lost


@in_loop
async def test_what_the_log_had_ended_is_told_at_the_release() -> None:
    place = await house()
    lease, _ = await held(place)
    place.outcome = lambda asked: Refused("not_held", "")
    with pytest.raises(LeaseLost) as lost:
        await lease.release()
    assert lost.value.token == TOKEN


@in_loop
async def test_an_error_inside_is_what_the_caller_hears() -> None:
    place = await house()
    lease, _ = await held(place)
    place.peer.tell(LockEnded("x", claim(), "departed"))
    with pytest.raises(RuntimeError, match="inside"):
        async with lease:
            raise RuntimeError("inside")


@in_loop
async def test_a_release_that_does_not_reach_the_log_goes_on_in_the_background() -> None:
    place = await house()
    lease, _ = await held(place)
    place.outcome = lambda asked: Failed("no_quorum", "")
    with pytest.raises(NoQuorum):
        await lease.release()
    await eventually(lambda: len(place.said(ReleaseLock)) > 2)
    place.outcome = lambda asked: Committed(8, 1)
    count = len(place.said(ReleaseLock))
    await eventually(lambda: not place.grants._tasks)
    assert len(place.said(ReleaseLock)) == count + 1, "until it is heard, and no more"


@in_loop
async def test_a_claim_with_an_unknown_outcome_is_given_up() -> None:
    place = await house()
    place.outcome = lambda asked: (
        Failed("unknown", "") if isinstance(asked.command, AcquireLock) else Refused("not_held", "")
    )
    acquiring = asyncio.create_task(
        place.grants.claim(
            AcquireLock(place.session.id, 0, "x", 1, 1, 5),
            Claimed(
                "lock 'x'",
                "x",
                lambda number: ReleaseLock(place.session.id, 0, number, "x"),
                lambda ticket: LockQuery("x", ticket),
            ),
            0.05,
        )
    )
    with pytest.raises(OutcomeUnknown):
        await acquiring
    await eventually(lambda: place.said(ReleaseLock) == [(place.session.id, 2)])


@in_virtual_time
async def test_a_claim_that_was_refused_leaves_nothing_to_give_up() -> None:
    place = await house()
    place.outcome = lambda asked: Refused("limit", "")
    with pytest.raises(Exception, match="limit"):
        await place.lock().acquire()
    await asyncio.sleep(60)
    assert place.said(ReleaseLock) == []


@in_loop
async def test_a_wait_whose_end_nobody_tells_is_given_up() -> None:
    place = await house()
    place.outcome = lambda asked: Committed(TOKEN, 1, 0)
    place.claims = (claim(token=0),)
    with pytest.raises(MabeamTimeout, match="given up"):
        await place.lock(timeout=0.02).acquire()
    await eventually(lambda: place.said(ReleaseLock))


@in_virtual_time
async def test_who_waits_keeps_no_question_at_the_peer_and_is_woken_by_its_grant() -> None:
    place = await house()
    place.outcome = lambda asked: Committed(TOKEN, 1, 0)
    place.claims = (claim(token=0),)
    waiting = asyncio.create_task(place.lock().acquire())
    await eventually(lambda: any(isinstance(asked, Read) for asked in place.peer.asked))
    await eventually(lambda: place.peer.waiting == [])
    count = len(place.peer.asked)
    place.peer.tell(LockGranted("x", 1, replace(claim(), ticket=TOKEN + 1)))
    await asyncio.sleep(0.01)
    assert len(place.peer.asked) == count
    place.claims = (claim(),)
    place.peer.tell(LockGranted("x", 1, claim()))
    assert (await waiting).token == TOKEN


@in_loop
async def test_who_waits_looks_again_after_lost_events_and_while_its_daemon_is_away() -> None:
    place = await house()
    place.outcome = lambda asked: Committed(TOKEN, 1, 0)
    reply = place.peer.reply

    def away(request: Request) -> Reply:
        return DaemonNotRunning("gone") if isinstance(request, Read) else reply(request)

    place.peer.reply = away
    waiting = asyncio.create_task(place.lock().acquire())
    await eventually(lambda: any(isinstance(asked, Read) for asked in place.peer.asked))
    place.peer.reply = reply
    place.peer.tell(Dropped("p", EVENTS_LOST, "", 1))
    assert (await waiting).token == TOKEN


@in_loop
async def test_a_wait_that_ends_before_its_time_has_lost_its_session() -> None:
    place = await house()
    place.outcome = lambda asked: Committed(TOKEN, 1, 0)
    place.claims = ()
    with pytest.raises(LeaseLost, match="before its time"):
        await place.lock(timeout=5.0).acquire()
    with pytest.raises(LockTimeout):
        await place.lock(timeout=1e-6).acquire()
    reply = place.peer.reply

    def away(request: Request) -> Reply:
        is_of_all = isinstance(request, Read) and request.query == LockQuery("x")
        return DaemonNotRunning("gone") if is_of_all else reply(request)

    # Who holds it cannot be told, and the time is over all the same.
    place.peer.reply = away
    with pytest.raises(LockTimeout):
        await place.lock(timeout=1e-6).acquire()


@in_loop
async def test_ending_is_not_said_in_another_session() -> None:
    place = await house()
    lease, _ = await held(place)
    old = place.session.id
    record = Agent(AgentId("a@ant"), PEER, 1, old, (), True, True, (), 1)
    place.peer.tell(AgentLeft(record, "dead"))
    await eventually(lambda: place.session.id != old)
    with pytest.raises(LeaseLost):
        await lease.release()
    assert place.said(ReleaseLock) == []


@in_loop
async def test_the_voice_of_a_daemon_itself_holds_nothing_and_is_told_what_to_do() -> None:
    async def renewed() -> None:
        pass

    made = attachment(FakePeer())
    session = Session(made, None, renewed)
    grants = Grants(made, session)
    with pytest.raises(Rejected, match="connect under a name"):
        await Lock(grants, "x", limit=1, permits=1, timeout=1).acquire()
    with pytest.raises(Rejected, match="connect under a name"):
        await Queue(grants, session, "q").take(1)
