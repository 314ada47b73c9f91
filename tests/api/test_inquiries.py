import pytest

from mabeam_p2p import PeerEvidence, UnknownPeer
from tests.api.clusters import agents
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_an_agent_is_told_of_any_peer_by_name_or_id() -> None:
    async with agents(3) as (a, b, _):
        seen = await a.why(b.peer)
        assert isinstance(seen, PeerEvidence)
        assert (seen.name, seen.by, seen.state, seen.part) == (b.peer, a.peer, "alive", "voter")
        assert seen.hearing is not None
        assert seen.link is not None
        assert (await a.why(seen.peer)).name == b.peer
        own = await a.why(a.peer)
        assert own.is_self
        await eventually(lambda: a.leader is not None and a.leader == b.leader)
        leaders = {(await agent.why(seen.peer)).leader for agent in (a, b)}
        assert len(leaders) == 1
        plain = seen.to_dict()
        assert isinstance(plain["hearing"], dict)
        with pytest.raises(UnknownPeer, match="mabeam members"):
            await a.why("nobody")


@in_loop
async def test_a_peer_that_is_no_member_any_more_is_asked_for_by_its_id() -> None:
    async with agents(1) as (a,):
        seen = await a.why("f" * 16)
        assert (seen.state, seen.name, seen.hearing) == ("unknown", "", None)
        assert seen.obstacles[0].reason == "no_member"
