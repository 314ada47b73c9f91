"""Keys and join codes: who is let in, by way of the daemon of this host."""

from collections.abc import Iterable, Mapping

import click

from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, primitive, verb
from mabeam_p2p.key_requests import INVITE_SECONDS

KEY_DIGITS = 16
"""Of a key, shown to people: enough to tell keys apart."""


@click.group()
def keys() -> None:
    """Let peers in, and shut them out.

    A join code lets a peer on another host, or of another user, into the cluster; afterwards its
    own key does. Nothing that these verbs print is secret, but for codes.
    """


@keys.command()
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=INVITE_SECONDS,
              show_default=True, metavar="N", help="How long the code is good for.")  # fmt: skip
@click.option("--once", is_flag=True, help="Let in one peer alone.")
@verb
async def invite(target: Target, seconds: float, once: bool) -> None:
    """Print a join code: `mabeam up --join CODE` on the other host."""
    async with target.look() as agent:
        code = await agent.keys.invite(seconds=seconds, once=once)
        address = (await agent.status()).address
    if target.as_json:
        output.json_line({"code": code, "seconds": seconds, "once": once, "address": address})
        return
    click.echo(code)
    for note in notes_on(address):
        output.note(note)


def notes_on(address: str) -> tuple[str, ...]:
    """What the owner of a code has to know of the address in it."""
    if address.startswith(("127.", "[::1]")):
        return (
            "this peer listens on loopback: the code is of use on this host alone. For other hosts "
            "start it with --listen lan, or an address of this host",
        )
    return ()


@keys.command("list")
@verb
async def list_keys(target: Target) -> None:
    """Show whose keys are let in, whose are about to be, and whose were revoked."""
    async with target.look() as agent:
        facts = await agent.keys.read()
    if target.as_json:
        output.json_line(facts.to_dict())
        return
    output.table(
        ("NAME", "STATE", "KEY", "PEER"),
        [
            (one.name, one.state, " ".join(key[:KEY_DIGITS] for key in one.keys), one.peer)
            for one in facts.peers
        ],
    )
    output.note(f"this peer: {facts.key[:KEY_DIGITS]} ({facts.peer}); join secret {facts.secret}")


@keys.command()
@click.argument("peer", metavar="PEER")
@primitive
async def revoke(target: Target, peer: str) -> None:
    """Let PEER, an id or a member's name, in no more.

    It is cut off at once, and its vote is taken first. It still knows the join secret: rotate that
    as well (`mabeam keys rotate --secret`). Exits 1 if too few of the other voters answer, or if it
    is this host's own: take another host, or --addr.
    """
    async with target.look() as agent:
        with output.patience("waiting for the leader to commit the revocation"):
            await agent.keys.revoke(peer, timeout=target.timeout)
    if target.as_json:
        output.json_line({"peer": peer, "revoked": True})
    else:
        output.note(
            f"{peer} is let in no more. It knows the join secret: `mabeam keys rotate --secret` "
            "makes that worthless"
        )


@keys.command()
@click.option("--secret", is_flag=True, help="The cluster's join secret, not this peer's key.")
@primitive
async def rotate(target: Target, secret: bool) -> None:
    """Take another key for this host's peer, or another join secret for the cluster.

    Nothing is lost meanwhile: the new key is used once all voters know it, the former one ends once
    the others have asked for it, and members are told the secret. Join codes that were given out
    are void once the secret is another one. If this peer votes and another voter is away, its key
    stays as it is, and the command exits with 75; run it again when all are there. The new port of
    its data is one of the two behind the one that it listens at, if it was given one.
    """
    async with target.look() as agent:
        with output.patience("waiting for the others to learn it"):
            if secret:
                label = await agent.keys.rotate_secret(timeout=target.timeout)
                _report(target, {"secret": label}, (f"the secret is now {label[:KEY_DIGITS]}",))
                return
            rotation = await agent.keys.rotate(timeout=target.timeout)
    notes = [f"the key is now {rotation.key[:KEY_DIGITS]}"]
    if rotation.followed:
        notes.append(f"asked for by {', '.join(rotation.followed)}")
    if rotation.behind:
        notes.append(f"not yet asked for by {', '.join(rotation.behind)}: the log tells them")
    _report(target, rotation.to_dict(), notes)


def _report(target: Target, facts: Mapping[str, object], notes: Iterable[str]) -> None:
    if target.as_json:
        output.json_line(facts)
    else:
        for note in notes:
            output.note(note)
