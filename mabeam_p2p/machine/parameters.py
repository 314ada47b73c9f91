"""Parameters: the values that ballots have accepted, what they may be, and whether they took hold.

1. A value is set by an accepted proposal alone. Its version is the index of that decision, or one
   more than the last version if that is as great: several can fall on one index, by a departure or
   at a deadline. So versions grow strictly, and a version is one value for everybody.
2. A guarded value must be confirmed by everybody who could vote on it. It stands when all of them
   have confirmed who are still there; one failure, or the deadline, brings back the value before
   it, as a version of its own.
3. A later decision takes the place of a guarded value, and nobody waits for the older one.
4. The first declaration of a parameter's values binds; an equal one changes nothing. What a schema
   says is judged by proposers and voters: the machine does not look into values.
"""

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from mabeam_p2p.commands import AnyParameterCommand, ConfirmParameter, DeclareParameter
from mabeam_p2p.config import Limits
from mabeam_p2p.events import (
    MachineEvent,
    ParameterChanged,
    ParameterConfirmed,
    ParameterDeclared,
)
from mabeam_p2p.ids import AgentId, is_key
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.records import Parameter, ParameterSchema, Proposal
from mabeam_p2p.requests import Outcome, Refused


class ParametersState(Struct, frozen=True, array_like=True):
    """before: what guarded parameters were before, in order of the guards."""

    parameters: tuple[Parameter, ...]
    before: tuple[Parameter, ...]
    schemas: tuple[ParameterSchema, ...]


