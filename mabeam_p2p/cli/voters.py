"""Who votes in the log: to look, and to change it by hand, which is seldom needed."""

from collections.abc import Callable
from typing import TypeVar

import click

from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, primitive, verb

F = TypeVar("F", bound=Callable[..., object])

index_option: Callable[[F], F] = click.option(
    "--index",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Only if the configuration is still the one at this index, as `voters list` shows it.",
)


@click.group()
def voters() -> None:
    """Look at who votes in the log, and change it.

    The cluster does this by itself: it promotes peers that have the log, up to max_voters, and
    replaces voters that have left or stay dead. By hand it is for a peer that is to vote no more,
    or now.
    """


@voters.command("list")
@verb
async def list_voters(target: Target) -> None:
    """Show who votes, who learns, and the index of the configuration.

    STATE is as of `mabeam members`. A voter that is no member there is forgotten: it died long ago,
    or before this host's peer came. It counts for the majority until it is removed.
    """
    async with target.look() as agent:
        seen = await agent.status()
        known = {member.id: member for member in agent.members()}
    parts = dict.fromkeys(seen.learners, "learner") | dict.fromkeys(seen.barred, "removed")
    parts |= dict.fromkeys(seen.voters, "voter")
    rows = [(known.get(peer), part, peer) for peer, part in sorted(parts.items())]
    if target.as_json:
        listed = [
            {
                "id": peer,
                "name": m.name if m else None,
                "part": part,
                "state": m.state if m else None,
            }
            for m, part, peer in rows
        ]
        output.json_line({"index": seen.configuration_index, "peers": listed})
        return
    output.table(
        ("NAME", "PART", "STATE", "ID"),
        [(m.name if m else "", part, m.state if m else "forgotten", p) for m, part, p in rows],
    )
    output.note(f"configuration {seen.configuration_index}")
    for peer in seen.voters:
        if peer not in known:
            output.note(
                f"{peer} votes and is no member here: it is replaced by itself when it has "
                f"been away for long, and removed at once by `mabeam voters remove {peer}`"
            )


@voters.command()
@click.argument("peer", metavar="PEER")
@index_option
@primitive
async def promote(target: Target, peer: str, index: int | None) -> None:
    """Let PEER, an id or a member's name, vote.

    It has to have the log. Exits 1 if it is refused, and 75 if nobody leads.
    """
    await _change(target, peer, True, index)


@voters.command()
@click.argument("peer", metavar="PEER")
@index_option
@primitive
async def remove(target: Target, peer: str, index: int | None) -> None:
    """Take PEER, an id or a member's name, out of the voters.

    If it is there it learns the log on, and votes again when it is promoted by hand. Refused if too
    few of the others answer.
    """
    await _change(target, peer, False, index)


async def _change(target: Target, peer: str, votes: bool, index: int | None) -> None:
    async with target.look() as agent:
        before = (await agent.status()).configuration_index
        change = agent.promote_voter if votes else agent.remove_voter
        with output.patience("waiting for the leader to change the voters"):
            at = await change(peer, index=index or 0, timeout=target.timeout)
    if target.as_json:
        changed = at != before
        output.json_line({"peer": peer, "votes": votes, "index": at, "changed": changed})
    elif at == before:
        has = "votes already" if votes else "has no vote"
        output.note(f"{peer} {has}: nothing was changed (configuration {at})")
    else:
        output.note(f"{peer} {'votes' if votes else 'votes no more'} (configuration {at})")
