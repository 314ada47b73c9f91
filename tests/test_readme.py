"""What the README shows is what happens."""

import ast
import asyncio
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, cast

import click
import pytest

import mabeam_p2p
from mabeam_p2p.cli import main
from tests.in_loop import in_loop

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = 90.0
"""Deadline of the whole example: reached by a failure only."""


class Snippet(NamedTuple):
    heading: str
    code: str


def snippets(text: str) -> list[Snippet]:
    """The Python blocks of a page, each under its heading."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        heading = section.partition("\n")[0]
        found += [
            Snippet(heading, code)
            for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        ]
    return found


SNIPPETS = snippets(README)

PRINTED = {
    "Elect who plays a part": r"trainer-1@ada \d+\nTrue\n",
    "Hold what only one may have": r"1\n\{'lr': 0.01\}\n",
    "Share work": r"144\n(\d+ \d+ trainer-1@ada\n){20}",
    "Pay, budget and auction": r"awarded \(Award\(bidder='trainer-2@ada', .*\n",
    "Average arrays": r"(\(1000000,\) \('trainer-1@ada', .*'trainer-4@ada'\) \(\)\n){4}",
    "Groups and messages": r"\{('trainer-[234]@ada': 0\.5(, )?){3}\} \{\}\n",
}
"""What the agents of a section print."""


@pytest.mark.fault("C22")
@pytest.mark.slow
@pytest.mark.parametrize("run", ["on new folders", "on the folders of an earlier run"])
def test_example_of_the_readme_runs_as_three_processes(place: Path, run: str) -> None:
    program = place / "trainer.py"
    program.write_text(SNIPPETS[0].code)
    trainers = [
        subprocess.Popen(
            [sys.executable, str(program), f"trainer-{number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=place,
            env=environment(place),
            text=True,
        )
        for number in (1, 2, 3)
    ]
    try:
        said = [trainer.communicate(timeout=SECONDS)[0] for trainer in trainers]
    finally:
        for trainer in trainers:
            trainer.kill()
            trainer.wait()
    assert [trainer.returncode for trainer in trainers] == [0, 0, 0], "\n".join(said)
    for text in said:
        assert re.fullmatch(r"accepted 1\.0 \[('fits my last run'(, )?){2,3}\]\n", text), run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def environment(place: Path) -> dict[str, str]:
    """That of a user who has set nothing, in a cluster and folders of its own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MABEAM_")}
    return kept | {
        "MABEAM_CLUSTER": f"readme-{os.getpid()}",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_STATE_HOME": str(place / "state"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS[1:-1], ids=lambda snippet: snippet.heading)
@in_loop
async def test_what_the_readme_shows_of_an_agent_does_what_it_says(
    snippet: Snippet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    config = mabeam_p2p.Config(
        name="ada", cluster="readme", data_dir=":memory:", mdns=False, expect=1
    )
    async with mabeam_p2p.Peer(config) as peer:
        first, *others = [await peer.agent(f"trainer-{n}", groups=["vision"]) for n in range(1, 5)]
        for other in others:
            other.bidder("gpu-*")(lambda lot: mabeam_p2p.Bid(30))
            other.on_message("loss")(lambda message: 0.5)
        # Arrays are for four; else it is one agent among others.
        does = [first, *others] if "parties=4" in snippet.code else [first]
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(as_function(snippet, tmp_path)(agent) for agent in does))
    assert re.fullmatch(PRINTED[snippet.heading], capsys.readouterr().out)


def as_function(snippet: Snippet, folder: Path) -> Callable[[mabeam_p2p.Agent], Awaitable[None]]:
    """The snippet as what one agent does."""
    body = textwrap.indent(snippet.code, "    ")
    program = folder / "snippet.py"
    program.write_text(f"import mabeam_p2p\n\nasync def snippet(agent):\n{body}")
    found = runpy.run_path(str(program))["snippet"]
    return cast("Callable[[mabeam_p2p.Agent], Awaitable[None]]", found)


def test_program_of_the_readme_imports_what_exists() -> None:
    snippet = SNIPPETS[-1]
    assert "Optuna" in snippet.heading
    imports = [
        node for node in ast.walk(ast.parse(snippet.code)) if isinstance(node, ast.ImportFrom)
    ]
    assert len(imports) == 2
    for node in imports:
        module = importlib.import_module(str(node.module))
        assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


COMMANDS = re.findall(r"^\$ (mabeam .*)$", README, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_command_of_the_readme_is_understood(line: str) -> None:
    _, *arguments = shlex.split(line, comments=True)
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None, name
        command, context = found, click.Context(found, parent=context, info_name=name)
    # Parsed and checked, and not run.
    assert command.make_context(context.info_name, arguments).command is command
