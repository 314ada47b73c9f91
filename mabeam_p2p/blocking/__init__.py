"""The same names without `await`, for programs that have no event loop.

One loop, on a thread of its own, carries all agents of the process. Iterators are plain iterators;
`with` stands for `async with`. Every name means what the same name means in `mabeam_p2p`;
evaluators and bidders that are plain functions may call everything here, coroutines nothing.
"""

from mabeam_p2p.blocking.agent import Agent, Barrier, Group, Journal
from mabeam_p2p.blocking.economics import Budget, Hold, Ledger, Reputations, Reservation
from mabeam_p2p.blocking.keys import Keys
from mabeam_p2p.blocking.loop import Stream
from mabeam_p2p.blocking.market import Market
from mabeam_p2p.blocking.peer import Peer, connect, join
from mabeam_p2p.blocking.recipes import Counter, Delivery, Lease, Lock, Queue, ReadWriteLock
from mabeam_p2p.blocking.seats import Leadership
from mabeam_p2p.blocking.tasks import TaskHandle, TaskStream
from mabeam_p2p.blocking.values import Batch, Parameters, Variables

__all__ = [
    "Agent",
    "Barrier",
    "Batch",
    "Budget",
    "Counter",
    "Delivery",
    "Group",
    "Hold",
    "Journal",
    "Keys",
    "Leadership",
    "Lease",
    "Ledger",
    "Lock",
    "Market",
    "Parameters",
    "Peer",
    "Queue",
    "ReadWriteLock",
    "Reputations",
    "Reservation",
    "Stream",
    "TaskHandle",
    "TaskStream",
    "Variables",
    "connect",
    "join",
]
