"""`mabeam why PEER`: the evidence behind a peer's state, in words."""

from collections.abc import Iterator

import click

from mabeam_p2p.api.results import PeerEvidence
from mabeam_p2p.api.results.evidence import Doubt, Follower, Hearing, Link
from mabeam_p2p.cli import output
from mabeam_p2p.cli.target import Target, verb

CLOCK_SECONDS = 1.0
"""A clock that is so far off, or less, is worth no word."""

OBSTACLES = {
    "no_member": "it is no member",
    "suspect": "it is suspected",
    "dead": "it counts as dead",
    "left": "it has left",
    "no_vote": "it has no vote",
    "unfit": "it may not lead at present",
    "leader_in_office": "somebody else leads",
    "not_caught_up": "it is not caught up with the leader's log",
    "score_too_low": "it is no fitter than the leader by enough",
    "waits": "it is fitter, and has to be so for a while",
    "handing_over": "the leader hands over just now",
    "not_told": "the leader does not know how fit it is",
    "no_cluster": "there is no cluster",
    "no_quorum": "nobody can be elected",
    "nobody_eligible": "nobody can be elected",
    "election": "there is an election",
}

UNREADY = {
    "no_cluster": "no cluster",
    "no_leader": "no leader",
    "nothing_applied": "nothing applied",
    "not_caught_up": "not all applied",
    "variables": "it was not given all variables",
}


@click.command()
@click.argument("peer", metavar="PEER")
@verb
async def why(target: Target, peer: str) -> None:
    """Show why PEER is in the state that is seen.

    PEER is a name or an id, as `mabeam members` shows them; it may be this host's own. Told are
    what it answered and when, who suspects it, the link to it, how far it has the log if this
    host's peer leads, where it stands in the order of elections, and why it does not lead. Ask the
    leader (--addr) for how far others have the log.
    """
    async with target.look() as agent:
        seen = await agent.why(peer)
    if target.as_json:
        output.json_line(seen.to_dict())
        return
    for line in told(seen):
        click.echo(line)


def told(seen: PeerEvidence) -> Iterator[str]:
    """The evidence as a person reads it: the verdict first, then a line for each reason."""
    name = seen.name or seen.peer
    yield click.style(output.cell(f"{name} is {seen.state}, as {seen.by} sees it"), bold=True)
    lines = [f"peer {seen.peer} at {seen.address or '-'}, epoch {seen.epoch}, incarnation"
             f" {seen.incarnation}"]  # fmt: skip
    if seen.is_self:
        lines += _self_lines(seen)
    if seen.gone_seconds is not None:
        lines.append(f"{seen.state} for {_span(seen.gone_seconds)}")
    if seen.hearing is not None:
        lines += _hearing_lines(seen.hearing)
    if seen.doubt is not None:
        lines.append(_doubt_line(seen.doubt))
    if seen.refutations:
        lines.append(f"came back from suspicion or death {_times(seen.refutations)} by its word")
    if not seen.is_self:
        lines.append(_link_line(seen.link))
    lines.append(_part_line(seen))
    if seen.follower is not None:
        lines.append(follower_line(seen.follower, seen.commit_index))
    lines += _standing_lines(seen)
    if seen.clock_ahead_seconds is not None and abs(seen.clock_ahead_seconds) > CLOCK_SECONDS:
        lines.append(f"its clock is {_lead(seen.clock_ahead_seconds)} this host's")
    yield from (f"  {output.cell(line)}" for line in lines)


def _self_lines(seen: PeerEvidence) -> Iterator[str]:
    if seen.health:
        yield (
            f"it was starved of time or answers of late (health {seen.health}): it waits "
            f"{seen.health + 1} times as long before it suspects anybody"
        )
    for one in seen.unready:
        yield f"is not ready: {UNREADY.get(one.reason, one.reason)}: {one.detail}"
    if seen.disk_bytes_max:
        share = 100 * seen.disk_used_bytes // seen.disk_bytes_max
        yield f"disk: {share} % of {output.size(seen.disk_bytes_max)} used"


def _hearing_lines(hearing: Hearing) -> Iterator[str]:
    if hearing.answered_seconds is None:
        yield "has answered no question yet"
    else:
        yield f"last answered {_span(hearing.answered_seconds)} ago"
    if hearing.unanswered:
        yield (
            f"{hearing.unanswered} questions are unanswered, the oldest for "
            f"{_span(hearing.unanswered_seconds)}; suspected after "
            f"{_span(hearing.patience_seconds)}"
        )
    if hearing.asked:
        vain = f"; no answer to {', '.join(hearing.in_vain)} either" if hearing.in_vain else ""
        yield f"asked to ask it: {', '.join(hearing.asked)}{vain}"


def _doubt_line(doubt: Doubt) -> str:
    by = ", ".join(doubt.accusers) or "somebody"
    left = max(0.0, doubt.timeout_seconds - doubt.seconds)
    return f"suspected for {_span(doubt.seconds)} by {by}; dead in {_span(left)} if it says nothing"


def _link_line(link: Link | None) -> str:
    if link is None:
        return "link: none; it has not introduced itself here"
    state = "open" if link.open else "closed, and opened when there is something to say"
    text = f"link: {state}; to {link.address}, met in epoch {link.epoch}"
    text += f"; last used {_span(link.idle_seconds)} ago"
    if link.greeting_seconds:
        text += f"; greeted every {_span(link.greeting_seconds)}, as nobody answers there"
    return text


def _part_line(seen: PeerEvidence) -> str:
    match seen.part:
        case "voter":
            return "votes in the log"
        case "learner":
            why = "; a command took its vote: `mabeam voters promote`" if seen.barred else ""
            return f"learns the log, without a vote{why}"
        case _:
            return "has no part in the log"


def follower_line(follower: Follower, commit_index: int) -> str:
    behind = max(0, commit_index - follower.match_index)
    where = "all that is committed" if not behind else f"{behind} entries behind"
    if not follower.match_index:
        where = "it has not said how far it is"
    return (
        f"log: {where} (match {follower.match_index}, commit {commit_index}, {follower.state}, "
        f"{follower.inflight} under way); last heartbeat answered "
        f"{_span(follower.contact_seconds)} ago"
    )


def _standing_lines(seen: PeerEvidence) -> Iterator[str]:
    standing = seen.standing
    if standing is not None:
        place = f"place {seen.place}" if seen.place else "no place"
        yield (
            f"in elections: {place}; log ends at {standing.last_index} of term "
            f"{standing.last_term}, score {standing.score}, up for {standing.tenure_minutes} min"
        )
    if seen.leads:
        yield f"leads in term {seen.term}"
    for obstacle in seen.obstacles:
        detail = f": {obstacle.detail}" if obstacle.detail else ""
        yield f"does not lead: {OBSTACLES.get(obstacle.reason, obstacle.reason)}{detail}"


def _span(seconds: float) -> str:
    if seconds < 0.95:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def _lead(seconds: float) -> str:
    return f"{_span(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
