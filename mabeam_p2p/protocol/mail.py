"""Letters between agents: ephemeral, at most once, and not in the log.

1. Who lives where is taken from the log as this peer has applied it. A letter goes once to each
   peer that hosts some of its targets, and is never sent again: what is lost, is lost, and is told.
2. A letter is heard once: letters of one peer's process are counted, and a copy, or one that
   another has overtaken, is dropped.
3. The peer that hosts a target answers with a receipt: delivered, or that its mailbox is full, or
   that no such agent is here. A mailbox holds `mailbox_letters_max` letters that its agent has not
   yet taken; a letter that is not taken until its time is up makes room.
4. An agent takes a letter by saying what it came to. If an answer was asked for, that goes back to
   the peer of the sender.
5. A sender waits for the receipts, and for the answers where it asks for some, until all have come
   or the time is up. Agents that have departed meanwhile, and those at peers that have, are not
   waited for; without a receipt they count as silent, for they may have had the letter.
6. A peer speaks for its own agents alone.
7. A letter to a group is for its other agents, those aside that yield: they have no program that
   would read it.
"""

from collections.abc import Callable
from math import inf

from mabeam_p2p.config import Limits
from mabeam_p2p.events import MailArrived
from mabeam_p2p.ids import AgentId, PeerId
from mabeam_p2p.messages import Letter, LetterAnswer, LetterReceipt, MailMessage
from mabeam_p2p.protocol.core import HeardNumbers, Outbox, numbers_before
from mabeam_p2p.protocol.deadlines import Deadlines
from mabeam_p2p.records import Agent, MailAnswer
from mabeam_p2p.requests import Done, Failed, MailSent, Refused, SendMail, TakeMail

MICROSECONDS = 1_000_000


class Sent:
    """A letter of one of this peer's agents, while its sender waits."""

    __slots__ = (
        "answer_bytes",
        "answers",
        "asked",
        "awaiting",
        "delivered",
        "full",
        "silent",
        "token",
        "underway",
        "unreachable",
    )

    def __init__(self, token: int, asked: bool) -> None:
        self.token = token
        self.asked = asked
        """Whether answers are wanted."""
        self.underway: dict[PeerId, tuple[AgentId, ...]] = {}
        """Peers whose receipt is missing, and the targets there."""
        self.awaiting: dict[AgentId, PeerId] = {}
        """Who has the letter and is to answer, and where."""
        self.delivered: list[AgentId] = []
        self.full: list[AgentId] = []
        self.unreachable: list[AgentId] = []
        self.silent: list[AgentId] = []
        """They were gone before a receipt had come."""
        self.answers: list[MailAnswer] = []
        self.answer_bytes = 0

    @property
    def is_complete(self) -> bool:
        return not self.underway and not self.awaiting

    def receipt(self, peer: PeerId, receipt: LetterReceipt) -> None:
        """What became of the targets at `peer`. Only who was addressed there counts."""
        targets = self.underway.pop(peer, None)
        if targets is None:
            return
        delivered, full = dict.fromkeys(receipt.delivered), dict.fromkeys(receipt.full)
        for agent in targets:
            if agent in delivered:
                self.delivered.append(agent)
                if self.asked:
                    self.awaiting[agent] = peer
            elif agent in full:
                self.full.append(agent)
            else:
                self.unreachable.append(agent)

    def answer(self, peer: PeerId, answer: MailAnswer, bytes_max: int) -> None:
        if self.awaiting.get(answer.agent) != peer:
            return
        del self.awaiting[answer.agent]
        self.answer_bytes += len(answer.value)
        if self.answer_bytes > bytes_max:
            error = f"dropped: the answers together are longer than {bytes_max} bytes"
            answer = MailAnswer(answer.agent, b"", error)
        self.answers.append(answer)

    def lost(self, is_lost: Callable[[AgentId, PeerId], bool]) -> None:
        """Whoever will not answer any more is not waited for."""
        for peer, targets in list(self.underway.items()):
            rest = tuple(agent for agent in targets if not is_lost(agent, peer))
            # It was sent: they may have had it before they were gone.
            self.silent.extend(agent for agent in targets if is_lost(agent, peer))
            if rest:
                self.underway[peer] = rest
            else:
                del self.underway[peer]
        for agent, peer in list(self.awaiting.items()):
            if is_lost(agent, peer):
                del self.awaiting[agent]
                self.answers.append(MailAnswer(agent, b"", "it has gone without an answer"))

    def result(self) -> MailSent:
        waiting = [agent for targets in self.underway.values() for agent in targets]
        return MailSent(
            tuple(self.delivered),
            tuple(self.full),
            tuple(self.unreachable),
            (*self.silent, *waiting, *self.awaiting),
            tuple(self.answers),
        )


