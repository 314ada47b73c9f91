"""A ballot in which somebody dies between two messages."""

from collections.abc import Callable

import pytest

from mabeam_p2p.commands import CastVote, OpenProposal
from mabeam_p2p.config import Limits
from mabeam_p2p.ids import ProposalId
from mabeam_p2p.messages import Frame
from mabeam_p2p.records import Choice, Policy, Proposal, ProposalStatus
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import SECOND
from tests.bad_days.stage import Client, Stage

BALLOT = ProposalId("ballot")
UNANIMOUS = Policy(
    accept_numerator=1, accept_denominator=1, reject_numerator=1, reject_denominator=1
)
"""All accept, and until the last vote has come only the deadline can decide."""
TIMEOUT = SECOND
DOWN = SECOND // 4
"""How long the killed peer is down."""
NEVER = -1


class Blade:
    """In place of the links' `send`: kills the first of `victims` before it sends its frame number
    `place`, counted from 0, and the others with it. In the middle of a turn the frames before have
    left already."""

    def __init__(
        self, stage: Stage, victims: list[Host], place: int, *, keeps: bool, down: int
    ) -> None:
        """down: microseconds for which they are gone."""
        self.count = 0
        """Frames that the first victim has sent, or was killed over."""
        self._stage = stage
        self._victims = victims
        self._life = victims[0].life
        self._place = place
        self._keeps = keeps
        self._down = down
        self._is_raised = False
        self._send = stage.simulator.links.send

    def __call__(self, source: int, destination: int, address: str, frame: Frame) -> None:
        first = self._victims[0]
        if source == first.number and first.life == self._life:
            if self.count == self._place:
                # When this turn is over, at this very moment. Until then nothing more leaves.
                self._stage.simulator.after(0, self._strike)
                self._is_raised = True
            self.count += 1
            if self._is_raised:
                return
        self._send(source, destination, address, frame)

    def _strike(self) -> None:
        self._stage.kill(*self._victims, keeps=self._keeps)
        self._stage.simulator.after(self._down, self._stage.start, *self._victims)


class Ballot:
    """Five agents, one on each peer, and a proposal of an agent that does not live on the victim's.
    They vote as soon as they hear of it."""

    def __init__(
        self,
        place: int,
        *,
        keeps: bool = False,
        everybody: bool = False,
        victim: Callable[[Stage], Host] | None = None,
        down: int = DOWN,
        limits: Limits | None = None,
    ) -> None:
        """victim: None means the leader."""
        self.stage = stage = Stage("ballot", limits=limits)
        self.leader = stage.formed()
        self.term = stage.status(self.leader).term
        first = self.leader if victim is None else victim(stage)
        hosts = [first, *(host for host in stage.hosts if host is not first)]
        self.clients = [Client(stage, host) for host in hosts]
        for client in self.clients:
            client.open()
        stage.until(lambda: all(client.known for client in self.clients))
        self._silent = list(self.clients)
        victims = hosts if everybody else [first]
        self.blade = Blade(stage, victims, place, keeps=keeps, down=down)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage.simulator.links, "send", self.blade)
            self._propose(self.clients[1])
            stage.until(self._is_over)

    def results(self) -> list[Proposal | None]:
        """What each peer holds."""
        return [self.stage.proposal(host, BALLOT) for host in self.stage.hosts]

    def _propose(self, client: Client) -> None:
        client.submit(
            OpenProposal(
                client.session,
                client.number(),
                BALLOT,
                "rate",
                b"\x01",
                "",
                b"",
                "all",
                TIMEOUT,
                None,
                UNANIMOUS,
            )
        )

    def _is_over(self) -> bool:
        for client in [c for c in self._silent if self.stage.proposal(c.host, BALLOT)]:
            self._silent.remove(client)
            client.submit(
                CastVote(client.session, client.number(), BALLOT, Choice.ACCEPT, 1000, "at once")
            )
        if len(self.stage.nodes) < len(self.stage.hosts) or self.stage.leader() is None:
            return False
        if any(client.is_waiting for client in self.clients) or not self.stage.agree():
            return False
        return all(p is None or p.status is not ProposalStatus.OPEN for p in self.results())
