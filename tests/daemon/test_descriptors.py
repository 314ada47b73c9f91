import resource
from typing import Any

import pytest

from mabeam_p2p.daemon import descriptors

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "most"),
    [(INFINITY, 1_024), (1_000_000, 1_024), (1_024, 256), (256, 64), (20, 16)],
)
def test_clients_take_a_quarter_of_the_descriptors_at_most(
    monkeypatch: pytest.MonkeyPatch, soft: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert descriptors.clients_max() == most


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1_024, 4_096, 4_096),
        (1_024, 1_000_000, 16_384),
        (1_024, INFINITY, 16_384),
        (20_000, 20_000, None),
        (INFINITY, INFINITY, None),
        (512, 512, None),
    ],
)
def test_limit_is_raised_as_far_as_it_goes_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, after: int | None
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    descriptors.raise_limit()
    assert given == ([] if after is None else [(after, hard)])
