"""An agent whose peer comes back with another log believes it, and nothing of the former one."""

from collections.abc import Callable

from msgspec.structs import replace

from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.profiles import Profile
from mabeam_p2p.api.results import Change
from mabeam_p2p.commands import AcquireLock, ReleaseLock
from mabeam_p2p.events import ParameterChanged, SeatChanged, VariableChanged
from mabeam_p2p.ids import AgentId, ClusterId, PeerId, ProposalId
from mabeam_p2p.records import Claim, Lock, Parameter, Seat, Sibling, TaskWorker, Variable
from mabeam_p2p.requests import (
    Await,
    Committed,
    Found,
    LockQuery,
    ParameterQuery,
    Read,
    ReadStatus,
    Request,
    StatusAnswer,
    Submit,
    WorkQuery,
)
from mabeam_p2p.wire.cbor import encode_value
from tests.api.fakes import FakePeer, Reply, attachment, status, usual
from tests.eventually import eventually
from tests.in_loop import in_loop

ACTOR = PeerId("1" * 16)


def agent_at(peer: FakePeer) -> Agent:
    return Agent(attachment(peer), Profile("a"))


def parameter(value: int, version: int, name: str = "rate") -> Parameter:
    return Parameter(name, encode_value(value, 100), version, ProposalId("x"), version)


def of_log(cluster_id: str, *there: Parameter) -> Callable[[Request], Reply]:
    """A healthy peer of this cluster, in which these were agreed. Empty: of none yet."""

    def reply(request: Request) -> Reply:
        match request:
            case Read(query=ParameterQuery()):
                return Found(3, 0.0, False, parameters=there)
            case ReadStatus():
                return StatusAnswer(replace(status(), cluster_id=ClusterId(cluster_id)))
            case _:
                return usual(request)

    return reply


@in_loop
async def test_versions_that_begin_anew_are_believed_and_put_into_effect() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    peer.reply = of_log("1" * 32, parameter(1, 500), parameter(1, 500, "gone"))
    await agent.session.open()
    await agent._attachment.read_anew()
    agent.begin()
    watch = agent.parameters.watch("rate")
    assert (await anext(watch)).initial
    applied: list[tuple[str, object]] = []

    @agent.on_parameter("*")
    async def apply(change: Change) -> None:
        applied.append((change.name, change.value))

    peer.reply = of_log("2" * 32, parameter(-2, 2))
    peer.tell(ParameterChanged(parameter(-1, 1)))
    assert agent.parameters["rate"] == 1, "nobody has said yet that it is another log"
    await agent.session.renew()
    assert agent.parameters["rate"] == -2
    assert list(agent.parameters) == ["rate"]
    await eventually(lambda: applied == [("rate", -2)])
    change = await anext(watch)
    assert (change.name, change.value, change.version) == ("rate", -2, 2)
    # Read once more it is the same log.
    await agent.session.renew()
    peer.tell(ParameterChanged(parameter(-3, 3)))
    await eventually(lambda: len(applied) > 1)
    assert applied == [("rate", -2), ("rate", -3)]
    await agent.close()


@in_loop
async def test_seats_and_variables_of_the_former_cluster_are_forgotten() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent._attachment.read_anew()
    sibling = Sibling(ACTOR, 1, 1, encode_value(1, 100))
    peer.tell(VariableChanged((Variable("v", "lww", ((ACTOR, 1),), (sibling,)),), ACTOR))
    peer.tell(SeatChanged(Seat("judge", "all", AgentId("a@ant"), 500, 500, 500, "elected")))
    assert agent.variables["v"] == 1
    assert agent.seat("judge").holder == "a@ant"
    changed = agent.variables.watch()
    peer.reply = of_log("2" * 32)
    await agent._attachment.read_anew()
    assert list(agent.variables) == []
    assert agent.seat("judge").holder is None
    # What waited to be told is not there any more.
    assert changed._take() is None


@in_loop
async def test_a_lock_is_lost_with_its_log_though_the_other_one_has_not_come_so_far() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    await agent.session.open()
    await agent._attachment.read_anew()

    def granting(request: Request) -> Reply:
        match request:
            case Submit(command=AcquireLock() | ReleaseLock()):
                return Committed(7, 1, 7)
            case Read(query=LockQuery()):
                claim = Claim(7, AgentId("a@ant"), 2, 1, 0, 7)
                return Found(9, 0.0, True, locks=(Lock("x", 1, (claim,)),))
            case _:
                return usual(request)

    peer.reply = granting
    lease = await agent.lock("x").acquire()
    told: list[str] = []
    lease.on_lost(told.append)
    peer.reply = of_log("2" * 32)
    await agent._attachment.read_anew()
    assert lease.is_lost
    assert told == ["another log has taken the place of the one that granted it"]
    # Mended by `mabeam repair` it may know the lock: it shall not think otherwise.
    await eventually(lambda: any(isinstance(one, ReleaseLock) for one in peer.commands()))
    await agent.close()


@in_loop
async def test_a_worker_asks_for_work_from_the_beginning_of_the_other_log() -> None:
    peer = FakePeer()
    agent = agent_at(peer)

    def working(cluster_id: str, index: int) -> Callable[[Request], Reply]:
        """A log in which the worker's record changed at this index."""
        others = of_log(cluster_id)

        def reply(request: Request) -> Reply:
            match request:
                case Await(query=WorkQuery(seen_index=seen)):
                    worker = TaskWorker(AgentId("a@ant"), ("f",), 4, 0, 0, 0, 1000, False, index)
                    return Found(index, 0.0, False, workers=(worker,)) if seen < index else None
                case _:
                    return others(request)

        return reply

    def asked() -> list[int]:
        queries = [one.query for one in peer.asked if isinstance(one, Await)]
        return [query.seen_index for query in queries if isinstance(query, WorkQuery)]

    peer.reply = working("1" * 32, 5000)
    await agent.session.open()
    await agent._attachment.read_anew()
    agent.begin()
    agent.task(name="f")(lambda: None)
    await agent.work()
    await eventually(lambda: asked() == [0, 5000])
    peer.reply = working("2" * 32, 12)
    await agent.session.renew()
    await eventually(lambda: asked() == [0, 5000, 0, 12])
    await agent.close()


@in_loop
async def test_what_ended_in_the_former_log_ends_nothing_in_the_other() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    agent._grants._ends[7] = "its lease was over"
    agent._grants.forget()
    assert not agent._grants._ends


@in_loop
async def test_a_log_that_begins_and_one_that_is_read_again_are_no_other_logs() -> None:
    peer = FakePeer()
    agent = agent_at(peer)
    others: list[None] = []
    agent._attachment.on_other_log(lambda: others.append(None))
    for cluster_id in ("", "1" * 32, "", "1" * 32):
        peer.reply = of_log(cluster_id)
        await agent._attachment.read_anew()
    assert others == []
    peer.reply = of_log("2" * 32)
    await agent._attachment.read_anew()
    assert others == [None]
