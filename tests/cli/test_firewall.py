"""What the doctor makes of listings of firewalls, written as these print them."""

import json
import shlex
from collections.abc import Callable, Sequence

import pytest

from mabeam_p2p.cli.doctor.finding import Finding
from mabeam_p2p.cli.doctor.firewall import firewall

HOST = "192.0.2.8"
PORT = 7946
PEERS = (7946, 7947, 7948)

Rule = list[dict[str, object]]


def rule(*matches: dict[str, object], verdict: str = "accept", target: str = "") -> Rule:
    return [*matches, {verdict: {"target": target} if target else None}]


def match(left: dict[str, object], right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


def port(right: object, protocol: str = "tcp", op: str = "==") -> dict[str, object]:
    return match({"payload": {"protocol": protocol, "field": "dport"}}, right, op)


def source(right: object) -> dict[str, object]:
    return match({"payload": {"protocol": "ip", "field": "saddr"}}, right)


def target(right: object) -> dict[str, object]:
    return match({"payload": {"protocol": "ip", "field": "daddr"}}, right)


def kind(right: str) -> dict[str, object]:
    return match({"fib": {"result": "type", "flags": ["daddr"]}}, right)


def state(*right: str) -> dict[str, object]:
    return match({"ct": {"key": "state"}}, list(right), "in")


def interface(right: str, op: str = "==") -> dict[str, object]:
    return match({"meta": {"key": "iifname"}}, right, op)


def to(chain: str, verdict: str = "jump") -> Rule:
    return rule(verdict=verdict, target=chain)


def listing(policy: str, chains: dict[str, list[Rule]], family: str = "inet") -> str:
    """The chain `input`, at which packets come in, and others."""
    place = {"family": family, "table": "filter"}
    items: list[dict[str, object]] = [{"metainfo": {"json_schema_version": 1}}]
    items.append({"set": place | {"name": "open", "type": "inet_service", "elem": [22, PORT]}})
    items.append({"set": place | {"name": "empty", "type": "inet_service"}})
    for name in chains:
        hook = {"type": "filter", "hook": "input", "prio": 0, "policy": policy}
        items.append({"chain": place | {"name": name} | (hook if name == "input" else {})})
    for name, rules in chains.items():
        items += [{"rule": place | {"chain": name, "expr": one}} for one in rules]
    return json.dumps({"nftables": items})


def printed(program: str, text: str | None) -> Callable[[list[str]], str | None]:
    return lambda command: text if command[0] == program else None


def nft(
    text: str, *, host: str = HOST, number: int = PORT, uses_mdns: bool = False
) -> list[Finding]:
    return list(firewall(host, [number], uses_mdns=uses_mdns, run=printed("nft", text)))


def level(policy: str, **chains: list[Rule]) -> str:
    (one,) = nft(listing(policy, chains))
    assert bool(one.mend) is (one.level != "ok")
    return one.level


@pytest.mark.parametrize(
    ("chains", "found"),
    [
        ({"input": [to("zone")], "zone": [rule(port(PORT))]}, "ok"),
        ({"input": [to("zone", "goto")], "zone": [rule(port(PORT))]}, "ok"),
        ({"input": [to("zone")], "zone": [to("allow")], "allow": [rule(port(PORT))]}, "ok"),
        # What a chain leaves undecided goes on behind the jump, and not behind a goto.
        ({"input": [to("zone"), rule(port(PORT))], "zone": []}, "ok"),
        ({"input": [to("zone", "goto"), rule(port(PORT))], "zone": []}, "error"),
        ({"input": [to("a"), rule(port(PORT))], "a": [to("b", "goto")], "b": []}, "ok"),
        ({"input": [to("a")], "a": [to("b", "goto"), rule()], "b": []}, "error"),
        ({"input": [to("a")], "a": [rule(verdict="return"), rule(port(PORT))]}, "error"),
        ({"input": [to("zone"), rule(port(PORT))], "zone": [rule(verdict="drop")]}, "error"),
        # Whom a chain leaves to the one before, that may let in.
        (
            {
                "input": [to("zone"), rule()],
                "zone": [rule(source("10.0.0.1"), verdict="return"), rule(verdict="drop")],
            },
            "warning",
        ),
        (
            {
                "input": [to("zone"), rule()],
                "zone": [
                    rule(source("10.0.0.1"), verdict="goto", target="none"),
                    rule(verdict="drop"),
                ],
                "none": [],
            },
            "warning",
        ),
        ({"input": [to("input")]}, "warning"),
        ({"input": [to("missing")]}, "error"),
    ],
)
def test_chains_are_followed_as_the_kernel_does(chains: dict[str, list[Rule]], found: str) -> None:
    assert level("drop", **chains) == found


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (rule(port(PORT)), "ok"),
        (rule(port({"set": [22, {"range": [7000, 8000]}]})), "ok"),
        (rule(port("@open")), "ok"),
        (rule(port("@empty")), "warning"),
        (rule(port(22)), "error"),
        (rule(port(22, op="!=")), "ok"),
        (rule(port(PORT, op="!=")), "error"),
        (rule(port(PORT, "udp")), "error"),
        (rule(port(PORT, "th")), "ok"),
        (rule(target(HOST), port(PORT)), "ok"),
        (rule(target("192.0.2.9"), port(PORT)), "error"),
        (rule(target({"prefix": {"addr": "192.0.2.0", "len": 24}}), port(PORT)), "ok"),
        (rule(state("new"), port(PORT)), "ok"),
        (rule(state("established", "related")), "error"),
        (rule(interface("lo")), "error"),
        (rule(interface("lo", "!=")), "ok"),
        # Some may come in: whoever is dropped cannot be told from here.
        (rule(interface("eth0"), port(PORT)), "warning"),
        (rule(source("10.0.0.1"), port(PORT)), "warning"),
        (rule(port(PORT, op="<")), "warning"),
        (rule(port(PORT), {"limit": {"rate": 3}}), "warning"),
        ([port(PORT), {"queue": {"num": 1}}], "warning"),
        ([{"xt": None}], "warning"),
        # A condition that is not understood, for other ports.
        (rule(source("10.0.0.1"), port(22)), "error"),
        (rule(port(PORT), verdict="return"), "error"),
        (rule(kind("local"), port(PORT)), "ok"),
        (rule(kind("multicast"), port(PORT)), "error"),
        ([port(PORT), {"counter": {"packets": 1}}, {"log": {"prefix": "x"}}], "error"),
    ],
)
def test_a_rule_before_a_policy_that_drops(one: Rule, found: str) -> None:
    assert level("drop", input=[one]) == found


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (rule(verdict="drop"), "error"),
        (rule(port(PORT), verdict="reject"), "error"),
        (rule(source("10.0.0.1"), port(PORT), verdict="drop"), "ok"),
        (rule(state("invalid"), verdict="drop"), "ok"),
        (rule(port(22), verdict="drop"), "ok"),
    ],
)
def test_a_rule_before_a_policy_that_accepts(one: Rule, found: str) -> None:
    assert level("accept", input=[one]) == found


