"""Seats for any program of any language: elect, lead, and who leads."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable

import click

from mabeam_p2p.api.results.seats import Seat
from mabeam_p2p.api.scope import Scope
from mabeam_p2p.cli import output
from mabeam_p2p.cli.running import GRACE_SECONDS, Termination, run_tethered
from mabeam_p2p.cli.target import Target, key, name, primitive
from mabeam_p2p.errors import LeadershipLost
from mabeam_p2p.ids import GROUP_ALL

LEASE_SECONDS = 10.0
"""How long a program that hangs keeps the seat from the others."""

group_option = click.option(
    "--group",
    type=name,
    default=GROUP_ALL,
    show_default=True,
    metavar="GROUP",
    help="Whose seat it is.",
)


@click.command()
@click.argument("role", type=key, metavar="ROLE")
@group_option
@click.option("--challenge", is_flag=True, help="Elect also if the seat is held.")
@primitive
async def elect(target: Target, role: str, group: str, challenge: bool) -> None:
    """Have the seat ROLE held, and print by whom.

    The agents of the group rank each other by their published scores, or by functions of their
    own. --timeout is how long the election may take; 15 s if it is not given. Exits 1 if nobody in
    the group can be elected.
    """
    async with target.attach() as agent:
        scope: Scope = agent.group(group)
        with output.patience(f"waiting for the agents of group {group!r} to elect {role!r}"):
            seat = await scope.elect(role, timeout=target.timeout, challenge=challenge)
    print_seat(target, seat)


@click.command()
@click.argument("role", type=key, metavar="ROLE")
@group_option
@click.option(
    "--as",
    "agent",
    type=name,
    metavar="NAME",
    default=None,
    help="Name to stand under.  [default: a new one]",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long COMMAND may take to end after SIGTERM, before SIGKILL.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@primitive
async def lead(
    target: Target, role: str, group: str, agent: str | None, grace: float, command: tuple[str, ...]
) -> None:
    """Run COMMAND only while this program holds the seat ROLE.

    Waits for the seat among all that lead it so, for --timeout or for ever. COMMAND finds the
    fencing token in $MABEAM_TOKEN: what must not happen twice checks it. When the seat is lost
    COMMAND gets SIGTERM; on Linux also when this program is killed. Exits 1 if the seat was lost,
    else with the exit code of COMMAND; 143 after a SIGTERM, which COMMAND gets as well.

    \b
      mabeam lead scheduler -- python schedule.py
    """
    candidate = agent or f"lead-{secrets.token_hex(4)}"
    until_terminated = Termination()
    try:
        async with target.attach(
            candidate, eligible=True, group=group, lease=LEASE_SECONDS
        ) as attached:
            leadership = attached.group(group).leadership(
                role, timeout=target.timeout, among="standing"
            )
            with until_terminated, contextlib.ExitStack() as waiting:
                waiting.enter_context(
                    output.patience(f"waiting for seat {role!r} of group {group!r}")
                )
                async with leadership as seat:
                    waiting.close()
                    print_seat(target, seat, aside=True)
                    told = {
                        "MABEAM_SEAT": seat.name,
                        "MABEAM_GROUP": seat.group,
                        "MABEAM_TOKEN": str(seat.token),
                    }
                    code = await run_tethered(command, told, grace=grace)
    except LeadershipLost:
        if target.as_json:
            output.json_line({"seat": role, "group": group, "lost": leadership.lost})
        raise
    except asyncio.CancelledError:
        if until_terminated.happened:
            raise until_terminated.end from None
        raise
    raise output.Exit(code)


def print_seat(target: Target, seat: Seat, *, aside: bool = False) -> None:
    """aside: standard output is the command's, so a person is told on standard error."""
    if target.as_json:
        output.json_line(seat.to_dict())
    elif seat.holder is None:
        output.note(f"nobody holds {seat.name} ({seat.reason or 'nobody was elected'})")
    else:
        say: Callable[[str], None] = output.note if aside else click.echo
        say(f"{seat.holder} token {seat.token}")
