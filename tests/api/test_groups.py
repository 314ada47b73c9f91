"""Groups and messages at real peers in this process."""

import asyncio

import pytest

from mabeam_p2p import InvalidName, Message, NobodyThere, Overloaded, Peer, Rejected, Vote
from tests.api.clusters import agents, cluster
from tests.eventually import eventually
from tests.in_loop import in_loop

pytestmark = pytest.mark.slow


@in_loop
async def test_agents_join_and_leave_groups_while_they_run() -> None:
    async with agents() as (one, two, three):
        events = three.events("agent.changed")
        vision = await one.join_group("vision")
        await two.join_group("vision")
        assert (one.groups, vision.name) == (("vision",), "vision")
        assert (await anext(events)).facts["groups"] == ["vision"]
        await eventually(
            lambda: {agent.id for agent in three.group("vision").agents()} == {one.id, two.id}
        )
        decision = await vision.propose("rate", 0.5)
        assert set(decision.electorate) == {one.id, two.id}
        await one.leave_group("vision")
        await one.leave_group("vision")
        assert one.groups == ()
        await eventually(lambda: [agent.id for agent in three.group("vision").agents()] == [two.id])
        with pytest.raises(Rejected, match="all"):
            await one.leave_group("all")
        with pytest.raises(InvalidName):
            await one.join_group("no group")


@in_loop
async def test_an_agent_tells_of_itself() -> None:
    async with cluster(1) as (peer,):
        one, two = await peer.agent("one"), await peer.agent("two")
        await one.describe("bulk", "127.0.0.1:7950")

        def told() -> dict[str, str]:
            return next(dict(a.attributes) for a in two.agents() if a.id == one.id)

        await eventually(lambda: told() == {"bulk": "127.0.0.1:7950"})
        await one.describe("bulk", "")
        await eventually(lambda: told() == {})
        for number in range(16):
            await one.describe(f"key-{number}", "x")
        with pytest.raises(Overloaded):
            await one.describe("one-more", "x")


@in_loop
async def test_values_of_a_group_have_their_own_names() -> None:
    async with cluster(1) as (peer,):
        one = await peer.agent("one", groups=["vision"])
        vision = one.group("vision")
        watch = vision.variables.watch("ep*")
        await one.variables.set("epsilon", 1)
        await vision.variables.set("epsilon", 2)
        assert (one.variables["epsilon"], vision.variables["epsilon"]) == (1, 2)
        assert one.variables["vision:epsilon"] == 2
        assert (dict(vision.variables), len(vision.variables)) == ({"epsilon": 2}, 1)
        change = await anext(watch)
        assert (change.name, change.value) == ("epsilon", 2)
        assert (await vision.variables.read("epsilon")).value == 2
        vision.variables.resolver("hits", "counter")
        await vision.variables.add("hits", 3)
        assert vision.variables["hits"] == 3
        async with vision.variables.batch() as batch:
            batch["a"] = 1
            del batch["epsilon"]
        assert dict(vision.variables) == {"a": 1, "hits": 3}
        vision.on_proposal("rate")(lambda proposal: Vote.accept())
        assert (await vision.propose("rate", 0.5)).accepted
        assert dict(vision.parameters) == {"rate": 0.5}
        assert one.parameters["vision:rate"] == 0.5
        assert (await vision.parameters.read("rate")).name == "rate"
        with pytest.raises(KeyError):
            vision.parameters["epsilon"]


@in_loop
async def test_agents_whisper_shout_and_ask_over_their_peers() -> None:
    async with agents() as (one, two, three):
        heard: list[tuple[str, object]] = []
        for agent in (one, two, three):

            @agent.on_message("count")
            def count(message: Message, name: str = agent.id) -> object:
                heard.append((name, message.value))
                return len(name)

        await one.whisper(two.id, "count", "psst")
        await eventually(lambda: heard == [(two.id, "psst")])
        heard.clear()
        delivery = await one.shout("count", "hey")
        assert set(delivery.delivered) == {two.id, three.id}
        await eventually(lambda: sorted(heard) == [(two.id, "hey"), (three.id, "hey")])
        answers = await one.query("count", "how many?")
        assert answers.values == {two.id: len(two.id), three.id: len(three.id)}
        assert answers.is_complete
        assert "no handler" in (await one.query("weather", None)).errors[two.id]
        with pytest.raises(NobodyThere, match="vision"):
            await one.group("vision").query("count", 1)
        with pytest.raises(NobodyThere, match="nobody@p1"):
            await one.whisper("nobody@p1", "count", 1)


@in_loop
async def test_each_agent_of_a_peer_answers_for_itself() -> None:
    async with cluster(1) as (peer,):
        asker = await peer.agent("asker")
        others = [await peer.agent(f"a{number}", groups=["g"]) for number in range(3)]
        for agent in others:
            agent.on_message("who")(lambda message, name=agent.id: name)
        answers = await asker.group("g").query("who", None)
        assert answers.values == {agent.id: agent.id for agent in others}


@in_loop
async def test_an_agent_that_closes_while_it_is_asked_is_not_waited_for() -> None:
    async with cluster(1) as (peer,):
        one, two = await peer.agent("one"), await peer.agent("two")
        asked = asyncio.Event()

        @two.on_message("*")
        async def hang(message: Message) -> None:
            asked.set()
            await asyncio.Event().wait()

        asking = asyncio.create_task(one.query("anything", None, timeout=60))
        await asked.wait()
        await two.close()
        async with asyncio.timeout(20):
            answers = await asking
        assert list(answers.errors) == ["two@p0"]


@in_loop
async def test_a_new_session_is_in_the_groups_of_the_old_one_and_tells_the_same() -> None:
    async with cluster(1) as (peer,):
        watcher = await peer.agent("watcher")
        one = await peer.agent("one", groups=["born"], lease=3.0)
        await one.join_group("joined")
        await one.leave_group("born")
        await one.describe("bulk", "here")
        await one.publish_score({"performance": 0.75})
        before = one.session.id
        # Its lease runs out: nothing is said on this loop for longer.
        one.session._lease.end()  # type: ignore[union-attr]
        events = watcher.events("agent.left")
        await asyncio.wait_for(anext(events), 30)
        await eventually(lambda: one.session.id != before and not one.session.is_renewing)

        def facts() -> list[tuple[tuple[str, ...], dict[str, str]]]:
            return [(a.groups, dict(a.attributes)) for a in watcher.agents() if a.id == one.id]

        await eventually(lambda: facts() == [(("joined",), {"bulk": "here"})], 20)
        await watcher.group("joined").elect("lead")
        election = await watcher.group("joined").election("lead")
        assert election is not None
        await eventually(lambda: one.group("joined").seat("lead").holder == one.id)
        assert isinstance(peer, Peer)
