"""What is searched: bounds, and what the voters begin with."""

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

from mabeam_p2p.messages import AppendEntries, AppendReply, CommitAdvance, Message

FIRST_TERM = 1


class Scope(NamedTuple):
    """What is searched."""

    logs: tuple[tuple[int, ...], ...]
    """Terms of the entries that each voter begins with; the first one is all of theirs."""
    terms: int = 2
    """Terms that can begin."""
    stands: int = 2
    """How often somebody can stand."""
    proposals: int = 0
    beats: int = 0
    crashes: int = 0
    copies: int = 0
    append_batches_max: int = 1
    """Batches in one append: one makes followers that have verified less than they hold."""
    lost: tuple[type[Message], ...] = ()
    """Kinds of messages that never arrive."""


LOGS = ((1,), (1, 2), (1, 2, 2), (1, 3), (1, 3, 3), (1, 2, 3))
"""Terms of what a log can hold after two elections, with two entries at most behind the first."""


def beginnings() -> Iterator[tuple[tuple[int, ...], ...]]:
    """All that three voters can hold, as multisets, after terms 2 and 3 with one leader each."""
    for logs in combinations_with_replacement(LOGS, 3):
        late = [log for log in logs if 3 in log]
        ends = {len(log): log for log in logs if log[-1] == 3}
        is_one = all(log[:size] == end for size, end in ends.items() for log in late)
        if is_one and (not late or _could_elect(max(late, key=len), list(logs))):
            yield logs


def _could_elect(led: tuple[int, ...], logs: list[tuple[int, ...]]) -> bool:
    """Whether another one can have voted for who led term 3: it holds some of that term, or is no
    further than the leader was then, and has taken nothing from term 2 since."""
    logs.remove(led)
    stood = led[: led.index(3)]
    return any(3 in log or (log[-1], len(log)) <= (stood[-1], len(stood)) for log in logs)


SAME = ((1,), (1,), (1,))
LONG_BEGINNINGS = (
    ((1,), (1,), (1, 2, 2)),
    ((1,), (1,), (1, 3, 3)),
    ((1,), (1,), (1, 2, 3)),
    ((1,), (1, 2), (1, 3, 3)),
    ((1,), (1, 2, 2), (1, 3)),
    ((1,), (1, 2, 2), (1, 3, 3)),
    ((1,), (1, 2, 2), (1, 2, 3)),
)
"""Somebody lacks both entries, and is sent them one by one: half of all the steps."""

BRIEF = (
    # Elections alone: doubled, crashed in between.
    Scope(SAME, copies=1, lost=(AppendEntries,)),
    Scope(SAME, crashes=1, lost=(AppendEntries,)),
    # Of three, one other's vote is enough: to count it twice gains nothing. Of five it does.
    Scope(((1,),) * 5, terms=1, stands=1, copies=1, lost=(AppendEntries,)),
    # Leaders of two terms that write, and hear nothing of it.
    Scope(SAME, lost=(AppendReply, CommitAdvance)),
    # One term from its election to what it commits.
    Scope(SAME, terms=1, copies=1),
    Scope(SAME, terms=1, crashes=1),
    # The next leader, whatever the two before have left behind.
    *(Scope(logs, terms=1, stands=1) for logs in beginnings() if logs not in LONG_BEGINNINGS),
    Scope(((1,), (1,), (1, 2)), terms=1, stands=2),
)
"""What every run of the tests searches: twelve seconds of one processor."""

NARROW = (
    *BRIEF,
    # Three that stand: split votes.
    Scope(SAME, stands=3, lost=(AppendEntries,)),
    Scope(SAME, terms=1, proposals=1),
    *(Scope(logs, terms=1, stands=1) for logs in LONG_BEGINNINGS),
    Scope(((1, 2, 2), (1, 2, 3), (1, 2, 3)), terms=1, stands=1, copies=1),
    Scope(((1, 2, 2), (1, 2, 3), (1, 2, 3)), terms=1, stands=1, crashes=1),
)
"""A minute of one processor."""

WIDE = (
    *(Scope(logs, terms=1, stands=1, copies=1) for logs in beginnings()),
    *(Scope(logs, terms=1, stands=1, crashes=1) for logs in beginnings()),
    *(Scope(logs, terms=1, stands=2) for logs in beginnings()),
    *(Scope(logs, terms=1, stands=1, append_batches_max=64) for logs in beginnings()),
    Scope(((1,), (1, 2), (1, 2, 2)), terms=1, stands=1, beats=1),
    Scope(SAME, copies=1, lost=(AppendReply, CommitAdvance)),
    Scope(SAME, terms=1, proposals=1, copies=1),
    Scope(SAME, terms=1, proposals=1, crashes=1),
    Scope(SAME, terms=1, proposals=2, copies=1),
    Scope(SAME, terms=1, proposals=1, crashes=1, copies=1),
    Scope(SAME, copies=1, crashes=1, stands=3, lost=(AppendEntries,)),
    Scope(SAME),
)
"""Many minutes."""
