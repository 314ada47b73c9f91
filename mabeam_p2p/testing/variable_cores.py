"""Many peers' variables in virtual time: the cores alone, with disks that never wait.

For what a whole simulated cluster is too slow for: hundreds of peers, or tens of thousands of
writes. Peers know each other from the start; a link delivers after `delay` seconds and some more,
or not at all while it is cut, and each message takes a peer `cost` seconds to send and to receive.
I14 judges every record (`causality`).
"""

import heapq
from collections.abc import Callable, Iterable
from random import Random
from typing import assert_never

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Connect, Effect, Notify, Persist, Resolve, Send
from mabeam_p2p.events import VariableChanged
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import Message, VariableMessage
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.variables import Variables, dotted
from mabeam_p2p.records import Member, MemberState, Sibling
from mabeam_p2p.requests import Answer, SetVariables, VariableChange
from mabeam_p2p.testing.causality import Causality

WALL = 1_700_000_000.0
JITTER = 0.5
"""Part of the delay that is added at most."""


def values_held(core: Variables) -> dict[str, tuple[Sibling, ...]]:
    """What has a value, whoever still remembers what was deleted."""
    return {v.name: v.siblings for v in core.read("") if not dotted.is_deleted(v)}


class CorePeer:
    """One peer's core and what it has told its writers."""

    def __init__(self, number: int, cores: "VariableCores") -> None:
        self.number = number
        self.peer = PeerId(f"{number:016x}")
        self.side = 0
        """Who is on another side is not reached."""
        self.outbox = Outbox()
        self.answers: dict[int, Answer] = {}
        self.changed_at: dict[str, float] = {}
        """When each name changed last here."""
        self.tick_at = float("inf")
        self.busy_until = 0.0
        self.core = Variables(
            self.peer,
            1,
            (),
            cores.timing,
            cores.limits,
            Random(f"{cores.seed} {number}"),
            WALL + cores.now,
            cores.now,
            self.outbox,
        )


class VariableCores:
    """`count` peers. on_send: told of each message that leaves one."""

    def __init__(
        self,
        count: int,
        *,
        timing: Timing,
        limits: Limits,
        seed: int | str = 0,
        delay: float = 0.0005,
        cost: float = 0.0,
        on_send: Callable[[PeerId, PeerId, Message], None] | None = None,
    ) -> None:
        self.now = 100.0
        self.timing = timing
        self.limits = limits
        self.seed = seed
        self.causality = Causality()
        self._delay = delay
        self._cost = cost
        self._on_send = on_send
        self._random = Random(f"{seed} network")
        self._token = 0
        self._count = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self.peers = [CorePeer(number, self) for number in range(1, count + 1)]
        self._by_id = {peer.peer: peer for peer in self.peers}
        for peer in self.peers:
            self.causality.started(peer.peer, {}, None)
        self.tell_members()

    def tell_members(self) -> None:
        """Everybody sees those of its own side."""
        everybody = [
            (o, Member(o.peer, f"peer-{o.number}", "10.0.0.1:1", 1, 1, MemberState.ALIVE))
            for o in self.peers
        ]
        for peer in self.peers:
            members = tuple(member for other, member in everybody if other.side == peer.side)
            peer.core.members(members, self.now)
            self._settle(peer)

    def part(self, sides: Iterable[Iterable[CorePeer]]) -> None:
        """Only peers of one side reach each other; nobody is told."""
        for number, side in enumerate(sides):
            for peer in side:
                peer.side = number

    def heal(self) -> None:
        self.part([self.peers])

    def write(self, peer: CorePeer, *changes: VariableChange, wait: int = 0) -> int:
        """Returns the token of the request."""
        self._token += 1
        peer.core.write(self._token, SetVariables(changes, wait, None), self.now)
        self._settle(peer)
        return self._token

    def compare(self, peer: CorePeer, other: CorePeer) -> None:
        """Let `peer` begin to compare with `other`."""
        peer.core.compare_with(other.peer, self.now)
        self._settle(peer)

    def run(self, seconds: float) -> None:
        """Let everything happen that is due."""
        end = self.now + seconds
        heap = self._heap
        while heap and heap[0][0] <= end:
            moment, _, action = heapq.heappop(heap)
            self.now = max(self.now, moment)
            action()
        self.now = end

    def is_even(self) -> bool:
        """Whether all show the same values."""
        first = values_held(self.peers[0].core)
        return all(values_held(peer.core) == first for peer in self.peers[1:])

    # ---- what happens ------------------------------------------------------------------------

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, action))

    def _settle(self, peer: CorePeer) -> None:
        for effect in peer.outbox.take():
            self._take(peer, effect)
        due = peer.core.next_deadline()
        if due < peer.tick_at:
            peer.tick_at = due
            self._at(due, lambda: self._tick(peer, due))

    def _tick(self, peer: CorePeer, due: float) -> None:
        if peer.tick_at != due:
            return
        peer.tick_at = float("inf")
        peer.core.tick(self.now)
        self._settle(peer)

    def _take(self, peer: CorePeer, effect: Effect) -> None:
        match effect:
            case Persist():
                self.causality.persisted(peer.peer, effect.record)
            case Send():
                self._send(peer, effect.target, effect.message)
            case Notify(VariableChanged() as event):
                for variable in event.variables:
                    peer.changed_at[variable.name] = self.now
            case Resolve():
                peer.answers[effect.token] = effect.answer
            case Notify() | Connect():
                pass
            case _:
                assert_never(effect)

    def _send(self, source: CorePeer, target: PeerId, message: Message) -> None:
        assert isinstance(message, VariableMessage)
        if self._on_send is not None:
            self._on_send(source.peer, target, message)
        other = self._by_id[target]
        source.busy_until = max(self.now, source.busy_until) + self._cost
        delay = self._delay * (1 + JITTER * self._random.random())
        moment = source.busy_until + delay
        self._at(moment, lambda: self._deliver(source, other, message))

    def _deliver(self, source: CorePeer, target: CorePeer, message: VariableMessage) -> None:
        if self._cost:
            # One after the other.
            target.busy_until = max(self.now, target.busy_until) + self._cost
            self._at(target.busy_until, lambda: self._receive(source, target, message))
        else:
            self._receive(source, target, message)

    def _receive(self, source: CorePeer, target: CorePeer, message: VariableMessage) -> None:
        if source.side == target.side:
            target.core.receive(source.peer, message, self.now)
            self._settle(target)
