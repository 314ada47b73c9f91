"""Real peers in this process, from the public names down to the sockets."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mabeam_p2p
from mabeam_p2p import (
    AuthenticationError,
    Closed,
    Config,
    ConflictingVote,
    InvalidValue,
    MabeamTimeout,
    NameTaken,
    NoElectorate,
    NoQuorum,
    NotEligible,
    Peer,
    PeerRefused,
    Proposal,
    ProposalClosed,
    Rejected,
    Timing,
    UnknownProposal,
    Vote,
)
from mabeam_p2p.api.results import decoded
from tests.api.clusters import agents, cluster, lags_behind, started
from tests.eventually import eventually, in_one_of
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@pytest.mark.fault("C13")
@in_loop
async def test_accepted_value_is_the_parameter_everywhere_with_its_votes() -> None:
    async with agents(3) as (a, b, c):
        for agent in (a, b, c):

            @agent.on_proposal("learning_*")
            async def judge(proposal: Proposal) -> Vote:
                return Vote.accept(f"{proposal.value} is fine", confidence=0.75)

        decision = await a.propose(
            "learning_rate", 0.003, rationale="loss flat", metadata={"epoch": 5}
        )
        assert decision.raise_for_status() is decision
        assert decision.accept_ratio == 1.0
        assert decision.participation >= 2 / 3
        assert (decision.rationale, decision.metadata) == ("loss flat", {"epoch": 5})
        assert {vote.confidence for vote in decision.votes} == {0.75}
        assert a.parameters["learning_rate"] == 0.003
        reading = await c.parameters.read("learning_rate")
        assert (reading.value, reading.version, reading.level) == (
            0.003,
            decision.index,
            "linearizable",
        )
        # An explanation is a local read: the third peer may be a moment behind.
        await eventually(lambda: "learning_rate" in b.parameters)
        assert (await b.explain(decision.id)).votes[: len(decision.votes)] == decision.votes


@in_loop
async def test_agents_without_an_evaluator_abstain_and_the_result_says_so() -> None:
    async with agents(3) as (a, *_):
        decision = await a.propose("batch_size", 128)
        assert decision.status == "no_clear_majority"
        assert {vote.rationale for vote in decision.votes} == {"no evaluator for this parameter"}
        assert "batch_size" not in a.parameters
        with pytest.raises(Rejected) as caught:
            decision.raise_for_status()
        assert caught.value.reason == "no_clear_majority"


@in_loop
async def test_rejection_is_a_result_and_no_error() -> None:
    async with agents(3) as (a, b, c):
        for agent in (a, b, c):
            agent.on_proposal("*")(lambda proposal: Vote.reject("diverged at 0.1"))
        decision = await b.propose("learning_rate", 0.1)
        assert (decision.status, decision.accepted) == ("rejected", False)
        assert decision.votes[0].rationale == "diverged at 0.1"


@in_loop
async def test_second_of_two_proposals_on_one_version_is_in_conflict() -> None:
    async with agents(3) as (a, b, c):
        for agent in (a, b, c):
            agent.on_proposal("*")(lambda proposal: Vote.accept())
        first = await a.propose("rate", 1)
        second = await b.propose("rate", 2, base_version=first.index)
        late = await c.propose("rate", 3, base_version=first.index)
        assert (second.status, late.status) == ("accepted", "conflict")
        assert (await c.parameters.read("rate")).value == 2


@in_loop
async def test_same_id_is_the_same_proposal() -> None:
    async with agents(3) as (a, b, c):
        for agent in (a, b, c):
            agent.on_proposal("*")(lambda proposal: Vote.accept())
        first = await a.propose("rate", 1, id="mine")
        again = await a.propose("rate", 1, id="mine")
        assert again == first
        await eventually(lambda: "rate" in b.parameters)
        assert [proposal.id for proposal in await b.proposals()] == ["mine"]


@in_loop
async def test_votes_by_hand_are_judged_by_the_log() -> None:
    async with cluster(3) as peers:
        a, b, c = [await peer.agent(f"a{n}", vote_manually=True) for n, peer in enumerate(peers)]
        asking = asyncio.create_task(a.propose("rate", 1))
        await eventually(lambda: "a1@p1" in {v.id for v in b.info().agents})
        opened = b.events("proposal.opened")
        proposals: tuple[Proposal, ...] = ()
        while not proposals:
            proposals = await b.proposals()
        opened.close()
        ident = proposals[0].id
        with pytest.raises(UnknownProposal):
            await b.vote("nothing", "accept")
        await b.vote(ident, "accept", confidence=0.5, rationale="by hand")
        await b.vote(ident, "accept", confidence=0.5, rationale="by hand")
        with pytest.raises(ConflictingVote, match="first vote binds"):
            await b.vote(ident, "reject")
        late = await peers[0].agent("late")
        with pytest.raises(NotEligible):
            await late.vote(ident, "accept")
        await c.vote(ident, "accept")
        decision = await asking
        assert [vote.rationale for vote in decision.votes] == ["by hand", ""]
        lags_behind(c)
        assert (await c.explain(ident)).id == ident, "others have it already"
        with pytest.raises(ProposalClosed):
            await a.vote(ident, "reject")


@in_loop
async def test_group_is_the_electorate_of_its_proposals() -> None:
    async with cluster(3) as peers:
        one = [await peer.agent(f"v{n}", groups=["vision"]) for n, peer in enumerate(peers)]
        other = await peers[0].agent("outsider")
        for agent in one:
            agent.on_proposal("*")(lambda proposal: Vote.reject("not for all"))
            agent.group("vision").on_proposal("*")(lambda proposal: Vote.accept())
        decision = await other.group("vision").propose("crop", 224)
        assert decision.accepted
        assert decision.electorate == ("v0@p0", "v1@p1", "v2@p2")
        assert decision.parameter == "vision:crop", "a group's names are its own"
        assert other.parameters["vision:crop"] == 224
        assert [p.id for p in await other.group("vision").proposals()] == [decision.id]
        assert await other.group("sound").proposals() == ()
        assert {agent.id for agent in other.group("vision").agents()} == set(decision.electorate)


@in_loop
async def test_who_is_not_let_in_by_a_code_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the agent had under way when its peer ended."""
    join = partial(mabeam_p2p.join, mdns=False, data_dir=":memory:")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "one"))
    async with join("one", expect=1) as one:
        code = await one.keys.invite(once=True)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "two"))
        async with join("two", join_code=code) as two:
            assert {member.name for member in two.members()} == {"one", "two"}
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "three"))
        for _ in range(3):
            with pytest.raises(AuthenticationError, match="has let in another") as refused:
                await join("three", join_code=code)
            assert refused.value.reason == "used"


