import random
import socket
from collections.abc import Iterator

import pytest

from tools import children
from tools.children import free_ports


class Drawn(random.Random):
    """Draws these numbers."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self._numbers = iter(numbers)

    def randrange(self, *_: object) -> int:
        return next(self._numbers)


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Three that would be given, were they drawn. What a test has reserved is free behind it."""
    reservations: list[socket.socket] = []
    monkeypatch.setattr(children, "_reservations", reservations)
    found = free_ports(3)
    for one in reservations:
        one.close()
    reservations.clear()
    yield found
    for one in reservations:
        one.close()


def draw(patch: pytest.MonkeyPatch, *numbers: int) -> None:
    patch.setattr(random, "SystemRandom", lambda: Drawn(*numbers))


def test_nobody_is_given_the_data_port_of_another_peer(
    ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one of the next two above the port at which a peer listens."""
    first, second, third = ports
    draw(monkeypatch, first, first + 2, first + 1, first - 1, first - 2, first, second)
    assert free_ports(2) == [first, second]
    draw(monkeypatch, first, second + 2, third)
    assert free_ports(1) == [third]


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_port_that_is_taken_is_not_given(
    above: int, ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = ports
    draw(monkeypatch, first, second)
    with socket.create_server(("127.0.0.1", first + above)):
        assert free_ports(1) == [second]
