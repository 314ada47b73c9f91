"""A run that was written down is the same run when it is played again."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.testing import tape
from mabeam_p2p.testing.faults import FIRST_KINDS, LATER_KINDS
from mabeam_p2p.testing.simulator import Simulator
from mabeam_p2p.testing.trial import Trial, judge, record, replay
from mabeam_p2p.testing.weather import SECOND, Faults, draw, fair

BUSY = replace(
    fair(3),
    faults=Faults((*FIRST_KINDS, *LATER_KINDS), every=SECOND // 3, down=SECOND // 3),
)


def test_a_tape_that_was_read_back_plays_the_very_run_that_was_recorded() -> None:
    trial = Trial(1, BUSY)
    first = judge(trial, 6 * SECOND)
    assert first.faults > 5
    written = tape.read(tape.write(record(1, 6.0, BUSY)))
    assert replay(written).trace_hash == first.trace_hash


def test_some_faults_fewer_shift_no_other_and_make_another_run() -> None:
    whole = record(1, 6.0, BUSY)
    fewer = replace(whole, faults=whole.faults[8:])
    trial = Trial(1, fewer.weather, plan=fewer.faults)
    report = judge(trial, fewer.storm)
    assert tuple(trial.planned) == fewer.faults
    assert report.trace_hash != replay(whole).trace_hash


def test_every_weather_can_be_written_and_read() -> None:
    for seed in range(50):
        weather = draw(Simulator.stream_of(seed, "weather"))
        one = tape.Tape(seed, SECOND, weather, ())
        assert tape.read(tape.write(one)) == one


def test_what_is_no_tape_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"not a tape of this release: .*seed"):
        tape.read(b"{}")
