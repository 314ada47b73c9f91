"""A real browser at the dashboard of real daemons."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import click.testing
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.cli.daemons import CLUSTER, Daemon, House, mabeam
from tests.programs import program
from tools.dashboard import BROWSERS
from tools.dashboard_scene import HOSTILE, furnished

MILLISECONDS = 20_000.0
"""Deadline of every wait: reached by a failure only."""
expect.set_options(timeout=MILLISECONDS)


@contextmanager
def browser() -> Iterator[Browser]:
    path = program(*BROWSERS, package="chromium-headless-shell", required="REQUIRE_BROWSER")
    # Within a container, or as root, its own sandbox does not work.
    flags = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as tool:
        running = tool.chromium.launch(executable_path=path, args=flags)
        try:
            yield running
        finally:
            running.close()


class Visit:
    """One page, and everything that it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(MILLISECONDS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type == "error" else None,
        )

    def open(self, url: str) -> Page:
        """Go to a furnished cluster; return once everything has been drawn."""
        self.page.goto(url)
        self.live()
        title = self.page.locator("#topology-title")
        expect(title).to_contain_text("leads")
        expect(self.page.locator("#ledger")).to_contain_text("gpu_s")
        expect(self.page.locator("#auctions")).to_contain_text("gpu-hour")
        return self.page

    def live(self) -> None:
        expect(self.page.locator("#connection")).to_have_text("Live")
        expect(self.page.locator("#board")).to_be_visible()

    def faults(self) -> list[str]:
        """What axe finds wrong."""
        results = Axe().run(self.page, options={"resultTypes": ["violations"]})
        return [
            f"{fault['id']}: {node['html']} ({node['failureSummary']})"
            for fault in results.response["violations"]
            for node in fault["nodes"]
        ]


@contextmanager
def visit(
    running: Browser, *, width: int = 1280, height: int = 900, scheme: str = "light"
) -> Iterator[Visit]:
    page = running.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    try:
        yield Visit(page)
    finally:
        page.close()


def told(*arguments: str) -> click.testing.Result:
    """A verb of the command line, on a thread that has no loop yet."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(mabeam, *arguments).result()


def started(place: House, *names: str) -> list[tuple[Daemon, str]]:
    """Daemons of one new cluster, ready, each with the URL of its dashboard."""
    daemons: list[tuple[Daemon, str]] = []
    seeds: list[str] = []
    for name in names:
        daemon = place.start("--expect", str(len(names)), "--dashboard", *seeds, name=name)
        told = daemon.line()
        seeds = ["--seed", str(told["address"])]
        daemons.append((daemon, str(told["dashboard"])))
    for daemon, _ in daemons:
        assert daemon.line()["event"] == "ready"
    return daemons


@contextmanager
def furniture(*daemons: str) -> Iterator[None]:
    """Within, three agents have something of every kind in the cluster. They live on a thread of
    their own: the browser's tool keeps the loop of this one."""
    made, leave = threading.Event(), asyncio.Event()
    faults: list[BaseException] = []
    loop = asyncio.new_event_loop()

    async def stay() -> None:
        async with furnished(daemons, cluster=CLUSTER, texts=HOSTILE):
            made.set()
            await leave.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(stay())
        except BaseException as error:
            faults.append(error)
        finally:
            made.set()

    thread = threading.Thread(target=run, name="scene")
    thread.start()
    try:
        assert made.wait(60), "the scene was not made in time"
        assert not faults, faults
        yield
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(leave.set)
        thread.join(60)
