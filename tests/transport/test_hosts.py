"""Which address of this machine others are told."""

from collections.abc import Mapping

import pytest

from mabeam_p2p.errors import NoRoute
from mabeam_p2p.transport import hosts
from mabeam_p2p.transport.hosts import ELSEWHERE, ELSEWHERE_V6, reachable_host, split_listen

V4, V6 = "192.0.2.7", "2001:db8::7"
NOWHERE = {ELSEWHERE: "127.0.0.1", ELSEWHERE_V6: "::1"}
BY_V4 = NOWHERE | {ELSEWHERE: V4}
BY_V6 = NOWHERE | {ELSEWHERE_V6: V6}
BY_BOTH = {ELSEWHERE: V4, ELSEWHERE_V6: V6}
BEFORE_AN_ADDRESS = NOWHERE | {ELSEWHERE_V6: "fe80::7"}
"""As while a machine looks whether another one has its address: the card's own is left."""


def ways(monkeypatch: pytest.MonkeyPatch, found: Mapping[str, str]) -> None:
    monkeypatch.setattr(hosts, "local_host", lambda remote: found[remote])


@pytest.mark.parametrize(("found", "host"), [(BY_BOTH, V4), (BY_V4, V4), (BY_V6, V6)])
def test_lan_is_the_address_of_whichever_network_there_is(
    monkeypatch: pytest.MonkeyPatch, found: Mapping[str, str], host: str
) -> None:
    ways(monkeypatch, found)
    assert split_listen("lan") == (host, 0)
    assert split_listen("lan:7946") == (host, 7946)


@pytest.mark.parametrize("found", [NOWHERE, BEFORE_AN_ADDRESS])
def test_lan_is_nothing_on_a_machine_without_a_network(
    monkeypatch: pytest.MonkeyPatch, found: Mapping[str, str]
) -> None:
    ways(monkeypatch, found)
    with pytest.raises(NoRoute, match="no way to a network"):
        split_listen("lan")


@pytest.mark.parametrize(
    ("found", "of_v4", "of_all"),
    [
        (BY_BOTH, V4, V6),
        (BY_V4, V4, V4),
        (BY_V6, "127.0.0.1", V6),
        (NOWHERE, "127.0.0.1", "::1"),
        (BEFORE_AN_ADDRESS, "127.0.0.1", "::1"),
    ],
)
def test_who_listens_on_every_interface_is_told_by_an_address_that_it_hears(
    monkeypatch: pytest.MonkeyPatch, found: Mapping[str, str], of_v4: str, of_all: str
) -> None:
    """`::` takes what comes to addresses of both versions, `0.0.0.0` of one."""
    ways(monkeypatch, found)
    assert reachable_host("0.0.0.0") == of_v4
    assert reachable_host("::") == of_all
    assert reachable_host("192.0.2.9") == "192.0.2.9"
