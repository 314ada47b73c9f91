"""Who is here: the members that this peer knows, and whether they answer.

It decides each member's state as this peer sees it: alive, suspect, dead or left. A verdict is a
hint to elections and departures; it never changes voters. Called by `node` alone.

SWIM (Das et al. 2002) with Lifeguard (Dadgar et al. 2018); where it departs from them stands in
docs/divergence.md#failure-detection.

Rules
1. Only an answer to a question of this peer, direct or by way of another, is a sign of life.
2. A peer that was itself starved of time forgives the others as much silence, and is more patient
   from then on.
3. A record gives way to a newer one alone: (epoch, incarnation, state). Only the member itself
   raises its incarnation; so nobody comes back from suspicion or death but by its own word.
4. A suspect is told so before anything else, and refutes by a greater incarnation.
5. Leaving is a member's own word, and final for that epoch.
6. Who is dead or has left is remembered: longer than old news of it can travel.
7. News of an unknown peer counts if it comes from a member of the same formed cluster; else, or if
   its name is taken, it is only a hint where to greet.
8. Nobody is believed of another member's life what is far beyond the last that the member itself
   has said of it (`words`): so there is always room to refute.
"""

from collections.abc import Callable, Iterable
from math import inf
from random import Random

from msgspec.structs import replace

from mabeam_p2p.config import PROTOCOL_VERSION, Config, Limits, Timing
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import (
    Gossip,
    MembershipMessage,
    Probe,
    ProbeAck,
    ProbeReport,
    ProbeRequest,
    Rumour,
    Wanted,
)
from mabeam_p2p.protocol.core import Drop, Outbox
from mabeam_p2p.protocol.membership.health import Health
from mabeam_p2p.protocol.membership.probing import Errand, Probing
from mabeam_p2p.protocol.membership.records import Records
from mabeam_p2p.protocol.membership.suspicion import least_seconds
from mabeam_p2p.protocol.membership.words import EPOCH_SHIFT
from mabeam_p2p.records import Doubt, Hearing, Member, MemberState, Standing

RETRIES_MAX = 4
"""Members that are asked again in one interval because they have not answered."""

GOODBYES_MAX = 16
"""Members that a leaving one tells itself, besides voters; the others hear it from them."""

PULLS = 2
"""Members that a newcomer asks for their whole table once it belongs to the cluster."""

SILENCE_BEFORE_DETOUR = 3
"""Part of the time until suspicion after which others are asked to ask."""


