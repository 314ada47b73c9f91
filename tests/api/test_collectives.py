"""Arrays among agents of real peers in this process, over loopback."""

import asyncio
import sys
from array import array
from types import ModuleType
from typing import Any

import pytest

from mabeam_p2p import (
    Agent,
    BulkBroken,
    BulkMismatch,
    BulkResult,
    Config,
    InvalidValue,
    Limits,
    Overloaded,
    Peer,
)
from mabeam_p2p.api.arrays import Array
from tests.api.clusters import agents
from tests.in_loop import in_loop

numpy = pytest.importorskip("numpy")

pytestmark = pytest.mark.slow


async def reduce_all(group: list[Agent], values: list[Array], **options: Any) -> list[BulkResult]:
    return await asyncio.gather(
        *(
            agent.all_reduce(value, name="step", parties=len(group), **options)
            for agent, value in zip(group, values, strict=True)
        )
    )


@in_loop
async def test_all_get_the_same_mean_and_hear_who_took_part() -> None:
    async with agents(3) as group:
        values = [numpy.full((5, 7), place, "f4") for place in (1, 2, 6)]
        results = await reduce_all(group, values)
        for result in results:
            assert (result.value == 3).all()
            assert (result.value.shape, result.value.dtype) == ((5, 7), numpy.float32)
            assert result.parties == tuple(sorted(agent.id for agent in group))
            assert result.left_out == ()
            assert set(result.to_dict()) == {"name", "parties", "left_out", "seconds"}
        # The same name again is the next exchange.
        again = await reduce_all(group, values, op="max")
        assert [result.value[0, 0] for result in again] == [6] * 3
        weights = (1.0, 1.0, 2.0)
        weighted = await asyncio.gather(
            *(
                agent.all_reduce(value, name="w", parties=3, op="weighted", weight=weight)
                for agent, value, weight in zip(group, values, weights, strict=True)
            )
        )
        assert [float(result.value[0, 0]) for result in weighted] == [3.75] * 3


@pytest.mark.fault("U4")
@in_loop
async def test_many_chunks_come_whole_and_bit_by_bit_the_same() -> None:
    async with agents(3) as group:
        random = numpy.random.default_rng(3)
        values = [random.standard_normal(1_300_001) for _ in group]
        results = await reduce_all(group, values, op="median")
        assert len({result.value.tobytes() for result in results}) == 1
        assert (results[0].value == numpy.median(numpy.stack(values), axis=0)).all()


@pytest.mark.parametrize(
    ("others", "fault"),
    [
        ({"array": numpy.zeros(4, "f4")}, "shape or dtype"),
        ({"array": numpy.zeros(3, "f8")}, "shape or dtype"),
        ({"op": "max"}, "differ in what they want"),
        ({"op": "trimmed_mean"}, "differ in what they want"),
    ],
    ids=["shape", "dtype", "op", "another op"],
)
def test_parties_that_do_not_fit_all_hear_why_and_none_gets_anything(
    others: dict[str, Any], fault: str
) -> None:
    async def scene() -> None:
        async with agents(3) as group:
            plain: dict[str, Any] = {"array": numpy.zeros(3, "f4"), "op": "mean"}
            calls = [plain, plain, plain | others]
            errors = await asyncio.gather(
                *(
                    agent.all_reduce(name="odd", parties=3, **call)
                    for agent, call in zip(group, calls, strict=True)
                ),
                return_exceptions=True,
            )
            for error in errors:
                assert isinstance(error, BulkMismatch), error
                assert fault in str(error)
                assert set(error.offers) == {agent.id for agent in group}

    asyncio.run(scene())


@in_loop
async def test_one_name_for_two_things_is_a_mismatch_for_all() -> None:
    async with agents(2) as group:
        errors = await asyncio.gather(
            group[0].all_reduce(numpy.zeros(3), name="x", parties=2),
            group[1].broadcast("x", parties=2),
            return_exceptions=True,
        )
        assert all(isinstance(error, BulkMismatch) for error in errors), errors
        none_gives = await asyncio.gather(
            *(agent.broadcast("y", parties=2) for agent in group), return_exceptions=True
        )
        assert all("0 parties bring the value" in str(error) for error in none_gives)


@in_loop
async def test_a_broadcast_brings_bytes_and_arrays_to_all() -> None:
    async with agents(3) as group:
        for value in (b"some bytes", array("d", [1.5, -2.0]), numpy.arange(200_000), b""):
            results = await asyncio.gather(
                *(
                    agent.broadcast("model", value if agent is group[1] else None, parties=3)
                    for agent in group
                )
            )
            for result in results:
                assert type(result.value) is type(value)
                assert numpy.array_equal(result.value, value)


