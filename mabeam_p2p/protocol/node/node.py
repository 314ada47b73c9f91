"""One peer: the only place where the cores meet. Everything that enters or leaves a peer passes
here, in the simulator as in a process.

Notices go downward only: links -> membership -> bootstrap, election -> replication -> machine,
and membership -> variables. Which core hears which message stands in `dispatch`.

A turn is any number of `receive`, `request`, `stored` and `tick`, and then one `flush`: what was
gathered becomes one batch, one acknowledgement, one round of heartbeats.
"""

from math import inf
from random import Random

from mabeam_p2p.commands import CommandCodec, Configure, Noop
from mabeam_p2p.config import Config
from mabeam_p2p.effects import Effects
from mabeam_p2p.events import ClusterFormed
from mabeam_p2p.ids import CLUSTER_SESSION, INTEGER_MAX, ClusterId, PeerId
from mabeam_p2p.key_requests import GateRequest
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.machine.subjects import is_settled
from mabeam_p2p.messages import Frame, Heard, Hello, LogMessage, Message, Refuse
from mabeam_p2p.protocol.bootstrap import FIRST_TERM, Bootstrap
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.election import Election
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.protocol.node.application import Application
from mabeam_p2p.protocol.node.credentials import Keys
from mabeam_p2p.protocol.node.desk import Desk
from mabeam_p2p.protocol.node.dispatch import Dispatch
from mabeam_p2p.protocol.node.fitness import Fitness
from mabeam_p2p.protocol.node.handover import Handover
from mabeam_p2p.protocol.node.neighbours import Neighbours
from mabeam_p2p.protocol.node.report import Report
from mabeam_p2p.protocol.node.reporting import Reporting
from mabeam_p2p.protocol.node.succession import Succession
from mabeam_p2p.protocol.node.voting import Voting
from mabeam_p2p.protocol.replication import Replication, hard_state_of
from mabeam_p2p.protocol.room import Room
from mabeam_p2p.protocol.variables import Variables
from mabeam_p2p.protocol.versions import able_of, common_machine
from mabeam_p2p.protocol.waits import Waits
from mabeam_p2p.records import Able, Batch, Credentials, DiskUsage, MemberState, Recovered, Standing
from mabeam_p2p.requests import AgentQuery, Leave, Refused, Request

LOG_ID = 0
TENURE_SECONDS = 60.0


