"""`mabeam barrier`: any program of any language waits for others."""

import secrets

import click

from mabeam_p2p.api.barriers import OnDepartureWord
from mabeam_p2p.cli import output
from mabeam_p2p.cli.running import run_command
from mabeam_p2p.cli.target import Target, key, name, primitive
from mabeam_p2p.errors import BarrierBroken


@click.command()
@click.argument("name", type=key, metavar="NAME")
@click.option("--parties", type=click.IntRange(min=1), required=True, help="How many must arrive.")
@click.option(
    "--as",
    "agent",
    type=name,
    metavar="NAME",
    default=None,
    help="Name to arrive under.  [default: a new one]",
)
@click.option(
    "--on-departure",
    type=click.Choice(["break", "shrink", "wait"]),
    default="break",
    show_default=True,
    help="What happens if a party that has arrived goes away.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]")
@primitive
async def barrier(
    target: Target,
    name: str,
    parties: int,
    agent: str | None,
    on_departure: OnDepartureWord,
    command: tuple[str, ...],
) -> None:
    """Wait at the barrier NAME for others, then run COMMAND.

    Returns when --parties have arrived. All must give the same --parties, --timeout and
    --on-departure. --timeout counts from the first arrival; 30 s if it is not given. Exits 75
    if the barrier broke, else with the exit code of COMMAND, or 0 without one.

    \b
      mabeam barrier epoch-9 --parties 4 -- python train.py --epoch 9
    """
    party = agent or f"barrier-{secrets.token_hex(4)}"
    async with target.attach(party) as attached:
        meeting = attached.barrier(
            name, parties=parties, timeout=target.timeout, on_departure=on_departure
        )
        try:
            with output.patience(f"waiting at barrier {name!r} for {parties} parties"):
                release = await meeting.wait()
        except BarrierBroken as broken:
            if target.as_json:
                output.json_line(
                    {
                        "barrier": name,
                        "released": False,
                        "reason": broken.reason,
                        "arrived": list(broken.arrived),
                        "missing": broken.missing_count,
                    }
                )
            raise
    if target.as_json:
        output.json_line(release.to_dict() | {"released": True})
    else:
        output.note(
            f"{name}: generation {release.generation} of {parties} parties released after "
            f"{release.seconds:.2f} s"
        )
    if command:
        raise output.Exit(await run_command(command))