@in_loop
async def test_group_without_agents_has_no_electorate() -> None:
    async with agents(3) as (a, *_):
        with pytest.raises(NoElectorate, match="wait for more agents"):
            await a.group("nobody").propose("rate", 1)


@in_loop
async def test_variables_reach_everybody_and_own_writes_are_seen_at_once() -> None:
    async with agents(3) as (a, b, c):
        written = await a.variables.set("epsilon", 0.2, wait="all")
        assert sorted(written.applied) == ["p1", "p2"]
        assert (a.variables["epsilon"], "epsilon" in a.variables) == (0.2, True)
        reading = await c.variables.read("epsilon")
        assert (reading.value, reading.level, reading.index) == (0.2, "local", None)
        await a.variables.delete("epsilon", wait="all")
        assert "epsilon" not in a.variables
        await eventually(lambda: "epsilon" not in b.variables)
        with pytest.raises(KeyError):
            await a.variables.read("epsilon")


@in_loop
async def test_batch_is_seen_whole_and_watched() -> None:
    async with agents(3) as (a, b, _):
        await a.variables.set("model/old", 0, wait="all")
        watch = b.variables.watch("model/*")
        first = await anext(watch)
        assert (first.name, first.value, first.initial) == ("model/old", 0, True)
        async with a.variables.batch(wait="all") as batch:
            batch["model/a"] = 1
            batch["model/b"] = 2
            del batch["model/old"]
        assert batch.acknowledgement is not None
        changes = [await anext(watch) for _ in range(3)]
        assert {change.name: change.value for change in changes} == {
            "model/a": 1,
            "model/b": 2,
            "model/old": None,
        }
        assert not any(change.initial for change in changes)


