"""The blocking names are the same names, and they do the same."""

import inspect
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

import mabeam_p2p
from mabeam_p2p import Proposal, Vote, blocking
from mabeam_p2p.api import (
    agent,
    barriers,
    budgets,
    connecting,
    counters,
    grants,
    journals,
    keys,
    leadership,
    ledger,
    locks,
    market,
    parameters,
    peer,
    queues,
    reputations,
    streams,
    tasks,
)
from mabeam_p2p.api import variables as shared
from tests.cli.daemons import until

PAIRS = {
    "Market": (market.Market, blocking.Market),
    "Agent": (agent.Agent, blocking.Agent),
    "Barrier": (barriers.Barrier, blocking.Barrier),
    "Counter": (counters.Counter, blocking.Counter),
    "Delivery": (queues.Delivery, blocking.Delivery),
    "Batch": (shared.Batch, blocking.Batch),
    "Budget": (budgets.Budget, blocking.Budget),
    "Group": (agent.Group, blocking.Group),
    "Hold": (ledger.Hold, blocking.Hold),
    "Journal": (journals.Journal, blocking.Journal),
    "Ledger": (ledger.Ledger, blocking.Ledger),
    "Keys": (keys.Keys, blocking.Keys),
    "Leadership": (leadership.Leadership, blocking.Leadership),
    "Lease": (grants.Lease, blocking.Lease),
    "Lock": (locks.Lock, blocking.Lock),
    "Queue": (queues.Queue, blocking.Queue),
    "ReadWriteLock": (locks.ReadWriteLock, blocking.ReadWriteLock),
    "Parameters": (parameters.Parameters, blocking.Parameters),
    "Peer": (peer.Peer, blocking.Peer),
    "Reputations": (reputations.Reputations, blocking.Reputations),
    "Reservation": (budgets.Reservation, blocking.Reservation),
    "TaskHandle": (tasks.TaskHandle, blocking.TaskHandle),
    "TaskStream": (tasks.TaskStream, blocking.TaskStream),
    "Variables": (shared.Variables, blocking.Variables),
}

INSIDE = {
    "Market": {"commit_seal", "prepared"},
    # Between the parts of the package, not for users.
    "Agent": {"begin", "lost", "on_close", "session"},
    "Leadership": {"begin", "end", "error"},
    "Delivery": {"doubt", "extend", "has_lease", "lose", "lost_error", "query", "session"},
    "Lease": {"doubt", "extend", "has_lease", "lose", "lost_error", "query", "session"},
    "TaskStream": {"put", "end", "ending"},
    "Parameters": {"within"},
    "Variables": {"within"},
}


def public(kind: object) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def shape(function: object) -> list[tuple[str, object, object]]:
    """Name, kind and default of each parameter."""
    assert callable(function)
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize("name", PAIRS)
def test_blocking_class_has_the_same_names_with_the_same_parameters(name: str) -> None:
    awaited, plain = PAIRS[name]
    assert public(plain) == public(awaited) - INSIDE.get(name, set())
    for method in public(plain):
        one, other = getattr(awaited, method), getattr(plain, method)
        assert isinstance(one, property) == isinstance(other, property)
        if callable(one):
            assert shape(one) == shape(other), method


@pytest.mark.parametrize("name", ["join", "connect"])
def test_entrances_take_the_same_arguments(name: str) -> None:
    awaited = {"join": peer.join, "connect": connecting.connect}[name]
    assert shape(awaited) == shape(getattr(blocking, name))


def test_every_handle_of_the_package_has_a_blocking_one() -> None:
    handles = {
        name
        for name in mabeam_p2p.__all__
        if inspect.isclass(found := getattr(mabeam_p2p, name))
        and any(inspect.iscoroutinefunction(member) for member in vars(found).values())
    }
    assert handles <= set(PAIRS)
    assert set(PAIRS) <= set(blocking.__all__)
    assert "close" in public(streams.Stream) & public(blocking.Stream)


@contextmanager
def three_agents() -> Iterator[list[blocking.Agent]]:
    """One agent on each of three peers, once each knows the others."""
    seeds: list[str] = []
    peers = []
    for number in range(3):
        config = mabeam_p2p.Config(
            name=f"p{number}", mdns=False, data_dir=":memory:", seeds=tuple(seeds)
        )
        host = blocking.Peer(config)
        host.start()
        seeds.append(host.status().address)
        peers.append(host)
    try:
        made = [host.agent("a") for host in peers]
        until(lambda: all(len(one.members()) == 3 for one in made))
        yield made
    finally:
        closers = [threading.Thread(target=host.close) for host in peers]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(30)


