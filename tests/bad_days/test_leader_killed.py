"""A leader that dies between any two messages of a ballot: tried before every one that it sends."""

import pytest

from mabeam_p2p.commands import CastVote, OpenProposal
from mabeam_p2p.ids import ProposalId
from mabeam_p2p.messages import Frame
from mabeam_p2p.records import Choice, Policy, Proposal, ProposalStatus
from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.weather import SECOND
from tests.bad_days.stage import Client, Stage

BALLOT = ProposalId("ballot")
UNANIMOUS = Policy(
    accept_numerator=1, accept_denominator=1, reject_numerator=1, reject_denominator=1
)
"""All accept, and until the last vote has come only the deadline can decide."""
TIMEOUT = 2 * SECOND
DOWN = SECOND
"""How long the killed peer is down."""
NEVER = -1


class Blade:
    """In place of the links' `send`: kills a peer before it sends its frame number `place`, counted
    from 0. In the middle of a turn the frames before have left already."""

    def __init__(self, stage: Stage, victim: Host, place: int, *, keeps: bool) -> None:
        self.count = 0
        """Frames that the victim has sent, or was killed over."""
        self._stage = stage
        self._victim = victim
        self._life = victim.life
        self._place = place
        self._keeps = keeps
        self._has_struck = False
        self._send = stage.simulator.links.send

    def __call__(self, source: int, destination: int, address: str, frame: Frame) -> None:
        if source == self._victim.number and self._victim.life == self._life:
            if self.count == self._place:
                # When this turn is over, at this very moment. Until then nothing more leaves.
                self._stage.simulator.after(0, self._strike)
                self._has_struck = True
            self.count += 1
            if self._has_struck:
                return
        self._send(source, destination, address, frame)

    def _strike(self) -> None:
        if self._victim.life == self._life:
            self._stage.kill(self._victim, keeps=self._keeps)
            self._stage.simulator.after(DOWN, self._stage.start, self._victim)


class Ballot:
    """Five agents, one on each peer, and a proposal of an agent that does not live on the leader's.
    They vote as soon as they hear of it."""

    def __init__(self, place: int, *, keeps: bool = False) -> None:
        self.stage = stage = Stage("ballot")
        self.leader = stage.formed()
        self.term = stage.status(self.leader).term
        hosts = [self.leader, *(host for host in stage.hosts if host is not self.leader)]
        self.clients = [Client(stage, host) for host in hosts]
        for client in self.clients:
            client.open()
        stage.until(lambda: all(client.known for client in self.clients))
        self._silent = list(self.clients)
        self.blade = Blade(stage, self.leader, place, keeps=keeps)
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
        closed = [p is not None and p.status is not ProposalStatus.OPEN for p in self.results()]
        return all(closed) and self.stage.agree()


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [False, True], ids=["unsynced lost", "unsynced kept"])
def test_leader_killed_between_any_two_messages_of_a_ballot_leaves_one_result_and_every_vote(
    keeps: bool,
) -> None:
    seen: list[tuple[str, bool]] = []
    for place in range(Ballot(NEVER).blade.count):
        ballot = Ballot(place, keeps=keeps)
        result, *others = ballot.results()
        assert result is not None
        assert all(other == result for other in others), f"killed before frame {place}"
        votes = {vote.agent: vote for vote in result.votes}
        for client in ballot.clients:
            for answer in client.knows(CastVote):
                assert isinstance(answer, Committed), f"killed before frame {place}: {answer}"
                assert votes[client.name].index == answer.index
        # Nobody but the killed peer's own agent can have failed to vote.
        assert {client.name for client in ballot.clients[1:]} <= set(votes)
        assert result.status is ProposalStatus.ACCEPTED
        assert result.reason == (
            "decided" if votes.keys() == set(result.electorate) else "deadline"
        )
        seen.append((result.reason, result.opened_term == ballot.term))
    # It died before the opening was safe, while the votes came, and after the last one.
    assert seen[0] == ("deadline", False)
    assert ("deadline", True) in seen
    assert seen[-1] == ("decided", True)
