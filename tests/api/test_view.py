"""What a peer has told, and the streams over it."""

import asyncio
import gc
import weakref

import pytest

from mabeam_p2p.api import attachment as attachment_module
from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.results import Change, Proposal, Vote
from mabeam_p2p.api.view import GONE_MEMBERS_MAX, View
from mabeam_p2p.commands import CastVote
from mabeam_p2p.errors import InvalidValue, MabeamTimeout
from mabeam_p2p.events import (
    AgentJoined,
    AgentLeft,
    Dropped,
    LeaderChanged,
    MemberChanged,
    ParameterChanged,
    QuorumChanged,
    RoleChanged,
    VariableChanged,
)
from mabeam_p2p.ids import AgentId, PeerId, ProposalId, SessionId
from mabeam_p2p.records import Agent as AgentRecord
from mabeam_p2p.records import Member, MemberState, Parameter, Sibling, Variable
from mabeam_p2p.requests import (
    Failed,
    Found,
    Members,
    ParameterQuery,
    ProposalQuery,
    Read,
    ReadMembers,
    Request,
)
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import PEER, FakePeer, Reply, attachment, proposal, usual
from tests.eventually import eventually
from tests.in_loop import in_loop


def agent_at(peer: FakePeer, **limits: int) -> Agent:
    return Agent(attachment(peer, **limits), Profile("a"))


def parameter(value: object, version: int, name: str = "rate") -> ParameterChanged:
    record = Parameter(name, encode_value(value, 100), version, ProposalId("x"), version)
    return ParameterChanged(record)


def variable(*values: object, counter: int = 1, resolver: str = "lww") -> VariableChanged:
    """Each value from an actor of its own, the last one the youngest; ... is a tombstone."""
    siblings = tuple(
        Sibling(
            PeerId(f"{n:016x}"),
            counter,
            n,
            None if value is ... else encode_value(value, 100),
        )
        for n, value in enumerate(values, 1)
    )
    context = tuple((sibling.actor, sibling.counter) for sibling in siblings)
    return VariableChanged((Variable("epsilon", resolver, context, siblings),), PEER)


def member(name: str, state: MemberState = MemberState.ALIVE) -> MemberChanged:
    return MemberChanged(Member(PeerId(name * 16), name, "127.0.0.1:1", 1, 1, state))


def record(session: int) -> AgentRecord:
    return AgentRecord(
        AgentId("b@ant"), PEER, 1, SessionId(session), (), True, True, (("gpu", 1),), 1
    )


@in_loop
async def test_parameters_grow_by_version_and_never_go_back() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(parameter(2, 9))
    peer.tell(parameter(1, 8))
    assert dict(agent.parameters) == {"rate": 2}
    assert agent.parameters.get("size") is None


@in_loop
async def test_variables_never_go_back_to_what_was_seen() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(variable(2, counter=2))
    peer.tell(variable(1, counter=1))
    assert agent.variables["epsilon"] == 2


@in_loop
async def test_siblings_become_one_value_by_their_resolver() -> None:
    for resolver, expected in (("lww", 1), ("max", 3), ("multi_value", [1, 3])):
        peer = FakePeer()
        agent = agent_at(peer)
        peer.tell(variable(3, 1, resolver=resolver))
        assert agent.variables["epsilon"] == expected


@in_loop
async def test_function_of_the_siblings_is_called_where_it_is_read() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    agent.variables.resolver("eps*", lambda values: sum(values) / len(values))
    peer.tell(variable(3, 1, resolver="function"))
    assert agent.variables["epsilon"] == 2


@in_loop
async def test_unknown_resolver_is_refused_when_it_is_declared() -> None:
    agent = agent_at(FakePeer())
    with pytest.raises(InvalidValue, match="multi_value"):
        agent.variables.resolver("epsilon", "newest")


@in_loop
async def test_deleted_variable_is_absent_but_its_deletion_is_told() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    watch = agent.variables.watch()
    peer.tell(variable(1))
    assert not (await anext(watch)).deleted
    peer.tell(variable(..., counter=2))
    assert "epsilon" not in agent.variables
    assert (len(agent.variables), list(agent.variables)) == (0, [])
    change = await anext(watch)
    assert (change.deleted, change.value) == (True, None)


@in_loop
async def test_watch_begins_with_what_is_there_and_coalesces_by_name() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(parameter(1, 1))
    peer.tell(parameter(1, 2, "size"))
    watch = agent.parameters.watch("ra*")
    peer.tell(parameter(2, 3))
    first = await anext(watch)
    assert (first.name, first.value, first.initial) == ("rate", 2, False)
    assert (await anext(agent.parameters.watch("ra*"))).initial
    for version in range(4, 100):
        peer.tell(parameter(version, version))
    change = await anext(watch)
    assert (change.value, change.initial) == (99, False)
    watch.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


@in_loop
async def test_what_is_deleted_before_a_watch_is_read_is_told_as_a_change() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(variable(1))
    watch = agent.variables.watch()
    peer.tell(variable(..., counter=2))
    change = await asyncio.wait_for(anext(watch), 10)
    assert (change.name, change.deleted, change.initial) == ("epsilon", True, False)


@in_loop
async def test_events_are_named_filtered_and_counted_when_too_many() -> None:
    peer = FakePeer()
    agent = agent_at(peer, events_pending_max=2)
    events = agent.events("role.*", "quorum.lost")
    peer.tell(QuorumChanged(True))
    for term in (1, 2, 3):
        peer.tell(RoleChanged("leader", term))
    assert events.dropped == 1
    taken = [await anext(events), await anext(events)]
    assert [(event.name, event.facts["term"]) for event in taken] == [
        ("role.changed", 2),
        ("role.changed", 3),
    ]


