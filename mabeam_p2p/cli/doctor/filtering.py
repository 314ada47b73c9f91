"""What a firewall does with a packet that begins something: its chains, walked as the kernel walks
them. Knows no firewall: `nftables` and `iptables` make rules of what those print.

1. A rule applies to all such packets, to none, or to some of them: what is not understood here is
   for some. Of these nothing is decided, but that they may be let in before others are dropped.
2. A chain that is jumped to decides, or leaves it to the one that it came from; one that is gone to
   leaves it to the chain before that.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Generic, NamedTuple, TypeVar

DEPTH_MAX = 16
"""Of jumps, as in the kernel."""

Name = TypeVar("Name")
"""Of a chain."""


class Packet(NamedTuple):
    """The first one of a connection, or a question by multicast."""

    protocol: str
    port: int
    """Where it goes to; 0: not known yet."""
    target: str
    """The address that it goes to; empty: any of this host's."""
    is_local: bool
    """Whether it comes by the loopback interface."""
    is_v6: bool = False


class For(Enum):
    """Which of these packets a rule, or a condition of one, is for."""

    NONE = 0
    SOME = 1
    ALL = 2


class Rule(NamedTuple, Generic[Name]):
    applies: For
    verdict: str
    """accept, drop, return, jump, goto; unknown: it may be any of these; empty: it decides
    nothing."""
    chain: Name | None = None
    """Where it jumps, or goes, to."""


class Fate(NamedTuple):
    verdict: str
    """accept, drop, or nothing: no rule has decided."""
    is_sure: bool
    """False: before that some of the packets may have been let in."""


def both(one: For, other: For) -> For:
    """Which packets two conditions together are for."""
    return one if one.value < other.value else other


def inverted(one: For) -> For:
    return For(For.ALL.value - one.value)


def truth(holds: bool) -> For:
    return For.ALL if holds else For.NONE


def by_interface(names: Sequence[str], packet: Packet) -> For:
    """By which interface others come is not known, but that it is not the loopback one."""
    if packet.is_local:
        return truth("lo" in names)
    return For.NONE if list(names) == ["lo"] else For.SOME


def by_state(states: Sequence[str]) -> For:
    """By the state of its connection (conntrack)."""
    return truth("new" in [state.lower() for state in states])


def by_target(target: str, packet: Packet) -> For:
    """By the address, or network, that it goes to."""
    if not packet.target:
        return For.SOME
    try:
        return truth(ip_address(packet.target) in ip_network(target, strict=False))
    except ValueError:
        return For.SOME


def by_kind(kinds: Sequence[str], packet: Packet) -> For:
    """By what kind of address the kernel takes its target for (fib)."""
    is_group = bool(packet.target) and ip_address(packet.target).is_multicast
    return truth(("multicast" if is_group else "local") in [kind.lower() for kind in kinds])


def walk(chains: Mapping[Name, Sequence[Rule[Name]]], start: Name, depth: int = 0) -> Fate:
    """What becomes of the packets in a chain, without its policy."""
    is_sure, is_whole = depth <= DEPTH_MAX, True
    for rule in chains.get(start, ()) if is_sure else ():
        if rule.applies is For.NONE:
            continue
        fate = Fate(rule.verdict, True)
        if rule.verdict in ("jump", "goto") and rule.chain is not None:
            fate = walk(chains, rule.chain, depth + 1)
        is_sure = is_sure and fate.is_sure and fate.verdict != "unknown"
        is_left = rule.verdict in ("return", "goto") and fate.verdict not in ("accept", "drop")
        if rule.applies is For.SOME:
            is_sure = is_sure and fate.verdict != "accept"
            is_whole = is_whole and not is_left
        elif is_left:
            return Fate("", is_sure)
        elif fate.verdict in ("accept", "drop"):
            # Whom it has left to the chain before, that may let in.
            return Fate(fate.verdict, is_sure and is_whole)
    return Fate("", is_sure)
