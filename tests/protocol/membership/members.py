"""A Membership, the clock that it lives by, and others that a test plays."""

from random import Random

from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.effects import Effects, Send
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    Gossip,
    MembershipMessage,
    Message,
    Probe,
    ProbeAck,
    ProbeRequest,
    Rumour,
)
from mabeam_p2p.protocol.core import Drops, Outbox
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.records import Member, MemberState, Standing

ME, A, B, C, D, E = (PeerId(letter * 16) for letter in "0abcde")
ALIVE, SUSPECT, DEAD, LEFT = MemberState
TIMING = Timing(
    probe_interval_seconds=0.25,
    suspect_seconds=1.0,
    dead_seconds=3.0,
    dead_retention_seconds=20.0,
    sync_interval_seconds=1.0,
)
MINE = Standing(1, 1, 5, 0)
THEIRS = Standing(2, 9, 9, 0)


def member(
    peer: PeerId, epoch: int = 1, state: MemberState = ALIVE, name: str = "", raised: int = 0
) -> Member:
    """raised: how often it has raised its incarnation in that epoch."""
    incarnation = (epoch << 16) + raised
    return Member(peer, name or peer[0], f"host:{ord(peer[0])}", epoch, incarnation, state)


def others(count: int) -> list[Member]:
    """So many different ones, none of which has a letter."""
    return [
        Member(PeerId(f"1{number:015x}"), f"m{number}", f"host:{1000 + number}", 1, 1 << 16, ALIVE)
        for number in range(count)
    ]


class Table:
    """`met` are met at the start. Whoever is in `voters` is asked in every interval."""

    def __init__(
        self,
        *met: Member,
        limits: Limits | None = None,
        timing: Timing = TIMING,
        seed: int = 0,
        voters: tuple[PeerId, ...] = (),
        me: PeerId = ME,
    ) -> None:
        self.outbox = Outbox()
        self.now = 100.0
        self.timing = timing
        self.strangers: dict[PeerId, None] = {}
        """Those that are not known to be of this cluster."""
        self.core = Membership(
            member(me),
            timing=timing,
            limits=limits or Limits(),
            random=Random(seed),
            outbox=self.outbox,
            now=self.now,
            drop=Drops(self.outbox, 8).drop,
            trusts=lambda peer: peer not in self.strangers,
        )
        self.core.set_voters((me, *voters) if voters else ())
        self.asked: dict[PeerId, list[int]] = {}
        """Numbers of the questions to each, of the last interval that passed."""
        for one in met:
            assert self.core.met(one, self.now)
        self.core.changes.clear()
        self.outbox.take()

    def pass_time(self, seconds: float, *answering: PeerId) -> list[Send]:
        """Tick in every interval; `answering` answer what they are asked at once, and refute what
        they hear of themselves. What was sent, in order."""
        end = self.now + seconds
        sent: list[Send] = []
        while self.now < end - 1e-9:
            self.now += self.timing.probe_interval_seconds
            sent += self.tick(*answering)
        return sent

    def tick(self, *answering: PeerId) -> list[Send]:
        """Now."""
        self.core.tick(MINE, self.now)
        self.asked.clear()
        sent = [effect for effect in self.outbox.take() if isinstance(effect, Send)]
        for effect in sent:
            if isinstance(effect.message, Probe):
                self.asked.setdefault(effect.target, []).append(effect.message.number)
                if effect.target in answering:
                    self.answer(effect.target)
        return sent

    def answer(self, peer: PeerId, *rumours: Rumour) -> Effects:
        """`peer` answers what it was asked last."""
        return self.hear(peer, ProbeAck(self.asked[peer][-1], THEIRS, rumours))

    def hear(self, source: PeerId, message: MembershipMessage) -> Effects:
        self.core.receive(source, message, MINE, self.now)
        return self.outbox.take()

    def tell(self, source: PeerId, *records: Member, accuser: PeerId | None = None) -> Effects:
        """`source` tells news, by a probe of its own."""
        rumours = tuple(Rumour(record, accuser) for record in records)
        return self.hear(source, Probe(1, THEIRS, rumours))

    def state(self, peer: PeerId) -> MemberState:
        found = self.core.find(peer)
        assert found is not None
        return found.state

    def changes(self) -> list[tuple[PeerId, MemberState]]:
        changes = [(one.peer, one.state) for one in self.core.changes]
        self.core.changes.clear()
        return changes

    def time_until(self, peer: PeerId, state: MemberState, *answering: PeerId) -> float:
        """Seconds, while `answering` answer."""
        began = self.now
        while self.state(peer) is not state:
            assert self.now < began + 120.0, f"never {state.name}"
            self.pass_time(self.timing.probe_interval_seconds, *answering)
        return self.now - began


def messages(effects: Effects | list[Send], kind: type[Message], to: PeerId = ME) -> list[Message]:
    """Those of a kind that were sent; to one peer, if it is named."""
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Send)
        and isinstance(effect.message, kind)
        and to in (ME, effect.target)
    ]


def rumours_in(effects: Effects | list[Send]) -> list[Rumour]:
    """All news that was passed on."""
    return [
        rumour
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, Probe | ProbeAck | ProbeRequest)
        for rumour in effect.message.rumours
    ]


def goodbye(peer: PeerId, epoch: int = 1) -> Gossip:
    return Gossip((member(peer, epoch, LEFT),))
