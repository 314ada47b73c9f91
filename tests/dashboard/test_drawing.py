"""Sections as Chromium draws them, of facts that the test gives: without a daemon."""

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser, Locator, Page, Route, expect

from mabeam_p2p.api.results import PeerStatus
from mabeam_p2p.dashboard import access, rows
from mabeam_p2p.dashboard.access import Refusal
from mabeam_p2p.dashboard.fitting import Row
from mabeam_p2p.dashboard.serving import CROWD, HEADERS, page_files
from mabeam_p2p.ids import AgentId
from mabeam_p2p.records import Candidate, Choice, Election, Proposal, Seat, TaskStatus, Vote
from tests.api.fakes import proposal, status
from tests.dashboard.browsing import browser, visit
from tests.dashboard.test_rows import task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

URL = "http://page.test"
ADA = AgentId("ada@ant")


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def page(running: Browser) -> Iterator[Page]:
    """The page, to which no facts come."""
    with visit(running) as here:
        served(here.page, CROWD)
        yield here.page


def served(page: Page, refusal: Refusal) -> None:
    """Open the page, whose stream is refused."""
    files = page_files()

    def answer(route: Route) -> None:
        said = f"{refusal.text}\n".encode()
        kind, content = files.get(urlsplit(route.request.url).path, ("text/plain", said))
        status = refusal.status if content is said else 200
        route.fulfill(status=status, headers=HEADERS, content_type=kind, body=content)

    page.route(f"{URL}/**", answer)
    page.goto(URL)


def drawn(page: Page, section: str, facts: object) -> Locator:
    """The section, made anew of these facts."""
    page.evaluate(
        """async ([id, facts]) => {
            const { SECTIONS } = await import("/boards.js");
            const section = SECTIONS.map((build) => build()).find((one) => one.id === id);
            section.render(facts);
            document.getElementById("main").replaceChildren(...section.nodes);
        }""",
        [section, msgspec.json.decode(msgspec.json.encode(facts))],
    )
    return page.locator("#main")


def listed(*shown: Row, count: int | None = None) -> dict[str, object]:
    return {"shown": shown, "count": len(shown) if count is None else count}


def voted(accept_count: int, reject_count: int) -> Proposal:
    choices = [Choice.ACCEPT] * accept_count + [Choice.REJECT] * reject_count
    agents = [AgentId(f"a{n}@ant") for n in range(len(choices))]
    votes = [
        Vote(a, c, 900, "", n, n) for n, (a, c) in enumerate(zip(agents, choices, strict=True))
    ]
    return replace(proposal(), electorate=tuple(agents), votes=tuple(votes))


def test_the_tally_and_its_bar_count_votes_that_are_not_listed_too(page: Page) -> None:
    row = rows.proposal(voted(150, 50))
    shown = drawn(page, "proposals", {"open": listed(row), "ended": listed()})
    expect(shown.locator(".tally")).to_have_text("150 accept · 50 reject")
    widths = "parts => parts.map((part) => part.hidden ? 0 : Number(part.style.flexGrow))"
    assert shown.locator(".bar span").evaluate_all(widths) == [150, 50, 0, 0]
    expect(shown).to_contain_text(f"{rows.VOTES_MAX} of 200 are listed")


@pytest.mark.parametrize(
    ("was_ready", "quorum", "words"),
    [(True, True, "this one is ready"), (False, True, "this one catches up"),
     (True, False, "this one waits for a quorum"), (False, False, "this one waits for a quorum")],
)  # fmt: skip
def test_a_peer_without_a_quorum_is_not_said_to_be_ready_or_to_catch_up(
    page: Page, was_ready: bool, quorum: bool, words: str
) -> None:
    seen = PeerStatus.of(replace(status(), ready=was_ready, quorum=quorum))
    expect(drawn(page, "peer", rows.peer(seen))).to_contain_text(words)


def test_a_peer_in_no_cluster_is_not_said_to_wait_for_a_new_one(page: Page) -> None:
    """With a join code it waits for who gave that, and forms none."""
    alone = replace(status(), voters=(), quorum=False, ready=False, expect=3)
    shown = drawn(page, "peer", rows.peer(PeerStatus.of(alone)))
    expect(shown).to_contain_text("1 of 3no cluster yet")