@in_loop
async def test_stream_that_nobody_holds_is_forgotten() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    held = agent._attachment.view
    before = len(held._listeners)
    events, watch = weakref.ref(agent.events()), weakref.ref(agent.parameters.watch())
    gc.collect()
    assert (events(), watch()) == (None, None)
    assert len(held._listeners) == before
    peer.tell(parameter(1, 1))


@in_loop
async def test_streams_end_with_their_agent() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    reading = asyncio.create_task(anext(agent.events(), None))
    await asyncio.sleep(0)
    await agent.close()
    assert await reading is None


@in_loop
async def test_members_are_counted_while_they_are_alive() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(member("b"))
    waiting = asyncio.create_task(agent.wait_for_members(2))
    peer.tell(member("a"))
    assert [found.name for found in await waiting] == ["a", "b"]
    peer.tell(member("b", MemberState.DEAD))
    with pytest.raises(MabeamTimeout, match="1 of 2 members are alive"):
        await agent.wait_for_members(2, timeout=0.01)


@in_loop
async def test_of_members_that_are_gone_the_last_ones_are_shown() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    for number in range(1_000):
        gone = Member(PeerId(f"{number:016x}"), f"n{number}", "127.0.0.1:1", 1, 1, MemberState.DEAD)
        peer.tell(MemberChanged(gone))
    peer.tell(member("b"))
    shown = [found.name for found in agent.info().members]
    assert "b" in shown
    assert "n999" in shown
    assert "n0" not in shown
    assert len(shown) <= GONE_MEMBERS_MAX + 2


@in_loop
async def test_leader_is_known_while_there_is_one() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    waiting = asyncio.create_task(agent.wait_for_leader())
    peer.tell(LeaderChanged(PEER, "ant", 3, "elected"))
    assert (await waiting).to_dict() == {"id": PEER, "name": "ant", "term": 3}
    peer.tell(LeaderChanged(None, "", 4, "lost"))
    assert agent.leader is None


@in_loop
async def test_agent_that_was_replaced_does_not_vanish_with_its_older_session() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(AgentJoined(record(1)))
    peer.tell(AgentJoined(record(2)))
    peer.tell(AgentLeft(record(1), "replaced"))
    assert [known.id for known in agent.info().agents] == ["b@ant"]
    peer.tell(AgentLeft(record(2), "closed"))
    assert agent.info().agents == ()


@in_loop
async def test_view_is_read_anew_when_events_were_lost() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(member("b"))
    peer.tell(Dropped("bee", "codec", "not for us", 1))
    assert ReadMembers() not in peer.asked
    peer.tell(Dropped(PEER, "slow_listener", "", 7))
    await eventually(lambda: ReadMembers() in peer.asked)
    await eventually(lambda: agent.members() == ())


def test_a_way_that_is_lost_after_the_last_answer_of_a_reading_leaves_no_quorum() -> None:
    view = View()
    with view.reading():
        view.on_lost()
        view.on_status(None, True, True)
    assert not view.quorum


@in_loop
async def test_what_is_lost_while_the_view_is_read_anew_is_read_once_more() -> None:
    peer = FakePeer()
    agent = agent_at(peer)

    def reads() -> int:
        return peer.asked.count(ReadMembers())

    peer.reply = lambda request: None if request == ReadMembers() else usual(request)
    peer.tell(Dropped(PEER, "slow_listener", "", 1))
    await eventually(lambda: peer.waiting)
    peer.tell(Dropped(PEER, "slow_listener", "", 1))
    peer.reply = usual
    peer.waiting[0].set_result(Members((), ()))
    await eventually(lambda: reads() == 2)
    assert agent.members() == ()


@in_loop
async def test_a_view_that_cannot_be_read_now_is_read_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attachment_module, "RETRY_SECONDS", 0.001)
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(member("b"))
    replies: list[Reply] = [Failed("overloaded", "full"), Failed("timeout", "slow")]
    peer.reply = lambda request: (
        replies.pop() if replies and request == ReadMembers() else usual(request)
    )
    peer.tell(Dropped(PEER, "slow_listener", "", 1))
    await eventually(lambda: agent.members() == ())


@in_loop
async def test_who_has_lost_events_still_votes_bids_and_puts_values_into_effect() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.tell(parameter(1, 1))
    peer.tell(parameter(1, 1, name="size"))
    agent.begin()
    applied: list[tuple[str, object]] = []

    @agent.on_parameter("*")
    async def apply(change: Change) -> None:
        applied.append((change.name, change.value))

    @agent.on_proposal("*")
    async def judge(proposal: Proposal) -> Vote:
        return Vote.accept()

    newer, older = parameter(2, 9).parameter, parameter(1, 1, name="size").parameter

    def reply(request: Request) -> Reply:
        match request:
            case Read(query=ParameterQuery()):
                return Found(9, 0.0, False, parameters=(newer, older))
            case Read(query=ProposalQuery()):
                return Found(9, 0.0, False, proposals=(proposal(),))
            case _:
                return usual(request)

    peer.reply = reply
    peer.tell(Dropped(PEER, "slow_listener", "", 2))
    await eventually(lambda: any(isinstance(one, CastVote) for one in peer.commands()))
    await eventually(lambda: applied == [("rate", 2)])
    # Heard of again, it is no other version.
    peer.tell(Dropped(PEER, "slow_listener", "", 1))
    peer.tell(ParameterChanged(newer))
    peer.tell(parameter(3, 10))
    await eventually(lambda: applied == [("rate", 2), ("rate", 3)])
    await agent.close()
