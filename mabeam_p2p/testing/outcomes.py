"""What committed commands come to, judged beside every peer: I8, I9, I12, I13 and what follows, and
honest answers.

A machine of our own applies the one committed log; every peer's machine must equal it at the same
index, and every answer must be what it says. What the machine itself decides about sessions,
barriers and ballots is tested against rules written anew here, from the definitions.
"""

from mabeam_p2p.commands import (
    Arrive,
    AuctionCommand,
    CloseSession,
    Command,
    OpenSession,
)
from mabeam_p2p.config import Limits
from mabeam_p2p.events import (
    AgentJoined,
    AgentLeft,
    BarrierChanged,
    JournalAppended,
    MachineEvent,
    ProposalDecided,
    ProposalOpened,
)
from mabeam_p2p.ids import AgentId, PeerId
from mabeam_p2p.machine.machine import Machine
from mabeam_p2p.ports import Codec
from mabeam_p2p.records import (
    BarrierStatus,
    Batch,
    Choice,
    Generation,
    Journal,
    OnDeparture,
    Proposal,
    ProposalStatus,
)
from mabeam_p2p.requests import Answer, Committed, Failed, Outcome, Refused
from mabeam_p2p.testing.auctions import AuctionJudge
from mabeam_p2p.testing.audits import Audit
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.lines import LineJudge
from mabeam_p2p.testing.parameters import ParameterJudge
from mabeam_p2p.testing.seats import SeatJudge
from mabeam_p2p.testing.tasks import TaskJudge

DONE_NOT = ("no_quorum", "overloaded", "disk_full", "closed")
"""Reasons of Failed that say: certainly not done."""

CommandKey = tuple[int, int]
"""(session, sequence)."""


