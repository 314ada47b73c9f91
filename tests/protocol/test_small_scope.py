"""Three voters, searched whole: no order of what can happen within a small scope breaks a rule.

`tools/small_scope` goes further for a minute and prints how much that is; with `--wide`, for many.
"""

import pytest

from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import AppendEntries
from mabeam_p2p.testing.small_scope import (
    BRIEF,
    LONG_BEGINNINGS,
    NARROW,
    SAME,
    Contradiction,
    Scope,
    SmallScope,
    beginnings,
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_that_three_voters_can_do_within_small_bounds_breaks_a_rule() -> None:
    states = 0
    for scope in BRIEF:
        search = SmallScope(scope)
        search.search()
        states += search.state_count
    assert states > 25_000, "the search has become narrower than it was"


def test_every_beginning_is_one_that_two_elections_can_lead_to() -> None:
    found = list(beginnings())
    assert len(found) == len(dict.fromkeys(found)) > 30
    assert ((1, 2, 2), (1, 2, 3), (1, 2, 3)) in found
    assert ((1, 3), (1, 3), (1, 2, 3)) not in found, "two logs of one leader"
    assert ((1, 2), (1, 2), (1, 3)) not in found, "nobody would have elected it"


def test_whatever_a_run_of_the_tests_leaves_out_the_tool_searches() -> None:
    begun = {scope.logs for scope in NARROW if scope == Scope(scope.logs, terms=1, stands=1)}
    assert begun == set(beginnings())
    assert set(LONG_BEGINNINGS) < begun
    assert set(BRIEF) < set(NARROW)


@pytest.mark.slow
def test_the_search_tells_the_steps_to_a_broken_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_quorum(granted: list[PeerId], voters: tuple[PeerId, ...]) -> bool:
        return len(granted) >= 1

    monkeypatch.setattr("mabeam_p2p.protocol.replication.candidacy.is_quorum", is_quorum)
    with pytest.raises(Contradiction, match="I1: leads term 2") as caught:
        SmallScope(Scope(SAME, lost=(AppendEntries,))).search()
    assert caught.value.story[0] == "A stands"
