"""The rules that every moment is judged by, under the names that the simulator has for them."""

from mabeam_p2p.messages import AppendReply, Message, VoteReply, VoteRequest
from mabeam_p2p.protocol.quorum import majority
from mabeam_p2p.protocol.replication import Replication
from mabeam_p2p.testing.small_scope.moments import Actor, Disk, Ghost, Moment


def hear_claim(place: int, for_whom: int, message: Message, disk: Disk, ghost: Ghost) -> Ghost:
    """I2, I3: votes are given once, and what a message claims is on the disk when it leaves."""
    match message:
        case VoteReply(term=term, granted=True, pre=False):
            return _voted(place, term, for_whom, disk, ghost)
        case VoteRequest(term=term, pre=False):
            return _voted(place, term, place, disk, ghost)
        case AppendReply(term=term, success=True, match_index=match_index):
            ends = [batch.last_index for batch in disk.batches]
            assert disk.state.term >= term, "I3: acknowledged in a term that is not stored"
            assert match_index == 0 or match_index in ends, f"I3: {message}, not stored"
        case _:
            pass
    return ghost


def _voted(place: int, term: int, for_whom: int, disk: Disk, ghost: Ghost) -> Ghost:
    voted = place, term, for_whom
    assert disk.state.term >= term, f"I3: a vote in term {term} that is not stored"
    assert disk.state.term > term or disk.state.vote, "I3: a vote that is not stored"
    for other in ghost.votes:
        assert other[:2] != voted[:2] or other == voted, f"I2: two votes: {other} and {voted}"
    return (
        ghost
        if voted in ghost.votes
        else ghost._replace(votes=tuple(sorted((*ghost.votes, voted))))
    )


def look_at_winner(place: int, core: Replication, moment: Moment) -> None:
    """I1: whoever is elected was given the votes of a majority. I7: it has everything that was
    committed in lower terms."""
    ghost = moment.ghost
    votes = [vote for vote in ghost.votes if vote[1:] == (core.term, place)]
    enough = majority(len(moment.actors))
    assert len(votes) >= enough, f"I1: leads term {core.term}, elected by {votes}"
    for batch in ghost.committed:
        if batch.term < core.term:
            assert core.log.term_at(batch.last_index) == batch.term, f"I7: lacks {batch}"


def look_at(place: int, before: Replication, actors: tuple[Actor, ...], ghost: Ghost) -> Ghost:
    core = actors[place].core
    if core.leadership is not None:
        for term, leader in ghost.leaders:
            assert term != core.term or leader == place, f"I1: two leaders in term {term}"
        if (core.term, place) not in ghost.leaders:
            ghost = ghost._replace(leaders=tuple(sorted((*ghost.leaders, (core.term, place)))))
        _look_at_matches(core, actors)
    assert core.term >= before.term, "I4: the term goes back"
    assert core.commit_index >= before.commit_index, "I4: the commit index goes back"
    if core.log.last_index != before.log.last_index or core.log.last_term != before.log.last_term:
        _look_at_logs(place, actors)
    if core.commit_index > before.commit_index:
        ghost = _look_at_commit(place, actors, ghost)
    return ghost


def look_at_old_word(message: Message, before: Replication, core: Replication) -> None:
    """Raft §5.1: what is of an older term is refused, and changes nothing."""
    if getattr(message, "term", before.term) < before.term:
        kept = (before.term, before.leader, before.commit_index, before.log.last_index)
        now = (core.term, core.leader, core.commit_index, core.log.last_index)
        assert kept == now, f"§5.1: a message of term {message.term} in {before.term}"  # type: ignore[union-attr]


def _look_at_logs(place: int, actors: tuple[Actor, ...]) -> None:
    """I5: the same index and term mean the same log up to there."""
    mine = actors[place].core.log.holding(1, 99)
    for actor in actors:
        theirs = actor.core.log.holding(1, 99)
        common = [n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a.term == b.term]
        if common:
            last = common[-1] + 1
            assert mine[:last] == theirs[:last], f"I5: {mine[:last]} and {theirs[:last]}"


def _look_at_commit(place: int, actors: tuple[Actor, ...], ghost: Ghost) -> Ghost:
    """I6, I8: a leader commits what a majority holds and is of its own term; a follower what some
    leader has committed; everybody the same."""
    core = actors[place].core
    assert core.commit_index <= core.log.last_index, "I6: committed beyond the log"
    log = core.log.between(0, core.commit_index)
    for mine, theirs in zip(log, ghost.committed, strict=False):
        assert mine == theirs, f"I8: commits {mine}, and {theirs} was committed"
    if len(log) <= len(ghost.committed):
        return ghost
    last = log[-1]
    assert core.leadership is not None, f"I6: a follower commits {last}, and no leader has"
    assert last.term == core.term, f"I6: counted, though of an older term: {last}"
    holders = sum(actor.disk.holds(last.last_index, last.term) for actor in actors)
    assert holders >= majority(len(actors)), f"I6: held by {holders}: {last}"
    return ghost._replace(committed=tuple(log))


def _look_at_matches(core: Replication, actors: tuple[Actor, ...]) -> None:
    """I10: what a leader believes of a follower in its term is true of that one's disk."""
    assert core.leadership is not None
    for actor in actors:
        progress = core.leadership.progress.get(actor.core.peer)
        if progress is not None and progress.match_index and actor.core.term == core.term:
            term = core.log.term_at(progress.match_index)
            is_held = term is not None and actor.disk.holds(progress.match_index, term)
            assert is_held, f"I10: {actor.core.peer} does not hold {progress.match_index}"
