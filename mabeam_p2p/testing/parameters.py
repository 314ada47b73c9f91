"""What the machine makes of guarded parameters, judged from commands, outcomes and events alone.

growing       the versions of a parameter grow strictly
standing      a guarded value stands only when all have confirmed it who had to and are still there
going back    the value before returns after a failure at that index, or past the deadline; and then
no orphans    no guard outlives its deadline
conflict      a proposal over a version is accepted over that one, and in conflict over another
"""

from msgspec import Struct

from mabeam_p2p.commands import AnyCommand, ConfirmParameter
from mabeam_p2p.events import (
    AgentLeft,
    MachineEvent,
    ParameterChanged,
    ParameterConfirmed,
    ProposalDecided,
)
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Parameter, Proposal, ProposalStatus
from mabeam_p2p.requests import Committed, Outcome
from mabeam_p2p.testing.checkers import Violation

RULE = "parameters"


class _Guard(Struct):
    """A value that is not certain to stay."""

    before: Parameter
    deadline: int
    missing: dict[AgentId, None]


class ParameterJudge:
    """Hears every applied batch: commands with outcomes first, then the events, then its clock."""

    def __init__(self) -> None:
        self.stood = 0
        """Guarded values that were confirmed by all."""
        self.went_back = 0
        self._present: dict[str, Parameter] = {}
        self._guards: dict[str, _Guard] = {}
        self._confirmed: dict[tuple[str, int, AgentId], None] = {}
        """By parameter, version and agent."""
        self._failed: dict[tuple[str, int], None] = {}
        """By parameter and version."""

    def took_effect(self, agent: AgentId, command: AnyCommand, outcome: Outcome) -> None:
        if isinstance(command, ConfirmParameter) and isinstance(outcome, Committed):
            if command.applied:
                self._confirmed[command.parameter, command.version, agent] = None
            else:
                self._failed[command.parameter, command.version] = None

    def happened(self, event: MachineEvent, clock: int) -> None:
        """clock: of the batch that the event is from."""
        match event:
            case ParameterChanged(parameter=parameter):
                self._changed(parameter, clock)
            case ProposalDecided(proposal=proposal):
                self._decided(proposal)
            case ParameterConfirmed(parameter=parameter):
                self._answered(parameter)
            case AgentLeft(agent=agent):
                for guard in self._guards.values():
                    guard.missing.pop(agent.id, None)
            case _:
                pass

    def _decided(self, proposal: Proposal) -> None:
        """Told before the change that it makes."""
        present = self._present.get(proposal.parameter)
        version = 0 if present is None else present.version
        holds = proposal.base_version in (None, version)
        if proposal.status is ProposalStatus.ACCEPTED and not holds:
            raise Violation(RULE, f"accepted over version {version}: {proposal}")
        if proposal.status is ProposalStatus.CONFLICT and holds:
            raise Violation(RULE, f"in conflict with nothing, version is {version}: {proposal}")

    def passed(self, clock: int) -> None:
        """The batch of that stamp has been applied."""
        for name, guard in self._guards.items():
            if guard.deadline <= clock:
                raise Violation(RULE, f"the guard of {name} outlives its deadline: {guard}")

    def _changed(self, parameter: Parameter, clock: int) -> None:
        name = parameter.name
        before = self._present.get(name)
        if before is not None and parameter.version <= before.version:
            raise Violation(RULE, f"no later version than {before}: {parameter}")
        guard = self._guards.pop(name, None)
        if parameter.reverted:
            if guard is None or parameter.value != guard.before.value:
                raise Violation(RULE, f"goes back to what was not before: {parameter}, {guard}")
            assert before is not None
            if (name, before.version) not in self._failed and clock < guard.deadline:
                raise Violation(RULE, f"goes back without a reason: {parameter}")
            self.went_back += 1
        if parameter.guard_deadline:
            if before is None or parameter.reverted or not parameter.awaited:
                raise Violation(RULE, f"guarded for nothing: {parameter}")
            missing = dict.fromkeys(parameter.awaited)
            self._guards[name] = _Guard(before, parameter.guard_deadline, missing)
        self._present[name] = parameter

    def _answered(self, parameter: Parameter) -> None:
        guard = self._guards.get(parameter.name)
        if guard is None or parameter.version != self._present[parameter.name].version:
            raise Violation(RULE, f"confirmed, and not guarded: {parameter}")
        for agent in parameter.confirmed:
            if (parameter.name, parameter.version, agent) not in self._confirmed:
                raise Violation(RULE, f"{agent} never confirmed: {parameter}")
            guard.missing.pop(agent, None)
        if list(parameter.awaited) != list(guard.missing):
            raise Violation(RULE, f"{list(guard.missing)} have not answered: {parameter}")
        if not parameter.guard_deadline:
            if guard.missing:
                raise Violation(RULE, f"stands without {list(guard.missing)}: {parameter}")
            del self._guards[parameter.name]
            self.stood += 1
        self._present[parameter.name] = parameter
