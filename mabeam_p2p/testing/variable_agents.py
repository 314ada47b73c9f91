"""Simulated agents that write, delete and batch variables, and judge what they are told of it.

They need no session. What is drawn comes from a stream of their own, so that the other agents'
draws stay what they are.
"""

from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.protocol.node import Node
from mabeam_p2p.records import Sibling
from mabeam_p2p.requests import (
    WAIT_ALL,
    WAIT_MAJORITY,
    Acknowledged,
    Answer,
    Failed,
    ReadVariables,
    Refused,
    SetVariables,
    VariableChange,
    Variables,
)
from mabeam_p2p.testing.agents import RESOLVERS, SimulatedAgent, Workload
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.variable_cores import values_held

NAMES = 6
THINK = 100_000
"""Mean microseconds between two writes, at least."""
PENDING_MAX = 4


def values_of(node: Node) -> dict[str, tuple[Sibling, ...]]:
    """What has a value there: the same on all peers in the end, whoever still remembers what was
    deleted."""
    return values_held(node.variables)


class VariableAgent(SimulatedAgent):
    """One writer."""

    def __init__(self, workload: Workload, host: Host) -> None:
        super().__init__(workload, host, 0)
        self.name = AgentId(f"writer@peer-{host.letter.lower()}")
        self._lots = workload.simulator.stream(f"variables {host.letter}")

    def begin(self) -> None:
        self.pending = 0
        self._life = self.host.life
        self._later_step()

    def _next(self, session: SessionId) -> None:
        """Nothing: it has no session, and all is done at the steps."""

    def _later_step(self) -> None:
        think = max(THINK, self._workload.weather.agents.think)
        pause = 1 + int(self._lots.expovariate(1.0) * think)
        self._simulator.after(pause, self._if_alive, self._life, self._step)

    def _step(self) -> None:
        self._later_step()
        if self.pending >= PENDING_MAX:
            return
        draw = self._lots.random()
        if draw < 0.3:
            self._read_and_write()
        else:
            self._write(1 if draw < 0.8 else 3)

    def _write(self, most: int) -> None:
        """A few variables together, each over whatever is held, or deleted."""
        lots = self._lots
        numbers = lots.sample(range(NAMES), lots.randint(1, most))
        changes = tuple(
            VariableChange(
                f"shared-{number}",
                RESOLVERS[number % len(RESOLVERS)],
                None if lots.random() < 0.35 else lots.randrange(24).to_bytes(1, "big"),
            )
            for number in numbers
        )
        self._set(changes)

    def _read_and_write(self) -> None:
        """A write that supersedes what was read, however much later it comes."""
        number = self._lots.randrange(NAMES)
        name = f"shared-{number}"

        def read(answer: Answer) -> None:
            if not isinstance(answer, Variables):
                raise Violation("answers", f"{name} is read as {answer}")
            context = answer.variables[0].context if answer.variables else ()
            value = self._lots.randrange(24).to_bytes(1, "big")
            resolver = RESOLVERS[number % len(RESOLVERS)]
            self._set((VariableChange(name, resolver, value, context),))

        self.ask(ReadVariables(name), read)

    def _set(self, changes: tuple[VariableChange, ...]) -> None:
        wait = self._lots.choice((0, 0, 1, 2, WAIT_MAJORITY, WAIT_ALL))
        self.ask(SetVariables(changes, wait, self.wait()), lambda answer: self._told(answer, wait))

    def _identities(self, name: str) -> int:
        """Peers that have had this name: who lost its folder begins anew as another one."""
        hosts = self._simulator.hosts
        return sum(h.identities for h in hosts if name == f"peer-{h.letter.lower()}") or 1

    def _told(self, answer: Answer, wait: int) -> None:
        """Each member has one fate, and what was reached was reached."""
        match answer:
            case Acknowledged():
                done = [*answer.applied, *answer.superseded, *answer.merged]
                fates = [*done, *answer.missing, *answer.left]
                # One that lies can say that two others have the same name.
                lies = bool(self._simulator.checkers.liars)
                if not lies and any(fates.count(name) > self._identities(name) for name in fates):
                    raise Violation("I14", f"{self.name}: one member, two fates: {answer}")
                is_reached = not answer.missing if wait == WAIT_ALL else len(done) >= wait
                if wait != WAIT_MAJORITY and answer.reached is not is_reached:
                    raise Violation("I14", f"{self.name} waits for {wait}, and is told {answer}")
            case Refused() | Failed():
                pass
            case _:
                raise Violation("answers", f"a write of variables is answered {answer}")
