"""Verbs of values: get, set, watch."""

import time

import click

from mabeam_p2p.api.results import Change, Reading
from mabeam_p2p.api.variables import Wait
from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, key, primitive, value, verb


def wait_count(text: object) -> Wait:
    """`all`, `majority`, or a number of members, as an option."""
    match text:
        case "all" | "majority":
            return text
        case int():
            return text
        case str() if text.isdecimal():
            return int(text)
        case _:
            raise click.BadParameter(f"{text!r} is neither 'all' nor 'majority' nor a number")


@click.command()
@click.argument("name", type=key, metavar="NAME")
@click.option("--agreed", is_flag=True, help="Read a parameter that was put to the vote.")
@click.option(
    "--linearizable",
    is_flag=True,
    help="Ask a majority first, so that nothing newer is missed. Implies --agreed.",
)
@verb
async def get(target: Target, name: str, agreed: bool, linearizable: bool) -> None:
    """Print the variable NAME, or with --agreed the parameter.

    Text is printed as it is, for programs to read, also what is not printable; other values as
    JSON. Exits 1 if there is no such value.
    """
    async with target.look() as agent:
        try:
            if linearizable:
                reading = await agent.parameters.read(name, timeout=target.timeout)
            elif agreed:
                reading = await agent.parameters.read(name, level="local")
            else:
                reading = await agent.variables.read(name)
        except KeyError:
            kind = "parameter" if agreed or linearizable else "variable"
            output.fail(f"there is no {kind} named {name!r}", output.REFUSED)
    _print(target, reading)


def _print(target: Target, reading: Reading) -> None:
    if target.as_json:
        output.json_line(reading.to_dict())
    else:
        click.echo(output.plain(reading.value))


@click.command("set")
@click.argument("name", type=key, metavar="NAME")
@click.argument("value", type=value, metavar="VALUE")
@click.option(
    "--wait",
    type=wait_count,
    metavar="all|majority|N",
    default=0,
    help="Return when all members, a majority, or N others have it.  [default: 0]",
)
@primitive
async def set_(target: Target, name: str, value: object, wait: Wait) -> None:
    """Write the shared variable NAME. Every peer gets it; a concurrent write is resolved.

    The VALUE is read as JSON, and taken as text if it is not JSON; write `--` before one that
    begins with a minus. With --wait, exits 75 if not enough members acknowledged in time;
    the write stands and reaches them later.
    """
    async with target.look() as agent:
        with output.patience(f"waiting for acknowledgements of {name!r}"):
            acknowledged = await agent.variables.set(name, value, wait=wait, timeout=target.timeout)
    if target.as_json:
        output.json_line({"name": name, "value": value} | acknowledged.to_dict())
    else:
        count = len(acknowledged.applied)
        output.note(f"{name} is set" + (f", acknowledged by {count}" if wait else ""))


@click.command()
@click.argument("pattern", default="*")
@click.option("--agreed", is_flag=True, help="Watch parameters that were put to the vote.")
@verb
async def watch(target: Target, pattern: str, agreed: bool) -> None:
    """Print variables whose names match PATTERN, and every change.

    The present values come first. PATTERN may hold *, ? and [abc]; quote it. A value is written as
    `mabeam set` takes it, on one line.
    """
    async with target.look() as agent:
        source = agent.parameters if agreed else agent.variables
        async for change in source.watch(pattern):
            _print_change(target, change)


def _print_change(target: Target, change: Change) -> None:
    if target.as_json:
        output.json_line(change.to_dict())
        return
    value = "(deleted)" if change.deleted else output.exact(change.value)
    stamp = "" if change.initial else time.strftime("%H:%M:%S ")
    click.echo(f"{stamp}{change.name} {value}")
