"""Verbs that ask one daemon what it sees, and the one that stops it."""

import asyncio
from collections.abc import Iterable, Mapping

import click

from mabeam_p2p.api.fitness import set_fitness
from mabeam_p2p.api.results import PeerStatus
from mabeam_p2p.cli import output
from mabeam_p2p.cli.seats import group_option, print_seat
from mabeam_p2p.cli.target import Target, key, verb
from mabeam_p2p.requests import Done, Leave

LEAVE_SECONDS = 5.0
"""How long a peer may take to tell its cluster."""


@click.command()
@verb
async def status(target: Target) -> None:
    """Show the part that this host's peer plays in the log.

    ROLE is leader, follower, candidate or learner, or none while no cluster has formed. Without a
    QUORUM nothing new can be agreed, and what is read may be old. The peer is READY while it has a
    quorum, follows the log, and has all variables.
    """
    async with target.look() as agent:
        seen = await agent.status()
        known = {member.id: member for member in agent.members()}
    names = {peer: member.name for peer, member in known.items()}
    if target.as_json:
        output.json_line(seen.to_dict())
        return
    output.facts(
        {
            "peer": f"{seen.name} ({seen.peer})",
            "cluster": seen.cluster,
            "role": seen.role,
            "leader": seen.leader_name or seen.leader,
            "term": seen.term,
            "quorum": seen.quorum,
            "ready": seen.ready,
            "commit index": seen.commit_index,
            "applied index": seen.applied_index,
            "snapshot": f"up to {seen.snapshot_index}; {seen.log_entries} entries in the log",
            "disk": _disk(seen),
            "voters": [names.get(peer, peer) for peer in seen.voters],
            "learners": [names.get(peer, peer) for peer in seen.learners],
            "configuration": seen.configuration_index,
            "machine version": _version(seen),
            "alive": _alive(seen),
            "score": f"{seen.score}, unfit: {seen.unfit}" if seen.unfit else seen.score,
        }
    )
    if seen.voters and not seen.quorum:
        here = [peer for peer in seen.voters if peer in known and known[peer].state == "alive"]
        output.note(_missing(len(here), seen))
    for note in _held_back(seen, names):
        output.note(note)
    if seen.peer in seen.barred:
        output.note(f"this peer was removed from the voters: `mabeam voters promote {seen.name}`")


def _version(seen: PeerStatus) -> str:
    if seen.machine_version == seen.machine_version_max:
        return str(seen.machine_version)
    return f"{seen.machine_version}; this peer applies up to {seen.machine_version_max}"


def _held_back(seen: PeerStatus, names: Mapping[str, str]) -> list[str]:
    """For whom the log waits, and what each of them lacks."""

    def named(peers: Iterable[str]) -> str:
        return ", ".join(names.get(peer, peer) for peer in peers)

    version, others = seen.machine_version_max, seen.held_back_by_limits
    notes: list[str] = []
    if earlier := [peer for peer in seen.held_back_by if peer not in others]:
        notes.append(f"the log waits for {named(earlier)} to apply version {version}")
    if others:
        notes.append(
            f"the log waits for {named(others)} to have the limits of {seen.name}, for version "
            f"{version}: `mabeam config show` tells them; all peers need the same"
        )
    return notes


def _disk(seen: PeerStatus) -> str:
    if not seen.disk_bytes_max:
        return "without a limit"
    share = 100 * seen.disk_used_bytes // seen.disk_bytes_max
    text = f"{share} % of {output.size(seen.disk_bytes_max)}"
    if seen.disk_full:
        text += ": full, and takes no commands where it leads; free some space, or raise the limit"
    return text


def _alive(seen: PeerStatus) -> str:
    if seen.voters:
        return "1 peer" if seen.alive_count == 1 else f"{seen.alive_count} peers"
    # Whether it has a code, a status does not say.
    return (
        f"no cluster yet: {seen.alive_count} of the {seen.expect} peers that form a new one; with "
        "a join code it waits for who gave that"
    )


def _missing(here_count: int, seen: PeerStatus) -> str:
    """What stands between a peer and a quorum."""
    need = len(seen.voters) // 2 + 1
    if seen.nobody_eligible:
        return (
            "nobody leads: none of the voters that are there may. Start another voter, say `mabeam "
            "score 50` at one that is unfit, or start one that has `eligible = false` again "
            "without that"
        )
    if here_count >= need:
        return "no leader is heard: one is elected within seconds if the voters reach each other"
    return (
        f"{need} of the {len(seen.voters)} voters must be there to agree on anything, and "
        f"{here_count} {'is' if here_count == 1 else 'are'} seen: start the others again; if they "
        "are lost for ever, see `mabeam repair --help`"
    )


@click.command()
@verb
async def members(target: Target) -> None:
    """List the peers of the cluster, as this host's peer sees them.

    A peer that answers nothing is suspect, then dead. One that said goodbye has left. A voter
    counts for the majority; a learner gets the log.
    """
    async with target.look() as agent:
        seen = agent.members()
        status = await agent.status()
    parts = dict.fromkeys(status.learners, "learner") | dict.fromkeys(status.voters, "voter")
    if target.as_json:
        listed = [member.to_dict() | {"part": parts.get(member.id)} for member in seen]
        output.json_line({"members": listed, "configuration_index": status.configuration_index})
        return
    output.table(
        ("NAME", "STATE", "PART", "ADDRESS", "AGENTS", "ID"),
        [(m.name, m.state, parts.get(m.id, ""), m.address, m.agents, m.id) for m in seen],
    )


