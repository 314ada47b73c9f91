"""The page in headless Chromium, at a cluster with something of every kind in it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.cli.daemons import House, house
from tests.dashboard.browsing import Visit, browser, furniture, started, told, visit
from tools.dashboard_scene import HOSTILE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SECTIONS = (
    "peer",
    "members",
    "proposals",
    "elections",
    "parameters",
    "variables",
    "seats",
    "auctions",
    "barriers",
    "tasks",
    "ledger",
)


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def place(running: Browser) -> Iterator[House]:
    with house(is_patient=True) as place, pytest.MonkeyPatch.context() as patch:
        # Who gets no processor for some seconds is not given up: what is shown stays.
        patch.setenv("MABEAM_TIMING__DEAD_SECONDS", "60")
        yield place


@pytest.fixture(scope="module")
def url(place: House) -> Iterator[str]:
    """The dashboard of a peer in a furnished cluster of three."""
    names = ("ant", "bee", "cow")
    (_, url), *_ = started(place, *names)
    with furniture(*names):
        yield url


@pytest.fixture
def here(running: Browser) -> Iterator[Visit]:
    with visit(running) as here:
        yield here


@pytest.mark.parametrize(
    ("section", "texts"),
    [
        ("peer", ["score 50", "yes", "3 voters, 0 learners", "this one is ready", "term "]),
        ("members", ["ant (this peer)", "bee", "cow", "alive", "ada@ant", "127.0.0.1:"]),
        (
            "proposals",
            ["vision:batch_size", "256", "ada@ant", "70 %", "Loss is flat", "Silent: bo"],
        ),
        ("proposals", ["vision:dropout", "rejected", "1 accept · 2 reject"]),
        ("elections", ["leads in term", "hyperparameter_search", "is elected", "The cluster has"]),
        ("parameters", ["vision:learning_rate", "0.003"]),
        ("variables", ["epsilon", "0.2", '{"run":12', "4611686018427387905", "counter"]),
        ("seats", ["vision:labeller", "hyperparameter_search", "elected"]),
        ("auctions", ["gpu-hour", "awarded", "standing", "the next unit costs 7"]),
        ("barriers", ["epoch-10", "1 of 3", "waiting", "epoch-9", "released"]),
        ("tasks", ["evaluate", "done", "leased", "queued", "dead", "ValueError", "2 of 2"]),
        ("ledger", ["gpu_s", "633.5", "sweep", "90.5", "the week's hours", "an auction"]),
    ],
)
def test_every_kind_of_fact_is_on_the_page(
    url: str, here: Visit, section: str, texts: list[str]
) -> None:
    page = here.open(url)
    shown = page.locator(f"#{section}")
    for text in texts:
        expect(shown).to_contain_text(text)
    assert here.complaints == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(url: str, running: Browser, scheme: str, width: int) -> None:
    with visit(running, width=width, scheme=scheme) as here:
        page = here.open(url)
        for summary in page.locator("#board summary").all():
            if summary.locator("xpath=..").get_attribute("open") is None:
                summary.click()
        assert here.faults() == []


def test_at_400_pixels_nothing_is_wider_than_the_page(url: str, running: Browser) -> None:
    with visit(running, width=400) as here:
        page = here.open(url)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
        beyond = """[...document.querySelectorAll('#board *')].filter((node) =>
            !node.closest('thead') && node.getBoundingClientRect().right > innerWidth + 1
            && !node.closest('.scroll')).map((node) => node.outerHTML)"""
        assert page.evaluate(beyond) == []


def test_what_agents_write_stays_text(url: str, here: Visit) -> None:
    page = here.open(url)
    for text in HOSTILE[:3]:
        expect(page.locator("#variables")).to_contain_text(text)
    expect(page.locator("#proposals")).to_contain_text(HOSTILE[0])
    assert "owned" not in page.title()
    assert page.locator("main img, main script, main a[href^=javascript], main iframe").count() == 0
    # What turns the direction of text, or is no sign at all, is shown by its number.
    expect(page.locator("#ledger")).to_contain_text("a\\u{202e}b\\u{2066}c\\u{7}")
    assert not set("\u202e\u2066\u0007") & set(page.locator("body").inner_text())


def test_nothing_is_asked_of_anybody_else(url: str, here: Visit) -> None:
    page = here.open(url)
    assert here.requests
    assert [one for one in here.requests if not one.startswith(url)] == []
    assert page.context.cookies() == []


def test_the_browser_itself_refuses_markup_and_scripts_of_others(url: str, here: Visit) -> None:
    page = here.open(url)
    parsing = "try { document.body.innerHTML = '<b>x</b>'; 'parsed' } catch (e) { e.name }"
    assert page.evaluate(parsing) == "TypeError"
    page.evaluate("""() => {
        const script = document.createElement('script');
        try { script.text = "document.title = 'owned'"; } catch {}
        document.body.append(script);
        const image = document.createElement('img');
        image.src = 'http://192.0.2.1/x.png';
        document.body.append(image);
    }""")
    reached = page.evaluate("fetch('http://192.0.2.1/').then(() => 'yes', () => 'no')")
    assert (reached, "owned" in page.title()) == ("no", False)


def test_every_state_has_a_sign_and_a_word(url: str, here: Visit) -> None:
    page = here.open(url)
    bare = """[...document.querySelectorAll('.chip')].filter((chip) => !chip.hidden
        && chip.offsetParent && !(chip.children[0].textContent && chip.children[1].textContent))
        .map((chip) => chip.outerHTML)"""
    expect(page.locator("#board .chip").nth(20)).to_be_attached()
    expect(page.locator(".topology .note").filter(has_text="leads")).to_have_count(1)
    expect(page.locator(".topology title")).to_contain_text("leads")
    assert page.evaluate(bare) == []


def test_the_page_is_walked_by_keys_alone(url: str, here: Visit) -> None:
    page = here.open(url)
    page.keyboard.press("Tab")
    focused = "document.activeElement.textContent || document.activeElement.id"
    assert page.evaluate(focused) == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    here.open(url)
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.closest('section, header, nav')?.id"))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate(outline) != "none"
    # In the order of the page, and every part that has something to do.
    order = [name for name in dict.fromkeys(seen) if name in SECTIONS]
    assert order == [name for name in SECTIONS if name in order]
    assert {"proposals", "parameters", "variables", "auctions"} <= set(order)


def test_a_panel_opens_by_a_key_and_stays_as_it_is_while_facts_change(
    url: str, here: Visit
) -> None:
    page = here.open(url)
    panel = page.locator("#proposals details", has_text="vision:dropout").last
    panel.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(panel.locator("table")).to_be_visible()
    for _ in range(20):  # One that came too late to be made is made again.
        proposed = told("propose", "another", "1", "--timeout", "0.2")
        assert proposed.exit_code in (1, 75), proposed.output
        if "another" in told("proposals").stdout:
            break
    expect(page.locator("#proposals")).to_contain_text("another")
    expect(panel.locator("table")).to_be_visible()
    assert panel.locator("summary").evaluate("node => node === document.activeElement")


def test_changes_take_neither_focus_nor_place_nor_what_was_typed(url: str, here: Visit) -> None:
    for number in range(30):
        assert told("set", f"row/{number:02}", "0").exit_code == 0
    page = here.open(url)
    field = page.locator("#variables-filter")
    field.fill("row/")
    expect(page.locator("#variables tbody tr")).to_have_count(30)
    box = page.locator("#variables .scroll")
    box.evaluate("node => { node.scrollTop = 300 }")
    page.evaluate("scrollTo(0, 300)")
    places = "[scrollY, document.querySelector('#variables .scroll').scrollTop]"
    before = page.evaluate(places)
    row = page.locator("#variables tr", has_text="row/15").first
    row.evaluate("node => { window.kept = node }")
    assert told("set", "row/15", "31").exit_code == 0
    assert told("set", "row/99", "new").exit_code == 0
    expect(page.locator("#variables tbody tr")).to_have_count(31)
    expect(row).to_contain_text("31")
    assert page.evaluate("window.kept.isConnected")
    assert page.evaluate(places) == before
    assert field.evaluate("node => node === document.activeElement && node.value") == "row/"


def test_the_filter_says_how_much_of_what_matches(url: str, here: Visit) -> None:
    page = here.open(url)
    page.locator("#parameters-filter").fill("LEARNING")
    expect(page.locator("#parameters tbody tr")).to_have_count(1)
    expect(page.locator("#parameters .more")).to_have_text("1 of 2 match.")


def test_the_colours_can_be_chosen_and_are_remembered(url: str, here: Visit) -> None:
    page = here.open(url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator("#theme").select_option("dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    here.live()
    assert page.evaluate(ground) == dark
    page.locator("#theme").select_option("")
    assert page.evaluate(ground) == light


def test_while_it_is_paused_nothing_moves_and_then_it_catches_up(url: str, here: Visit) -> None:
    page = here.open(url)
    page.locator("#pause").click()
    expect(page.locator("#connection")).to_have_text("Paused")
    assert told("set", "while-paused", "1").exit_code == 0
    expect(page.locator("#variables")).not_to_contain_text("while-paused")
    page.locator("#pause").click()
    expect(page.locator("#variables")).to_contain_text("while-paused")
