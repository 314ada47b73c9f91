import asyncio
import re
import sys
from math import inf

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mabeam_p2p.addresses import split_address
from mabeam_p2p.effects import Notify
from mabeam_p2p.errors import AddressError, ConfigError
from mabeam_p2p.events import (
    EVENTS_LOST,
    Dropped,
    Event,
    HandOverBegan,
    LeaderChanged,
    MemberChanged,
    QuorumChanged,
    Ready,
    Refused,
    RoleChanged,
)
from mabeam_p2p.ids import PeerId
from mabeam_p2p.inquiries import Figures
from mabeam_p2p.observe.catalogue import COUNTED, METRICS
from mabeam_p2p.observe.endpoint import Metrics, listen_address
from mabeam_p2p.observe.metrics import Exposition
from mabeam_p2p.observe.server import PATH
from mabeam_p2p.observe.tally import LABELS_MAX, OTHER, Tally
from mabeam_p2p.protocol.core import Drops, Outbox
from mabeam_p2p.records import Figure, Histogram, Member, MemberState
from mabeam_p2p.requests import Answer, Request
from mabeam_p2p.runtime.measures import Measure
from tests.eventually import eventually
from tests.in_loop import in_loop

A = PeerId("a" * 16)


def written(figures: list[Figure], *histograms: Histogram, accept: str = "") -> dict[str, float]:
    """Samples by name and labels, as a reader parses them."""
    exposition = Exposition(name="ant", peer="p", cluster='c"\n\\', version="1")
    page, content_type = exposition.write(figures, histograms, accept)
    assert content_type.startswith("text/plain")
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def counts(*events: Event) -> dict[str, float]:
    """What has been counted, without what is 0."""
    tally = Tally()
    for event in events:
        tally.count(event)
    return {f"{f.name} {f.label}".strip(): f.value for f in tally.figures() if f.value}


def test_figures_come_out_under_their_names_and_labels() -> None:
    samples = written(
        [Figure("term", 7), Figure("members", 3, "alive"), Figure("members", 1, "dead"),
         Figure("overloaded_total", 4)]
    )  # fmt: skip
    del samples['mabeam_peer_info cluster=c"\n\\ name=ant peer=p version=1']
    assert samples == {
        "mabeam_term": 7,
        "mabeam_members state=alive": 3,
        "mabeam_members state=dead": 1,
        "mabeam_overloaded_total": 4,
    }


def test_a_histogram_is_cumulative_and_ends_in_all() -> None:
    measure = Measure("commit_seconds", (0.01, 0.1))
    for seconds in (0.005, 0.01, 0.05, 3.0, -1.0):
        measure.add(seconds)
    samples = written([], measure.histogram())
    assert samples["mabeam_commit_seconds_bucket le=0.01"] == 3
    assert samples["mabeam_commit_seconds_bucket le=0.1"] == 4
    assert samples["mabeam_commit_seconds_bucket le=+Inf"] == 5
    assert samples["mabeam_commit_seconds_count"] == 5
    assert samples["mabeam_commit_seconds_sum"] == pytest.approx(3.065)


def test_a_figure_of_another_release_is_left_out() -> None:
    assert len(written([Figure("no_such_figure", 1)])) == 1


def test_openmetrics_is_written_for_who_asks_for_it() -> None:
    exposition = Exposition(name="a", peer="p", cluster="c", version="1")
    accept = "application/openmetrics-text; version=1.0.0"
    page, content_type = exposition.write([Figure("term", 1)], [], accept)
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_names_keep_the_conventions() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name)
        assert (metric.kind == "counter") == name.endswith("_total")
        assert metric.kind != "histogram" or name.endswith("_seconds")
        assert not name.endswith(("_ms", "_kb", "_count", "_sum", "_bucket"))
        assert metric.text.endswith(".")