class Held:
    """A letter that agents of this peer have yet to take."""

    __slots__ = ("number", "source", "waiting", "wants_answer")

    def __init__(self, source: PeerId, letter: Letter, waiting: tuple[AgentId, ...]) -> None:
        self.source = source
        self.number = letter.number
        """The sender's."""
        self.wants_answer = letter.wants_answer
        self.waiting = dict.fromkeys(waiting)


class Mail:
    """The letters of one peer's agents.

    agents_in: the live agents of a group. agent: a live agent by its id. is_here: whether a member
    can be reached now. name_of: the name of a member.
    """

    def __init__(
        self,
        peer: PeerId,
        *,
        agents_in: Callable[[str], tuple[Agent, ...]],
        agent: Callable[[AgentId], Agent | None],
        is_here: Callable[[PeerId], bool],
        name_of: Callable[[PeerId], str],
        limits: Limits,
        outbox: Outbox,
        epoch: int = 0,
    ) -> None:
        self.refused_count = 0
        """Letters that were turned away at full mailboxes, or as somebody else's."""
        self._peer = peer
        self._agents_in = agents_in
        self._agent = agent
        self._is_here = is_here
        self._name_of = name_of
        self._limits = limits
        self._outbox = outbox
        self._number = numbers_before(epoch)
        self._sent: dict[int, Sent] = {}
        self._tokens: dict[int, int] = {}
        """The number of the letter that each token waits for."""
        self._sent_until: Deadlines[int] = Deadlines()
        self._heard = HeardNumbers()
        self._held_number = numbers_before(epoch)
        """Agents may outlive this process, and take a letter that the one before it had."""
        self._held: dict[int, Held] = {}
        self._held_until: Deadlines[int] = Deadlines()
        self._mailboxes: dict[AgentId, int] = {}
        """How many letters each agent has yet to take; 0 is left out."""

    # ---- what agents ask -----------------------------------------------------------------------

    def send(self, token: int, request: SendMail, now: float) -> None:
        """Answer: MailSent. Refused: unknown_session, nobody_there, invalid; Failed: overloaded."""
        refusal = self._refusal(request)
        if refusal is not None:
            self._outbox.resolve(token, refusal)
            return
        targets = request.targets or self._others(request)
        self._number += 1
        sent = self._sent[self._number] = Sent(token, request.wants_answer)
        by_peer: dict[PeerId, list[AgentId]] = {}
        for agent in dict.fromkeys(targets):
            live = self._agent(agent)
            if live is None or not self._is_here(live.peer):
                sent.unreachable.append(agent)
            else:
                by_peer.setdefault(live.peer, []).append(agent)
        if token:
            self._tokens[token] = self._number
        self._sent_until.set(self._number, now + request.timeout / MICROSECONDS)
        # All of it first: what is delivered here is answered at once.
        sent.underway = {peer: tuple(agents) for peer, agents in by_peer.items()}
        for peer, agents in by_peer.items():
            letter = Letter(
                self._number,
                request.sender,
                tuple(agents),
                request.group,
                request.topic,
                request.value,
                request.wants_answer,
                request.timeout,
            )
            if peer == self._peer:
                self._deliver(peer, letter, now)
            else:
                self._outbox.send(peer, letter)
        self._maybe_finish(self._number)

    def take(self, token: int, request: TakeMail) -> None:
        """The agent has done with a letter. Answer: Done, also if nobody waits for it any more."""
        held = self._held.get(request.letter)
        if held is not None and request.agent in held.waiting:
            self._release(request.letter, held, request.agent)
            if held.wants_answer:
                answer = MailAnswer(request.agent, request.value, request.error)
                if held.source == self._peer:
                    self._answered(self._peer, held.number, answer)
                else:
                    self._outbox.send(held.source, LetterAnswer(held.number, answer))
        self._outbox.resolve(token, Done())

    def cancel(self, token: int) -> None:
        """Nobody waits for this token any more."""
        number = self._tokens.get(token)
        if number is not None:
            self._forget(number)

    # ---- what other peers say ------------------------------------------------------------------

    def receive(self, source: PeerId, message: MailMessage, now: float) -> None:
        match message:
            case Letter():
                self._on_letter(source, message, now)
            case LetterReceipt():
                self._on_receipt(source, message)
            case LetterAnswer():
                self._answered(source, message.number, message.answer)

    def restarted(self, peer: PeerId) -> None:
        """The peer has forgotten what it had."""
        self._lose(lambda agent, host: host == peer)

    def departed(self, agent: AgentId) -> None:
        """The agent's session has ended."""
        self._lose(lambda one, host: one == agent)
        for number, held in list(self._held.items()):
            if agent in held.waiting:
                self._release(number, held, agent)

    def members_changed(self) -> None:
        """Somebody may have gone."""
        self._lose(lambda agent, host: not self._is_here(host))

    # ---- time ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        for number in self._sent_until.take_due(now):
            self._finish(number)
        for number in self._held_until.take_due(now):
            held = self._held[number]
            for agent in tuple(held.waiting):
                self._release(number, held, agent)

    def next_deadline(self) -> float:
        if not self._sent and not self._held:
            return inf
        return min(self._sent_until.next(), self._held_until.next())

    # ---- how -----------------------------------------------------------------------------------

    def _refusal(self, request: SendMail) -> Refused | Failed | None:
        limits = self._limits
        if not self._lives_here(request.sender):
            return Refused("unknown_session", f"{request.sender} is no agent of this peer")
        if len(request.targets) > limits.agents_per_peer_max:
            return Refused("invalid", f"at most {limits.agents_per_peer_max} targets by name")
        if request.targets:
            if all(self._agent(agent) is None for agent in request.targets):
                return Refused("nobody_there", f"no agent is called {request.targets[0]}")
        elif not self._others(request):
            return Refused("nobody_there", f"no other agent is in group {request.group!r}")
        if len(self._sent) >= limits.letters_pending_max:
            return Failed("overloaded", f"{len(self._sent)} letters of this peer are under way")
        return None

    def _others(self, request: SendMail) -> tuple[AgentId, ...]:
        return tuple(
            agent.id
            for agent in self._agents_in(request.group)
            if agent.id != request.sender and not agent.yields
        )

    def _lives_here(self, agent: AgentId) -> bool:
        live = self._agent(agent)
        return live is not None and live.peer == self._peer

    def _on_letter(self, source: PeerId, letter: Letter, now: float) -> None:
        if not self._heard.is_new(source, letter.number):
            return
        _, _, home = letter.sender.partition("@")
        if home != self._name_of(source):
            self.refused_count += 1
            self._outbox.send(source, LetterReceipt(letter.number, (), ()))
            return
        self._deliver(source, letter, now)

    def _deliver(self, source: PeerId, letter: Letter, now: float) -> None:
        """Put the letter into the mailboxes of its targets; say what became of it."""
        delivered: list[AgentId] = []
        full: list[AgentId] = []
        for agent in dict.fromkeys(letter.targets):
            if not self._lives_here(agent):
                continue
            if self._mailboxes.get(agent, 0) >= self._limits.mailbox_letters_max:
                full.append(agent)
                self.refused_count += 1
            else:
                self._mailboxes[agent] = self._mailboxes.get(agent, 0) + 1
                delivered.append(agent)
        if delivered:
            self._held_number += 1
            number = self._held_number
            self._held[number] = Held(source, letter, tuple(delivered))
            self._held_until.set(number, now + letter.timeout / MICROSECONDS)
            self._outbox.notify(
                MailArrived(
                    number,
                    letter.sender,
                    tuple(delivered),
                    letter.group,
                    letter.topic,
                    letter.value,
                    letter.wants_answer,
                    letter.timeout,
                )
            )
        receipt = LetterReceipt(letter.number, tuple(delivered), tuple(full))
        if source == self._peer:
            self._on_receipt(source, receipt)
        else:
            self._outbox.send(source, receipt)

    def _on_receipt(self, source: PeerId, receipt: LetterReceipt) -> None:
        sent = self._sent.get(receipt.number)
        if sent is not None:
            sent.receipt(source, receipt)
            self._maybe_finish(receipt.number)

    def _answered(self, source: PeerId, number: int, answer: MailAnswer) -> None:
        sent = self._sent.get(number)
        if sent is not None:
            sent.answer(source, answer, self._limits.mail_answers_bytes_max)
            self._maybe_finish(number)

    def _lose(self, is_lost: Callable[[AgentId, PeerId], bool]) -> None:
        for number, sent in list(self._sent.items()):
            sent.lost(is_lost)
            self._maybe_finish(number)

    def _release(self, number: int, held: Held, agent: AgentId) -> None:
        """The letter is in the agent's mailbox no longer."""
        del held.waiting[agent]
        left = self._mailboxes[agent] - 1
        if left:
            self._mailboxes[agent] = left
        else:
            del self._mailboxes[agent]
        if not held.waiting:
            del self._held[number]
            self._held_until.drop(number)

    def _maybe_finish(self, number: int) -> None:
        sent = self._sent.get(number)
        if sent is not None and sent.is_complete:
            self._finish(number)

    def _finish(self, number: int) -> None:
        sent = self._sent[number]
        self._forget(number)
        self._outbox.resolve(sent.token, sent.result())

    def _forget(self, number: int) -> None:
        sent = self._sent.pop(number)
        self._tokens.pop(sent.token, None)
        self._sent_until.drop(number)
