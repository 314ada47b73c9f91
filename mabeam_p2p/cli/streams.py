"""Verbs that go on: events and monitor."""

import time

import click

from mabeam_p2p.api.results import Event
from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, verb


@click.command()
@click.argument("patterns", nargs=-1)
@verb
async def events(target: Target, patterns: tuple[str, ...]) -> None:
    """Print what happens from now on, as this host's peer sees it.

    PATTERNS choose events by name, as member.* or proposal.decided; quote them. A fact is text or
    JSON; text that is not printable, or reads as JSON, is written as JSON.
    """
    async with target.look() as agent:
        async for event in agent.events(*patterns):
            _print(target, event)


@click.command()
@verb
async def monitor(target: Target) -> None:
    """Show this host's peer, then everything that happens at it."""
    async with target.look() as agent:
        stream = agent.events()
        seen = await agent.status()
        if target.as_json:
            output.json_line({"event": "status"} | seen.to_dict())
        else:
            output.note(
                f"{seen.name} of cluster {seen.cluster}: {seen.role} in term {seen.term}, leader "
                f"{seen.leader_name or '-'}, {seen.alive_count} peers alive"
            )
        async for event in stream:
            _print(target, event)


def _print(target: Target, event: Event) -> None:
    if target.as_json:
        output.json_line(event.to_dict())
        return
    facts = " ".join(f"{name}={output.exact(value)}" for name, value in event.facts.items())
    stamp = click.style(time.strftime("%H:%M:%S"), dim=True)
    click.echo(f"{stamp} {click.style(event.name, bold=True)} {facts}")
