"""Simulated agents: what clients do to a cluster, and what they remember of it.

An agent lives on one host and uses whatever process runs there. It retries what is unknown with the
same (session, sequence). When that process was gone, an embedded agent begins a new session, and
what was unknown then stays so; an attached one goes on with its session and what was under way.
"""

from collections.abc import Callable
from random import Random

from mabeam_p2p.commands import (
    AnyCommand,
    AppendJournal,
    Arrive,
    OpenSession,
)
from mabeam_p2p.ids import INTEGER_MAX, AgentId, ProposalId, SessionId
from mabeam_p2p.records import BarrierStatus, Generation, OnDeparture
from mabeam_p2p.requests import (
    Answer,
    Await,
    Committed,
    Failed,
    Found,
    GenerationQuery,
    JournalQuery,
    ProposalQuery,
    Query,
    ReadVariables,
    Refused,
    SendMail,
    SetVariables,
    Submit,
    TakeMail,
    VariableChange,
)
from mabeam_p2p.requests import Read as ReadRequest
from mabeam_p2p.testing.checkers import Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.linearizability import Append, Operation, Read, Result
from mabeam_p2p.testing.outcomes import DONE_NOT, Outcomes
from mabeam_p2p.testing.polls import Polls
from mabeam_p2p.testing.purses import Purses
from mabeam_p2p.testing.recipes import Calls, RecipeClient
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.weather import SECOND, Weather

PAUSES_MAX = 16
"""How far the pause between two attempts at one thing grows."""

RESOLVERS = ("lww", "max", "counter", "multi_value")


class Workload:
    """What all agents of a run share: the history, and what they have told each other."""

    def __init__(self, simulator: Simulator, outcomes: Outcomes) -> None:
        self.simulator = simulator
        self.outcomes = outcomes
        self.weather: Weather = simulator.weather
        self.random: Random = simulator.stream("client")
        self.history: list[Operation] = []
        """What was done to lists."""
        self.calls = Calls(lambda: simulator.now)
        """What was done to locks, counters and queues."""
        self.acknowledged = 0
        self.writing = True
        """Whether agents begin new operations."""
        self._items = 0
        self.agents = [
            SimulatedAgent(self, host, number)
            for host in simulator.hosts
            for number in range(self.weather.agents.per_peer)
        ]
        self.others: list[SimulatedAgent] = []
        """Agents of other kinds, which do as they like."""
        names = tuple(agent.name for agent in self.agents)
        self.purses = Purses(self.random, outcomes.machine, names)
        self.polls = Polls(simulator.stream("polls"), outcomes.machine, outcomes.opened)

    def item(self) -> bytes:
        self._items += 1
        return b"\x1a" + self._items.to_bytes(4, "big")

    def host_started(self, host: Host) -> None:
        for agent in (*self.agents, *self.others):
            if agent.host is host:
                agent.begin()

    def is_idle(self) -> bool:
        return not any(agent.pending for agent in (*self.agents, *self.others))

    def read_all(self, host: Host) -> None:
        """Read every key once more, through `host`, until each was read."""
        agent = next(agent for agent in self.agents if agent.host is host)
        for key in range(self.weather.agents.keys):
            agent.read_until_found(f"key-{key}")


