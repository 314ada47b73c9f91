"""The page while daemons come and go, and the token."""

import signal
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cli.daemons import Daemon, House, house
from tests.dashboard.browsing import Visit, browser, started, told, visit
from tools.children import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def place(running: Browser) -> Iterator[House]:
    with house() as place:
        yield place


@pytest.fixture
def here(running: Browser) -> Iterator[Visit]:
    with visit(running) as here:
        yield here


def seen(page: Page, section: str, text: str) -> None:
    """Wait until the section says so."""
    expect(page.locator(f"#{section}")).to_contain_text(text)


def test_the_page_comes_back_by_itself_when_its_daemon_does(place: House, here: Visit) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"  # Which nobody takes meanwhile.
    daemon = place.start("--expect", "1", "--dashboard", address)
    url = str(daemon.line()["dashboard"])
    assert daemon.line()["event"] == "ready"
    assert told("set", "rate", "before").exit_code == 0
    page = here.page
    page.goto(url)
    seen(page, "variables", "before")
    field = page.locator("#variables-filter")
    field.fill("ra")
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    seen(page, "connection", "Connection lost, trying again. As of")
    # What was known stays to be read, and who was at something stays there.
    seen(page, "variables", "before")
    again = place.start("--expect", "1", "--dashboard", address)
    assert again.line()["dashboard"] == url
    assert again.line()["event"] == "ready"
    assert told("set", "rate", "after").exit_code == 0
    here.live()
    seen(page, "variables", "after")
    assert field.evaluate("node => node === document.activeElement && node.value") == "ra"


def test_a_peer_that_dies_is_told_dead_in_words_and_in_the_drawing(
    place: House, here: Visit
) -> None:
    (_, url), _, (cow, _) = started(place, "ant", "bee", "cow")
    here.page.goto(url)
    here.live()
    expect(here.page.locator("#members tbody tr")).to_have_count(3)
    cow.signal(signal.SIGKILL)
    row = here.page.locator("#members tbody tr", has_text="cow")
    expect(row).to_contain_text("dead")
    expect(here.page.locator(".topology .peer", has_text="cow")).to_contain_text("dead")
    expect(here.page.locator(".topology title")).to_contain_text("cow")
    assert here.faults() == []


def test_the_page_tells_who_hears_whom(
    place: House, here: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever is missed stays suspect for the whole test.
    monkeypatch.setenv("MABEAM_TIMING__DEAD_SECONDS", "600")
    (_, url), (bee, _), (cow, _) = started(place, "ant", "bee", "cow")
    page = here.page
    page.goto(url)
    here.live()
    row = page.locator("#members tbody tr", has_text="cow")
    expect(row).to_contain_text("answers")
    expect(page.locator('.lines line[data-link="answers"]')).to_have_count(2)
    expect(page.locator(".misses line")).to_have_count(0)
    assert here.faults() == []
    # Both others miss it: this peer itself, and, by its word, bee.
    cow.signal(signal.SIGSTOP)
    try:
        expect(row).to_contain_text("bee")
        expect(row).to_contain_text("suspect")
        expect(row.locator(".chip", has_text="answers")).to_have_count(0)
        expect(page.locator(".misses line")).to_have_count(1)
        expect(page.locator(".topology title")).to_contain_text("bee does not hear cow")
        assert here.faults() == []
    finally:
        cow.signal(signal.SIGCONT)
    expect(row).to_contain_text("answers")
    expect(page.locator(".misses line")).to_have_count(0)
    assert bee.process.poll() is None


def test_without_a_quorum_the_page_warns(place: House, here: Visit) -> None:
    (_, url), (bee, _), (cow, _) = started(place, "ant", "bee", "cow")
    here.page.goto(url)
    seen(here.page, "peer", "yes")
    for daemon in (bee, cow):
        daemon.signal(signal.SIGKILL)
    seen(here.page, "warnings", "No quorum")
    seen(here.page, "peer", "no")
    assert here.faults() == []


def test_a_cluster_that_has_not_formed_is_told_so(place: House, here: Visit) -> None:
    daemon = place.start("--expect", "3", "--dashboard")
    here.page.goto(str(daemon.line()["dashboard"]))
    seen(here.page, "peer", "no part yet")
    seen(here.page, "peer", "1 of 3")
    assert here.faults() == []


@pytest.fixture
def guarded(place: House) -> tuple[Daemon, str, str]:
    """A daemon, the URL of its dashboard, and the token."""
    file = place.folder / "word"
    daemon = place.start("--expect", "1", "--dashboard", "--dashboard-token", str(file))
    url = str(daemon.line()["dashboard"])
    assert daemon.line()["event"] == "ready"
    return daemon, url, file.read_text().strip()


def test_the_page_asks_for_the_token_and_keeps_it_out_of_every_url(
    guarded: tuple[Daemon, str, str], here: Visit
) -> None:
    daemon, url, token = guarded
    page = here.page
    page.goto(url)
    field = page.get_by_label("Token", exact=True)
    expect(field).to_be_focused()
    assert here.faults() == []
    field.fill("wrong-horse-battery")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    assert here.faults() == []
    expect(page.locator("#board")).to_be_hidden()
    field.fill(token)
    page.keyboard.press("Enter")
    here.live()
    seen(page, "peer", "leader")
    page.reload()
    here.live()
    assert page.context.cookies() == []
    assert not [one for one in [*here.requests, page.url] if token in one]
    assert token not in page.content()
    assert token not in daemon.said()


def test_a_link_with_the_token_behind_the_hash_opens_the_page(
    guarded: tuple[Daemon, str, str], here: Visit
) -> None:
    _, url, token = guarded
    here.page.goto(f"{url}#token={token}")
    here.live()
    assert here.page.url == url
    assert not [one for one in here.requests if token in one.partition("#")[0]]


def test_a_daemon_ends_in_time_although_a_page_is_open(place: House, here: Visit) -> None:
    ((daemon, url),) = started(place, "ant")
    here.page.goto(url)
    here.live()
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    # A lone leader takes a tenth of a second; the rest is for a busy machine.
    assert time.monotonic() - began < 15
    assert "Traceback" not in daemon.said()
    seen(here.page, "connection", "Connection lost")