@in_loop
async def test_a_gathering_brings_the_arrays_of_all_to_one_or_to_everybody() -> None:
    async with agents(3) as group:
        values = [numpy.arange(3), b"odd", numpy.ones((2, 2), "f2")]
        for to in (None, group[2].id):
            results = await asyncio.gather(
                *(
                    agent.gather("parts", value, parties=3, to=to)
                    for agent, value in zip(group, values, strict=True)
                )
            )
            for agent, result in zip(group, results, strict=True):
                if to not in (None, agent.id):
                    assert result.value is None
                    continue
                gathered = [result.value[other.id] for other in group]
                assert all(map(numpy.array_equal, gathered, values))
                assert gathered[2].dtype == numpy.float16


class FakeTensor:
    """What this package asks of a torch tensor, and nothing else."""

    def __init__(self, values: Any, device: str = "cpu") -> None:
        self.values = values
        self.device = device
        self.dtype = f"torch.{values.dtype}"

    def detach(self) -> "FakeTensor":
        return self

    def cpu(self) -> "FakeTensor":
        return FakeTensor(self.values)

    def contiguous(self) -> "FakeTensor":
        return self

    def to(self, device: str) -> "FakeTensor":
        return FakeTensor(self.values, device)

    def numpy(self) -> Any:
        if self.values.dtype == numpy.int8:
            raise TypeError("Got unsupported ScalarType")
        return self.values


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch")
    monkeypatch.setattr(module, "Tensor", FakeTensor, raising=False)
    monkeypatch.setattr(module, "from_numpy", FakeTensor, raising=False)
    monkeypatch.setitem(sys.modules, "torch", module)


def test_a_tensor_goes_in_and_one_on_the_same_device_comes_out(torch: None) -> None:
    async def scene() -> None:
        async with agents(2) as group:
            values = [FakeTensor(numpy.full(3, n, "f4"), device=f"gpu:{n}") for n in (1, 3)]
            results = await reduce_all(group, values)
            for result, value in zip(results, values, strict=True):
                assert isinstance(result.value, FakeTensor)
                assert result.value.device == value.device
                assert result.value.values.tolist() == [2, 2, 2]
            with pytest.raises(InvalidValue, match="convert it first"):
                await group[0].all_reduce(FakeTensor(numpy.zeros(3, "i1")), name="x", parties=1)

    asyncio.run(scene())


@in_loop
async def test_what_cannot_travel_is_refused_before_anybody_waits() -> None:
    async with agents(1) as (agent,):
        with pytest.raises(InvalidValue, match="list"):
            await agent.all_reduce([1.0, 2.0], name="x", parties=1)
        with pytest.raises(InvalidValue, match="bytes are no numbers"):
            await agent.all_reduce(b"123", name="x", parties=1)
        with pytest.raises(InvalidValue, match="weight"):
            await agent.all_reduce(numpy.zeros(3), name="x", parties=1, op="weighted")
        with pytest.raises(InvalidValue, match="object"):
            await agent.broadcast("x", numpy.array([object()]), parties=1)
        with pytest.raises(InvalidValue, match="parties"):
            await agent.gather("x", b"", parties=0)
        alone = await agent.all_reduce(numpy.float64(3), name="x", parties=1)
        assert (alone.value.shape, float(alone.value)) == ((), 3.0)


@in_loop
async def test_one_exchange_too_many_is_refused_before_others_wait_for_it() -> None:
    limits = Limits(bulk_exchanges_max=1)
    config = Config(
        name="p0", cluster="test", data_dir=":memory:", mdns=False, expect=1, limits=limits
    )
    async with Peer(config) as peer:
        one, other = await peer.agent("a"), await peer.agent("b")
        first = asyncio.create_task(one.gather("x", b"1", parties=2))
        events = one.events("barrier.arrived")
        await anext(aiter(events))
        with pytest.raises(Overloaded, match="1 exchanges"):
            await other.gather("x", b"2", parties=2)
        first.cancel()
        await asyncio.wait({first})
        # Whoever gives up makes room.
        assert (await other.gather("y", b"2", parties=1)).value == {"b@p0": b"2"}


@in_loop
async def test_who_waits_for_parties_that_do_not_come_hears_how_many_came() -> None:
    async with agents(2) as group:
        with pytest.raises(BulkBroken, match="1 of 2 parties had come") as broken:
            await group[0].all_reduce(numpy.zeros(3), name="x", parties=2, timeout=1.5)
        assert broken.value.reason == "timeout"
