"""Locks, counters and queues for any program of any language."""

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine

import click
import msgspec

from mabeam_p2p.api.grants import Lease
from mabeam_p2p.api.locks import Lock, LockFacts
from mabeam_p2p.api.queues import Delivery
from mabeam_p2p.api.scope import Scope
from mabeam_p2p.cli import output
from mabeam_p2p.cli.running import GRACE_SECONDS, Termination, run_tethered
from mabeam_p2p.cli.target import Target, key, name, primitive, value, verb
from mabeam_p2p.errors import LeaseLost, LockTimeout

LEASE_SECONDS = 10.0
"""How long a program that hangs keeps from others what it holds."""

as_option = click.option(
    "--as",
    "agent",
    type=name,
    metavar="NAME",
    default=None,
    help="Name to hold it under.  [default: a new one]",
)
grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long COMMAND may take to end after SIGTERM, before SIGKILL.",
)
command_argument = click.argument(
    "command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]"
)


# ---- locks -------------------------------------------------------------------------------------


@click.command()
@click.argument("name", type=key, metavar="NAME")
@click.option("--semaphore", type=click.IntRange(min=1), metavar="N", help="Up to N hold it.")
@click.option("--read", "reads", is_flag=True, help="Share it with others that read.")
@click.option("--write", "writes", is_flag=True, help="Hold it alone, against those that read.")
@click.option("--try", "tries", is_flag=True, help="Now or not at all.")
@as_option
@grace_option
@command_argument
@primitive
async def lock(
    target: Target,
    name: str,
    semaphore: int | None,
    reads: bool,
    writes: bool,
    tries: bool,
    agent: str | None,
    grace: float,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND while this program holds the lock NAME.

    Without COMMAND it tells who holds the lock. Waits for the lock in turn, for --timeout or 30 s;
    exits 75 if that is over. COMMAND finds the fencing token in $MABEAM_TOKEN: what must not happen
    twice checks it. When the lock is lost COMMAND gets SIGTERM; on Linux also when this program is
    killed. Exits 1 if the lock was lost, else with the exit code of COMMAND; 143 after a SIGTERM,
    which COMMAND gets as well.

    \b
      mabeam lock checkpoint -- python save.py
      mabeam lock gpu --semaphore 2 -- ./train.sh
    """
    if sum((semaphore is not None, reads, writes)) > 1:
        raise click.UsageError("take one of --semaphore, --read and --write")

    def of(scope: Scope) -> Lock:
        if reads or writes:
            both = scope.read_write_lock(name, timeout=target.timeout)
            return both.read() if reads else both.write()
        if semaphore is not None:
            return scope.semaphore(name, semaphore, timeout=target.timeout)
        return scope.lock(name, timeout=target.timeout)

    if not command:
        async with target.attach() as voice:
            _tell(target, await of(voice).facts())
        return
    holder = agent or f"lock-{secrets.token_hex(4)}"
    async with target.attach(holder, lease=LEASE_SECONDS) as attached:
        with Termination() as termination:
            try:
                with output.patience(f"waiting for lock {name!r}"):
                    lease = await _acquire(of(attached), tries)
                _announce(target, {"lock": lease.name, "token": lease.token})
                told = {"MABEAM_LOCK": lease.name, "MABEAM_TOKEN": str(lease.token)}
                async with lease:
                    code = await _while_held(lease, run_tethered(command, told, grace=grace))
            except asyncio.CancelledError:
                if termination.happened:
                    raise termination.end from None
                raise
    raise output.Exit(code)


async def _acquire(lock: Lock, tries: bool) -> Lease:
    if not tries:
        return await lock.acquire()
    lease = await lock.try_acquire()
    if lease is None:
        raise LockTimeout(
            f"lock {lock.name!r} is held or waited for: see `mabeam lock {lock.name}`"
        )
    return lease


async def _while_held(lease: Lease, work: Coroutine[object, object, int]) -> int:
    """What `work` returns. If the lease is lost it is cancelled and waited for, and that raised."""
    running = asyncio.create_task(work, name="command")
    lease.on_lost(lambda reason: running.cancel())
    try:
        return await running
    except asyncio.CancelledError:
        # Ours, or that of the loss.
        current = asyncio.current_task()
        if lease.is_lost and not (current is not None and current.cancelling()):
            raise lease.lost_error() from None
        raise


def _tell(target: Target, facts: LockFacts) -> None:
    if target.as_json:
        output.json_line(facts.to_dict())
        return
    if not facts.holders and not facts.waiting:
        output.note(f"nobody holds {facts.name}")
    rows: list[tuple[object, ...]] = [
        (holder.agent, "holds", holder.token, holder.permits) for holder in facts.holders
    ]
    rows += [(agent, "waits", "", "") for agent in facts.waiting]
    if rows:
        output.table(("AGENT", "STATE", "TOKEN", "PERMITS"), rows)


def _announce(target: Target, facts: dict[str, object]) -> None:
    """What is held now. Standard output is the command's, so a person is told beside it."""
    if target.as_json:
        output.json_line(facts)
    else:
        output.note(" ".join(f"{name} {output.cell(value)}" for name, value in facts.items()))


# ---- counters ----------------------------------------------------------------------------------


@click.command()
@click.argument("name", type=key, metavar="NAME")
@click.option("--add", type=int, metavar="N", help="Count by N, which may be negative.")
@click.option("--set", "to", type=int, metavar="N", help="Make it N.")
@click.option("--if", "expected", type=int, metavar="N", help="With --set: only if it is N.")
@verb
async def counter(
    target: Target, name: str, add: int | None, to: int | None, expected: int | None
) -> None:
    """Print the counter NAME, after counting if that is asked for.

    Exits 1 if it is not what --if says; then it has not changed.

    \b
      mabeam counter rounds --add 1
    """
    if (add is not None and to is not None) or (expected is not None and to is None):
        raise click.UsageError("take --add, or --set, or --set with --if")
    is_changed = True
    async with target.attach() as agent:
        counter = agent.counter(name)
        if add is not None:
            number = await counter.add(add)
        elif to is not None and expected is not None:
            is_changed = await counter.compare_and_set(expected, to)
            number = to if is_changed else await counter.get()
        elif to is not None:
            await counter.set(to)
            number = to
        else:
            number = await counter.get()
    if target.as_json:
        output.json_line({"counter": name, "value": number, "changed": is_changed})
    else:
        click.echo(number)
    if not is_changed:
        output.fail(f"counter {name!r} is {number}, not {expected}", output.REFUSED)


# ---- queues ------------------------------------------------------------------------------------


@click.group()
def queue() -> None:
    """Put items into queues, and take them in order."""


@queue.command("put")
@click.argument("name", type=key, metavar="NAME")
@click.argument("item", type=value, metavar="VALUE")
@verb
async def put(target: Target, name: str, item: object) -> None:
    """Put VALUE, JSON or text, at the end of the queue NAME."""
    async with target.attach() as agent:
        count = await agent.queue(name).put(item)
    if target.as_json:
        output.json_line({"queue": name, "items": count})


@queue.command("take")
@click.argument("name", type=key, metavar="NAME")
@click.option("--try", "tries", is_flag=True, help="Now or not at all.")
@as_option
@grace_option
@command_argument
@primitive
async def take(
    target: Target,
    name: str,
    tries: bool,
    agent: str | None,
    grace: float,
    command: tuple[str, ...],
) -> None:
    """Take the first item of the queue NAME; print it, or run COMMAND with it.

    Waits for an item in turn, for --timeout or 30 s; exits 75 if that is over. COMMAND reads the
    item as JSON from its standard input and finds the token in $MABEAM_TOKEN. If it exits 0 the
    item is done with; else, or if this program ends otherwise, the item goes back to its place.
    Without COMMAND the item is printed, as `mabeam get` prints a value, and done with.

    \b
      mabeam queue take trials -- python evaluate.py
    """
    taker = agent or f"take-{secrets.token_hex(4)}"
    async with target.attach(taker, lease=LEASE_SECONDS) as attached:
        with Termination() as termination:
            try:
                queue = attached.queue(name)
                with output.patience(f"waiting for an item of queue {name!r}"):
                    item = await (queue.try_take() if tries else queue.take(target.timeout))
                if item is None:
                    output.fail(f"queue {name!r} has no item that is ready", output.TRY_AGAIN)
                code = await _work(target, item, command, grace)
            except asyncio.CancelledError:
                if termination.happened:
                    raise termination.end from None
                raise
    raise output.Exit(code)


async def _work(target: Target, item: Delivery, command: tuple[str, ...], grace: float) -> int:
    if not command:
        facts = {"queue": item.name, "value": item.value, "token": item.token}
        if target.as_json:
            output.json_line(facts)
        else:
            click.echo(output.plain(item.value))
        # After it was written: what nobody has read goes back to its place.
        await item.acknowledge()
        return output.DONE
    told = {"MABEAM_QUEUE": item.name, "MABEAM_TOKEN": str(item.token)}
    given = msgspec.json.encode(item.value)
    try:
        code = await _while_held(item, run_tethered(command, told, given=given, grace=grace))
    except BaseException:
        with contextlib.suppress(LeaseLost):
            await item.release()
        raise
    await (item.release() if code else item.acknowledge())
    return code


@queue.command("show")
@click.argument("name", type=key, metavar="NAME")
@verb
async def show(target: Target, name: str) -> None:
    """Print how many items and takers the queue NAME has."""
    async with target.attach() as agent:
        facts = await agent.queue(name).facts()
    if target.as_json:
        output.json_line(facts.to_dict())
    else:
        output.facts(facts.to_dict())
