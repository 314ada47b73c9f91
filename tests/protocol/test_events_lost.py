"""One whole peer that applies what it tells no events of: whoever has read before is told to read
anew, and before anything is answered."""

import pytest
from msgspec.structs import replace

from mabeam_p2p.commands import AnyCommand, Arrive
from mabeam_p2p.effects import Notify, Resolve
from mabeam_p2p.events import EVENTS_LOST, Dropped
from mabeam_p2p.messages import AppendEntries
from mabeam_p2p.protocol.node import application
from mabeam_p2p.records import Batch, OnDeparture
from mabeam_p2p.requests import Await, Found, GenerationQuery, JournalQuery, Read, Submit
from tests.protocol.test_node import A, Desk
from tests.protocol.test_node_snapshots import (
    OPEN,
    SESSION,
    answers,
    append,
    dropped,
    install,
    led,
    snapshot,
)


def test_that_a_snapshot_has_taken_their_place_is_said_before_anything_is_answered() -> None:
    """Who has the answer to its command must not take what it has read before for what is."""
    desk = led()
    desk.did(desk.node.request(1, Submit(OPEN, 30.0), desk.now))
    arrive = Arrive(SESSION, 2, "b", 1, 1, OnDeparture.WAIT)
    desk.did(desk.node.request(2, Await(GenerationQuery("b", 1), 30.0), desk.now))
    desk.end_turn()
    desk.effects.clear()
    install(desk, snapshot(OPEN, arrive))
    assert order_of(desk) == ["lost", 1, 2]


@pytest.mark.parametrize("page", [2, 100])
def test_that_entries_come_from_the_disk_is_said_before_anything_is_answered(
    page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have read before the leader was heard, and would never learn of them: they are
    no news. Said in each turn that applies some, as more may follow in the next."""
    monkeypatch.setattr(application, "COMMANDS_PER_TURN", page)
    codec = Desk().codec
    asked: list[AnyCommand] = [OPEN, *(append(number) for number in range(2, 5))]
    tail = tuple(
        Batch(index, 1, 1, 20, codec.encode_commands([command]))
        for index, command in enumerate(asked, 2)
    )
    desk = Desk(recovered=lambda old: replace(old, batches=(*old.batches, *tail)))
    desk.did(desk.node.request(9, Read(JournalQuery("j")), desk.now))
    found = answers(desk)[9]
    assert isinstance(found, Found)
    assert found.index == 0, "read before anything was applied"
    for token, command in enumerate(asked, 1):
        desk.did(desk.node.request(token, Submit(command, 30.0), desk.now))
    desk.effects.clear()
    desk.hear(A, AppendEntries(0, 2, 5, 1, 5, ()))
    for _ in range(3):
        desk.end_turn()
    assert desk.node.machine.applied_index == 5
    expected = {100: ["lost", 1, 2, 3, 4], 2: ["lost", 1, "lost", 2, 3, "lost", 4]}
    assert order_of(desk) == expected[page]
    assert sum(event.count for event in dropped(desk)) == 5
    desk.effects.clear()
    desk.append_committed((Batch(6, 1, 2, 30, codec.encode_commands([append(5)])),))
    assert dropped(desk) == [], "that is news"


def order_of(desk: Desk) -> list[object]:
    """Tokens that were answered, and where it was said that events are lost."""
    found: list[object] = []
    for effect in desk.effects:
        if isinstance(effect, Resolve):
            found.append(effect.token)
        elif isinstance(effect, Notify) and isinstance(effect.event, Dropped):
            assert effect.event.reason == EVENTS_LOST
            found.append("lost")
    return found
