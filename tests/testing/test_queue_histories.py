"""Long histories of a queue whose agents often hear nothing: what happened is found to be lawful at
once, by the hints of the log, and one wrong word in it is refused."""

from collections.abc import Callable
from math import inf
from random import Random

import pytest

from mabeam_p2p.commands import PutItem, TakeItem
from mabeam_p2p.events import ItemTaken, TakeEnded
from mabeam_p2p.ids import AgentId, SessionId
from mabeam_p2p.records import Claim, Item
from mabeam_p2p.requests import Committed
from mabeam_p2p.testing.line_hints import LineHints
from mabeam_p2p.testing.models import QueueModel
from mabeam_p2p.testing.wing_gong import Call, Verdict, judge

STEPS = 240
SESSION = SessionId(7)


class Story:
    """A queue, the log of what happens to it, and what its agents saw of that."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.hints = LineHints()
        self.calls: list[Call] = []
        self.now = 0
        self.index = self.token = 0
        self.ready: list[Item] = []
        self.held: dict[str, tuple[Claim, int]] = {}
        """By name: what was claimed, and when."""
        for _ in range(STEPS):
            self.now += self.random.randrange(1, 10)
            self.index += self.random.randrange(1, 3)
            self.random.choice((self.put, self.put, self.take, self.take, self.end, self.end))()
        self.history = self.hints.give(self.calls)

    def told(self, action: str, *arguments: object, result: object = None, chance: float) -> Call:
        """It happens now; its agent hears so, or not."""
        invoked, returned = self.now - self.random.randrange(30), self.now + 30
        call = Call("c", "q", action, arguments, invoked, inf, may=True)
        if self.random.random() < chance:
            call.returned, call.result, call.may = returned, result, False
        self.calls.append(call)
        return call

    def put(self) -> None:
        item = Item(self.index, b"%d" % self.index, 0)
        command = PutItem(SESSION, self.index, "q", item.value)
        self.hints.took_effect(command, Committed(self.index, 1, 1))
        self.ready.append(item)
        self.told("put", item.value, result=self.index, chance=0.9)

    def take(self) -> None:
        if not self.ready:
            return
        self.token = max(self.token + 1, self.index)
        agent = AgentId(f"a{self.random.randrange(9)}@p")
        claim = Claim(self.index, agent, self.index, token=self.token, item=self.ready.pop(0))
        assert claim.item is not None
        command = TakeItem(SESSION, self.index, "q", 0)
        self.hints.took_effect(command, Committed(self.index, 1, 1))
        self.hints.happened(ItemTaken("q", claim))
        name = f"{agent}/{SESSION}/{self.index}"
        self.held[name] = claim, self.now
        result = claim.item.value, self.token
        if self.told("take", name, result=result, chance=0.8).may:
            return
        # Who has got an item knows that it was put, and where.
        for call in self.calls:
            if call.action == "put" and call.arguments == (claim.item.value,):
                call.result, call.may = claim.item.position, False

    def end(self) -> None:
        if not self.held:
            return
        name = self.random.choice(list(self.held))
        claim, since = self.held.pop(name)
        assert claim.item is not None
        reason = self.random.choice(("acknowledged", "returned", "departed", "timeout"))
        self.hints.happened(TakeEnded("q", claim, reason))
        if reason != "acknowledged":
            self.ready = sorted([*self.ready, claim.item], key=lambda item: item.position)
        said = {"acknowledged": "acknowledge", "returned": "return"}
        if reason in said:
            if not self.told(said[reason], name, result=True, chance=0.7).may:
                return
        else:
            # It was said, and came too late.
            action = self.random.choice(("acknowledge", "return"))
            self.calls.append(Call("c", "q", action, (name,), self.now, self.now + 40, may=True))
        self.calls.append(Call("c", "q", "lost", (name,), since, self.now + 50))

    def certain(self, action: str) -> list[Call]:
        return [call for call in self.history if call.action == action and not call.may]


@pytest.mark.parametrize("seed", range(20))
def test_a_lawful_history_of_a_queue_is_decided_at_once(seed: int) -> None:
    story = Story(seed)
    assert sum(call.may for call in story.history) > STEPS // 20
    steps_max = 3 * len(story.history)
    assert judge(QueueModel(), story.history, steps_max) == (Verdict.LINEARIZABLE, "")


def delivered_again(story: Story) -> None:
    """What was acknowledged."""
    kept = dict.fromkeys(call.arguments[0] for call in story.certain("acknowledge"))
    taken = next(call for call in story.certain("take") if call.arguments[0] in kept)
    assert isinstance(taken.result, tuple)
    after = story.now + 100
    result = taken.result[0], story.token + 1
    story.history.append(Call("c", "q", "take", ("late",), after, after + 1, result))


def out_of_turn(story: Story) -> None:
    """Two takes, one after the other, each got what was the other's."""
    takes = story.certain("take")
    first, second = takes[len(takes) // 2], takes[-1]
    assert first.returned < second.invoked
    assert isinstance(first.result, tuple)
    assert isinstance(second.result, tuple)
    assert first.result[0] != second.result[0]
    first.result, second.result = (
        (second.result[0], first.result[1]),
        (first.result[0], second.result[1]),
    )


def token_that_goes_back(story: Story) -> None:
    taken = story.certain("take")[-1]
    assert isinstance(taken.result, tuple)
    taken.result = taken.result[0], 1


def put_that_was_lost(story: Story) -> None:
    """At the end all is there, but for an item that was put and never taken."""
    after = story.now + 100
    put = Call("c", "q", "put", (b"lost",), after, after + 1, story.index + 1)
    empty = Call("c", "q", "empty", (), after + 2, after + 3)
    story.history += [put, empty]


@pytest.mark.parametrize(
    "plant", [delivered_again, out_of_turn, token_that_goes_back, put_that_was_lost]
)
@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_word_in_it_is_refused(seed: int, plant: Callable[[Story], None]) -> None:
    """Many orders are left that it could have stood in, and the search is given up: that is a
    failure too."""
    story = Story(seed)
    plant(story)
    verdict, detail = judge(QueueModel(), story.history, steps_max=2_000)
    assert verdict is not Verdict.LINEARIZABLE
    assert detail