class Node:
    """One peer's protocol object. Verbs return what the world has to do, in order."""

    def __init__(
        self,
        config: Config,
        recovered: Recovered,
        address: str,
        codec: CommandCodec,
        random: Random,
        wall: float,
        now: float,
        able: Able | None = None,
    ) -> None:
        """`address`: where others reach this peer. `wall`: seconds since 1970 at `now`, for display
        and for hybrid clocks only. `able`: what its release can do; None: all that there is."""
        self.able = able or able_of(config)
        self.peer, self.config = recovered.peer, config
        self.started_at = now
        self.outbox = Outbox()
        self._codec = codec
        self._random = random
        self._seed = self._random.getrandbits(64)
        self._now = now
        self._wall = wall - now
        self._ticked = self._left = False
        self._make_cores(recovered, address, wall, now)
        self._join_cores(codec, recovered.epoch)
        self._application.restore(recovered.snapshot)

    def _stream(self, name: str) -> Random:
        """A core's own: how often one draws is nothing to the others."""
        return Random(f"{self._seed} {name}")

    def _make_cores(self, recovered: Recovered, address: str, wall: float, now: float) -> None:
        config, outbox = self.config, self.outbox
        timing, limits, epoch = config.timing, config.limits, recovered.epoch
        self._neighbours = Neighbours(
            config, recovered, address, random=self._stream("members"), outbox=outbox, now=now
        )
        self.links, self.membership = self._neighbours.links, self._neighbours.membership
        self.links.able = self.able
        self.bootstrap = Bootstrap(
            self.peer,
            config.expect,
            recovered.bootstrap,
            timing=timing,
            random=self._stream("bootstrap"),
            outbox=outbox,
            now=now,
        )
        self.links.cluster_id = self.bootstrap.cluster_id
        self.election = Election(self.peer, timing, self._stream("election"), now)
        self.replication = Replication(
            self.peer,
            hard_state=hard_state_of(recovered, LOG_ID),
            batches=recovered.batches,
            base=recovered.base,
            snapshot=recovered.snapshot,
            take_in=lambda snapshot: self._application.take_in(snapshot),
            room=Room(self._codec.decode_commands),
            timing=timing,
            limits=limits,
            outbox=outbox,
            now=now,
        )
        self.variables = Variables(
            self.peer,
            epoch,
            recovered.variables,
            timing,
            limits,
            self._stream("variables"),
            wall,
            now,
            outbox,
            recovered.marks,
        )
        self.machine = Machine(limits, self.able.machine)
        self.mail = Mail(
            self.peer,
            agents_in=self.machine.agents_in,
            agent=self.machine.agent,
            is_here=self._neighbours.is_reachable,
            name_of=self.membership.name_of,
            limits=limits,
            outbox=outbox,
            epoch=epoch,
        )

    def _join_cores(self, codec: CommandCodec, epoch: int) -> None:
        timing, limits, outbox = self.config.timing, self.config.limits, self.outbox
        self._fitness = Fitness(self.config, self.membership)
        self._reporting = Reporting(
            self.peer,
            encode=codec.encode_commands,
            propose=self.replication.propose,
            timing=timing,
            limits=limits,
            outbox=outbox,
            epoch=epoch,
            refusal=lambda: self.replication.refusal,
        )
        self.pending, self.relays = self._reporting.pending, self._reporting.relays
        self._handover = Handover(
            timing,
            margin=self.config.preference_margin,
            membership=self.membership,
            replication=self.replication,
            outbox=outbox,
            epoch=epoch,
        )
        self.waits = Waits(
            find=lambda query, is_fresh: self._application.find(query, is_fresh, self._now),
            is_settled=is_settled,
            timing=timing,
            limits=limits,
            outbox=outbox,
            epoch=epoch,
        )
        self._voting = Voting(
            self.config,
            membership=self.membership,
            replication=self.replication,
            machine=self.machine,
            codec=codec,
            outbox=outbox,
            epoch=epoch,
        )
        self._connect_cores(codec)

    def _connect_cores(self, codec: CommandCodec) -> None:
        timing, outbox = self.config.timing, self.outbox
        self._application = Application(
            self.machine,
            self.replication,
            self.pending,
            self.waits,
            self.mail,
            codec,
            self.config.limits,
            self.links.able_of,
            self._wall,
            outbox,
        )
        self._keys = Keys(self.links, self.membership, self.machine, codec)
        self._succession = Succession(
            timing,
            neighbours=self._neighbours,
            election=self.election,
            replication=self.replication,
            machine=self.machine,
            agents=lambda: self.machine.find(AgentQuery()).agents,
            codec=codec,
            admissions=self._keys.admissions,
        )
        self._dispatch = Dispatch(
            self.membership,
            self.bootstrap,
            self.election,
            self.replication,
            self.pending,
            self.relays,
            self.variables,
            self.mail,
            self._voting.changes,
            self._handover,
            self._keys,
            outbox,
        )
        self._open_desk()

    def _open_desk(self) -> None:
        self._report = Report(
            self.config,
            self.links,
            self.membership,
            self.bootstrap,
            self.replication,
            self.machine,
            self._application.freshness,
            self.variables,
            self.mail,
            self._fitness,
            self._succession.upgrading,
            self.outbox,
        )
        self._desk = Desk(
            self.config.timing,
            links=self.links,
            membership=self.membership,
            pending=self.pending,
            waits=self.waits,
            variables=self.variables,
            mail=self.mail,
            changes=self._voting.changes,
            application=self._application,
            report=self._report,
            handover=self._handover,
            fitness=self._fitness,
            keys=self._keys,
            outbox=self.outbox,
        )

    # ---- verbs -------------------------------------------------------------------------------

    def start(self, now: float) -> Effects:
        self._now = now
        self._begin_log()
        for address in self._neighbours.remembered:
            self.links.suggest(address, now)
        return self.flush(now)

    def receive(self, frame: Frame, now: float) -> Effects:
        """A frame from the network, decoded and within its limits."""
        self._now = now
        opened: bool | None = None
        for message in frame.messages:
            if isinstance(message, Hello):
                self._on_hello(frame, message, now)
                opened = None
            elif isinstance(message, Refuse):
                quorum = self.replication.has_quorum(now)
                if self.links.receive_refuse(frame, message, has_quorum=quorum):
                    self._application.refused(frame.source, message)
            else:
                if opened is None:
                    opened = self.links.opens(frame, self.membership.mine, now)
                if opened:
                    self._hear(frame, message, now)
        return self.outbox.take()

    def request(self, token: int, request: Request, now: float) -> Effects:
        """A wish of an agent or a program; exactly one Resolve of `token` follows, unless it is
        cancelled. Token 0 has nobody waiting."""
        self._now = now
        if isinstance(request, Leave):
            self._handover.leave(token, now)
        elif isinstance(request, GateRequest):
            self.outbox.resolve(token, Refused("no_keys", "this peer speaks without keys"))
        else:
            self._desk.request(token, request, now)
        return self.outbox.take()

    def moved(self, address: str, now: float) -> Effects:
        """Others reach this peer at another address from now on."""
        self._now = now
        self._neighbours.moved(address, now)
        return self.outbox.take()

    def cancel(self, token: int, now: float) -> Effects:
        """Nobody waits for this token any more."""
        self._now = now
        self._desk.cancel(token)
        return self.outbox.take()

    def stored(self, number: int, now: float, usage: DiskUsage | None = None) -> Effects:
        """Persist `number`, and every one before it, is durable. usage: how full the disk is then,
        if that is known."""
        self._now = now
        if usage is not None:
            self.replication.room.usage = usage
            self._application.disk_told(usage)
        self.replication.stored(number)
        self.bootstrap.stored(number)
        self._begin_log()
        return self.outbox.take()

    def tick(self, now: float) -> Effects:
        """Time has passed."""
        self._now = now
        self._ticked = True
        if self._left:
            return self.outbox.take()
        mine = self._standing(now)
        self.membership.set_voters(self.replication.voters)
        self.membership.tick(mine, now)
        self.links.tick(self.membership.mine, now)
        self.bootstrap.tick(now)
        self.replication.tick(now)
        self._handover.tick(mine, now)
        self._succession.tick(mine, now)
        self.variables.has_quorum = self.replication.has_quorum(now)
        self.variables.tick(now)
        self.pending.tick(now)
        self.waits.tick(now)
        self.mail.tick(now)
        self._voting.changes.tick(now)
        return self.outbox.take()

    def flush(self, now: float) -> Effects:
        """The end of a turn."""
        self._now = now
        self._carry_membership(now)
        self._carry_bootstrap(now)
        replication = self.replication
        if replication.leadership is not None:
            self._succession.do_duties(now)
        elif replication.is_elected:
            replication.lead((1, self._codec.encode_commands([Noop(CLUSTER_SESSION, 0)])), now)
        leader = self._usable_leader(now)
        self._voting.flush(leader[0] if leader else None, now)
        self._reporting.flush(leader, now)
        self.waits.flush(leader[0] if leader else None, replication.read, now)
        replication.flush(now)
        self._succession.flush(now)
        self._application.advance(now)
        self._keys.carry()
        self.links.ancestors = self.machine.configuration.ancestors
        self.links.machine_version = self.machine.version
        for number, index in replication.granted_reads:
            self.waits.granted(number, index, now)
        replication.granted_reads.clear()
        self.waits.applied(self.machine.applied_index)
        if not self._left:
            self._report.tell(self._ticked, now)
        # Behind what has led to it: who is answered that another leads has been told so.
        self._handover.flush(now)
        self._leave_if_due()
        self._ticked = False
        return self.outbox.take()

    def frame(self, target: PeerId, messages: tuple[Message, ...]) -> Frame:
        """The frame in which `messages` travel to `target` now."""
        return self.links.seal(target, messages)

    def credentials(self) -> Credentials:
        return self._keys.credentials

    def next_deadline(self) -> float:
        """When `tick` has something to do, in monotonic seconds."""
        if self._left:
            return inf
        behind = self.machine.applied_index < self.replication.commit_index
        if behind and self._application.unable is None:
            return self._now  # there is more to apply than one turn may take
        return min(
            self.membership.next_deadline(),
            self.links.next_deadline(),
            self.bootstrap.next_deadline(),
            self.replication.next_deadline(),
            self._succession.next_deadline(self._now),
            self._handover.next_deadline(),
            self.variables.next_deadline(),
            self._reporting.next_deadline(),
            self.waits.next_deadline(),
            self.mail.next_deadline(),
            self._voting.next_deadline(),
        )

    # ---- notices between the cores -----------------------------------------------------------

    def _hear(self, frame: Frame, message: Heard, now: float) -> None:
        """A message beyond acquaintance, from a peer that has been met."""
        self._neighbours.clusters[frame.source] = frame.cluster
        self.bootstrap.heard(frame.source, frame.cluster, now)
        if isinstance(message, LogMessage):
            if not frame.cluster or not self.bootstrap.adopt(frame.cluster):
                self.links.drop(frame.source, "cluster", "a log of another cluster", now)
                return
            self._begin_log()
        self._dispatch.hear(frame.source, message, self._standing(now), now)

    def _on_hello(self, frame: Frame, hello: Hello, now: float) -> None:
        if self._left:
            return
        known = self.membership.find(hello.member.peer)
        them = self._neighbours.greeted(frame, hello, now)
        if them is not None:
            self.replication.restarted(them.peer)
            if known is None or known.epoch != them.epoch:
                self._dispatch.restarted(them.peer)

    def _carry_membership(self, now: float) -> None:
        changes = self._neighbours.carry(now)
        self._dispatch.forget(self._neighbours.forgotten)
        if not changes:
            return
        for peer in self._neighbours.take_restarted():
            self.replication.restarted(peer)
            self._dispatch.restarted(peer)
        for member in changes:
            if member.state is MemberState.LEFT and self.replication.leader_left(member.peer):
                self.election.stand_in_turn(now)
        self._voting.set_learners(now)
        view = self.membership.view()
        self.variables.members(view, now)
        self.mail.members_changed()
        self.relays.members(view)

    def _carry_bootstrap(self, now: float) -> None:
        bootstrap = self.bootstrap
        if bootstrap.state.formed and self.links.cluster_id:
            return
        if bootstrap.is_open(now) and self.replication.log.last_index == 0 and not self._left:
            here = self._neighbours.alive_and_met()
            is_alone = not any(self._neighbours.clusters.get(peer) for peer in here)
            if is_alone and (voters := bootstrap.electorate(tuple(here))):
                self._offer(voters, now)
        bootstrap.tick(now)
        self._begin_log()

    def _offer(self, voters: tuple[PeerId, ...], now: float) -> None:
        cluster_id = ClusterId(f"{self._random.getrandbits(128):032x}")
        version, rules = common_machine(self.able, map(self.links.able_of, voters))
        command = Configure(CLUSTER_SESSION, 0, cluster_id, voters, version=version, rules=rules)
        clock = min(max(0, int((self._wall + now) * 1_000_000)), INTEGER_MAX // 2)
        blob = self._codec.encode_commands([command])
        self.bootstrap.offer(cluster_id, Batch(1, 1, FIRST_TERM, clock, blob, voters), now)

    def _begin_log(self) -> None:
        """Once the cluster has formed: its first batch into an empty log. Durable, its name."""
        state = self.bootstrap.state
        if not state.formed:
            return
        if self.bootstrap.cluster_id and not self.links.cluster_id:
            self._neighbours.formed(state.cluster_id)
            self.outbox.notify(ClusterFormed(state.cluster_id, state.voters))
        if state.first and self.replication.log.last_index == 0:
            self.replication.bootstrap(state.first[0])
            self._voting.set_learners(self._now)
            if state.coordinator == self.peer:
                self.election.stand_now(self._now)

    def _usable_leader(self, now: float) -> tuple[PeerId, int] | None:
        replication = self.replication
        if replication.leader is None or not replication.is_leader_heard(now):
            return None
        # What is asked during a handover waits for the successor.
        return None if replication.is_handing_over else (replication.leader, replication.term)

    # ---- facts -------------------------------------------------------------------------------

    def _standing(self, now: float) -> Standing:
        log = self.replication.log
        return self._fitness.standing(
            log.last_term,
            log.last_index,
            tenure=int((now - self.started_at) // TENURE_SECONDS),
            is_leaving=self._handover.is_leaving,
            is_disk_full=self.replication.room.is_short,
        )

    def _leave_if_due(self) -> None:
        if not self._handover.can_leave:
            return
        if not self._left:
            self._left = True
            self.replication.resign()
            self.membership.leave()
        self._handover.left()
