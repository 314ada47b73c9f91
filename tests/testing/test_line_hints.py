"""What the log knows of calls whose agents heard nothing, and that it decides nothing."""

from math import inf

from mabeam_p2p.commands import PutItem, TakeItem
from mabeam_p2p.events import ItemTaken, TakeEnded
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Claim, Item
from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.line_hints import LineHints
from mabeam_p2p.testing.models import QueueModel
from mabeam_p2p.testing.wing_gong import Call, Verdict, judge

A, B = AgentId("a@p"), AgentId("b@p")
ITEM = Item(3, b"x", 1)


def log() -> LineHints:
    """An item is put at 3, taken at 4, lost with its holder, and taken again at 9."""
    hints = LineHints()
    hints.took_effect(PutItem(SessionId(7), 1, "q", b"x"), Committed(3, 1, 1))
    hints.took_effect(TakeItem(SessionId(7), 2, "q", 0), Committed(4, 1, 1))
    hints.happened(ItemTaken("q", Claim(4, A, 4, token=4, item=ITEM)))
    hints.took_effect(TakeItem(SessionId(8), 1, "q", 0), Committed(9, 1, 1))
    hints.happened(TakeEnded("q", Claim(4, A, 4, token=4, item=ITEM), "departed"))
    hints.happened(ItemTaken("q", Claim(9, B, 9, token=9, item=ITEM)))
    return hints


def history() -> list[Call]:
    return [
        Call("a", "q", "put", (b"x",), 0, may=True),
        Call("a", "q", "take", ("a@p/7/2",), 1, may=True),
        Call("a", "q", "lost", ("a@p/7/2",), 1, may=True),
        Call("b", "q", "take", ("b@p/8/1",), 2, 9, (b"x", 9), hint=9),
        Call("c", "q", "take", ("c@p/9/1",), 2, may=True),
    ]


def test_uncertain_calls_are_told_where_the_log_has_them() -> None:
    assert [call.hint for call in log().give(history())] == [1, 2, 3, 4, inf]


def test_with_hints_or_without_the_verdict_is_the_same() -> None:
    assert judge(QueueModel(), log().give(history()))[0] is Verdict.LINEARIZABLE
    assert judge(QueueModel(), history())[0] is Verdict.LINEARIZABLE
    wrong = log().give(history())
    wrong[3].result = (b"y", 9)
    assert judge(QueueModel(), wrong)[0] is Verdict.IMPOSSIBLE


def test_hints_that_are_wrong_lose_no_order() -> None:
    calls = log().give(history())
    for call in calls:
        call.hint = 100 - call.hint if call.hint < inf else inf
    assert judge(QueueModel(), calls)[0] is Verdict.LINEARIZABLE