def test_a_map_of_verdicts_is_read_row_by_row() -> None:
    key = {"payload": {"protocol": "tcp", "field": "dport"}}
    rows = [[22, {"drop": None}], [PORT, {"jump": {"target": "zone"}}]]
    mapped: Rule = [{"vmap": {"key": key, "data": {"set": rows}}}]
    assert level("drop", input=[mapped], zone=[rule()]) == "ok"
    assert level("accept", input=[mapped], zone=[rule(verdict="drop")]) == "error"
    kept: Rule = [{"vmap": {"key": key, "data": "@verdicts"}}]
    assert level("drop", input=[kept]) == "warning"


def test_a_zone_of_an_interface_and_a_last_rejection() -> None:
    """As firewalld writes them."""
    rules = [rule(state("established", "related")), rule(interface("lo")), to("zones")]
    zones = [rule(interface("eth0"), verdict="goto", target="public"), to("public", "goto")]
    chains = {"input": [*rules, rule(verdict="reject")], "zones": zones}
    assert level("accept", **chains, public=[to("allow")], allow=[rule(port(PORT))]) == "ok"
    assert level("accept", **chains, public=[to("allow")], allow=[rule(port(22))]) == "error"


def test_a_peer_on_loopback_is_judged_by_what_comes_by_it() -> None:
    text = listing("drop", {"input": [rule(interface("lo")), rule(port(22))]})
    assert [one.level for one in nft(text, host="127.0.0.1", uses_mdns=True)] == ["ok"]
    assert [one.level for one in nft(text, uses_mdns=True)] == ["error", "error"]
    closed = listing("accept", {"input": [rule(interface("lo", "!="), verdict="drop")]})
    assert [one.level for one in nft(closed, host="127.0.0.1")] == ["ok"]


def test_questions_by_multicast_go_to_their_group() -> None:
    to_group = rule(target("224.0.0.251"), port(5353, "udp"))
    assert [one.level for one in nft(listing("drop", {"input": [rule(port(PORT)), to_group]}),
                                     uses_mdns=True)] == ["ok"]  # fmt: skip


def test_chains_of_the_other_family_do_not_count() -> None:
    assert [one.level for one in nft(listing("drop", {"input": []}, "ip6"))] == ["ok"]
    assert [one.level for one in nft(listing("drop", {"input": []}, "arp"))] == ["ok"]
    (one,) = nft(listing("drop", {"input": []}, "ip6"), host="2001:db8::1")
    assert one.level == "error"


def test_of_a_port_that_is_not_known_yet_nothing_is_certain() -> None:
    (one,) = nft(listing("drop", {"input": [rule(port(22))]}), number=0)
    assert (one.level, "none allows tcp port ?" in one.text) == ("warning", True)
    assert one.mend == "sudo nft insert rule inet filter input tcp dport PORT accept"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"nftables": [3]}', '{"nftables": [{"rule": {"family": "inet"}}]}']
)
def test_what_is_no_listing_is_said_to_be_none(text: str) -> None:
    (one,) = nft(text)
    assert (one.level, "could not be understood" in one.text) == ("skipped", True)


