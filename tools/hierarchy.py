"""Counts what reaches the leader of a large cluster with coordinators and without, in virtual time.

One agent on each peer. They vote on one proposal, each a moment after it has heard of it; then they
meet at one barrier. Peers know each other already, and probes are left out of the count: they
are the same either way.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, Arrive, CastVote, OpenProposal, OpenSession
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import AgentId, PeerId, ProposalId, SessionId
from mabeam_p2p.messages import Gossip, Hello, Message, Probe, ProbeAck
from mabeam_p2p.records import BarrierStatus, Choice, OnDeparture, Policy, ProposalStatus
from mabeam_p2p.requests import Answer, Failed, GenerationQuery, ProposalQuery, Submit, Suggest
from mabeam_p2p.testing.codec import RememberingCodec
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.weather import (
    SECOND,
    Agents,
    Faults,
    Network,
    Processes,
    Storage,
    Weather,
)
from mabeam_p2p.wire.codec import CborCodec

MILLISECOND = SECOND // 1_000
VOTERS = 5
NEVER = 1_000_000
"""More peers than there are: no coordinators."""
UNCOUNTED = (Hello, Gossip, Probe, ProbeAck)
EVERYBODY = Policy(accept_numerator=1, accept_denominator=1)
"""Nothing is decided before the last vote."""
MINUTE = 60 * SECOND


class Measured(NamedTuple):
    """What one ballot, or one barrier, cost."""

    messages: int
    """That reached the leader."""
    reports: int
    """Those of them that carried commands."""
    batches: int
    """That the leader appended."""
    seconds: float
    """From the first command to the end, as the last peer has heard of it."""


class Cluster:
    """So many peers that know each other and have a leader, with an agent on each."""

    def __init__(self, peers: int, relay_from: int, window: float, spread: float) -> None:
        """spread: seconds by which agents differ in the time they take to think."""
        # Slow probes: they would be nearly all that is simulated.
        timing = Timing(
            probe_interval_seconds=5.0,
            suspect_seconds=20.0,
            dead_seconds=40.0,
            relay_window_seconds=window,
        )
        limits = Limits(relay_from_peers=relay_from)
        weather = Weather(
            peers=peers,
            expect=min(peers, VOTERS),
            network=Network(delay=MILLISECOND // 2, jitter=100, ordered=True),
            storage=Storage(sync=MILLISECOND, jitter=200),
            processes=Processes(turn_inputs=64, turn=50),
            agents=Agents(),
            faults=Faults(),
            timing=timing,
            limits=limits,
        )
        self.simulator = Simulator("hierarchy", weather, RememberingCodec(CborCodec(limits)))
        self.simulator.on_send = self._count
        self.hosts = self.simulator.hosts
        self.counts: Counter[type[Message]] = Counter()
        self._spread = int(spread * SECOND)
        self._random = Random("thoughts")
        self._leader = PeerId("")
        self._form()

    def ballot(self) -> Measured:
        """Everybody accepts."""
        name = ProposalId("p")
        proposing = OpenProposal(
            _session(self.hosts[1]),
            2,
            name,
            "rate",
            b"\x01",
            "",
            b"",
            "all",
            MINUTE,
            None,
            EVERYBODY,
        )

        def voting(host: Host) -> AnyCommand:
            return CastVote(_session(host), 3, name, Choice.ACCEPT, 1_000, "as all do")

        def is_over(host: Host) -> bool:
            assert host.node is not None
            found = host.node.machine.find(ProposalQuery(name)).proposals
            return bool(found) and found[0].status is ProposalStatus.ACCEPTED

        began = self._begin()
        self._submit(self.hosts[1], proposing)
        self._until(lambda: all(self._has(host, name) for host in self.hosts))
        for host in self.hosts:
            self.simulator.after(self._thought(), self._submit, host, voting(host))
        return self._end(began, is_over)

    def barrier(self) -> Measured:
        """Everybody arrives."""
        parties = len(self.hosts)

        def is_over(host: Host) -> bool:
            assert host.node is not None
            found = host.node.machine.find(GenerationQuery("gate", 1)).generations
            return bool(found) and found[0].status is BarrierStatus.RELEASED

        began = self._begin()
        for host in self.hosts:
            arriving = Arrive(_session(host), 4, "gate", parties, MINUTE, OnDeparture.BREAK)
            self.simulator.after(self._thought(), self._submit, host, arriving)
        return self._end(began, is_over)

    # ---- what happens ------------------------------------------------------------------------

    def _form(self) -> None:
        """First the voters, who have a leader, then the others."""
        self._start(self.hosts[:VOTERS])
        self._until(self._led)
        # Else newcomers that see each other first would form a second cluster.
        self.simulator.weather = replace(self.simulator.weather, expect=len(self.hosts))
        self._start(self.hosts[VOTERS:])
        self._until(lambda: self._led() and self._met())
        leading = [h for h in self.hosts if h.node and h.node.replication.leadership is not None]
        self._leader = leading[0].peer
        for host in self.hosts:
            self._submit(host, _opening(host))
        self._until(lambda: all(self._agents(host) == len(self.hosts) for host in self.hosts))

    def _start(self, hosts: list[Host]) -> None:
        for host in hosts:
            known = tuple(other.address for other in self.hosts[: host.number])
            self.simulator.start(host)
            self.simulator.ask(host, Suggest(known))

    def _led(self) -> bool:
        leaders = {host.node.replication.leader for host in self.hosts if host.node}
        return len(leaders) == 1 and None not in leaders

    def _met(self) -> bool:
        nodes = [host.node for host in self.hosts if host.node]
        return all(len(node.membership.view()) == len(self.hosts) for node in nodes)

    def _agents(self, host: Host) -> int:
        assert host.node is not None
        machine = host.node.machine
        return sum(len(machine.agents_of(other.peer)) for other in self.hosts)

    def _has(self, host: Host, name: ProposalId) -> bool:
        assert host.node is not None
        return bool(host.node.machine.find(ProposalQuery(name)).proposals)

    def _thought(self) -> int:
        return self._random.randint(0, self._spread)

    def _submit(self, host: Host, command: AnyCommand) -> None:
        def reply(answer: Answer) -> None:
            assert not isinstance(answer, Failed), answer

        self.simulator.ask(host, Submit(command), reply)

    def _count(self, host: Host, target: PeerId, message: Message) -> None:
        if target == self._leader and not isinstance(message, UNCOUNTED):
            self.counts[type(message)] += 1

    def _begin(self) -> tuple[int, int]:
        self.counts.clear()
        return self.simulator.now, self._batches()

    def _end(self, began: tuple[int, int], is_over: Callable[[Host], bool]) -> Measured:
        self._until(lambda: all(map(is_over, self.hosts)))
        reports = {kind.__name__: count for kind, count in self.counts.items()}
        return Measured(
            messages=sum(self.counts.values()),
            reports=sum(reports.get(kind, 0) for kind in ("Forward", "Relayed", "Relay")),
            batches=self._batches() - began[1],
            seconds=(self.simulator.now - began[0]) / SECOND,
        )

    def _batches(self) -> int:
        leader = next(host for host in self.hosts if host.peer == self._leader)
        assert leader.node is not None
        log = leader.node.replication.log
        return sum(1 for _ in log.between(0, log.last_index))

    def _until(self, holds: Callable[[], bool], seconds: float = 120.0) -> None:
        bound = self.simulator.now + int(seconds * SECOND)
        while not holds():
            assert self.simulator.now < bound, f"not within {seconds} s of virtual time"
            self.simulator.run_until(self.simulator.now + MILLISECOND)


def _session(host: Host) -> SessionId:
    return SessionId(host.number + 1)


def _opening(host: Host) -> OpenSession:
    agent = AgentId(f"agent@peer-{host.number}")
    return OpenSession(_session(host), 1, agent, host.peer, host.disk.epoch, (), True, True)


def measure(peers: int, relay_from: int, window: float, spread: float) -> tuple[Measured, Measured]:
    """A ballot and a barrier."""
    cluster = Cluster(peers, relay_from, window, spread)
    return cluster.ballot(), cluster.barrier()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/hierarchy", description=__doc__)
    parser.add_argument("--peers", type=int, nargs="*", default=[16, 64, 256])
    parser.add_argument("--window", type=float, default=Timing().relay_window_seconds)
    parser.add_argument(
        "--spread", type=float, default=0.05, help="seconds of thought (default 0.05)"
    )
    options = parser.parse_args()
    print("| peers | coordinators | what | messages at the leader | reports | batches | ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for peers in options.peers:
        for relay_from in (NEVER, 1):
            done = measure(peers, relay_from, options.window, options.spread)
            for what, one in zip(("ballot", "barrier"), done, strict=True):
                way = "no" if relay_from == NEVER else "yes"
                print(
                    f"| {peers} | {way} | {what} | {one.messages} | {one.reports} | {one.batches} "
                    f"| {one.seconds * 1_000:.0f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
