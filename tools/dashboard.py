"""A picture of the dashboard of a small cluster with something of every kind in it. Called by
tools/dashboard."""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec
from playwright.async_api import async_playwright

from tools.dashboard_scene import furnished

CLUSTER = "scene"
NAMES = ("ant", "bee", "cow")
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first has no window to draw: it takes a third to six tenths of a browser's processor time."""
WIDTH, HEIGHT = 1360, 900


def browser_path() -> str | None:
    """A Chromium that is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def start(folder: Path, name: str, seeds: list[str]) -> tuple[subprocess.Popen[bytes], str, str]:
    """A daemon; its address and the URL of its dashboard."""
    flags = ["--name", name, "--cluster", CLUSTER, "--expect", str(len(NAMES)), "--no-mdns"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mabeam_p2p", "up", "--json", "--dashboard", *flags, *seeds],
        stdout=subprocess.PIPE,
        env=os.environ | environment(folder),
    )
    assert process.stdout is not None
    told = msgspec.json.decode(process.stdout.readline(), type=dict[str, object])
    return process, str(told["address"]), str(told["dashboard"])


def environment(folder: Path) -> dict[str, str]:
    return {
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }


async def picture(url: str, file: Path, *, width: int, is_dark: bool) -> None:
    """The whole page, once everything is on it."""
    async with async_playwright() as tool:
        browser = await tool.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page = await browser.new_page(
            viewport={"width": width, "height": HEIGHT},
            color_scheme="dark" if is_dark else "light",
            reduced_motion="reduce",
        )
        await page.goto(url)
        await page.locator("#ledger tbody tr").first.wait_for()
        await page.locator("#auctions .panel").first.wait_for()
        await page.screenshot(path=file, full_page=True)
        await browser.close()


async def show(options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder = Path(tempfile.mkdtemp(prefix="mb"))
    (folder / "run").mkdir(mode=0o700)
    os.environ |= environment(folder)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        seeds: list[str] = []
        urls: list[str] = []
        for name in NAMES:
            process, address, url = start(folder, name, seeds)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            seeds = ["--seed", address]
            urls.append(url)
        async with furnished(NAMES, cluster=CLUSTER):
            if options.figure is not None:
                await picture(urls[0], options.figure, width=options.width, is_dark=options.dark)
            if options.stay:
                print("\n".join(urls), flush=True)
                await asyncio.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/dashboard", description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path, help="write a PNG of the page to this file")
    parser.add_argument("--dark", action="store_true", help="in the dark colours")
    parser.add_argument("--width", type=int, default=WIDTH, help="of the page, in pixels")
    parser.add_argument("--stay", action="store_true", help="print the URLs and stay until Ctrl-C")
    options = parser.parse_args()
    if options.figure is None and not options.stay:
        parser.error("say --figure FILE, --stay, or both")
    try:
        asyncio.run(show(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