class Membership:
    """The table of members, from one peer's point of view.

    trusts: whether a peer is known to be of the formed cluster that this one is of. drop: told of
    what nobody can have said.
    """

    def __init__(
        self,
        mine: Member,
        *,
        timing: Timing,
        limits: Limits,
        random: Random,
        outbox: Outbox,
        now: float,
        drop: Drop,
        trusts: Callable[[PeerId], bool] = lambda peer: True,
    ) -> None:
        self.health = Health()
        self._timing = timing
        self._limits = limits
        self._random = random
        self._outbox = outbox
        self._trusts = trusts
        self._probing = Probing(random)
        self._records = Records(
            mine,
            limits=limits,
            outbox=outbox,
            health=self.health,
            trusts=trusts,
            probing=self._probing,
            drop=drop,
        )
        self.changes = self._records.changes
        """Members whose record or state has changed; the owner takes and clears them."""
        self.forgotten = self._records.forgotten
        """Members that have left the table; the owner takes and clears them."""
        self.hints = self._records.hints
        """Addresses of peers that were heard of; the owner takes and clears them."""
        self._table = self._records.table
        self._standings: dict[PeerId, Standing] = {}
        self._voters: tuple[PeerId, ...] = ()
        self._answered_at: dict[PeerId, float] = {}
        self._contested: dict[PeerId, float] = {}
        """Members whose name somebody else wanted, and when: they are asked for a while."""
        self._probe_due = now
        self._sync_due = now
        self._ticked_at = now
        self._pulls = 0

    # ---- facts -------------------------------------------------------------------------------

    @property
    def mine(self) -> Member:
        """This peer's own record."""
        return self._records.mine

    def view(self) -> tuple[Member, ...]:
        """Every member known, this peer included, sorted by id."""
        return self._records.view()

    def find(self, peer: PeerId) -> Member | None:
        return self.mine if peer == self.mine.peer else self._table.members.get(peer)

    def is_buried(self, member: Member) -> bool:
        """Whether the last that was heard of it, before it was forgotten, is that it is gone, and
        this is no newer."""
        return self.find(member.peer) is None and self._table.graves.find(member) is not None

    def name_of(self, peer: PeerId) -> str:
        """Empty: no such member is known."""
        member = self.find(peer)
        return "" if member is None else member.name

    def is_here(self, peer: PeerId) -> bool:
        """Whether the peer is alive or merely suspect."""
        return self._records.is_here(peer)

    def here_count(self) -> int:
        """Members that are alive or suspect, this one included."""
        return self._records.here_count()

    def holder_of(self, name: str, peer: PeerId, address: str = "") -> PeerId | None:
        """A member that is here and has `name`, other than `peer`. One at `address` is none: who
        answers there now is somebody else."""
        return self._records.holder_of(name, peer, address)

    def standings(self) -> tuple[tuple[PeerId, Standing], ...]:
        """Where the members that are alive stand in the bully order, as far as they have told."""
        members = self._table.members
        return tuple(
            (peer, standing)
            for peer, standing in sorted(self._standings.items())
            if peer in members and members[peer].state is MemberState.ALIVE
        )

    def addresses(self, count: int) -> tuple[str, ...]:
        """Where to look for the cluster after a restart: of members first, of forgotten ones last.
        Everybody remembers those behind it in the order of ids, so that all are remembered."""
        return self._records.addresses(count)

    def hearing(self, peer: PeerId, now: float) -> Hearing | None:
        """What has become of this peer's questions to another member; None: it is none."""
        if peer not in self._table.members:
            return None
        answered_at, asked = self._answered_at.get(peer), self._probing.asked.get(peer)
        return Hearing(
            None if answered_at is None else now - answered_at,
            0 if asked is None else len(asked.questions),
            0.0 if asked is None else now - asked.since,
            self._timing.suspect_seconds * self.health.multiplier,
            () if asked is None else asked.relays or (),
            () if asked is None else tuple(asked.nacks),
        )

    def doubt(self, peer: PeerId, now: float) -> Doubt | None:
        """Who suspects a member, and for how long; None: nobody that this peer has heard of."""
        suspicion = self._records.suspicions.get(peer)
        if suspicion is None:
            return None
        timeout = suspicion.timeout(*self._refutation_terms())
        return Doubt(tuple(suspicion.accusers), now - suspicion.began_at, timeout)

    def gone_seconds(self, peer: PeerId, now: float) -> float | None:
        """Since when a member is dead or has left; None: it is here, or none."""
        since = self._table.gone.get(peer)
        return None if since is None else now - since

    def refutation_count(self, peer: PeerId) -> int:
        """How often it has come back from suspicion or death by its own word."""
        return self._records.refutation_counts.get(peer, 0)

    @property
    def unanswered_count(self) -> int:
        """Members that have not answered the last question yet."""
        return len(self._probing.asked)

    @property
    def rumour_count(self) -> int:
        """News that waits to be passed on."""
        return len(self._records.rumours)

    def next_deadline(self) -> float:
        return self._probe_due if self._table.members else inf

    # ---- verbs -------------------------------------------------------------------------------

    def set_voters(self, voters: tuple[PeerId, ...]) -> None:
        """Voters ask each other in every interval: an election compares what they answer."""
        mine = self.mine.peer
        self._voters = tuple(v for v in voters if v != mine) if mine in voters else ()

    def describe(
        self,
        *,
        eligible: bool | None = None,
        score: int | None = None,
        address: str | None = None,
    ) -> None:
        """Change this peer's own record: a greater incarnation, which travels as gossip."""
        mine = self.mine
        facts = replace(
            mine,
            eligible=mine.eligible if eligible is None else eligible,
            score=mine.score if score is None else score,
            address=mine.address if address is None else address,
        )
        if facts != mine and mine.state is not MemberState.LEFT:
            self._records.renew(facts, mine.incarnation)
            self.changes.append(self.mine)

    def joined(self) -> None:
        """This peer has come to belong to a formed cluster: ask for the whole of it."""
        self._pulls = PULLS

    def met(self, member: Member, now: float) -> bool:
        """A peer has introduced itself and is linked. Whether it comes anew, or back from what
        this peer took for its death: what was under way to it is lost."""
        is_new = member.peer not in self._table.members
        met = self._records.met(member, now)
        if met and is_new:
            self._probe_due = min(self._probe_due, now)
            self._answered_at[member.peer] = now
        return met

    def introduce(self, members: Iterable[Member]) -> None:
        """Members that are known from before, so that they are no news."""
        self._records.introduce(members)

    def contest(self, holder: PeerId, now: float) -> bool:
        """Somebody else wants the name of `holder`. Whether that one is certainly there: it has
        answered of late. If not it is asked, so that who comes again can be told."""
        if holder == self.mine.peer:
            return True
        if now - self._answered_at.get(holder, -inf) <= self._certain_seconds():
            return True
        if len(self._contested) < self._limits.candidates_max:
            self._contested[holder] = now
        return False

    def _certain_seconds(self) -> float:
        return 2 * self._timing.probe_interval_seconds

    def forget(self, peer: PeerId) -> None:
        """It is none of this cluster's members."""
        if peer in self._table.members:
            self._records.forget(peer)

    def leave(self) -> None:
        """Say goodbye: in a small cluster to everybody, else to voters and some others."""
        self._records.leave()
        here = [peer for peer in self._table.members if self._table.is_here(peer)]
        if len(here) > GOODBYES_MAX:
            near = [peer for peer in self._voters if peer in here]
            here = list(dict.fromkeys(near + self._random.sample(here, GOODBYES_MAX)))
        for peer in here:
            self._outbox.send(peer, Gossip((self.mine,)))

    def tick(self, standing: Standing, now: float) -> None:
        """Judge silence, ask, and tell."""
        late = now - self._ticked_at - 2 * self._timing.probe_interval_seconds
        self._ticked_at = now
        if self.mine.state is MemberState.LEFT:
            return
        if late > 0:
            self._forgive(late, now)
        self._judge_silence(now)
        self._judge_suspects(now)
        if now >= self._probe_due:
            self._probe_due = now + self._timing.probe_interval_seconds
            self._records.begin_interval()
            self._probe(standing, now)
            self._maybe_sync(now)
            self._records.forget_long_gone(self._timing.dead_retention_seconds, now)
            self._forget_sayings(now)

    def _forget_sayings(self, now: float) -> None:
        """Of those that are members no more, and of quarrels that have ended."""
        members = self._table.members
        if len(self._standings) + len(self._answered_at) > 2 * len(members):
            self._standings = {p: one for p, one in self._standings.items() if p in members}
            self._answered_at = {p: at for p, at in self._answered_at.items() if p in members}
        since = now - 2 * self._timing.greet_interval_seconds_max
        if self._contested:
            self._contested = {p: at for p, at in self._contested.items() if at >= since}

    # ---- asking ------------------------------------------------------------------------------

    def _probe(self, standing: Standing, now: float) -> None:
        for peer in self._due():
            if self._table.is_here(peer):
                number = self._probing.ask(peer, now)
                rumours = self._records.rumours_for(peer)
                self._outbox.send(peer, Probe(number, standing, rumours))

    def _due(self) -> dict[PeerId, None]:
        """Who is asked in this interval: the next of the round, and besides it who has not
        answered, whom this peer accuses, whose name is wanted, and the other voters."""
        due = dict.fromkeys(list(self._probing.asked)[:RETRIES_MAX])
        for peer, suspicion in self._records.suspicions.items():
            if len(due) >= RETRIES_MAX:
                break
            if self.mine.peer in suspicion.accusers:
                due[peer] = None
        due.update(dict.fromkeys(list(self._contested)[:RETRIES_MAX]))
        one = self._probing.next(self._table.is_here)
        if one is not None:
            due[one] = None
        due.update(dict.fromkeys(self._voters))
        return due

    def _maybe_sync(self, now: float) -> None:
        if now < self._sync_due:
            return
        self._sync_due = now + self._timing.sync_interval_seconds
        for peer in self._probing.draw(1, self._table.is_here):
            if self._pulls and self._trusts(peer):
                self._pulls -= 1
                self._outbox.send(peer, Gossip((self.mine,), Wanted.ALL))
            else:
                self._outbox.send(peer, Gossip(self._records.some(), Wanted.SOME))

    # ---- judging -----------------------------------------------------------------------------

    def _judge_silence(self, now: float) -> None:
        patience = self._timing.suspect_seconds * self.health.multiplier
        failed = []
        for peer, asked in self._probing.asked.items():
            silence = now - asked.since
            if silence >= patience or not self._table.is_here(peer):
                failed.append((peer, asked.missed_nack))
            elif silence * SILENCE_BEFORE_DETOUR >= patience and asked.relays is None:
                asked.relays = self._ask_others(peer, asked.questions[0][0], patience, now)
        for peer, missed_nack in failed:
            self._probing.forget(peer)
            if self._table.is_here(peer):
                if missed_nack:
                    self.health.worse()
                self._accuse(peer, now)
        for errand in self._probing.take_vain_errands(now):
            report = ProbeReport(errand.number, errand.target, answered=False)
            self._outbox.send(errand.requester, report)

    def _ask_others(
        self, target: PeerId, number: int, patience: float, now: float
    ) -> tuple[PeerId, ...]:
        """Indirect probes (SWIM §3.1), through members that seem well."""
        members, asked = self._table.members, self._probing.asked

        def fits(peer: PeerId) -> bool:
            member = members.get(peer)
            if member is None or member.state is not MemberState.ALIVE or peer == target:
                return False
            silent = asked.get(peer)
            return silent is None or (now - silent.since) * SILENCE_BEFORE_DETOUR < patience

        relays = self._probing.draw(self._limits.indirect_probes, fits)
        for relay in relays:
            request = ProbeRequest(number, target, self._records.rumours_for(relay))
            self._outbox.send(relay, request)
        return relays

    def _forgive(self, late: float, now: float) -> None:
        """Rule 2. Nothing came in that time, for nobody looked."""
        self.health.worse()
        self._probing.forgive(late, now)
        for suspicion in self._records.suspicions.values():
            suspicion.began_at = min(now, suspicion.began_at + late)

    def _accuse(self, peer: PeerId, now: float) -> None:
        member = self._table.members[peer]
        if member.state is MemberState.ALIVE:
            suspect = replace(member, state=MemberState.SUSPECT)
            self._records.take_in(suspect, self.mine.peer, now)
        elif member.state is MemberState.SUSPECT:
            self._records.confirm(member, self.mine.peer)

    def _judge_suspects(self, now: float) -> None:
        suspicions = self._records.suspicions
        if not suspicions:
            return
        least, others = self._refutation_terms()
        for peer, suspicion in list(suspicions.items()):
            if suspicion.is_over(least, others, now):
                dead = replace(self._table.members[peer], state=MemberState.DEAD)
                self._records.take_in(dead, None, now)

    def _refutation_terms(self) -> tuple[float, int]:
        """The least that a suspect is given, and how many could confirm a suspicion."""
        base = self._timing.dead_seconds - self._timing.suspect_seconds
        least = least_seconds(base, self.here_count())
        return least, self._table.here_count() - len(self._records.suspicions)

    # ---- reactions ---------------------------------------------------------------------------

    def receive(
        self, source: PeerId, message: MembershipMessage, standing: Standing, now: float
    ) -> None:
        if self.mine.state is MemberState.LEFT:
            return
        known = self._table.members.get(source)
        if known is None or known.state is MemberState.LEFT:
            self._records.heard_from_stranger(source, message, now)
            return
        match message:
            case Probe():
                self._standings[source] = message.standing
                self._on_rumours(source, message.rumours, now)
                rumours = self._records.rumours_for(source)
                self._outbox.send(source, ProbeAck(message.number, standing, rumours))
            case ProbeAck():
                self._standings[source] = message.standing
                self._on_rumours(source, message.rumours, now)
                self._on_ack(source, message.number, now)
            case ProbeRequest():
                self._on_rumours(source, message.rumours, now)
                self._on_request(source, message, standing, now)
            case ProbeReport():
                self._on_report(source, message)
            case Gossip():
                self._records.heard_table(source, message, now)

    def _on_rumours(self, source: PeerId, rumours: tuple[Rumour, ...], now: float) -> None:
        for rumour in rumours[: self._limits.rumours_per_message_max]:
            self._records.heard(source, rumour.member, rumour.accuser, now)

    def _on_ack(self, source: PeerId, number: int, now: float) -> None:
        if self._probing.answered(source, number):
            self.health.better()
            self._answered_at[source] = now
        errand = self._probing.errand_done(source, number)
        if errand is not None:
            report = ProbeReport(errand.number, source, answered=True)
            self._outbox.send(errand.requester, report)

    def _on_request(
        self, source: PeerId, request: ProbeRequest, standing: Standing, now: float
    ) -> None:
        target = request.target
        if not self._table.is_here(target):
            return
        due = now + self._timing.suspect_seconds / 2
        number = self._probing.run_errand(Errand(source, request.number, target, due))
        if number is not None:
            rumours = self._records.rumours_for(target)
            self._outbox.send(target, Probe(number, standing, rumours))

    def _on_report(self, source: PeerId, report: ProbeReport) -> None:
        asked = self._probing.asked.get(report.target)
        if asked is None or asked.relays is None or source not in asked.relays:
            return
        if report.answered:
            self._probing.answered(report.target, report.number)
        elif report.number == asked.questions[0][0]:
            asked.nacks[source] = None


def own_record(config: Config, peer: PeerId, address: str, epoch: int) -> Member:
    """This peer's own record; its incarnation begins above every one of an earlier epoch."""
    incarnation, eligible, score = epoch << EPOCH_SHIFT, config.eligible, config.score
    alive = MemberState.ALIVE
    return Member(
        peer, config.name, address, epoch, incarnation, alive, eligible, score, PROTOCOL_VERSION
    )
