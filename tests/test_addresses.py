import pytest

from mabeam_p2p.addresses import (
    is_loopback,
    is_wildcard,
    join_address,
    split_address,
)
from mabeam_p2p.errors import AddressError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("host.example:65535", "host.example", 65535),
        ("7.host-1.example.:1", "7.host-1.example.", 1),
        ("h\u00f6st:1", "h\u00f6st", 1),
        ("[::1]:7946", "::1", 7946),
        ("[fe80::1%eth0]:7946", "fe80::1%eth0", 7946),
        ("[fe80::1%br-0.7_x]:7946", "fe80::1%br-0.7_x", 7946),
    ],
)
def test_addresses_come_apart_and_together_again(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)
    assert join_address(host, port) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", ":7946", "::1:7946", "[::1]", "[host]:1", "host:-1", "host:65536",
     "[fe80::1%a b]:1", "[fe80::1%\n]:1", "[fe80::1%\u00e9]:1", "[fe80::1%eth0;x]:1",
     "host:\u0661", "a b:1", "a\n:1", "x" * 300 + ":1", "host:000001",
     "7946:1", "256.1.1.1:1", "1.2.3:1", "host.1.:1", "a..b:1", "x" * 64 + ":1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="HOST:PORT"):
        split_address(text)


def test_loopback_is_known_by_number_only() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("localhost", "0.0.0.0", "::", "10.0.0.1", "::2", "")))


def test_a_wildcard_stands_for_every_interface() -> None:
    assert all(map(is_wildcard, ("0.0.0.0", "::")))
    assert not any(map(is_wildcard, ("127.0.0.1", "::1", "")))
