"""Declared values and guarded decisions, with real peers; schemas by themselves."""

import asyncio
from collections.abc import Sequence

import pytest

from mabeam_p2p import Agent, Change, InvalidValue, ParameterReverted, Proposal, Rejected, Vote
from mabeam_p2p.api.results import TypeWord, ValueSchema
from mabeam_p2p.api.schemas import fault_of, from_encoded, schema_of, to_plain
from mabeam_p2p.wire.cbor import encode_value
from tests.api.clusters import agents
from tests.eventually import eventually
from tests.in_loop import in_loop


def approving(several: Sequence[Agent]) -> None:
    for agent in several:

        @agent.on_proposal("*")
        async def judge(proposal: Proposal) -> Vote:
            return Vote.accept()


# ---- schemas ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (ValueSchema("float", 0.0, 1.0), [0, 0.5, 1.0], [-0.1, 1.1, "1", True, float("nan")]),
        (ValueSchema("int"), [0, -5], [0.5, True, None]),
        (ValueSchema("bool"), [True], [1, 0, "yes"]),
        (ValueSchema("text", choices=("adam", "sgd")), ["adam"], ["lion", 1]),
        (ValueSchema("list"), [[1, 2]], [{"a": 1}, "ab"]),
        (ValueSchema("map"), [{"a": 1}], [[1]]),
    ],
)
def test_values_fit_a_schema_or_are_told_why_not(
    schema: ValueSchema, good: list[object], bad: list[object]
) -> None:
    assert [fault_of(schema, value) for value in good] == [None] * len(good)
    assert all(fault_of(schema, value) for value in bad)


@pytest.mark.parametrize(
    ("kind", "minimum", "maximum", "choices", "fault"),
    [
        (complex, None, None, None, "none of a parameter's"),
        ("number", None, None, None, "none of a parameter's"),
        (str, 0, None, None, "no minimum"),
        (int, 2, 1, None, "above maximum"),
        (int, 0, 9, [10], "is above 9"),
        (int, None, None, [], "empty"),
    ],
)
def test_declarations_that_no_value_could_meet_are_refused(
    kind: TypeWord | type,
    minimum: float | None,
    maximum: float | None,
    choices: list[object] | None,
    fault: str,
) -> None:
    with pytest.raises(InvalidValue, match=fault):
        schema_of(kind, minimum, maximum, choices)


def test_a_schema_comes_back_from_the_log_as_it_went_in() -> None:
    schema = schema_of(float, 0.0, None, [0.1, 0.2])
    assert from_encoded(encode_value(to_plain(schema), 4096)) == schema
    assert from_encoded(encode_value({"type": "tensor"}, 4096)) is None, "of a later release"


# ---- with peers ------------------------------------------------------------------------------


@pytest.mark.fault("C19")
@pytest.mark.slow
@in_loop
async def test_values_outside_the_declaration_are_refused_here_and_rejected_there() -> None:
    async with agents(3) as (a, b, c):
        approving((a, b, c))
        declared = await a.parameters.declare("rate", float, minimum=0.0, maximum=1.0)
        with pytest.raises(Rejected, match="declared other values"):
            await b.parameters.declare("rate", int)
        await eventually(lambda: c.parameters.schema("rate") == declared)
        with pytest.raises(InvalidValue, match=r"is above 1\.0"):
            await c.propose("rate", 3.0)
        assert (await c.propose("rate", 0.5)).accepted
        # A program that does not look meets voters who do.
        await eventually(lambda: b.parameters.schema("rate") == declared)
        del a._attachment.view.schemas.entries["rate"]
        decision = await a.propose("rate", 7.0)
        assert decision.status == "rejected"
        assert any("is above 1.0" in vote.rationale for vote in decision.votes)


@pytest.mark.fault("C20")
@pytest.mark.slow
@in_loop
async def test_guarded_value_stands_when_every_voter_has_put_it_into_effect() -> None:
    async with agents(3) as (a, b, c):
        approving((a, b, c))
        in_effect: dict[str, object] = {}
        for agent in (a, b):

            @agent.on_parameter("rate")
            def apply(change: Change, name: str = agent.name) -> None:
                in_effect[name] = change.value

        assert (await a.propose("rate", 0.1)).accepted
        decision = await a.propose("rate", 0.2, guard=20)
        assert decision.guard == 20
        applied = await b.parameters.wait_applied("rate", decision.index)
        assert applied.confirmed == tuple(sorted(applied.confirmed, key=applied.confirmed.index))
        assert set(applied.confirmed) == {a.id, b.id, c.id}
        assert in_effect == {"a0": 0.2, "a1": 0.2}


@pytest.mark.fault("C20")
@pytest.mark.slow
@in_loop
async def test_guarded_value_that_one_voter_cannot_apply_is_taken_back_everywhere() -> None:
    async with agents(3) as (a, b, c):
        approving((a, b, c))
        assert (await a.propose("rate", 0.1)).accepted

        @c.on_parameter("rate")
        def apply(change: Change) -> None:
            if change.value == 9:
                raise ValueError("loss is NaN")

        decision = await a.propose("rate", 9, guard=20)
        with pytest.raises(ParameterReverted, match="loss is NaN"):
            await a.parameters.wait_applied("rate", decision.index)
        await eventually(lambda: [x.parameters["rate"] for x in (a, b, c)] == [0.1, 0.1, 0.1])


@pytest.mark.slow
@in_loop
async def test_waiting_for_a_version_that_was_replaced_says_so() -> None:
    async with agents(3) as several:
        approving(several)
        a = several[0]
        assert (await a.propose("rate", 1)).accepted
        silent = asyncio.Event()

        @a.on_parameter("rate")
        async def apply(change: Change) -> None:
            if change.value == 2:
                await silent.wait()

        held = await a.propose("rate", 2, guard=60)
        assert (await a.propose("rate", 3)).accepted
        with pytest.raises(Rejected, match="was replaced by version"):
            await a.parameters.wait_applied("rate", held.index)
        silent.set()
        with pytest.raises(KeyError):
            await a.parameters.wait_applied("unheard")
