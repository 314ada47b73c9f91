"""The rules of iptables, of what `iptables-save` prints."""

import shlex
from collections.abc import Iterator

from mabeam_p2p.cli.doctor import filtering
from mabeam_p2p.cli.doctor.filtering import For, Packet, Rule

VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}
NO_CONDITIONS = ("LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TRACE")
"""Targets that decide nothing."""
OPTIONS = (
    "-p", "-m", "-i", "-d", "--comment", "--dport", "--dports", "--ctstate", "--state",
    "--dst-type",
)  # fmt: skip
UNDERSTOOD = ("tcp", "udp", "multiport", "conntrack", "state", "comment", "addrtype")
"""Modules whose options are known here, or do not choose among packets."""


class Ruleset:
    """Of the table `filter`."""

    def __init__(self, listing: str) -> None:
        self.policies: dict[str, str] = {}
        """By chain; `-` of one that leaves it to whoever jumped to it."""
        self._lines: list[list[str]] = []
        table = ""
        for line in listing.splitlines():
            if line.startswith("*"):
                table = line[1:].strip()
            elif table == "filter" and line.startswith(":"):
                name, policy = line[1:].split()[:2]
                self.policies[name] = policy
            elif table == "filter" and line.startswith("-A "):
                self._lines.append(shlex.split(line))

    def chains(self, packet: Packet) -> dict[str, list[Rule[str]]]:
        """What each rule is to the packet."""
        chains: dict[str, list[Rule[str]]] = {name: [] for name in self.policies}
        for _, chain, *words in self._lines:
            chains.setdefault(chain, []).append(self._read(words, packet))
        return chains

    def _read(self, words: list[str], packet: Packet) -> Rule[str]:
        applies, rest = For.ALL, iter(words)
        is_inverse = False
        for word in rest:
            if word == "!":
                is_inverse = True
                continue
            if word in ("-j", "-g"):
                return self._decided(applies, word, next(rest, ""))
            one = _match(word, rest, packet)
            applies = filtering.both(applies, filtering.inverted(one) if is_inverse else one)
            is_inverse = False
        return Rule(applies, "")

    def _decided(self, applies: For, word: str, target: str) -> Rule[str]:
        # What stands behind a verdict is about how it is told.
        if target in VERDICTS:
            return Rule(applies, VERDICTS[target])
        if target in self.policies:
            return Rule(applies, "jump" if word == "-j" else "goto", target)
        if target in NO_CONDITIONS:
            return Rule(applies, "")
        return Rule(filtering.both(applies, For.SOME), "unknown")


def _match(option: str, rest: Iterator[str], packet: Packet) -> For:
    if option not in OPTIONS:
        # What it takes is not known: that is read as further ones of its kind.
        return For.SOME
    value = next(rest, "")
    match option:
        case "-p":
            return filtering.truth(value in (packet.protocol, "all"))
        case "-m":
            return For.ALL if value in UNDERSTOOD else For.SOME
        case "--comment":
            return For.ALL
        case "--dport" | "--dports":
            return filtering.truth(any(_holds(one, packet.port) for one in value.split(",")))
        case "--ctstate" | "--state":
            return filtering.by_state(value.split(","))
        case "--dst-type":
            return filtering.by_kind(value.split(","), packet)
        case "-i":
            return filtering.by_interface([value], packet)
        case "-d":
            return filtering.by_target(value, packet)
        case _:
            return For.SOME


def _holds(ports: str, wanted: int) -> bool:
    """ports: one, or FIRST:LAST."""
    low, colon, high = ports.partition(":")
    if not colon:
        return low == str(wanted)
    return int(low or 0) <= wanted <= int(high or 65_535)
