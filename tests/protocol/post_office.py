"""Some mail cores and what travels between them, as a test lets it."""

from mabeam_p2p.config import Limits
from mabeam_p2p.effects import Notify, Resolve, Send
from mabeam_p2p.events import MailArrived
from mabeam_p2p.ids import GROUP_ALL, AgentId, PeerId, SessionId
from mabeam_p2p.messages import Letter, LetterAnswer, LetterReceipt, MailMessage
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.records import Agent
from mabeam_p2p.requests import Answer, MailSent, SendMail, TakeMail

SECOND = 1_000_000

Travelling = tuple[PeerId, PeerId, MailMessage]
"""Source, target, message."""


def peer_id(name: str) -> PeerId:
    return PeerId(f"{ord(name[0]):016x}")


class PostOffice:
    """Peers called a, b, c, ...: an agent `x@a` lives at a."""

    def __init__(self, *agents: str, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.now = 0.0
        self.agents: dict[AgentId, Agent] = {}
        self.away: list[PeerId] = []
        """Members that cannot be reached."""
        self.travelling: list[Travelling] = []
        self.arrived: dict[str, list[MailArrived]] = {}
        """By peer."""
        self.answers: dict[int, list[Answer]] = {}
        """By token."""
        self.mails: dict[PeerId, Mail] = {}
        self._epochs: dict[PeerId, int] = {}
        self._outboxes: dict[PeerId, Outbox] = {}
        self._token = 0
        for agent in agents:
            self.join(agent)

    def join(self, name: str, *groups: str, yields: bool = False) -> None:
        """name: as `x@a`."""
        _, _, home = name.partition("@")
        peer = peer_id(home)
        agent = AgentId(name)
        number = len(self.agents) + 1
        self.agents[agent] = Agent(
            agent, peer, 1, SessionId(number), groups, True, True, (), number, yields=yields
        )
        if peer not in self.mails:
            self.arrived[home] = []
            self._start(peer)

    def _start(self, peer: PeerId) -> None:
        outbox = self._outboxes[peer] = Outbox()
        self._epochs[peer] = self._epochs.get(peer, 0) + 1
        self.mails[peer] = Mail(
            peer,
            agents_in=self._agents_in,
            agent=self.agents.get,
            is_here=lambda other: other not in self.away,
            name_of=lambda other: chr(int(other, 16)),
            limits=self.limits,
            outbox=outbox,
            epoch=self._epochs[peer],
        )

    def restart(self, home: str) -> None:
        """A new process of this peer, which the others meet; its agents' sessions go on."""
        self._start(peer_id(home))
        for peer, mail in self.mails.items():
            if peer != peer_id(home):
                mail.restarted(peer_id(home))
                self._take(peer)

    def leave(self, name: str) -> None:
        """Every peer applies that the agent's session has ended."""
        del self.agents[AgentId(name)]
        for peer, mail in self.mails.items():
            mail.departed(AgentId(name))
            self._take(peer)

    def lose(self, home: str) -> None:
        """The members see that a peer is dead."""
        self.away.append(peer_id(home))
        for peer, mail in self.mails.items():
            mail.members_changed()
            self._take(peer)

    # ---- agents ------------------------------------------------------------------------------

    def send(
        self,
        sender: str,
        *targets: str,
        group: str = GROUP_ALL,
        asks: bool = False,
        value: bytes = b"\x01",
        timeout: int = 5 * SECOND,
    ) -> int:
        """The token of what was sent."""
        self._token += 1
        self.answers[self._token] = []
        home = peer_id(sender.partition("@")[2])
        names = tuple(map(AgentId, targets))
        request = SendMail(AgentId(sender), names, group, "topic", value, asks, timeout)
        self.mails[home].send(self._token, request, self.now)
        self._take(home)
        return self._token

    def take(self, agent: str, arrived: MailArrived, value: bytes = b"", error: str = "") -> None:
        home = peer_id(agent.partition("@")[2])
        self.mails[home].take(0, TakeMail(AgentId(agent), arrived.letter, value, error))
        self._take(home)

    def sent(self, token: int) -> MailSent:
        (answer,) = self.answers[token]
        assert isinstance(answer, MailSent)
        return answer

    def is_open(self, token: int) -> bool:
        return not self.answers[token]

    # ---- the network -------------------------------------------------------------------------

    def deliver(self, position: int = 0, *, copy: bool = False) -> None:
        """Let one of the messages arrive; copy: and let it come once more."""
        source, target, message = self.travelling[position]
        if not copy:
            del self.travelling[position]
        self.mails[target].receive(source, message, self.now)
        self._take(target)

    def deliver_all(self) -> None:
        while self.travelling:
            self.deliver()

    def drop(self, position: int = 0) -> MailMessage:
        return self.travelling.pop(position)[2]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for peer, mail in self.mails.items():
            assert mail.next_deadline() >= self.now - seconds
            mail.tick(self.now)
            self._take(peer)
            assert mail.next_deadline() > self.now

    def _agents_in(self, group: str) -> tuple[Agent, ...]:
        everybody = tuple(self.agents.values())
        if group == GROUP_ALL:
            return everybody
        return tuple(agent for agent in everybody if group in agent.groups)

    def _take(self, peer: PeerId) -> None:
        for effect in self._outboxes[peer].take():
            match effect:
                case Send(target=target, message=message):
                    assert isinstance(message, Letter | LetterReceipt | LetterAnswer)
                    self.travelling.append((peer, target, message))
                case Notify(event=event):
                    assert isinstance(event, MailArrived)
                    self.arrived[chr(int(peer, 16))].append(event)
                case Resolve(token=token, answer=answer):
                    self.answers[token].append(answer)
                case _:
                    raise AssertionError(f"mail wants {effect}")
