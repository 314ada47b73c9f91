"""What is said of tasks: by those who work, and by those who ask."""

from mabeam_p2p.commands.base import SessionCommand
from mabeam_p2p.ids import TaskId
from mabeam_p2p.records import TaskError, TaskOrder


class TaskCommand(SessionCommand, frozen=True, gc=False, array_like=True):
    """Base of what is said of tasks."""


class OfferTasks(TaskCommand, frozen=True, gc=False, array_like=True, tag=40):
    """All that the agent can do, in place of what it offered before. What it works on goes on."""

    names: tuple[str, ...]
    slots: int
    """How many at a time. 0: it finishes what it works on and takes nothing new."""
    lease: int
    """Microseconds of the log's clock that it may be silent while it works."""


class RenewTasks(TaskCommand, frozen=True, gc=False, array_like=True, tag=41):
    """The agent works on all that it holds."""


class SubmitTask(TaskCommand, frozen=True, gc=False, array_like=True, tag=42):
    task: TaskId
    order: TaskOrder
    wait: bool
    """Whether it is queued also while no agent can do it."""


class CompleteTask(TaskCommand, frozen=True, gc=False, array_like=True, tag=43):
    task: TaskId
    token: int
    result: bytes


class FailTask(TaskCommand, frozen=True, gc=False, array_like=True, tag=44):
    task: TaskId
    token: int
    error: TaskError
    is_final: bool
    """Another attempt would come to the same."""


class CancelTask(TaskCommand, frozen=True, gc=False, array_like=True, tag=45):
    task: TaskId


class RetryTask(TaskCommand, frozen=True, gc=False, array_like=True, tag=46):
    """A task that was given up is queued again, as if it had not been tried."""

    task: TaskId


AnyTaskCommand = (
    OfferTasks | RenewTasks | SubmitTask | CompleteTask | FailTask | CancelTask | RetryTask
)
