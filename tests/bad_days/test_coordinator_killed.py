"""A section's coordinator that dies between any two messages of a ballot: tried before every one
that it sends. It stays away until the ballot is over."""

import pytest

from mabeam_p2p.commands import CastVote, OpenProposal
from mabeam_p2p.config import Limits
from mabeam_p2p.records import ProposalStatus
from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.host import Host
from tests.bad_days.ballot import NEVER, TIMEOUT, Ballot
from tests.bad_days.stage import Stage

LIMITS = Limits(relay_from_peers=2)


def coordinator(stage: Stage) -> Host:
    """One that another peer reports to."""
    leader = stage.leader()
    assert leader is not None
    ways = {host: host.node.relays.route(leader.peer) for host in stage.hosts if host.node}
    asked = [way for host, way in ways.items() if way not in (None, host.peer)]
    return next(host for host in stage.hosts if host.peer == asked[0])


@pytest.mark.fault("U11")
@pytest.mark.slow
def test_coordinator_killed_between_any_two_messages_of_a_ballot_costs_no_vote() -> None:
    decided: list[bool] = []
    for place in range(Ballot(NEVER, victim=coordinator, limits=LIMITS).blade.count):
        ballot = Ballot(place, victim=coordinator, down=2 * TIMEOUT, limits=LIMITS)
        result, *others = ballot.results()
        assert result is not None
        assert all(other == result for other in others), f"killed before frame {place}"
        votes = {vote.agent: vote.index for vote in result.votes}
        for client in ballot.clients:
            for answer in client.knows(OpenProposal) + client.knows(CastVote):
                assert isinstance(answer, Committed), f"killed before frame {place}: {answer}"
        # Nobody but the killed peer's own agent can have failed to vote.
        assert {client.name for client in ballot.clients[1:]} <= set(votes), f"frame {place}"
        assert result.status is ProposalStatus.ACCEPTED
        decided.append(result.reason == "decided")
    assert (decided[0], decided[-1]) == (False, True)
