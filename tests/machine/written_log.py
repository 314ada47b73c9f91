"""A log written by the tests, and the machine that applies it.

Every batch is also applied to a second machine, freshly restored from a snapshot of the first one:
outcomes, events and digests must agree, so that each test is a test of snapshots too.
"""

from collections import Counter

from mabeam_p2p.commands import (
    AnyCommand,
    AppendJournal,
    Arrive,
    CastVote,
    CloseSession,
    Configure,
    DepartPeer,
    OpenProposal,
    OpenSession,
    Tick,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import BarrierChanged, MachineEvent
from mabeam_p2p.ids import CLUSTER_SESSION, AgentId, PeerId, ProposalId, SessionId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.records import (
    Batch,
    Choice,
    Generation,
    OnDeparture,
    Parameter,
    Policy,
    Proposal,
    ProposalStatus,
)
from mabeam_p2p.requests import GenerationQuery, Outcome, ParameterQuery, ProposalQuery, Refused

SECOND = 1_000_000
START = 1_000 * SECOND


def peer_id(number: int) -> PeerId:
    return PeerId(f"{number:016x}")


def reason(outcome: Outcome) -> str:
    """Why it was refused; empty if it was not."""
    return outcome.reason if isinstance(outcome, Refused) else ""


class WrittenLog:
    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.machine = Machine(self.limits)
        self.term = 1
        self.clock = START
        self.events: tuple[MachineEvent, ...] = ()
        """Of the last batch."""
        self._sequences: Counter[SessionId] = Counter()

    # ---- writing ---------------------------------------------------------------------------

    def append(self, *commands: AnyCommand) -> list[Outcome]:
        """Apply one batch, a microsecond after the last one."""
        self.clock += 1
        first = self.machine.applied_index + 1
        named = commands[0].voters if isinstance(commands[0], Configure) else ()
        voters = tuple(sorted(named))
        batch = Batch(first, len(commands), self.term, self.clock, b"", voters)
        replica = Machine(self.limits)
        replica.restore(self.machine.snapshot())
        assert replica.digest() == self.machine.digest()
        outcomes = self.machine.apply(batch, commands)
        self.events = self.machine.take_events()
        assert replica.apply(batch, commands) == outcomes
        assert replica.take_events() == self.events
        assert replica.snapshot() == self.machine.snapshot()
        assert replica.next_deadline() == self.machine.next_deadline()
        return outcomes

    def apply(self, command: AnyCommand) -> Outcome:
        return self.append(command)[0]

    def pass_time(self, microseconds: int) -> Outcome:
        """A Tick that many microseconds from now."""
        self.clock += microseconds - 1
        return self.apply(Tick(CLUSTER_SESSION, 0))

    def next(self, session: SessionId) -> int:
        """A fresh sequence number."""
        self._sequences[session] += 1
        return self._sequences[session]

    # ---- commands --------------------------------------------------------------------------

    def attach(
        self,
        name: str,
        *,
        session: int,
        peer: int = 1,
        epoch: int = 1,
        groups: tuple[str, ...] = (),
        participates: bool = True,
        lease: int = 0,
        yields: bool = False,
    ) -> Outcome:
        number = SessionId(session)
        sequence = self.next(number)
        agent = AgentId(f"{name}@p")
        return self.apply(
            OpenSession(
                number,
                sequence,
                agent,
                peer_id(peer),
                epoch,
                groups,
                participates,
                True,
                lease=lease,
                yields=yields,
            )
        )

    def attached(self, count: int, *, groups: tuple[str, ...] = ()) -> list[SessionId]:
        """Sessions 1 to `count` of the agents a1 to a<count>, each on the peer of its number."""
        for number in range(1, count + 1):
            outcome = self.attach(f"a{number}", session=number, peer=number, groups=groups)
            assert reason(outcome) == ""
        return [SessionId(number) for number in range(1, count + 1)]

    def propose(
        self,
        session: SessionId,
        proposal: str = "p",
        *,
        parameter: str = "rate",
        value: bytes = b"v",
        group: str = "all",
        base_version: int | None = None,
        policy: Policy | None = None,
        timeout: int = 30 * SECOND,
        rationale: str = "",
        metadata: bytes = b"",
        guard: int = 0,
    ) -> Outcome:
        return self.apply(
            OpenProposal(
                session,
                self.next(session),
                ProposalId(proposal),
                parameter,
                value,
                rationale,
                metadata,
                group,
                timeout,
                base_version,
                policy or Policy(),
                guard,
            )
        )

    def vote(
        self,
        session: SessionId,
        choice: Choice,
        proposal: str = "p",
        *,
        confidence: int = 500,
        rationale: str = "",
    ) -> Outcome:
        sequence = self.next(session)
        identity = ProposalId(proposal)
        return self.apply(CastVote(session, sequence, identity, choice, confidence, rationale))

    def arrive(
        self,
        session: SessionId,
        barrier: str = "b",
        *,
        parties: int = 3,
        timeout: int = 30 * SECOND,
        on_departure: OnDeparture = OnDeparture.BREAK,
        generation: int = 0,
        members: tuple[str, ...] = (),
        since: int = 0,
        present: bool = True,
        note: str = "",
    ) -> Outcome:
        """members: the parties are these, whatever `parties` says."""
        return self.apply(
            Arrive(
                session,
                self.next(session),
                barrier,
                len(members) or parties,
                timeout,
                on_departure,
                generation,
                tuple(map(AgentId, members)),
                since,
                present,
                note,
            )
        )

    def write(
        self, session: SessionId, item: bytes, journal: str = "j", *, capacity: int = 0
    ) -> Outcome:
        return self.apply(AppendJournal(session, self.next(session), journal, item, capacity))

    def close(self, session: SessionId, why: str = "closed") -> Outcome:
        return self.apply(CloseSession(session, self.next(session), why))

    def depart(self, peer: int, epoch: int = 1) -> Outcome:
        return self.apply(DepartPeer(CLUSTER_SESSION, 0, peer_id(peer), epoch, "dead"))

    # ---- questions -------------------------------------------------------------------------

    def proposal(self, proposal: str = "p") -> Proposal:
        (found,) = self.machine.find(ProposalQuery(ProposalId(proposal))).proposals
        return found

    def status(self, proposal: str = "p") -> ProposalStatus:
        return self.proposal(proposal).status

    def parameter(self, name: str = "rate") -> Parameter | None:
        found = self.machine.find(ParameterQuery(name)).parameters
        return found[0] if found else None

    def generation(self, barrier: str = "b", generation: int = 0) -> Generation | None:
        found = self.machine.find(GenerationQuery(barrier, generation)).generations
        return found[0] if found else None

    def generations_told(self) -> list[Generation]:
        return [event.generation for event in self.events if isinstance(event, BarrierChanged)]
