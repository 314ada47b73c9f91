"""The rules of this host's firewall that concern a peer, where this user may read them."""

import shutil
import subprocess
from collections.abc import Callable, Iterator

from mabeam_p2p.addresses import is_literal, is_loopback, is_wildcard
from mabeam_p2p.cli.doctor import iptables, nftables
from mabeam_p2p.cli.doctor.filtering import Fate, Packet, walk
from mabeam_p2p.cli.doctor.finding import Finding, error, ok, skipped, warning

MDNS_PORT = 5353
MDNS_GROUP, MDNS_GROUP_V6 = "224.0.0.251", "ff02::fb"
COMMAND_SECONDS = 5.0

Run = Callable[[list[str]], str | None]
"""Output of a command; None: it is not there, or is not allowed."""


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


def firewall(host: str, port: int, *, uses_mdns: bool, run: Run = run) -> Iterator[Finding]:
    """host, port: the peer's; port 0: not known yet, so that only the rules for all ports count."""
    packets = list(_wanted(host, port, uses_mdns))
    listing = run(["nft", "--json", "list", "ruleset"])
    if listing is not None:
        yield from _of_nftables(listing, packets)
        return
    is_v6 = packets[0].is_v6
    listing = run(["ip6tables-save" if is_v6 else "iptables-save"])
    if listing is None:
        text = "its rules cannot be read by this user; as root: nft list ruleset"
        yield skipped("firewall", text)
        return
    yield from _of_iptables(listing, packets)


def _wanted(host: str, port: int, uses_mdns: bool) -> Iterator[Packet]:
    """What must come in."""
    is_v6, is_local = ":" in host, is_loopback(host)
    target = host if is_literal(host) and not is_wildcard(host) else ""
    yield Packet("tcp", port, target, is_local, is_v6)
    if uses_mdns:
        group = MDNS_GROUP_V6 if is_v6 else MDNS_GROUP
        yield Packet("udp", MDNS_PORT, group, is_local, is_v6)


def _of_nftables(listing: str, packets: list[Packet]) -> Iterator[Finding]:
    try:
        ruleset = nftables.Ruleset(listing)
        faults = list(_of_hooks(ruleset, packets))
    except nftables.NO_LISTING:
        yield skipped("firewall", "the rules of nft could not be understood")
        return
    yield from faults
    if not faults:
        count = len(_hooks(ruleset, packets))
        yield ok("firewall", f"{count} chains of nft for what comes in, none in the way")


def _hooks(ruleset: nftables.Ruleset, packets: list[Packet]) -> list[nftables.Hook]:
    families = ("inet", "ip6" if packets[0].is_v6 else "ip")
    return [hook for hook in ruleset.hooks if hook.place[0] in families]


def _of_hooks(ruleset: nftables.Ruleset, packets: list[Packet]) -> Iterator[Finding]:
    """Each chain at which packets come in has to let them in."""
    for hook in _hooks(ruleset, packets):
        name = " ".join(hook.place)
        for packet in packets:
            fate = walk(ruleset.chains(packet), hook.place)
            mend = f"sudo nft insert rule {name} {packet.protocol} dport {packet.port or 'PORT'}"
            where = f"chain {name} of nft"
            yield from _judged(packet, fate, hook.policy == "drop", where, f"{mend} accept")


def _of_iptables(listing: str, packets: list[Packet]) -> Iterator[Finding]:
    ruleset = iptables.Ruleset(listing)
    faults: list[Finding] = []
    for packet in packets:
        fate = walk(ruleset.chains(packet), "INPUT")
        program = "ip6tables" if packet.is_v6 else "iptables"
        port = packet.port or "PORT"
        mend = f"sudo {program} -I INPUT -p {packet.protocol} --dport {port} -j ACCEPT"
        is_closed = ruleset.policies.get("INPUT") == "DROP"
        faults += _judged(packet, fate, is_closed, program, mend)
    yield from faults
    if not faults:
        yield ok("firewall", "no rule of iptables is in the way")


def _judged(
    packet: Packet, fate: Fate, is_closed: bool, where: str, mend: str
) -> Iterator[Finding]:
    """is_closed: what no rule decides is dropped."""
    if fate.verdict == "accept" or not (fate.verdict or is_closed):
        return
    what = f"{packet.protocol} port {packet.port or '?'}"
    if not fate.is_sure:
        text = f"{where} may let some of what comes to {what} in, and drops the rest"
    elif fate.verdict:
        text = f"{where} drops what comes to {what}"
    else:
        text = f"{where} drops what no rule allows, and none allows {what}"
    say = error if fate.is_sure and packet.port else warning
    yield say("firewall", text, mend)
