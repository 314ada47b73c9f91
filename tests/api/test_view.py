from mabeam_p2p.api.results import Leader
from mabeam_p2p.api.view import View
from mabeam_p2p.events import LeaderChanged, MemberChanged
from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Member, MemberState
from tests.in_loop import in_loop

ANT = Member(PeerId("0" * 16), "ant", "127.0.0.1:1", 1, 1, MemberState.ALIVE)
BEE = Member(PeerId("1" * 16), "bee", "127.0.0.1:2", 1, 1, MemberState.ALIVE)


def names(view: View) -> list[str]:
    return [member.name for member in view.members()]


@in_loop
async def test_answer_that_is_older_than_an_event_does_not_undo_it() -> None:
    view = View()
    with view.reading():
        view.on_event(MemberChanged(BEE))
        view.on_event(LeaderChanged(BEE.peer, "bee", 2, "elected"))
        view.on_members((ANT,), ())
        view.on_leader(None, False)
    assert names(view) == ["ant", "bee"]
    assert view.leader == Leader(BEE.peer, "bee", 2)


@in_loop
async def test_events_between_two_readings_are_not_taken_in_twice() -> None:
    view = View()
    with view.reading():
        view.on_members((ANT,), ())
    view.on_event(MemberChanged(BEE))
    with view.reading():
        view.on_members((ANT,), ())
    assert names(view) == ["ant"]
