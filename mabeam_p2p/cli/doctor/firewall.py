"""The rules of this host's firewall that concern a peer, where this user may read them."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

from mabeam_p2p.cli.doctor.finding import Finding, error, ok, skipped, warning

MDNS_PORT = 5353
COMMAND_SECONDS = 5.0

Run = Callable[[list[str]], str | None]
"""Output of a command; None: it is not there, or is not allowed."""

Place = tuple[str, str, str]
"""Family, table and chain."""


def run(command: list[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def firewall(port: int, *, uses_mdns: bool, run: Run = run) -> Iterator[Finding]:
    """port: the peer's; 0: not known yet, so that only the rules for all ports count."""
    listing = run(["nft", "--json", "list", "ruleset"])
    if listing is not None:
        yield from _of_nftables(listing, port, uses_mdns)
        return
    listing = run(["iptables-save"])
    if listing is None:
        text = "its rules cannot be read by this user; as root: nft list ruleset"
        yield skipped("firewall", text)
        return
    yield from _of_iptables(listing, port, uses_mdns)


def _wanted(port: int, uses_mdns: bool) -> list[tuple[str, int]]:
    """Protocols and ports that must come in."""
    return [("tcp", port)] + ([("udp", MDNS_PORT)] if uses_mdns else [])


# ---- nftables --------------------------------------------------------------------------------


def _of_nftables(listing: str, port: int, uses_mdns: bool) -> Iterator[Finding]:
    try:
        items: list[dict[str, Any]] = json.loads(listing)["nftables"]
    except (ValueError, KeyError):
        yield skipped("firewall", "the rules of nft could not be understood")
        return
    chains = [item["chain"] for item in items if "chain" in item]
    hooks = {_place(c, "name"): c for c in chains if c.get("hook") == "input"}
    rules: dict[Place, list[list[Any]]] = {place: [] for place in hooks}
    for item in items:
        if "rule" in item and (place := _place(item["rule"], "chain")) in rules:
            rules[place].append(item["rule"]["expr"])
    faults = [
        fault
        for place, chain in hooks.items()
        for protocol, number in _wanted(port, uses_mdns)
        if (fault := _judge(place, chain, rules[place], protocol, number)) is not None
    ]
    yield from faults
    if not faults:
        yield ok("firewall", f"{len(hooks)} chains of nft for what comes in, none in the way")


def _place(item: dict[str, Any], key: str) -> Place:
    return item["family"], item["table"], item[key]


def _judge(
    place: Place, chain: dict[str, Any], rules: list[list[Any]], protocol: str, port: int
) -> Finding | None:
    """The first rule that speaks of the port decides, else the chain's policy."""
    where = f"chain {' '.join(place)} of nft"
    allow = f"sudo nft insert rule {' '.join(place)} {protocol} dport {port or 'PORT'} accept"
    for rule in rules:
        verdict = _verdict(rule)
        if verdict is None or not _matches(rule, protocol, port):
            continue
        if verdict == "accept":
            return None
        text = f"{where} drops what comes to {protocol} port {port}"
        return error("firewall", text, allow)
    if chain.get("policy") == "drop":
        text = f"{where} drops what no rule allows, and none allows {protocol} port {port or '?'}"
        # What stands in chains that it jumps to is not followed: that may allow it.
        is_sure = port and not any("jump" in part or "goto" in part for r in rules for part in r)
        return (error if is_sure else warning)("firewall", text, allow)
    return None


def _verdict(rule: list[Any]) -> str | None:
    for part in rule:
        if "accept" in part:
            return "accept"
        if "drop" in part or "reject" in part:
            return "drop"
    return None


def _matches(rule: list[Any], protocol: str, port: int) -> bool:
    """Whether the rule is for all that comes to the port; one with a condition that is not
    understood here is for some of it only, and decides nothing."""
    for part in rule:
        match = part.get("match")
        if match is None:
            continue
        left, right = match.get("left", {}), match.get("right")
        if match.get("op") not in ("==", "in") or not isinstance(left, dict):
            return False
        payload, meta = left.get("payload", {}), left.get("meta", {})
        if payload.get("field") == "dport":
            if payload.get("protocol") not in (protocol, "th") or not _holds(right, port):
                return False
        elif meta.get("key") == "l4proto" or payload.get("field") in ("protocol", "nexthdr"):
            if not _holds(right, protocol):
                return False
        else:
            return False
    return True


def _holds(right: Any, wanted: object) -> bool:
    """Whether `wanted` is in a value, a set or a range of nft's JSON."""
    match right:
        case {"set": list() as members}:
            return any(_holds(member, wanted) for member in members)
        case {"range": [low, high]}:
            return isinstance(wanted, int) and bool(low <= wanted <= high)
        case _:
            return bool(right == wanted)


# ---- iptables --------------------------------------------------------------------------------


def _of_iptables(listing: str, port: int, uses_mdns: bool) -> Iterator[Finding]:
    lines = listing.splitlines()
    is_closed = any(line.startswith(":INPUT DROP") for line in lines)
    faults: list[Finding] = []
    for protocol, number in _wanted(port, uses_mdns):
        allow = f"sudo iptables -I INPUT -p {protocol} --dport {number or 'PORT'} -j ACCEPT"
        verdict = _iptables_verdict(lines, protocol, number)
        if verdict == "drop":
            text = f"iptables drops what comes to {protocol} port {number}"
            faults.append(error("firewall", text, allow))
        elif verdict is None and is_closed:
            text = f"iptables drops what no rule allows, and none allows {protocol} port {number}"
            faults.append((error if number else warning)("firewall", text, allow))
    yield from faults
    if not faults:
        yield ok("firewall", "no rule of iptables is in the way")


def _iptables_verdict(lines: list[str], protocol: str, port: int) -> str | None:
    wanted = ["-A", "INPUT", "-p", protocol, "-m", protocol, "--dport", str(port)]
    for line in lines:
        words = line.split()
        if words[:9] == [*wanted, "-j"]:
            return "accept" if words[9] == "ACCEPT" else "drop"
    return None