def test_elections_leaders_and_quorums_are_counted() -> None:
    assert counts(
        RoleChanged("candidate", 2),
        RoleChanged("leader", 2),
        RoleChanged("follower", 3),
        LeaderChanged(A, "a", 2, "elected"),
        LeaderChanged(None, "", 2, "not heard"),
        QuorumChanged(True),
        QuorumChanged(False),
        HandOverBegan(A, "a", 2, "leaving"),
        MemberChanged(Member(A, "a", "h:1", 1, 1, MemberState.DEAD)),
        Refused(A, "name", "", True),
        Dropped(A, EVENTS_LOST, "of its own disk", 7),
        Ready(),
    ) == {
        "elections_started_total": 1,
        "elections_won_total": 1,
        "leader_changes_total": 1,
        "quorum_losses_total": 1,
        "hand_overs_total leaving": 1,
        "member_changes_total dead": 1,
        "refusals_total name": 1,
    }


def test_reasons_that_others_choose_are_bounded() -> None:
    drops = [Dropped("x", f"reason{number}", "", 2) for number in range(2 * LABELS_MAX)]
    counted = counts(*drops)
    assert len(counted) == LABELS_MAX + 1
    assert counted[f"dropped_total {OTHER}"] == 2 * LABELS_MAX


def test_of_a_burst_the_rest_is_counted_with_the_next_of_its_kind() -> None:
    outbox, told = Outbox(), list[Event]()
    drops = Drops(outbox, 4)

    def drop(now: float) -> None:
        drops.drop("x", "size", "", now)
        told.extend(effect.event for effect in outbox.take() if isinstance(effect, Notify))

    for _ in range(1000):
        drop(0.5)
    assert counts(*told) == {"dropped_total size": 1}
    drop(1.5)
    assert counts(*told) == {"dropped_total size": 1001}
    assert drops.count == 1001


def test_as_many_kinds_of_drops_as_are_remembered_lose_nothing_of_each_other() -> None:
    """One more than that costs the one that was told the longest ago."""
    outbox, told = Outbox(), list[Event]()
    drops = Drops(outbox, 3)

    def drop(source: str, now: float) -> None:
        drops.drop(source, "size", "", now)
        told.extend(effect.event for effect in outbox.take() if isinstance(effect, Notify))

    for source in ("a", "b", "c"):
        drop(source, 0.0)
        drop(source, 0.5)
    for source in ("b", "a", "c"):
        drop(source, 1.5)
        drop(source, 1.75)
    assert told[3:] == [Dropped(source, "size", "", 2) for source in ("b", "a", "c")]
    drop("a", 2.5)
    drop("d", 2.5)
    drop("a", 2.75)
    drop("c", 2.75)
    assert told[6:] == [
        Dropped("a", "size", "", 2),
        Dropped("d", "size", "", 1),
        Dropped("c", "size", "", 2),
    ]
    drop("b", 3.0)
    assert told[9:] == [Dropped("b", "size", "", 1)], "it was forgotten"


def test_what_is_known_beforehand_counts_from_0() -> None:
    figures = Tally().figures()
    assert {figure.name for figure in figures} == set(COUNTED) - {"dropped_total", "refusals_total"}
    assert all(figure.value == 0 for figure in figures)


def test_a_port_alone_is_one_of_this_host_alone() -> None:
    assert listen_address("9464") == "127.0.0.1:9464"
    assert listen_address("0.0.0.0:9464") == "0.0.0.0:9464"
    with pytest.raises(AddressError):
        listen_address("nowhere")


def test_without_its_extra_it_is_refused_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    with pytest.raises(ConfigError, match=r"pip install 'mabeam-p2p\[metrics\]'"):
        Metrics("0")


@in_loop
async def test_who_asks_before_there_is_a_peer_is_answered_once_there_is_one() -> None:
    """The port is held before."""

    async def tell(request: Request) -> Answer:
        return Figures((), ())

    metrics = Metrics("0")
    async with metrics.listening():
        reader, writer = await asyncio.open_connection(*split_address(metrics.address))
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        asking = asyncio.create_task(reader.read())
        await eventually(lambda: metrics._server._connections)
        assert not asking.done()
        metrics.begin(tell, name="ant", peer=A, cluster="test")
        assert b"mabeam_peer_info{" in await asking
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*split_address(metrics.address))


def test_a_duration_beyond_all_bounds_is_in_the_last_count() -> None:
    measure = Measure("x", (1.0,))
    measure.add(inf)
    assert measure.histogram().counts == (0, 1)
