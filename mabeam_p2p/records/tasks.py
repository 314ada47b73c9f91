"""What the log has made of tasks and of those who work on them."""

from enum import IntEnum

from msgspec import Struct

from mabeam_p2p.ids import AgentId, TaskId


class Strategy(IntEnum):
    """How a task finds its agent (docs/load_balancing.md)."""

    RESOURCE_AWARE = 0
    ROUND_ROBIN = 1
    LEAST_LOADED = 2
    POWER_OF_TWO = 3
    CAPABILITY = 4
    PERFORMANCE_WEIGHTED = 5
    RENDEZVOUS = 6


class TaskStatus(IntEnum):
    QUEUED = 0
    LEASED = 1
    DONE = 2
    DEAD = 3
    CANCELLED = 4


class TaskOrder(Struct, frozen=True, gc=False, array_like=True):
    """What is asked for. Times are microseconds of the log's clock; 0 is without end."""

    name: str
    """Under which agents offer it."""
    argument: bytes
    """Empty once it is done or cancelled."""
    strategy: Strategy
    requires: tuple[tuple[str, int], ...]
    """Capabilities that the agent must have, sorted, and how much of each the task takes up while
    it runs. 0: the capability must be there."""
    priority: int
    """The greater one goes first."""
    retries: int
    """New attempts after the first one has failed."""
    backoff: int
    """Pause before the second attempt; doubles."""
    timeout: int
    """From the submission until it is given up."""
    attempt_timeout: int
    """From a lease until that attempt has failed."""
    key: str
    """RENDEZVOUS: tasks of one key go to one agent. Empty: the task's id."""


class TaskError(Struct, frozen=True, gc=False, array_like=True):
    """What the function raised, as text."""

    kind: str
    """Name of the exception's type."""
    message: str
    traceback: str


class Task(Struct, frozen=True, gc=False, array_like=True):
    id: TaskId
    order: TaskOrder
    submitter: AgentId
    submitted_index: int
    submitted_clock: int
    status: TaskStatus = TaskStatus.QUEUED
    agent: AgentId = AgentId("")
    """Queued: whose queue it is in, empty: nobody's. Else who works or has worked on it last."""
    token: int = 0
    """Of the lease, or the last one: its log index, or more if that was given already."""
    leased_clock: int = 0
    look_clock: int = 0
    """When it is looked whether the attempt takes too long; 0: no more."""
    is_overdue: bool = False
    """An agent with nothing to do may take it from a slow one."""
    due_clock: int = 0
    """Queued: not leased before."""
    failures: int = 0
    """Attempts that failed."""
    losses: int = 0
    """Attempts that ended with their agent."""
    steals: int = 0
    """Attempts that another agent took over."""
    result: bytes = b""
    error: TaskError | None = None
    """Of the last attempt that failed."""
    finished_index: int = 0
    finished_clock: int = 0
    reason: str = ""
    """Why it was given up: `failed`, `timeout` or `lost`; by whom it was cancelled."""
    digest: bytes = b""
    """Of its argument, once that was let go."""


class TaskWorker(Struct, frozen=True, gc=False, array_like=True):
    """An agent that offers to work."""

    agent: AgentId
    names: tuple[str, ...]
    """Sorted."""
    slots: int
    running: int
    """Tasks that it works on."""
    queued: int
    """Tasks that wait for it."""
    done: int
    """Tasks that it has done in this session."""
    pace: int
    """Thousandths of the time that others take for the same names, shrunk towards 1000."""
    is_silent: bool
    """It has let its leases run out: it gets nothing until it is heard of."""
    changed_index: int
    """Where the set of its leases has changed last."""
