"""What the measurement of coordinators measures."""

from tools.hierarchy import NEVER, measure

WINDOW = 0.01
BURST = 0.005


def test_coordinators_keep_messages_and_batches_from_the_leader() -> None:
    without = measure(16, NEVER, WINDOW, BURST)
    with_them = measure(16, 1, WINDOW, BURST)
    for many, few in zip(without, with_them, strict=True):
        # One report for each agent, but that of the leader's own and that of the proposer.
        assert many.reports in (15, 16)
        assert few.reports < many.reports / 2
        assert few.batches < many.batches / 2
        assert few.messages < many.messages * 0.6
        # Two hops and a window more, at most: never a repetition.
        assert few.seconds < many.seconds + 3 * WINDOW