def test_rules_that_may_not_be_read_are_said_to_be_so() -> None:
    (one,) = firewall(HOST, [PORT], uses_mdns=True, run=lambda command: None)
    assert (one.level, "cannot be read" in one.text) == ("skipped", True)


@pytest.mark.parametrize(
    ("allowed", "stopped"),
    [
        ((), "7946-7948"),
        ((7946,), "7947-7948"),
        ((7946, 7947), "7948"),
        ((7947,), "'{ 7946, 7948 }'"),
        ((7946, 7947, 7948), ""),
    ],
)
def test_all_ports_of_a_peer_must_be_open(allowed: Sequence[int], stopped: str) -> None:
    rules = [rule(port(number)) for number in allowed]
    run = printed("nft", listing("drop", {"input": rules}))
    (one,) = firewall(HOST, PEERS, uses_mdns=False, run=run)
    mend = f"sudo nft insert rule inet filter input tcp dport {stopped} accept" if stopped else ""
    assert (one.level, one.mend) == ("error" if stopped else "ok", mend)
    if stopped:
        assert one.text.endswith("none allows tcp port " + stopped.strip("'{ }"))


# ---- iptables --------------------------------------------------------------------------------

# As `ufw` writes them.
UFW = """\
*nat
:INPUT ACCEPT [0:0]
-A INPUT -j DROP
COMMIT
*filter
:INPUT DROP [12:840]
:before - [0:0]
:elsewhere - [0:0]
:user - [0:0]
-A INPUT -j before
-A INPUT -j user
-A before -i lo -j ACCEPT
-A before -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A before -m conntrack --ctstate INVALID -j DROP
-A before -j elsewhere
-A elsewhere -m addrtype --dst-type LOCAL -j RETURN
-A elsewhere -m addrtype --dst-type MULTICAST -j RETURN
-A elsewhere -m limit --limit 3/min -j LOG --log-prefix "[BLOCK] "
-A elsewhere -j DROP
-A before -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
{}
COMMIT
"""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("-A user -p tcp -m tcp --dport 7946 -j ACCEPT", "ok"),
        ("-A user -p tcp -m tcp --dport 7000:8000 -m comment --comment 'a b' -j ACCEPT", "ok"),
        ("-A user -p tcp -m multiport --dports 22,7940:7950 -j ACCEPT", "ok"),
        ("-A user ! -i lo -p tcp -m tcp --dport 7946 -j ACCEPT", "ok"),
        ("-A user -p tcp -m tcp --dport 22 -j ACCEPT", "error"),
        ("-A user -p udp -m udp --dport 7946 -j ACCEPT", "error"),
        ("-A user -p tcp -m tcp ! --dport 7946 -j ACCEPT", "error"),
        ("-A INPUT -j LOG --log-prefix 'ACCEPT '", "error"),
        ("-A user -s 10.0.0.0/8 -p tcp -m tcp --dport 7946 -j ACCEPT", "warning"),
        ("-A user -p tcp -m tcp --tcp-flags FIN,SYN SYN --dport 7946 -j ACCEPT", "warning"),
        ("-A user -p tcp -m limit --limit 3/min -j ACCEPT", "warning"),
        ("-A user -p tcp -m tcp --dport 7946 -j NFQUEUE --queue-num 0", "warning"),
        ("-A user -j RETURN", "error"),
        ("-A user -m addrtype ! --dst-type LOCAL -j ACCEPT", "error"),
    ],
)
def test_chains_of_iptables_are_followed_too(line: str, found: str) -> None:
    run = printed("iptables-save", UFW.format(line))
    (one,) = firewall(HOST, [PORT], uses_mdns=True, run=run)
    assert one.level == found
    if one.mend:
        assert shlex.split(one.mend)[:4] == ["sudo", "iptables", "-I", "INPUT"]


def test_a_peer_with_an_address_of_ipv6_has_rules_of_its_own() -> None:
    text = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n"
    (one,) = firewall("2001:db8::1", [PORT], uses_mdns=False, run=printed("ip6tables-save", text))
    assert one.mend == "sudo ip6tables -I INPUT -p tcp --dport 7946 -j ACCEPT"
    run = printed("ip6tables-save", text)
    (one,) = firewall("2001:db8::1", PEERS, uses_mdns=False, run=run)
    assert one.mend == "sudo ip6tables -I INPUT -p tcp --dport 7946:7948 -j ACCEPT"
    (one,) = firewall("2001:db8::1", [7946, 51234], uses_mdns=False, run=run)
    assert one.mend == "sudo ip6tables -I INPUT -p tcp -m multiport --dports 7946,51234 -j ACCEPT"
    (one,) = firewall("2001:db8::1", [0], uses_mdns=False, run=run)
    assert (one.level, "--dport PORT " in one.mend) == ("warning", True)
