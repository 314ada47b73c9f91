"""`mabeam demo`: five real peers on this host show what they can do, and check each claim."""

import asyncio
import contextlib
import signal
from functools import partial

import click

from mabeam_p2p.cli import output
from mabeam_p2p.cli.demo import agreeing, failing, holding, searching, trading
from mabeam_p2p.cli.demo.director import Crew
from mabeam_p2p.cli.demo.peers import Processes
from mabeam_p2p.cli.demo.scene import Scene
from mabeam_p2p.cli.demo.stage import Stage

SECONDS_MAX = 80.0
"""The whole demo; on two cores with much else to do it has taken 14 to 21."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each step.")
@click.option("--no-mdns", is_flag=True, help="Find each other by addresses, where multicast DNS"
              " does not work.")  # fmt: skip
def demo(as_json: bool, no_mdns: bool) -> None:
    """Start five peers on this host and show what they can do.

    They find each other, elect a leader, vote with reasons, resolve a concurrent write, survive
    kill -9 of the leader and of all five, meet at barriers, hold locks and seats, bid, exchange
    arrays, share work, and search a learning rate together.
    Every claim is checked; exits 1 if one fails. All happens in a temporary folder, in a cluster
    of its own, and no process stays behind.
    """
    with output.endings():
        stage = Stage(as_json)
        asyncio.run(_bounded(stage, uses_mdns=not no_mdns))
        stage.summarise()
        if not stage.ok:
            raise output.Exit(output.REFUSED)


async def _bounded(stage: Stage, *, uses_mdns: bool) -> None:
    task = asyncio.current_task()
    assert task is not None
    # As Ctrl-C: everything that was started is ended on the way out.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        # A step that this ends counts as failed.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_MAX):
                await _play(stage, uses_mdns=uses_mdns)
    except asyncio.CancelledError:
        raise output.Exit(output.INTERRUPTED) from None


async def _play(stage: Stage, *, uses_mdns: bool) -> None:
    """The steps in order; one that fails is the last."""
    async with Processes() as processes:
        scene = Scene(stage, processes, uses_mdns=uses_mdns)
        crew = Crew(scene)
        data, making = await searching.prepare(scene)
        steps = (
            ("discovery", "Five processes find each other", agreeing.discovery),
            ("election", "They elect a leader", agreeing.election),
            ("vote", "They vote, with reasons", agreeing.vote),
            ("concurrent_write", "Two write the same name at once", agreeing.concurrent_write),
            ("failover", "The leader is killed under load", failing.failover),
            ("barrier", "Parties are late, or die", failing.barrier),
            ("lock", "A holder is paused", partial(holding.lock, crew=crew)),
            ("auction", "Agents bid for an hour", partial(trading.auction, crew=crew)),
            ("all_reduce", "They exchange arrays", partial(trading.all_reduce, crew=crew)),
            ("tasks", "They share work, and one dies", partial(trading.tasks, crew=crew)),
            ("seat", "An elected agent is killed", partial(holding.seat, crew=crew)),
            ("restart", "All five are killed", failing.restart),
            (
                "search",
                "They search a learning rate together",
                partial(searching.search, data=data, making=making),
            ),
        )
        for name, title, play in steps:
            async with stage.step(name, title) as step:
                await play(scene, step)
            if not step.ok:
                break
        making.cancel()
        await crew.go()
        await scene.detach(tuple(scene.voices))
