"""The rules of this host's firewall that concern a peer, where this user may read them."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

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


def firewall(
    host: str, ports: Sequence[int], *, uses_mdns: bool, run: Run = run
) -> Iterator[Finding]:
    """host, ports: the peer's, in order; port 0: not known yet, so that only the rules for all
    ports count."""
    packets = list(_wanted(host, ports, uses_mdns))
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


def _wanted(host: str, ports: Sequence[int], uses_mdns: bool) -> Iterator[Packet]:
    """What must come in."""
    is_v6, is_local = ":" in host, is_loopback(host)
    target = host if is_literal(host) and not is_wildcard(host) else ""
    for number in ports:
        yield Packet("tcp", number, target, is_local, is_v6)
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
        fates = {packet: walk(ruleset.chains(packet), hook.place) for packet in packets}
        for one in _stopped(fates, hook.policy == "drop"):
            ports = one.ports()
            if "," in ports:
                ports = f"'{{ {ports} }}'"
            mend = f"sudo nft insert rule {name} {one.protocol} dport {ports or 'PORT'}"
            yield one.finding(f"chain {name} of nft", f"{mend} accept")


def _of_iptables(listing: str, packets: list[Packet]) -> Iterator[Finding]:
    ruleset = iptables.Ruleset(listing)
    program = "ip6tables" if packets[0].is_v6 else "iptables"
    fates = {packet: walk(ruleset.chains(packet), "INPUT") for packet in packets}
    stopped = _stopped(fates, ruleset.policies.get("INPUT") == "DROP")
    for one in stopped:
        ports = one.ports().replace("-", ":").replace(" ", "") or "PORT"
        match = "-m multiport --dports" if "," in ports else "--dport"
        mend = f"sudo {program} -I INPUT -p {one.protocol} {match} {ports} -j ACCEPT"
        yield one.finding(program, mend)
    if not stopped:
        yield ok("firewall", "no rule of iptables is in the way")


class _Stopped(NamedTuple):
    """Ports at which not everything comes in that must, all for the same reason."""

    protocol: str
    fate: Fate
    numbers: list[int]

    def ports(self) -> str:
        """As `7946`, `7946-7948` or `7946, 51234`; empty: not known."""
        first, last = self.numbers[0], self.numbers[-1]
        if len(self.numbers) > 1 and last - first == len(self.numbers) - 1:
            return f"{first}-{last}"
        return ", ".join(str(number) for number in self.numbers if number)

    def finding(self, where: str, mend: str) -> Finding:
        what = f"{self.protocol} port {self.ports() or '?'}"
        if not self.fate.is_sure:
            text = f"{where} may let some of what comes to {what} in, and drops the rest"
        elif self.fate.verdict:
            text = f"{where} drops what comes to {what}"
        else:
            text = f"{where} drops what no rule allows, and none allows {what}"
        say = error if self.fate.is_sure and self.numbers[0] else warning
        return say("firewall", text, mend)


def _stopped(fates: Mapping[Packet, Fate], is_closed: bool) -> list[_Stopped]:
    """is_closed: what no rule decides is dropped."""
    stopped: dict[tuple[str, Fate], _Stopped] = {}
    for packet, fate in fates.items():
        if fate.verdict != "accept" and (fate.verdict or is_closed):
            kind = (packet.protocol, fate)
            stopped.setdefault(kind, _Stopped(*kind, [])).numbers.append(packet.port)
    return list(stopped.values())
