"""Verbs of consensus: propose, vote, look at proposals."""

import secrets
from collections.abc import Sequence

import click

from mabeam_p2p.api.results import ChoiceWord, Decision, Proposal, RecordedVote
from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, key, name, primitive, value, verb

_COLOURS = {"accepted": "green", "rejected": "red", "open": None}


@click.command()
@click.argument("parameter", type=key, metavar="NAME")
@click.argument("value", type=value, metavar="VALUE")
@click.option("--rationale", default="", help="Why; the voters read it.")
@click.option(
    "--group",
    type=name,
    metavar="NAME",
    default=None,
    help="The group whose agents vote.  [default: all]",
)
@primitive
async def propose(
    target: Target, parameter: str, value: object, rationale: str, group: str | None
) -> None:
    """Put a VALUE for the parameter NAME to the vote.

    Waits for the decision. The VALUE is read as JSON, and taken as text if it is not JSON; write
    `--` before one that begins with a minus. The proposal is that of this host's own agent;
    --timeout is how long the vote is open. Exits 0 if the value was accepted, 1 if not, 75 if too
    few agents voted in time.

    \b
      mabeam propose learning_rate 0.003 --rationale "loss is flat"
    """
    proposal = secrets.token_hex(8)
    waiting = output.patience(
        f"waiting for the votes on proposal {proposal}; `mabeam vote {proposal} accept` at a peer "
        "votes for its agent"
    )
    async with target.attach() as agent:
        scope = agent if group is None else agent.group(group)
        with waiting:
            decision = await scope.propose(
                parameter, value, rationale=rationale, timeout=target.timeout, id=proposal
            )
    _print(target, decision)
    if decision.status == "no_quorum":
        raise output.Exit(output.TRY_AGAIN)
    if not decision.accepted:
        raise output.Exit(output.REFUSED)


@click.command()
@click.argument("proposal", metavar="ID")
@click.argument("choice", type=click.Choice(["accept", "reject", "abstain"]))
@click.option("--rationale", default="", help="Why; it stays in the log.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="How sure you are.",
)
@verb
async def vote(
    target: Target, proposal: str, choice: ChoiceWord, rationale: str, confidence: float
) -> None:
    """Vote as this host's own agent on the proposal ID.

    The first vote binds. The beginning of an ID is enough if only one open proposal has it.
    """
    async with target.attach() as agent:
        seen = await agent.proposals()
        known = _find(seen, [p for p in seen if p.status == "open"], proposal)
        await agent.vote(known, choice, confidence=confidence, rationale=rationale)
    if target.as_json:
        output.json_line({"id": known, "choice": choice})
    else:
        output.note(f"voted {choice} on {known}")


@click.command()
@verb
async def proposals(target: Target) -> None:
    """List the open proposals, and the latest decided ones."""
    async with target.look() as agent:
        seen = await agent.proposals()
    if target.as_json:
        output.json_line({"proposals": [proposal.to_dict() for proposal in seen]})
        return
    output.table(
        ("ID", "PARAMETER", "VALUE", "STATUS", "VOTES", "PROPOSER"),
        [
            (
                p.id,
                p.parameter,
                output.exact(p.value),
                p.status,
                f"{len(p.votes)}/{len(p.electorate)}",
                p.proposer,
            )
            for p in seen
        ],
    )


@click.command()
@click.argument("proposal", metavar="ID")
@verb
async def explain(target: Target, proposal: str) -> None:
    """Show who voted what on the proposal ID, why and when.

    The answer comes from the log, so it is the same on every peer, also after restarts. The
    beginning of an ID is enough if only one proposal has it.
    """
    async with target.look() as agent:
        known = await agent.proposals()
        seen = await agent.explain(_find(known, known, proposal))
    _print(target, seen)


def _find(known: Sequence[Proposal], among: Sequence[Proposal], beginning: str) -> str:
    """Of those that are meant, the id that begins so if there is exactly one; else what was given,
    as also where that is a whole id of those that are known."""
    fitting = [p.id for p in among if p.id.startswith(beginning)]
    is_whole = any(p.id == beginning for p in known)
    return fitting[0] if len(fitting) == 1 and not is_whole else beginning


def _print(target: Target, proposal: Proposal) -> None:
    if target.as_json:
        output.json_line(proposal.to_dict())
        return
    verdict = click.style(proposal.status, fg=_COLOURS.get(proposal.status, "yellow"), bold=True)
    click.echo(f"{proposal.parameter} = {output.exact(proposal.value)}: {verdict}")
    click.echo(f"  proposal {proposal.id} by {proposal.proposer}, {output.moment(proposal.when)}")
    if proposal.rationale:
        click.echo(f"  “{output.cell(proposal.rationale)}”")
    for vote in proposal.votes:
        click.echo(f"  {vote.choice:8}{vote.agent}  {_reason(vote)}")
    silent = set(proposal.electorate) - {vote.agent for vote in proposal.votes}
    for agent in sorted(silent):
        click.echo(f"  {'-':8}{agent}  has not voted")
    if isinstance(proposal, Decision):
        click.echo(
            f"  {output.cell(proposal.reason)} at index {proposal.index} in term {proposal.term}: "
            f"{proposal.accept_ratio:.0%} of the votes accept, {proposal.participation:.0%} voted"
        )


def _reason(vote: RecordedVote) -> str:
    sure = "" if vote.confidence == 1 else f" ({vote.confidence:.0%} sure)"
    return f"“{output.cell(vote.rationale)}”{sure}" if vote.rationale else sure.strip()