class Outcomes:
    """Hears the committed log, and every answer."""

    def __init__(self, codec: Codec, limits: Limits) -> None:
        self.machine = Machine(limits)
        self.effects: dict[CommandKey, Outcome] = {}
        """What the first copy of each command came to."""
        self.generations: dict[tuple[str, int], Generation] = {}
        self.opened: dict[str, Proposal] = {}
        """Not decided yet; as they were opened."""
        self.decided: dict[str, Proposal] = {}
        self.journals: dict[str, Journal] = {}
        """The last item of each journal, as it was told."""
        self.denied: dict[CommandKey, str] = {}
        """Commands whose asker was told that they certainly did not happen."""
        self.tasks = TaskJudge()
        self.parameters = ParameterJudge()
        self.seats = SeatJudge()
        self.auctions = AuctionJudge()
        self.audit = Audit(limits.operations_max)
        self.lines = LineJudge()
        self._codec = codec
        self._digests: dict[int, int] = {}
        self._arrivals: dict[tuple[str, AgentId], int] = {}
        self._agents: dict[int, AgentId] = {}
        self._leases: dict[int, tuple[int, int]] = {}
        """For each live session that has one: its lease, and its end if nothing more is said."""
        self._epochs: dict[int, int] = {}
        self._clock = 0
        self._joined: dict[AgentId, int] = {}
        """Who is there, and since which index."""
        self._met: dict[tuple[str, int, tuple[AgentId, ...]], int] = {}
        """Generations in which named members have met."""

    # ---- the committed log -------------------------------------------------------------------

    def committed(self, batch: Batch) -> None:
        """Called once for every committed batch, in order."""
        commands = self._codec.decode_commands(batch.count, batch.blob)
        outcomes = self.machine.apply(batch, commands)
        self._clock = max(self._clock, batch.clock)
        events = self.machine.take_events()
        self._ends_leases(events)
        if len(outcomes) != len(commands):
            raise Violation("I8", f"{len(outcomes)} outcomes for {len(commands)} commands")
        for command, outcome in zip(commands, outcomes, strict=True):
            self._took_effect(command, outcome)
            self._renews(command, outcome)
            self.tasks.took_effect(command, outcome, self._clock)
            self.seats.took_effect(command, outcome)
            self.lines.took_effect(command, outcome)
            if command.session in self._agents:
                agent = self._agents[command.session]
                self.parameters.took_effect(agent, command, outcome)
                if isinstance(command, AuctionCommand):
                    self.auctions.took_effect(agent, command, outcome, self._clock)
        for event in events:
            self._happened(event)
            self.parameters.happened(event, self._clock)
            self.tasks.happened(event)
            self.seats.happened(event)
            self.auctions.happened(event)
            self.audit.happened(event)
            self.lines.happened(event)
        self.parameters.passed(self._clock)
        self.tasks.passed(self._clock)
        self.seats.passed(self._clock)
        self.audit.compare(self.machine)
        self.lines.batch_ended()
        self.lines.judge_waiting(self.machine)
        self.auctions.judge_holds(self.machine)

    def digest_equals(self, peer: PeerId, machine: Machine) -> None:
        """I8: compare `machine` with ours, or with another peer's at the same index."""
        index = machine.applied_index
        if index > self.machine.applied_index:
            return  # A founder whose disk has no cluster yet: it may found another after a crash.
        digest = machine.digest()
        if index == self.machine.applied_index:
            self._digests[index] = self.machine.digest()
        if self._digests.setdefault(index, digest) != digest:
            raise Violation("I8", f"{peer} has another state at {index}")

    def _took_effect(self, command: Command, outcome: Outcome) -> None:
        if isinstance(command, OpenSession) and isinstance(outcome, Committed):
            self._agents[command.session] = command.agent
        elif isinstance(command, Arrive) and command.present and command.session in self._agents:
            key = command.barrier, self._agents[command.session]
            self._arrivals[key] = self._arrivals.get(key, 0) + 1
        if not command.session:
            return
        place = command.session, command.sequence
        first = self.effects.setdefault(place, outcome)
        # A copy that comes after the session has ended is refused; it has no second effect.
        if outcome != first and isinstance(outcome, Committed):
            raise Violation("I9", f"{command} came to {first}, and again to {outcome}")
        if isinstance(first, Committed) and place in self.denied:
            raise Violation("answers", f"denied ({self.denied[place]}), yet done: {command}")

    def _ends_leases(self, events: tuple[MachineEvent, ...]) -> None:
        """A lease ends its session in the first batch that has come to its end, and not before."""
        due = [session for session, (_, end) in self._leases.items() if end <= self._clock]
        ended = [
            event.agent.session
            for event in events
            if isinstance(event, AgentLeft) and event.reason == "lease expired"
        ]
        if sorted(due) != sorted(ended):
            raise Violation(
                "lease", f"at {self._clock} those of {due} were due, {ended} have ended"
            )
        for session in due:
            del self._leases[session]

    def _renews(self, command: Command, outcome: Outcome) -> None:
        lease, _ = self._leases.get(command.session, (0, 0))
        if isinstance(command, OpenSession):
            # Again from a higher epoch it is a sign of life; a late copy is none.
            epoch = self._epochs.get(command.session, -1)
            if isinstance(outcome, Committed) and command.epoch > epoch:
                self._epochs[command.session] = command.epoch
                lease = command.lease
            else:
                return
        if lease:
            self._leases[command.session] = lease, self._clock + lease

    # ---- answers -----------------------------------------------------------------------------

    def asked(self, command: Command) -> None:
        """A client submits `command`, perhaps not for the first time."""
        self.denied.pop((command.session, command.sequence), None)

    def answered(self, peer: PeerId, command: Command, answer: Answer, retried: bool) -> None:
        """I9 and honesty: what was said of `command` is what it came to. `retried`: an earlier
        attempt had an unknown outcome, and a refusal speaks of this one alone."""
        place = command.session, command.sequence
        effect = self.effects.get(place)
        if isinstance(answer, Committed):
            if effect is None and isinstance(command, CloseSession):
                effect = self._ended(command)
            if effect != answer:
                raise Violation("I9", f"{peer}: {command} came to {effect}, answered {answer}")
        elif isinstance(answer, Refused) or (
            isinstance(answer, Failed) and answer.reason in DONE_NOT
        ):
            if retried:
                return
            if isinstance(effect, Committed):
                raise Violation("answers", f"{peer} denies what was done: {command}, {answer}")
            self.denied[place] = answer.reason

    def _ended(self, command: CloseSession) -> Outcome | None:
        """Closing twice is closing: where the session has ended is known before this is applied."""
        try:
            return self.machine.known_outcome(command)
        except LookupError:
            return None

    # ---- barriers and ballots ----------------------------------------------------------------

    def _happened(self, event: MachineEvent) -> None:
        if isinstance(event, AgentJoined):
            self._joined[event.agent.id] = event.agent.joined_index
        elif isinstance(event, AgentLeft):
            del self._joined[event.agent.id]
            self._leases.pop(event.agent.session, None)
        elif isinstance(event, BarrierChanged):
            self._barrier(event.generation)
        elif isinstance(event, ProposalOpened):
            self.opened[event.proposal.id] = event.proposal
        elif isinstance(event, ProposalDecided):
            if event.proposal.id in self.decided:
                raise Violation("I13", f"decided twice: {event.proposal}")
            self.opened.pop(event.proposal.id, None)
            self.decided[event.proposal.id] = event.proposal
            judge_ballot(event.proposal)
        elif isinstance(event, JournalAppended):
            judge_append(self.journals.get(event.journal.name), event.journal)
            self.journals[event.journal.name] = event.journal

    def _barrier(self, generation: Generation) -> None:
        place = generation.barrier, generation.generation
        before = self.generations.get(place)
        if before is None and generation.generation > 1:
            last = self.generations.get((generation.barrier, generation.generation - 1))
            if last is None or last.status is BarrierStatus.WAITING:
                raise Violation("I12", f"begins before the one before it ended: {generation}")
        if before is not None and before.status is not BarrierStatus.WAITING:
            raise Violation("I12", f"ended as {before}, then: {generation}")
        for agent in generation.arrived:
            if (generation.barrier, agent) not in self._arrivals:
                raise Violation("I12", f"{agent} never arrived: {generation}")
        judge_generation(generation)
        self._meeting(generation)
        self.generations[place] = generation

    def _meeting(self, generation: Generation) -> None:
        """I12: members named since an index meet once, and nobody has been away in between."""
        is_over = generation.status is not BarrierStatus.WAITING
        if not is_over or not generation.since:
            return
        key = generation.barrier, generation.since, generation.members
        if key in self._met:
            raise Violation("I12", f"met in generation {self._met[key]} already: {generation}")
        self._met[key] = generation.generation
        if generation.status is BarrierStatus.RELEASED:
            for agent in generation.arrived:
                if not 0 < self._joined.get(agent, 0) <= generation.since:
                    raise Violation("I12", f"{agent} has been away: {generation}")


