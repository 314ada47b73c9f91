"""`mabeam log`: what the cluster has committed."""

import asyncio

import click

from mabeam_p2p.api.entries import Entry, entries
from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, verb

FOLLOW_SECONDS = 0.25
"""How often new entries are asked for, where nothing tells of them."""

_QUIET = ("session", "sequence")
"""Facts that a person does not look for."""


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on, and print what is committed.")
@click.option("--from", "first", type=click.IntRange(min=1), default=1, metavar="INDEX",
              help="Index of the first entry.  [default: 1]")  # fmt: skip
@verb
async def log(target: Target, follow: bool, first: int) -> None:
    """Print the committed log, one entry a line.

    A line is index, term, time, command and facts, each as `mabeam events` writes them. It is the
    same on every peer.
    """
    async with target.question() as attachment:
        while True:
            read = await entries(attachment, first)
            for entry in read:
                _print(target, entry)
                first = entry.index + 1
            if not read and not follow:
                return
            if not read:
                await asyncio.sleep(FOLLOW_SECONDS)


def _print(target: Target, entry: Entry) -> None:
    if target.as_json:
        output.json_line(entry.to_dict())
        return
    stamp = click.style(output.moment(entry.when), dim=True)
    facts = " ".join(
        f"{name}={output.exact(value)}" for name, value in entry.facts.items() if name not in _QUIET
    )
    name = click.style(entry.command, bold=True)
    click.echo(f"{entry.index:>6} {entry.term:>4} {stamp} {name} {facts}".rstrip())