@in_loop
async def test_concurrent_additions_all_count() -> None:
    async with agents(3) as everyone:
        for agent in everyone:
            agent.variables.resolver("rounds", "counter")
        await asyncio.gather(
            *(
                agent.variables.add("rounds", amount, wait="all")
                for agent in everyone
                for amount in (1, 2, 3)
            )
        )
        await eventually(lambda: all(agent.variables["rounds"] == 18 for agent in everyone))


@in_loop
async def test_of_concurrent_maxima_the_greatest_stands() -> None:
    async with agents(3) as everyone:
        for agent in everyone:
            agent.variables.resolver("best/*", max)

        async def are_concurrent() -> bool:
            name = f"best/{len(everyone[0].variables)}"
            await asyncio.gather(
                *(agent.variables.set(name, n, wait="all") for n, agent in enumerate(everyone))
            )
            views = [agent._attachment.view.variables.entries for agent in everyone]
            await eventually(lambda: len({entries[name] for entries in views}) == 1)
            standing = [decoded(sibling.value or b"") for sibling in views[0][name].siblings]
            assert [agent.variables[name] for agent in everyone] == [max(standing)] * 3
            # Who was so slow that it had seen the others' has replaced them.
            return len(standing) == 3

        await in_one_of(5, are_concurrent)


@pytest.mark.fault("C10")
@in_loop
async def test_evaluator_of_the_proposer_may_ask_the_cluster_while_the_proposal_waits() -> None:
    async with agents(3) as (a, b, c):
        for agent in (b, c):
            agent.on_proposal("*")(lambda proposal: Vote.accept())
        # It takes the proposer's own vote.
        c.on_proposal("outer")(lambda proposal: Vote.abstain())

        @a.on_proposal("outer")
        async def judge(proposal: Proposal) -> Vote:
            inner = await a.propose("inner", proposal.value)
            reading = await a.parameters.read("inner")
            return Vote.accept(f"{inner.status} as {reading.value}")

        @a.on_proposal("inner")
        def agree(proposal: Proposal) -> Vote:
            return Vote.accept()

        decision = await a.propose("outer", 7)
        assert decision.accepted
        await eventually(lambda: a.parameters.get("inner") == 7)


@in_loop
async def test_agents_by_the_log_are_those_of_the_group_and_know_when_they_joined() -> None:
    async with cluster(3) as peers:
        first = await peers[0].agent("x", groups=["vision"])
        other = await peers[1].agent("y")
        (x,) = await other.group("vision").read_agents()
        both = await other.group("all").read_agents()
        assert [agent.id for agent in both] == ["x@p0", "y@p1"]
        await first.close()
        await eventually(lambda: first.id not in {agent.id for agent in other.agents()})
        assert await other.group("vision").read_agents() == ()
        await peers[0].agent("x", groups=["vision"])
        (again,) = await other.group("vision").read_agents()
        assert (again.id, again.joined_index > x.joined_index) == (x.id, True)