@click.command()
@verb
async def info(target: Target) -> None:
    """Show this host's peer and its surroundings.

    Those are leader, members, agents, and how much is agreed and shared.
    """
    async with target.look() as agent:
        seen = agent.info()
    if target.as_json:
        output.json_line(seen.to_dict())
        return
    output.facts(
        {
            "peer": f"{seen.peer_name} ({seen.peer})",
            "cluster": seen.cluster,
            "leader": None if seen.leader is None else seen.leader.name,
            "quorum": seen.quorum,
            "members": [f"{member.name} {member.state}" for member in seen.members],
            "agents": [agent.id for agent in seen.agents],
            "parameters": seen.parameters,
            "variables": seen.variables,
        }
    )


@click.command()
@click.argument("role", type=key, required=False, metavar="[ROLE]")
@click.option("--watch", is_flag=True, help="Go on, and print every change.")
@group_option
@verb
async def leader(target: Target, role: str | None, watch: bool, group: str) -> None:
    """Print who holds the seat ROLE, or who leads the log.

    With the seat's token, or the leader's term. Exits 1 if nobody does, as far as this host's peer
    knows.
    """
    if role is not None:
        await _seat(target, role, group, watch)
        return
    async with target.look() as agent:
        changes = agent.events("leader.*")
        seen = await agent.status()
        _print_leader(target, seen.leader, seen.leader_name, seen.term)
        if not watch:
            if seen.leader is None:
                raise output.Exit(output.REFUSED)
            return
        async for change in changes:
            facts = change.facts
            _print_leader(target, facts["leader"], facts["name"], facts["term"])


async def _seat(target: Target, role: str, group: str, watch: bool) -> None:
    async with target.look() as agent:
        scope = agent.group(group)
        changes = agent.events("seat.filled", "seat.vacant")
        seat = scope.seat(role)
        print_seat(target, seat)
        if not watch:
            if seat.holder is None:
                raise output.Exit(output.REFUSED)
            return
        async for change in changes:
            if (change.facts["seat"], change.facts["group"]) == (role, group):
                print_seat(target, scope.seat(role))


def _print_leader(target: Target, peer: str | None, name: str, term: int) -> None:
    if target.as_json:
        output.json_line({"leader": peer, "name": name or None, "term": term})
    elif peer is None:
        output.note(f"nobody leads (term {term})")
    else:
        click.echo(f"{name} {peer} term {term}")


@click.command()
@click.argument("peer", type=str, required=False, metavar="[PEER]")
@verb
async def transfer(target: Target, peer: str | None) -> None:
    """Have PEER lead the log, by name or id.

    Without it, whoever is fittest of the others. It must have a vote, be alive, and be allowed to
    lead. What is asked meanwhile waits for it. Prints who leads then. Exits 1 if that did not come
    to it: then the same peer leads on, or another one was elected.
    """
    async with target.look() as agent:
        seen = await agent.transfer_leadership(peer, timeout=target.timeout)
    _print_leader(target, seen.id, seen.name, seen.term)


@click.command()
@click.argument("points", type=click.IntRange(0, 100), required=False, metavar="[0..100]")
@click.option("--unfit", metavar="REASON", default="", help="Do not let it lead for the while.")
@verb
async def score(target: Target, points: int | None, unfit: str) -> None:
    """Say how fit this host's peer is to lead, or show it.

    Leadership goes to a peer whose score is better than the leader's by preference_margin for
    preference_dwell_seconds. What is said, also that it is unfit, holds until the next word, or
    until the peer ends: then its settings count again. With --score-by the score holds until it is
    measured next.
    """
    async with target.question() as attachment:
        if points is not None or unfit:
            before = (await attachment.status()).score
            await set_fitness(attachment, before if points is None else points, unfit)
        seen = await attachment.status()
    if target.as_json:
        output.json_line({"peer": seen.name, "score": seen.score, "unfit": seen.unfit or None})
    else:
        unfit = f" unfit: {output.cell(seen.unfit)}" if seen.unfit else ""
        click.echo(f"{seen.score}{unfit}")


@click.command()
@verb
async def down(target: Target) -> None:
    """Stop the daemon on this host.

    If it leads it hands over first. It says goodbye to its cluster and ends. Its data stays;
    `mabeam up` with the same name goes on from there.
    """
    gone = asyncio.Event()
    async with target.question(gone.set) as attachment:
        name = attachment.peer_name
        answer = await attachment.ask(Leave(), LEAVE_SECONDS)
        if not isinstance(answer, Done):
            raise attachment.error(answer, f"stopping {name}")
        await gone.wait()
    if target.as_json:
        output.json_line({"peer": name, "stopped": True})
    else:
        output.note(f"{name} has stopped")