class SimulatedAgent:
    """One client."""

    def __init__(self, workload: Workload, host: Host, number: int) -> None:
        self.host = host
        self.pending = 0
        """Operations whose end this agent waits for."""
        self._workload = workload
        self._simulator = workload.simulator
        self._random = workload.random
        self.name = AgentId(f"agent-{number}@peer-{host.letter.lower()}")
        self.session = SessionId(0)
        self._sequence = 0
        self._is_open = False
        self._life = -1
        self._failures = 0
        """Answers in a row that nothing was done: the pauses grow with them, as those of any client
        of an overloaded cluster should."""
        self._under_way: dict[int, Callable[[], None]] = {}
        """For each number whose outcome is unknown: what asks for it again."""
        stream = workload.simulator.stream(f"recipes/{self.name}")
        self.recipes = RecipeClient(self, workload.calls, stream, workload.item)

    # ---- sessions ----------------------------------------------------------------------------

    def begin(self) -> None:
        """The host runs a new process: what waited for the old one never ends."""
        self.pending = 0
        self._life = self.host.life
        if self._workload.weather.agents.attached and self._is_open:
            self._resume()
        else:
            self._open()

    def _open(self) -> None:
        self.session = SessionId(self._random.randint(1, INTEGER_MAX))
        self._sequence = 0
        self._is_open = False
        self._under_way.clear()
        self.submit(self._opening(self.number()), self._opened)

    def _resume(self) -> None:
        """Go on at the new process, with what was under way as well."""
        again, self._under_way = self._under_way, {}
        thinking = self._workload.weather.agents.outstanding - len(again)

        def resumed(answer: Answer) -> None:
            for _ in range(thinking):
                self.think()

        self.submit(self._opening(1), resumed, retried=True)
        for ask in again.values():
            ask()

    def _opening(self, number: int) -> OpenSession:
        return OpenSession(
            self.session,
            number,
            agent=self.name,
            peer=self.host.peer,
            epoch=self.host.disk.epoch,
            groups=(),
            participates=True,
            eligible=True,
            lease=self._workload.weather.agents.lease,
        )

    def _opened(self, answer: Answer) -> None:
        if isinstance(answer, Committed):
            self._is_open = True
            self.recipes.session_began()
            for _ in range(self._workload.weather.agents.outstanding):
                self.think()
        else:
            self.later(self._open, self._pauses())

    def number(self) -> int:
        self._sequence += 1
        return self._sequence

    # ---- operations --------------------------------------------------------------------------

    def think(self) -> None:
        session = self.session
        self.later(lambda: self._next(session))

    def later(self, action: Callable[[], None], pauses: int = 1) -> None:
        pause = int(self._random.expovariate(1.0) * self._workload.weather.agents.think * pauses)
        self._simulator.after(pause, self._if_alive, self._life, action)

    def _pauses(self) -> int:
        return min(1 << min(self._failures, 8), PAUSES_MAX)

    def _if_alive(self, life: int, action: Callable[[], None]) -> None:
        if life == self.host.life and self.host.node is not None and self._workload.writing:
            action()

    def _next(self, session: SessionId) -> None:
        if not self._is_open or session != self.session:
            return
        if self._random.random() < 0.3 and self.answer_polls():
            return
        share = self._workload.weather.agents.recipes
        if share and self._random.random() < share:
            self.recipes.act()
            return
        if self._random.random() < self._workload.weather.agents.reads:
            self.read(self._key(), linearizable=True, done=self.think)
            return
        draw = self._random.random()
        if draw < 0.5:
            self.append()
        elif draw < 0.6:
            self._spend()
        elif draw < 0.67:
            self.read(self._key(), linearizable=False, done=self.think)
        elif draw < 0.77:
            self._arrive()
        elif draw < 0.84:
            self._propose()
        elif draw < 0.9 or not self.answer_polls():
            self._set_variable()

    def _key(self) -> str:
        return f"key-{self._random.randrange(self._workload.weather.agents.keys)}"

    def append(self) -> None:
        """Append a new item to one list."""
        key, item = self._key(), self._workload.item()
        operation = Append(self.name, key, item, self._simulator.now)
        self._workload.history.append(operation)
        command = AppendJournal(self.session, self.number(), journal=key, item=item)

        def done(answer: Answer) -> None:
            if isinstance(answer, Committed):
                self._workload.acknowledged += 1
                operation.result = Result.DONE
                operation.returned = self._simulator.now
                operation.position = answer.number
            elif isinstance(answer, Refused):
                operation.result = Result.NOT_DONE
            self.think()

        self.submit(command, done, operation)

    def read(self, key: str, linearizable: bool, done: Callable[[], None]) -> None:
        """Read one list whole."""
        invoked = self._simulator.now
        committed = self._simulator.checkers.committed.index

        def answered(answer: Answer) -> None:
            if isinstance(answer, Found):
                if linearizable and answer.index < committed:
                    raise Violation(
                        "stale read", f"{self.name} sees {answer.index}, {committed} was committed"
                    )
                items = answer.journals[0].items if answer.journals else ()
                self._workload.history.append(
                    Read(self.name, key, items, invoked, self._simulator.now, linearizable)
                )
            elif not isinstance(answer, Failed):
                raise Violation("answers", f"a read is answered {answer}")
            done()

        self._ask_read(JournalQuery(key), linearizable, answered)

    def read_until_found(self, key: str) -> None:
        """Read one list whole, as often as it takes."""
        count = len(self._workload.history)

        def again() -> None:
            last = self._workload.history[count:]
            if not any(isinstance(seen, Read) and seen.key == key for seen in last):
                self.read_until_found(key)

        self.read(key, linearizable=True, done=again)

    def _ask_read(
        self, query: Query, linearizable: bool, answered: Callable[[Answer], None]
    ) -> None:
        request = ReadRequest(query, linearizable, self.wait())
        self.ask(request, answered)

    def _arrive(self) -> None:
        size = min(len(self._workload.agents), 2 + self._random.randrange(2))
        name = f"barrier-{size}-{self._random.randrange(2)}"
        command = Arrive(
            self.session,
            self.number(),
            barrier=name,
            parties=size,
            timeout=2 * SECOND,
            on_departure=OnDeparture.BREAK,
        )

        def arrived(answer: Answer) -> None:
            if isinstance(answer, Committed):
                request = Await(GenerationQuery(name, answer.number), self.wait())
                self.ask(request, ended)
            else:
                self.think()

        def ended(answer: Answer) -> None:
            if isinstance(answer, Found):
                for generation in answer.generations:
                    place = generation.barrier, generation.generation
                    if self._workload.outcomes.generations.get(place) != generation:
                        raise Violation("I12", f"{self.name} is told {generation}")
                    if self._meets(generation):
                        self._meet(generation)
                        return
            self.think()

        self.submit(command, arrived)

    def _meets(self, generation: Generation) -> bool:
        is_one = generation.status is BarrierStatus.RELEASED and self.name in generation.arrived
        return is_one and not generation.since and self._random.random() < 0.7

    def _meet(self, generation: Generation) -> None:
        """Meet those with whom it was released once more: first begin, then perhaps arrive."""
        members = tuple(sorted(generation.arrived))
        # All of them ask for the same, and over a run some of both are seen.
        kinds = OnDeparture.BREAK, OnDeparture.SHRINK
        on_departure = kinds[generation.closed_index % 2]

        def arrive(present: bool) -> Arrive:
            return Arrive(
                self.session,
                self.number(),
                barrier=f"{generation.barrier}/met",
                parties=len(members),
                timeout=2 * SECOND,
                on_departure=on_departure,
                members=members,
                since=generation.closed_index,
                present=present,
            )

        def begun(answer: Answer) -> None:
            if isinstance(answer, Committed) and self._random.random() < 0.9:
                self.submit(arrive(present=True), lambda answer: self.think())
            else:
                self.think()

        self.submit(arrive(present=False), begun)

    def _propose(self) -> None:
        proposal = ProposalId(f"p{self._random.getrandbits(60):x}")
        item = self._workload.item()
        command = self._workload.polls.proposal(proposal, self.session, self.number(), item)

        def opened(answer: Answer) -> None:
            if isinstance(answer, Committed) and self._random.random() < 0.5:
                self.ask(Await(ProposalQuery(proposal), self.wait()), decided)
            else:
                self.think()

        def decided(answer: Answer) -> None:
            if isinstance(answer, Found):
                for told in answer.proposals:
                    if self._workload.outcomes.decided.get(told.id) != told:
                        raise Violation("I13", f"{self.name} is told {told}")
            self.think()

        self.submit(command, opened)

    def _spend(self) -> None:
        command = self._workload.purses.draw(self.name, self.session, self.number())
        self.submit(command, lambda answer: self.think())

    def answer_polls(self) -> bool:
        """Vote, or confirm, if that is waited for. Whether it was."""
        command = self._workload.polls.due(self.name, self.session, self._sequence + 1)
        if command is not None:
            self.number()
            self.submit(command, lambda answer: self.think())
        return command is not None

    def _set_variable(self) -> None:
        number = self._random.randrange(self._workload.weather.agents.variables)
        change = VariableChange(
            name=f"variable-{number}",
            resolver=RESOLVERS[number % len(RESOLVERS)],
            value=self._random.randrange(24).to_bytes(1, "big"),
        )
        wait = self._random.choice((0, 0, 1))
        request = SetVariables((change,), wait=wait, timeout=self.wait())
        self.ask(request, lambda answer: self.think())

    # ---- asking ------------------------------------------------------------------------------

    def wait(self) -> float:
        election = self._workload.weather.timing.election_timeout_seconds
        return election * self._random.choice((1, 5, 20))

    def ask(
        self,
        request: ReadRequest | Await | SetVariables | ReadVariables | SendMail | TakeMail,
        answered: Callable[[Answer], None],
    ) -> None:
        self.pending += 1

        def reply(answer: Answer) -> None:
            self.pending -= 1
            # Not within the node's own turn: an answer may lead to the next request.
            self._simulator.after(0, self._if_runs, self._life, answered, answer)

        self._simulator.ask(self.host, request, reply)

    def submit(
        self,
        command: AnyCommand,
        done: Callable[[Answer], None],
        operation: Append | None = None,
        retried: bool = False,
    ) -> None:
        """Submit until the outcome is known, or given up as certainly not done."""
        outcomes = self._workload.outcomes
        outcomes.asked(command)
        self.pending += 1
        if not isinstance(command, OpenSession):
            self._under_way[command.sequence] = lambda: self.submit(command, done, operation, True)

        def reply(answer: Answer) -> None:
            self.pending -= 1
            outcomes.answered(self.host.peer, command, answer, retried)
            self._simulator.after(0, self._if_runs, self._life, go_on, answer)

        def go_on(answer: Answer) -> None:
            self._failures = self._failures + 1 if isinstance(answer, Failed) else 0
            if isinstance(answer, Failed):
                unknown = retried or answer.reason not in DONE_NOT
                if unknown or self._random.random() < 0.5:
                    self.pending += 1
                    self._simulator.after(
                        1_000 + int(self._random.random() * 50_000 * self._pauses()),
                        self._again,
                        self._life,
                        lambda: self.submit(command, done, operation, unknown),
                    )
                    return
                if operation is not None:
                    operation.result = Result.NOT_DONE
                self._is_known(command)
                done(answer)
            elif isinstance(answer, Committed | Refused):
                self._is_known(command)
                if self._is_open and is_session_end(answer):
                    self._is_open = False
                    self.later(self._open)
                is_certain = isinstance(answer, Committed) or not retried
                if is_certain or isinstance(command, OpenSession):
                    done(answer)
                else:
                    # Refused, of this attempt alone: what an earlier one came to stays unknown.
                    self.think()
            else:
                raise Violation("answers", f"{command} is answered {answer}")

        self._simulator.ask(self.host, Submit(command, self.wait()), reply)

    def _is_known(self, command: AnyCommand) -> None:
        if command.session == self.session:
            self._under_way.pop(command.sequence, None)

    def _again(self, life: int, action: Callable[[], None]) -> None:
        if life == self.host.life and self.host.node is not None:
            self.pending -= 1
            action()

    def _if_runs(self, life: int, action: Callable[[Answer], None], answer: Answer) -> None:
        if life == self.host.life and self.host.node is not None:
            action(answer)


def is_session_end(answer: Answer) -> bool:
    return isinstance(answer, Refused) and answer.reason == "unknown_session"