@pytest.mark.slow
def test_blocking_agents_decide_share_and_meet() -> None:
    with three_agents() as agents:
        assert public(agents[0]) == public(agents[0]._own) - INSIDE["Agent"]
        for one in agents:

            @one.on_proposal("rate")
            def judge(proposal: Proposal, one: blocking.Agent = one) -> Vote:
                # A plain evaluator may ask the blocking agent itself.
                return Vote.accept(f"{len(one.members())} members")

        decision = agents[0].propose("rate", 0.5)
        assert (decision.accepted, agents[0].parameters["rate"]) == (True, 0.5)
        agents[0].variables.set("epsilon", 1, wait="all")
        changes = agents[1].variables.watch("epsilon")
        assert next(changes).value == 1
        with agents[0].variables.batch(wait="all") as batch:
            batch["epsilon"] = 2
        assert next(iter(changes)).value == 2
        changes.close()
        with pytest.raises(StopIteration):
            next(changes)
        inside = []

        def enter(one: blocking.Agent) -> None:
            with one.barrier("epoch", parties=3) as release:
                inside.append(release.order)

        threads = [threading.Thread(target=enter, args=(one,)) for one in agents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(inside) == [0, 1, 2]
        assert agents[2].journal("run").append("x") == 1
        assert agents[1].journal("run").read()[0].value == "x"


@pytest.mark.slow
def test_blocking_agents_work_for_each_other_and_gather_bytes() -> None:
    with three_agents() as agents:
        alone = agents[0].broadcast("model", b"weights", parties=1)
        assert (alone.value, alone.parties) == (b"weights", (agents[0].id,))
        assert agents[0].gather("all", b"x", parties=1).value == {agents[0].id: b"x"}

        @agents[1].task(name="square")
        def square(x: int) -> int:
            # A plain task may ask the blocking agent itself.
            return x * x + len(agents[1].members()) - 3

        agents[1].work(slots=2)
        assert agents[0].submit("square", 5) == 25
        with agents[0].map("square", range(4)) as results:
            assert sorted(result.value for result in results) == [0, 1, 4, 9]
            assert (results.done, results.total) == (4, 4)
        handle = agents[0].submit_task("square", 6)
        assert (handle.result(30).value, handle.status().status) == (36, "done")
        assert [worker.agent for worker in agents[0].workers()] == [agents[1].id]
        assert len(agents[0].tasks("done", level="linearizable")) == 6


def test_call_from_its_own_loop_is_refused_instead_of_waiting_for_itself() -> None:
    from mabeam_p2p.blocking.loop import LOOP

    def inner() -> int:
        return LOOP.call(lambda: 1)

    assert LOOP.call(lambda: 2) == 2
    with pytest.raises(RuntimeError, match="plain function"):
        LOOP.call(inner)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_begins_a_loop_of_its_own() -> None:
    from mabeam_p2p.blocking.loop import LOOP

    def forked(generations: int) -> int:
        """The exit code of a child that has so many below it, each of which uses the loop."""
        child = os.fork()
        if child == 0:
            # In place of waiting for ever, as for a thread that is in another process.
            signal.alarm(30)
            is_right = LOOP.call(lambda: 1) == 1
            os._exit(0 if is_right and (not generations or not forked(generations - 1)) else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert LOOP.call(lambda: 1) == 1
    assert forked(2) == 0


@pytest.mark.slow
def test_blocking_agents_trade() -> None:
    config = mabeam_p2p.Config(name="p", mdns=False, data_dir=":memory:", expect=1)
    with blocking.Peer(config) as host:
        seller, buyer = host.agent("seller"), host.agent("buyer")
        seller.ledger.mint("coin", 10, account=buyer.id)

        @buyer.bidder("gpu-*")
        def bid(lot: mabeam_p2p.Auction) -> mabeam_p2p.Bid:
            # A plain bidder may ask the blocking agent itself.
            return mabeam_p2p.Bid(buyer.ledger.balance("coin", account=buyer.id))

        ended = seller.auction("gpu-hour", reserve=4, currency="coin", timeout=3, reveal=10)
        (award,) = ended.awards
        assert (award.bidder, award.payment) == (buyer.id, Decimal(4))
        assert seller.auctions() == (ended,)
        lot = seller.market.open("disk", rule="english", increment=1, timeout=60)
        assert buyer.market.bid(lot.id, 3) == 1
        with pytest.raises(mabeam_p2p.AuctionTimeout):
            seller.market.wait(lot.id, timeout=0.1)
