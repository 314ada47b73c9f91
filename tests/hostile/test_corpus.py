"""Every file of the corpus, at the door where it comes in: refused by name or read, and cheap."""

from collections import Counter
from collections.abc import Callable
from itertools import chain, repeat
from typing import get_args

import pytest

from mabeam_p2p.commands import AnyCommand
from mabeam_p2p.messages import BulkMessage, JoinMessage, Message
from mabeam_p2p.requests import Query, Request
from mabeam_p2p.wire import local
from tests.hostile import archive, entrances, rows, spoiling
from tests.hostile.archive import files_of
from tests.hostile.entrances import (
    READERS,
    additions,
    is_cheap,
    is_cheap_here,
    memory_allowed,
    memory_taken,
    outcome,
)
from tests.hostile.local_samples import CLIENT_MESSAGES, QUERIES, REQUESTS
from tools import hostile_corpus


def test_corpus_has_whatever_is_made_of_todays_messages() -> None:
    kept = archive.read()
    assert hostile_corpus.grown(kept) == kept, "run tools/hostile_corpus"
    assert len(kept) > 10_000


def test_corpus_is_made_of_every_message_command_request_and_question() -> None:
    unions: dict[str, object] = {
        "frame": Message, "command": AnyCommand, "bulk": BulkMessage, "joining": JoinMessage,
    }  # fmt: skip
    for way_in, union in unions.items():
        found = {name.split("/")[1] for name in files_of(way_in)}
        assert found >= {kind.__name__ for kind in get_args(union)}
    assert {type(query) for query in QUERIES} == set(get_args(Query))
    assert {type(request) for request in REQUESTS} == set(get_args(Request))
    assert {type(message) for message in CLIENT_MESSAGES} == set(get_args(local.ClientMessage))


def test_nothing_is_wrong_with_a_message_but_what_was_spoiled() -> None:
    """Where all were wrapped wrongly, no field would be looked at."""
    whole = {name: data for name, data in spoiling.all_cases() if name.endswith("/whole")}
    assert {name.split("/")[0] for name in whole} == READERS.keys() - {"value"}
    for name, data in whole.items():
        assert outcome(name.split("/")[0], data) == "", name


def test_every_field_is_spoiled_in_every_way() -> None:
    place = "frame/Hello/member.name"
    ways = {name.rsplit("/", 1)[1] for name in files_of(place)}
    assert ways >= {*spoiling.WAYS, "missing", "last"}


@pytest.mark.slow
@pytest.mark.parametrize("way_in", READERS)
def test_every_file_is_refused_by_name_or_is_what_it_says(way_in: str) -> None:
    reasons: Counter[str] = Counter()
    for name, data in files_of(way_in).items():
        try:
            reasons[outcome(way_in, data)] += 1
        except BaseException as error:
            raise AssertionError(f"{name}: {data[:60].hex()}") from error
    # What fits by chance is no danger; as a whole these are wrong.
    assert reasons[""] < 0.4 * reasons.total()
    assert reasons["cbor"] > 0
    assert reasons["verbose"] == 0


def test_every_row_of_the_disk_is_read_or_refused() -> None:
    for name, data in files_of("storage").items():
        assert rows.read_row(data) in ("read", "refused"), name


@pytest.mark.slow
@pytest.mark.parametrize("way_in", READERS)
def test_no_file_takes_more_memory_than_ten_times_its_size(way_in: str) -> None:
    for name, data in files_of(way_in).items():
        assert memory_taken(way_in, data) <= memory_allowed(way_in, data), name


@pytest.mark.slow
@pytest.mark.parametrize("way_in", READERS)
def test_no_file_takes_more_processor_time_than_it_may(way_in: str) -> None:
    for name, data in files_of(way_in).items():
        assert is_cheap(way_in, data), name


@pytest.mark.parametrize(
    ("reading", "adding", "cheap"),
    [([0.044], [0.064, 0.040], True), ([0.070, 0.040], [0.064], False)],
)
def test_a_moment_in_which_the_machine_is_quicker_decides_nothing(
    reading: list[float], adding: list[float], cheap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {False: chain(reading, repeat(reading[0])), True: chain(adding, repeat(adding[0]))}

    def taken(work: Callable[[], None]) -> float:
        return next(times[work is additions])

    monkeypatch.setattr(entrances, "processor_time", taken)
    assert is_cheap_here("value", b"") is cheap


def test_what_takes_longer_than_it_may_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> None:
        for _ in range(3):
            additions()

    monkeypatch.setitem(READERS, "value", read)
    assert not is_cheap_here("value", b"")


@pytest.mark.slow
def test_a_new_process_is_asked_of_what_takes_longer_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrances, "is_cheap_here", lambda way_in, data: False)
    assert is_cheap("value", b"\x00")
    six_times_the_dearest = (
        b"\x9a" + (24_000).to_bytes(4, "big") + (b"\x81" * 13 + b"\x00") * 24_000
    )
    assert not is_cheap("value", six_times_the_dearest)
