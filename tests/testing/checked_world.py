"""Three peers of one cluster under the checkers of I1 to I11, written to and spoken for by hand."""

import pytest

from mabeam_p2p.ids import ClusterId, PeerId
from mabeam_p2p.messages import (
    AppendReply,
    Heartbeat,
    Message,
    VoteReply,
    VoteRequest,
)
from mabeam_p2p.records import Batch, BootstrapState, HardState, LogAppend, Record, Standing
from mabeam_p2p.testing.checkers import Checkers, Ghost, Violation
from mabeam_p2p.testing.disk import Disk

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")
VOTERS = (A, B, C)
FIRST = Batch(1, 1, 1, 0, b"configure", VOTERS)
STANDING = Standing(1, 1, 5, 0)
PROMISED = BootstrapState(ClusterId("x"), A, VOTERS, (FIRST,), True)


def entry(index: int, term: int, blob: bytes = b"", count: int = 1) -> Batch:
    return Batch(index, count, term, 0, blob)


class World:
    """Three peers of one formed cluster; nothing is synced but by `sync`."""

    def __init__(self) -> None:
        self.checkers = Checkers()
        self.disks = {peer: Disk() for peer in VOTERS}
        for disk in self.disks.values():
            disk.bootstrap = PROMISED
        self.ghosts = {peer: self.checkers.started(peer, self.disks[peer]) for peer in VOTERS}
        for peer in VOTERS:
            self.write(peer, LogAppend(0, 0, (FIRST,)))
            self.sync(peer)

    def __getitem__(self, peer: PeerId) -> Ghost:
        return self.ghosts[peer]

    def write(self, peer: PeerId, *records: Record) -> None:
        for record in records:
            self.checkers.persisted(self.ghosts[peer], record)
            self.disks[peer].write(record)

    def sync(self, *peers: PeerId) -> None:
        for peer in peers or VOTERS:
            self.disks[peer].sync(len(self.disks[peer].pending))
            self.checkers.synced(self.ghosts[peer])

    def send(self, peer: PeerId, target: PeerId, message: Message) -> None:
        self.checkers.sent(self.ghosts[peer], target, message)

    def elect(self, peer: PeerId, term: int) -> None:
        """With everybody's vote, lawfully."""
        for voter in VOTERS:
            self.write(voter, HardState(0, term, peer))
            self.sync(voter)
            if voter != peer:
                self.send(voter, peer, VoteReply(0, term, granted=True, pre=False, higher=False))
            else:
                self.send(peer, B, VoteRequest(0, term, STANDING, pre=False, transfer=False))
        self.send(peer, B if peer == A else A, Heartbeat(0, term, 0, 1))

    def append(self, leader: PeerId, batch: Batch, *holders: PeerId) -> None:
        """`batch` behind the log of each holder, on its disk."""
        for peer in (leader, *holders):
            self.write(peer, LogAppend(0, batch.index - 1, (batch,)))
            self.sync(peer)


def broken(rule: str) -> "pytest.RaisesExc[Violation]":
    return pytest.raises(Violation, match=rf"^{rule}:")


def heartbeat(term: int, commit_index: int = 0) -> Heartbeat:
    return Heartbeat(0, term, commit_index, 1)


def granted(term: int) -> VoteReply:
    return VoteReply(0, term, granted=True, pre=False, higher=False)


def acknowledged(term: int, match_index: int) -> AppendReply:
    return AppendReply(0, term, True, match_index, 0)
