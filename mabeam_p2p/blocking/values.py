"""Agreed and shared values, without `await`."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

from mabeam_p2p.api import parameters, variables
from mabeam_p2p.api.results import (
    Acknowledgement,
    Applied,
    Change,
    Decoded,
    Level,
    Reading,
    TypeWord,
    ValueSchema,
)
from mabeam_p2p.api.variables import Merge, Wait
from mabeam_p2p.blocking.loop import LOOP, Stream


class Parameters(Mapping[str, Decoded]):
    def __init__(self, own: parameters.Parameters) -> None:
        self._own = own

    def __getitem__(self, name: str) -> Decoded:
        return LOOP.call(lambda: self._own[name])

    def __iter__(self) -> Iterator[str]:
        return iter(LOOP.call(lambda: list(self._own)))

    def __len__(self) -> int:
        return LOOP.call(lambda: len(self._own))

    def read(
        self, name: str, *, level: Level = "linearizable", timeout: float | None = None
    ) -> Reading:
        return LOOP.run(self._own.read(name, level=level, timeout=timeout))

    def declare(
        self,
        name: str,
        type: TypeWord | type,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Sequence[object] | None = None,
        timeout: float | None = None,
    ) -> ValueSchema:
        return LOOP.run(
            self._own.declare(
                name, type, minimum=minimum, maximum=maximum, choices=choices, timeout=timeout
            )
        )

    def schema(self, name: str) -> ValueSchema | None:
        return LOOP.call(lambda: self._own.schema(name))

    def wait_applied(
        self, name: str, version: int | None = None, *, timeout: float | None = None
    ) -> Applied:
        return LOOP.run(self._own.wait_applied(name, version, timeout=timeout))

    def watch(self, pattern: str = "*") -> Stream[Change]:
        return Stream(LOOP.call(lambda: self._own.watch(pattern)))


class Variables(Mapping[str, Decoded]):
    def __init__(self, own: variables.Variables) -> None:
        self._own = own

    def __getitem__(self, name: str) -> Decoded:
        return LOOP.call(lambda: self._own[name])

    def __iter__(self) -> Iterator[str]:
        return iter(LOOP.call(lambda: list(self._own)))

    def __len__(self) -> int:
        return LOOP.call(lambda: len(self._own))

    def read(self, name: str, *, timeout: float | None = None) -> Reading:
        return LOOP.run(self._own.read(name, timeout=timeout))

    def watch(self, pattern: str = "*") -> Stream[Change]:
        return Stream(LOOP.call(lambda: self._own.watch(pattern)))

    def set(
        self, name: str, value: object, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        return LOOP.run(self._own.set(name, value, wait=wait, timeout=timeout))

    def delete(self, name: str, *, wait: Wait = 0, timeout: float | None = None) -> Acknowledgement:
        return LOOP.run(self._own.delete(name, wait=wait, timeout=timeout))

    def add(
        self, name: str, amount: int = 1, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        return LOOP.run(self._own.add(name, amount, wait=wait, timeout=timeout))

    def put(
        self, name: str, key: str, item: object, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        return LOOP.run(self._own.put(name, key, item, wait=wait, timeout=timeout))

    def discard(
        self, name: str, key: str, *, wait: Wait = 0, timeout: float | None = None
    ) -> Acknowledgement:
        return LOOP.run(self._own.discard(name, key, wait=wait, timeout=timeout))

    def batch(self, *, wait: Wait = 0, timeout: float | None = None) -> "Batch":
        return Batch(self._own.batch(wait=wait, timeout=timeout))

    def resolver(self, pattern: str, resolver: str | type | Merge) -> None:
        LOOP.call(lambda: self._own.resolver(pattern, resolver))


class Batch:
    def __init__(self, own: variables.Batch) -> None:
        self._own = own

    @property
    def acknowledgement(self) -> Acknowledgement | None:
        return self._own.acknowledgement

    def __setitem__(self, name: str, value: object) -> None:
        self._own[name] = value

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __enter__(self) -> "Batch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOOP.run(self._own.__aexit__(kind, error, trace))
