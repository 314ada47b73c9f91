"""A leader that dies between any two messages of a ballot, alone or with everybody: tried before
every one that it sends."""

import pytest

from mabeam_p2p.commands import CastVote, OpenProposal
from mabeam_p2p.records import ProposalStatus
from mabeam_p2p.requests import Committed
from tests.bad_days.ballot import NEVER, Ballot


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
