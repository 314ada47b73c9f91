"""A leader that dies between any two messages of a ballot, alone or with everybody: tried before
every one that it sends."""

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
TIMEOUT = SECOND
DOWN = SECOND // 4
"""How long the killed peer is down."""
NEVER = -1


class Blade:
    """In place of the links' `send`: kills the first of `victims` before it sends its frame number
    `place`, counted from 0, and the others with it. In the middle of a turn the frames before have
    left already."""

    def __init__(self, stage: Stage, victims: list[Host], place: int, *, keeps: bool) -> None:
        self.count = 0
        """Frames that the first victim has sent, or was killed over."""
        self._stage = stage
        self._victims = victims
        self._life = victims[0].life
        self._place = place
        self._keeps = keeps
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
        self._stage.simulator.after(DOWN, self._stage.start, *self._victims)


class Ballot:
    """Five agents, one on each peer, and a proposal of an agent that does not live on the leader's.
    They vote as soon as they hear of it."""

    def __init__(self, place: int, *, keeps: bool = False, everybody: bool = False) -> None:
        self.stage = stage = Stage("ballot")
        self.leader = stage.formed()
        self.term = stage.status(self.leader).term
        hosts = [self.leader, *(host for host in stage.hosts if host is not self.leader)]
        self.clients = [Client(stage, host) for host in hosts]
        for client in self.clients:
            client.open()
        stage.until(lambda: all(client.known for client in self.clients))
        self._silent = list(self.clients)
        victims = hosts if everybody else [self.leader]
        self.blade = Blade(stage, victims, place, keeps=keeps)
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


@pytest.mark.fault("C14")
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


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [False, True], ids=["unsynced lost", "unsynced kept"])
def test_all_peers_killed_between_any_two_messages_of_a_ballot_lose_nothing_acknowledged(
    keeps: bool,
) -> None:
    opened: list[bool] = []
    for place in range(Ballot(NEVER).blade.count):
        ballot = Ballot(place, keeps=keeps, everybody=True)
        result, *others = ballot.results()
        assert all(other == result for other in others), f"killed before frame {place}"
        opened.append(result is not None)
        if result is None:
            assert not any(client.knows(OpenProposal) for client in ballot.clients)
            continue
        votes = {vote.agent: vote.index for vote in result.votes}
        for client in ballot.clients:
            for answer in client.knows(CastVote):
                assert isinstance(answer, Committed), f"killed before frame {place}: {answer}"
                assert votes[client.name] == answer.index
    # What only the leader has on its disk may come back, too: nobody was told of it.
    assert (opened[0], opened[-1]) == (keeps, True)