def judge_generation(generation: Generation) -> None:
    """I12: released exactly when enough distinct agents have arrived."""
    count = len(generation.arrived)
    if len(dict.fromkeys(generation.arrived)) != count:
        raise Violation("I12", f"somebody counts twice: {generation}")
    if count > generation.parties:
        raise Violation("I12", f"more than the parties: {generation}")
    if generation.members:
        if any(agent not in generation.members for agent in generation.arrived):
            raise Violation("I12", f"somebody arrived who is not named: {generation}")
        there = dict.fromkeys((*generation.arrived, *generation.departed))
        if generation.status is BarrierStatus.RELEASED and len(there) < len(generation.members):
            raise Violation("I12", f"released without a named member: {generation}")
    if generation.status is BarrierStatus.RELEASED:
        if count < generation.parties and generation.on_departure is not OnDeparture.SHRINK:
            raise Violation("I12", f"released early: {generation}")
    elif count >= generation.parties > 0:
        raise Violation("I12", f"all have arrived, but: {generation}")


def judge_append(before: Journal | None, told: Journal) -> None:
    """I18: positions have no gap; the capacity stays, and nothing is appended beyond it."""
    last = 0 if before is None else before.last
    if (told.first, told.last, len(told.items)) != (last + 1, last + 1, 1):
        raise Violation("I18", f"not the next position after {last}: {told}")
    if before is not None and told.capacity != before.capacity:
        raise Violation("I18", f"the capacity was {before.capacity}: {told}")
    if told.capacity and told.last > told.capacity:
        raise Violation("I18", f"more than it holds: {told}")


def ballot_result(proposal: Proposal, accepts: int, rejects: int, abstentions: int) -> str:
    """The rule of docs/protocol.md, Ballots, in whole numbers over the frozen electorate."""
    policy = proposal.policy
    electorate = len(proposal.electorate)
    cast = accepts + rejects + abstentions
    if cast < electorate // 2 + 1:
        return "no quorum"
    if (
        accepts * policy.accept_denominator >= policy.accept_numerator * cast
        and 2 * accepts > electorate
    ):
        return "accepted"
    if rejects * policy.reject_denominator >= policy.reject_numerator * cast:
        return "rejected"
    return "no clear majority"


RESULTS = {
    ProposalStatus.ACCEPTED: "accepted",
    ProposalStatus.CONFLICT: "accepted",
    ProposalStatus.REJECTED: "rejected",
    ProposalStatus.NO_QUORUM: "no quorum",
    ProposalStatus.NO_CLEAR_MAJORITY: "no clear majority",
}


def judge_ballot(proposal: Proposal) -> None:
    """I13: the result is that of the set of votes, and no vote still missing could change it unless
    the deadline has passed."""
    voters = [vote.agent for vote in proposal.votes]
    if len(dict.fromkeys(voters)) != len(voters):
        raise Violation("I13", f"somebody voted twice: {proposal}")
    if any(voter not in proposal.electorate for voter in voters):
        raise Violation("I13", f"somebody voted who may not: {proposal}")
    counts = [
        sum(1 for vote in proposal.votes if vote.choice is choice)
        for choice in (Choice.ACCEPT, Choice.REJECT, Choice.ABSTAIN)
    ]
    result = RESULTS.get(proposal.status)
    if result != ballot_result(proposal, *counts):
        raise Violation("I13", f"{counts} do not come to: {proposal}")
    if proposal.closed_clock >= proposal.deadline:
        return
    missing = len(proposal.electorate) - len(voters)
    for accepts in range(missing + 1):
        for rejects in range(missing + 1 - accepts):
            for abstentions in range(missing + 1 - accepts - rejects):
                completed = counts[0] + accepts, counts[1] + rejects, counts[2] + abstentions
                if ballot_result(proposal, *completed) != result:
                    raise Violation("I13", f"closed early, {completed} would differ: {proposal}")
