"""`mabeam tasks`: work for agents, from any program of any language and by hand."""

import asyncio
import secrets
from collections.abc import Iterable
from typing import get_args

import click
import msgspec

from mabeam_p2p.api.agent import Agent
from mabeam_p2p.api.results import Decoded
from mabeam_p2p.api.results.tasks import STATUSES, StrategyWord, TaskFacts, TaskStatusWord
from mabeam_p2p.api.scope import Scope
from mabeam_p2p.cli import output
from mabeam_p2p.cli.running import Termination, output_of
from mabeam_p2p.cli.target import Target, key, name, primitive, value, verb

ERROR_TEXT_MAX = 500
"""Characters of what a failed command has written to standard error, from the end."""

group_option = click.option(
    "--group", type=name, metavar="GROUP", help="Group whose tasks are meant.  [default: all]"
)


def _scope(agent: Agent, group: str | None) -> Scope:
    return agent if group is None else agent.group(group)


def _requirement(text: str) -> tuple[str, int]:
    what, is_given, amount = text.partition("=")
    if is_given and not amount.isdecimal():
        raise click.BadParameter(f"{text!r}: give CAPABILITY or CAPABILITY=NUMBER")
    return key(what), int(amount) if is_given else 0


class _Listing(click.Group):
    """A group that lists if it is not told what to do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_help = bool(args) and args[0] in ctx.help_option_names
        if not is_help and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Listing)
def tasks() -> None:
    """Have work done by agents that offer it; see what is left.

    \b
      mabeam tasks work resize -- ./resize.sh     offer work at this host
      mabeam tasks submit resize photo.jpg        have it done by whoever offers it
      mabeam tasks                                what there is
    """


@tasks.command("list")
@click.argument("statuses", nargs=-1, type=click.Choice(list(STATUSES)), metavar="[STATUS]…")
@click.option(
    "--limit", type=click.IntRange(1, 4096), default=100, show_default=True, help="At most so many."
)
@group_option
@verb
async def list_(
    target: Target, statuses: tuple[TaskStatusWord, ...], limit: int, group: str | None
) -> None:
    """The tasks that are remembered.

    Open ones first, then dead ones, then the rest; of each the newest first.
    """
    async with target.look() as agent:
        _show_all(target, await _scope(agent, group).tasks(*statuses, limit=limit))


@tasks.command()
@group_option
@verb
async def dead(target: Target, group: str | None) -> None:
    """Tasks that were given up. `mabeam tasks retry ID` queues one again."""
    async with target.look() as agent:
        _show_all(target, await _scope(agent, group).tasks("dead"))


def _show_all(target: Target, found: Iterable[TaskFacts]) -> None:
    if target.as_json:
        output.json_line({"tasks": [task.to_dict() for task in found]})
        return
    headings = ("ID", "NAME", "STATUS", "AGENT", "FAILURES", "ERROR")
    rows = [
        (task.id, task.name, task.status, task.agent, task.failures, task.error or task.reason)
        for task in found
    ]
    output.table(headings, rows)


@tasks.command()
@click.argument("task", type=key, metavar="ID")
@verb
async def show(target: Target, task: str) -> None:
    """What has become of one task.

    Who has done it, how long it took, what came out or what went wrong.
    """
    async with target.look() as agent:
        handle = agent.task_handle(task)
        seen = await handle.status()
        facts = seen.to_dict()
        if seen.status == "done":
            facts["value"] = (await handle.result()).value
    if target.as_json:
        output.json_line(facts)
        return
    facts["submitted"] = output.moment(seen.submitted)
    if "value" in facts:
        facts["value"] = output.exact(facts["value"])
    output.facts({name: fact for name, fact in facts.items() if name != "traceback"})
    if seen.traceback:
        click.echo(f"\n{output.lines(seen.traceback)}")


@tasks.command()
@group_option
@verb
async def workers(target: Target, group: str | None) -> None:
    """The agents that offer work, with what they are busy with."""
    async with target.look() as agent:
        found = await _scope(agent, group).workers()
    if target.as_json:
        output.json_line({"workers": [worker.to_dict() for worker in found]})
        return
    headings = ("AGENT", "SLOTS", "RUNNING", "QUEUED", "DONE", "PACE", "SILENT", "NAMES")
    rows = [
        (
            worker.agent,
            worker.slots,
            worker.running,
            worker.queued,
            worker.done,
            f"{worker.pace:.3g}",
            worker.silent,
            worker.names,
        )
        for worker in found
    ]
    output.table(headings, rows)


@tasks.command()
@click.argument("task_name", type=key, metavar="NAME")
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]…")
@click.option(
    "--strategy",
    type=click.Choice(get_args(StrategyWord)),
    default="resource_aware",
    show_default=True,
    help="How an agent is chosen.",
)
@click.option(
    "--requires",
    multiple=True,
    metavar="CAPABILITY[=N]",
    help="What the agent must have, and how much of it is taken up.",
)
@click.option(
    "--priority", type=click.IntRange(-100, 100), default=0, help="The greater goes first."
)
@click.option("--retries", type=click.IntRange(0, 1000), default=0, help="New attempts after one.")
@click.option("--key", "affinity", default="", help="For rendezvous: one key, one agent.")
@click.option("--id", "ident", type=key, default=None, help="Asking again is the same task.")
@click.option("--queue", is_flag=True, help="Queue it although nobody offers it yet.")
@click.option("--detach", is_flag=True, help="Print its id and do not wait for it.")
@group_option
@primitive
async def submit(
    target: Target,
    task_name: str,
    arguments: tuple[str, ...],
    strategy: StrategyWord,
    requires: tuple[str, ...],
    priority: int,
    retries: int,
    affinity: str,
    ident: str | None,
    queue: bool,
    detach: bool,
    group: str | None,
) -> None:
    """Have NAME done and print what it returns, as `mabeam get` prints a value.

    Each ARGUMENT is JSON, or text if it is not. --timeout is the task's: after that it is given
    up. Interrupted, the task is cancelled. Exits 1 if it failed, was given up or cancelled, or
    if nobody offers it.
    """
    async with target.attach(f"submit-{secrets.token_hex(4)}") as agent:
        handle = await _scope(agent, group).submit_task(
            task_name,
            *map(value, arguments),
            strategy=strategy,
            requires=dict(map(_requirement, requires)),
            priority=priority,
            retries=retries,
            timeout=target.timeout,
            key=affinity,
            wait=queue,
            id=ident,
        )
        if detach:
            if target.as_json:
                output.json_line({"id": handle.id})
            else:
                click.echo(handle.id)
            return
        with output.patience(f"waiting for task {handle.id} ({task_name})"):
            try:
                result = await handle.result()
            except asyncio.CancelledError:
                # As a command of this host would end with its terminal.
                await handle.cancel()
                raise
    if target.as_json:
        output.json_line(result.to_dict())
    else:
        click.echo(output.plain(result.value))


@tasks.command()
@click.argument("task", type=key, metavar="ID")
@verb
async def cancel(target: Target, task: str) -> None:
    """Give a task no result any more.

    Who works on it is told to stop. What has ended stays as it is.
    """
    async with target.attach(f"cancel-{secrets.token_hex(4)}") as agent:
        await agent.task_handle(task).cancel()
    _confirm(target, task, "cancelled")


@tasks.command()
@click.argument("task", type=key, metavar="ID")
@verb
async def retry(target: Target, task: str) -> None:
    """Queue a task again that was given up."""
    async with target.attach(f"retry-{secrets.token_hex(4)}") as agent:
        await agent.task_handle(task).retry()
    _confirm(target, task, "queued")


def _confirm(target: Target, task: str, status: str) -> None:
    if target.as_json:
        output.json_line({"id": task, "status": status})
    else:
        output.note(f"{task}: {status}")


@tasks.command()
@click.argument("task_name", type=key, metavar="NAME")
@click.option(
    "--slots", type=click.IntRange(min=1), default=1, show_default=True, help="At a time."
)
@click.option("--as", "worker", type=name, metavar="NAME", help="Name to work under.")
@group_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@verb
async def work(
    target: Target,
    task_name: str,
    slots: int,
    worker: str | None,
    group: str | None,
    command: tuple[str, ...],
) -> None:
    """Offer NAME at this host, until interrupted.

    COMMAND is run for each task. It gets {"args": […], "kwargs": {…}} as JSON on standard input.
    What it prints is the result: JSON, or text if it is not. Another exit code than 0 is a
    failure. COMMAND gets SIGTERM when its task is no longer this program's; when this program gets
    one, which exits 143 then; on Linux also when this program is killed.
    """
    async with target.attach(worker or f"work-{secrets.token_hex(4)}") as agent:

        async def run(*arguments: object, **keyword: object) -> Decoded:
            return await _run(command, {"args": list(arguments), "kwargs": keyword})

        scope = _scope(agent, group)
        with Termination() as termination:
            try:
                scope.task(name=task_name)(run)
                await scope.work(slots)
                if target.as_json:
                    output.json_line({"event": "offered", "name": task_name, "agent": agent.id})
                else:
                    output.note(f"{agent.id} offers {task_name}, {slots} at a time")
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if termination.happened:
                    raise termination.end from None
                raise


async def _run(command: tuple[str, ...], said: dict[str, object]) -> Decoded:
    code, printed, errors = await output_of(command, msgspec.json.encode(said))
    if code != 0:
        told = errors.decode(errors="replace").strip()[-ERROR_TEXT_MAX:]
        raise RuntimeError(f"{command[0]} ended with {code}: {told}")
    return value(printed.decode().strip())
