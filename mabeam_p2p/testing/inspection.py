"""The few figures that are read from a node itself, for the checkers to judge."""

from mabeam_p2p.protocol.node import Node
from mabeam_p2p.testing.checkers import Checkers, Violation
from mabeam_p2p.testing.host import Host
from mabeam_p2p.testing.members import check_members
from mabeam_p2p.testing.weather import SECOND

_UNKNOWN = (None, 0)

LEADS_UNHEARD = 4
"""Election timeouts of silence that no leader survives, whatever its clock."""


def check_figures(checkers: Checkers, host: Host, node: Node) -> None:
    """After an input: commit and applied index, how far a leader counts each follower, and what the
    members are thought to be."""
    check_members(
        checkers.said,
        host.beliefs,
        node.membership,
        node.config.limits,
        somebody_lies=bool(checkers.liars),
    )
    replication = node.replication
    leadership = replication.leadership
    checkers.stepped(
        host.ghost, leadership is not None, replication.commit_index, node.machine.applied_index
    )
    check_configuration(checkers, host, node)
    if leadership is None:
        if host.matches:
            host.matches = {}
        return
    matches = host.matches
    for peer, progress in leadership.progress.items():
        match_index = progress.match_index
        known, before = matches.get(peer, _UNKNOWN)
        if known is not progress:
            # A learner that was gone and has come back: counted anew, lawfully.
            known, before = progress, 0
        if before != match_index:
            if match_index < before:
                raise Violation("I10", f"{host.peer} lets {peer} go back from {before}")
            checkers.matched(host.ghost, peer, match_index)
            matches[peer] = progress, match_index


def check_configuration(checkers: Checkers, host: Host, node: Node) -> None:
    """I11: the voters that the machine shows are those of the committed log, as far as it is
    applied."""
    applied_index, shown = node.machine.applied_index, node.machine.configuration
    for batch in reversed(checkers.committed.log.configurations):
        if batch.index <= applied_index:
            if (shown.index, shown.voters) != (batch.index, batch.voters):
                raise Violation("I11", f"{host.peer} shows {shown.voters} for {batch}")
            return


def check_quorum(host: Host, node: Node, now: int, election_timeout: float) -> None:
    """A leader that has long heard nothing from a majority has stepped down (Raft §6)."""
    voters = node.replication.voters
    bound = int(LEADS_UNHEARD * election_timeout * SECOND)
    if now < host.paused_until + bound:
        return
    heard = host.heard
    near = sum(
        1
        for voter in voters
        if voter == host.peer or now - heard.get(voter, host.began_at) <= bound
    )
    if near <= len(voters) // 2:
        raise Violation("I19", f"{host.peer} leads and hears {near} of {len(voters)}")
