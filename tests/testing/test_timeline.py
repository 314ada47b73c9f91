"""A history that no order explains is drawn, and only that one."""

from pathlib import Path

import pytest

from mabeam_p2p.testing import timeline, trial
from mabeam_p2p.testing.wing_gong import Call
from tools.simulate import write_timeline


def test_calls_are_drawn_in_order_with_their_times() -> None:
    calls = [
        Call("b", "q", "take", ("c",), 50_000, 100_000, (b"x", 4)),
        Call("a", "q", "put", (b"x",), 0, 10_000, 3),
        Call("b", "q", "lost", ("c",), 100_000, may=True),
    ]
    head, put, take, lost = timeline.draw(calls).splitlines()
    assert head.endswith("0 to 100 ms")
    assert put.split()[:3] == ["a", "put(b'x')", "3"]
    assert put.index("|") < take.index("|") < lost.index("|")
    assert take.endswith("|")
    assert "(may be)" in lost
    assert lost.endswith(">") or lost.endswith("|")


def test_no_calls_are_nothing_to_draw() -> None:
    assert timeline.draw([]) == "no calls"


def test_a_timeline_is_written_of_a_broken_history_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = trial.Report(5, None, 0, 0.0, 1, 0, 0, 0, 0, "hash")
    assert write_timeline(report) == ""
    assert list(tmp_path.iterdir()) == []
    drawn = trial.Report(5, "history: impossible", 0, 0.0, 1, 0, 0, 0, 0, "hash", timeline="calls")
    path = write_timeline(drawn)
    assert Path(path).read_text(encoding="utf-8") == "calls\n"
