import pytest

from mabeam_p2p.dashboard.access import HOST, Access

TOKEN = "correct-horse-battery"


def reason(who: Access, method: str = "GET", **headers: str) -> str | None:
    named = {name.replace("_", "-").title(): text for name, text in headers.items()}
    refusal = who.of_request(method, {"Host": "127.0.0.1:1"} | named)
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "get"])
def test_only_get_is_answered(method: str) -> None:
    assert reason(Access(), method) == "method"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "localhost",
        "LocalHost:80",
        "[::1]:9",
        "[::1]",
        "192.0.2.7:80",
    ],
)
def test_an_address_or_localhost_is_a_name_of_this_dashboard(host: str) -> None:
    assert reason(Access(), host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "[::1].evil.example",
        "[::1",
        "hill",
    ],
)
def test_another_name_is_refused_as_a_rebound_one(host: str) -> None:
    assert reason(Access(), host=host) == "host"


def test_who_uses_another_name_is_told_which_ones_open_it() -> None:
    assert Access(names=("hill",)).of_request("GET", {"Host": "hill.example"}) is HOST
    for name in ("an IP address", "`localhost`", "another host", "`hostname`"):
        assert name in HOST.text


def test_the_hosts_own_name_counts_where_others_may_come() -> None:
    assert reason(Access(names=("Hill",), token=TOKEN), host="hill:8080") is None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:2", "ftp://127.0.0.1:1", ""]
)
def test_another_origin_is_refused(origin: str) -> None:
    assert reason(Access(), origin=origin) == "origin"


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "https://127.0.0.1:1"])
def test_its_own_origin_is_answered(origin: str) -> None:
    assert reason(Access(), origin=origin) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_page_of_another_site_fetches_is_refused(site: str) -> None:
    assert reason(Access(), sec_fetch_site=site, sec_fetch_mode="no-cors") == "origin"


def test_a_link_on_another_site_may_lead_here() -> None:
    assert reason(Access(), sec_fetch_site="cross-site", sec_fetch_mode="navigate") is None


def test_without_a_token_other_users_of_this_host_are_refused() -> None:
    assert Access().of_user(1000, 1000) is None
    refusal = Access().of_user(1001, 1000)
    assert refusal is not None
    assert "--dashboard-token" in refusal.text


def test_a_connection_that_the_kernel_does_not_know_is_refused() -> None:
    assert Access().of_user(-1, 1000) is not None


def test_with_a_token_the_user_does_not_matter() -> None:
    assert Access(token=TOKEN).of_user(1001, 1000) is None


@pytest.mark.parametrize(
    ("said", "is_let_in"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (f"Basic {TOKEN}", False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer", False),
        ("Bearer ", False),
        (TOKEN, False),
        ("", False),
        ("Bearer \udc80\u20ac", False),
    ],
)
def test_facts_are_given_to_who_says_the_token(said: str, is_let_in: bool) -> None:
    assert (Access(token=TOKEN).of_facts({"Authorization": said}) is None) is is_let_in


def test_without_a_token_none_is_asked_for() -> None:
    assert Access().of_facts({}) is None


def test_the_token_is_not_kept() -> None:
    who = Access(token=TOKEN)
    kept = [getattr(who, name) for name in vars(who)]
    assert TOKEN not in repr(who) + repr(kept)