def test_an_election_that_runs_tells_how_many_stand(page: Page) -> None:
    candidates = (Candidate(ADA, 1, 500), Candidate(AgentId("bo@bee"), 1, 500))
    running = Election("trainer", "all", 5, 1, 9_000_000, AgentId(""), candidates, (ADA,))
    row = rows.seat(Seat("trainer", "all", AgentId(""), 0, 0, 5, ""), running)
    expect(drawn(page, "seats", listed(row))).to_contain_text(", 2 candidates")


@pytest.mark.parametrize(("section", "word"), [("variables", "shared"), ("proposals", "open")])
def test_nothing_is_said_to_be_there_only_where_nothing_is(
    page: Page, section: str, word: str
) -> None:
    for count in (7, 0):
        one = listed(count=count)
        shown = drawn(page, section, one | {"open": one, "ended": one})
        left = shown.get_by_text("0 of 7 are listed.").first
        nothing = shown.locator(".empty").get_by_text(word)
        expect(left if count else nothing).to_be_visible()
        expect(nothing if count else left).to_be_hidden()


def test_a_task_tells_how_many_attempts_came_to_nothing(page: Page) -> None:
    """The first one, too: it is no retry."""
    lost = rows.task(replace(task(TaskStatus.DEAD), failures=1, steals=0))
    heading = "Lost attempts"
    shown = drawn(page, "tasks", {"tasks": listed(lost), "workers": listed()})
    expect(shown.get_by_role("columnheader", name=heading, exact=True)).to_be_visible()
    column = shown.get_by_role("columnheader").all_inner_texts().index(heading)
    cells = shown.get_by_role("row").nth(1).locator("th, td")
    expect(cells.nth(column)).to_have_text("1")


STREAM = """() => {
    const real = window.fetch;
    window.fetch = (url, options) => {
        if (url !== "/events") return real(url, options);
        if (window.say) return new Promise(() => {});
        const body = new ReadableStream({ start(stream) {
            const words = new TextEncoder();
            window.say = (text) => stream.enqueue(words.encode(text));
            window.hangUp = () => stream.close();
        } });
        return Promise.resolve(new Response(body));
    };
}"""
"""In place of the first stream: one that says what the test has it say. No other one comes."""


def test_what_is_shown_is_as_old_as_the_last_word_of_the_daemon(running: Browser) -> None:
    """Also if that was that it is still here, as nothing has changed for hours."""
    morning, noon = datetime(2026, 1, 2, 9, 12, tzinfo=UTC), datetime(2026, 1, 2, 12, tzinfo=UTC)
    with visit(running) as here:
        page = here.page
        page.clock.set_fixed_time(morning)
        page.add_init_script(f"({STREAM})()")
        served(page, CROWD)
        facts = msgspec.json.encode(rows.peer(PeerStatus.of(status()))).decode()
        page.evaluate("text => window.say(text)", f"event: peer\ndata: {facts}\n\n")
        expect(page.locator("#board")).to_be_visible()
        page.clock.set_fixed_time(noon)
        page.evaluate("window.say(': still here\\n\\n'); window.hangUp();")
        shown = page.evaluate(
            "async (at) => (await import('/words.js')).time(at)", noon.timestamp()
        )
        expect(page.locator("#connection")).to_contain_text("trying again")
        assert page.locator("#connection").inner_text().endswith(f"As of {shown}")


def test_a_page_that_is_refused_says_why_and_tries_again(running: Browser) -> None:
    with visit(running, width=400) as here:
        served(here.page, access.USER)
        connection = here.page.locator("#connection")
        expect(connection).to_have_text(f"{access.USER.text} Trying again")
        assert here.page.evaluate("document.scrollingElement.scrollWidth") <= 400
        assert here.faults() == []
        # When there is no answer any more, that is said.
        here.page.route(f"{URL}/events", lambda route: route.abort())
        expect(connection).to_have_text("No answer yet, trying again")
