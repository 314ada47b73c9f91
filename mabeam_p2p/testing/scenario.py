"""Scripted scenarios: text files of commands, each followed by everything that it led to.

A file is read line by line in review: a change of the protocol shows as moved lines. Blocks are
separated by empty lines; a block is commands, `----`, and the trace. `#` begins a comment block.

    peers 3              start them, wait until they have formed a cluster and follow a leader
    append A key item    ask A's agent to append; `read A key` reads linearizably
    wait 0.5             let virtual seconds pass
    cut A>B B>A          lose what is sent there; `mend A>B B>A` ends that
    clog A>B             hold it back; `unclog A>B` delivers it
    pause A 1.0          the process stands still
    crash A, start A     only what is on the disk stays
    transfer A B         ask A that B leads;  `leave A`: A says goodbye
    disks 0.1            from here on, every fsync takes so many seconds
    show heartbeats      from here on; they are left out otherwise

Behind `peers 3` may stand limits, as `snapshot_entries=5`.

`python -m mabeam_p2p.testing.scenario FILE...` writes the traces anew. Do it only when you can say
why each line moved.
"""

import sys
from pathlib import Path

from msgspec import structs

from mabeam_p2p.commands import AppendJournal, OpenSession
from mabeam_p2p.config import Limits, Timing
from mabeam_p2p.ids import AgentId, PeerId, SessionId
from mabeam_p2p.messages import (
    AppendEntries,
    AppendReply,
    CommitAdvance,
    Forward,
    ForwardRefused,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    ReadIndex,
    ReadIndexReply,
    Relay,
    Relayed,
    SnapshotReply,
    TimeoutNow,
    TransferReply,
    TransferRequest,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.requests import (
    Answer,
    Committed,
    Failed,
    Found,
    HandedOver,
    JournalQuery,
    Leave,
    Read,
    Refused,
    Submit,
    Suggest,
    TransferLeadership,
)
from mabeam_p2p.testing.codec import RememberingCodec
from mabeam_p2p.testing.faults import Pause
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.outcomes import Outcomes
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.weather import (
    SECOND,
    Agents,
    Faults,
    Network,
    Processes,
    Storage,
    Weather,
)
from mabeam_p2p.wire.codec import CborCodec

RULE = "----"
FORMING_SECONDS = 30
TIMEOUT = 5.0


def play(text: str) -> str:
    """The same file with the traces that its commands lead to. Raises Violation, ValueError."""
    blocks: list[str] = []
    stage: _Stage | None = None
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        commands = lines[: lines.index(RULE)] if RULE in lines else lines
        if all(line.startswith("#") for line in commands):
            blocks.append(block)
            continue
        if stage is None:
            stage = _Stage(commands[0])
            trace = stage.take()
            commands_left = commands[1:]
        else:
            trace, commands_left = [], commands
        for command in commands_left:
            stage.do(command)
        blocks.append("\n".join([*commands, RULE, *trace, *stage.take()]))
    return "\n\n".join(blocks) + "\n"


class _Stage:
    """One cluster in fair weather, without chance: every link takes a millisecond, every fsync two
    tenths of one."""

    def __init__(self, first: str) -> None:
        word, *words = first.split()
        if word != "peers" or not words:
            raise ValueError(f"a scenario begins with `peers N`, not {first!r}")
        limits = {name: int(value) for name, _, value in (w.partition("=") for w in words[1:])}
        weather = _fair(int(words[0]), Limits(**limits))
        codec = RememberingCodec(CborCodec(weather.limits))
        self._outcomes = Outcomes(codec, weather.limits)
        self._simulator = Simulator("scenario", weather, codec, (self._outcomes,))
        self._simulator.on_send = self._sent
        self._trace: list[str] = []
        self._heartbeats = False
        self._quiet = True
        self._roles: dict[str, str] = {}
        self._snapshots: dict[str, int] = {}
        self._sequences: dict[str, int] = {}
        self._form()

    def take(self) -> list[str]:
        trace, self._trace = self._trace, []
        return trace

    # ---- commands ----------------------------------------------------------------------------

    def do(self, command: str) -> None:
        word, *arguments = command.split()
        simulator = self._simulator
        match word, arguments:
            case "wait", [seconds]:
                self._run(float(seconds))
            case "append", [letter, key, item]:
                self._append(self._host(letter), key, item)
            case "read", [letter, key]:
                self._read(self._host(letter), key)
            case "cut", links:
                simulator.links.cut(self._links(links))
            case "mend", links:
                simulator.links.mend(self._links(links))
            case "clog", links:
                simulator.links.clog(self._links(links))
            case "unclog", links:
                simulator.links.unclog(self._links(links))
            case "pause", [letter, seconds]:
                fault = Pause(self._host(letter).number, int(float(seconds) * SECOND))
                simulator.apply(fault, self._start)
            case "crash", [letter]:
                simulator.crash(self._host(letter))
            case "start", [letter]:
                self._start(self._host(letter))
            case "transfer", [letter, other]:
                self._request(letter, TransferLeadership(self._host(other).peer), command)
            case "leave", [letter]:
                self._request(letter, Leave(), command)
            case "disks", [seconds]:
                storage = Storage(sync=int(float(seconds) * SECOND), jitter=0)
                simulator.weather = structs.replace(simulator.weather, storage=storage)
            case "show", ["heartbeats"]:
                self._heartbeats = True
            case _:
                raise ValueError(f"no such command: {command!r}")

    def _form(self) -> None:
        for host in self._simulator.hosts:
            self._start(host)
        for _ in range(FORMING_SECONDS * 10):
            self._simulator.run_until(self._simulator.now + SECOND // 10)
            nodes = [host.node for host in self._simulator.hosts if host.node is not None]
            if all(node.replication.leader is not None for node in nodes):
                break
        else:
            raise ValueError("no cluster has formed")
        for host in self._simulator.hosts:
            session = SessionId(host.number + 1)
            agent = AgentId(f"agent@{host.letter.lower()}")
            epoch = host.disk.epoch
            self._ask(host, OpenSession(session, 1, agent, host.peer, epoch, (), True, True), "")
            self._sequences[host.letter] = 1
        self._simulator.run_until(self._simulator.now + SECOND)
        self._quiet = False
        self._look()

    def _run(self, seconds: float) -> None:
        """In small steps, so that a change of role is noted near its time."""
        end = self._simulator.now + int(seconds * SECOND)
        while self._simulator.now < end:
            self._simulator.run_until(min(end, self._simulator.now + 1_000))
            self._look()

    def _append(self, host: Host, key: str, item: str) -> None:
        self._sequences[host.letter] += 1
        session, sequence = SessionId(host.number + 1), self._sequences[host.letter]
        command = AppendJournal(session, sequence, key, item.encode())
        self._ask(host, command, f"append {item}")

    def _read(self, host: Host, key: str) -> None:
        def answered(answer: Answer) -> None:
            self._note(f"{host.letter} read {key}: {_answer(answer)}")

        request = Read(JournalQuery(key), linearizable=True, timeout=TIMEOUT)
        self._simulator.ask(host, request, answered)

    def _request(self, letter: str, request: TransferLeadership | Leave, what: str) -> None:
        def answered(answer: Answer) -> None:
            self._note(f"{what}: {self._answer(answer)}")

        self._simulator.ask(self._host(letter), request, answered)

    def _answer(self, answer: Answer) -> str:
        if isinstance(answer, HandedOver):
            return f"{self._letter(answer.leader)} leads in term {answer.term}"
        return _answer(answer)

    def _ask(self, host: Host, command: AppendJournal | OpenSession, what: str) -> None:
        def answered(answer: Answer) -> None:
            self._outcomes.answered(host.peer, command, answer, retried=False)
            if what:
                self._note(f"{host.letter} {what}: {_answer(answer)}")

        self._simulator.ask(host, Submit(command, TIMEOUT), answered)

    def _start(self, host: Host) -> None:
        self._simulator.start(host)
        others = [other.address for other in self._simulator.hosts if other is not host]
        self._simulator.ask(host, Suggest(tuple(others)))

    def _host(self, letter: str) -> Host:
        return self._simulator.hosts[ord(letter) - ord("A")]

    def _links(self, words: list[str]) -> tuple[tuple[int, int], ...]:
        ends = [word.split(">") for word in words]
        return tuple((self._host(a).number, self._host(b).number) for a, b in ends)

    # ---- trace -------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        if not self._quiet:
            self._trace.append(f"{self._simulator.now / SECOND:8.4f}  {text}")

    def _look(self) -> None:
        for host in self._simulator.hosts:
            role = "down"
            if host.node is not None:
                replication = host.node.replication
                role = f"{replication.role.value} in term {replication.term}"
            if self._roles.get(host.letter) != role:
                self._roles[host.letter] = role
                self._note(f"{host.letter} is {role}")
            self._look_at_snapshot(host)

    def _look_at_snapshot(self, host: Host) -> None:
        replication = None if host.node is None else host.node.replication
        index = replication.snapshots.index if replication else 0
        if replication and self._snapshots.get(host.letter, 0) != index:
            self._snapshots[host.letter] = index
            base = replication.log.base.index
            self._note(f"{host.letter} has a snapshot up to {index}, a log behind {base}")

    def _sent(self, host: Host, target: PeerId, message: Message) -> None:
        text = self._words(message)
        if text and not self._quiet:
            self._note(f"{host.letter}>{self._letter(target)} {text}")

    def _letter(self, peer: PeerId) -> str:
        return next((host.letter for host in self._simulator.hosts if host.peer == peer), "?")

    def _words(self, message: Message) -> str:
        match message:
            case VoteRequest():
                kind = "pre-vote" if message.pre else "vote"
                log = f"{message.standing.last_index}/{message.standing.last_term}"
                wanted = ", as the leader wants" if message.transfer else ""
                return f"asks for a {kind} in {message.term}, log {log}{wanted}"
            case VoteReply():
                kind = "pre-vote" if message.pre else "vote"
                ok = ", stands itself" if message.higher else ""
                return f"{'grants' if message.granted else 'refuses'} a {kind}, {message.term}{ok}"
            case AppendEntries():
                batches = " ".join(f"{b.index}-{b.last_index}/{b.term}" for b in message.batches)
                behind = f"{message.previous_index}/{message.previous_term}"
                return (
                    f"appends [{batches}] behind {behind}, commit {message.commit_index}, "
                    f"term {message.term}"
                )
            case AppendReply():
                verb = "holds" if message.success else "lacks; may agree to"
                return f"{verb} {message.match_index}, term {message.term}"
            case CommitAdvance():
                return f"commit {message.commit_index}, term {message.term}"
            case InstallSnapshot():
                end = message.offset + len(message.data)
                what = f"bytes {message.offset} to {end}" if message.data else "how much is there"
                name = f"{message.base.index}/{message.base.term}"
                return f"snapshot {name} of {message.size}: {what}, term {message.term}"
            case SnapshotReply():
                state = "installed" if message.installed else f"{message.offset} are here"
                return f"snapshot {message.index}: {state}, term {message.term}"
            case TimeoutNow():
                return f"says: stand now, log {message.last_index}, term {message.term}"
            case TransferRequest():
                return f"asks for {self._letter(message.target)} to lead"
            case TransferReply():
                return f"says of the transfer: {message.reason or 'done'}"
            case ForwardRefused():
                return f"does not take it: {message.reason}"
            case Forward():
                return f"forwards {message.count}"
            case Relay():
                return f"reports {message.count}"
            case Relayed():
                return f"passes on {message.count}"
            case ReadIndex():
                return "asks for a read index"
            case ReadIndexReply():
                return f"grants read index {message.index}"
            case Heartbeat() if self._heartbeats:
                return f"heartbeat {message.round}, commit {message.commit_index}"
            case HeartbeatReply() if self._heartbeats:
                return f"heard heartbeat {message.round}, term {message.term}"
            case _:
                return ""


def _answer(answer: Answer) -> str:
    match answer:
        case Committed():
            return f"committed at {answer.index}"
        case Found():
            items = answer.journals[0].items if answer.journals else ()
            return f"{b' '.join(items).decode() or 'nothing'}, as of {answer.index}"
        case Failed() | Refused():
            return answer.reason
        case _:
            return type(answer).__name__


def _fair(count: int, limits: Limits) -> Weather:
    return Weather(
        peers=count,
        expect=count,
        network=Network(delay=1_000, jitter=0, ordered=True),
        storage=Storage(sync=200, jitter=0),
        processes=Processes(),
        agents=Agents(),
        faults=Faults(),
        timing=Timing(),
        limits=limits,
    )


def main(paths: list[str]) -> None:
    for name in paths:
        path = Path(name)
        path.write_text(play(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
