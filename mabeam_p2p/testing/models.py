"""What a counter, a lock and a queue are by themselves, for one client at a time.

| action | arguments | result |
| --- | --- | --- |
| `get` `add` `set` | nothing; amount; value | the counter's value then |
| `compare_and_set` | expected, value | whether it was as expected |
| `acquire` | claim, permits | the token |
| `refused` | permits | that too few permits are free |
| `renew` `release` | claim | that the claim is held until then |
| `put` | item | its position |
| `take` | claim | item and token |
| `empty` | nothing | that no item is ready |
| `acknowledge` `return` | claim | that the item is held until then |
| `lost` | claim | that the claim holds nothing any more, by whatever cause |

A call whose result is None has whatever effect it can have. Claims are named by the history.
"""

from mabeam_p2p.testing.wing_gong import Call, State


class CounterModel:
    """State: the value."""

    def initial(self) -> State:
        return 0

    def step(self, state: State, call: Call) -> State | None:
        assert isinstance(state, int)
        match call.action, call.arguments:
            case "get", ():
                after = state
            case "add", (int(amount),):
                after = state + amount
            case "set", (int(value),):
                after = value
            case "compare_and_set", (expected, int(value)):
                is_equal = state == expected
                if call.result is None:
                    return value if is_equal else None
                return (value if is_equal else state) if is_equal is call.result else None
            case _:
                raise AssertionError(call)
        return after if call.result in (None, after) else None

    def reads(self, call: Call) -> bool:
        is_refused = call.action == "compare_and_set" and call.result is False
        return call.action == "get" or is_refused


Holders = tuple[tuple[str, int], ...]
"""Claims with their permits, sorted."""


class LockModel:
    """State: the last token, and the holders. Tokens only grow."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def initial(self) -> State:
        return 0, ()

    def step(self, state: State, call: Call) -> State | None:
        assert isinstance(state, tuple)
        last: int = state[0]
        holders: Holders = state[1]
        match call.action, call.arguments:
            case "acquire", (str(claim), int(permits)):
                return self._acquired(last, holders, (claim, permits), call.result)
            case "refused", (int(permits),):
                # With several permits those who wait may be in the way.
                has_room = self.limit == 1 and not holders
                return None if has_room else state
            case ("renew" | "release" | "lost") as action, (str(claim),):
                rest = tuple(holder for holder in holders if holder[0] != claim)
                if len(rest) == len(holders):
                    return state if action == "lost" else None
                return state if action == "renew" else (last, rest)
            case _:
                raise AssertionError(call)

    def reads(self, call: Call) -> bool:
        return call.action in ("refused", "renew")

    def _acquired(
        self, last: int, holders: Holders, holder: tuple[str, int], token: object
    ) -> State | None:
        if sum(permits for _, permits in holders) + holder[1] > self.limit:
            return None
        if token is None:
            return last, tuple(sorted((*holders, holder)))
        assert isinstance(token, int)
        return (token, tuple(sorted((*holders, holder)))) if token > last else None


Items = tuple[tuple[bytes, str], ...]
"""In order of the queue, each with the claim that has taken it, or nothing."""


class QueueModel:
    """State: the last position, the last token, and the items that are not acknowledged. Positions
    and tokens only grow."""

    def initial(self) -> State:
        return 0, 0, ()

    def step(self, state: State, call: Call) -> State | None:
        assert isinstance(state, tuple)
        position: int = state[0]
        last: int = state[1]
        items: Items = state[2]
        match call.action, call.arguments:
            case "put", (bytes(item),):
                if call.result is not None:
                    assert isinstance(call.result, int)
                    if call.result <= position:
                        return None
                    position = call.result
                return position, last, (*items, (item, ""))
            case "take", (str(claim),):
                return _taken(state, claim, call.result)
            case "empty", ():
                return state if all(claim for _, claim in items) else None
            case ("acknowledge" | "return" | "lost") as action, (str(claim),):
                if all(taker != claim for _, taker in items):
                    return state if action == "lost" else None
                if action == "acknowledge":
                    return position, last, tuple(one for one in items if one[1] != claim)
                rest = tuple((item, "" if taker == claim else taker) for item, taker in items)
                return position, last, rest
            case _:
                raise AssertionError(call)

    def reads(self, call: Call) -> bool:
        return call.action == "empty"


def _taken(state: tuple[int, int, Items], claim: str, result: object) -> State | None:
    position, last, items = state
    place = next((n for n, (_, taker) in enumerate(items) if not taker), None)
    if place is None:
        return None
    item = items[place][0]
    if result is not None:
        assert isinstance(result, tuple)
        found, token = result
        if found != item or token <= last:
            return None
        last = token
    return position, last, (*items[:place], (item, claim), *items[place + 1 :])