@in_loop
async def test_values_that_cannot_travel_are_refused_before_they_are_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with agents(3) as (a, *_):
        monkeypatch.setattr(a._attachment.backend, "ask", lambda sent: pytest.fail(str(sent)))
        for value in (object(), {1: 2}, float("nan"), "x" * 70_000):
            with pytest.raises(InvalidValue):
                await a.propose("rate", value)
            with pytest.raises(InvalidValue):
                await a.variables.set("rate", value)
        with pytest.raises(InvalidValue):
            await a.propose("rate", 1, rationale="x" * 3_000)
        monkeypatch.undo()


@in_loop
async def test_events_tell_what_happens_from_now_on() -> None:
    async with agents(3) as (a, b, c):
        events = b.events("agent.*", "journal.appended")
        await a.journal("run").append(1)
        assert (await anext(events)).to_dict() == {
            "event": "journal.appended",
            "journal": "run",
            "position": 1,
            "items": [1],
        }
        await c.close()
        left = await anext(events)
        assert (left.name, left.facts["id"]) == ("agent.left", "a2@p2")
        with pytest.raises(InvalidValue, match="no event is called"):
            b.events("membr.*")


@in_loop
async def test_members_and_leader_are_waited_for() -> None:
    async with cluster(3) as peers:
        a, b, c = await asyncio.gather(*(peer.agent("a") for peer in peers))
        members = await a.wait_for_members(3, timeout=10)
        assert [member.name for member in members] == ["p0", "p1", "p2"]
        assert members[1].to_dict()["state"] == "alive"
        leader = await b.wait_for_leader(timeout=10)
        assert leader.name in {"p0", "p1", "p2"}
        await eventually(lambda: a.leader is not None and a.info().leader == b.leader == c.leader)
        with pytest.raises(MabeamTimeout, match="3 of 5 members are alive"):
            await a.wait_for_members(5, timeout=0.05)


@in_loop
async def test_name_of_a_live_agent_is_not_given_twice() -> None:
    # A dead one's would be free after these times: they are waited for.
    quick = Timing(suspect_seconds=1.0, dead_seconds=1.5, departure_grace_seconds=0.1)
    async with cluster(3, quick) as peers:
        await asyncio.gather(*(peer.agent("a") for peer in peers))
        with pytest.raises(NameTaken, match="take another name"):
            await peers[0].agent("a")


@in_loop
async def test_join_without_a_cluster_says_how_many_peers_it_sees() -> None:
    with pytest.raises(MabeamTimeout, match="1 of the 3 peers that it expects"):
        await mabeam_p2p.join(
            "lonely", cluster="test", data_dir=":memory:", mdns=False, timeout=0.3
        )


@in_loop
async def test_name_of_a_live_peer_is_refused_at_once() -> None:
    async with cluster(3) as peers:
        await asyncio.gather(*(peer.agent("a") for peer in peers))
        seed = (await peers[0].status()).address
        with pytest.raises(PeerRefused, match="'p0' is taken") as caught:
            await mabeam_p2p.join(
                "p0", cluster="test", seeds=[seed], data_dir=":memory:", mdns=False
            )
        assert caught.value.reason == "name"


@in_loop
async def test_refusal_by_another_cluster_is_told_when_joining_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    plain: Any = {"data_dir": ":memory:", "mdns": False, "insecure_plaintext": True, "timeout": 3}
    async with cluster(1, insecure_plaintext=True) as peers:
        seed = (await peers[0].status()).address
        with pytest.raises(MabeamTimeout, match=r"refuses it.*'test'"):
            await mabeam_p2p.join("q", cluster="other", seeds=[seed], **plain)


@in_loop
async def test_cluster_whose_secret_is_another_says_nothing_and_a_code_is_advised() -> None:
    async with cluster(1) as peers:
        seed = (await peers[0].status()).address
        with pytest.raises(MabeamTimeout, match=r"other host, user or cluster.*join code"):
            await mabeam_p2p.join(
                "q", cluster="other", seeds=[seed], data_dir=":memory:", mdns=False, timeout=1
            )
        assert [member.name for member in peers[0].members()] == ["p0"]