class Parameters:
    """Every parameter by name."""

    def __init__(self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent]) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._events = events
        self._parameters: dict[str, Parameter] = {}
        self._before: dict[str, Parameter] = {}
        """Of each guarded parameter, what it was before."""
        self._schemas: dict[str, ParameterSchema] = {}

    # ---- what ballots do -------------------------------------------------------------------

    def version(self, name: str) -> int:
        """0: never decided."""
        decided = self._parameters.get(name)
        return 0 if decided is None else decided.version

    def refusal(self, name: str, guard: int) -> Refused | None:
        """Why no proposal may be opened on `name`."""
        # Open proposals may each add one more: the table is bounded by the sum of both limits.
        most = self._limits.parameters_max
        if name not in self._parameters:
            if len(self._parameters) >= most:
                return Refused("limit", f"there are {most} parameters already")
            if guard:
                return Refused("invalid", "a guard needs an earlier value to go back to")
        if guard and len(self._before) >= self._limits.guards_max:
            return Refused("limit", f"{self._limits.guards_max} guarded values wait already")
        return None

    def decide(self, entry: Entry, proposal: Proposal, awaited: tuple[AgentId, ...]) -> None:
        """Take the value of an accepted proposal. awaited: who of its electorate is there."""
        name = proposal.parameter
        before = self._parameters.get(name)
        self._end_guard(name)
        guard = proposal.guard if before is not None else 0
        decided = Parameter(
            name,
            proposal.value,
            self._next_version(entry, name),
            proposal.id,
            entry.clock,
            awaited=awaited if guard else (),
            guard_deadline=entry.clock + guard if guard and awaited else 0,
        )
        self._parameters[name] = decided
        if decided.guard_deadline and before is not None:
            self._before[name] = before
            self._deadlines.add(DeadlineKind.GUARD, name, decided.guard_deadline)
        self._events.append(ParameterChanged(decided))

    # ---- commands --------------------------------------------------------------------------

    def apply(self, entry: Entry, agent: AgentId, command: AnyParameterCommand) -> Outcome:
        match command:
            case DeclareParameter():
                return self._declare(entry, agent, command)
            case ConfirmParameter():
                return self._confirm(entry, agent, command)
            case _:
                assert_never(command)

    def depart(self, entry: Entry, agent: AgentId) -> None:
        """Nobody waits for the agent any more."""
        for name in tuple(self._before):
            parameter = self._parameters[name]
            if agent in parameter.awaited:
                awaited = tuple(other for other in parameter.awaited if other != agent)
                self._on_answer(replace(parameter, awaited=awaited))

    def expire(self, entry: Entry, name: str) -> None:
        """The guard of `name` is past its deadline."""
        silent = ", ".join(self._parameters[name].awaited)
        self._revert(entry, name, f"not confirmed in time by {silent}")

    # ---- queries ---------------------------------------------------------------------------

    def parameters(self, name: str) -> tuple[Parameter, ...]:
        """The one of this name; with an empty name all, in order of their first decision."""
        if name:
            one = self._parameters.get(name)
            return () if one is None else (one,)
        return tuple(self._parameters.values())

    def schemas(self, name: str) -> tuple[ParameterSchema, ...]:
        """As `parameters`, in order of declaration."""
        if name:
            one = self._schemas.get(name)
            return () if one is None else (one,)
        return tuple(self._schemas.values())

    @property
    def count(self) -> int:
        """Parameters that are agreed."""
        return len(self._parameters)

    def state(self) -> ParametersState:
        return ParametersState(
            tuple(self._parameters.values()),
            tuple(self._before.values()),
            tuple(self._schemas.values()),
        )

    def load(self, state: ParametersState) -> None:
        self._parameters = {parameter.name: parameter for parameter in state.parameters}
        self._before = {parameter.name: parameter for parameter in state.before}
        self._schemas = {schema.name: schema for schema in state.schemas}
        for name in self._before:
            self._deadlines.add(DeadlineKind.GUARD, name, self._parameters[name].guard_deadline)

    # ---- transitions -----------------------------------------------------------------------

    def _declare(self, entry: Entry, agent: AgentId, command: DeclareParameter) -> Outcome:
        name, schema, limits = command.parameter, command.schema, self._limits
        declared = self._schemas.get(name)
        if declared is not None:
            if declared.schema == schema:
                return entry.committed()
            detail = f"{declared.agent} declared other values at index {declared.index}"
            return Refused("conflicting_schema", detail)
        if not is_key(name):
            return Refused("invalid", "the parameter has no usable name")
        if len(schema) > limits.metadata_bytes_max:
            return Refused("too_large", f"a schema has at most {limits.metadata_bytes_max} bytes")
        if len(self._schemas) >= limits.schemas_max:
            return Refused("limit", f"{limits.schemas_max} parameters are declared already")
        self._schemas[name] = ParameterSchema(name, schema, agent, entry.index)
        self._events.append(ParameterDeclared(self._schemas[name]))
        return entry.committed()

    def _confirm(self, entry: Entry, agent: AgentId, command: ConfirmParameter) -> Outcome:
        name = command.parameter
        parameter = self._parameters.get(name)
        if parameter is None:
            return Refused("unknown_parameter", "no such parameter was decided")
        if command.version != parameter.version:
            return Refused("stale_version", f"version is {parameter.version}")
        if agent in parameter.confirmed:
            return entry.committed()
        if agent not in parameter.awaited:
            return Refused("not_eligible", f"nobody waits for {agent} to confirm")
        if len(command.detail.encode()) > self._limits.rationale_bytes_max:
            most = self._limits.rationale_bytes_max
            return Refused("too_large", f"a detail has at most {most} bytes")
        if not command.applied:
            self._revert(entry, name, f"{agent}: {command.detail}")
            return entry.committed()
        self._on_answer(
            replace(
                parameter,
                awaited=tuple(other for other in parameter.awaited if other != agent),
                confirmed=(*parameter.confirmed, agent),
            )
        )
        return entry.committed()

    def _on_answer(self, parameter: Parameter) -> None:
        """One less is waited for."""
        if not parameter.awaited:
            self._end_guard(parameter.name)
            parameter = replace(parameter, guard_deadline=0)
        self._parameters[parameter.name] = parameter
        self._events.append(ParameterConfirmed(parameter))

    def _revert(self, entry: Entry, name: str, reason: str) -> None:
        before = self._before[name]
        self._end_guard(name)
        version = self._next_version(entry, name)
        self._parameters[name] = Parameter(
            name, before.value, version, before.proposal, entry.clock, reverted=reason
        )
        self._events.append(ParameterChanged(self._parameters[name]))

    def _next_version(self, entry: Entry, name: str) -> int:
        return max(entry.index, self.version(name) + 1)

    def _end_guard(self, name: str) -> None:
        if self._before.pop(name, None) is not None:
            self._deadlines.remove(DeadlineKind.GUARD, name)
