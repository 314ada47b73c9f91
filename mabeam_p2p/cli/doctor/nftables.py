"""The rules of nft, of what `nft --json list ruleset` prints (libnftables-json(5))."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mabeam_p2p.cli.doctor import filtering
from mabeam_p2p.cli.doctor.filtering import For, Packet, Rule

Place = tuple[str, str, str]
"""Family, table and chain, or set."""

VERDICTS = {"accept": "accept", "drop": "drop", "reject": "drop", "return": "return"}
NO_CONDITIONS = ("counter", "log", "mangle", "notrack", "meter", *VERDICTS, "jump", "goto", "vmap")
"""Statements that do not choose among packets; one that is not known here may."""


NO_LISTING = (ValueError, LookupError, TypeError, AttributeError, StopIteration)


class Hook(NamedTuple):
    """A chain at which packets come in."""

    place: Place
    policy: str


class Ruleset:
    """Its verbs raise one of NO_LISTING if the listing is none."""

    def __init__(self, listing: str) -> None:
        items: list[Mapping[str, Any]] = json.loads(listing)["nftables"]
        self._sets = {_place(one, "name"): one.get("elem") for one in _all(items, "set")}
        self._rules: dict[Place, list[Any]] = {}
        self.hooks = []
        for chain in _all(items, "chain"):
            place = _place(chain, "name")
            self._rules[place] = []
            if chain.get("hook") == "input":
                self.hooks.append(Hook(place, chain.get("policy", "accept")))
        for rule in _all(items, "rule"):
            self._rules.setdefault(_place(rule, "chain"), []).append(rule["expr"])

    def chains(self, packet: Packet) -> dict[Place, list[Rule[Place]]]:
        """What each rule is to the packet."""
        return {
            place: [rule for expression in rules for rule in self._read(place, expression, packet)]
            for place, rules in self._rules.items()
        }

    def _read(
        self, place: Place, parts: Sequence[Mapping[str, Any]], packet: Packet
    ) -> Iterator[Rule[Place]]:
        """One rule, or, of a map of verdicts, one for each of its rows."""
        applies = For.ALL
        for part in parts:
            kind, facts = next(iter(part.items()))
            if kind == "match":
                one = self._match(place, facts["left"], facts["right"], packet)
                is_inverse = facts["op"] == "!="
                is_known = is_inverse or facts["op"] in ("==", "in")
                one = (filtering.inverted(one) if is_inverse else one) if is_known else For.SOME
                applies = filtering.both(applies, one)
            elif kind == "vmap":
                yield from self._mapped(place, applies, facts, packet)
            elif kind not in NO_CONDITIONS:
                applies = filtering.both(applies, For.SOME)
            yield from _decided(place, applies, part)

    def _mapped(
        self, place: Place, applies: For, facts: Mapping[str, Any], packet: Packet
    ) -> Iterator[Rule[Place]]:
        table = facts["data"]
        rows = table.get("set") if isinstance(table, dict) else None
        if rows is None:  # A map that is kept under a name.
            yield Rule(filtering.both(applies, For.SOME), "unknown")
            return
        for value, statement in rows:
            one = self._match(place, facts["key"], value, packet)
            yield from _decided(place, filtering.both(applies, one), statement)

    def _match(self, place: Place, left: Any, right: Any, packet: Packet) -> For:
        """Whether a field of the packet has this value, or one of these."""
        values = self._values(place, right)
        if values is None or not isinstance(left, dict):
            return For.SOME
        payload, meta = left.get("payload", {}), left.get("meta", {})
        fib = left.get("fib", {})
        kind = left.get("ct", {}).get("key") or fib.get("result")
        match payload.get("field") or meta.get("key") or kind:
            case "dport":
                is_its = payload.get("protocol") in (packet.protocol, "th")
                return filtering.truth(is_its and any(_holds(one, packet.port) for one in values))
            case "l4proto" | "protocol" | "nexthdr" if meta.get("key") != "protocol":
                return filtering.truth(packet.protocol in values)
            case "nfproto":
                return filtering.truth(("ipv6" if packet.is_v6 else "ipv4") in values)
            case "iifname" | "iif":
                return filtering.by_interface([str(one) for one in values], packet)
            case "state":
                return filtering.by_state([str(one) for one in values])
            case "type" if fib.get("flags") == ["daddr"]:
                return filtering.by_kind([str(one) for one in values], packet)
            case "daddr" if payload.get("protocol") in ("ip", "ip6"):
                found = [filtering.by_target(_network(one), packet) for one in values]
                return max(found, key=lambda one: one.value, default=For.NONE)
            case _:
                return For.SOME

    def _values(self, place: Place, right: Any) -> list[Any] | None:
        """None: they are not understood."""
        if isinstance(right, str) and right.startswith("@"):
            elements = self._sets.get((place[0], place[1], right[1:]))
            return elements if isinstance(elements, list) else None
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        return right if isinstance(right, list) else [right]


def _decided(place: Place, applies: For, statement: Mapping[str, Any]) -> Iterator[Rule[Place]]:
    kind, facts = next(iter(statement.items()))
    if kind in VERDICTS:
        yield Rule(applies, VERDICTS[kind])
    elif kind in ("jump", "goto"):
        yield Rule(applies, kind, (place[0], place[1], facts["target"]))
    elif kind in ("queue", "xt"):  # Another program, or a module of iptables, decides.
        yield Rule(filtering.both(applies, For.SOME), "unknown")


def _holds(value: Any, wanted: int) -> bool:
    match value:
        case {"range": [int(low), int(high)]}:
            return low <= wanted <= high
        case {"elem": {"val": inner}}:
            return _holds(inner, wanted)
        case _:
            return bool(value == wanted)


def _network(value: Any) -> str:
    match value:
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case _:
            return str(value)


def _all(items: Sequence[Mapping[str, Any]], kind: str) -> Iterator[Any]:
    return (item[kind] for item in items if kind in item)


def _place(item: Mapping[str, Any], key: str) -> Place:
    return item["family"], item["table"], item[key]