@in_loop
async def test_agents_and_peers_close_twice_and_then_refuse() -> None:
    async with cluster(3) as peers:
        agent, *_ = await asyncio.gather(*(peer.agent("a") for peer in peers))
        events = agent.events()
        await agent.close()
        await agent.close()
        with pytest.raises(Closed):
            await agent.journal("run").append(1)
        async for event in events:
            assert event.name
        await peers[0].close()
        await peers[0].close()
        with pytest.raises(Closed):
            await peers[0].agent("b")


@in_loop
async def test_join_is_awaited_or_entered() -> None:
    async with cluster(3) as peers:
        seed = (await peers[0].status()).address
        options = {"cluster": "test", "data_dir": ":memory:", "mdns": False}
        agent = await mabeam_p2p.join("late", seeds=[seed], **options)  # type: ignore[arg-type]
        try:
            assert agent.id == "late@late"
            await agent.wait_for_members(4, timeout=10)
        finally:
            await agent.close()
        async with mabeam_p2p.join("later", seeds=[seed], group="vision", **options) as agent:  # type: ignore[arg-type]
            assert agent.info().groups == ("vision",)
        with pytest.raises(Closed):
            await agent.status()


@pytest.mark.fault("C17")
@in_loop
async def test_minority_says_no_quorum_and_labels_its_reads() -> None:
    async with cluster(3) as peers:
        a, b, c = await asyncio.gather(*(peer.agent("a") for peer in peers))
        for agent in (a, b, c):
            agent.on_proposal("*")(lambda proposal: Vote.accept())
        decision = await a.propose("rate", 1)
        await eventually(lambda: "rate" in c.parameters)
        await asyncio.gather(peers[0].close(), peers[1].close())
        # Whoever leads in between has left, too: nothing will be given to it any more.
        await eventually(lambda: sum(m.state in ("left", "dead") for m in c.members()) == 2)
        await eventually(lambda: not c.info().quorum)
        with pytest.raises(NoQuorum, match="certainly not done"):
            await c.journal("run").append(1, timeout=20)
        with pytest.raises(NoQuorum):
            await c.parameters.read("rate", timeout=20)
        stale = await c.parameters.read("rate", level="local")
        assert (stale.version, stale.level) == (decision.index, "local")
        assert stale.age_seconds > 0


@in_loop
async def test_blocked_application_does_not_depose_its_leader() -> None:
    async with agents(3) as everyone:
        hosts = {agent.peer: agent for agent in everyone}

        async def leads_on() -> bool:
            leader = await everyone[0].wait_for_leader(timeout=60)
            before = await hosts[leader.name].status()
            # All three peers live in this process: its loop stands still under each of them.
            time.sleep(2.0)  # noqa: ASYNC251  # the application's fault that is tested
            after = await hosts[leader.name].status()
            return (before.role, after.role, after.term) == ("leader", "leader", before.term)

        await in_one_of(5, leads_on)


@in_loop
async def test_peer_made_by_hand_is_checked_before_it_starts() -> None:
    with pytest.raises(mabeam_p2p.ConfigError, match="score"):
        Peer(Config(score=101))
    peer = Peer(Config(name="p", mdns=False, data_dir=":memory:"))
    with pytest.raises(Closed, match="has not been started"):
        await peer.agent("a")


@in_loop
async def test_address_that_is_taken_is_named() -> None:
    first = await started("one", (), 3)
    address = (await first.status()).address
    with pytest.raises(mabeam_p2p.AddressError, match=address.rpartition(":")[2]):
        await Peer(Config(name="two", listen=address, mdns=False, data_dir=":memory:")).start()
    await first.close()


@in_loop
async def test_a_peer_keeps_no_agents_that_have_ended() -> None:
    async with cluster(1) as (peer,):
        for number in range(4):
            await (await peer.agent(f"short-{number}")).close()
        last = await peer.agent("last")
        assert peer._agents == [last]
